//! The file that is appended to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use batchd_frame::checksum::crc32c_append;
use serde::{Deserialize, Serialize};

use super::line::LedgerLine;
use super::read::{each_line, read_lines};
use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::layout::QueueLayout;
use crate::spool::quarantine::Quarantine;
use crate::spool::replace::{discard, put_in_place, replace, write_beside};

/// The ledger is rotated when it has grown past this.
const ROTATE_BYTES: u64 = 8 << 20;

/// Tells what is in a queue's ledgers from anything else: lengths in bytes and CRC-32C of their good lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LedgerPrint {
    bytes: u64,
    crc: u32,
    previous_bytes: u64,
    previous_crc: u32,
}

impl LedgerPrint {
    fn add(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
        self.crc = crc32c_append(self.crc, text);
    }

    fn rotate(&mut self) {
        *self = Self {
            previous_bytes: self.bytes,
            previous_crc: self.crc,
            ..Self::default()
        };
    }
}

/// The ledger, open for appending.
pub struct Ledger {
    env: Env,
    layout: QueueLayout,
    path: PathBuf,
    /// Nothing where there is none yet, for want of space.
    file: Option<Arc<dyn File>>,
    len: u64,
    rotate_bytes: u64,
    number: u64,
    print: LedgerPrint,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({})", self.path.display())
    }
}

impl Ledger {
    /// Opens a queue's ledger: copies the good lines of the present one into a file of our own. Every line,
    /// those of the previous ledger first, is shown to `visit`. A damaged one is kept in `quarantine`.
    ///
    /// # Errors
    /// [`FsError`]; the ledger is then as it was found.
    pub fn open(
        env: &Env,
        quarantine: &Quarantine,
        layout: &QueueLayout,
        mut visit: impl FnMut(LedgerLine),
    ) -> Result<Self, FsError> {
        let path = layout.ledger();
        let previous = layout.ledger_previous();
        let mut print = LedgerPrint::default();
        let damage = read_lines(env, &previous, |text, line| {
            print.add(text);
            print.add(b"\n");
            visit(line);
        })?;
        if let Some(damage) = damage {
            tracing::error!(path = %previous.display(), damage, "a ledger is damaged; it stays as it is");
        }
        print.rotate();
        let mut good = Vec::new();
        let damage = read_lines(env, &path, |text, line| {
            good.extend_from_slice(text);
            good.push(b'\n');
            visit(line);
        })?;
        let copied = copy(env, quarantine, &path, &good, damage.as_deref());
        let (file, len) = match copied {
            Ok(file) => (Some(file), good.len() as u64),
            Err(error) if error.is_no_space() => {
                tracing::warn!(%error, "no room to copy the ledger; it is appended to as it is");
                as_found(env, &path)?
            }
            Err(error) => return Err(error),
        };
        print.add(&good);
        let (env, layout) = (env.clone(), layout.clone());
        Ok(Self {
            env,
            layout,
            path,
            file,
            len,
            rotate_bytes: ROTATE_BYTES,
            number: 1,
            print,
        })
    }

    /// Has it rotated sooner, so that a test need not fill it.
    #[cfg(test)]
    pub(in crate::spool) fn rotate_past(&mut self, bytes: u64) {
        self.rotate_bytes = bytes;
    }

    /// The present ledger's number since the start, from 1: each rotation begins the next.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What is in it and in the one before it.
    #[must_use]
    pub fn print(&self) -> LedgerPrint {
        self.print
    }

    /// Appends lines. Durable on return.
    ///
    /// # Errors
    /// [`FsError`]. Where space is short, the ledger is cut back to what it was; after a failed sync it must
    /// not be used again.
    pub fn append(&mut self, lines: &[LedgerLine]) -> Result<(), LedgerError> {
        if self.len >= self.rotate_bytes {
            self.rotate()?;
        }
        let mut text = Vec::new();
        for line in lines {
            // A line of plain fields always serializes.
            let json = serde_json::to_vec(line);
            text.extend_from_slice(&json.unwrap_or_default());
            text.push(b'\n');
        }
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => replace(&self.env, &self.path, &[]).map_err(LedgerError::Untouched)?,
        };
        self.file = Some(Arc::clone(&file));
        if let Err(error) = file.write_all_at(&text, self.len).at("write", &self.path) {
            if error.is_read_only() && file.len().is_ok_and(|len| len == self.len) {
                // Nothing of it is there, and nothing could be cut off now.
                return Err(LedgerError::Untouched(error));
            }
            let cut = file.set_len(self.len).and_then(|()| file.sync_data());
            return Err(match cut {
                Ok(()) => LedgerError::Untouched(error),
                Err(_) => LedgerError::Unknown(error),
            });
        }
        file.sync_data()
            .at("sync", &self.path)
            .map_err(LedgerError::Unknown)?;
        self.len += text.len() as u64;
        self.print.add(&text);
        Ok(())
    }

    /// Begins a new ledger. The files of the batches that are on record in the old one are gone for certain
    /// first, since only two ledgers are read at start.
    fn rotate(&mut self) -> Result<(), LedgerError> {
        let (fs, unknown) = (&self.env.fs, LedgerError::Unknown);
        for dir in [self.layout.ready(), self.layout.open()] {
            fs.sync_dir(&dir).at("sync", &dir).map_err(unknown)?;
        }
        // The new one is there before the old one moves, so that no failure leaves the queue without.
        let (new, file) = match write_beside(&self.env, &self.path, &[]) {
            Ok(made) => made,
            Err(error) if error.is_no_space() => {
                tracing::warn!(%error, "no room to rotate the ledger; it grows on");
                return Ok(());
            }
            Err(error) => return Err(LedgerError::Untouched(error)),
        };
        let previous = self.layout.ledger_previous();
        if let Err(error) = fs.rename(&self.path, &previous).at("rename", &previous) {
            discard(&self.env, &new);
            return Err(LedgerError::Untouched(error));
        }
        fs.rename(&new, &self.path)
            .at("rename", &self.path)
            .map_err(unknown)?;
        let dir = self.layout.dir();
        fs.sync_dir(dir).at("sync", dir).map_err(unknown)?;
        self.file = Some(file);
        self.len = 0;
        self.number += 1;
        self.print.rotate();
        Ok(())
    }
}

/// Why lines were not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The ledger is as it was before; try again.
    #[error(transparent)]
    Untouched(FsError),
    /// Whether the lines are durable is not known; the ledger must not be written any more.
    #[error(transparent)]
    Unknown(FsError),
}

/// Puts the good lines in the place of a ledger, which goes to quarantine where it is damaged.
fn copy(
    env: &Env,
    quarantine: &Quarantine,
    path: &Path,
    good: &[u8],
    damage: Option<&str>,
) -> Result<Arc<dyn File>, FsError> {
    let (new, file) = write_beside(env, path, good)?;
    if let Some(damage) = damage {
        // Not before there is a copy: without one, lines go on into the file that is there.
        let kept = quarantine
            .link(path, damage)
            .inspect_err(|_| discard(env, &new))?;
        tracing::error!(
            path = %path.display(), original = %kept.display(), damage,
            "a ledger is damaged; its good lines go on, the original is in quarantine"
        );
    }
    put_in_place(env, &new, path)?;
    Ok(file)
}

/// Opens the ledger that is there, to append to it: the file, and where the next line goes.
///
/// # Errors
/// [`FsError`], also where it cannot be read to its end: nothing that is not known may be cut off.
fn as_found(env: &Env, path: &Path) -> Result<(Option<Arc<dyn File>>, u64), FsError> {
    let file = match env.fs.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, 0)),
        other => other.at("open", path)?,
    };
    let mut end = 0;
    each_line(&*file, path, |_, after| end = after)?;
    // A torn last line would swallow the next one.
    file.set_len(end).at("cut", path)?;
    Ok((Some(file), end))
}

#[cfg(test)]
mod tests {
    use super::super::line::Outcome;
    use super::super::read::PAGE_BYTES;
    use super::*;
    use crate::env::sim::{EIO, ENOSPC, Fault, OpKind, SimClock, SimDisk};
    use crate::spool::Layout;
    use batchd_frame::{BatchId, QueueName};

    fn disk() -> (SimDisk, Env, QueueLayout) {
        let disk = SimDisk::new();
        let spool = Layout::new("/s");
        let layout = spool.queue(&QueueName::new("q").expect("a name"));
        for dir in [layout.open(), layout.ready(), spool.quarantine()] {
            disk.mkdir_durable(dir).expect("fresh disk");
        }
        let env = disk.env(&SimClock::default(), 1);
        (disk, env, layout)
    }

    fn line(seq: u64) -> LedgerLine {
        LedgerLine {
            at: 1,
            id: BatchId::from_bytes([7; 16]),
            seq,
            outcome: Outcome::Delivered,
            items: 1,
            bytes: 2,
            why: String::new(),
            producers: Vec::new(),
        }
    }

    fn open(env: &Env, layout: &QueueLayout) -> (Ledger, Vec<u64>) {
        let mut seqs = Vec::new();
        let quarantine = Quarantine::new(env.clone(), &Layout::new("/s"));
        let ledger = Ledger::open(env, &quarantine, layout, |line| seqs.push(line.seq));
        (ledger.expect("opens"), seqs)
    }

    /// A ledger with so many lines, and what it holds.
    fn written(lines: u64) -> (SimDisk, Env, QueueLayout, Vec<u8>) {
        let (disk, env, layout) = disk();
        let lines: Vec<_> = (1..=lines).map(line).collect();
        open(&env, &layout).0.append(&lines).expect("appends");
        let text = disk.live_image().read(layout.ledger()).expect("there");
        (disk, env, layout, text)
    }

    /// What is in quarantine under the ledger's name.
    fn set_aside(disk: &SimDisk) -> Option<Vec<u8>> {
        disk.durable_image().read("/s/quarantine/ledger").ok()
    }

    #[track_caller]
    fn check(disk: &SimDisk, layout: &QueueLayout, seqs: &[u64]) {
        let disk = disk.durable_image().to_disk();
        assert_eq!(open(&disk.env(&SimClock::default(), 2), layout).1, seqs);
    }

    #[test]
    fn lines_are_durable_and_read_back() {
        let (disk, env, layout) = disk();
        let (mut ledger, none) = open(&env, &layout);
        assert!(none.is_empty());
        ledger.append(&[line(1), line(2)]).expect("appends");
        ledger.append(&[line(3)]).expect("appends");
        check(&disk, &layout, &[1, 2, 3]);
    }

    #[test]
    fn a_torn_line_is_left_out_and_does_not_swallow_the_next() {
        let (disk, env, layout) = disk();
        open(&env, &layout)
            .0
            .append(&[line(1), line(2)])
            .expect("appends");
        let mut image = disk.live_image();
        let text = image.read(layout.ledger()).expect("there");
        image
            .write(layout.ledger(), text[..text.len() - 9].to_vec())
            .expect("there");
        for room in [None, Some(0)] {
            let torn = image.to_disk();
            torn.set_capacity(room.map(|room| torn.bytes_used() + room));
            let env = torn.env(&SimClock::default(), 2);
            let (mut ledger, seqs) = open(&env, &layout);
            assert_eq!(seqs, [1], "room {room:?}");
            torn.set_capacity(None);
            ledger.append(&[line(3)]).expect("appends");
            check(&torn, &layout, &[1, 3]);
        }
    }

    #[test]
    fn a_copy_that_finds_no_room_leaves_it_to_the_next_line() {
        let (disk, env, layout, _) = written(9);
        // For a line or two, and not for the copy.
        disk.set_capacity(Some(disk.bytes_used() + 300));
        let (mut ledger, _) = open(&env, &layout);
        ledger.append(&[line(10)]).expect("appends");
        let seqs: Vec<_> = (1..=10).collect();
        disk.set_capacity(None);
        check(&disk, &layout, &seqs);
    }

    #[test]
    fn a_read_that_fails_once_loses_nothing() {
        let (disk, env, layout, text) = written(99);
        assert!(text.len() > 2 * PAGE_BYTES);
        let seqs: Vec<_> = (1..=99).collect();
        disk.fail_nth(OpKind::Read, 1, Fault::once(EIO));
        assert_eq!(open(&env, &layout).1, seqs);
        assert_eq!(disk.live_image().read(layout.ledger()).ok(), Some(text));
        assert_eq!(set_aside(&disk), None);
    }

    #[test]
    fn a_ledger_that_cannot_be_read_is_set_aside_and_its_beginning_kept() {
        let (disk, env, layout, text) = written(99);
        // The whole, then a page, then the next one.
        disk.fail_nth(OpKind::Read, 1, Fault::once(EIO));
        disk.fail_nth(OpKind::Read, 3, Fault::from_then_on(EIO));
        let (mut ledger, seqs) = open(&env, &layout);
        disk.heal();
        let whole = text[..PAGE_BYTES].iter().filter(|b| **b == b'\n').count();
        assert_eq!(seqs, (1..=whole as u64).collect::<Vec<_>>());
        assert_eq!(set_aside(&disk), Some(text));
        ledger.append(&[line(100)]).expect("appends");
        check(&disk, &layout, &[seqs, vec![100]].concat());
    }

    #[test]
    fn a_ledger_that_can_be_neither_read_nor_copied_is_not_cut() {
        let (disk, env, layout, text) = written(9);
        disk.set_capacity(Some(disk.bytes_used()));
        disk.fail_nth(OpKind::Read, 1, Fault::from_then_on(EIO));
        let quarantine = Quarantine::new(env.clone(), &Layout::new("/s"));
        Ledger::open(&env, &quarantine, &layout, |_| ()).expect_err("unreadable");
        disk.heal();
        assert_eq!(disk.live_image().read(layout.ledger()).ok(), Some(text));
    }

    #[test]
    fn a_ledger_with_a_bad_line_among_good_ones_is_set_aside() {
        let (disk, _, layout, mut text) = written(3);
        let second = text.iter().position(|b| *b == b'\n').expect("a line") + 1;
        text[second] ^= 1;
        let mut image = disk.live_image();
        image.write(layout.ledger(), text.clone()).expect("there");
        for (has_room, kept) in [(true, Some(text.clone())), (false, None)] {
            let disk = image.to_disk();
            disk.set_capacity(Some(disk.bytes_used()).filter(|_| !has_room));
            let env = disk.env(&SimClock::default(), 2);
            let (mut ledger, seqs) = open(&env, &layout);
            assert_eq!(seqs, [1, 3]);
            assert_eq!(set_aside(&disk), kept);
            disk.set_capacity(None);
            ledger.append(&[line(4)]).expect("appends");
            check(&disk, &layout, &[1, 3, 4]);
        }
    }

    #[test]
    fn a_full_disk_without_a_ledger_makes_one_when_there_is_room() {
        let (disk, env, layout) = disk();
        disk.set_capacity(Some(0));
        let (mut ledger, _) = open(&env, &layout);
        assert!(matches!(
            ledger.append(&[line(1)]),
            Err(LedgerError::Untouched(_))
        ));
        disk.set_capacity(None);
        ledger.append(&[line(1)]).expect("appends");
        check(&disk, &layout, &[1]);
    }

    #[test]
    fn rotation_keeps_the_lines_before_it() {
        let (disk, env, layout) = disk();
        let (mut ledger, _) = open(&env, &layout);
        ledger.rotate_bytes = 1;
        for seq in 1..=4 {
            ledger.append(&[line(seq)]).expect("appends");
        }
        check(&disk, &layout, &[3, 4]);
    }

    #[test]
    fn a_rotation_that_finds_no_room_loses_nothing_and_is_made_up_for() {
        for kind in [OpKind::Create, OpKind::Write, OpKind::Rename] {
            let (disk, env, layout) = disk();
            let (mut ledger, _) = open(&env, &layout);
            ledger.append(&[line(1)]).expect("appends");
            ledger.rotate_bytes = 1;
            disk.fail_nth(kind, 1, Fault::once(ENOSPC));
            let mut seqs = vec![1];
            for seq in 2..=3 {
                match ledger.append(&[line(seq)]) {
                    Ok(()) => seqs.push(seq),
                    Err(LedgerError::Untouched(_)) => {}
                    Err(error) => panic!("{kind:?}: {error}"),
                }
            }
            assert!(seqs.len() > 1);
            check(&disk, &layout, &seqs);
        }
    }

    #[test]
    fn a_rotation_survives_a_crash_at_each_call() {
        for cut in 0.. {
            let (disk, env, layout) = disk();
            let (mut ledger, _) = open(&env, &layout);
            ledger.append(&[line(1)]).expect("appends");
            ledger.rotate_bytes = 1;
            disk.power_cut_after(cut);
            let recorded = ledger.append(&[line(2)]).is_ok();
            for image in disk.crash_states(&crate::env::sim::Limits::default()) {
                let disk = image.to_disk();
                let seqs = open(&disk.env(&SimClock::default(), 2), &layout).1;
                assert!(seqs.starts_with(&[1]), "cut {cut}: {seqs:?} {image:?}");
                assert!(!recorded || seqs == [1, 2], "cut {cut}: {seqs:?} {image:?}");
            }
            if recorded {
                break;
            }
        }
    }
}

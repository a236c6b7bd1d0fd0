//! Puts a queue together from what lies in its directory.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use batchd_frame::{BatchId, ProducerRecord, QueueName};

use super::act::{OpenBatch, copy_over, keep_torn, kept_contents};
use super::facts::{Examined, Name};
use super::standing::{Twin, examine_entry, mark_elsewhere, mark_highest, same_bytes, twin};
use super::table::{Decision, Frames, Original, decide};
use crate::env::{DirEntry, Env, File};
use crate::error::{At, FsError};
use crate::spool::kept::EndedBadly;
use crate::spool::layout::{
    OpenName, Place, QueueLayout, ReadyBatch, ReadyName, is_temporary, parse_progress,
};
use crate::spool::ledger::{Ledger, LedgerLine, Outcome};
use crate::spool::quarantine::Quarantine;
use crate::spool::root::LockedSpool;

/// Which submissions a queue holds, as far as that is known before the seals of its batches are read.
#[derive(Debug, Default)]
pub struct Recollection {
    /// What finished and open batches hold, with their seqs.
    pub held: Vec<(u64, Vec<ProducerRecord>)>,
    /// Those that ended otherwise than delivered.
    pub ended_badly: EndedBadly,
    /// Those in open batches that could not be recovered, and stay where they are until the next start.
    pub parked: EndedBadly,
    /// Batches sealed before this are of no interest any more, unix time in microseconds.
    pub oldest: u64,
}

/// What came out of a queue's directory.
#[derive(Debug)]
pub struct Recovered {
    /// Batches that are filled further, at most one a key.
    pub open: Vec<OpenBatch>,
    /// Sealed batches, in order of seq.
    pub ready: Vec<ReadyBatch>,
    /// Batches set aside.
    pub dead: Vec<ReadyBatch>,
    /// A seq that was never used.
    pub next_seq: u64,
    /// The submissions that are known.
    pub recollection: Recollection,
    /// The newest time met, in microseconds: wall clocks behind it are not believed.
    pub newest_micros: u64,
    /// Files in `open/` that cannot be recovered now, for want of room or by this program, and stay as they are.
    pub left: usize,
    /// Files in `open/` that were damaged, or could not be read, or are no batches: they are in quarantine, and what can
    /// be read of them is here.
    pub damaged: usize,
}

/// Recovers a queue, and opens its ledger. Submissions are recalled that were kept up to `producer_window` before the
/// newest thing in it. Everything in the result is durable; running it again, after a crash at any point, gives the
/// same items. Where a copy of so many bytes finds no room, `make_way` is to make some, or says that it cannot.
///
/// # Errors
/// [`FsError`] only where the directories themselves cannot be read, or the ledger can neither be copied nor be read
/// to its end. Whatever bytes lie in the files, they are no error.
pub fn recover(
    spool: &LockedSpool,
    queue: &QueueName,
    producer_window: Duration,
    make_way: &dyn Fn(u64) -> bool,
) -> Result<(Recovered, Ledger), FsError> {
    let layout = spool.make_queue(queue)?;
    let env = spool.env();
    let mut work = Work {
        env,
        queue,
        make_way,
        layout: &layout,
        quarantine: spool.quarantine(),
        quarantine_dir: spool.layout().quarantine(),
        finished: HashMap::new(),
        next_seq: 1,
        newest_micros: 0,
        ledger_kept: Vec::new(),
        parked: Vec::new(),
        left: 0,
        damaged: 0,
    };
    let ledger = work.read_ledger()?;
    let mut dead = work.list_sealed(Place::Dead, &HashMap::new())?;
    let dead_ids: HashMap<BatchId, PathBuf> = dead
        .iter()
        .map(|batch| (batch.name.id, layout.sealed(batch)))
        .collect();
    let mut ready = work.list_sealed(Place::Ready, &dead_ids)?;
    // Of those that lie in `open/` too, and no others: there may be a great many.
    let in_open = work.list_open()?;
    let open_ids: HashSet<BatchId> = in_open
        .iter()
        .filter_map(|entry| entry.name.parse::<OpenName>().ok())
        .map(|name| name.id)
        .collect();
    let elsewhere: HashMap<BatchId, PathBuf> = ready
        .iter()
        .chain(&dead)
        .filter(|batch| open_ids.contains(&batch.name.id))
        .map(|batch| (batch.name.id, layout.sealed(batch)))
        .collect();
    let Taken {
        open,
        ready: sealed,
        dead: set_aside,
    } = work.take_open(in_open, &elsewhere)?;
    ready.extend(sealed);
    ready.sort_by_key(|batch| batch.name.seq);
    dead.extend(set_aside);
    dead.sort_by_key(|batch| batch.name.seq);
    let (next_seq, newest_micros) = (work.next_seq, work.newest_micros);
    let (left, damaged) = (work.left, work.damaged);
    let recollection = work.kept_submissions(&open, producer_window);
    let recovered = Recovered {
        open,
        ready,
        dead,
        next_seq,
        recollection,
        newest_micros,
        left,
        damaged,
    };
    Ok((recovered, ledger))
}

struct Work<'a> {
    env: &'a Env,
    queue: &'a QueueName,
    make_way: &'a dyn Fn(u64) -> bool,
    layout: &'a QueueLayout,
    quarantine: Quarantine,
    quarantine_dir: PathBuf,
    /// Batches that the ledger says are done.
    finished: HashMap<BatchId, Outcome>,
    next_seq: u64,
    newest_micros: u64,
    /// What finished batches held: when that was recorded, how they ended, and their seq.
    ledger_kept: Vec<(u64, Outcome, u64, Vec<ProducerRecord>)>,
    /// What open batches hold that cannot be recovered now.
    parked: Vec<(u64, Vec<ProducerRecord>)>,
    left: usize,
    damaged: usize,
}

/// What came out of `open/`.
struct Taken {
    open: Vec<OpenBatch>,
    ready: Vec<ReadyBatch>,
    dead: Vec<ReadyBatch>,
}

impl Work<'_> {
    fn saw(&mut self, seq: u64, id: BatchId) {
        self.next_seq = self.next_seq.max(seq.saturating_add(1));
        self.newest_micros = self.newest_micros.max(created_micros(id));
    }

    fn read_ledger(&mut self) -> Result<Ledger, FsError> {
        let (env, layout, quarantine) = (self.env, self.layout, self.quarantine.clone());
        Ledger::open(env, &quarantine, layout, |line| {
            self.saw(line.seq, line.id);
            self.newest_micros = self.newest_micros.max(line.at);
            self.finished.insert(line.id, line.outcome);
            if !line.producers.is_empty() {
                let LedgerLine {
                    at, outcome, seq, ..
                } = line;
                let at = at.max(created_micros(line.id));
                self.ledger_kept.push((at, outcome, seq, line.producers));
            }
        })
    }

    /// Lists `ready/` or `dead/` by names alone. Batches the ledger knows as done are removed from `ready/`: the
    /// crash came between the record and the unlink.
    fn list_sealed(
        &mut self,
        place: Place,
        set_aside: &HashMap<BatchId, PathBuf>,
    ) -> Result<Vec<ReadyBatch>, FsError> {
        let is_ready = place == Place::Ready;
        let dir = self.layout.dir_of(place);
        let mut found: HashMap<BatchId, ReadyName> = HashMap::new();
        let mut progress = Vec::new();
        let mut entries = self.env.fs.read_dir(&dir).at("list", &dir)?;
        // Of two with one id the lowest is kept, as a reader of the spool says.
        entries.sort_by_cached_key(|entry| entry.name.parse::<ReadyName>().ok());
        for DirEntry { name, is_dir } in entries {
            let path = dir.join(&name);
            if is_dir {
                self.set_aside(&path, "a directory where batches are");
                continue;
            }
            if is_temporary(&name) {
                self.remove(&path);
                continue;
            }
            if let Some(id) = parse_progress(&name).filter(|_| is_ready) {
                progress.push((id, path));
                continue;
            }
            let Ok(parsed) = name.parse::<ReadyName>() else {
                self.set_aside(&path, "not the name of a sealed batch");
                continue;
            };
            self.saw(parsed.seq, parsed.id);
            let finished = self.finished.get(&parsed.id).filter(|_| is_ready);
            if finished == Some(&Outcome::DeliveredDamaged) {
                self.set_aside(&path, "what could be read of it is on record as delivered");
            } else if finished.is_some_and(|outcome| outcome.leaves_ready()) {
                tracing::info!(queue = %self.queue, batch = %parsed.id, "already on record; removed");
                self.remove(&path);
            } else if set_aside
                .get(&parsed.id)
                .is_some_and(|dead| same_bytes(self.env, &path, dead))
            {
                // The rename was made durable in one directory and not yet in the other.
                self.remove(&path);
            } else if set_aside.contains_key(&parsed.id) || found.contains_key(&parsed.id) {
                self.set_aside(&path, "the same batch exists twice");
            } else {
                found.insert(parsed.id, parsed);
            }
        }
        for (id, path) in progress {
            if !found.contains_key(&id) {
                self.remove(&path);
            }
        }
        let mut batches: Vec<_> = found
            .into_values()
            .map(|name| ReadyBatch { name, place })
            .collect();
        batches.sort_by_key(|batch| batch.name.key());
        Ok(batches)
    }

    /// What lies in `open/`, in order of names.
    fn list_open(&self) -> Result<Vec<DirEntry>, FsError> {
        let dir = self.layout.open();
        let mut entries = self.env.fs.read_dir(&dir).at("list", &dir)?;
        entries.sort();
        Ok(entries)
    }

    /// Goes through `open/`: batches to fill further, those that were sealed, and those set aside.
    fn take_open(
        &mut self,
        entries: Vec<DirEntry>,
        elsewhere: &HashMap<BatchId, PathBuf>,
    ) -> Result<Taken, FsError> {
        let mut files = self.examine_all(entries, elsewhere);
        mark_highest(&mut files);
        let (mut open, mut sealed) = (Vec::new(), Vec::new());
        for examined in files {
            if let Some(name) = examined.identity {
                self.saw(name.seq, name.id);
            }
            let decision = decide(&examined.facts);
            let path = self.layout.open().join(&examined.name);
            // Opened again: there may be more of them than descriptors.
            let file = match decision.frames {
                Frames::None if decision.original != Original::KeepTorn => None,
                _ => match self.env.fs.open_read(&path).at("open", &path) {
                    Ok(file) => Some(file),
                    Err(error) => {
                        self.leave(&path, &error);
                        continue;
                    }
                },
            };
            match self.apply(&examined, file.as_deref(), &path, decision, elsewhere) {
                Ok(None) => {}
                Ok(Some(batch)) if decision.frames == Frames::Reopen => open.push(batch),
                Ok(Some(batch)) => sealed.push((decision.frames, batch)),
                Err(error) => {
                    self.leave(&path, &error);
                    if let (Some(file), Some(name)) = (&file, examined.identity) {
                        let contents = kept_contents(&examined, &**file, name.id);
                        self.parked.push((name.seq, contents.records()));
                    }
                }
            }
        }
        let (ready, dead) = self.move_sealed(sealed)?;
        Ok(Taken { open, ready, dead })
    }

    fn examine_all(
        &mut self,
        entries: Vec<DirEntry>,
        elsewhere: &HashMap<BatchId, PathBuf>,
    ) -> Vec<Examined> {
        let dir = self.layout.open();
        let mut files = Vec::new();
        for entry in entries {
            match examine_entry(self.env, &dir, &entry, self.queue) {
                Ok(examined) => files.push(examined),
                Err(error) => {
                    // Perhaps there are too many files open. That is no damage.
                    if let Ok(named) = entry.name.parse::<OpenName>() {
                        self.saw(named.seq, named.id);
                    }
                    self.leave(&dir.join(&entry.name), &error);
                }
            }
        }
        mark_elsewhere(&mut files, |id| {
            self.finished.contains_key(id) || elsewhere.contains_key(id)
        });
        files
    }

    fn leave(&mut self, path: &Path, error: &FsError) {
        self.left += 1;
        tracing::error!(
            queue = %self.queue, path = %path.display(), error = %error,
            "cannot be recovered now; it stays as it is and is tried at the next start"
        );
    }

    fn apply(
        &mut self,
        examined: &Examined,
        file: Option<&dyn File>,
        path: &Path,
        decision: Decision,
        elsewhere: &HashMap<BatchId, PathBuf>,
    ) -> Result<Option<OpenBatch>, FsError> {
        match decision.original {
            Original::Park => {
                tracing::error!(
                    queue = %self.queue, path = %path.display(),
                    "written by a newer program; left untouched"
                );
                self.left += 1;
                return Ok(None);
            }
            Original::Quarantine => {
                self.damaged += 1;
                self.quarantine_open(examined, path, elsewhere);
                return Ok(None);
            }
            Original::KeepTorn => self.note_torn(examined, file, path),
            Original::Link => {
                self.damaged += 1;
                let reason = format!("damaged: {}", examined.describe_damage());
                let kept = self.quarantine.link(path, &reason)?;
                tracing::error!(
                    queue = %self.queue, path = %path.display(), original = %kept.display(),
                    damage = examined.describe_damage(),
                    "a batch is damaged; its readable items go on, the original is in quarantine"
                );
            }
            Original::Forget => {}
        }
        match (decision.frames, file) {
            (Frames::None, _) | (_, None) => {
                self.remove(path);
                Ok(None)
            }
            (frames, Some(file)) => {
                let copy = || copy_over(self.env, self.queue, examined, file, path, frames);
                match copy() {
                    Err(error) if error.is_no_space() && (self.make_way)(examined.good_end) => {
                        copy()
                    }
                    other => other,
                }
                .map(Some)
            }
        }
    }

    fn quarantine_open(
        &self,
        examined: &Examined,
        path: &Path,
        elsewhere: &HashMap<BatchId, PathBuf>,
    ) {
        let id = examined.identity.map(|name| name.id);
        if examined.facts.elsewhere {
            let sealed = id.and_then(|id| elsewhere.get(&id));
            let is_finished = id.is_some_and(|id| self.finished.contains_key(&id));
            match twin(self.env, examined, path, sealed, is_finished) {
                Twin::SameBytes => self.remove(path),
                Twin::Finished => {
                    tracing::info!(queue = %self.queue, path = %path.display(), "already on record; removed");
                    self.remove(path);
                }
                Twin::Differs => self.set_aside(
                    path,
                    "the same batch exists sealed, or is on record as finished",
                ),
            }
        } else if examined.facts.name == Name::Batch {
            self.set_aside(
                path,
                &format!("cannot be read: {}", examined.describe_damage()),
            );
        } else {
            self.set_aside(path, "not a batch file, or not readable");
        }
    }

    fn note_torn(&self, examined: &Examined, file: Option<&dyn File>, path: &Path) {
        let kept = file.map(|f| keep_torn(self.env, &self.quarantine_dir, examined, f));
        match kept {
            Some(Err(error)) => tracing::warn!(
                queue = %self.queue, path = %path.display(), %error,
                "torn tail cut off, none of it was acknowledged; it could not be kept"
            ),
            Some(Ok(Some(kept))) => tracing::warn!(
                queue = %self.queue, path = %path.display(), offset = examined.good_end,
                kept = %kept.display(), "torn tail cut off, none of it was acknowledged"
            ),
            _ => {}
        }
    }

    /// Renames sealed copies to where they belong: ready and dead ones. Durable on return.
    fn move_sealed(
        &mut self,
        sealed: Vec<(Frames, OpenBatch)>,
    ) -> Result<(Vec<ReadyBatch>, Vec<ReadyBatch>), FsError> {
        let (mut ready, mut dead) = (Vec::new(), Vec::new());
        for (frames, batch) in sealed {
            let name = batch.ready_name();
            let (list, place) = match frames {
                Frames::Dead => (&mut dead, Place::Dead),
                _ => (&mut ready, Place::Ready),
            };
            let path = self.layout.sealed(&ReadyBatch { name, place });
            let place = match self.env.fs.rename(&batch.path, &path) {
                Ok(()) => place,
                Err(error) => {
                    // Sealed and durable where it is, so that it can go out from there, if that is its name.
                    tracing::warn!(
                        queue = %self.queue, path = %batch.path.display(), %error,
                        "a sealed batch cannot be renamed now; it stays in open/"
                    );
                    if batch.path != self.layout.open().join(name.open_name().to_string()) {
                        continue;
                    }
                    Place::Open
                }
            };
            list.push(ReadyBatch { name, place });
        }
        for dir in [self.layout.ready(), self.layout.dead(), self.layout.open()] {
            self.env.fs.sync_dir(&dir).at("sync", &dir)?;
        }
        Ok((ready, dead))
    }

    /// What is known of kept submissions without opening a sealed batch.
    fn kept_submissions(self, open: &[OpenBatch], window: Duration) -> Recollection {
        let window = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let oldest = self.newest_micros.saturating_sub(window);
        let mut ended_badly = EndedBadly::default();
        let mut parked = EndedBadly::default();
        self.parked
            .iter()
            .for_each(|(_, records)| parked.enter(records));
        let mut held = self.parked;
        for (line_at, outcome, seq, records) in self.ledger_kept {
            if line_at >= oldest {
                if outcome != Outcome::Delivered {
                    ended_badly.enter(&records);
                }
                held.push((seq, records));
            }
        }
        let open = open.iter();
        held.extend(open.map(|batch| (batch.header.seq, batch.contents.records())));
        Recollection {
            held,
            ended_badly,
            parked,
            oldest,
        }
    }

    fn set_aside(&self, path: &Path, reason: &str) {
        match self.quarantine.take(path, reason) {
            Ok(kept) => tracing::error!(
                queue = %self.queue, path = %path.display(), kept = %kept.display(), reason,
                "set aside in quarantine"
            ),
            Err(error) => tracing::error!(
                queue = %self.queue, path = %path.display(), %error, reason,
                "cannot be set aside; it stays where it is"
            ),
        }
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = self.env.fs.unlink(path) {
            tracing::warn!(queue = %self.queue, path = %path.display(), %error, "cannot be removed");
        }
    }
}

/// The time in a UUIDv7, in microseconds since 1970.
#[must_use]
pub fn created_micros(id: BatchId) -> u64 {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    u64::from_be_bytes([0, 0, a, b, c, d, e, f]) * 1000
}

//! Damage: whatever bytes lie in the spool, it starts, gives out no wrong byte, gives out all that is intact, and
//! names the rest.
//!
//! The limit is that of an open file without a mark: what lies above its highest `synced_to` cannot be told
//! from a torn write, of which nothing was acknowledged.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::HashSet;
use std::ops::Range;

use batchd_core::env::sim::{Image, Limits};
use batchd_core::frame::planted::Planted;
use batchd_core::frame::{BatchId, BodyLimits, BodyView, FileHeader, FrameHeader, Place};
use batchd_core::spool::ReadyBatch;
use batchd_core::spool::SpoolError;
use support::crash::Plant;
use support::world::{Dead, QUEUE, World, small};

/// Where a file is, and with that how much of it must be readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Open,
    Ready,
    Dead,
}

/// A frame of the undamaged file.
#[derive(Debug, Clone)]
struct Frame {
    range: Range<usize>,
    synced_to: usize,
    items: Vec<Vec<u8>>,
}

/// A batch file before it is damaged.
#[derive(Debug, Clone)]
struct BatchFile {
    path: String,
    at: At,
    frames: Vec<Frame>,
}

/// A spool before it is damaged.
struct Spool {
    image: Image,
    world: World,
    files: Vec<BatchFile>,
    quarantined: usize,
}

impl Spool {
    /// Two batches ready, of several frames, one of them a part; two open ones, with a mark or without; one dead;
    /// one delivered.
    fn new(marked: bool) -> Self {
        let mut world = World::new(small());
        let script = "submit a 3 20; lead; submit a 1 20; lead; keep; deliver; \
                      submit d 1 30; submit d 3 10; lead; keep; ";
        world.start().and_then(|()| world.run(script)).unwrap();
        world.run("bury").unwrap();
        let script = "submit a 1 40; lead; submit a 2 30; submit a 3 25; lead; \
                      submit a 2 200 end; submit b 1 500; lead; \
                      submit a 1 300; lead; submit a 1 700; submit b 1 10; lead; submit b 1 400; lead; keep";
        world.run(script).unwrap();
        if marked {
            world.run("stop").unwrap();
        }
        world.commit = None;
        world.disk.sync_all();
        let mut image = world.disk.live_image();
        // Files made ahead hold nothing.
        for path in image.files() {
            if path.contains("/open/") && image.read(&path).unwrap().iter().all(|b| *b == 0) {
                image.remove(&path).unwrap();
            }
        }
        let files: Vec<BatchFile> = image
            .files()
            .iter()
            .filter_map(|path| batch_file(&image, path))
            .collect();
        let count = |at| files.iter().filter(|file| file.at == at).count();
        assert_eq!(
            [count(At::Open), count(At::Ready), count(At::Dead)],
            [2, 2, 1],
            "{image}"
        );
        Self {
            image,
            world,
            files,
            quarantined: 0,
        }
    }

    /// All items that the batch files hold.
    fn items(&self) -> HashSet<Vec<u8>> {
        let frames = self.files.iter().flat_map(|file| &file.frames);
        frames
            .flat_map(|frame| frame.items.iter().cloned())
            .collect()
    }

    /// Starts on a damaged image, takes out all there is, and compares. `may_miss` are items that may be missing;
    /// where any is, that must be seen somewhere, unless `may_be_silent`.
    fn check(
        &self,
        image: &Image,
        may_miss: &HashSet<Vec<u8>>,
        may_be_silent: bool,
    ) -> Result<(), String> {
        let book = self.world.book.clone();
        let before = book.sink.len();
        let mut world = World::after(image, small(), book, 100);
        world
            .start()
            .map_err(|Dead(why)| format!("does not start: {why}"))?;
        world
            .drain()
            .map_err(|Dead(why)| format!("cannot be drained: {why}"))?;
        let mut given: Vec<Vec<u8>> = world.book.sink[before..]
            .iter()
            .filter(|d| !d.dead)
            .flat_map(|d| d.items.iter().cloned())
            .collect();
        let dead: Vec<ReadyBatch> = world.commit().lock().dead().cloned().collect();
        let mut named = world.files_in("spool/quarantine").len() > self.quarantined;
        for batch in dead {
            let (inspection, items) = world.read(&batch).map_err(|Dead(why)| why)?;
            named |= inspection.damage.is_some();
            given.extend(items);
        }
        let mut missing = self.items();
        for item in &given {
            if !missing.remove(item) {
                return Err(format!("wrong, or given twice: {}", item.escape_ascii()));
            }
        }
        if let Some(lost) = missing.iter().find(|item| !may_miss.contains(*item)) {
            return Err(format!("lost: {}\n{}", lost.escape_ascii(), world.out));
        }
        if !missing.is_empty() && !named && !may_be_silent {
            let count = missing.len();
            return Err(format!(
                "{count} items are missing and nothing says so\n{}",
                world.out
            ));
        }
        Ok(())
    }

    /// Damages a file and checks: all frames that are not touched are given out, as far as the file is sealed or
    /// `synced_to` tells damage from a torn write.
    fn check_file(
        &self,
        file: &BatchFile,
        touched: &Range<usize>,
        bytes: Vec<u8>,
    ) -> Result<(), String> {
        let mut image = self.image.clone();
        let ends_clean = {
            let rest = bytes.get(touched.start..).unwrap_or_default();
            rest.iter().all(|b| *b == 0)
        };
        image.write(&file.path, bytes).unwrap();
        let (may_miss, at_the_end) = file.may_miss(touched);
        self.check(&image, &may_miss, at_the_end && ends_clean)
            .map_err(|why| format!("{} with {touched:?} damaged: {why}", file.path))
    }
}

impl BatchFile {
    /// The items that may be missing when these bytes are damaged, and whether all of these may be taken for the
    /// torn end of an open file.
    fn may_miss(&self, touched: &Range<usize>) -> (HashSet<Vec<u8>>, bool) {
        let is_hit = |f: &Frame| f.range.start < touched.end && touched.start < f.range.end;
        let head_is_hit = self.at == At::Open && touched.start < 512;
        let synced_to = self
            .frames
            .iter()
            .filter(|frame| !is_hit(frame))
            .map(|frame| frame.synced_to)
            .max()
            .unwrap_or(0);
        // Bad bytes begin where the first frame that is hit does.
        let first_hit = self
            .frames
            .iter()
            .find(|frame| frame.range.end > touched.start);
        let cut = match first_hit {
            _ if head_is_hit => 0,
            Some(frame) => frame.range.start,
            None => usize::MAX,
        };
        let is_torn = self.at == At::Open && cut >= synced_to;
        let lost = |f: &&Frame| is_hit(f) || (is_torn && f.range.start >= cut);
        let items = self
            .frames
            .iter()
            .filter(lost)
            .flat_map(|f| f.items.iter().cloned())
            .collect();
        (items, is_torn)
    }
}

/// Reads the frames of an undamaged file, by the format alone.
fn batch_file(image: &Image, path: &str) -> Option<BatchFile> {
    let at = match path {
        _ if path.contains("/open/") => At::Open,
        _ if path.contains("/ready/") => At::Ready,
        _ if path.contains("/dead/") => At::Dead,
        _ => return None,
    };
    let bytes = image.read(path).unwrap();
    let batch: BatchId = FileHeader::decode(&bytes).unwrap().id;
    let mut frames = Vec::new();
    let mut start = 512;
    while let Some(rest) = bytes.get(start..)
        && let Ok(header) = FrameHeader::decode(
            rest,
            Place {
                batch,
                offset: start as u64,
            },
        )
    {
        let end = start + usize::try_from(header.frame_bytes()).unwrap();
        let body = &rest[48..48 + header.body_bytes as usize];
        let items = if header.items == 0 {
            Vec::new()
        } else {
            let view = BodyView::parse(body, header.items, BodyLimits::NONE).unwrap();
            view.items().map(<[u8]>::to_vec).collect()
        };
        frames.push(Frame {
            range: start..end,
            synced_to: header.synced_to as usize,
            items,
        });
        start = end;
    }
    Some(BatchFile {
        path: path.to_owned(),
        at,
        frames,
    })
}

fn each_spool(check: impl Fn(&Spool)) {
    for marked in [true, false] {
        check(&Spool::new(marked));
    }
}

#[track_caller]
fn demand(result: Result<(), String>) {
    if let Err(why) = result {
        panic!("{why}");
    }
}

#[test]
fn without_damage_all_is_there() {
    each_spool(|spool| demand(spool.check(&spool.image, &HashSet::new(), false)));
}

#[test]
fn every_flipped_byte() {
    each_spool(|spool| {
        for file in &spool.files {
            let good = spool.image.read(&file.path).unwrap();
            let end = file.frames.last().unwrap().range.end;
            for at in 0..end {
                // One bit of each byte, all bits of some.
                let bits = if at % 61 == 0 {
                    0..8
                } else {
                    at % 8..at % 8 + 1
                };
                for bit in bits {
                    let mut bytes = good.clone();
                    bytes[at] ^= 1 << bit;
                    demand(spool.check_file(file, &(at..at + 1), bytes));
                }
            }
        }
    });
}

#[test]
fn every_length() {
    each_spool(|spool| {
        for file in &spool.files {
            let good = spool.image.read(&file.path).unwrap();
            let end = file.frames.last().unwrap().range.end;
            for len in 0..end {
                demand(spool.check_file(file, &(len..good.len()), good[..len].to_vec()));
            }
        }
    });
}

/// Zeroes each block of each file; the first complaint.
fn zero_blocks() -> Result<(), String> {
    for marked in [true, false] {
        let spool = Spool::new(marked);
        for file in &spool.files {
            let good = spool.image.read(&file.path).unwrap();
            for start in (0..file.frames.last().unwrap().range.end).step_by(512) {
                let range = start..(start + 512).min(good.len());
                let mut bytes = good.clone();
                bytes[range.clone()].fill(0);
                spool.check_file(file, &range, bytes)?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_zeroed_block() {
    demand(zero_blocks());
}

#[test]
fn zeros_that_are_taken_for_the_end_are_found() {
    let _planted = Plant::new(Some(Planted::ZerosTakenForEnd));
    let why = zero_blocks().unwrap_err();
    assert!(why.contains("lost"), "{why}");
}

/// Swaps each block of each file with that of every other; the first complaint.
fn swap_blocks() -> Result<(), String> {
    for marked in [true, false] {
        let spool = Spool::new(marked);
        for one in &spool.files {
            for other in spool.files.iter().filter(|other| other.path != one.path) {
                let (a, b) = (
                    spool.image.read(&one.path).unwrap(),
                    spool.image.read(&other.path).unwrap(),
                );
                let end = one.frames.last().unwrap().range.end.min(b.len());
                for start in (0..end).step_by(512) {
                    let range = start..(start + 512).min(a.len()).min(b.len());
                    let mut bytes = a.clone();
                    bytes[range.clone()].copy_from_slice(&b[range.clone()]);
                    spool.check_file(one, &range, bytes)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn blocks_of_other_files() {
    demand(swap_blocks());
}

#[test]
fn files_under_each_others_names() {
    each_spool(|spool| {
        for one in &spool.files {
            for other in spool.files.iter().filter(|other| other.path < one.path) {
                let mut image = spool.image.clone();
                let (a, b) = (
                    image.read(&one.path).unwrap(),
                    image.read(&other.path).unwrap(),
                );
                image.write(&one.path, b).unwrap();
                image.write(&other.path, a).unwrap();
                let both = [one, other];
                let frames = both.iter().flat_map(|file| &file.frames);
                let may_miss = frames.flat_map(|f| f.items.iter().cloned()).collect();
                demand(
                    spool
                        .check(&image, &may_miss, false)
                        .map_err(|why| format!("{} and {}: {why}", one.path, other.path)),
                );
            }
        }
    });
}

#[test]
fn a_damaged_format() {
    let spool = Spool::new(true);
    let good = spool.image.read("spool/FORMAT").unwrap();
    let mut texts: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    texts.extend([b"garbage".to_vec(), vec![0; 15], vec![0xff; 4000]]);
    for text in texts {
        let mut image = spool.image.clone();
        image.write("spool/FORMAT", text).unwrap();
        demand(spool.check(&image, &HashSet::new(), false));
    }
    let mut image = spool.image.clone();
    image
        .write("spool/FORMAT", b"batchd-spool 2\n".to_vec())
        .unwrap();
    let disk = image.to_disk();
    let env = disk.env(&spool.world.clock, 1);
    let refused = batchd_core::spool::LockedSpool::open(
        env,
        batchd_core::spool::Layout::new("/spool"),
        "test",
    );
    assert!(
        matches!(refused, Err(SpoolError::Newer { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_damaged_ledger() {
    let spool = Spool::new(true);
    let path = format!("{QUEUE}/ledger");
    let good = spool.image.read(&path).unwrap();
    assert!(!good.is_empty());
    let mut texts: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        texts.push(bytes);
    }
    texts.extend([
        b"\n\n{}\n[]\nnull\n".to_vec(),
        vec![0; 3000],
        vec![0xff; 3000],
    ]);
    for text in texts {
        let mut image = spool.image.clone();
        image.write(&path, text).unwrap();
        demand(spool.check(&image, &HashSet::new(), false));
    }
}

#[test]
fn a_ledger_that_names_runs_backwards() {
    let mut world = World::started(small());
    let script = "submit a 4 20; lead; keep; submit a 4 20; lead; keep; deliver all";
    world.run(script).unwrap();
    let mut text = String::new();
    for (mut line, run) in world.ledger().into_iter().zip([[1, 2], [9, 3]]) {
        line["producers"][0]["whole"] = serde_json::json!([run]);
        text.push_str(&format!("{line}\n"));
    }
    assert_eq!(text.matches("\"whole\":[[").count(), 2, "{text}");
    let mut image = world.disk.live_image();
    image.write(format!("{QUEUE}/ledger"), text).unwrap();
    world.disk = image.to_disk();
    world.start().unwrap();
    // The run that is one counts.
    world.out.clear();
    world.run("repeat 0; repeat 1; lead").unwrap();
    insta::assert_snapshot!(world.out, @r"
    1 known
    0 Kept(Synced)
    ");
}

#[test]
fn foreign_files_and_directories_out_of_place() {
    let spool = Spool::new(false);
    let names = [
        "foo",
        "x.batch",
        "000000000001-x.batch",
        "000000000007-abababab-abab-abab-abab-abababababab.batch",
        "000000000007-1-2-0-abababab-abab-abab-abab-abababababab.batch",
        "000000000007-abababab-abab-abab-abab-abababababab.batch.tmp",
        "abababab-abab-abab-abab-abababababab.progress",
        "abababab-abab-abab-abab-abababababab.progress.tmp",
        ".tmp",
        "ledger",
    ];
    for dir in ["open", "ready", "dead"] {
        for name in names {
            let path = format!("{QUEUE}/{dir}/{name}");
            for bytes in [vec![], vec![0; 700], vec![0x5a; 700]] {
                let mut image = spool.image.clone();
                image.write(&path, bytes).unwrap();
                demand(
                    spool
                        .check(&image, &HashSet::new(), false)
                        .map_err(|e| format!("{path}: {e}")),
                );
            }
            let mut image = spool.image.clone();
            image.mkdir(&path).unwrap();
            demand(
                spool
                    .check(&image, &HashSet::new(), false)
                    .map_err(|e| format!("{path}/: {e}")),
            );
        }
    }
    for path in [
        "FORMAT",
        "queues/q/ledger",
        "queues/q/ledger.1",
        "queues/q/ledger.tmp",
    ] {
        let mut image = spool.image.clone();
        let path = format!("spool/{path}");
        if image.exists(&path) {
            image.remove(&path).unwrap();
        }
        image.mkdir(&path).unwrap();
        demand(
            spool
                .check(&image, &HashSet::new(), false)
                .map_err(|e| format!("{path}/: {e}")),
        );
    }
    for file in &spool.files {
        let mut image = spool.image.clone();
        image.remove(&file.path).unwrap();
        image.mkdir(&file.path).unwrap();
        let may_miss = file
            .frames
            .iter()
            .flat_map(|f| f.items.iter().cloned())
            .collect();
        demand(
            spool
                .check(&image, &may_miss, false)
                .map_err(|e| format!("{}/: {e}", file.path)),
        );
    }
}

#[test]
fn a_damaged_batch_is_never_deleted() {
    let spool = Spool::new(true);
    let file = spool
        .files
        .iter()
        .find(|file| file.at == At::Ready)
        .unwrap();
    let mut image = spool.image.clone();
    let mut bytes = image.read(&file.path).unwrap();
    bytes[file.frames[1].range.start + 50] ^= 1;
    image.write(&file.path, bytes.clone()).unwrap();
    for cut in 0.. {
        let mut world = World::after(&image, small(), spool.world.book.clone(), 100);
        world.start().unwrap();
        world.disk.power_cut_after(cut);
        let done = world.run("deliver").is_ok();
        world.commit = None;
        for left in world.disk.crash_states(&Limits::default()) {
            let mut world = World::after(&left, small(), world.book.clone(), 200);
            world.start().and_then(|()| world.drain()).unwrap();
            let image = world.disk.live_image();
            let is_kept = |path: &String| {
                path.starts_with("spool/quarantine/") && image.read(path).unwrap() == bytes
            };
            assert!(
                image.files().iter().any(is_kept),
                "cut {cut}: {image}{left:?}"
            );
        }
        if done {
            break;
        }
    }
}

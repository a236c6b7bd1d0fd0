//! The shelf of disappearing batches, in memory and on a simulated disk, by a clock that moves when told.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cleaner;
mod crashes;
mod expiry;
mod refused;
mod restarts;
mod threads;

use std::time::Duration;

use batchd_core::batcher::{Codec, DirError, DirLimits, Shelf, ShelfOptions};
use batchd_core::env::sim::{SimClock, SimDisk};
use batchd_core::frame::BatchId;
use batchd_core::spool::space::MinFree;

const SECOND: Duration = Duration::from_secs(1);
const MICRO: Duration = Duration::from_micros(1);
/// That of the batches of most tests.
const LIFESPAN: Duration = Duration::from_secs(10);

/// A disk and a clock, for shelves.
#[derive(Debug, Clone, Default)]
struct Site {
    disk: SimDisk,
    clock: SimClock,
    limits: DirLimits,
    max_items: Option<u64>,
}

impl Site {
    fn new() -> Self {
        let limits = DirLimits {
            max_bytes: Some(1 << 30),
            min_free: MinFree::Off,
        };
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The same on another disk, with the same time.
    fn on(&self, disk: SimDisk) -> Self {
        Self {
            disk,
            ..self.clone()
        }
    }

    fn options(&self) -> ShelfOptions {
        ShelfOptions {
            max_items: self.max_items,
            cleanup_interval: None,
            limits: self.limits,
            env: self.disk.env(&self.clock, self.disk.op_count()),
        }
    }

    fn in_memory(&self) -> Shelf<String> {
        self.options().in_memory()
    }

    fn try_open(&self) -> Result<Shelf<String>, DirError> {
        self.options().on_spool("/srv/shelf", Codec::text())
    }

    fn open(&self) -> Shelf<String> {
        self.try_open().unwrap()
    }

    /// What lies in a directory of the queue.
    fn files_in(&self, dir: &str) -> Vec<String> {
        let files = self.disk.live_image().files();
        let of_dir = |file: &String| file.contains(&format!("srv/shelf/queues/shelf/{dir}/"));
        files.into_iter().filter(of_dir).collect()
    }
}

/// What holds wherever a shelf is.
fn both(test: impl Fn(&SimClock, Shelf<String>)) {
    let site = Site::new();
    test(&site.clock, site.in_memory());
    let site = Site::new();
    test(&site.clock, site.open());
}

fn items(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[track_caller]
fn put(shelf: &Shelf<String>, names: &[&str], lifespan: Duration) -> BatchId {
    shelf.create(items(names), lifespan).unwrap()
}

/// What a shelf gives for an id.
#[track_caller]
fn got(shelf: &Shelf<String>, id: BatchId) -> Option<Vec<String>> {
    shelf.get(id).unwrap().map(|items| items.to_vec())
}

//! A spool with its index, what happens in it, and how it is harmed.

#![expect(
    clippy::disallowed_methods,
    reason = "the index is on the real disk, and so is what harms it"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use batchd_frame::{BatchId, QueueName};
use tempfile::TempDir;

use super::super::store::destroy;
use super::super::store::faults;
use super::super::*;
use crate::env::os::OsFs;
use crate::env::sim::{SimClock, SimEntropy};
use crate::env::{Entropy as _, Env};
use crate::queue::QueuePrint;
use crate::spool::layout::{Layout, Place, QueueLayout, ReadyBatch, ReadyName};
use crate::spool::ledger::{Ledger, LedgerLine, Outcome};
use crate::spool::quarantine::Quarantine;

const QUEUES: [&str; 2] = ["a", "a.b"];
/// Longer than any wait after a failure.
pub(super) const A_WHILE: Duration = Duration::from_secs(400);

/// One queue with its files, written as the daemon writes them.
pub(super) struct Queue {
    pub name: QueueName,
    pub layout: QueueLayout,
    pub ledger: Ledger,
    pub ready: Vec<ReadyBatch>,
    pub dead: Vec<ReadyBatch>,
}

/// A spool, the queues in it, and its index.
pub(super) struct World {
    pub root: TempDir,
    pub env: Env,
    pub clock: SimClock,
    pub random: SimEntropy,
    pub queues: Vec<Queue>,
    pub index: Index,
    pub seq: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let root = directory();
        let clock = SimClock::default();
        let env = Env {
            fs: Arc::new(OsFs),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SimEntropy::new(seed)),
        };
        let layout = Layout::new(root.path());
        let queues = QUEUES.map(|name| open_queue(&env, &layout, name));
        let index = Index::new(env.clone(), layout);
        let mut world = Self {
            root,
            env,
            clock,
            random: SimEntropy::new(seed),
            queues: queues.into(),
            index,
            seq: 0,
        };
        assert!(!world.index.open(&world.prints()), "there is none");
        world.rebuild();
        world
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::new(self.root.path())
    }

    pub(super) fn draw(&self, below: usize) -> usize {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % below.max(1) as u64).expect("small")
    }

    /// Something happens in the spool, and the index is told.
    pub(super) fn step(&mut self) {
        self.clock.advance(Duration::from_millis(7));
        let which = self.draw(self.queues.len());
        let what = self.draw(10);
        let draw = self.draw(1000);
        let queue = &mut self.queues[which];
        match what {
            0..=4 => {
                self.seq += 1;
                let name = ReadyName {
                    seq: self.seq,
                    items: 3,
                    bytes: 100 + self.seq,
                    expires_at: 0,
                    id: BatchId::new(self.seq, [9; 10]),
                };
                let place = Place::Ready;
                let batch = ReadyBatch { name, place };
                fs::write(queue.layout.sealed(&batch), "").expect("a file");
                queue.ready.push(batch);
                self.index.placed(&queue.name, &batch);
            }
            5..=7 if !queue.ready.is_empty() => {
                let batch = queue.ready.remove(draw % queue.ready.len());
                let outcome = [Outcome::Delivered, Outcome::Dropped, Outcome::Removed][draw % 3];
                record(&self.env, &mut self.index, queue, &batch, outcome);
                fs::remove_file(queue.layout.sealed(&batch)).expect("there");
            }
            8 if !queue.ready.is_empty() => {
                let batch = queue.ready.remove(0);
                let place = Place::Dead;
                let dead = ReadyBatch { place, ..batch };
                fs::rename(queue.layout.sealed(&batch), queue.layout.sealed(&dead)).expect("there");
                queue.dead.push(dead);
                self.index.placed(&queue.name, &dead);
                record(&self.env, &mut self.index, queue, &dead, Outcome::Expired);
            }
            9 if !queue.dead.is_empty() => {
                // Tried again: it will have two lines.
                let dead = queue.dead.remove(draw % queue.dead.len());
                let place = Place::Ready;
                let batch = ReadyBatch { place, ..dead };
                fs::rename(queue.layout.sealed(&dead), queue.layout.sealed(&batch)).expect("there");
                queue.ready.push(batch);
                self.index.placed(&queue.name, &batch);
            }
            _ => {}
        }
    }

    pub(super) fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        let sources = self.queues.iter().map(|queue| Source {
            queue: queue.name.clone(),
            layout: queue.layout.clone(),
            ledger_number: Box::new(|| queue.ledger.number()),
        });
        sources.collect()
    }

    pub(super) fn prints(&self) -> Vec<QueuePrint> {
        let print = |queue: &Queue| {
            QueuePrint::new(
                queue.name.clone(),
                queue.ready.iter(),
                queue.dead.iter(),
                queue.ledger.print(),
            )
        };
        self.queues.iter().map(print).collect()
    }

    pub(super) fn rebuild(&mut self) {
        let other = self.another(self.root.path());
        let mut index = std::mem::replace(&mut self.index, other);
        // A fault that was meant for what came before may strike here, once.
        let tries = 1 + u32::from(faults::is_set());
        assert!((0..tries).any(|_| index.rebuild(&self.sources(), &|| true)));
        self.index = index;
    }

    pub(super) fn another(&self, root: &Path) -> Index {
        Index::new(self.env.clone(), Layout::new(root))
    }

    /// What the spool's files come to.
    pub(super) fn fresh(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let elsewhere = directory();
        let mut index = self.another(elsewhere.path());
        assert!(index.rebuild(&self.sources(), &|| true), "rebuilt");
        index.dump()
    }

    #[track_caller]
    pub(super) fn check(&self) {
        let (kept, fresh) = (self.index.dump(), self.fresh());
        assert!(kept == fresh, "kept in step:\n{kept:?}\nfresh:\n{fresh:?}");
    }

    /// Whatever is answered is what the files say.
    #[track_caller]
    pub(super) fn check_answers(&mut self) {
        let queues: Vec<_> = self
            .queues
            .iter()
            .map(|queue| (queue.name.clone(), queue.layout.clone()))
            .collect();
        let queues = || queues.iter().map(|(name, layout)| (name, layout));
        for queue in [None, Some(self.queues[0].name.clone())] {
            let mut query = Query {
                queue,
                limit: 7,
                ..Query::default()
            };
            loop {
                let truth = ledgers::history(&self.env, queues(), &query).expect("readable");
                let Ok(page) = self.index.history(&query) else {
                    return;
                };
                assert_eq!(page, truth, "{query:?}");
                match page.ended.last().filter(|_| page.more) {
                    Some(last) => query.before = Some(last.cursor()),
                    None => break,
                }
            }
        }
        for seq in 1..=self.seq {
            let id = BatchId::new(seq, [9; 10]);
            let truth = ledgers::what_became_of(&self.env, queues(), id).expect("readable");
            let Ok(found) = self.index.find(id) else {
                return;
            };
            assert_eq!(found.and_then(|found| found.ended), truth, "batch {seq}");
        }
    }

    /// Stops cleanly, and starts again after `between`. Says whether the index was opened and not rebuilt.
    pub(super) fn restart(&mut self, between: impl FnOnce(&Path)) -> bool {
        let index = self.another(self.root.path());
        std::mem::replace(&mut self.index, index).close(&self.prints());
        between(&self.layout().index());
        self.start()
    }

    /// Stops cleanly and starts again. A thread of the store that comes late costs a rebuild, at times.
    pub(super) fn restart_soundly(&mut self) -> bool {
        (0..5).any(|_| self.restart(|_| {}))
    }

    /// Dies, and starts again.
    pub(super) fn kill(&mut self) -> bool {
        self.index = self.another(self.root.path());
        self.start()
    }

    pub(super) fn start(&mut self) -> bool {
        let layout = self.layout();
        for queue in &mut self.queues {
            queue.ledger = open_ledger(&self.env, &queue.layout);
        }
        self.index = Index::new(self.env.clone(), layout);
        let opened = self.index.open(&self.prints());
        if !opened {
            self.rebuild();
        }
        opened
    }

    /// As [`World::recover`], whatever was noticed so far.
    pub(super) fn recover_now(&mut self) {
        self.index.fail("a test says so");
        self.clock.advance(A_WHILE);
        let due = self.index.rebuild_due();
        if due.is_none() {
            // Given up, as by a daemon that is then started again.
            self.index = self.another(self.root.path());
        }
        self.rebuild();
    }

    /// The index comes back, as soon as it may.
    pub(super) fn recover(&mut self) {
        self.index.tend();
        if !self.index.is_open() {
            self.clock.advance(A_WHILE);
            assert_eq!(self.index.rebuild_due(), Some(Duration::ZERO));
            self.rebuild();
        }
    }
}

/// In memory where that can be had: thousands of syncs are nothing to the point here.
pub(super) fn directory() -> TempDir {
    let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    made.expect("a directory")
}

pub(super) fn open_queue(env: &Env, layout: &Layout, name: &str) -> Queue {
    let name = QueueName::new(name).expect("a name");
    let layout = layout.queue(&name);
    for dir in [layout.open(), layout.ready(), layout.dead()] {
        fs::create_dir_all(dir).expect("a directory");
    }
    Queue {
        ledger: open_ledger(env, &layout),
        name,
        layout,
        ready: Vec::new(),
        dead: Vec::new(),
    }
}

pub(super) fn open_ledger(env: &Env, layout: &QueueLayout) -> Ledger {
    // Nothing here damages a ledger.
    let quarantine = Quarantine::new(env.clone(), &Layout::new(layout.dir()));
    let mut ledger = Ledger::open(env, &quarantine, layout, |_| {}).expect("opens");
    // Some ten lines.
    ledger.rotate_past(1500);
    ledger
}

pub(super) fn record(
    env: &Env,
    index: &mut Index,
    queue: &mut Queue,
    batch: &ReadyBatch,
    outcome: Outcome,
) {
    let line = LedgerLine {
        at: env.clock.wall_micros(),
        id: batch.name.id,
        seq: batch.name.seq,
        outcome,
        items: batch.name.items,
        bytes: batch.name.bytes,
        why: "because".repeat(usize::from(outcome == Outcome::Removed)),
        producers: Vec::new(),
    };
    queue
        .ledger
        .append(std::slice::from_ref(&line))
        .expect("appends");
    index.recorded(&Ended::new(&queue.name, line.end()), queue.ledger.number());
}

/// The files below a directory.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            all.extend(files(&entry.path()));
        } else {
            all.push(entry.path());
        }
    }
    all.sort();
    all
}

pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SimEntropy::new(seed).fill(&mut bytes);
    bytes
}

/// Ways to harm an index, by number.
pub(super) const HARMS: u64 = 12;

pub(super) fn harm(number: u64, index: &Path) {
    let each = |change: &dyn Fn(&Path)| files(index).iter().for_each(|file| change(file));
    let rewrite = |file: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(file).unwrap_or_default();
        change(&mut bytes);
        // In place, as something would that writes into files that are open.
        fs::write(file, bytes).expect("writable");
    };
    match number {
        0 => destroy(index).expect("removable"),
        1 => each(&|file| destroy(file).expect("removable")),
        2 => each(&|file| rewrite(file, &|bytes| bytes.clear())),
        3 => each(&|file| rewrite(file, &|bytes| bytes.truncate(bytes.len() / 2))),
        4 => each(&|file| rewrite(file, &|bytes| bytes.truncate(bytes.len().saturating_sub(1)))),
        5 => each(&|file| rewrite(file, &|bytes| *bytes = noise(5, bytes.len()))),
        6 => each(&|file| rewrite(file, &|bytes| *bytes = vec![0xff; bytes.len() + 4096])),
        7 => each(&|file| {
            rewrite(file, &|bytes| {
                let middle = bytes.len() / 2;
                bytes
                    .get_mut(middle)
                    .into_iter()
                    .for_each(|byte| *byte ^= 1);
            });
        }),
        8 => {
            destroy(index).expect("removable");
            fs::write(index, "a file").expect("writable");
        }
        9 => {
            destroy(index).expect("removable");
            std::os::unix::fs::symlink("/nowhere", index).expect("a link");
        }
        10 => each(&|file| {
            destroy(file).expect("removable");
            fs::create_dir(file).expect("a directory");
        }),
        _ => {
            let files = files(index);
            let closed = || fs::Permissions::from_mode(0o000);
            files
                .iter()
                .for_each(|file| drop(fs::set_permissions(file, closed())));
        }
    }
}

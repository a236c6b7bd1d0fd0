//! Batches on a spool: the items of a server are appended to the open batch, a group at a time, each group durable
//! before any of it is acknowledged; what is closed waits in the spool.

use std::path::Path;
use std::time::Duration;

use batchd_frame::{Ack, BatchId, SealReason};

use super::callbacks::ItemsFile;
use super::codec::{BoxError, Codec};
use super::dir::{BatchDir, Body, DirError, DirLimits};
use super::panics::words;
use crate::env::Env;
use crate::policy::{BYTES_MAX_MAX, Policy};
use crate::queue::attempt::{AttemptState, Attempted, Parcel};
use crate::queue::commit::Broken;
use crate::queue::{Answer, Failure, Incoming, Led, OpenView, Refusal};
use crate::spool::items::Items;
use crate::spool::sealed::SealedFile;

/// The name of its queue.
const QUEUE: &str = "batcher";

/// The spool of a server.
pub(super) struct Spooled<T> {
    dir: BatchDir,
    codec: Codec<T>,
    /// The next item, encoded.
    next: Vec<u8>,
    /// Items that are not appended yet, encoded one after another, and where each ends.
    encoded: Vec<u8>,
    ends: Vec<usize>,
    attempts: AttemptState,
}

/// Why a group is not kept.
pub(super) enum NotKept {
    /// There is no room, or it cannot be written; nothing of it is kept.
    NoRoom(String),
    /// The spool failed.
    Broken(String),
}

impl<T> Spooled<T> {
    /// Opens a batch directory and recovers it.
    pub(super) fn open(
        env: &Env,
        path: &Path,
        limits: DirLimits,
        codec: Codec<T>,
    ) -> Result<Self, DirError> {
        // When a batch is closed is the server's affair.
        let policy = Policy {
            max_items: None,
            max_bytes: Some(BYTES_MAX_MAX),
            max_age: None,
            ..Policy::default()
        };
        Ok(Self {
            dir: BatchDir::open(env, path, QUEUE, limits, policy, true)?,
            codec,
            next: Vec::new(),
            encoded: Vec::new(),
            ends: Vec::new(),
            attempts: AttemptState::default(),
        })
    }

    /// How many open batches the start found damaged.
    pub(super) fn damaged_at_start(&self) -> usize {
        self.dir.commit.damaged_at_start()
    }

    /// Encodes the next item. Returns its length in bytes.
    pub(super) fn encode(&mut self, item: &T) -> Result<u64, BoxError> {
        self.next.clear();
        self.codec.encode(item, &mut self.next)?;
        Ok(self.next.len() as u64)
    }

    /// Puts the item that was encoded last into the group.
    pub(super) fn stage(&mut self) {
        self.encoded.append(&mut self.next);
        self.ends.push(self.encoded.len());
    }

    /// How many bytes the group has; each item counts a few more than its own.
    pub(super) fn group_bytes(&self) -> u64 {
        (self.encoded.len() + 5 * self.ends.len()) as u64
    }

    /// Appends the group. It is durable on return.
    pub(super) fn append(&mut self) -> Result<(), NotKept> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let body = Body::of(&self.encoded, &self.ends);
        self.encoded.clear();
        self.ends.clear();
        let commit = &self.dir.commit;
        let Some(view) = body.view() else {
            return Err(NotKept::NoRoom("the group is too long".to_owned()));
        };
        let incoming = Incoming {
            key: b"",
            body: body.bytes(),
            body_crc: body.crc,
            view,
            ack: Ack::Synced,
            end_of_batch: false,
            repeat: false,
            received_at: commit.env().clock.wall_micros(),
        };
        match commit.begin(&incoming, 0) {
            Ok(_) => {}
            Err(Refusal::Stopped) => return Err(NotKept::Broken(self.why_broken())),
            Err(refusal) => return Err(NotKept::NoRoom(refusal.to_string())),
        }
        let mut answers = Vec::new();
        loop {
            match commit.lead(&mut answers) {
                Err(Broken(why)) => return Err(NotKept::Broken(why)),
                Ok(Led::More) => {}
                Ok(Led::Idle) => break,
            }
        }
        match answers.pop() {
            Some((_, Answer::Kept(_))) => Ok(()),
            Some((_, Answer::Failed(Failure::NoSpace))) => {
                Err(NotKept::NoRoom("the file system is full".to_owned()))
            }
            Some((_, Answer::Failed(Failure::ReadOnly))) => {
                Err(NotKept::NoRoom("the file system is read-only".to_owned()))
            }
            _ => Err(NotKept::Broken(self.why_broken())),
        }
    }

    fn why_broken(&self) -> String {
        let queue = self.dir.commit.lock();
        queue.broken().unwrap_or("no answer").to_owned()
    }

    /// The batch that is open.
    pub(super) fn open_batch(&self) -> Option<OpenView> {
        let views = self.dir.commit.lock().open_views();
        let mut open = views.into_iter().filter(|view| view.closing.is_none());
        open.find(|view| view.header.key.is_empty())
    }

    /// Shows every item of the open batch.
    pub(super) fn each_open_item(
        &self,
        mut visit: impl FnMut(&T) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(open) = self.open_batch() else {
            return Ok(());
        };
        let file = SealedFile::open(self.dir.commit.env(), &open.path, open.header.id);
        let file = file.map_err(|error| error.to_string())?;
        let ranges = file.inspect().ranges;
        let found: u64 = ranges.iter().map(|range| range.count).sum();
        if found != u64::from(open.fill.items) {
            return Err(format!(
                "{} has {found} items that can be read, of {}",
                open.path.display(),
                open.fill.items
            ));
        }
        each(&mut Items::new(&file, ranges), &self.codec, &mut visit)
    }

    /// Closes the open batch and seals it. Where there is no room for the seal, that is left to [`keep`](Self::keep).
    pub(super) fn close(&self, reason: SealReason) -> Result<(), Broken> {
        self.dir.commit.flush_because(reason);
        self.keep().map(|_| ())
    }

    /// Keeps house; says when to look again.
    pub(super) fn keep(&self) -> Result<Option<Duration>, Broken> {
        let commit = &self.dir.commit;
        // Notices that there is room again, or that it can be written again.
        let look = commit.space().tend();
        let kept = commit.keep()?;
        Ok([look, kept.next_due].into_iter().flatten().min())
    }

    /// Whether what becomes of a batch can be put on record.
    pub(super) fn may_deliver(&self) -> bool {
        self.dir.commit.space().may_deliver()
    }

    /// The oldest batch that is closed and not sealed.
    pub(super) fn unsealed(&self) -> Option<BatchId> {
        let queue = self.dir.commit.lock();
        if queue.seals_waiting() == 0 {
            return None;
        }
        let views = queue.open_views();
        let unsealed = views.iter().find(|view| view.closing.is_some());
        unsealed.map(|view| view.header.id)
    }

    /// How many batches wait, sealed or not, and items in them.
    pub(super) fn waiting(&self) -> (usize, u64) {
        let queue = self.dir.commit.lock();
        let (ready, load) = queue.ready_sum();
        if queue.seals_waiting() == 0 {
            return (ready, load.items);
        }
        let views = queue.open_views();
        let closing = views.iter().filter(|view| view.closing.is_some());
        let (count, items) = closing.fold((0, 0), |(count, items), view| {
            (count + 1, items + u64::from(view.fill.items))
        });
        (ready + count, load.items + items)
    }

    /// The batch that is delivered next.
    pub(super) fn front(&self) -> Option<BatchId> {
        let queue = self.dir.commit.lock();
        queue.ready().next().map(|batch| batch.name.id)
    }

    /// Whether the batch that is delivered next was delivered, and that is not on record.
    pub(super) fn is_front_unrecorded(&self) -> bool {
        let queue = self.dir.commit.lock();
        let front = queue.ready().next();
        front.is_some_and(|front| self.attempts.is_unrecorded(front))
    }

    /// How many batches were delivered since the start, and items in them.
    pub(super) fn delivered(&self) -> (u64, u64) {
        let counters = self.dir.commit.lock().counters();
        (counters.batches_delivered, counters.items_delivered)
    }

    /// Tries to deliver the batch that waits longest; nothing where none does.
    pub(super) fn attempt(&mut self, deliver: &mut Handover<'_, T>) -> Option<Attempted> {
        let Self {
            dir,
            codec,
            attempts,
            ..
        } = self;
        let commit = &dir.commit;
        let claim = commit.claim_next()?;
        let path = commit.layout().sealed(&claim);
        let mut deliver = |parcel: &Parcel<'_>, items: &mut Items| {
            deliver(&mut Offered {
                env: commit.env(),
                parcel,
                path: &path,
                items,
                codec,
            })
        };
        Some(commit.attempt(&claim, attempts, &mut deliver))
    }

    /// Stops cleanly.
    pub(super) fn stop(&self) -> Result<(), Broken> {
        self.dir.commit.close()
    }
}

/// What is done with a batch, or a part of one, on its way out.
pub(super) type Handover<'a, T> = dyn FnMut(&mut Offered<'_, T>) -> Result<(), String> + 'a;

/// A batch, or a part of one, on its way out.
pub(super) struct Offered<'a, T> {
    pub(super) parcel: &'a Parcel<'a>,
    env: &'a Env,
    path: &'a Path,
    items: &'a mut Items,
    codec: &'a Codec<T>,
}

impl<T> Offered<'_, T> {
    /// Where its items are.
    pub(super) fn file(&self) -> ItemsFile {
        ItemsFile {
            env: self.env.clone(),
            path: self.path.to_path_buf(),
            ranges: self.items.ranges().to_vec(),
        }
    }

    /// Shows every item.
    pub(super) fn each(
        &mut self,
        mut visit: impl FnMut(&T) -> Result<(), String>,
    ) -> Result<(), String> {
        each(self.items, self.codec, &mut visit)
    }
}

/// Decodes and shows items.
fn each<T>(
    items: &mut Items,
    codec: &Codec<T>,
    visit: &mut dyn FnMut(&T) -> Result<(), String>,
) -> Result<(), String> {
    while let Some(bytes) = items.next_item().map_err(|bad| bad.to_string())? {
        let item = codec.decode(bytes);
        let item = item.map_err(|error| format!("an item cannot be decoded: {}", words(&error)))?;
        visit(&item)?;
    }
    Ok(())
}

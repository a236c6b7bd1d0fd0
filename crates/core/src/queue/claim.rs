//! Who has a batch in hand. A batch has one owner at a time: whoever delivers, expires, drops, removes or requeues
//! it claims it first, and nobody else touches it until the claim is dropped.
//!
//! A claim is a note in memory and nothing on disk: a process that dies gives back all it had. Claims say nothing
//! about reading. They are not queued for: one who finds a batch taken comes again.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use batchd_frame::BatchId;

use super::commit::Commit;
use super::state::Queue;
use crate::spool::layout::ReadyBatch;

/// A look through the batches passes over so many at a time, so that submissions wait little for the lock.
pub(super) const LOOK_BATCHES: usize = 4096;

/// A sealed batch in the hands of one owner, until it is dropped.
///
/// Whoever drops one that is not the dispatcher's wakes the dispatcher: it may have found its next batch taken.
#[derive(Debug)]
pub struct Claim {
    batch: ReadyBatch,
    claims: Arc<Claims>,
}

impl Claim {
    /// The batch.
    #[must_use]
    pub fn batch(&self) -> &ReadyBatch {
        &self.batch
    }
}

impl Deref for Claim {
    type Target = ReadyBatch;
    fn deref(&self) -> &ReadyBatch {
        &self.batch
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.batch.name.id);
    }
}

/// Why a batch cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotClaimed {
    /// There is no sealed batch of this id, ready or dead.
    #[error("no sealed batch of this id")]
    Missing,
    /// Somebody else has it: an attempt, most likely.
    #[error("the batch is in use, by an attempt to deliver it or by another request: try again")]
    Taken,
}

/// The batches of a queue that somebody has in hand.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<HashSet<BatchId>>,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashSet<BatchId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call it under the queue's lock, so that the batch cannot end between the look for it and this.
    pub(super) fn take(self: &Arc<Self>, batch: &ReadyBatch) -> Option<Claim> {
        self.lock().insert(batch.name.id).then(|| Claim {
            batch: *batch,
            claims: Arc::clone(self),
        })
    }
}

impl<T: Clone> Commit<T> {
    /// Claims the batch that is delivered next. Nothing where none is ready, and also where somebody has that
    /// batch: those behind it wait, since it may stay.
    #[must_use]
    pub fn claim_next(&self) -> Option<Claim> {
        let queue = self.lock();
        let next = queue.ready().next()?;
        queue.claims.take(next)
    }

    /// Claims the oldest ready batch that nobody has. Tests do; nothing else does.
    #[must_use]
    pub fn claim_oldest(&self) -> Option<Claim> {
        let queue = self.lock();
        queue.ready().find_map(|batch| queue.claims.take(batch))
    }

    /// Claims a sealed batch, ready or dead, by its id.
    ///
    /// # Errors
    /// [`NotClaimed`].
    pub fn claim(&self, id: BatchId) -> Result<Claim, NotClaimed> {
        let found = self.find_sealed(id).ok_or(NotClaimed::Missing)?;
        let queue = self.lock();
        // It may have ended, or moved, since it was found.
        let batch = queue.sealed(found.name.key()).ok_or(NotClaimed::Missing)?;
        queue.claims.take(batch).ok_or(NotClaimed::Taken)
    }

    /// Looks for a sealed batch, ready or dead, by its id. The lock is given back again and again on the way.
    #[must_use]
    pub fn find_sealed(&self, id: BatchId) -> Option<ReadyBatch> {
        let mut after = None;
        loop {
            let queue = self.lock();
            let mut passed = None;
            let behind = queue.ready_from(after).map(|found| &found.batch);
            for batch in behind.take(LOOK_BATCHES) {
                if batch.name.id == id {
                    return Some(*batch);
                }
                passed = Some(batch.name.key());
            }
            if passed.is_none() {
                // Last, since batches go from ready to dead.
                return queue.dead().find(|batch| batch.name.id == id).copied();
            }
            after = passed;
        }
    }
}

impl<T: Clone> Queue<T> {
    fn sealed(&self, key: (u64, BatchId)) -> Option<&ReadyBatch> {
        let ready = self.ready.get(&key);
        ready
            .map(|perishable| &perishable.batch)
            .or_else(|| self.dead.get(&key))
    }
}

//! Batches in memory.
//!
//! They are kept twice: by id, for whoever asks, and in the order in which they expire, so that a round of the cleaner
//! costs what it removes and not what there is. Nothing is dropped under the lock: what an item does when it goes is
//! its own affair, and it may use the shelf for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use batchd_frame::BatchId;

use super::error::ShelfError;
use super::shelf::ShelfOptions;
use crate::env::Env;
use crate::ids::BatchIds;
use crate::policy::Deadline;

/// A shelf in memory.
pub(super) struct Memory<T> {
    env: Env,
    max_items: Option<u64>,
    state: Mutex<State<T>>,
}

struct State<T> {
    ids: BatchIds,
    batches: HashMap<BatchId, Batch<T>>,
    by_deadline: BTreeSet<(Deadline, BatchId)>,
    /// Items of all batches.
    items: u64,
}

struct Batch<T> {
    items: Arc<[T]>,
    deadline: Deadline,
}

impl<T> Memory<T> {
    pub(super) fn new(options: ShelfOptions) -> Self {
        Self {
            env: options.env,
            max_items: options.max_items,
            state: Mutex::new(State {
                ids: BatchIds::after(0),
                batches: HashMap::new(),
                by_deadline: BTreeSet::new(),
                items: 0,
            }),
        }
    }

    pub(super) fn create(
        &self,
        items: &Arc<[T]>,
        lifespan: Duration,
    ) -> Result<BatchId, ShelfError> {
        let deadline = Deadline::from_first_item(self.env.clock.boot(), Some(lifespan));
        match self.insert(items, deadline) {
            Err(error) if error.is_for_want_of_room() && self.clean() > 0 => {
                self.insert(items, deadline)
            }
            inserted => inserted,
        }
    }

    pub(super) fn get(&self, id: BatchId) -> Option<Arc<[T]>> {
        let boot = self.env.clock.boot();
        let mut state = self.lock();
        let batch = state.batches.get(&id)?;
        if !batch.deadline.is_past(boot) {
            return Some(Arc::clone(&batch.items));
        }
        let expired = state.remove(id);
        drop(state);
        drop(expired);
        None
    }

    pub(super) fn len(&self) -> usize {
        self.lock().batches.len()
    }

    pub(super) fn clean(&self) -> u64 {
        let boot = self.env.clock.boot();
        let mut removed = 0;
        loop {
            let expired = self.lock().remove_expired(boot);
            if expired.is_empty() {
                return removed;
            }
            removed += expired.len() as u64;
        }
    }

    fn insert(&self, items: &Arc<[T]>, deadline: Deadline) -> Result<BatchId, ShelfError> {
        let mut state = self.lock();
        let count = items.len() as u64;
        let held = state.items;
        if let Some(max) = self.max_items.filter(|max| held + count > *max) {
            return Err(ShelfError::Full { items: held, max });
        }
        let id = state.ids.next(&self.env);
        let items = Arc::clone(items);
        state.items += count;
        state.by_deadline.insert((deadline, id));
        state.batches.insert(id, Batch { items, deadline });
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many are removed at a time, so that whoever asks for another waits little for the lock.
const GROUP_BATCHES: usize = 1024;

impl<T> State<T> {
    fn remove_expired(&mut self, boot: Duration) -> Vec<Batch<T>> {
        let oldest = self.by_deadline.iter().take(GROUP_BATCHES);
        let expired: Vec<_> = oldest
            .take_while(|(deadline, _)| deadline.is_past(boot))
            .map(|(_, id)| *id)
            .collect();
        expired
            .into_iter()
            .filter_map(|id| self.remove(id))
            .collect()
    }

    fn remove(&mut self, id: BatchId) -> Option<Batch<T>> {
        let batch = self.batches.remove(&id)?;
        self.by_deadline.remove(&(batch.deadline, id));
        self.items -= batch.items.len() as u64;
        Some(batch)
    }
}

//! The keys of a queue, each with the batch it fills.

use std::collections::HashMap;
use std::time::Duration;

use batchd_frame::{Key, NameError, SealReason};

use super::pending::Pending;
use crate::spool::open::OpenBatch;

/// One key's batches.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub key: Key,
    pub pending: Pending,
    pub batch: Option<OpenBatch>,
    /// Age of the batch's first item at `aged_since`, and when that was by the boot clock.
    pub aged: (Duration, Duration),
    /// Somebody wants the batch closed.
    pub close: Option<SealReason>,
    /// Set while frames are in the kernel and not known synced.
    pub unsynced_since: Option<Duration>,
    /// Seqs of one key ascend.
    pub last_seq: u64,
}

/// Lanes by number. Number 0 is that of items without a key, which costs no look-up.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    numbers: HashMap<Key, usize>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            lanes: vec![Lane::default()],
            numbers: HashMap::new(),
        }
    }
}

impl Lanes {
    /// The number of a key's lane, which is made where there is none.
    pub(super) fn number(&mut self, key: &[u8]) -> Result<usize, NameError> {
        if key.is_empty() {
            return Ok(0);
        }
        if let Some(number) = self.numbers.get(key) {
            return Ok(*number);
        }
        let (key, number) = (Key::new(key)?, self.lanes.len());
        self.lanes.push(Lane {
            key: key.clone(),
            ..Lane::default()
        });
        self.numbers.insert(key, number);
        Ok(number)
    }

    pub(super) fn get(&self, number: usize) -> Option<&Lane> {
        self.lanes.get(number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(number)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Lane> {
        self.lanes.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Lane> {
        self.lanes.iter_mut()
    }
}

impl Lane {
    /// Age of the batch's first item.
    pub(super) fn age(&self, boot: Duration) -> Duration {
        let (age, since) = self.aged;
        age + boot.saturating_sub(since)
    }
}

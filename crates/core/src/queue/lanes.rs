//! The keys of a queue, each with the batch it fills.
//!
//! A key costs a lane only while it has a batch or frames that wait. Lanes that have neither are forgotten once there
//! are many of them; what is remembered of those is the highest seq they came to, so that a key that comes back goes
//! on above it.

use std::collections::HashMap;
use std::time::Duration;

use batchd_frame::{Key, NameError, SealReason};

use super::beats::LaneBeat;
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
    /// The same of its newest item.
    pub quieted: (Duration, Duration),
    /// When the queue was last flushed, where the batch is due by that already.
    pub flushed: Option<Duration>,
    /// Its beats of `interval`.
    pub beat: LaneBeat,
    /// Somebody wants the batch closed.
    pub close: Option<SealReason>,
    /// Set while frames are in the kernel and not known synced.
    pub unsynced_since: Option<Duration>,
    /// Seqs of one key ascend.
    pub last_seq: u64,
    /// It is in the list of lanes with frames pending.
    pub listed: bool,
    /// It is part of the group under way.
    pub busy: bool,
    /// When it was last written to, as a number that ascends.
    pub used: u64,
}

/// From so many lanes on, those that hold nothing are forgotten.
const LANES_KEPT: usize = 2048;

/// Lanes by number. Number 0 is that of items without a key, which costs no look-up.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    numbers: HashMap<Key, usize>,
    /// Numbers of lanes that were forgotten.
    free: Vec<usize>,
    /// With so many in use, it is time to forget.
    forget_at: usize,
    /// The highest seq of a batch of a key without a lane: one that was forgotten, or never had any. Lanes that are
    /// made later go on behind it.
    floor: u64,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            lanes: vec![Lane::default()],
            numbers: HashMap::new(),
            free: Vec::new(),
            forget_at: LANES_KEPT,
            floor: 0,
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
        let key = Key::new(key)?;
        if self.numbers.len() >= self.forget_at {
            self.forget_idle();
        }
        let lane = Lane {
            key: key.clone(),
            last_seq: self.floor,
            ..Lane::default()
        };
        let number = match self.free.pop() {
            Some(number) => number,
            None => self.lanes.len(),
        };
        match self.lanes.get_mut(number) {
            Some(place) => *place = lane,
            None => self.lanes.push(lane),
        }
        self.numbers.insert(key, number);
        Ok(number)
    }

    /// Forgets the keys that have no batch and nothing that waits. The more there are left, the later it is tried
    /// again, so that it costs little a key.
    fn forget_idle(&mut self) {
        let (lanes, free) = (&mut self.lanes, &mut self.free);
        let floor = &mut self.floor;
        self.numbers.retain(|_, number| {
            let Some(lane) = lanes.get_mut(*number).filter(|lane| lane.is_idle()) else {
                return true;
            };
            *floor = lane.last_seq.max(*floor);
            *lane = Lane::default();
            free.push(*number);
            false
        });
        self.forget_at = LANES_KEPT.max(2 * self.numbers.len());
    }

    /// Keys that have a lane.
    pub(super) fn keys(&self) -> usize {
        self.numbers.len()
    }

    /// Lanes with a batch.
    pub(super) fn open_count(&self) -> usize {
        self.lanes
            .iter()
            .filter(|lane| lane.batch.is_some())
            .count()
    }

    /// Of the lanes with a batch that are not part of a group, that which was used longest ago.
    pub(super) fn least_used(&self) -> Option<usize> {
        self.lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| lane.batch.is_some() && !lane.busy)
            .min_by_key(|(_, lane)| lane.used)
            .map(|(number, _)| number)
    }

    /// Whatever this key fills from now on has a higher seq than that. Its lane, where it has one.
    pub(super) fn follow(&mut self, key: &Key, seq: u64) -> Option<&mut Lane> {
        let number = if key.is_empty() {
            Some(0)
        } else {
            self.numbers.get(key).copied()
        };
        let Some(lane) = number.and_then(|number| self.lanes.get_mut(number)) else {
            self.floor = self.floor.max(seq);
            return None;
        };
        lane.last_seq = lane.last_seq.max(seq);
        Some(lane)
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
    /// Whether nothing is lost where it is forgotten but its `last_seq`.
    fn is_idle(&self) -> bool {
        let is_in_use = self.busy || self.listed || self.beat.is_under_way();
        self.batch.is_none() && self.pending.is_empty() && !is_in_use
    }

    /// Age of the batch's first item.
    pub(super) fn age(&self, boot: Duration) -> Duration {
        let (age, since) = self.aged;
        age + boot.saturating_sub(since)
    }

    /// Age of the batch's newest item.
    pub(super) fn quiet(&self, boot: Duration) -> Duration {
        let (age, since) = self.quieted;
        age + boot.saturating_sub(since)
    }
}

//! The keys of a queue, each with the batch it fills.
//!
//! A key costs a lane only while it has a batch or frames that wait. Lanes that have neither are forgotten once there
//! are many of them; what is remembered of those is the highest seq they came to, so that a key that comes back goes
//! on above it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use batchd_frame::{Key, NameError, SealReason};

use super::pending::Pending;
use crate::policy::Rhythm;
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
    pub rhythm: Rhythm,
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
    /// Numbers of lanes that were forgotten. The lowest are used again first, so that the last become free.
    free: BTreeSet<usize>,
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
            free: BTreeSet::new(),
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
        let number = match self.free.pop_first() {
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
            free.insert(*number);
            false
        });
        self.forget_at = LANES_KEPT.max(2 * self.numbers.len());
    }

    /// Gives up what a burst of keys has left behind at the end: each look at the lanes passes over it.
    pub(super) fn shrink(&mut self) {
        while self.lanes.len() > LANES_KEPT
            && let Some(lane) = self.lanes.pop_if(|lane| lane.is_idle())
        {
            self.floor = self.floor.max(lane.last_seq);
            self.numbers.remove(&lane.key);
            self.free.remove(&self.lanes.len());
        }
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

    /// The lanes with a batch that are not part of a group, from that which was used longest ago.
    pub(super) fn by_use(&self) -> Vec<usize> {
        let lanes = self.lanes.iter().enumerate();
        let open = lanes.filter(|(_, lane)| lane.may_be_closed());
        let mut by_use: Vec<_> = open.map(|(number, lane)| (lane.used, number)).collect();
        by_use.sort_unstable();
        by_use.into_iter().map(|(_, number)| number).collect()
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
        let is_in_use = self.busy || self.listed || self.rhythm.is_under_way();
        self.batch.is_none() && self.pending.is_empty() && !is_in_use
    }

    /// Whether it has a batch that is not part of a group.
    pub(super) fn may_be_closed(&self) -> bool {
        self.batch.is_some() && !self.busy
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_keys_leaves_no_lanes_behind() {
        let mut lanes = Lanes::default();
        for key in 0..10 * LANES_KEPT {
            let number = lanes.number(key.to_string().as_bytes()).unwrap();
            lanes.get_mut(number).unwrap().listed = true;
        }
        assert_eq!(lanes.iter().count(), 1 + 10 * LANES_KEPT);
        // The last one keeps its place, and those before it with it, until it is done as well.
        for lane in lanes.iter_mut().rev().skip(1) {
            lane.listed = false;
        }
        lanes.shrink();
        assert_eq!(lanes.iter().count(), 1 + 10 * LANES_KEPT);
        for lane in lanes.iter_mut() {
            (lane.listed, lane.last_seq) = (false, 7);
        }
        lanes.shrink();
        assert_eq!(lanes.iter().count(), LANES_KEPT);
        assert_eq!(lanes.keys(), LANES_KEPT - 1);
        // What comes back goes on above what was forgotten.
        let last = (10 * LANES_KEPT - 1).to_string();
        let number = lanes.number(last.as_bytes()).unwrap();
        assert_eq!(number, LANES_KEPT);
        assert_eq!(lanes.get(number).unwrap().last_seq, 7);
    }
}

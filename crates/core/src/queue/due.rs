//! What is due by time, and what somebody wants closed.

use std::collections::VecDeque;
use std::time::Duration;

use batchd_frame::SealReason;

use super::lanes::Lane;
use super::state::{Closing, Queue, WRITTEN_SYNC_AFTER};

impl<T: Clone> Queue<T> {
    /// Closes batches that are due by age, and those whose lifespan is over.
    pub fn close_aged(&mut self) {
        let boot = self.env.clock.boot();
        let in_flight = self.in_flight;
        self.close_when_done |= in_flight;
        for lane in self.lanes.iter_mut() {
            if lane.batch.is_some()
                && let Some(reason) = self.options.policy.at_age(lane.age(boot))
            {
                close_lane(lane, reason, in_flight, &mut self.closing);
            }
        }
        self.close_over();
    }

    /// Closes all open batches, with all that was acknowledged. Those with a group under way are closed when it
    /// is done.
    pub fn close_all(&mut self, reason: SealReason) {
        self.close_when_done |= self.in_flight;
        for lane in self.lanes.iter_mut() {
            if lane.batch.is_some() || !lane.pending.is_empty() || self.in_flight {
                close_lane(lane, reason, self.in_flight, &mut self.closing);
            }
        }
    }

    /// How long until something is due by time: an age, the end of an open batch's lifespan, or the sync of what
    /// is only written.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let boot = self.env.clock.boot();
        let mut due: Option<Duration> = None;
        for lane in self.lanes.iter() {
            let age = self
                .options
                .policy
                .max_age
                .filter(|_| lane.batch.is_some() && lane.close.is_none())
                .map(|max| max.saturating_sub(lane.age(boot)));
            let sync = lane
                .unsynced_since
                .map(|s| (s + WRITTEN_SYNC_AFTER).saturating_sub(boot));
            let over = lane
                .batch
                .as_ref()
                .filter(|_| lane.close.is_none())
                .and_then(|batch| self.over_in(batch.deadline, boot));
            for wait in [age, sync, over].into_iter().flatten() {
                due = Some(due.map_or(wait, |d| d.min(wait)));
            }
        }
        due
    }

    /// Whether something has been only written for long enough.
    #[must_use]
    pub fn sync_is_due(&self) -> bool {
        let boot = self.env.clock.boot();
        self.lanes
            .iter()
            .any(|lane| lane.unsynced_since.is_some_and(|since| due(since, boot)))
    }
}

pub(super) fn close_lane(
    lane: &mut Lane,
    reason: SealReason,
    in_flight: bool,
    closing: &mut VecDeque<Closing>,
) {
    // A batch may be part of the group under way, and is then closed when that is done.
    if in_flight {
        lane.close = Some(reason);
    } else if let Some(batch) = lane.batch.take() {
        lane.unsynced_since = None;
        closing.push_back(Closing { batch, reason });
    }
}

pub(super) fn due(since: Duration, boot: Duration) -> bool {
    boot >= since + WRITTEN_SYNC_AFTER
}

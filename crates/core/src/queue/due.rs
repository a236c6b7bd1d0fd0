//! What somebody wants closed, and when to look again.

use std::collections::VecDeque;
use std::time::Duration;

use batchd_frame::SealReason;

use super::lanes::Lane;
use super::state::{Closing, Queue, WRITTEN_SYNC_AFTER};

/// A sync that is due and has to wait for the group under way is looked at again after this.
const SYNC_RETRY: Duration = Duration::from_millis(50);

impl<T: Clone> Queue<T> {
    /// Closes all open batches, with all that was acknowledged. Those that are part of the group under way are closed
    /// when it is done.
    pub fn close_all(&mut self, reason: SealReason) {
        let boot = self.env.clock.boot();
        for lane in self.lanes.iter_mut() {
            close_lane(lane, reason, boot, &mut self.closing);
        }
    }

    /// How long until something is due by time: the closing of a batch, the end of an open batch's lifespan, or the
    /// sync of what is only written. Nothing where there is neither, whatever triggers are set.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let boot = self.env.clock.boot();
        let unsynced = self.lanes.iter().filter_map(|lane| lane.unsynced_since);
        let sync = unsynced
            .map(|since| (since + WRITTEN_SYNC_AFTER).saturating_sub(boot))
            .min();
        // Before the group under way has ended, there is nothing that could be done about it.
        let sync = sync.map(|left| {
            if self.in_flight {
                left.max(SYNC_RETRY)
            } else {
                left
            }
        });
        let open = self.lanes.iter().filter(|lane| lane.close.is_none());
        let over = open
            .filter_map(|lane| self.over_in(lane.batch.as_ref()?.deadline, boot))
            .min();
        let all = [self.next_closing(boot), sync, over];
        all.into_iter().flatten().min()
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

/// Closes the lane's batch, where it has one. A batch that is part of the group under way is closed when that is done.
pub(super) fn close_lane(
    lane: &mut Lane,
    reason: SealReason,
    boot: Duration,
    closing: &mut VecDeque<Closing>,
) {
    if lane.busy {
        lane.close = Some(reason);
    } else if let Some(batch) = lane.batch.take() {
        lane.unsynced_since = None;
        closing.push_back(Closing {
            batch,
            reason,
            at: boot,
        });
    }
}

pub(super) fn due(since: Duration, boot: Duration) -> bool {
    boot >= since + WRITTEN_SYNC_AFTER
}

//! The time-driven side of a queue: which batches the clock closes, when to look again, and the beats of `interval`.
//!
//! Everything goes by the boot-time clock, so that a step of the wall clock closes nothing early or late. Only what
//! was open before a start has its ages by the wall clock, once, at the start.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use batchd_frame::{BatchId, SealReason};

use super::audit::demand;
use super::due::close_lane;
use super::lanes::Lane;
use super::state::Queue;
use crate::env::Env;
use crate::policy::{Ages, Due, Policy, When};

/// So many batches may wait for their seal before a look at the clock closes no more. Half of what makes the commit
/// help with seals, so that a burst of the clock's leaves room for batches that fill up, and stalls nobody.
const SEALS_AT_ONCE: usize = super::commit::SEALS_WAITING_MAX / 2;

/// Beats are on time again when one is that comes so long after the last that was skipped: where every other one is
/// late, that is said once.
const ON_TIME_AFTER: Duration = Duration::from_secs(60);

/// What a queue knows of its flushes.
#[derive(Debug)]
pub(super) struct Beats {
    /// When the queue started.
    started: Duration,
    /// When a batch was last closed, of those whose seal is under way or done; the start until then.
    flushed: Duration,
    /// Batches that a beat closed and whose end the next beat of their lane waits for.
    under_way: HashMap<BatchId, usize>,
    /// When a beat was last skipped, while that is not over.
    late: Option<Duration>,
}

impl Beats {
    pub(super) fn new(boot: Duration) -> Self {
        Self {
            started: boot,
            flushed: boot,
            under_way: HashMap::new(),
            late: None,
        }
    }

    /// Takes note of when a batch was closed that is now being sealed.
    pub(super) fn note_closed(&mut self, at: Duration) {
        self.flushed = self.flushed.max(at);
    }

    /// Whether the batches whose end is waited for have not ended.
    pub(super) fn audit(&self, here: &HashSet<BatchId>) -> Result<(), String> {
        demand(self.under_way.keys().all(|id| here.contains(id)), || {
            "a beat waits for a batch that has ended".to_owned()
        })
    }

    /// Takes note of how many beats a look found, and how many of them were skipped.
    fn note_skipped(&mut self, beats: u64, skipped: u64, boot: Duration) -> Looked {
        let mut looked = Looked::default();
        if skipped > 0 {
            looked.late = self.late.is_none().then_some(skipped);
            self.late = Some(boot);
        } else if beats > 0 {
            let is_over = |late: Duration| boot.saturating_sub(late) >= ON_TIME_AFTER;
            looked.on_time = self.late.take_if(|late| is_over(*late)).is_some();
        }
        looked
    }

    /// Plans the next beat of a lane that has a new batch, unless one is planned still, or one is under way.
    pub(super) fn plan(&self, policy: &Policy, env: &Env, boot: Duration, lane: &mut Lane) {
        let Some(interval) = &policy.interval else {
            return;
        };
        let mut random = [0; 4];
        if interval.jitter_percent > 0 {
            env.entropy.fill(&mut random);
        }
        let started = self.started + interval.phase(lane.key.as_bytes());
        lane.rhythm.plan(interval, started, boot, random);
    }
}

/// What a look at the clock came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Beats that were skipped, where that has begun with this look.
    pub late: Option<u64>,
    /// Beats are on time again.
    pub on_time: bool,
}

impl<T: Clone> Queue<T> {
    /// Closes batches that are due by time: those that were due first, and no more than can soon be sealed.
    pub fn close_due(&mut self) -> Looked {
        if !self.options.policy.goes_by_time() {
            return Looked::default();
        }
        let boot = self.env.clock.boot();
        self.mark_since_flush(boot);
        let lanes = self.lanes.iter().enumerate();
        let mut due: Vec<(When, usize, SealReason)> = lanes
            .filter_map(|(number, lane)| {
                let due = self.due_of(lane, boot)?;
                due.when
                    .has_come()
                    .then_some((due.when, number, due.reason))
            })
            .collect();
        due.sort_by_key(|(when, number, _)| (*when, *number));
        due.truncate(self.room_for_seals());
        let (mut beats, mut skipped) = (0, 0);
        for (_, number, reason) in due {
            if reason == SealReason::Interval {
                beats += 1;
                skipped += self.beat(number, boot);
            }
            if let Some(lane) = self.lanes.get_mut(number) {
                close_lane(lane, reason, boot, &mut self.closing);
            }
        }
        self.counters.beats_skipped += skipped;
        self.beats.note_skipped(beats, skipped, boot)
    }

    /// How long until a batch is due by time.
    pub(super) fn next_closing(&self, boot: Duration) -> Option<Duration> {
        // Where too many wait for their seals, those come first; whoever sees to them looks again.
        if self.room_for_seals() == 0 {
            return None;
        }
        let due = self.lanes.iter().filter_map(|lane| self.due_of(lane, boot));
        due.map(|due| due.when.wait()).min()
    }

    /// When a lane's batch is due by time, and why; nothing where there is none, or it is closed already.
    fn due_of(&self, lane: &Lane, boot: Duration) -> Option<Due> {
        if lane.batch.is_none() || lane.close.is_some() {
            return None;
        }
        let flushed = lane.flushed.unwrap_or_else(|| self.last_flush());
        self.options.policy.due(&Ages {
            first_item: lane.age(boot),
            newest_item: lane.pending.is_empty().then(|| lane.quiet(boot)),
            since_flush: boot.saturating_sub(flushed),
            beat: lane.rhythm.next(boot),
        })
    }

    /// When a batch was last closed; when the queue started, where none was.
    fn last_flush(&self) -> Duration {
        let newest = self.closing.back().map(|closing| closing.at);
        newest.map_or(self.beats.flushed, |at| at.max(self.beats.flushed))
    }

    /// All open batches are due at once by `max_since_flush`. Each keeps that in mind, since the first that is closed
    /// is a flush for the others too, and perhaps not all can be closed at this look.
    fn mark_since_flush(&mut self, boot: Duration) {
        let flushed = self.last_flush();
        let bound = self.options.policy.max_since_flush;
        if bound.is_none_or(|bound| boot.saturating_sub(flushed) < bound) {
            return;
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.batch.is_some()) {
            lane.flushed.get_or_insert(flushed);
        }
    }

    fn room_for_seals(&self) -> usize {
        let marked = self.lanes.iter().filter(|lane| lane.close.is_some());
        SEALS_AT_ONCE.saturating_sub(self.seals_waiting() + marked.count())
    }

    /// A beat closes a lane's batch. Returns how many were skipped.
    fn beat(&mut self, number: usize, boot: Duration) -> u64 {
        let Some(interval) = &self.options.policy.interval else {
            return 0;
        };
        let Some(lane) = self.lanes.get_mut(number) else {
            return 0;
        };
        let skipped = lane.rhythm.strike(interval, boot);
        if lane.rhythm.is_under_way()
            && let Some(batch) = &lane.batch
        {
            self.beats.under_way.insert(batch.id(), number);
        }
        skipped
    }

    /// A batch has left the queue, or has gone as far as it goes. Where a beat closed it, the next counts from now.
    pub(super) fn flush_ended(&mut self, batch: BatchId) {
        if self.beats.under_way.is_empty() {
            return;
        }
        let Some(number) = self.beats.under_way.remove(&batch) else {
            return;
        };
        let boot = self.env.clock.boot();
        let Some(lane) = self.lanes.get_mut(number) else {
            return;
        };
        lane.rhythm.ended(boot);
        if lane.batch.is_some() {
            self.beats.plan(&self.options.policy, &self.env, boot, lane);
            self.keep_due = true;
        }
    }
}

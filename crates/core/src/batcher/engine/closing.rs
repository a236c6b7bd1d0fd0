//! When a batch is complete.

use batchd_frame::SealReason;

use super::delivery::Front;
use super::state::{End, Engine, Open, Store};
use crate::batcher::callbacks::{Batcher, Closed, View};
use crate::batcher::error::Trouble;
use crate::policy::Ages;

impl<B: Batcher> Engine<'_, B> {
    pub(super) fn ages(&self, open: &Open<B::Batch>) -> Ages {
        let now = self.now();
        Ages {
            first_item: open.first_item.age(now),
            newest_item: Some(open.newest_item.age(now)),
            since_flush: now.saturating_sub(self.flushed),
            beat: self.rhythm.next(now),
        }
    }

    /// The open batch, if there is anything in it.
    pub(super) fn filled(&self) -> Option<&Open<B::Batch>> {
        self.open.as_ref().filter(|open| open.fill.items > 0)
    }

    /// Why the open batch is due by time.
    pub(super) fn reason_by_time(&self) -> Option<SealReason> {
        let due = self.policy.due(&self.ages(self.filled()?))?;
        due.when.has_come().then_some(due.reason)
    }

    /// Why the open batch is to be closed before an item.
    pub(super) fn reason_before(&mut self, item: &B::Item, bytes: u64) -> Option<SealReason> {
        let fill = self.filled()?.fill;
        let reason = self.policy.before_item(fill, bytes);
        let reason = reason.or_else(|| self.reason_by_time());
        reason.or_else(|| self.reason_of_its_own(Some(item)))
    }

    /// Why the open batch is to be closed behind an item.
    pub(super) fn reason_behind(&mut self) -> Option<SealReason> {
        if self.config.lazy_flush {
            return None;
        }
        let fill = self.filled()?.fill;
        let reason = self.policy.after_item(fill);
        let reason = reason.or_else(|| self.reason_by_time());
        reason.or_else(|| self.reason_of_its_own(None))
    }

    /// Whether `should_flush` wants the open batch closed.
    pub(super) fn reason_of_its_own(&mut self, next_item: Option<&B::Item>) -> Option<SealReason> {
        let (counts, times) = (self.counts(), self.times());
        let last_item = self.unanswered.last().map(|last| &last.adding.item);
        let view = View {
            batch: &self.open.as_ref()?.state,
            next_item,
            last_item: last_item.or(self.last_item.as_ref()),
            counts,
            times,
            config: &self.config,
        };
        match self.callbacks.should_flush(&view) {
            Ok(should_flush) => should_flush.then_some(SealReason::EndOfBatch),
            Err(what) => {
                self.report(Trouble::ShouldFlush(what));
                None
            }
        }
    }

    pub(super) fn plan_beat(&mut self) {
        let Some(interval) = &self.config.interval else {
            return;
        };
        let mut random = [0; 4];
        self.env.entropy.fill(&mut random);
        let now = self.env.clock.boot();
        self.rhythm.plan(interval, self.started, now, random);
    }

    /// Closes the open batch, unless it is empty, and begins the next. What was added to it is durable before.
    pub(super) fn close(&mut self, reason: SealReason) -> Result<(), End> {
        let Some(open) = self.open.take_if(|open| open.fill.items > 0) else {
            return Ok(());
        };
        let now = self.now();
        (self.flushed, self.kept) = (now, None);
        let id = match &mut self.store {
            Store::Memory(waiting) => {
                let id = self.ids.next(&self.env);
                waiting.push_back(Closed {
                    id,
                    part: None,
                    reason: Some(reason),
                    items: open.fill.items.into(),
                    bytes: open.fill.bytes,
                    attempts: 0,
                    file: None,
                    is_prepared: false,
                    state: open.state,
                });
                Some(id)
            }
            Store::Spool { spool, front } => {
                let id = spool.open_batch().map(|open| open.header.id);
                let is_only = self.counts.waiting == 0;
                spool.close(reason)?;
                if let (true, Some(id)) = (is_only, id) {
                    *front = Some(Front::Closed(id, open.state));
                }
                id
            }
        };
        if let (SealReason::Interval, Some(interval)) = (reason, &self.config.interval) {
            self.counts.beats_skipped += self.rhythm.strike(interval, now);
            self.beaten = id.filter(|_| self.rhythm.is_under_way());
        }
        self.note_waiting();
        self.begin_or_report();
        Ok(())
    }
}

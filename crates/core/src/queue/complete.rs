//! How a group went, and what that means for those who wait.

use std::sync::Arc;
use std::time::Duration;

use batchd_frame::planted::{Planted, is_planted};
use batchd_frame::{BatchId, KeptPart, Key, SealReason};

use super::awaited::Awaited;
use super::due::close_lane;
use super::group::{FileWrite, Group, GroupResult, Start};
use super::incoming::{Ack, Answer, Failure};
use super::keep::Spare;
use super::pending::TakenFrame;
use super::state::{Closing, Queue};
use crate::policy::{Deadline, Load};
use crate::spool::layout::OpenName;

/// How much memory a lane keeps for its next group. There is one lane without a key, and there may be a thousand with.
fn recycled_max(key: &Key) -> usize {
    if key.is_empty() { 8 << 20 } else { 64 << 10 }
}

impl<T: Clone> Queue<T> {
    /// Takes note of how a group went, and gives the answers.
    pub fn complete(&mut self, group: Group, result: &GroupResult, answers: &mut Vec<(T, Answer)>) {
        self.in_flight = false;
        self.groups_ended += 1;
        match result {
            GroupResult::Done => self.complete_done(group, answers),
            GroupResult::NoSpace(_) => self.complete_refused(group, Failure::NoSpace, answers),
            GroupResult::ReadOnly(_) => self.complete_refused(group, Failure::ReadOnly, answers),
            GroupResult::Broken(error) => {
                self.fail(error.to_string());
                self.stop_unknown(answers);
            }
        }
        self.count_pending();
    }

    fn complete_done(&mut self, group: Group, answers: &mut Vec<(T, Answer)>) {
        let boot = self.env.clock.boot();
        self.counters.groups += 1;
        for write in group.writes {
            let FileWrite {
                lane,
                mut after,
                start,
                bytes,
                sync,
                frames,
                close,
                ..
            } = write;
            if sync {
                after.synced_to = after.tail.offset;
                after.name_durable = true;
            }
            for frame in &frames {
                self.frame_kept(frame, after.id(), sync, answers);
            }
            let Some(lane) = self.lanes.get_mut(lane) else {
                continue;
            };
            // The state from before the group goes first, so that the contents are not copied.
            lane.busy = false;
            lane.batch = None;
            let contents = Arc::make_mut(&mut after.contents);
            for frame in &frames {
                if let Some(id) = frame.id {
                    contents.note(id, &frame.header);
                }
            }
            lane.pending.recycle(bytes, recycled_max(&lane.key));
            lane.last_seq = lane.last_seq.max(after.header.seq);
            // Those that follow are synced with the first: the house knows when.
            let newly_unsynced = !sync && lane.unsynced_since.is_none();
            lane.unsynced_since = if sync {
                None
            } else {
                lane.unsynced_since.or(Some(boot))
            };
            if start != Start::Begun {
                lane.aged = (Duration::ZERO, boot);
                after.deadline = Deadline::from_first_item(boot, after.header.lifespan);
                lane.flushed = None;
            }
            self.keep_due |= start != Start::Begun || newly_unsynced;
            if !frames.is_empty() {
                lane.quieted = (Duration::ZERO, boot);
                // It was idle only until this group.
                self.keep_due |= lane
                    .close
                    .take_if(|reason| *reason == SealReason::Idle)
                    .is_some();
            }
            match close.or(lane.close.take()) {
                Some(reason) => {
                    // Also where somebody closed it meanwhile: its seal waits for nobody else.
                    self.keep_due = true;
                    lane.batch = None;
                    lane.unsynced_since = None;
                    let planted = is_planted(Planted::GroupSpansBatches)
                        && self.closing.iter().any(|c| c.batch.id() == after.id());
                    if !planted {
                        self.closing.push_back(Closing {
                            batch: after,
                            reason,
                            at: boot,
                        });
                    }
                }
                None => {
                    lane.batch = Some(after);
                    if start != Start::Begun {
                        self.beats.plan(&self.options.policy, &self.env, boot, lane);
                    }
                }
            }
        }
        for number in group.barriers {
            self.answer(number, Answer::KeptBefore(Ack::Synced), answers);
        }
    }

    /// One frame of a submission is in its file.
    fn frame_kept(
        &mut self,
        frame: &TakenFrame,
        batch: BatchId,
        synced: bool,
        answers: &mut Vec<(T, Answer)>,
    ) {
        self.counters.items_accepted += u64::from(frame.header.items);
        if let Some(id) = frame.id {
            let part = KeptPart {
                sequence: id.sequence,
                first: frame.header.first_item,
                count: frame.header.items,
                last: frame
                    .header
                    .flags
                    .contains(batchd_frame::FrameFlags::LAST_PART),
            };
            self.kept.enter_part(id.producer, &part);
        }
        let Some(slot) = self.slots.get_mut(frame.slot) else {
            return;
        };
        slot.frames_left -= 1;
        if slot.ack == Ack::Delivered {
            slot.awaited += 1;
            self.awaited.expect(batch, frame.slot);
        }
        // The room is the batch's from now on.
        slot.reserved = slot.reserved.less(Load {
            items: frame.header.items.into(),
            bytes: frame.item_bytes,
        });
        let (left, ack) = (slot.frames_left, slot.ack);
        if left > 0 {
            return;
        }
        self.counters.submissions_accepted += 1;
        if ack == Ack::Delivered && !is_planted(Planted::GroupSpansBatches) {
            self.all_durable(frame.slot, answers);
            return;
        }
        let kept = match synced {
            true => Ack::Synced,
            false if is_planted(Planted::GroupSpansBatches) => ack,
            false => ack.min(Ack::Written),
        };
        self.answer(frame.slot, Answer::Kept(kept), answers);
    }

    /// Nothing of the group is there, or it was taken back: its submissions are refused, with what is left of
    /// them.
    fn complete_refused(&mut self, group: Group, failure: Failure, answers: &mut Vec<(T, Answer)>) {
        let boot = self.env.clock.boot();
        for write in group.writes {
            if let Some(lane) = self.lanes.get_mut(write.lane) {
                lane.busy = false;
                // What is left of a submission is behind the last frame that was taken.
                if let Some(last) = write.frames.last() {
                    lane.pending.drop_failed(|slot| slot == last.slot);
                }
                if let Some(reason) = lane.close.take() {
                    close_lane(lane, reason, boot, &mut self.closing);
                    self.keep_due = true;
                }
            }
            if write.start == Start::New && failure == Failure::ReadOnly {
                // At most it is there and empty.
                self.useless.push(write.after.path.clone());
            }
            if write.start == Start::MadeAhead {
                // Cut to nothing, it is as good as new.
                let name = OpenName {
                    seq: write.after.header.seq,
                    id: write.after.header.id,
                };
                self.spares.push_back(Spare {
                    name,
                    file: write.after.file,
                });
            }
            for frame in &write.frames {
                self.answer(frame.slot, Answer::Failed(failure), answers);
            }
        }
        self.dirty
            .retain(|number| match self.lanes.get_mut(*number) {
                Some(lane) if lane.pending.is_empty() => {
                    lane.listed = false;
                    false
                }
                _ => true,
            });
        self.spares
            .make_contiguous()
            .sort_by_key(|spare| spare.name.seq);
        self.barriers.extend(group.barriers);
    }

    /// Nothing is known any more: the queue stops, and all that wait are told to repeat.
    pub fn stop_unknown(&mut self, answers: &mut Vec<(T, Answer)>) {
        self.stopped = true;
        self.in_flight = false;
        self.groups_ended += 1;
        self.under_way.clear();
        self.awaited = Awaited::default();
        self.repeats = 0;
        self.count_pending();
        let mut reserved = Load::NONE;
        for slot in self.slots.drain() {
            reserved = reserved.plus(slot.reserved);
            answers.extend(
                slot.into_tickets()
                    .map(|t| (t, Answer::Failed(Failure::Unknown))),
            );
        }
        self.release(reserved);
    }

    /// Answers all who wait for a submission, finally.
    pub(super) fn answer(&mut self, number: u32, answer: Answer, answers: &mut Vec<(T, Answer)>) {
        let Some(slot) = self.slots.remove(number) else {
            return;
        };
        if slot.ack == Ack::Delivered {
            self.awaited.leave(number, &slot);
        }
        if !slot.durable {
            self.repeats -= slot.repeats.len();
        }
        self.release(slot.reserved);
        if let Some(id) = slot.id
            && self.under_way.get(&id) == Some(&number)
        {
            self.under_way.remove(&id);
        }
        let repeats = slot
            .repeats
            .into_iter()
            .map(|(ticket, _)| (ticket, answer.to_repeat()));
        answers.extend(slot.ticket.map(|ticket| (ticket, answer)));
        answers.extend(repeats);
    }
}

//! Submissions that are acknowledged when the sink has them.
//!
//! One is answered when every batch with a part of it has ended. A repeat of one that was kept before, perhaps by a
//! process that is no more, is in no slot, and no batch in memory says whose submissions it holds: it waits until all
//! batches that were there when it came have ended.

use std::collections::{BTreeMap, HashMap, HashSet};

use batchd_frame::{BatchId, SubmissionId};

use super::audit::demand;
use super::incoming::{Ack, Answer, Begun, Failure, Refusal};
use super::slots::{Slot, Slots};
use super::state::Queue;
use crate::spool::kept::EndedBadly;
use crate::spool::ledger::Outcome;

/// So many submissions of a queue may wait for its sink.
pub const WAITING_MAX: usize = 100_000;

/// Who waits for which batch.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Slots with frames in a batch.
    by_batch: HashMap<BatchId, Vec<u32>>,
    /// Slots that wait for all batches up to a seq, with whose repeats they are.
    up_to: BTreeMap<(u64, u32), SubmissionId>,
    /// Tickets that wait.
    pub waiting: usize,
}

impl Awaited {
    /// A slot has a frame in a batch.
    pub(super) fn expect(&mut self, batch: BatchId, slot: u32) {
        self.by_batch.entry(batch).or_default().push(slot);
    }

    /// The lowest seq up to which somebody waits.
    pub(super) fn waits_up_to(&self) -> Option<u64> {
        self.up_to.first_key_value().map(|((seq, _), _)| *seq)
    }

    /// Whether those who wait are in slots, and wait for batches that have not ended.
    pub(super) fn audit<T>(&self, slots: &Slots<T>, here: &HashSet<BatchId>) -> Result<(), String> {
        let (mut awaited, mut waiting) = (0, 0);
        for (_, slot) in slots.iter().filter(|(_, slot)| slot.ack == Ack::Delivered) {
            let repeats = slot.repeats.iter();
            waiting += 1 + repeats.filter(|(_, ack)| *ack == Ack::Delivered).count();
            awaited += slot.awaited as usize;
        }
        demand(waiting == self.waiting, || {
            format!(
                "{} are said to wait for the sink, and {waiting} do",
                self.waiting
            )
        })?;
        demand(
            awaited == self.by_batch.values().map(Vec::len).sum::<usize>(),
            || "a slot waits for a batch that does not know of it".to_owned(),
        )?;
        demand(self.by_batch.keys().all(|id| here.contains(id)), || {
            "somebody waits for a batch that has ended".to_owned()
        })?;
        let up_to = |number: &u32| slots.get(*number).is_some_and(|slot| slot.durable);
        demand(self.up_to.keys().all(|(_, number)| up_to(number)), || {
            "nobody waits up to a seq".to_owned()
        })
    }

    /// A slot is answered: its number will be that of another.
    pub(super) fn leave<T>(&mut self, number: u32, slot: &Slot<T>) {
        let repeats = slot.repeats.iter();
        let waited = repeats.filter(|(_, ack)| *ack == Ack::Delivered).count();
        self.waiting = self.waiting.saturating_sub(waited + 1);
        if slot.awaited > 0 {
            // It failed with a part of it kept.
            self.by_batch.retain(|_, slots| {
                slots.retain(|other| *other != number);
                !slots.is_empty()
            });
        }
    }
}

impl<T: Clone> Queue<T> {
    /// Whether one more may wait for the sink.
    ///
    /// # Errors
    /// [`Refusal`] where there is no sink, or too many wait for it.
    pub(super) fn check_delivery(&self) -> Result<(), Refusal> {
        if !self.options.has_sink {
            return Err(Refusal::NoSink);
        }
        if self.awaited.waiting >= WAITING_MAX {
            return Err(Refusal::TooManyWaiting(self.awaited.waiting));
        }
        Ok(())
    }

    /// A repeat of what was kept before, that waits for the sink.
    pub(super) fn begin_delivered(
        &mut self,
        id: SubmissionId,
        ticket: T,
    ) -> Result<Begun, Refusal> {
        if self.ended_badly.contains(id) {
            return Err(Refusal::EndedBadly);
        }
        let is_parked = self.parked.contains(id);
        if self.oldest_seq().is_none() && !is_parked {
            return Ok(Begun::Known);
        }
        let number = self.slots.insert(Slot {
            frames_left: 0,
            durable: true,
            ..Slot::new(Some(ticket), None, Ack::Delivered)
        });
        self.awaited.waiting += 1;
        // What is parked goes out after the next start at the earliest: it waits for the end of this process.
        let newest = match is_parked {
            true => u64::MAX,
            false => self.next_seq.saturating_sub(1),
        };
        self.awaited.up_to.insert((newest, number), id);
        Ok(Begun::Durable)
    }

    /// All of a submission is synced, and it waits for the sink alone. Those who repeated it and do not are answered.
    pub(super) fn all_durable(&mut self, number: u32, answers: &mut Vec<(T, Answer)>) {
        let Some(slot) = self.slots.get_mut(number) else {
            return;
        };
        slot.durable = true;
        self.repeats -= slot.repeats.len();
        let (later, now): (Vec<_>, Vec<_>) = std::mem::take(&mut slot.repeats)
            .into_iter()
            .partition(|(_, ack)| *ack == Ack::Delivered);
        slot.repeats = later;
        answers.extend(
            now.into_iter()
                .map(|(ticket, _)| (ticket, Answer::KeptBefore(Ack::Synced))),
        );
        let waiting = slot
            .ticket
            .iter()
            .chain(slot.repeats.iter().map(|(t, _)| t));
        answers.extend(waiting.map(|ticket| (ticket.clone(), Answer::Durable)));
        if slot.awaited == 0 {
            let answer = final_answer(slot, &self.ended_badly, &self.parked);
            self.answer(number, answer, answers);
        }
    }

    /// A batch has ended: whoever waits for it alone is answered. The answers are taken with
    /// [`Commit::take_answers`](super::Commit::take_answers).
    pub(super) fn batch_ended(&mut self, batch: BatchId, outcome: Outcome) {
        let mut answers = std::mem::take(&mut self.outbox);
        for number in self.awaited.by_batch.remove(&batch).unwrap_or_default() {
            let Some(slot) = self.slots.get_mut(number) else {
                continue;
            };
            slot.awaited -= 1;
            slot.fate = slot.fate.or(fate(outcome));
            if slot.durable && slot.awaited == 0 {
                let answer = final_answer(slot, &self.ended_badly, &self.parked);
                self.answer(number, answer, &mut answers);
            }
        }
        self.answer_up_to(&mut answers);
        self.outbox = answers;
    }

    fn answer_up_to(&mut self, answers: &mut Vec<(T, Answer)>) {
        if self.awaited.up_to.is_empty() {
            return;
        }
        let oldest = self.oldest_seq().unwrap_or(u64::MAX);
        while let Some(((seq, number), id)) = self.awaited.up_to.pop_first() {
            if seq >= oldest {
                self.awaited.up_to.insert((seq, number), id);
                return;
            }
            let answer = if self.ended_badly.contains(id) {
                Answer::Failed(Failure::Dropped)
            } else {
                Answer::KeptBefore(Ack::Delivered)
            };
            self.answer(number, answer, answers);
        }
    }

    /// The lowest seq of what is not delivered yet.
    pub(super) fn oldest_seq(&self) -> Option<u64> {
        let unsealed = self.unsealed().map(|(header, ..)| header.seq);
        let ready = self.ready.first_key_value().map(|((seq, _), _)| *seq);
        unsealed.chain(ready).min()
    }

    /// Whoever waits for the sink alone is told that it will not be in this process: the queue is about to stop. Of what
    /// is not durable yet, that cannot be said.
    pub fn release_waiting(&mut self) {
        let mut answers = std::mem::take(&mut self.outbox);
        let durable = self.slots.durable();
        let released: HashSet<u32> = durable.iter().copied().collect();
        self.awaited.up_to.clear();
        self.awaited.by_batch.retain(|_, slots| {
            slots.retain(|number| !released.contains(number));
            !slots.is_empty()
        });
        for number in durable {
            if let Some(slot) = self.slots.get_mut(number) {
                slot.awaited = 0;
            }
            self.answer(number, Answer::Failed(Failure::Stopped), &mut answers);
        }
        self.outbox = answers;
    }
}

/// All batches with parts of it that somebody waited for have ended. A first part that was kept before, under the same
/// id, may have ended as well, and badly, or not be delivered by this process.
fn final_answer<T>(slot: &Slot<T>, ended_badly: &EndedBadly, parked: &EndedBadly) -> Answer {
    let is_in = |set: &EndedBadly| slot.id.is_some_and(|id| set.contains(id));
    let before = is_in(ended_badly)
        .then_some(Failure::Dropped)
        .or(is_in(parked).then_some(Failure::Stopped));
    let failure = slot.fate.or(before);
    failure.map_or(Answer::Kept(Ack::Delivered), Answer::Failed)
}

/// What that means for those who wait for the sink.
fn fate(outcome: Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Delivered => None,
        Outcome::DeliveredDamaged => Some(Failure::Damaged),
        Outcome::Expired => Some(Failure::Expired),
        Outcome::Dropped => Some(Failure::Dropped),
        Outcome::Removed => Some(Failure::Removed),
    }
}

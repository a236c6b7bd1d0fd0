//! What must be true of the state of a queue between two calls. Tests ask after every step; nothing else does.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use batchd_frame::BatchId;

use super::pending::WAITING_BYTES;
use super::state::Queue;
use crate::policy::Load;

impl<T: Clone> Queue<T> {
    /// Room that is taken for what is on its way into batches.
    #[must_use]
    pub fn reserved(&self) -> Load {
        let sum = |all: Load, slot: &super::slots::Slot<T>| all.plus(slot.reserved);
        self.slots
            .iter()
            .map(|(_, slot)| slot)
            .fold(Load::NONE, sum)
    }

    /// Submissions, and repeats of what was kept, that were begun and are not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.slots.iter().count()
    }

    /// Keys that are remembered: those with a batch or frames that wait, and some of late.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.lanes.keys()
    }

    /// Compares the accounts that the queue keeps with what they are accounts of. Call it while no group is under
    /// way and no batch is being created.
    ///
    /// # Errors
    /// What does not agree.
    pub fn audit(&self) -> Result<(), String> {
        if self.stopped {
            return Ok(());
        }
        self.audit_held()?;
        self.audit_lanes()?;
        self.audit_slots()?;
        self.audit_awaited()
    }

    fn audit_held(&self) -> Result<(), String> {
        let open = self.unsealed().map(|(_, fill, _)| Load {
            items: fill.items.into(),
            bytes: fill.bytes,
        });
        let ready = self.ready().map(|batch| batch.name.load());
        let ready = ready.fold(Load::NONE, Load::plus);
        let sum = open.fold(self.reserved().plus(ready), Load::plus);
        demand(self.held == sum, || {
            format!("{:?} are held, and there are {sum:?}", self.held)
        })?;
        let dead = self.dead().map(|batch| batch.name.load());
        let dead = dead.fold(Load::NONE, Load::plus);
        let sums = (self.ready_load, self.dead_load);
        demand(sums == (ready, dead), || {
            format!("{sums:?} are ready and dead, and there are {ready:?} and {dead:?}")
        })
    }

    fn audit_lanes(&self) -> Result<(), String> {
        let dirty: HashSet<usize> = self.dirty.iter().copied().collect();
        demand(dirty.len() == self.dirty.len(), || {
            "a lane is listed twice".to_owned()
        })?;
        for (number, lane) in self.lanes.iter().enumerate() {
            let is_listed = dirty.contains(&number);
            demand(lane.listed == is_listed, || {
                format!("lane {number} is listed: {}, {is_listed}", lane.listed)
            })?;
            demand(lane.listed || lane.pending.is_empty(), || {
                format!("lane {number} has frames and is never planned")
            })?;
            demand(lane.close.is_none() && !lane.busy, || {
                format!("lane {number} waits for a group that is not under way")
            })?;
            let seq = lane.batch.as_ref().map_or(0, |batch| batch.header.seq);
            demand(seq <= lane.last_seq, || {
                format!("lane {number} forgets seq {seq}")
            })?;
        }
        let undecided = self.slots.iter().filter(|(_, slot)| !slot.durable);
        let repeats: usize = undecided.map(|(_, slot)| slot.repeats.len()).sum();
        let frames = self.lanes.iter().map(|lane| lane.pending.cost());
        let waiting = frames.sum::<usize>() + repeats * WAITING_BYTES;
        let shared = self.options.pending_bytes.load(Ordering::Relaxed);
        demand(self.pending_bytes == waiting && shared == waiting, || {
            let told = self.pending_bytes;
            format!("{told} bytes, and {shared} of all, are said to wait, and {waiting} do")
        })
    }

    fn audit_slots(&self) -> Result<(), String> {
        for (number, slot) in self.slots.iter() {
            let waits = slot.frames_left > 0 || slot.durable || self.barriers.contains(&number);
            demand(waits, || {
                format!("slot {number} waits for nothing: {:?}", slot.id)
            })?;
            demand(slot.frames_left > 0 || slot.reserved == Load::NONE, || {
                format!("slot {number} has all its frames, and room for more")
            })?;
            let known = slot
                .id
                .is_none_or(|id| self.under_way.get(&id) == Some(&number));
            demand(known, || {
                format!("slot {number} is not known to be under way")
            })?;
        }
        let with_id = self.slots.iter().filter(|(_, slot)| slot.id.is_some());
        demand(with_id.count() == self.under_way.len(), || {
            "something under way is in no slot".to_owned()
        })
    }

    fn audit_awaited(&self) -> Result<(), String> {
        let open = self.unsealed().map(|(header, ..)| header.id);
        let ready = self.ready().map(|batch| batch.name.id);
        let here: HashSet<BatchId> = open.chain(ready).collect();
        self.awaited.audit(&self.slots, &here)?;
        let oldest = self.oldest_seq().unwrap_or(u64::MAX);
        demand(
            self.awaited.waits_up_to().is_none_or(|seq| seq >= oldest),
            || "somebody waits for batches that have all ended".to_owned(),
        )?;
        self.beats.audit(&here)
    }
}

/// Says what is wrong, where that is so.
pub(super) fn demand(is_true: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is_true { Ok(()) } else { Err(why()) }
}

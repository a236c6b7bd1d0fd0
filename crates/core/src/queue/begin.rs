//! A submission at the door: checked, recognised, and put behind what waits.

use batchd_frame::SubmissionId;
use batchd_frame::planted::{Planted, is_planted};

use super::incoming::{Ack, Begun, Incoming, Refusal};
use super::pending::WAITING_BYTES;
use super::slots::Slot;
use super::state::Queue;
use crate::policy::Load;
use crate::spool::kept::Known;

impl<T: Clone> Queue<T> {
    /// Takes a submission into the next group. `ticket` is answered by a later [`complete`](Self::complete),
    /// unless the answer is [`Begun::Known`] or a refusal.
    ///
    /// # Errors
    /// [`Refusal`]; nothing of the submission is kept.
    pub fn begin(&mut self, incoming: &Incoming<'_>, ticket: T) -> Result<Begun, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        if incoming.ack == Ack::Delivered {
            self.check_delivery()?;
        }
        let mut skip = 0;
        let id = incoming.view.submission();
        if let Some(id) = id {
            if let Some(number) = self.under_way.get(&id).copied() {
                return self.begin_under_way(number, incoming.ack, ticket);
            }
            match self.kept.look_up(id) {
                Known::Whole => return self.begin_known(id, incoming.ack, ticket),
                _ if incoming.repeat && self.recall.is_some() => return Err(Refusal::Recalling),
                Known::Partly(items) => skip = items.min(incoming.view.count().saturating_sub(1)),
                Known::New => {}
            }
        }
        if incoming.view.count() == 0 {
            return Ok(self.begin_synced(incoming.ack.min(Ack::Synced), ticket));
        }
        self.check_limits(incoming)?;
        let lane = self.lanes.number(incoming.key)?;
        let need = load_of(incoming, skip);
        self.reserve(need)?;
        if is_planted(Planted::AckBeforeAppend) {
            self.queue_frames(incoming, lane, None, skip, need);
            return Ok(Begun::Known);
        }
        self.queue_frames(incoming, lane, Some(ticket), skip, need);
        Ok(Begun::Waiting)
    }

    fn queue_frames(
        &mut self,
        incoming: &Incoming<'_>,
        lane_number: usize,
        ticket: Option<T>,
        skip: u32,
        reserved: Load,
    ) {
        let id = incoming.view.submission();
        let number = self.slots.insert(Slot {
            reserved,
            ..Slot::new(ticket, id, incoming.ack)
        });
        if let Some(id) = id {
            self.under_way.insert(id, number);
        }
        self.awaited.waiting += usize::from(incoming.ack == Ack::Delivered);
        if let Some(lane) = self.lanes.get_mut(lane_number) {
            if !std::mem::replace(&mut lane.listed, true) {
                self.dirty.push_back(lane_number);
            }
            let before = lane.pending.bytes();
            lane.pending.push(incoming, number, skip);
            let more = lane.pending.bytes() - before;
            self.add_pending(more);
        }
    }

    fn check_limits(&self, incoming: &Incoming<'_>) -> Result<(), Refusal> {
        let policy = &self.options.policy;
        let max = policy.bytes_bound();
        if incoming.view.item_bytes() > max
            && let Some(item) = incoming.view.items().find(|item| item.len() as u64 > max)
        {
            return Err(Refusal::ItemOverMaxBytes {
                bytes: item.len() as u64,
                max,
            });
        }
        // A part takes all that fits, so two neighbours together hold more than one bound.
        let parts = u64::from(incoming.view.count() / policy.max_items.unwrap_or(u32::MAX).max(1))
            + 2 * (incoming.view.item_bytes() / max.max(1));
        if parts > u64::from(u16::MAX) - 2 {
            return Err(Refusal::TooManyParts);
        }
        Ok(())
    }

    /// The same submission is in a slot already: it is answered with the first, or as soon as what it waits for is
    /// true.
    fn begin_under_way(&mut self, number: u32, ack: Ack, ticket: T) -> Result<Begun, Refusal> {
        let Some(slot) = self.slots.get_mut(number) else {
            return Err(Refusal::UnderWay);
        };
        if slot.durable && ack < Ack::Delivered {
            return Ok(Begun::Known);
        }
        if slot.ack < ack {
            return Err(Refusal::UnderWay);
        }
        let durable = slot.durable;
        slot.repeats.push((ticket, ack));
        self.awaited.waiting += usize::from(ack == Ack::Delivered);
        if durable {
            return Ok(Begun::Durable);
        }
        self.repeats += 1;
        self.add_pending(WAITING_BYTES);
        Ok(Begun::Waiting)
    }

    /// All of it is there.
    fn begin_known(&mut self, id: SubmissionId, ack: Ack, ticket: T) -> Result<Begun, Refusal> {
        if ack == Ack::Delivered {
            self.begin_delivered(id, ticket)
        } else {
            Ok(self.begin_synced(ack, ticket))
        }
    }

    /// It is there. Only where it is not known synced and that is asked for, the answer waits for a sync.
    fn begin_synced(&mut self, ack: Ack, ticket: T) -> Begun {
        let unsynced = self.in_flight
            || self.closed_unsynced()
            || self.lanes.iter().any(|l| l.unsynced_since.is_some());
        if ack < Ack::Synced || !unsynced {
            return Begun::Known;
        }
        let number = self.slots.insert(Slot {
            frames_left: 0,
            ..Slot::new(Some(ticket), None, ack)
        });
        self.barriers.push(number);
        Begun::Waiting
    }
}

/// What a submission adds, less its first `skip` items.
fn load_of(incoming: &Incoming<'_>, skip: u32) -> Load {
    let kept: u64 = match skip {
        0 => 0,
        _ => {
            let first = incoming.view.items().take(skip as usize);
            first.map(|item| item.len() as u64).sum()
        }
    };
    Load {
        items: u64::from(incoming.view.count().saturating_sub(skip)),
        bytes: incoming.view.item_bytes().saturating_sub(kept),
    }
}

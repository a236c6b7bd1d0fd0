//! Submissions that wait for an answer.

use batchd_frame::SubmissionId;

use super::incoming::{Ack, Failure};
use crate::policy::Load;

/// A submission under way.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// Who is answered.
    pub ticket: Option<T>,
    /// Who repeated it meanwhile, and is answered too, with what each waits for.
    pub repeats: Vec<(T, Ack)>,
    /// Its id.
    pub id: Option<SubmissionId>,
    /// What it waits for.
    pub ack: Ack,
    /// Frames of it that are pending or in a group; parts yet to be cut count as one.
    pub frames_left: u32,
    /// Room that was taken for what of it is not kept yet.
    pub reserved: Load,
    /// What became of a part of it, where that is not delivered.
    pub fate: Option<Failure>,
    /// Batches with frames of it that have not ended, where somebody waits for the sink.
    pub awaited: u32,
    /// All of it is synced; it waits for the sink alone.
    pub durable: bool,
}

impl<T> Slot<T> {
    /// Of a submission with one frame to come.
    pub(super) fn new(ticket: Option<T>, id: Option<SubmissionId>, ack: Ack) -> Self {
        Self {
            ticket,
            repeats: Vec::new(),
            id,
            ack,
            frames_left: 1,
            reserved: Load::NONE,
            fate: None,
            awaited: 0,
            durable: false,
        }
    }

    /// All who are answered.
    pub(super) fn into_tickets(self) -> impl Iterator<Item = T> {
        let repeats = self.repeats.into_iter().map(|(ticket, _)| ticket);
        self.ticket.into_iter().chain(repeats)
    }
}

/// Slots by number, with those that are free.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, slot: Slot<T>) -> u32 {
        if let Some(number) = self.free.pop()
            && let Some(place) = self.slots.get_mut(number as usize)
        {
            *place = Some(slot);
            return number;
        }
        self.slots.push(Some(slot));
        u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Slot<T>> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Slot<T>> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Slot<T>> {
        let slot = self.slots.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(slot)
    }

    /// All there are, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot<T>)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
    }

    /// Numbers of those that wait for the sink alone.
    pub(super) fn durable(&self) -> Vec<u32> {
        let durable = self.iter().filter(|(_, slot)| slot.durable);
        durable.map(|(number, _)| number).collect()
    }

    /// Takes all of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Slot<T>> + '_ {
        self.free.clear();
        self.slots.drain(..).flatten()
    }
}

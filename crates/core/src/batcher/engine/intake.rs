//! The way in.

use batchd_frame::SealReason;

use super::asker::{Adding, Asker, Unanswered};
use super::state::{Aged, End, Engine, Store};
use crate::batcher::callbacks::Batcher;
use crate::batcher::dir::ITEMS_BYTES_MAX;
use crate::batcher::error::{Accepted, Refused, Trouble};
use crate::batcher::overrides::CallError;
use crate::batcher::spooled::NotKept;

/// A group is appended at the latest with so many bytes.
const GROUP_BYTES_MAX: u64 = 1 << 20;

impl<B: Batcher> Engine<'_, B> {
    /// Takes an item in. It is answered at the latest by [`commit`](Self::commit).
    pub(in crate::batcher) fn add(&mut self, adding: Adding<B::Item>) -> Result<(), End> {
        let outcome = match self.accept(&adding.item) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => {
                self.refuse(adding, why);
                return Ok(());
            }
            Err(end) => {
                self.last_words.push((adding, end.heard().into()));
                return Err(end);
            }
        };
        self.unanswered.push(Unanswered { adding, outcome });
        match self.reason_behind() {
            Some(reason) => self.flush_behind(reason),
            None if self.is_group_full() => self.commit(),
            None => Ok(()),
        }
    }

    /// The item that was added last completes its batch.
    pub(super) fn flush_behind(&mut self, reason: SealReason) -> Result<(), End> {
        if !self.append()? {
            return Ok(());
        }
        // The others do not wait for the flush.
        let last = self.unanswered.pop();
        self.answer();
        let flushed = self.close(reason).and_then(|()| self.deliver(false));
        let Some(mut last) = last else {
            return flushed.map(|_| ());
        };
        match flushed {
            Ok(outcome) => {
                last.outcome = outcome.unwrap_or(last.outcome);
                self.unanswered.push(last);
                self.answer();
                Ok(())
            }
            Err(end) => {
                // What is on the spool will be there.
                match &self.store {
                    Store::Spool { .. } => last.adding.asker.tell(Ok(Accepted::Held)),
                    Store::Memory(_) => self.last_words.push((last.adding, end.heard().into())),
                }
                Err(end)
            }
        }
    }

    /// Has an item taken. Says what became of a flush that was due before it.
    pub(super) fn accept(&mut self, item: &B::Item) -> Result<Result<Accepted, Refused>, End> {
        if let Some((until, why)) = &self.no_room
            && self.now() < *until
        {
            return Ok(Err(Refused::NoRoom(why.clone())));
        }
        let bytes = match self.weigh(item) {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Err(why)),
        };
        let max = self.bytes_max();
        if bytes > max {
            return Ok(Err(Refused::TooLong { bytes, max }));
        }
        let reason = self.reason_before(item, bytes);
        if let Some(why) = self.why_full(reason.is_some())? {
            return Ok(Err(why));
        }
        let mut outcome = Accepted::Held;
        if let Some(reason) = reason
            && self.append()?
        {
            self.answer();
            self.close(reason)?;
            outcome = self.deliver(false)?.unwrap_or(outcome);
        }
        if self.is_group_full_with(bytes) {
            self.commit()?;
        }
        if let Err(why) = self.begin() {
            return Ok(Err(Refused::NoBatch(why)));
        }
        let Some(open) = &mut self.open else {
            return Ok(Err(Refused::NoBatch("none is open".to_owned())));
        };
        match self.callbacks.add_item(&mut open.state, item) {
            Ok(()) => {}
            Err(CallError::Failed(error)) => return Ok(Err(Refused::ByBatcher(error))),
            Err(CallError::Panicked(what)) => {
                self.mend_open(&what)?;
                return Ok(Err(Refused::Panicked(what)));
            }
        }
        if let Store::Spool { spool, .. } = &mut self.store {
            spool.stage();
        }
        self.count(bytes);
        Ok(Ok(outcome))
    }

    /// An item is in the open batch.
    pub(super) fn count(&mut self, bytes: u64) {
        let now = self.now();
        let Some(open) = &mut self.open else { return };
        let is_first = open.fill.items == 0;
        if is_first {
            open.first_item = Aged::now(now);
        }
        open.newest_item = Aged::now(now);
        open.fill.items += 1;
        open.fill.bytes += bytes;
        self.counts.total_items += 1;
        if is_first {
            self.plan_beat();
        }
    }

    pub(super) fn weigh(&mut self, item: &B::Item) -> Result<u64, Refused> {
        match &mut self.store {
            Store::Memory(_) => self.callbacks.item_bytes(item).map_err(Refused::Panicked),
            Store::Spool { spool, .. } => spool.encode(item).map_err(Refused::NotEncoded),
        }
    }

    /// Why no item is taken that needs a new batch: too many wait.
    pub(super) fn why_full(&mut self, closes: bool) -> Result<Option<Refused>, End> {
        let is_empty = self.open.as_ref().is_none_or(|open| open.fill.items == 0);
        let (Some(max), true) = (self.config.max_waiting, closes || is_empty) else {
            return Ok(None);
        };
        if self.counts.waiting >= max {
            // One of them may be due.
            self.deliver(false)?;
        }
        let waiting = self.counts.waiting;
        Ok((waiting >= max).then_some(Refused::Full(waiting)))
    }

    /// Most bytes of an item.
    fn bytes_max(&self) -> u64 {
        let max = self.policy.bytes_bound();
        match &self.store {
            Store::Memory(_) => max,
            Store::Spool { .. } => max.min(ITEMS_BYTES_MAX),
        }
    }

    /// Whether what was added is to be committed before anything else is.
    fn is_group_full(&self) -> bool {
        match &self.store {
            Store::Memory(_) => true,
            Store::Spool { spool, .. } => spool.group_bytes() >= GROUP_BYTES_MAX,
        }
    }

    /// Whether a group with so many bytes more would be too long.
    fn is_group_full_with(&self, bytes: u64) -> bool {
        match &self.store {
            Store::Memory(_) => false,
            Store::Spool { spool, .. } => {
                let have = spool.group_bytes();
                have > 0 && have.saturating_add(bytes) > ITEMS_BYTES_MAX
            }
        }
    }

    /// Makes durable what was added, and answers it.
    pub(in crate::batcher) fn commit(&mut self) -> Result<(), End> {
        if self.append()? {
            self.answer();
        }
        Ok(())
    }

    /// Makes durable what was added. Where it cannot be, all of it is refused, and the open batch is as before.
    pub(super) fn append(&mut self) -> Result<bool, End> {
        let Store::Spool { spool, .. } = &mut self.store else {
            return Ok(true);
        };
        match spool.append() {
            Ok(()) => {
                let kept = self.open.as_ref().filter(|open| open.fill.items > 0);
                self.kept = kept.map(|open| (open.first_item, open.newest_item));
                Ok(true)
            }
            Err(NotKept::NoRoom(why)) => {
                let began = self.now();
                self.refuse_all(|| Refused::NoRoom(why.clone()));
                self.rebuild_or_close()?;
                // No more than a tenth of the time goes into making anew what finds no room again.
                let took = self.now().saturating_sub(began);
                let until = self.now().saturating_add(took * 9);
                self.no_room = Some((until, why));
                Ok(false)
            }
            Err(NotKept::Broken(why)) => {
                let refused = self.unanswered.drain(..);
                let refused = refused.map(|one| (one.adding, Refused::Unknown(why.clone())));
                self.last_words.extend(refused);
                Err(End::Died(why))
            }
        }
    }

    /// Gives an item back; where nobody waits for it, that is trouble.
    fn refuse(&mut self, adding: Adding<B::Item>, why: Refused) {
        self.counts.refused += 1;
        if let Asker::Nobody = adding.asker {
            self.report(Trouble::NotAdded(why.to_string()));
        }
        adding.refuse(why);
    }

    pub(super) fn refuse_all(&mut self, why: impl Fn() -> Refused) {
        for unanswered in std::mem::take(&mut self.unanswered) {
            self.counts.total_items -= 1;
            self.refuse(unanswered.adding, why());
        }
    }

    pub(super) fn answer(&mut self) {
        for Unanswered { adding, outcome } in self.unanswered.drain(..) {
            adding.asker.tell(Ok(outcome));
            self.last_item = Some(adding.item);
        }
    }
}

//! The way out.

use std::sync::atomic::Ordering;

use batchd_frame::{BatchId, SealReason};

use super::state::{End, Engine, Retry, Store};
use crate::batcher::callbacks::{Batcher, Closed};
use crate::batcher::error::{Accepted, FlushError, Step};
use crate::batcher::options::Config;
use crate::batcher::overrides::{CallError, Callbacks};
use crate::batcher::spooled::Offered;
use crate::queue::attempt::{Attempted, Parcel};
use crate::spool::ledger::Outcome;

/// What is in memory of a batch on the spool that waits.
pub(super) enum Front<B: Batcher> {
    /// As it was closed; if it is the oldest, it need not be made anew.
    Closed(BatchId, B::Batch),
    /// It was tried.
    Tried(Closed<B::Batch>),
}

impl<B: Batcher> Engine<'_, B> {
    /// Closes the open batch and delivers all that waits, now.
    pub(in crate::batcher) fn flush(
        &mut self,
        reason: SealReason,
    ) -> Result<Result<(), FlushError>, End> {
        if self.append()? {
            self.answer();
        }
        self.close(reason)?;
        Ok(match self.deliver(true)? {
            Some(Accepted::FlushFailed(error)) => Err(error),
            _ => Ok(()),
        })
    }

    /// Delivers what waits, in order, until one fails. Says how it went; nothing where none waits. After a failure
    /// nothing is tried before its time, unless that is asked for.
    pub(super) fn deliver(&mut self, at_once: bool) -> Result<Option<Accepted>, End> {
        let mut outcome = None;
        loop {
            while let Some(front) = self.front() {
                if self.aborted.load(Ordering::Relaxed) {
                    return Err(End::Aborted);
                }
                if let Some(retry) = &self.retry
                    && !at_once
                    && self.now() < retry.due
                {
                    let error = retry.error.clone();
                    self.note_waiting();
                    return Ok(Some(Accepted::FlushFailed(error)));
                }
                match self.try_front(front)? {
                    Accepted::FlushFailed(error) if !error.is_delivered() => {
                        self.note_waiting();
                        return Ok(Some(Accepted::FlushFailed(error)));
                    }
                    // What went wrong counts for more than what went well.
                    failed @ Accepted::FlushFailed(_) => outcome = Some(failed),
                    tried => drop(outcome.get_or_insert(tried)),
                }
            }
            // What was delivered may have made room for the seals of others.
            if !self.seal_more()? {
                break;
            }
        }
        self.note_waiting();
        Ok(self.unsealed().map(Accepted::FlushFailed).or(outcome))
    }

    /// Puts on record what was delivered and is not: a process that does not know it would deliver it again.
    pub(super) fn make_up_for_records(&mut self) -> Result<Result<(), FlushError>, End> {
        while let (Store::Spool { spool, .. }, Some(front)) = (&self.store, self.front())
            && spool.is_front_unrecorded()
        {
            if let Accepted::FlushFailed(error) = self.try_front(front)?
                && !error.is_delivered()
            {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Tries the batch that waits longest.
    fn try_front(&mut self, front: BatchId) -> Result<Accepted, End> {
        let attempt = self.failures_of(front) + 1;
        let tried = match &self.store {
            Store::Memory(_) => self.deliver_from_memory(attempt)?,
            Store::Spool { .. } => self.deliver_from_spool(attempt)?,
        };
        Ok(match tried {
            Tried::Delivered(trouble) => {
                self.retry = None;
                if self.beaten.take_if(|beaten| *beaten == front).is_some() {
                    self.rhythm.ended(self.now());
                    if self.filled().is_some() {
                        self.plan_beat();
                    }
                }
                match trouble {
                    None => Accepted::Flushed,
                    Some((step, why)) => Accepted::FlushFailed(self.failed(front, step, why)),
                }
            }
            Tried::Failed(step, why) => {
                let error = self.failed(front, step, why);
                let mut random = [0; 4];
                self.env.entropy.fill(&mut random);
                let wait = self.config.backoff.wait(error.failures, random);
                self.retry = Some(Retry {
                    error: error.clone(),
                    due: self.now().saturating_add(wait),
                });
                Accepted::FlushFailed(error)
            }
        })
    }

    /// Tries the seals that waited for room. Says whether there is more to deliver.
    fn seal_more(&mut self) -> Result<bool, End> {
        let Store::Spool { spool, .. } = &self.store else {
            return Ok(false);
        };
        if spool.unsealed().is_none() {
            return Ok(false);
        }
        spool.keep()?;
        Ok(self.front().is_some())
    }

    /// How many attempts at a batch have failed.
    fn failures_of(&self, batch: BatchId) -> u32 {
        let retry = self.retry.as_ref();
        let retry = retry.filter(|retry| retry.error.batch == batch);
        retry.map_or(0, |retry| retry.error.failures)
    }

    fn failed(&mut self, batch: BatchId, step: Step, why: String) -> FlushError {
        let before = self
            .retry
            .as_ref()
            .filter(|retry| retry.error.batch == batch);
        let error = FlushError {
            batch,
            step,
            failures: before.map_or(0, |retry| retry.error.failures) + 1,
            why,
        };
        self.counts.failures += 1;
        self.report(error.clone().into());
        error
    }

    /// A batch that cannot even be sealed now, for want of room, and waits for that.
    fn unsealed(&self) -> Option<FlushError> {
        let Store::Spool { spool, .. } = &self.store else {
            return None;
        };
        spool.unsealed().map(|batch| FlushError {
            batch,
            step: Step::Spool,
            failures: 0,
            why: "there is no room for its seal, or nothing can be written".to_owned(),
        })
    }

    fn deliver_from_memory(&mut self, attempt: u32) -> Result<Tried, End> {
        let Store::Memory(waiting) = &mut self.store else {
            return Ok(Tried::Delivered(None));
        };
        let Some(front) = waiting.front_mut() else {
            return Ok(Tried::Delivered(None));
        };
        front.attempts = attempt;
        match self.callbacks.out(front) {
            Ok(()) => {}
            Err(NotOut::Spoilt(what)) => {
                return Err(End::Died(format!("pre_flush panicked: {what}")));
            }
            Err(NotOut::Failed(step, why)) => return Ok(Tried::Failed(step, why)),
        }
        self.counts.flushes += 1;
        self.counts.items_flushed += front.items;
        let done = waiting.pop_front();
        let looked = done.map(|done| self.callbacks.post_flush(&done));
        let failed = looked.and_then(Result::err);
        Ok(Tried::Delivered(
            failed.map(|error| (Step::PostFlush, error.said())),
        ))
    }

    fn deliver_from_spool(&mut self, attempt: u32) -> Result<Tried, End> {
        let Self {
            callbacks,
            config,
            store: Store::Spool { spool, front },
            ..
        } = self
        else {
            return Ok(Tried::Delivered(None));
        };
        if !spool.may_deliver() {
            // What cannot be recorded would be delivered again after a restart.
            let why = "what becomes of it could not be put on record now".to_owned();
            return Ok(Tried::Failed(Step::Spool, why));
        }
        let batch = spool.front();
        let mut failed = None;
        let mut done = Vec::new();
        let attempted = spool.attempt(&mut |offered| {
            let mut closed = match Front::take(front, offered.parcel) {
                Some(closed) => closed,
                None => callbacks.rebuild(offered, config).inspect_err(|_| {
                    failed = Some(Step::Rebuild);
                })?,
            };
            closed.attempts = attempt;
            closed.file = Some(offered.file());
            match callbacks.out(&mut closed) {
                Ok(()) => {
                    done.push(closed);
                    Ok(())
                }
                Err(NotOut::Spoilt(what)) => {
                    // It is made anew.
                    failed = Some(Step::PreFlush);
                    Err(format!("panicked: {what}"))
                }
                Err(NotOut::Failed(step, why)) => {
                    failed = Some(step);
                    *front = Some(Front::Tried(closed));
                    Err(why)
                }
            }
        });
        let mut looked = None;
        for done in done {
            if let Err(error) = self.callbacks.post_flush(&done) {
                looked.get_or_insert(error.said());
            }
        }
        if let (Some(batch), Some(why), Some(Attempted::Failed(_))) = (batch, &looked, &attempted) {
            // What is answered is that it is not on record.
            self.failed(batch, Step::PostFlush, why.clone());
        }
        match attempted {
            None => Ok(Tried::Delivered(None)),
            Some(Attempted::Done { items_lost: 0, .. }) => {
                Ok(Tried::Delivered(looked.map(|why| (Step::PostFlush, why))))
            }
            Some(Attempted::Done {
                items_lost,
                outcome,
            }) => {
                if outcome == Outcome::DeliveredDamaged {
                    self.items_lost += items_lost;
                }
                let why = format!("{items_lost} items are lost to damage; the log says more");
                Ok(Tried::Delivered(Some((Step::Damage, why))))
            }
            Some(Attempted::Failed(why)) => Ok(Tried::Failed(failed.unwrap_or(Step::Spool), why)),
            Some(Attempted::Broken(broken)) => Err(broken.into()),
        }
    }
}

/// What became of a batch on its way out.
enum Tried {
    /// It is done; what went wrong all the same.
    Delivered(Option<(Step, String)>),
    /// It stays.
    Failed(Step, String),
}

/// Why a batch did not go out.
enum NotOut {
    /// It may be half-changed.
    Spoilt(String),
    Failed(Step, String),
}

impl<B: Batcher> Callbacks<'_, B> {
    /// Has a batch flushed.
    fn out(&mut self, batch: &mut Closed<B::Batch>) -> Result<(), NotOut> {
        if !batch.is_prepared {
            self.pre_flush(batch).map_err(|error| match error {
                CallError::Panicked(what) => NotOut::Spoilt(what),
                failed @ CallError::Failed(_) => NotOut::Failed(Step::PreFlush, failed.said()),
            })?;
            batch.is_prepared = true;
        }
        let flushed = self.flush(batch);
        flushed.map_err(|error| NotOut::Failed(Step::Flush, error.said()))
    }

    /// Makes a batch anew from its items.
    pub(super) fn rebuild(
        &mut self,
        offered: &mut Offered<'_, B::Item>,
        config: &Config,
    ) -> Result<Closed<B::Batch>, String> {
        let state = self.init(config);
        let mut state =
            state.map_err(|error| format!("no batch can be begun: {}", error.said()))?;
        if B::IS_REBUILT {
            offered.each(|item| {
                let added = self.add_item(&mut state, item);
                added.map_err(|error| error.said())
            })?;
        }
        Ok(closed(offered.parcel, state))
    }
}

impl<B: Batcher> Front<B> {
    /// What is in memory of a batch, if it is this one.
    pub(super) fn take(front: &mut Option<Self>, parcel: &Parcel<'_>) -> Option<Closed<B::Batch>> {
        match front.take()? {
            Self::Closed(id, state) if id == parcel.batch && parcel.part.is_none() => {
                Some(closed(parcel, state))
            }
            Self::Tried(batch) if batch.id == parcel.batch && batch.part == parcel.part => {
                Some(batch)
            }
            _ => None,
        }
    }
}

fn closed<S>(parcel: &Parcel<'_>, state: S) -> Closed<S> {
    Closed {
        id: parcel.batch,
        part: parcel.part,
        reason: parcel.reason,
        items: parcel.items,
        bytes: parcel.bytes,
        attempts: 0,
        file: None,
        is_prepared: false,
        state,
    }
}

//! One attempt to deliver a batch: reads it, verifies it, hands it over, and puts the outcome on record.
//!
//! Whoever takes delivery is a closure, so that nothing here knows of sinks. What it has taken and could not be put on
//! record is remembered by the [`AttemptState`], so that it is not asked again as long as the process lives: the next
//! attempt makes up for the record alone. After a crash it is asked again, under the same identity.

use std::collections::BTreeMap;
use std::time::Duration;

use batchd_frame::{BatchId, Digest, FileHeader, Key, OnExpire, QueueName, SealReason};

use super::claim::Claim;
use super::commit::{Broken, Commit};
use super::delivery::FinishError;
use crate::spool::items::Items;
use crate::spool::layout::ReadyBatch;
use crate::spool::ledger::Outcome;
use crate::spool::progress::{self, Part};
use crate::spool::sealed::{Inspection, SealedFile};

/// So many attempts a batch is given to be read whole, where reading fails and not what is read; then what can be
/// read of it is delivered, so that the queue gets on. That takes half a minute at least.
const READS_MAX: u32 = 3;
/// Of attempts that come sooner than this after another that could not read the batch, one counts: whatever keeps a
/// medium from being read for a moment must be over before anything is given up.
const READS_APART: Duration = Duration::from_secs(10);

/// What is handed over: a whole batch, or the part of one that is readable.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The batch's id. With `part`, the identity of the parcel: one identity, one content, for ever.
    pub batch: BatchId,
    /// Its number in the queue.
    pub seq: u64,
    /// Its queue.
    pub queue: &'a QueueName,
    /// Its key.
    pub key: &'a Key,
    /// When the batch was begun, unix time in microseconds.
    pub created_at: u64,
    /// Which items, where not the whole batch.
    pub part: Option<Part>,
    /// How many items there are.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// Digest of the whole batch's contents, where it is whole.
    pub digest: Option<Digest>,
    /// Why the batch was closed, where its seal can be read.
    pub reason: Option<SealReason>,
}

/// What an attempt came to.
#[derive(Debug)]
#[must_use]
pub enum Attempted {
    /// The batch is done, on record and gone.
    Done {
        /// How it ended.
        outcome: Outcome,
        /// So many of its items cannot be read any more, and are lost to whoever takes delivery.
        items_lost: u64,
    },
    /// It stays, and is to be tried again; why.
    Failed(String),
    /// What is on the medium is not known: the process must stop and recover.
    Broken(Broken),
}

impl From<FinishError> for Attempted {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Broken(error) => Self::Broken(Broken(error.to_string())),
            FinishError::Retry(error) => Self::failed(error),
        }
    }
}

impl Attempted {
    fn failed(why: impl ToString) -> Self {
        Self::Failed(why.to_string())
    }
}

/// What is known from one attempt of a queue to the next. Keep one for each queue as long as it is open.
///
/// Of more than one batch something is unrecorded only where another came in front of it.
#[derive(Debug, Default)]
pub struct AttemptState {
    /// Attempts in a row that could not read all of their batch, and when the last of them was that counts.
    reads_failed: (u32, Duration),
    /// Batches that were delivered, with all of their parts, and whose end is not on record.
    ends: BTreeMap<(u64, BatchId), (Outcome, Inspection)>,
    /// Parts that were delivered of batches, where not all of these are on record.
    parts: BTreeMap<(u64, BatchId), Vec<Part>>,
}

impl AttemptState {
    /// Whether a batch, or a part of it, was delivered and is not on record: only in this process is that known.
    #[must_use]
    pub fn is_unrecorded(&self, batch: &ReadyBatch) -> bool {
        let key = batch.name.key();
        self.ends.contains_key(&key) || self.parts.contains_key(&key)
    }

    /// Takes note of whether an attempt could read its batch. Says whether what can be read is to be given up for.
    fn note_read(&mut self, has_failed: bool, now: Duration) -> bool {
        let (count, since) = self.reads_failed;
        if !has_failed {
            self.reads_failed = (0, Duration::ZERO);
        } else if count == 0 || now >= since + READS_APART {
            self.reads_failed = (count.saturating_add(1), now);
        }
        self.reads_failed.0 > READS_MAX
    }
}

/// Hands a parcel over: on `Ok` whoever takes delivery has it, durably as far as he can promise. A repeat of the same
/// identity must change nothing.
pub type Deliver<'a> = dyn FnMut(&Parcel<'_>, &mut Items) -> Result<(), String> + 'a;

impl<T: Clone> Commit<T> {
    /// Delivers one batch, or sees it expire. Blocks. What is done is durable on return.
    pub fn attempt(
        &self,
        claim: &Claim,
        state: &mut AttemptState,
        deliver: &mut Deliver<'_>,
    ) -> Attempted {
        self.forget_ended(state);
        let ended = match state.ends.remove(&claim.name.key()) {
            // Also where its lifespan is over by now: it was delivered before.
            Some((outcome, inspection)) => self.record_end(claim, outcome, inspection, state),
            None => self.deliver_or_expire(claim, state, deliver),
        };
        match ended {
            Ok((outcome, items_lost)) => {
                state.reads_failed = (0, Duration::ZERO);
                Attempted::Done {
                    outcome,
                    items_lost,
                }
            }
            Err(attempted) => attempted,
        }
    }

    /// What others have ended meanwhile needs no record any more.
    fn forget_ended(&self, state: &mut AttemptState) {
        if state.ends.is_empty() && state.parts.is_empty() {
            return;
        }
        let queue = self.lock();
        state.ends.retain(|key, _| queue.ready.contains_key(key));
        state.parts.retain(|key, _| queue.ready.contains_key(key));
    }

    fn deliver_or_expire(
        &self,
        claim: &Claim,
        state: &mut AttemptState,
        deliver: &mut Deliver<'_>,
    ) -> Result<(Outcome, u64), Attempted> {
        let batch = claim.batch();
        if self.is_expired(batch) {
            self.expire_from(claim)?;
            return Ok((Outcome::Expired, 0));
        }
        let file = match self.open_sealed(batch) {
            Ok(file) => file,
            Err(error) if error.is_no_file() => {
                self.give_up(batch, &error.to_string())?;
                return Ok((Outcome::Removed, batch.name.items));
            }
            Err(error) => return Err(Attempted::failed(error)),
        };
        let inspection = file.inspect();
        if inspection.newer {
            return Err(Attempted::failed(
                "the batch was written by a newer batchd: install that one; the queue waits for it",
            ));
        }
        let is_in_doubt = inspection.damage.is_some() && inspection.read_failed;
        let is_given_up = state.note_read(is_in_doubt, self.env().clock.boot());
        if is_in_doubt && !is_given_up {
            return Err(Attempted::failed("the batch cannot be read now"));
        }
        let outcome = if let (None, Some(header)) = (&inspection.damage, &inspection.header) {
            let mut parcel = describe(batch, header, &inspection);
            parcel.digest = inspection.seal.as_ref().map(|seal| seal.digest);
            let mut items = Items::new(&file, inspection.ranges.clone());
            deliver(&parcel, &mut items).map_err(Attempted::Failed)?;
            Outcome::Delivered
        } else {
            self.deliver_parts(batch, &inspection, &file, state, deliver)?;
            Outcome::DeliveredDamaged
        };
        self.record_end(batch, outcome, inspection, state)
    }

    /// A damaged batch: what can be read goes out in parts, each with its own identity, and each on record before
    /// the next.
    fn deliver_parts(
        &self,
        batch: &ReadyBatch,
        inspection: &Inspection,
        file: &SealedFile,
        state: &mut AttemptState,
        deliver: &mut Deliver<'_>,
    ) -> Result<(), Attempted> {
        let header = inspection.header.clone().unwrap_or_else(|| FileHeader {
            id: batch.name.id,
            seq: batch.name.seq,
            created_at: 0,
            lifespan: None,
            on_expire: OnExpire::Dead,
            queue: self.name().clone(),
            key: Key::default(),
        });
        let mut done = match state.parts.remove(&batch.name.key()) {
            Some(done) => {
                self.record_parts(batch, &done, state)?;
                done
            }
            None => progress::read(self.env(), &self.layout().progress(batch.name.id)),
        };
        for range in &inspection.ranges {
            let part = Part {
                first: range.first,
                count: range.count,
            };
            if done.contains(&part) {
                continue;
            }
            let mut parcel = describe(batch, &header, inspection);
            parcel.part = Some(part);
            parcel.items = range.count;
            parcel.bytes = range.bytes;
            let mut items = Items::new(file, vec![*range]);
            deliver(&parcel, &mut items).map_err(Attempted::Failed)?;
            done.push(part);
            self.record_parts(batch, &done, state)?;
        }
        Ok(())
    }

    /// Records which parts were delivered, or remembers that this is to be made up for.
    fn record_parts(
        &self,
        batch: &ReadyBatch,
        parts: &[Part],
        state: &mut AttemptState,
    ) -> Result<(), Attempted> {
        self.record_progress(batch, parts).map_err(|error| {
            state.parts.insert(batch.name.key(), parts.to_vec());
            Attempted::failed(error)
        })
    }

    /// Records the end of a batch that was delivered, or remembers that this is to be made up for.
    fn record_end(
        &self,
        batch: &ReadyBatch,
        outcome: Outcome,
        inspection: Inspection,
        state: &mut AttemptState,
    ) -> Result<(Outcome, u64), Attempted> {
        if let Err(error) = self.finish(batch, outcome, &inspection) {
            state.ends.insert(batch.name.key(), (outcome, inspection));
            return Err(error.into());
        }
        tracing::debug!(
            queue = %self.name(), batch = %batch.name.id, seq = batch.name.seq, items = batch.name.items,
            bytes = batch.name.bytes,
            reason = inspection.seal.as_ref().map_or("unknown", |seal| seal.reason.name()),
            "delivered"
        );
        let readable = inspection.ranges.iter().map(|range| range.count);
        let items_lost = batch.name.items.saturating_sub(readable.sum());
        Ok((outcome, items_lost))
    }
}

/// The whole of a batch.
fn describe<'a>(batch: &ReadyBatch, header: &'a FileHeader, inspection: &Inspection) -> Parcel<'a> {
    Parcel {
        batch: header.id,
        seq: header.seq,
        queue: &header.queue,
        key: &header.key,
        created_at: header.created_at,
        part: None,
        items: batch.name.items,
        bytes: batch.name.bytes,
        digest: None,
        reason: inspection.seal.as_ref().map(|seal| seal.reason),
    }
}

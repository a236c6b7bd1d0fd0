//! One attempt: reads a batch, verifies it, gives it to the sink, and puts the outcome on record.

use batchd_core::queue::commit::Broken;
use batchd_core::queue::{Claim, FinishError};
use batchd_core::spool::ReadyBatch;
use batchd_core::spool::ledger::Outcome;
use batchd_core::spool::progress::{self, DeliveredPart};
use batchd_core::spool::sealed::{GoodRange, Inspection, ItemReader, SealedFile};
use batchd_frame::{FileHeader, OnExpire};
use batchd_sinks::{Delivery, ItemSource, Range, Sink, SourceError};

use super::Queue;

/// What an attempt came to.
pub(super) enum Attempted {
    /// The batch is done, on record and gone.
    Done,
    /// It stays, and is tried again.
    Failed(String),
    /// What is on the medium is not known.
    Broken(Broken),
}

impl From<FinishError> for Attempted {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Broken(error) => Self::Broken(Broken(error.to_string())),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Delivers one batch, or sees it expire. Blocks.
pub(super) fn attempt(queue: &Queue, claim: &Claim, sink: &mut dyn Sink) -> Attempted {
    let batch = claim.batch();
    if queue.commit.is_expired(batch) {
        return match queue.commit.expire_from(claim) {
            Ok(()) => Attempted::Done,
            Err(error) => error.into(),
        };
    }
    let file = match queue.commit.open_sealed(batch) {
        Ok(file) => file,
        Err(error) if error.is_no_file() => {
            return match queue.commit.give_up(batch, &error.to_string()) {
                Ok(()) => Attempted::Done,
                Err(error) => error.into(),
            };
        }
        Err(error) => return Attempted::Failed(error.to_string()),
    };
    let inspection = file.inspect();
    if inspection.newer {
        return Attempted::Failed("the batch was written by a newer program".to_owned());
    }
    let done = if let (None, Some(header)) = (&inspection.damage, &inspection.header) {
        deliver_whole(batch, header, &inspection, &file, sink)
            .and_then(|()| finish(queue, batch, Outcome::Delivered, &inspection))
    } else {
        deliver_parts(queue, batch, &inspection, &file, sink)
            .and_then(|()| finish(queue, batch, Outcome::DeliveredDamaged, &inspection))
    };
    match done {
        Ok(()) => Attempted::Done,
        Err(failed) => failed,
    }
}

fn finish(
    queue: &Queue,
    batch: &ReadyBatch,
    outcome: Outcome,
    inspection: &Inspection,
) -> Result<(), Attempted> {
    queue.commit.finish(batch, outcome, inspection)?;
    tracing::debug!(
        queue = %queue.name, batch = %batch.name.id, seq = batch.name.seq, items = batch.name.items,
        bytes = batch.name.bytes,
        reason = inspection.seal.as_ref().map_or("unknown", |seal| seal.reason.name()),
        "delivered"
    );
    Ok(())
}

fn deliver_whole(
    batch: &ReadyBatch,
    header: &FileHeader,
    inspection: &Inspection,
    file: &SealedFile,
    sink: &mut dyn Sink,
) -> Result<(), Attempted> {
    let mut delivery = describe(batch, header);
    delivery.digest = inspection.seal.as_ref().map(|seal| seal.digest);
    let mut items = Chain::new(file, inspection.ranges.clone());
    sink.deliver(&delivery, &mut items)
        .map_err(|error| Attempted::Failed(error.to_string()))
}

/// A damaged batch: what can be read goes out in parts, each with its own identity, and each on record before the
/// next.
fn deliver_parts(
    queue: &Queue,
    batch: &ReadyBatch,
    inspection: &Inspection,
    file: &SealedFile,
    sink: &mut dyn Sink,
) -> Result<(), Attempted> {
    let (env, record) = (
        queue.commit.env(),
        queue.commit.layout().progress(batch.name.id),
    );
    let header = inspection.header.clone().unwrap_or_else(|| FileHeader {
        id: batch.name.id,
        seq: batch.name.seq,
        created_at: 0,
        lifespan: None,
        on_expire: OnExpire::Dead,
        queue: queue.name.clone(),
        key: batchd_frame::Key::default(),
    });
    let mut done = progress::read(env, &record);
    for range in &inspection.ranges {
        let part = DeliveredPart {
            first: range.first,
            count: range.count,
        };
        if done.contains(&part) {
            continue;
        }
        let mut delivery = describe(batch, &header);
        delivery.part = Some(Range {
            first: range.first,
            count: range.count,
        });
        delivery.items = range.count;
        delivery.bytes = range.bytes;
        let mut items = Chain::new(file, vec![*range]);
        sink.deliver(&delivery, &mut items)
            .map_err(|error| Attempted::Failed(error.to_string()))?;
        done.push(part);
        queue
            .commit
            .record_progress(batch, &done)
            .map_err(|error| Attempted::Failed(error.to_string()))?;
    }
    Ok(())
}

fn describe(batch: &ReadyBatch, header: &FileHeader) -> Delivery {
    Delivery {
        batch: header.id,
        queue: header.queue.clone(),
        key: header.key.clone(),
        seq: header.seq,
        part: None,
        items: batch.name.items,
        bytes: batch.name.bytes,
        digest: None,
        created_at: header.created_at,
    }
}

/// The items of several ranges, one after another.
struct Chain<'a> {
    file: &'a SealedFile,
    ranges: std::vec::IntoIter<GoodRange>,
    current: Option<ItemReader>,
}

impl<'a> Chain<'a> {
    fn new(file: &'a SealedFile, ranges: Vec<GoodRange>) -> Self {
        Self {
            file,
            ranges: ranges.into_iter(),
            current: None,
        }
    }
}

impl ItemSource for Chain<'_> {
    fn next_item(&mut self) -> Result<Option<&[u8]>, SourceError> {
        loop {
            let has_more = match &mut self.current {
                None => false,
                Some(reader) => reader
                    .has_more()
                    .map_err(|bad| SourceError(bad.to_string()))?,
            };
            if has_more {
                let Some(reader) = &mut self.current else {
                    return Ok(None);
                };
                return reader
                    .next_item()
                    .map_err(|bad| SourceError(bad.to_string()));
            }
            match self.ranges.next() {
                None => return Ok(None),
                Some(range) => self.current = Some(self.file.items(range)),
            }
        }
    }
}

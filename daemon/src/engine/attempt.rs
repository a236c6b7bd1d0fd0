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

/// So many attempts a batch is given to be read whole, where reading fails and not what is read; then what can be
/// read of it is delivered, so that the queue gets on.
const READS_MAX: u32 = 3;

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
        let why =
            "the batch was written by a newer batchd: install that one; the queue waits for it";
        return Attempted::Failed(why.to_owned());
    }
    let is_in_doubt = inspection.damage.is_some() && inspection.read_failed;
    if (1..=READS_MAX).contains(&count_reads_failed(queue, is_in_doubt)) {
        return Attempted::Failed("the batch cannot be read now".to_owned());
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

/// How many attempts in a row could not read their batch, with this one.
fn count_reads_failed(queue: &Queue, failed: bool) -> u32 {
    let mut delivery = queue.delivery();
    delivery.reads_failed = if failed {
        delivery.reads_failed.saturating_add(1)
    } else {
        0
    };
    delivery.reads_failed
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use batchd_core::env::sim::{EIO, Fault, OpKind, SimClock, SimDisk};
    use batchd_core::queue::Creation;
    use batchd_core::spool::space::{MinFree, SpaceLimits, SpoolSpace};
    use batchd_core::spool::{Layout, LockedSpool};
    use batchd_frame::checksum::crc32c;
    use batchd_frame::{BodyLimits, BodyView, QueueName, encode_body};
    use batchd_sinks::SinkError;

    /// Remembers how many items it was given, and whether as a whole batch.
    #[derive(Default)]
    struct Counting(Vec<(usize, bool)>);

    impl Sink for Counting {
        fn deliver(
            &mut self,
            delivery: &Delivery,
            items: &mut dyn ItemSource,
        ) -> Result<(), SinkError> {
            let mut count = 0;
            while items.next_item()?.is_some() {
                count += 1;
            }
            self.0.push((count, delivery.part.is_none()));
            Ok(())
        }
    }

    /// A queue on a simulated disk, with one batch of three items.
    fn queue() -> (SimDisk, Queue) {
        let disk = SimDisk::new();
        disk.mkdir_durable("/spool").expect("a directory");
        let env = disk.env(&SimClock::default(), 1);
        let spool = LockedSpool::open(env, Layout::new("/spool"), "test").expect("a spool");
        let limits = SpaceLimits {
            max_bytes: None,
            min_free: MinFree::Off,
            ballast_bytes: 0,
        };
        let space = SpoolSpace::new(&spool, limits);
        let name = QueueName::new("q").expect("a name");
        let queue = Queue::open(&spool, name, None, space, Arc::default(), None).expect("a queue");
        let mut body = Vec::new();
        encode_body(None, [&b"a"[..], b"b", b"c"].into_iter(), &mut body);
        let creation = Creation {
            key: b"",
            body: &body,
            body_crc: crc32c(&body),
            view: BodyView::parse(&body, 3, BodyLimits::NONE).expect("a body"),
            lifespan: None,
        };
        queue.commit.create(&creation).expect("a batch");
        (disk, queue)
    }

    fn attempt_next(queue: &Queue, sink: &mut Counting) -> Attempted {
        let claim = queue.commit.claim_next().expect("a batch");
        attempt(queue, &claim, sink)
    }

    #[test]
    fn a_read_that_fails_for_once_damages_no_batch() {
        for nth in 1.. {
            let (disk, queue) = queue();
            disk.fail_nth(OpKind::Read, nth, Fault::once(EIO).only_in("/ready/"));
            let mut sink = Counting::default();
            let first = attempt_next(&queue, &mut sink);
            if disk.faults_struck() == 0 {
                assert!(nth > 4 && matches!(first, Attempted::Done));
                break;
            }
            if let Attempted::Failed(_) = first {
                let again = attempt_next(&queue, &mut sink);
                assert!(matches!(again, Attempted::Done), "{nth}");
            }
            assert_eq!(sink.0, [(3, true)], "{nth}");
        }
    }

    #[test]
    fn a_batch_that_can_never_be_read_does_not_hold_up_the_queue() {
        let (disk, queue) = queue();
        let mut sink = Counting::default();
        disk.fail_nth(OpKind::Read, 1, Fault::from_then_on(EIO).only_in("/ready/"));
        for _ in 0..READS_MAX {
            let failed = attempt_next(&queue, &mut sink);
            assert!(matches!(failed, Attempted::Failed(_)));
        }
        let done = attempt_next(&queue, &mut sink);
        assert!(matches!(done, Attempted::Done));
        assert!(queue.commit.claim_next().is_none());
        assert_eq!(sink.0, []);
    }
}

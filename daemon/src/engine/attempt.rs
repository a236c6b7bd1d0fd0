//! One attempt of the core, with a sink to take what it hands over.

use batchd_core::queue::{Attempted, Claim, Parcel};
use batchd_core::spool::items::Items;
use batchd_sinks::{Delivery, ItemSource, Range, Sink, SourceError};

use super::Queue;

/// Delivers one batch to a sink, or sees it expire. Blocks.
pub(super) fn attempt(queue: &Queue, claim: &Claim, sink: &mut dyn Sink) -> Attempted {
    let mut deliver = |parcel: &Parcel<'_>, items: &mut Items| {
        sink.deliver(&describe(parcel), &mut Source(items))
            .map_err(|error| error.to_string())
    };
    let mut state = queue.attempts();
    queue.commit.attempt(claim, &mut state, &mut deliver)
}

fn describe(parcel: &Parcel<'_>) -> Delivery {
    Delivery {
        batch: parcel.batch,
        queue: parcel.queue.clone(),
        key: parcel.key.clone(),
        seq: parcel.seq,
        part: parcel.part.map(|part| Range {
            first: part.first,
            count: part.count,
        }),
        items: parcel.items,
        bytes: parcel.bytes,
        digest: parcel.digest,
        created_at: parcel.created_at,
    }
}

/// Items of the core as a sink takes them.
struct Source<'a>(&'a mut Items);

impl ItemSource for Source<'_> {
    fn next_item(&mut self) -> Result<Option<&[u8]>, SourceError> {
        self.0
            .next_item()
            .map_err(|bad| SourceError(bad.to_string()))
    }
}

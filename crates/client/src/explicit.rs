//! Batches that are made whole, with items given at once.

use std::time::Duration;

use batchd_frame::{Key, QueueName, checksum, encode_body};
use batchd_protocol::{Create, Limits, Request};

use crate::error::Error;
use crate::items::{ItemBuffer, PackLimits};

/// A batch to be created: all of it goes in one request, and is kept whole or not at all.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// The queue.
    pub queue: QueueName,
    /// The key; empty for none.
    pub key: Key,
    /// How long it may live undelivered; as the queue's configuration says where it is left out.
    pub lifespan: Option<Duration>,
    items: u32,
    body_crc: u32,
    body: Vec<u8>,
}

impl NewBatch {
    /// Of these items, without a key, with the queue's lifespan.
    #[must_use]
    pub fn new(queue: QueueName, items: &ItemBuffer) -> Self {
        let mut body = Vec::new();
        encode_body(None, items.iter(), &mut body);
        Self {
            queue,
            key: Key::default(),
            lifespan: None,
            // More items do not fit into any message.
            items: u32::try_from(items.len()).unwrap_or(u32::MAX),
            body_crc: checksum::crc32c(&body),
            body,
        }
    }

    pub(crate) fn request(&self, request: u64) -> Request<'_> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Request::Create(Create {
            request,
            queue: self.queue.as_str(),
            key: self.key.as_bytes(),
            lifespan: self.lifespan.map(micros),
            items: self.items,
            body_crc: self.body_crc,
            body: &self.body,
        })
    }

    /// Checks that the daemon takes so much at once.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Error> {
        PackLimits::of(limits).check(self.body.len() as u64, self.items)
    }
}

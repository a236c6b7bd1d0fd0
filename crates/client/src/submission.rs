//! What is submitted, and what became of it.

use std::sync::Arc;

use batchd_frame::{Key, QueueName, SubmissionId, checksum, encode_body};
use batchd_protocol::{Ack, Request, Submit};

use crate::items::ItemBuffer;

/// Where submissions go, and what they wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: QueueName,
    /// The key; empty for none.
    pub key: Key,
    /// What to wait for; the queue's default where it is left out.
    pub ack: Option<Ack>,
    /// Whether the batch is to be closed after each submission.
    pub end_of_batch: bool,
}

impl Target {
    /// The queue, without a key; waits for what the queue's configuration says, which is until the items are on
    /// the medium where it says nothing.
    #[must_use]
    pub fn new(queue: QueueName) -> Self {
        Self {
            queue,
            key: Key::default(),
            ack: None,
            end_of_batch: false,
        }
    }
}

/// One submission, ready to be sent any number of times: cheap to clone, so that who fears the answer may get
/// lost keeps one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    id: SubmissionId,
    target: Arc<Target>,
    may_be_known: bool,
    items: u32,
    item_bytes: u64,
    body_crc: u32,
    body: Arc<Vec<u8>>,
}

impl Submission {
    /// Encodes items under an id. The id must never have been used for other items.
    ///
    /// `may_be_known` says whether the id may have been sent before, by this process or an earlier one.
    #[must_use]
    pub fn new(
        id: SubmissionId,
        may_be_known: bool,
        target: Arc<Target>,
        items: &ItemBuffer,
    ) -> Self {
        let mut body = Vec::with_capacity(items.bytes() + items.len() * 3 + 40);
        let item_bytes = encode_body(Some(id), items.iter(), &mut body);
        Self {
            id,
            target,
            may_be_known,
            // More items do not fit into any message.
            items: u32::try_from(items.len()).unwrap_or(u32::MAX),
            item_bytes,
            body_crc: checksum::crc32c(&body),
            body: Arc::new(body),
        }
    }

    /// The same, marked as sent before.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        self.may_be_known = true;
        self
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SubmissionId {
        self.id
    }

    /// How many items.
    #[must_use]
    pub fn items(&self) -> u32 {
        self.items
    }

    /// Sum of the items' lengths in bytes.
    #[must_use]
    pub fn item_bytes(&self) -> u64 {
        self.item_bytes
    }

    /// Length of the encoded body in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body.len() as u64
    }

    pub(crate) fn ack(&self) -> Option<Ack> {
        self.target.ack
    }

    /// Gives the memory of the body back; for a submission that will not be sent any more.
    pub(crate) fn forget_body(&mut self) {
        self.body = Arc::default();
    }

    pub(crate) fn request(&self, request: u64, sent_before: bool) -> Request<'_> {
        Request::Submit(Submit {
            request,
            queue: self.target.queue.as_str(),
            key: self.target.key.as_bytes(),
            ack: self.target.ack,
            repeat: self.may_be_known || sent_before,
            end_of_batch: self.target.end_of_batch,
            items: self.items,
            body_crc: self.body_crc,
            body: &self.body,
        })
    }
}

/// Stands for a submission in flight.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The submission's place among all that were given to its client, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0
    }
}

/// A submission is kept, all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: SubmissionId,
    /// Its place among all that were given to its client, from 0.
    pub index: u64,
    /// What is true of it: at least what was asked for.
    pub ack: Ack,
    /// Whether all of it had been kept before.
    pub repeat: bool,
    /// Items in it.
    pub items: u32,
    /// Sum of their lengths in bytes.
    pub item_bytes: u64,
}

/// A number of submissions with what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Submissions.
    pub submissions: u64,
    /// Items in them.
    pub items: u64,
    /// Sum of the items' lengths in bytes.
    pub bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, submission: &Submission) {
        self.submissions += 1;
        self.items += u64::from(submission.items);
        self.bytes += submission.item_bytes;
    }
}

/// What became of all submissions given to a client. Where nothing failed, `prefix` equals `kept` and
/// `unknown` is zero once nothing is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Known to be kept.
    pub kept: Count,
    /// Those of them before the first that is not known to be kept.
    pub prefix: Count,
    /// Those of `kept` that had been kept before, whole.
    pub repeats: u64,
    /// Given up while they may be kept or not. Of each, any first part may be kept.
    pub unknown: Count,
}

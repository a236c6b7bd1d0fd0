//! Requests and responses.

pub use batchd_frame::Ack;
use batchd_frame::BatchId;
use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::report::{
    BatchInfo, FlushReport, HistoryCursor, HistoryEntry, ItemsPage, ListCursor, ServerStatus,
    VerifiedPage,
};

/// The version this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// What a client says first, so that a stray connection is told from an old one.
pub const HELLO_MAGIC: [u8; 8] = *b"batchd?\n";

/// What a daemon takes. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest item.
    pub item_bytes_max: u64,
    /// Longest body of a submission.
    pub submission_bytes_max: u64,
    /// Most items of a submission.
    pub submission_items_max: u64,
    /// Longest message.
    pub message_bytes_max: u64,
}

/// One submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submit<'a> {
    /// The client's number for the answer.
    pub request: u64,
    /// The queue.
    pub queue: &'a str,
    /// The key; empty for none.
    #[serde(borrow, with = "serde_bytes")]
    pub key: &'a [u8],
    /// What to wait for; the queue's default where it is left out.
    pub ack: Option<Ack>,
    /// Whether this id may have been sent before.
    pub repeat: bool,
    /// Whether the batch is to be closed after the last item.
    pub end_of_batch: bool,
    /// Items in the body.
    pub items: u32,
    /// CRC-32C of the body, computed where the items come from.
    pub body_crc: u32,
    /// Submission id and items, as `batchd_frame::encode_body` makes it.
    #[serde(borrow, with = "serde_bytes")]
    pub body: &'a [u8],
}

/// A batch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create<'a> {
    /// The client's number for the answer.
    pub request: u64,
    /// The queue.
    pub queue: &'a str,
    /// The key; empty for none.
    #[serde(borrow, with = "serde_bytes")]
    pub key: &'a [u8],
    /// Its lifespan in microseconds; that of the queue where it is left out.
    pub lifespan: Option<u64>,
    /// Items in the body.
    pub items: u32,
    /// CRC-32C of the body, computed where the items come from.
    pub body_crc: u32,
    /// The items without a submission id, as `batchd_frame::encode_body` makes it.
    #[serde(borrow, with = "serde_bytes")]
    pub body: &'a [u8],
}

/// What a client asks. New requests go to the end: the place in the list is the encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// The first message.
    Hello {
        /// [`HELLO_MAGIC`].
        magic: [u8; 8],
        /// [`PROTOCOL_VERSION`] of the client.
        version: u16,
        /// The client's name, for the log.
        client: &'a str,
    },
    /// Takes items.
    #[serde(borrow)]
    Submit(Submit<'a>),
    /// Closes batches and has them delivered.
    Flush {
        /// The client's number for the answer.
        request: u64,
        /// Only this queue; all of them where it is left out.
        queue: Option<&'a str>,
        /// Whether to answer only when the sinks have answered.
        wait: bool,
    },
    /// Asks for the state of the daemon and of its queues.
    Status {
        /// The client's number for the answer.
        request: u64,
    },
    /// Lists batches, in order of queue and seq.
    List {
        /// The client's number for the answer.
        request: u64,
        /// Only this queue.
        queue: Option<&'a str>,
        /// Only batches after this one: where the previous page ended.
        after: Option<ListCursor>,
        /// At most that many; the daemon may send fewer.
        limit: u32,
    },
    /// Asks for one batch.
    Show {
        /// The client's number for the answer.
        request: u64,
        /// Which.
        batch: BatchId,
    },
    /// Reads a page of a batch's items.
    Read {
        /// The client's number for the answer.
        request: u64,
        /// Which.
        batch: BatchId,
        /// `next` of the previous page; 0 for the first.
        cursor: u64,
    },
    /// Reads a bounded number of batches whole, in order of queue, state and seq, and says what is wrong with them.
    Verify {
        /// The client's number for the answer.
        request: u64,
        /// Only this queue.
        queue: Option<&'a str>,
        /// Only batches after this one: where the previous page ended.
        after: Option<ListCursor>,
    },
    /// Makes a batch of given items. Not to be repeated where the answer is lost: there may be two then.
    #[serde(borrow)]
    Create(Create<'a>),
    /// Reads a page of a batch's items, as long as its lifespan lasts.
    Get {
        /// The client's number for the answer.
        request: u64,
        /// Which.
        batch: BatchId,
        /// `next` of the previous page; 0 for the first.
        cursor: u64,
    },
    /// Asks what became of batches, newest first.
    History {
        /// The client's number for the answer.
        request: u64,
        /// Only of this queue.
        queue: Option<&'a str>,
        /// Only of this batch.
        batch: Option<BatchId>,
        /// Nothing that ended before this, unix time in microseconds; 0 for all there is.
        since: u64,
        /// Only what is older than this: where the previous page ended.
        after: Option<HistoryCursor>,
        /// At most that many; the daemon may send fewer.
        limit: u32,
    },
}

/// What the daemon answers. New responses go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Hello`].
    Welcome {
        /// [`PROTOCOL_VERSION`] of the daemon.
        version: u16,
        /// Name and version of the daemon, for people.
        server: String,
        /// What it takes.
        limits: Limits,
    },
    /// The submission is kept, all of it.
    Accepted {
        /// As in the request.
        request: u64,
        /// What is true of it now: at least what was asked for.
        ack: Ack,
        /// Whether all of it was already there.
        repeat: bool,
    },
    /// The request failed.
    Failed {
        /// As in the request; 0 where none could be read.
        request: u64,
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
    /// To [`Request::Flush`].
    Flushed {
        /// As in the request.
        request: u64,
        /// What was flushed.
        report: FlushReport,
    },
    /// To [`Request::Status`].
    Status {
        /// As in the request.
        request: u64,
        /// The state.
        status: ServerStatus,
    },
    /// To [`Request::List`].
    Batches {
        /// As in the request.
        request: u64,
        /// The page.
        batches: Vec<BatchInfo>,
        /// Where the next page begins, if there is one.
        next: Option<ListCursor>,
    },
    /// To [`Request::Show`].
    Batch {
        /// As in the request.
        request: u64,
        /// The batch.
        batch: BatchInfo,
    },
    /// To [`Request::Read`] and [`Request::Get`].
    Items {
        /// As in the request.
        request: u64,
        /// The page.
        page: ItemsPage,
    },
    /// To [`Request::Verify`].
    Verified {
        /// As in the request.
        request: u64,
        /// What was found.
        page: VerifiedPage,
    },
    /// To [`Request::Create`]: the batch is on the medium, whole.
    Created {
        /// As in the request.
        request: u64,
        /// Its id.
        batch: BatchId,
    },
    /// To [`Request::History`].
    History {
        /// As in the request.
        request: u64,
        /// The page.
        entries: Vec<HistoryEntry>,
        /// Where the next page begins, if there is one.
        next: Option<HistoryCursor>,
    },
}

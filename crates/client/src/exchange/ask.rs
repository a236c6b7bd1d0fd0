//! Requests other than submissions, with how their answers are read: one at a time, each harmless to repeat unless it
//! says otherwise.

use batchd_frame::{BatchId, QueueName};
use batchd_protocol::{
    BatchInfo, FlushReport, HistoryCursor, HistoryEntry, ListCursor, Request, Response,
    ServerStatus, VerifiedPage,
};

use crate::error::{Error, ProtocolError};
use crate::explicit::NewBatch;
use crate::history::HistoryQuery;
use crate::paging::Page;

/// Batches asked for at once.
const LIST_PAGE: u32 = 500;
/// Entries of the history asked for at once.
const HISTORY_PAGE: u32 = 500;

pub(crate) type PageOfBatches = Page<BatchInfo, Option<ListCursor>>;
pub(crate) type PageOfItems = Page<Vec<u8>, u64>;
pub(crate) type PageOfHistory = Page<HistoryEntry, Option<HistoryCursor>>;

/// What is asked, and how its answer is read.
pub(crate) struct Question<T> {
    pub(crate) ask: Ask,
    /// Nothing where the response is of another kind.
    pub(crate) read: fn(Response) -> Option<T>,
}

impl Question<FlushReport> {
    pub(crate) fn flush(queue: Option<QueueName>, wait: bool) -> Self {
        Self {
            ask: Ask::Flush { queue, wait },
            read: |response| match response {
                Response::Flushed { report, .. } => Some(report),
                _ => None,
            },
        }
    }
}

impl Question<ServerStatus> {
    pub(crate) fn status() -> Self {
        Self {
            ask: Ask::Status,
            read: |response| match response {
                Response::Status { status, .. } => Some(status),
                _ => None,
            },
        }
    }
}

impl Question<PageOfBatches> {
    pub(crate) fn list(queue: Option<QueueName>, after: Option<ListCursor>) -> Self {
        Self {
            ask: Ask::List { queue, after },
            read: |response| match response {
                Response::Batches { batches, next, .. } => Some(Page {
                    entries: batches,
                    next: next.map(Some),
                }),
                _ => None,
            },
        }
    }
}

impl Question<BatchInfo> {
    pub(crate) fn show(batch: BatchId) -> Self {
        Self {
            ask: Ask::Show(batch),
            read: |response| match response {
                Response::Batch { batch, .. } => Some(batch),
                _ => None,
            },
        }
    }
}

impl Question<VerifiedPage> {
    pub(crate) fn verify(queue: Option<QueueName>, after: Option<ListCursor>) -> Self {
        Self {
            ask: Ask::Verify { queue, after },
            read: |response| match response {
                Response::Verified { page, .. } => Some(page),
                _ => None,
            },
        }
    }
}

impl Question<PageOfItems> {
    pub(crate) fn items(batch: BatchId, cursor: u64) -> Self {
        Self {
            ask: Ask::Read { batch, cursor },
            read: read_items,
        }
    }

    /// As [`Question::items`], and refused once the batch's lifespan is over.
    pub(crate) fn items_while_it_lives(batch: BatchId, cursor: u64) -> Self {
        Self {
            ask: Ask::Get { batch, cursor },
            read: read_items,
        }
    }
}

impl Question<BatchId> {
    pub(crate) fn create(batch: NewBatch) -> Self {
        Self {
            ask: Ask::Create(batch),
            read: |response| match response {
                Response::Created { batch, .. } => Some(batch),
                _ => None,
            },
        }
    }
}

impl Question<PageOfHistory> {
    pub(crate) fn history(query: HistoryQuery, after: Option<HistoryCursor>) -> Self {
        Self {
            ask: Ask::History { query, after },
            read: |response| match response {
                Response::History { entries, next, .. } => Some(Page {
                    entries,
                    next: next.map(Some),
                }),
                _ => None,
            },
        }
    }
}

fn read_items(response: Response) -> Option<PageOfItems> {
    match response {
        Response::Items { page, .. } => Some(Page {
            entries: page.items.into_iter().map(|item| item.into_vec()).collect(),
            next: page.next,
        }),
        _ => None,
    }
}

/// Reads an answer as what was asked for.
pub(crate) fn read_answer<T>(
    response: Response,
    read: fn(Response) -> Option<T>,
) -> Result<T, Error> {
    let request = request_number(&response).unwrap_or(0);
    read(response).ok_or_else(|| ProtocolError::WrongAnswer { request }.into())
}

/// What is asked, as it is sent.
#[derive(Debug)]
pub(crate) enum Ask {
    Flush {
        queue: Option<QueueName>,
        wait: bool,
    },
    Status,
    List {
        queue: Option<QueueName>,
        after: Option<ListCursor>,
    },
    Show(BatchId),
    Read {
        batch: BatchId,
        cursor: u64,
    },
    Verify {
        queue: Option<QueueName>,
        after: Option<ListCursor>,
    },
    Get {
        batch: BatchId,
        cursor: u64,
    },
    Create(NewBatch),
    History {
        query: HistoryQuery,
        after: Option<HistoryCursor>,
    },
}

impl Ask {
    /// Whether it may be asked again though it was perhaps done already.
    pub(super) fn is_harmless_to_repeat(&self) -> bool {
        !matches!(self, Self::Create(_))
    }

    /// The request under that number.
    pub(super) fn request(&self, request: u64) -> Request<'_> {
        match self {
            Self::Flush { queue, wait } => Request::Flush {
                request,
                queue: queue.as_ref().map(QueueName::as_str),
                wait: *wait,
            },
            Self::Status => Request::Status { request },
            Self::List { queue, after } => Request::List {
                request,
                queue: queue.as_ref().map(QueueName::as_str),
                after: after.clone(),
                limit: LIST_PAGE,
            },
            Self::Show(batch) => Request::Show {
                request,
                batch: *batch,
            },
            Self::Read { batch, cursor } => Request::Read {
                request,
                batch: *batch,
                cursor: *cursor,
            },
            Self::Verify { queue, after } => Request::Verify {
                request,
                queue: queue.as_ref().map(QueueName::as_str),
                after: after.clone(),
            },
            Self::Get { batch, cursor } => Request::Get {
                request,
                batch: *batch,
                cursor: *cursor,
            },
            Self::Create(batch) => batch.request(request),
            Self::History { query, after } => Request::History {
                request,
                queue: query.queue.as_ref().map(QueueName::as_str),
                batch: query.batch,
                since: query.since,
                after: *after,
                limit: HISTORY_PAGE,
            },
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) ask: Ask,
    /// The number it was sent under on this connection.
    pub(super) sent: Option<u64>,
    /// Where in what was sent on this connection it ends, in bytes.
    pub(super) ends_at: u64,
    pub(super) answer: Option<Result<Response, Error>>,
}

/// The request that a response answers; none for a welcome.
pub(super) fn request_number(response: &Response) -> Option<u64> {
    match response {
        Response::Welcome { .. } => None,
        Response::Accepted { request, .. }
        | Response::Failed { request, .. }
        | Response::Flushed { request, .. }
        | Response::Status { request, .. }
        | Response::Batches { request, .. }
        | Response::Batch { request, .. }
        | Response::Items { request, .. }
        | Response::Verified { request, .. }
        | Response::Created { request, .. }
        | Response::History { request, .. } => Some(*request),
    }
}

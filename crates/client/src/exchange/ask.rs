//! Requests other than submissions: one at a time, each harmless to repeat unless it says otherwise.

use std::sync::Arc;

use batchd_frame::{BatchId, QueueName};
use batchd_protocol::{
    BatchInfo, FlushReport, HistoryCursor, HistoryEntry, ItemsPage, ListCursor, Request, Response,
    ServerStatus, VerifiedPage,
};

use crate::error::{Error, ProtocolError};
use crate::explicit::NewBatch;
use crate::history::HistoryQuery;

/// Batches asked for at once.
const LIST_PAGE: u32 = 500;
/// Entries of the history asked for at once.
const HISTORY_PAGE: u32 = 500;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Flush {
        queue: Option<QueueName>,
        wait: bool,
    },
    Status,
    List {
        queue: Option<QueueName>,
        after: Option<ListCursor>,
        limit: u32,
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
    Create(Arc<NewBatch>),
    History {
        query: HistoryQuery,
        after: Option<HistoryCursor>,
    },
}

impl Ask {
    /// The page of a listing after `after`.
    pub(crate) fn list(queue: Option<QueueName>, after: Option<ListCursor>) -> Self {
        Self::List {
            queue,
            after,
            limit: LIST_PAGE,
        }
    }

    /// Whether it may be asked again though it was perhaps done already.
    pub(super) fn is_harmless_to_repeat(&self) -> bool {
        !matches!(self, Self::Create(_))
    }

    pub(crate) fn request(&self, request: u64) -> Request<'_> {
        match self {
            Self::Flush { queue, wait } => Request::Flush {
                request,
                queue: queue.as_ref().map(QueueName::as_str),
                wait: *wait,
            },
            Self::Status => Request::Status { request },
            Self::List {
                queue,
                after,
                limit,
            } => Request::List {
                request,
                queue: queue.as_ref().map(QueueName::as_str),
                after: after.clone(),
                limit: *limit,
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

    /// Takes the answer where it is of the kind that was asked for.
    pub(crate) fn answer(&self, response: Response) -> Result<Answer, ProtocolError> {
        match (self, response) {
            (Self::Flush { .. }, Response::Flushed { report, .. }) => Ok(Answer::Flush(report)),
            (Self::Status, Response::Status { status, .. }) => Ok(Answer::Status(status)),
            (Self::List { after, .. }, Response::Batches { batches, next, .. }) => {
                if next.is_some() && next == *after {
                    return Err(ProtocolError::CursorStuck);
                }
                Ok(Answer::List(batches, next))
            }
            (Self::Show(_), Response::Batch { batch, .. }) => Ok(Answer::Show(batch)),
            (Self::Create(_), Response::Created { batch, .. }) => Ok(Answer::Create(batch)),
            (
                Self::Read { cursor, .. } | Self::Get { cursor, .. },
                Response::Items { page, .. },
            ) => {
                if page.next.is_some_and(|next| next == *cursor) {
                    return Err(ProtocolError::CursorStuck);
                }
                Ok(Answer::Read(page))
            }
            (Self::Verify { after, .. }, Response::Verified { page, .. }) => {
                if page.next.is_some() && page.next == *after {
                    return Err(ProtocolError::CursorStuck);
                }
                Ok(Answer::Verify(page))
            }
            (Self::History { after, .. }, Response::History { entries, next, .. }) => {
                if next.is_some() && next == *after {
                    return Err(ProtocolError::CursorStuck);
                }
                Ok(Answer::History(entries, next))
            }
            (_, response) => Err(ProtocolError::WrongAnswer {
                request: request_number(&response).unwrap_or(0),
            }),
        }
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Flush(FlushReport),
    Status(ServerStatus),
    List(Vec<BatchInfo>, Option<ListCursor>),
    Show(BatchInfo),
    Read(ItemsPage),
    Verify(VerifiedPage),
    Create(BatchId),
    History(Vec<HistoryEntry>, Option<HistoryCursor>),
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) ask: Ask,
    /// The number it was sent under on this connection.
    pub(crate) sent: Option<u64>,
    /// Where in what was sent on this connection it ends, in bytes.
    pub(crate) ends_at: u64,
    pub(crate) answer: Option<Result<Answer, Error>>,
}

/// The request that a response answers; none for a welcome.
pub(crate) fn request_number(response: &Response) -> Option<u64> {
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

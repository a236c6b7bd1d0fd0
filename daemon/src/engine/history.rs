//! What became of batches: from the index, or from the ledgers where there is none.

use std::sync::PoisonError;
use std::time::{Duration, UNIX_EPOCH};

use batchd_core::error::FsError;
use batchd_core::queue::expiry::WHY_DROPPED;
use batchd_core::spool::index::{Cursor, Ended, Page, Query, ledgers};
use batchd_core::spool::ledger::Outcome;
use batchd_frame::BatchId;
use batchd_protocol::{ErrorCode, HistoryCursor, HistoryEntry, Request, Response};

use super::Engine;
use super::admin::{Failed, find};

/// Most entries of a page.
const PAGE_ENTRIES_MAX: usize = 1000;

/// What is asked of the history.
#[derive(Debug)]
pub(crate) struct Asked {
    queue: Option<String>,
    query: Query,
}

impl Asked {
    /// The request, if it is one for the history.
    pub(super) fn of(request: &Request<'_>) -> Option<Self> {
        let Request::History {
            queue,
            batch,
            since,
            after,
            limit,
            ..
        } = request
        else {
            return None;
        };
        let before = after.as_ref().map(|cursor| Cursor {
            at: cursor.at,
            id: cursor.id,
        });
        let query = Query {
            queue: None,
            batch: *batch,
            since: *since,
            before,
            limit: (*limit as usize).clamp(1, PAGE_ENTRIES_MAX),
        };
        let queue = queue.map(str::to_owned);
        Some(Self { queue, query })
    }

    pub(super) fn run(mut self, engine: &Engine, request: u64) -> Result<Response, Failed> {
        if let Some(name) = &self.queue {
            self.query.queue = Some(find(engine, name)?.name.clone());
        }
        let page = engine.history(&self.query);
        let Page { ended, more } = page.map_err(|e| (ErrorCode::Unreadable, e.to_string()))?;
        let next = ended.last().filter(|_| more).map(|last| HistoryCursor {
            at: last.end.at,
            id: last.end.id,
        });
        let entries = ended.into_iter().map(entry).collect();
        Ok(Response::History {
            request,
            entries,
            next,
        })
    }
}

fn entry(Ended { queue, end }: Ended) -> HistoryEntry {
    HistoryEntry {
        at: end.at,
        queue,
        id: end.id,
        seq: end.seq,
        outcome: end.outcome.name().to_owned(),
        items: end.items,
        bytes: end.bytes,
        why: end.why,
    }
}

impl Engine {
    /// What became of a batch last: nothing where it never ended, or that is not on record any more. A batch that is
    /// only set aside is on record too. Blocks, at times on files.
    pub(super) fn what_became_of(&self, id: BatchId) -> Option<Ended> {
        if let Some(found) = self.index.as_ref().and_then(|index| index.find(id)) {
            return found.and_then(|found| found.ended);
        }
        let found =
            self.with_queues(|queues| ledgers::what_became_of(self.spool.env(), queues, id));
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "a ledger cannot be read");
            None
        })
    }

    /// A page of the history. Blocks, at times on files.
    ///
    /// # Errors
    /// [`FsError`] where a ledger cannot be read.
    fn history(&self, query: &Query) -> Result<Page, FsError> {
        if let Some(page) = self.index.as_ref().and_then(|index| index.history(query)) {
            return Ok(page);
        }
        self.with_queues(|queues| ledgers::history(self.spool.env(), queues, query))
    }

    /// The ledgers of all queues are read by one caller at a time.
    fn with_queues<T>(&self, ask: impl FnOnce(Vec<ledgers::Place<'_>>) -> T) -> T {
        let _one = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let queues = self.queues();
        let places = queues
            .iter()
            .map(|queue| (&queue.name, queue.commit.layout()));
        ask(places.collect())
    }
}

/// What is answered of a batch that is not in the spool.
pub(super) fn gone(engine: &Engine, id: BatchId) -> Failed {
    let Some(Ended { end, .. }) = engine.what_became_of(id) else {
        let message = format!("no batch {id}: nothing is on record of it, or not any more");
        return (ErrorCode::NoSuchBatch, message);
    };
    let at = UNIX_EPOCH + Duration::from_micros(end.at);
    let at = humantime::format_rfc3339_millis(at);
    match end.outcome {
        Outcome::Delivered | Outcome::DeliveredDamaged => (
            ErrorCode::NoSuchBatch,
            format!("batch {id} was delivered at {at}"),
        ),
        Outcome::Expired => expired(id),
        Outcome::Dropped if end.why == WHY_DROPPED => expired(id),
        Outcome::Dropped => {
            let message = format!("batch {id} was dropped at {at}: {}", end.why);
            (ErrorCode::Dropped, message)
        }
        Outcome::Removed => {
            let message = format!("the file of batch {id} was removed: {}", end.why);
            (ErrorCode::NoSuchBatch, message)
        }
    }
}

/// What is answered of a batch whose lifespan is over.
pub(super) fn expired(id: BatchId) -> Failed {
    (ErrorCode::Expired, format!("batch {id} has expired"))
}

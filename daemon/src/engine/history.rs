//! What became of a batch that is not in the spool any more.

use std::sync::PoisonError;

use batchd_core::error::FsError;
use batchd_core::queue::expiry::WHY_DROPPED;
use batchd_core::spool::history;
use batchd_core::spool::ledger::{LedgerLine, Outcome};
use batchd_frame::BatchId;
use batchd_protocol::ErrorCode;

use super::Engine;
use super::admin::Failed;

impl Engine {
    /// The record of a batch that has ended, as long as it is kept. Reads the ledgers of all queues, one caller at a
    /// time.
    ///
    /// # Errors
    /// [`FsError`] where a ledger cannot be opened.
    pub(super) fn what_became_of(&self, id: BatchId) -> Result<Option<LedgerLine>, FsError> {
        let _one = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in self.queues() {
            let found = history::what_became_of(self.spool.env(), queue.commit.layout(), id)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// What is answered of a batch that is not in the spool.
pub(super) fn gone(engine: &Engine, id: BatchId) -> Failed {
    let line = match engine.what_became_of(id) {
        Ok(Some(line)) => line,
        Ok(None) => {
            let message = format!("no batch {id}: nothing is on record of it, or not any more");
            return (ErrorCode::NoSuchBatch, message);
        }
        Err(error) => return (ErrorCode::Unreadable, error.to_string()),
    };
    match line.outcome {
        Outcome::Delivered | Outcome::DeliveredDamaged => {
            (ErrorCode::NoSuchBatch, format!("batch {id} was delivered"))
        }
        Outcome::Expired => expired(id),
        Outcome::Dropped if line.why == WHY_DROPPED => expired(id),
        Outcome::Dropped => {
            let message = format!("batch {id} was dropped: {}", line.why);
            (ErrorCode::Dropped, message)
        }
        Outcome::Removed => {
            let message = format!("the file of batch {id} was removed: {}", line.why);
            (ErrorCode::NoSuchBatch, message)
        }
    }
}

/// What is answered of a batch whose lifespan is over.
pub(super) fn expired(id: BatchId) -> Failed {
    (ErrorCode::Expired, format!("batch {id} has expired"))
}

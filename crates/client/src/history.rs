//! What to ask of the history.

use batchd_frame::{BatchId, QueueName};

/// Which batches that ended, or were set aside, are asked for. The default is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryQuery {
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only this batch.
    pub batch: Option<BatchId>,
    /// Nothing that ended before this, unix time in microseconds.
    pub since: u64,
}

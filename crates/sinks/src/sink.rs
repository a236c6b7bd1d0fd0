//! The contract between the daemon and a sink.

use batchd_frame::{BatchId, Digest, Key, QueueName};

/// A run of a batch's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// Index in the batch of the first item.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What is delivered: a whole batch, or the part of one that is readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The batch's id. With `part`, the identity of the delivery: one identity, one content, for ever.
    pub batch: BatchId,
    /// Its queue.
    pub queue: QueueName,
    /// Its key.
    pub key: Key,
    /// Its number in the queue.
    pub seq: u64,
    /// Which items, where not the whole batch.
    pub part: Option<Range>,
    /// How many items the source will give.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// Digest of the whole batch's contents, where it is whole.
    pub digest: Option<Digest>,
    /// When the batch was begun, unix time in microseconds.
    pub created_at: u64,
}

/// The items of a delivery, in order, each verified before it is given.
pub trait ItemSource {
    /// The next item; nothing at the end.
    ///
    /// # Errors
    /// [`SourceError`] where the spool cannot be read any more. The sink must then take back what it wrote
    /// of this attempt, and return the error.
    fn next_item(&mut self) -> Result<Option<&[u8]>, SourceError>;
}

/// The spool could not be read in the middle of an attempt.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the batch: {0}")]
pub struct SourceError(pub String);

/// What may be done about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The same attempt can succeed later.
    Retryable,
    /// The batch could not be read; no fault of the sink.
    Source,
}

/// A failed attempt. Nothing may be assumed of what the target has of it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What may be done about it.
    pub class: ErrorClass,
    /// What happened, on what, and the system's words.
    pub message: String,
}

impl SinkError {
    /// A failure that may pass.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::Retryable,
            message: message.into(),
        }
    }
}

impl From<SourceError> for SinkError {
    fn from(error: SourceError) -> Self {
        Self {
            class: ErrorClass::Source,
            message: error.to_string(),
        }
    }
}

/// A place batches go to.
pub trait Sink: Send {
    /// Delivers a batch or a part of one. On `Ok` the target has it durably, as far as that target can
    /// promise; a repeat of the same identity then changes nothing.
    ///
    /// # Errors
    /// [`SinkError`]: the batch stays in the spool and is tried again.
    fn deliver(&mut self, delivery: &Delivery, items: &mut dyn ItemSource)
    -> Result<(), SinkError>;

    /// Looks whether a delivery could begin now, and changes nothing: so that a mistake is told before the first batch
    /// is due. A delivery may do better, or worse.
    ///
    /// # Errors
    /// [`SinkError`]: what the delivery would fail with.
    fn look(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

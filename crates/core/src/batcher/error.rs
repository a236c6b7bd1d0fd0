//! What can go wrong, and what may be done about it.

use std::fmt;

use batchd_frame::BatchId;

use super::codec::BoxError;
use super::dir::DirError;
use super::options::BadOption;

/// A step on the way out of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Making it anew from its items: one of them cannot be decoded, or `add_item` refuses what it took before. Those
    /// behind it wait, until a program comes that can. To do without it, stop the server, look at it with
    /// `batchctl cat ID --spool DIR`, and move its file out of `queues/batcher/ready`.
    Rebuild,
    /// [`pre_flush`](super::Batcher::pre_flush).
    PreFlush,
    /// [`flush`](super::Batcher::flush).
    Flush,
    /// Reading it from the spool, or putting on record there what became of it.
    Spool,
    /// [`post_flush`](super::Batcher::post_flush).
    PostFlush,
    /// Items of it cannot be read any more: the file was damaged, or is gone. What can be read was delivered.
    Damage,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rebuild => "making it anew from its items",
            Self::PreFlush => "pre_flush",
            Self::Flush => "flush",
            Self::Spool => "the spool",
            Self::PostFlush => "post_flush",
            Self::Damage => "reading all of it",
        })
    }
}

/// A flush that failed. The batch is kept and tried again, unless it [was delivered](Self::is_delivered).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batch {batch}: {step} failed: {why}")]
#[non_exhaustive]
pub struct FlushError {
    /// Which batch.
    pub batch: BatchId,
    /// What failed.
    pub step: Step,
    /// How many attempts have failed in a row.
    pub failures: u32,
    /// In the words of what failed.
    pub why: String,
}

impl FlushError {
    /// Whether the batch is done all the same, and is not tried again: it was delivered, or what can be read of it was.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        matches!(self.step, Step::PostFlush | Step::Damage)
    }
}

/// An item that was taken: it is counted once, and is in a batch. On a spool it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Its batch goes on being filled.
    Held,
    /// A batch was flushed as well.
    Flushed,
    /// Accepted, flush failed: the item is taken, and is not to be added again. The batch that the error names is tried
    /// again, or [was delivered](FlushError::is_delivered) all the same; those behind it wait, with them that of this item.
    FlushFailed(FlushError),
}

/// An item that was not taken. It is an error of its own; where the item is no `Sync`, as errors of many programs have to
/// be, [`why`](Self::why) is.
#[derive(thiserror::Error)]
#[error("the item is not taken: {why}")]
#[non_exhaustive]
pub struct NotAdded<I> {
    /// The item, given back; nothing where the server's thread has died with it.
    pub item: Option<I>,
    /// Why.
    pub why: Refused,
}

impl<I> fmt::Debug for NotAdded<I> {
    /// Without the item, of which nothing is asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = &self.why;
        f.debug_struct("NotAdded")
            .field("why", why)
            .finish_non_exhaustive()
    }
}

/// What is told of an item that was sent on its way, where all is not well.
#[derive(Debug)]
pub enum AddFailure<I> {
    /// It is not taken.
    NotAdded(NotAdded<I>),
    /// It is taken, and is not to be added again; a flush failed.
    FlushFailed(FlushError),
}

/// Why an item is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// [`add_item`](super::Batcher::add_item) said no.
    #[error(transparent)]
    ByBatcher(BoxError),
    /// `add_item` panicked.
    #[error("add_item panicked: {0}")]
    Panicked(String),
    /// No batch can be begun: [`init`](super::Batcher::init) failed.
    #[error("no batch can be begun: {0}")]
    NoBatch(String),
    /// It cannot be encoded.
    #[error("it cannot be encoded: {0}")]
    NotEncoded(BoxError),
    /// It is longer than a batch may be.
    #[error("it has {bytes} bytes, and {max} are allowed (`max_bytes`, and 16 MiB on a spool)")]
    TooLong {
        /// Its bytes.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// Too many batches wait in memory for their flush.
    #[error("{0} batches wait for their flush already (`max_waiting`)")]
    Full(usize),
    /// Too many items are on their way to the server.
    #[error("{0} items are on their way already (`mailbox`)")]
    Busy(usize),
    /// The spool has no room, or cannot be written.
    #[error("{0}")]
    NoRoom(String),
    /// Whether it is kept is not known: the spool failed. It may be there after the next start.
    #[error("whether it is kept is not known: {0}")]
    Unknown(String),
    /// There is no server.
    #[error(transparent)]
    NotRunning(#[from] NotRunning),
}

impl Refused {
    /// Whether the same item may be taken later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoBatch(_) | Self::Full(_) | Self::Busy(_) | Self::NoRoom(_) => true,
            // Perhaps it is there already.
            Self::Unknown(_) => false,
            Self::NotRunning(why) => *why != NotRunning::InCallback,
            Self::ByBatcher(_) | Self::Panicked(_) | Self::NotEncoded(_) | Self::TooLong { .. } => {
                false
            }
        }
    }
}

/// The server does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRunning {
    /// It was stopped.
    #[error("the batch server was stopped")]
    Stopped,
    /// It was aborted.
    #[error("the batch server was aborted")]
    Aborted,
    /// Its thread has died. It may be started again.
    #[error("the batch server has died: {0}")]
    Died(String),
    /// It is asked by one of its own callbacks, for which it would have to wait.
    #[error("a callback cannot ask the server that runs it")]
    InCallback,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option that cannot be.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// The batch directory cannot be used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// No batch can be begun: [`init`](super::Batcher::init) failed.
    #[error("no batch can be begun: {0}")]
    Init(String),
    /// The batcher cannot be made.
    #[error("the batcher cannot be made: {0}")]
    Make(String),
    /// There is no thread to be had.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// As for any request.
    #[error(transparent)]
    NotRunning(#[from] NotRunning),
}

/// Why not all is flushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFlushed {
    /// A flush failed. What was not delivered is tried again.
    #[error(transparent)]
    Failed(#[from] FlushError),
    /// There is no server.
    #[error(transparent)]
    NotRunning(#[from] NotRunning),
}

/// How a server stopped, where not all is well. It has stopped all the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StopError {
    /// It had died before, or was stopped.
    pub not_running: Option<NotRunning>,
    /// The flush that failed, or what went wrong with a batch that was [delivered](FlushError::is_delivered).
    pub flush: Option<FlushError>,
    /// What [`terminate`](super::Batcher::terminate) failed with.
    pub terminate: Option<String>,
    /// Batches that were not delivered. On a spool they are there at the next start; in memory they are lost.
    pub batches_left: u64,
    /// Items in them.
    pub items_left: u64,
}

impl std::error::Error for StopError {}

impl From<NotRunning> for StopError {
    fn from(not_running: NotRunning) -> Self {
        Self {
            not_running: Some(not_running),
            ..Self::default()
        }
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(not_running) = &self.not_running {
            return write!(f, "{not_running}");
        }
        f.write_str("the batch server has stopped")?;
        if let Some(flush) = &self.flush {
            write!(f, "; {flush}")?;
        }
        if self.batches_left > 0 {
            let (batches, items) = (self.batches_left, self.items_left);
            write!(f, "; not delivered: {items} items in {batches} batches")?;
        }
        if let Some(terminate) = &self.terminate {
            write!(f, "; terminate failed: {terminate}")?;
        }
        Ok(())
    }
}

/// What went wrong where nobody waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// A flush failed.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// Open batches of the run before were damaged, so many; what could be read of them is there.
    #[error("{0} open batches were damaged: the log says what is missing, and where the files are")]
    Damaged(usize),
    /// An item was refused for which nobody waits.
    #[error("an item is not taken: {0}")]
    NotAdded(String),
    /// No batch can be begun; it is tried again for the next item.
    #[error("no batch can be begun: {0}")]
    Init(String),
    /// [`should_flush`](super::Batcher::should_flush) panicked, which counts as "no".
    #[error("should_flush panicked: {0}")]
    ShouldFlush(String),
    /// The server's thread has died.
    #[error("the batch server has died: {0}")]
    Died(String),
}

//! Why a shelf cannot do what it is asked for.

use std::io;

use batchd_frame::BatchId;

use crate::batcher::BoxError;
use crate::error::FsError;

/// Why a batch is not created, or its items cannot be given. What was not created has left nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// A batch of nothing.
    #[error("a batch has at least one item")]
    Empty,
    /// A lifespan of nothing, or of less than can be told.
    #[error("a lifespan is at least a microsecond")]
    NoLifespan,
    /// The batch alone has more items than the shelf may ever hold.
    #[error(
        "{items} items are more than `max_items` of the shelf, {max}: give less at once, or raise it"
    )]
    TooManyItems {
        /// How many.
        items: u64,
        /// The shelf's bound.
        max: u64,
    },
    /// The batch alone has more bytes than a batch or the directory may ever hold.
    #[error("the items come to more than {max} bytes: give less at once")]
    TooManyBytes {
        /// The bound, in bytes.
        max: u64,
    },
    /// The shelf holds as many items as it may.
    #[error(
        "the shelf holds {items} items, and {max} are allowed (`max_items`): wait until batches expire, or raise it"
    )]
    Full {
        /// What it holds.
        items: u64,
        /// What it may hold.
        max: u64,
    },
    /// The directory holds as many bytes as it may.
    #[error(
        "the shelf holds {bytes} bytes of items, and {max} are allowed (`max_bytes`): wait until batches expire, or \
         raise it"
    )]
    FullDir {
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        max: u64,
    },
    /// The file system is full, or has less left than must stay free.
    #[error("no room on the disk: {0}")]
    NoSpace(String),
    /// The file system is read-only.
    #[error("the file system of the shelf is read-only")]
    ReadOnly,
    /// An item cannot be made bytes.
    #[error("item {index} cannot be encoded: {source}")]
    Encode {
        /// Which, from 0.
        index: usize,
        /// What the codec said.
        source: BoxError,
    },
    /// The bytes of an item are as they were written, and no item: the codec is another than that which wrote them.
    #[error("item {index} of batch {id} cannot be decoded: {source}")]
    Decode {
        /// The batch.
        id: BatchId,
        /// Which, from 0.
        index: usize,
        /// What the codec said.
        source: BoxError,
    },
    /// The file of a batch is not as it was written. It stays until it expires, for whoever can make use of it.
    #[error("batch {id} is damaged on disk: {why}")]
    Damaged {
        /// The batch.
        id: BatchId,
        /// What is wrong, for people.
        why: String,
    },
    /// The file of a batch was written by a newer program.
    #[error("batch {0} was written by a newer program")]
    Newer(BatchId),
    /// The file of a batch cannot be read now.
    #[error(transparent)]
    Unreadable(FsError),
    /// The system gives no thread for the cleaner.
    #[error("the cleaner cannot be started: {0}")]
    NoThread(#[source] io::Error),
    /// What is on the medium is not known any more. The shelf must be opened again; only of what was being created
    /// is it unknown whether it is there.
    #[error("the shelf cannot be relied on any more, and must be opened again: {0}")]
    Broken(String),
}

impl ShelfError {
    /// Whether there is only no room now: the same may succeed when batches have expired, or the disk has room again.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::FullDir { .. } | Self::NoSpace(_) | Self::ReadOnly
        )
    }
}

//! What a request can be refused with.

use serde::{Deserialize, Serialize};

use crate::exit;

/// Why a request failed. New codes go to the end: the place in the list is the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The bytes are no message of this protocol. The connection is closed after it.
    BadMessage,
    /// A message longer than the daemon takes. The connection is closed after it.
    MessageTooLarge,
    /// The client speaks a version this daemon does not. The connection is closed after it.
    UnsupportedVersion,
    /// No queue of that name, and none is created on demand.
    UnknownQueue,
    /// Not a queue name or key.
    BadName,
    /// The body is not what its declaration says.
    BadBody,
    /// The body's checksum does not match: it was changed on the way.
    ChecksumMismatch,
    /// An item is longer than allowed.
    ItemTooLarge,
    /// The submission is larger than allowed, in bytes or items.
    SubmissionTooLarge,
    /// The spool may not grow further; nothing was kept. Try again later.
    SpoolFull,
    /// The file system is full; a first part of a submission may be kept. Try again later.
    NoSpace,
    /// Whether the submission was kept is not known: repeat it under its id.
    Unknown,
    /// The daemon is stopping. A submission that waits for the sink may be kept, and not delivered yet; of others
    /// nothing was kept. Try again later.
    Stopping,
    /// No batch of that id.
    NoSuchBatch,
    /// The sink did not take the batch; it is kept and tried again.
    DeliveryFailed,
    /// The batch cannot be read.
    Unreadable,
    /// A fault of the daemon.
    Internal,
    /// The queue holds as much as it may; nothing was kept. Try again later.
    QueueFull,
    /// The spool's file system is read-only; a first part of a submission may be kept. Try again later.
    ReadOnly,
    /// The queue has no sink, so that nothing of it is ever delivered.
    NoSink,
    /// The batch outlived its lifespan.
    Expired,
    /// The batch was set aside as dead before it was delivered.
    Dead,
    /// The batch was dropped before it was delivered.
    Dropped,
    /// Too much waits for the sink of the queue already. Try again later.
    TooManyWaiting,
    /// As many connections are open as may be. The connection is closed after it. Try again later.
    TooManyConnections,
    /// Nothing came over the connection for so long that it is closed. Connect again.
    IdleConnection,
}

impl ErrorCode {
    /// Whether the same request, repeated later, can succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        self.exit_code() == exit::TEMPFAIL
    }

    /// Whether some of the submission may be kept all the same: all of it, or any first part. It is to be repeated
    /// under its id, not given under another.
    #[must_use]
    pub const fn may_be_kept(self) -> bool {
        matches!(
            self,
            Self::Unknown | Self::Stopping | Self::NoSpace | Self::ReadOnly
        )
    }

    /// Whether it says how a batch ended, or that it was set aside: what was in it had been taken.
    #[must_use]
    pub const fn is_end_of_batch(self) -> bool {
        matches!(
            self,
            Self::Expired | Self::Dead | Self::Dropped | Self::Unreadable
        )
    }

    /// The exit code of a program that fails with it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::SpoolFull
            | Self::NoSpace
            | Self::Unknown
            | Self::Stopping
            | Self::DeliveryFailed
            | Self::QueueFull
            | Self::ReadOnly
            | Self::TooManyWaiting
            | Self::TooManyConnections
            | Self::IdleConnection => exit::TEMPFAIL,
            Self::Expired | Self::Dead | Self::Dropped => exit::FAILURE,
            Self::NoSink => exit::CONFIG,
            Self::UnknownQueue | Self::NoSuchBatch => exit::NOINPUT,
            Self::BadBody
            | Self::ChecksumMismatch
            | Self::ItemTooLarge
            | Self::SubmissionTooLarge => exit::DATAERR,
            Self::BadName => exit::USAGE,
            Self::BadMessage | Self::MessageTooLarge | Self::UnsupportedVersion => exit::PROTOCOL,
            Self::Unreadable => exit::IOERR,
            Self::Internal => exit::SOFTWARE,
        }
    }
}

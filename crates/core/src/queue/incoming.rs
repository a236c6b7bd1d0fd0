//! What comes in and what is answered.

pub use batchd_frame::Ack;
use batchd_frame::{BodyView, NameError};

use crate::policy::Load;
use crate::spool::space::Shortage;

/// A submission whose body was checked.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Key; empty for none. At most 255 bytes.
    pub key: &'a [u8],
    /// The body as it came.
    pub body: &'a [u8],
    /// CRC-32C of the body, which was compared.
    pub body_crc: u32,
    /// The same body, walked.
    pub view: BodyView<'a>,
    /// What it waits for.
    pub ack: Ack,
    /// Whether the batch is to be closed after its last item.
    pub end_of_batch: bool,
    /// Whether its id may have been sent before.
    pub repeat: bool,
    /// When it was received, unix time in microseconds.
    pub received_at: u64,
}

/// What became of a submission at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It is part of a group to come; it will be answered.
    Waiting,
    /// All of it was kept before; it is answered now.
    Known,
    /// All of it was kept before; it will be answered when the sink has it, or never will.
    Durable,
}

/// Why a submission is refused at the door. Nothing is kept of it that was not before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An item does not fit into any batch of this queue.
    #[error(
        "an item of {bytes} bytes is longer than `max_bytes` of the queue, {max}: split it, or raise it"
    )]
    ItemOverMaxBytes {
        /// Its length.
        bytes: u64,
        /// The queue's bound.
        max: u64,
    },
    /// More parts than a submission can have.
    #[error("the submission would be cut into more than 65535 parts: send fewer items at once")]
    TooManyParts,
    /// A key that is too long.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The spool has no room, or cannot be written.
    #[error(transparent)]
    Shortage(#[from] Shortage),
    /// The queue holds as many items as it may.
    #[error("the queue holds {} items, and {max} are allowed (`quota_items`): wait for deliveries, or raise it", held.items)]
    QueueItems {
        /// What it holds.
        held: Load,
        /// What it may hold.
        max: u64,
    },
    /// The queue holds as many bytes as it may.
    #[error("the queue holds {} bytes of items, and {max} are allowed (`quota_bytes`): wait for deliveries, or raise it", held.bytes)]
    QueueBytes {
        /// What it holds.
        held: Load,
        /// What it may hold.
        max: u64,
    },
    /// The submission alone is more than may ever be held.
    #[error(
        "the submission is more than {bound} allows for all that waits, {max}: send less at once, or raise it"
    )]
    OverQuota {
        /// The setting in the way.
        bound: &'static str,
        /// What it is set to.
        max: u64,
    },
    /// The same submission is under way and waits for less than is asked for now.
    #[error("the same submission is under way with a weaker acknowledgement: repeat it")]
    UnderWay,
    /// It is to be acknowledged when it is delivered, and nothing of this queue ever is.
    #[error("the queue has no sink, so that nothing of it is ever delivered: ask for \"synced\"")]
    NoSink,
    /// Too many wait for the sink already.
    #[error(
        "{0} submissions wait for the sink of this queue already: wait for deliveries, or ask for \"synced\""
    )]
    TooManyWaiting(usize),
    /// A repeat of what was kept before and ended otherwise than delivered.
    #[error("it was kept before, and its batch ended without being delivered, or not whole")]
    EndedBadly,
    /// A repeat, and it is still being read after the start which submissions are kept.
    #[error("which submissions were kept before the start is still being read: repeat it")]
    Recalling,
    /// The queue has stopped, after a failed sync or because the daemon stops.
    #[error("the daemon is stopping: repeat it when it is back")]
    Stopped,
}

impl Refusal {
    /// Whether there is only no room now: a queue that does not refuse then lets the submission wait.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(
            self,
            Self::Shortage(_) | Self::QueueItems { .. } | Self::QueueBytes { .. }
        )
    }
}

/// What a submission is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// All of it is kept, and this is true of it.
    Kept(Ack),
    /// The same; it is a repeat, and was kept already or under way.
    KeptBefore(Ack),
    /// All of it is kept and synced, and a further answer will follow when the sink has it, or never will. Only where
    /// that is waited for.
    Durable,
    /// It is not acknowledged.
    Failed(Failure),
}

impl Answer {
    /// Whether it says for the first time if the submission is kept: what comes after [`Answer::Durable`] does not.
    #[must_use]
    pub const fn decides(self) -> bool {
        match self {
            Self::Kept(ack) | Self::KeptBefore(ack) => !matches!(ack, Ack::Delivered),
            Self::Durable => true,
            Self::Failed(failure) => match failure {
                Failure::NoSpace | Failure::ReadOnly | Failure::Unknown => true,
                Failure::Stopped
                | Failure::Expired
                | Failure::Dropped
                | Failure::Removed
                | Failure::Damaged => false,
            },
        }
    }

    /// The same answer to a repeat.
    pub(super) const fn to_repeat(self) -> Self {
        match self {
            Self::Kept(ack) => Self::KeptBefore(ack),
            other => other,
        }
    }
}

/// Why a submission that was begun is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The file system is full. What was written of its group was taken back.
    NoSpace,
    /// The file system is read-only. Nothing of its group was written.
    ReadOnly,
    /// Whether it is kept is not known: repeat it.
    Unknown,
    /// It is kept, and the queue stops before it is delivered: repeat it to wait on.
    Stopped,
    /// Its batch outlived its lifespan.
    Expired,
    /// Its batch was dropped on purpose.
    Dropped,
    /// The file of its batch was removed by somebody.
    Removed,
    /// Its batch was damaged; what could be read of it was delivered.
    Damaged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_decides_unless_another_came_before_it() {
        for decides in [
            Answer::Kept(Ack::Synced),
            Answer::KeptBefore(Ack::None),
            Answer::Durable,
            Answer::Failed(Failure::NoSpace),
            Answer::Failed(Failure::ReadOnly),
            Answer::Failed(Failure::Unknown),
        ] {
            assert!(decides.decides(), "{decides:?}");
        }
        for comes_later in [
            Answer::Kept(Ack::Delivered),
            Answer::KeptBefore(Ack::Delivered),
            Answer::Failed(Failure::Expired),
            Answer::Failed(Failure::Stopped),
        ] {
            assert!(!comes_later.decides(), "{comes_later:?}");
        }
    }
}

//! What can go wrong, by what the caller may do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use batchd_frame::codec::DecodeError;
use batchd_protocol::{Ack, ErrorCode, PROTOCOL_VERSION, WireError};

use crate::items::ItemError;

/// Why a call failed. After most errors no submission is in flight any more. Some are about the call alone, and leave
/// those that are: [`Error::SubmissionTooLarge`], [`Error::GivenUp`], [`Error::OutcomeUnknown`],
/// [`ProtocolError::CursorStuck`], and [`Error::Refused`] and [`Error::DeadlineExceeded`] of a request that is no
/// submission.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection, and none can be expected. Nothing was sent, except over a connection that was lost before: that is
    /// counted in [`Totals::unknown`](crate::Totals::unknown).
    #[error("cannot connect to {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke. Seen only as the cause of [`Error::DeadlineExceeded`]: a client connects again.
    #[error("connection lost")]
    Lost {
        /// How.
        source: io::Error,
    },
    /// The daemon did not answer in time. A submission that was not answered may have been kept: repeat it
    /// under its id.
    #[error("{}", deadline_text(*.waited, *.kept, *.unknown))]
    DeadlineExceeded {
        /// How long the call or submission was waited for.
        waited: Duration,
        /// Submissions of this client that are known to be kept.
        kept: u64,
        /// Submissions that were sent and may be kept, in part or whole, or not: repeat them under their ids.
        unknown: u64,
        /// Whether the daemon ever welcomed this client.
        welcomed: bool,
        /// What went wrong last, if anything but the silence did.
        #[source]
        last: Option<Box<Self>>,
    },
    /// The daemon does not take it, and a repeat would not change that, unless [`ErrorCode::is_retryable`]. A
    /// submission that waited for the sink was taken, where [`ErrorCode::is_end_of_batch`]: its batch ended otherwise.
    #[error("{}{message}", refused_text(*.submission, *.code))]
    Refused {
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
        /// Which submission: its place among all that were given to this client, from 0.
        submission: Option<u64>,
    },
    /// Client and daemon speak no common version.
    #[error("daemon speaks {}, this client version {PROTOCOL_VERSION}", version_text(*.daemon))]
    VersionMismatch {
        /// The daemon's version, where it told.
        daemon: Option<u16>,
    },
    /// The other side is no batchd, or a faulty one.
    #[error("protocol violated by the daemon")]
    Protocol(#[from] ProtocolError),
    /// An item that can never be sent.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A submission, or a batch to be created, longer than the daemon takes at once. Nothing was sent.
    #[error(
        "submission of {bytes} bytes and {items} items is longer than the {bytes_max} bytes and \
         {items_max} items the daemon takes: cut it with Packer"
    )]
    SubmissionTooLarge {
        /// Length of its body in bytes.
        bytes: u64,
        /// Items in it.
        items: u32,
        /// Longest body that the daemon takes, in bytes.
        bytes_max: u64,
        /// Most items that it takes.
        items_max: u64,
    },
    /// The ticket's submission was given up when an earlier call failed, or its receipt was taken before.
    #[error(
        "submission was given up after an earlier error: send it again under its id (keep a clone of \
         the submission)"
    )]
    GivenUp,
    /// The system gave no random bytes for an id.
    #[error("no random bytes for a producer id")]
    Random(#[from] getrandom::Error),
    /// The connection broke before the answer to a request that is not repeated. Whether the batch was created is
    /// not known: list the batches before another try, which may make a second one.
    #[error("connection lost before the answer: whether the batch was created is not known")]
    OutcomeUnknown,
    /// The runtime or the system failed the client.
    #[error("cannot wait for the socket")]
    Wait(#[source] io::Error),
}

impl Error {
    /// Whether the same call can succeed later. A submission must then be repeated under its id. Where a batch was
    /// to be created and the outcome is not known, another call may make another one.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Lost { .. } | Self::DeadlineExceeded { .. } => true,
            Self::Refused { code, .. } => code.is_retryable(),
            _ => false,
        }
    }

    /// Whether there may be a batch all the same, where it was a `create` that failed with this: its answer was lost,
    /// or was not waited for any longer, or says that it is not known. Another call may make a second batch.
    #[must_use]
    pub fn may_have_created(&self) -> bool {
        match self {
            Self::OutcomeUnknown | Self::Lost { .. } | Self::Wait(_) => true,
            // Who does not keep to the protocol may have done anything.
            Self::Protocol(_) => true,
            Self::DeadlineExceeded { welcomed, .. } => *welcomed,
            // The refusal of a submission ends the wait for whatever was asked beside it.
            Self::Refused {
                code, submission, ..
            } => *code == ErrorCode::Unknown || submission.is_some(),
            _ => false,
        }
    }
}

/// What a daemon must not send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Too long.
    #[error(transparent)]
    Length(#[from] WireError),
    /// Not a response.
    #[error("not a response")]
    Decode(#[from] DecodeError),
    /// The first response is not the welcome, or there is a second welcome.
    #[error("welcome where none belongs, or none where it belongs")]
    Welcome,
    /// Limits that allow nothing.
    #[error("limits that allow no submission")]
    Limits,
    /// An answer to something that was not asked, or twice.
    #[error("answer to request {request}, which is not open")]
    UnknownRequest {
        /// The number in the answer.
        request: u64,
    },
    /// An answer of another kind than the request.
    #[error("answer to request {request} is of another kind")]
    WrongAnswer {
        /// The number in the answer.
        request: u64,
    },
    /// Less than was asked for.
    #[error("answer to request {request} promises {got:?} where {asked:?} was asked for")]
    WeakerAck {
        /// The number in the answer.
        request: u64,
        /// What was asked for.
        asked: Ack,
        /// What was promised.
        got: Ack,
    },
    /// A page that says that the next one is itself.
    #[error("listing that does not move on")]
    CursorStuck,
}

fn deadline_text(waited: Duration, kept: u64, unknown: u64) -> String {
    let mut text = format!("no answer within {waited:?}");
    if kept + unknown > 0 {
        text.push_str(&format!(
            " (submissions known to be kept: {kept}, unknown: {unknown})"
        ));
    }
    text
}

fn refused_text(submission: Option<u64>, code: ErrorCode) -> String {
    let what = if code.is_end_of_batch() {
        "not delivered"
    } else {
        "refused"
    };
    submission.map_or_else(
        || "refused: ".to_owned(),
        |index| format!("submission {index} {what}: "),
    )
}

fn version_text(version: Option<u16>) -> String {
    version.map_or_else(
        || "another protocol version".to_owned(),
        |version| format!("protocol version {version}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ErrorCode, submission: Option<u64>) -> Error {
        Error::Refused {
            code,
            message: String::new(),
            submission,
        }
    }

    fn overdue(unknown: u64, welcomed: bool) -> Error {
        Error::DeadlineExceeded {
            waited: Duration::from_secs(1),
            kept: 3,
            unknown,
            welcomed,
            last: None,
        }
    }

    #[test]
    fn messages_say_what_to_do_next() {
        let too_large = Error::SubmissionTooLarge {
            bytes: 301,
            items: 2,
            bytes_max: 300,
            items_max: 5,
        };
        let item = ItemError::TooLarge {
            bytes: 101,
            max: 100,
        };
        let texts = [
            too_large,
            item.into(),
            Error::GivenUp,
            Error::OutcomeUnknown,
            overdue(0, true),
            overdue(2, true),
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(texts.join("\n"), @"
        submission of 301 bytes and 2 items is longer than the 300 bytes and 5 items the daemon takes: cut it with Packer
        item of 101 bytes is longer than the 100 allowed: split it, or raise limits.item_bytes_max of the daemon
        submission was given up after an earlier error: send it again under its id (keep a clone of the submission)
        connection lost before the answer: whether the batch was created is not known
        no answer within 1s (submissions known to be kept: 3, unknown: 0)
        no answer within 1s (submissions known to be kept: 3, unknown: 2)
        ");
    }

    #[test]
    fn a_create_that_failed_may_have_made_a_batch_unless_it_is_known_that_it_did_not() {
        for (error, may_have) in [
            (Error::OutcomeUnknown, true),
            (overdue(0, true), true),
            (overdue(0, false), false),
            (refused(ErrorCode::Unknown, None), true),
            (refused(ErrorCode::ItemTooLarge, Some(7)), true),
            (refused(ErrorCode::NoSpace, None), false),
            (refused(ErrorCode::Stopping, None), false),
            (ProtocolError::WrongAnswer { request: 1 }.into(), true),
            (Error::VersionMismatch { daemon: None }, false),
        ] {
            assert_eq!(error.may_have_created(), may_have, "{error:?}");
        }
    }
}

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
    /// No connection, and none can be expected. Nothing was sent.
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
        /// Submissions that were sent and may be kept or not.
        unknown: u64,
        /// Whether the daemon ever welcomed this client.
        welcomed: bool,
        /// What went wrong last, if anything but the silence did.
        #[source]
        last: Option<Box<Self>>,
    },
    /// The daemon does not take it, and a repeat would not change that. A submission that waited for the sink was
    /// taken, where [`ErrorCode::is_end_of_batch`]: its batch ended otherwise.
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
    /// A submission longer than the daemon takes.
    #[error("submission of {bytes} bytes and {items} items is longer than the daemon takes")]
    SubmissionTooLarge {
        /// Length of its body.
        bytes: u64,
        /// Items in it.
        items: u32,
    },
    /// The ticket's submission was given up when an earlier call failed.
    #[error("submission was given up after an earlier error")]
    GivenUp,
    /// The system gave no random bytes for an id.
    #[error("no random bytes for a producer id")]
    Random(#[from] getrandom::Error),
    /// The connection broke before the answer to a request that is not repeated. Whether the batch was created is
    /// not known.
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

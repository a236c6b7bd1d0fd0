//! Failures: what is printed of them, and which exit code they get.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use batchd_client::{Error as ClientError, ErrorCode};
use batchd_protocol::exit;

use crate::commands::Context;
use crate::hint;
use crate::offline::OfflineError;
use crate::similar;
use crate::unreachable::Around;

/// Failures of batchctl's own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An input file that cannot be opened.
    Open(PathBuf, io::Error),
    /// An input that cannot be read on.
    Read(String, io::Error),
    /// An item that no submission can carry.
    ItemTooLarge {
        /// Name of the input.
        input: String,
        /// Place of the item, in words.
        place: String,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// More than one request can carry.
    BatchTooLarge {
        /// Most items.
        items_max: u64,
        /// Most bytes.
        bytes_max: u64,
    },
    /// Batches of a flush ended otherwise.
    NotDelivered {
        /// How many.
        batches: u64,
    },
    /// Standard output cannot be written.
    Output(io::Error),
    /// What was asked for was done, and something cannot be read.
    Damaged {
        /// Places that are bad.
        places: u64,
        /// Items that are missing, as far as that is known.
        items_missing: u64,
    },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(path, _) => write!(f, "cannot open {}", path.display()),
            Self::Read(input, _) => write!(f, "cannot read {input}"),
            Self::ItemTooLarge {
                input,
                place,
                bytes_max,
            } => write!(
                f,
                "{input}: {place} is longer than the {bytes_max} bytes the daemon takes"
            ),
            Self::BatchTooLarge {
                items_max,
                bytes_max,
            } => write!(
                f,
                "more than the daemon takes at once: {items_max} items, {bytes_max} bytes"
            ),
            Self::NotDelivered { batches } => {
                write!(f, "not delivered, or not whole: {}", batch_count(*batches))
            }
            Self::Output(_) => f.write_str("cannot write to standard output"),
            Self::Damaged {
                places,
                items_missing,
            } => write!(
                f,
                "damage in {}; items that are known to be missing: {items_missing}",
                count(*places, "place")
            ),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(_, error) | Self::Read(_, error) | Self::Output(error) => Some(error),
            Self::ItemTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::NotDelivered { .. }
            | Self::Damaged { .. } => None,
        }
    }
}

/// A failure to write to standard output.
pub(crate) fn output(error: io::Error) -> anyhow::Error {
    Failure::Output(error).into()
}

/// Prints a failure in one line, and a hint where there is one; returns the exit code.
pub(crate) fn report(error: &anyhow::Error, context: &mut Context<'_>) -> u8 {
    if is_broken_pipe(error) {
        return exit::OK;
    }
    let mut line = String::new();
    for (index, cause) in error.chain().enumerate() {
        let separator = if index == 0 { "" } else { ": " };
        write!(line, "{separator}{}", Said(cause)).unwrap_or_default();
    }
    let line = escape_controls(&line);
    context.world.tell(format_args!("batchctl: {line}"));
    if let Some(note) = context.note.take() {
        context.world.tell(format_args!("note: {note}"));
    }
    let around = || Around::look(&context.socket, &context.world.surroundings);
    if let Some(hint) = hint::of(error, &context.socket, around) {
        let meant = similar::queue(error, context);
        let meant = meant.map_or(String::new(), |queue| format!("did you mean '{queue}'? "));
        context.world.tell(format_args!("hint: {meant}{hint}"));
    }
    exit_code(error)
}

/// A cause in the words of this program: a person does not number submissions, and of what is not there need not hear
/// that it was refused.
struct Said<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(ClientError::Refused {
            code,
            message,
            submission,
        }) = self.0.downcast_ref()
        else {
            return write!(f, "{}", self.0);
        };
        let what = match code {
            ErrorCode::UnknownQueue | ErrorCode::NoSuchBatch => "",
            ErrorCode::DeliveryFailed => "not delivered: ",
            code if submission.is_some() && code.is_end_of_batch() => "not delivered: ",
            _ => "refused: ",
        };
        write!(f, "{what}{message}")
    }
}

/// A number of things.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

fn batch_count(number: u64) -> String {
    let plural = if number == 1 { "" } else { "es" };
    format!("{number} batch{plural}")
}

/// Text from elsewhere that keeps to its line and leaves the terminal alone.
pub(crate) fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            escaped.extend(char.escape_default());
        } else {
            escaped.push(char);
        }
    }
    escaped
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe
    )
}

/// The exit code of a command that fails with it.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::Open(_, error) if is_denied(error) => exit::NOPERM,
            Failure::Open(..) => exit::NOINPUT,
            Failure::ItemTooLarge { .. } | Failure::BatchTooLarge { .. } => exit::DATAERR,
            Failure::Read(..) | Failure::Output(_) => exit::IOERR,
            Failure::NotDelivered { .. } => exit::FAILURE,
            Failure::Damaged { .. } => exit::DAMAGED,
        };
    }
    if let Some(failed) = error.downcast_ref::<OfflineError>() {
        return failed.exit_code();
    }
    error
        .downcast_ref::<ClientError>()
        .map_or(exit::SOFTWARE, client_exit_code)
}

fn client_exit_code(error: &ClientError) -> u8 {
    match error {
        ClientError::Connect { source, .. } if is_denied(source) => exit::NOPERM,
        ClientError::Connect { .. } => exit::UNAVAILABLE,
        ClientError::DeadlineExceeded { welcomed, last, .. } => match last.as_deref() {
            Some(ClientError::Refused { code, .. }) => code.exit_code(),
            _ if *welcomed => exit::TEMPFAIL,
            _ => exit::UNAVAILABLE,
        },
        ClientError::Refused { code, .. } => code.exit_code(),
        ClientError::VersionMismatch { .. } | ClientError::Protocol(_) => exit::PROTOCOL,
        ClientError::Item(_) | ClientError::SubmissionTooLarge { .. } => exit::DATAERR,
        ClientError::Lost { .. } | ClientError::GivenUp | ClientError::OutcomeUnknown => {
            exit::TEMPFAIL
        }
        _ => exit::SOFTWARE,
    }
}

/// Whether this user may not.
pub(crate) fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

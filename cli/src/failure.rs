//! Failures: what is printed of them, which exit code they get, and what may help.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use batchd_client::{Error as ClientError, ErrorCode};
use batchd_protocol::exit;

use crate::commands::Context;
use crate::offline::OfflineError;

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
        write!(line, "{separator}{cause}").unwrap_or_default();
    }
    let line = escape_controls(&line);
    context.world.tell(format_args!("batchctl: {line}"));
    if let Some(note) = context.note.take() {
        context.world.tell(format_args!("note: {note}"));
    }
    if let Some(hint) = hint(error, &context.socket) {
        context.world.tell(format_args!("hint: {hint}"));
    }
    exit_code(error)
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

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
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
        .map_or(exit::FAILURE, client_exit_code)
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

fn hint(error: &anyhow::Error, socket: &Path) -> Option<String> {
    if let Some(failed) = error.downcast_ref::<OfflineError>() {
        return failed.hint().map(str::to_owned);
    }
    if let Some(Failure::Damaged { .. }) = error.downcast_ref::<Failure>() {
        return Some(
            "batchd delivers what is whole of a damaged batch and keeps the file in quarantine; \
             'batchctl cat' reads what can be read now"
                .to_owned(),
        );
    }
    if let Some(Failure::NotDelivered { .. }) = error.downcast_ref::<Failure>() {
        return Some("'batchctl history' tells what became of them".to_owned());
    }
    let socket = socket.display();
    match error.downcast_ref::<ClientError>()? {
        ClientError::Connect { source, .. } if is_denied(source) => Some(format!(
            "the daemon's users are those who may write to {socket}: see its group and mode with ls -l"
        )),
        ClientError::Connect { .. }
        | ClientError::DeadlineExceeded {
            welcomed: false, ..
        } => Some(format!(
            "is batchd running? start it with 'batchd', or say where its socket \
             is with --socket (it was looked for at {socket})"
        )),
        ClientError::DeadlineExceeded { last, .. } => Some(match last.as_deref() {
            Some(ClientError::Refused {
                code:
                    ErrorCode::SpoolFull
                    | ErrorCode::NoSpace
                    | ErrorCode::QueueFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::TooManyWaiting,
                ..
            }) => "'batchctl status' shows what waits and why; --timeout waits longer".to_owned(),
            _ => "'batchctl status' and the daemon's log may say what holds it up; --timeout waits longer"
                .to_owned(),
        }),
        ClientError::Refused {
            code: ErrorCode::UnknownQueue,
            ..
        } => Some("'batchctl status' lists the queues".to_owned()),
        ClientError::Refused {
            code: ErrorCode::NoSuchBatch,
            ..
        } => Some(
            "'batchctl ls' lists the batches there are, 'batchctl history' what became of others"
                .to_owned(),
        ),
        ClientError::Refused {
            code,
            submission: Some(_),
            ..
        } if code.is_end_of_batch() => {
            Some("it had been kept; 'batchctl history' tells what became of its batch".to_owned())
        }
        ClientError::Refused {
            code: ErrorCode::Expired | ErrorCode::Dead | ErrorCode::Dropped,
            ..
        } => Some(
            "'batchctl show' tells what became of it; 'batchctl cat' reads one that was set aside"
                .to_owned(),
        ),
        _ => None,
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ErrorCode) -> ClientError {
        ClientError::Refused {
            code,
            message: String::new(),
            submission: None,
        }
    }

    fn deadline(welcomed: bool, last: Option<ClientError>) -> ClientError {
        ClientError::DeadlineExceeded {
            waited: std::time::Duration::from_secs(1),
            kept: 0,
            unknown: 0,
            welcomed,
            last: last.map(Box::new),
        }
    }

    fn connect(kind: io::ErrorKind) -> ClientError {
        ClientError::Connect {
            path: PathBuf::from("/s"),
            source: kind.into(),
        }
    }

    #[test]
    fn what_a_client_says_has_an_exit_code_and_perhaps_a_hint() {
        #[track_caller]
        fn check(error: ClientError, code: u8, hint_has: Option<&str>) {
            let error = anyhow::Error::new(error);
            assert_eq!(exit_code(&error), code, "{error:#}");
            let hint = hint(&error, Path::new("/s"));
            match (&hint, hint_has) {
                (None, None) => {}
                (Some(hint), Some(has)) => assert!(hint.contains(has), "{hint}"),
                _ => panic!("{hint:?}"),
            }
        }
        check(
            connect(io::ErrorKind::NotFound),
            exit::UNAVAILABLE,
            Some("--socket"),
        );
        check(
            connect(io::ErrorKind::ConnectionRefused),
            exit::UNAVAILABLE,
            Some("--socket"),
        );
        check(
            connect(io::ErrorKind::PermissionDenied),
            exit::NOPERM,
            Some("group and mode"),
        );
        check(deadline(false, None), exit::UNAVAILABLE, Some("--socket"));
        check(deadline(true, None), exit::TEMPFAIL, Some("--timeout"));
        let full = deadline(true, Some(refused(ErrorCode::SpoolFull)));
        check(full, exit::TEMPFAIL, Some("what waits"));
        check(
            refused(ErrorCode::UnknownQueue),
            exit::NOINPUT,
            Some("batchctl status"),
        );
        check(
            refused(ErrorCode::NoSuchBatch),
            exit::NOINPUT,
            Some("batchctl ls"),
        );
        check(refused(ErrorCode::ChecksumMismatch), exit::DATAERR, None);
        check(ClientError::GivenUp, exit::TEMPFAIL, None);
    }
}

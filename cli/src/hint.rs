//! What may help after a failure.

use std::io;
use std::path::Path;

use batchd_client::{Error as ClientError, ErrorCode};
use batchd_protocol::shell_word;

use crate::failure::Failure;
use crate::offline::OfflineError;
use crate::unreachable::{self, Around};
use crate::world::Socket;

/// What may help, if anything is known that may. `around` looks around where nothing can be connected to.
pub(crate) fn of(
    error: &anyhow::Error,
    socket: &Socket,
    around: impl FnOnce() -> Around,
) -> Option<String> {
    if let Some(failed) = error.downcast_ref::<OfflineError>() {
        return failed.hint();
    }
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return of_failure(failure);
    }
    of_client(error.downcast_ref()?, socket, around)
}

fn of_client(
    error: &ClientError,
    socket: &Socket,
    around: impl FnOnce() -> Around,
) -> Option<String> {
    let path = socket.path.display();
    let text = match error {
        ClientError::Connect { source, .. } => unreachable::hint(source, socket, &around()),
        ClientError::DeadlineExceeded { welcomed, last, .. } => match last.as_deref() {
            Some(ClientError::Connect { source, .. }) if !welcomed => {
                unreachable::hint(source, socket, &around())
            }
            None | Some(ClientError::Lost { .. }) if !welcomed => format!(
                "something listens at {path} and does not answer: is it batchd? see the daemon's log"
            ),
            last => of_silence(last).to_owned(),
        },
        ClientError::Refused {
            code, submission, ..
        } => of_refusal(*code, submission.is_some())?.to_owned(),
        ClientError::VersionMismatch { .. } => {
            "use the batchctl that came with the daemon".to_owned()
        }
        ClientError::Protocol(_) => {
            format!("is {path} batchd's socket? something else may listen there")
        }
        _ => return None,
    };
    Some(text)
}

fn of_failure(failure: &Failure) -> Option<String> {
    let text = match failure {
        Failure::Open(path, error) => return of_input(path, error),
        Failure::ItemTooLarge { .. } => {
            "split it, or raise item_bytes_max under [limits] of batchd"
        }
        Failure::BatchTooLarge { .. } => {
            "give less, or use 'batchctl submit', which cuts it by itself"
        }
        Failure::NotDelivered { .. } => "'batchctl history' tells what became of them",
        Failure::Damaged { .. } => {
            "batchd delivers what is whole of a damaged batch and keeps the file in quarantine; \
             'batchctl cat' reads what can be read now"
        }
        Failure::Read(..) | Failure::Output(_) => return None,
    };
    Some(text.to_owned())
}

/// Of a file of items.
fn of_input(path: &Path, error: &io::Error) -> Option<String> {
    let path = shell_word(path);
    match error.kind() {
        io::ErrorKind::NotFound => Some(
            "FILE names a file of items; text itself goes in by a pipe, as in 'echo hello | batchctl submit'"
                .to_owned(),
        ),
        io::ErrorKind::IsADirectory => Some(format!("give the files in it, as in {path}/*")),
        io::ErrorKind::PermissionDenied => Some(format!(
            "this user may not read it: 'ls -l {path}' shows who may"
        )),
        _ => None,
    }
}

/// No answer came in time.
fn of_silence(last: Option<&ClientError>) -> &'static str {
    match last {
        Some(ClientError::Refused {
            code: ErrorCode::TooManyConnections,
            ..
        }) => {
            "as many programs are connected as 'connections' under [limits] of batchd allows: \
             close some, or raise it"
        }
        Some(ClientError::Refused {
            code:
                ErrorCode::SpoolFull
                | ErrorCode::NoSpace
                | ErrorCode::QueueFull
                | ErrorCode::ReadOnly
                | ErrorCode::TooManyWaiting,
            ..
        }) => "'batchctl status' shows what waits and why; --timeout waits longer",
        _ => {
            "'batchctl status' and the daemon's log may say what holds it up; --timeout waits longer"
        }
    }
}

fn of_refusal(code: ErrorCode, is_submission: bool) -> Option<&'static str> {
    match code {
        ErrorCode::UnknownQueue => Some("'batchctl status' lists the queues"),
        ErrorCode::NoSuchBatch => Some(
            "'batchctl ls' lists the batches there are, 'batchctl history' what became of others",
        ),
        code if is_submission && code.is_end_of_batch() => {
            Some("it had been kept; 'batchctl history' tells what became of its batch")
        }
        ErrorCode::Expired | ErrorCode::Dead | ErrorCode::Dropped => Some(
            "'batchctl show' tells what became of it; 'batchctl cat' reads one that was set aside",
        ),
        ErrorCode::Unreadable => Some("'batchctl verify' names what is damaged and what it costs"),
        ErrorCode::DeliveryFailed => {
            Some("mend what the sink says, then flush again: it tries at once")
        }
        ErrorCode::NoSink if is_submission => {
            Some("give the queue a sink, or leave '--ack delivered' away")
        }
        ErrorCode::NoSink => Some("give the queue a sink, or leave --wait away"),
        // To a submission the daemon itself says what to do.
        ErrorCode::SubmissionTooLarge if !is_submission => {
            Some("make several batches, or raise max_items or max_bytes of the queue")
        }
        ErrorCode::Internal | ErrorCode::Unknown => Some("the daemon's log says more"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::exit_code;
    use crate::unreachable::There;
    use crate::world::Origin;
    use anyhow::anyhow;
    use batchd_client::ProtocolError;
    use std::path::PathBuf;

    /// What is told of each: the failure, the exit code, and the hint.
    fn told<E: Into<anyhow::Error>>(errors: impl IntoIterator<Item = E>) -> String {
        let socket = Socket {
            path: PathBuf::from("/s"),
            origin: Origin::Usual,
        };
        let around = || Around {
            there: There::Nothing,
            answers: None,
            has_unit: false,
        };
        let mut text = String::new();
        for error in errors.into_iter().map(Into::into) {
            let hint = of(&error, &socket, around).unwrap_or("-".to_owned());
            text.push_str(&format!("{error:#}\n{} {hint}\n", exit_code(&error)));
        }
        text
    }

    fn refused(code: ErrorCode) -> ClientError {
        ClientError::Refused {
            code,
            message: format!("{code:?}"),
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
    fn of_the_connection() {
        let lost = || ClientError::Lost {
            source: io::ErrorKind::ConnectionReset.into(),
        };
        let told = told([
            connect(io::ErrorKind::NotFound),
            connect(io::ErrorKind::ConnectionRefused),
            connect(io::ErrorKind::PermissionDenied),
            connect(io::ErrorKind::InvalidFilename),
            deadline(false, Some(connect(io::ErrorKind::NotFound))),
            deadline(false, None),
            deadline(false, Some(lost())),
            deadline(false, Some(refused(ErrorCode::TooManyConnections))),
            deadline(false, Some(refused(ErrorCode::Stopping))),
            deadline(true, Some(lost())),
            deadline(true, Some(refused(ErrorCode::SpoolFull))),
            ClientError::VersionMismatch { daemon: Some(2) },
            ClientError::Protocol(ProtocolError::Welcome),
            ClientError::GivenUp,
        ]);
        insta::assert_snapshot!(told, @"
        cannot connect to /s: entity not found
        69 no daemon listens there: start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'
        cannot connect to /s: connection refused
        69 no daemon listens there: start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'
        cannot connect to /s: permission denied
        77 'ls -l /s' shows who may write to it: run batchctl as one of them, or set another `mode` in [[listen]] of batchd
        cannot connect to /s: invalid filename
        69 the path of a socket has at most 107 bytes: give a shorter one with --socket
        no answer within 1s: cannot connect to /s: entity not found
        69 no daemon listens there: start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'
        no answer within 1s
        69 something listens at /s and does not answer: is it batchd? see the daemon's log
        no answer within 1s: connection lost: connection reset
        69 something listens at /s and does not answer: is it batchd? see the daemon's log
        no answer within 1s: refused: TooManyConnections
        75 as many programs are connected as 'connections' under [limits] of batchd allows: close some, or raise it
        no answer within 1s: refused: Stopping
        75 'batchctl status' and the daemon's log may say what holds it up; --timeout waits longer
        no answer within 1s: connection lost: connection reset
        75 'batchctl status' and the daemon's log may say what holds it up; --timeout waits longer
        no answer within 1s: refused: SpoolFull
        75 'batchctl status' shows what waits and why; --timeout waits longer
        daemon speaks protocol version 2, this client version 1
        76 use the batchctl that came with the daemon
        protocol violated by the daemon: welcome where none belongs, or none where it belongs
        76 is /s batchd's socket? something else may listen there
        submission was given up after an earlier error: send it again under its id (keep a clone of the submission)
        75 -
        ");
    }

    #[test]
    fn of_refusals() {
        let told = told(
            [
                ErrorCode::UnknownQueue,
                ErrorCode::NoSuchBatch,
                ErrorCode::Expired,
                ErrorCode::Unreadable,
                ErrorCode::NoSink,
                ErrorCode::DeliveryFailed,
                ErrorCode::SubmissionTooLarge,
                ErrorCode::Internal,
                ErrorCode::Unknown,
                ErrorCode::ChecksumMismatch,
            ]
            .map(refused),
        );
        insta::assert_snapshot!(told, @"
        refused: UnknownQueue
        66 'batchctl status' lists the queues
        refused: NoSuchBatch
        66 'batchctl ls' lists the batches there are, 'batchctl history' what became of others
        refused: Expired
        1 'batchctl show' tells what became of it; 'batchctl cat' reads one that was set aside
        refused: Unreadable
        74 'batchctl verify' names what is damaged and what it costs
        refused: NoSink
        78 give the queue a sink, or leave --wait away
        refused: DeliveryFailed
        75 mend what the sink says, then flush again: it tries at once
        refused: SubmissionTooLarge
        65 make several batches, or raise max_items or max_bytes of the queue
        refused: Internal
        70 the daemon's log says more
        refused: Unknown
        75 the daemon's log says more
        refused: ChecksumMismatch
        65 -
        ");
    }

    #[test]
    fn of_batchctl_itself() {
        let open = |kind: io::ErrorKind| Failure::Open(PathBuf::from("/f"), kind.into());
        let of_two_words = |kind: io::ErrorKind| Failure::Open(PathBuf::from("/a b"), kind.into());
        let told = told([
            open(io::ErrorKind::NotFound).into(),
            open(io::ErrorKind::IsADirectory).into(),
            open(io::ErrorKind::PermissionDenied).into(),
            of_two_words(io::ErrorKind::IsADirectory).into(),
            of_two_words(io::ErrorKind::PermissionDenied).into(),
            open(io::ErrorKind::TimedOut).into(),
            anyhow!("what nobody thought of"),
        ]);
        insta::assert_snapshot!(told, @"
        cannot open /f: entity not found
        66 FILE names a file of items; text itself goes in by a pipe, as in 'echo hello | batchctl submit'
        cannot open /f: is a directory
        66 give the files in it, as in /f/*
        cannot open /f: permission denied
        77 this user may not read it: 'ls -l /f' shows who may
        cannot open /a b: is a directory
        66 give the files in it, as in '/a b'/*
        cannot open /a b: permission denied
        77 this user may not read it: 'ls -l '/a b'' shows who may
        cannot open /f: timed out
        66 -
        what nobody thought of
        70 -
        ");
    }
}

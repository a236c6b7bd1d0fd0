//! Why a tour does not reach its end.

use std::io;
use std::process::ExitStatus;

use batchd_client::Error as ClientError;
use batchd_core::spool::SpoolError;
use batchd_protocol::exit;

use crate::failure::Failure;

/// What to do where the directory is the trouble.
const ELSEWHERE: &str =
    "everything is made in one temporary directory: 'TMPDIR=DIR batchd demo' makes it below DIR";

/// Why a tour does not reach its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody reads what it says any more.
    Unread,
    /// What came out is not what went in; how was said.
    Differs,
    /// It cannot go on.
    Failed(Failure),
}

/// What it says cannot be written.
pub(super) fn unsaid(error: io::Error) -> Ended {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ended::Unread;
    }
    Ended::Failed(Failure {
        error: anyhow::Error::from(error).context("write to standard output"),
        hint: None,
        code: exit::IOERR,
    })
}

/// Something in the directory cannot be made, read or started.
pub(super) fn unusable(error: anyhow::Error) -> Failure {
    Failure {
        hint: Some(ELSEWHERE.to_owned()),
        ..Failure::from(error)
    }
}

/// The daemon ended though nobody asked it to, or not as it should have.
pub(super) fn daemon_ended(status: ExitStatus) -> Failure {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.filter(|code| *code != exit::OK);
    let code = code.unwrap_or(exit::SOFTWARE);
    let is_of_files = [exit::IOERR, exit::TEMPFAIL, exit::NOPERM].contains(&code);
    Failure {
        error: anyhow::anyhow!("the daemon ended with {status}"),
        hint: is_of_files.then(|| ELSEWHERE.to_owned()),
        code,
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        unusable(error).into()
    }
}

impl From<SpoolError> for Ended {
    fn from(error: SpoolError) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Refused { code, .. } => code.exit_code(),
            ClientError::DeadlineExceeded { last, .. } => match last.as_deref() {
                Some(ClientError::Refused { code, .. }) => code.exit_code(),
                _ => exit::UNAVAILABLE,
            },
            _ => exit::SOFTWARE,
        };
        let hint = (code == exit::TEMPFAIL).then(|| ELSEWHERE.to_owned());
        Self::Failed(Failure {
            error: error.into(),
            hint,
            code,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Duration;

    use batchd_client::ErrorCode;
    use insta::assert_snapshot;

    use super::*;

    /// The exit code, what is said, and the hint.
    fn told(ended: impl Into<Ended>) -> String {
        match ended.into() {
            Ended::Unread => "unread".to_owned(),
            Ended::Differs => "differs".to_owned(),
            Ended::Failed(Failure { error, hint, code }) => {
                let hint = hint.map_or("-", |_| "elsewhere");
                format!("{code} {error:#}; {hint}")
            }
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_cause() {
        let refused = |code| ClientError::Refused {
            code,
            message: "no".to_owned(),
            submission: None,
        };
        let overdue = |last: Option<ClientError>| ClientError::DeadlineExceeded {
            waited: Duration::from_secs(1),
            kept: 0,
            unknown: 0,
            welcomed: true,
            last: last.map(Box::new),
        };
        assert_snapshot!(told(refused(ErrorCode::Internal)), @"70 refused: no; -");
        assert_snapshot!(told(overdue(Some(refused(ErrorCode::NoSpace)))), @"75 no answer within 1s: refused: no; elsewhere");
        assert_snapshot!(told(overdue(None)), @"69 no answer within 1s; -");
        assert_snapshot!(told(daemon_ended(ExitStatus::from_raw(75 << 8))), @"75 the daemon ended with exit status: 75; elsewhere");
        assert_snapshot!(told(daemon_ended(ExitStatus::from_raw(0))), @"70 the daemon ended with exit status: 0; -");
        assert_snapshot!(told(daemon_ended(ExitStatus::from_raw(9))), @"70 the daemon ended with signal: 9 (SIGKILL); -");
        assert_snapshot!(told(unsaid(io::ErrorKind::StorageFull.into())), @"74 write to standard output: no storage space; -");
        assert_snapshot!(told(unsaid(io::ErrorKind::BrokenPipe.into())), @"unread");
    }
}

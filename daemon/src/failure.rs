//! Why the daemon does not run, or stopped: what is said of it, and the exit code.

use std::io::{self, ErrorKind};

use batchd_core::error::is_no_space;
use batchd_core::spool::SpoolError;
use batchd_protocol::exit;

use crate::config::ConfigErrors;

/// Why the daemon does not run, or stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) error: anyhow::Error,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The exit code.
    pub(crate) code: u8,
}

/// Something stands where the configuration wants something else, and only a person can tell what to do with it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InTheWay(pub(crate) String);

impl Failure {
    /// What is on the medium is not known any more.
    pub(crate) fn broken(what: String) -> Self {
        Self {
            error: anyhow::anyhow!(what).context("stopped: what is on the medium is not known"),
            hint: Some(
                "start it again: that recovers every acknowledged item; this log or the kernel's says what happened"
                    .to_owned(),
            ),
            code: exit::IOERR,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<SpoolError>() {
            Ok(error) => error.into(),
            Err(error) => Self::of_system(error),
        }
    }
}

impl Failure {
    /// By what the system says.
    fn of_system(error: anyhow::Error) -> Self {
        let said = |is_it: fn(&io::Error) -> bool| {
            let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
            causes.any(is_it)
        };
        let (hint, code) = if error.chain().any(|cause| cause.is::<InTheWay>()) {
            (None, exit::CONFIG)
        } else if said(|cause| cause.kind() == ErrorKind::PermissionDenied) {
            let hint = format!(
                "user {} may not do that: give it the path (chown), or run batchd as its owner, or configure another",
                crate::effective_uid()
            );
            (Some(hint), exit::NOPERM)
        } else if said(|cause| cause.kind() == ErrorKind::ReadOnlyFilesystem) {
            // Trying again later may help, as it may below.
            let hint = "make that file system writable, or configure a path on another one; \
                under systemd, add ReadWritePaths= for it to the service";
            (Some(hint.to_owned()), exit::TEMPFAIL)
        } else if said(is_no_space) {
            let hint = "make room on that file system: a start must be able to make directories and copies of open \
                batches";
            (Some(hint.to_owned()), exit::TEMPFAIL)
        } else {
            (None, exit::IOERR)
        };
        Self { error, hint, code }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self {
            error: anyhow::anyhow!("{errors}"),
            hint: None,
            code: exit::CONFIG,
        }
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Locked { .. } => Self {
                error: error.into(),
                hint: Some(
                    "stop that process, or give this daemon a [spool] path of its own".to_owned(),
                ),
                code: exit::TEMPFAIL,
            },
            SpoolError::Newer { .. } => Self {
                error: error.into(),
                hint: None,
                code: exit::CONFIG,
            },
            other => Self::of_system(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use insta::assert_snapshot;

    use super::*;

    /// The exit code, and the hint.
    fn of(kind: ErrorKind) -> String {
        let error: io::Result<()> = Err(kind.into());
        let failure = Failure::from(error.context("make /s").expect_err("an error"));
        let hint = failure.hint.unwrap_or_else(|| "-".to_owned());
        let user = format!("user {} ", crate::effective_uid());
        format!("{} {}", failure.code, hint.replace(&user, "user N "))
    }

    #[test]
    fn what_can_be_done_about_it() {
        assert_snapshot!(of(ErrorKind::PermissionDenied), @"77 user N may not do that: give it the path (chown), or run batchd as its owner, or configure another");
        assert_snapshot!(of(ErrorKind::ReadOnlyFilesystem), @"75 make that file system writable, or configure a path on another one; under systemd, add ReadWritePaths= for it to the service");
        assert_snapshot!(of(ErrorKind::StorageFull), @"75 make room on that file system: a start must be able to make directories and copies of open batches");
        assert_snapshot!(of(ErrorKind::QuotaExceeded), @"75 make room on that file system: a start must be able to make directories and copies of open batches");
        assert_snapshot!(of(ErrorKind::Other), @"74 -");
    }
}

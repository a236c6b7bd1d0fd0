//! Why a spool is not read.

use std::fmt;
use std::io;
use std::path::PathBuf;

use batchd_client::{BatchId, QueueName};
use batchd_core::error::FsError;
use batchd_core::spool::{Holder, SpoolError};
use batchd_protocol::{exit, shell_word};

/// Why a spool is not read.
#[derive(Debug)]
pub(crate) enum OfflineError {
    /// It cannot be opened.
    Spool(SpoolError),
    /// Something in it cannot be read.
    Fs(FsError),
    /// That spool has no such queue.
    NoSuchQueue {
        /// The spool.
        spool: PathBuf,
        /// What was asked for.
        queue: QueueName,
        /// What there is.
        known: Vec<QueueName>,
    },
    /// That spool has no such batch.
    NoSuchBatch(PathBuf, BatchId),
}

impl From<SpoolError> for OfflineError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Fs(error) => Self::Fs(error),
            error => Self::Spool(error),
        }
    }
}

impl From<FsError> for OfflineError {
    fn from(error: FsError) -> Self {
        Self::Fs(error)
    }
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spool(error) => error.fmt(f),
            Self::Fs(error) => write!(f, "cannot {error}"),
            Self::NoSuchQueue { queue, .. } => write!(f, "no queue '{queue}' in the spool"),
            Self::NoSuchBatch(_, id) => write!(f, "no batch {id} in the spool"),
        }
    }
}

impl std::error::Error for OfflineError {}

impl OfflineError {
    /// The exit code of a command that fails with it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Spool(SpoolError::Locked { .. }) => exit::TEMPFAIL,
            Self::Spool(SpoolError::Newer { .. }) => exit::CONFIG,
            Self::Spool(_) | Self::NoSuchQueue { .. } | Self::NoSuchBatch(..) => exit::NOINPUT,
            Self::Fs(error) if is_denied(error) => exit::NOPERM,
            Self::Fs(_) => exit::IOERR,
        }
    }

    /// What may help.
    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Spool(SpoolError::Locked { holder, .. }) => hint_of_holder(holder),
            Self::Spool(SpoolError::NotASpool { .. }) => {
                "'batchd check-config' shows the path of the spool, under [spool]"
            }
            Self::Spool(SpoolError::Newer { .. }) => {
                "nothing was read: use the batchctl that came with the batchd that wrote it"
            }
            Self::Fs(error) if is_denied(error) => {
                "a spool is its owner's alone: run this as the user of the daemon, or as root"
            }
            Self::NoSuchQueue { spool, .. } => {
                let spool = shell_word(spool);
                return Some(format!("'batchctl ls --spool {spool}' lists what there is"));
            }
            Self::NoSuchBatch(spool, _) => {
                let spool = shell_word(spool);
                return Some(format!(
                    "'batchctl ls --spool {spool}' lists the batches; one that was delivered is gone"
                ));
            }
            Self::Fs(error) if !error.is_no_file() => {
                "the disk may be failing, of which the system's log says more; \
                 'batchctl verify --spool DIR' reads what it can"
            }
            Self::Spool(_) | Self::Fs(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// Only a daemon can be asked what is in its spool.
fn hint_of_holder(holder: &Holder) -> &'static str {
    match holder {
        Holder::Writer(said) if said.starts_with("batchd pipe") => {
            "wait until that 'batchd pipe' has ended"
        }
        Holder::Writer(said) if said.is_empty() || said.starts_with("batchd") => {
            "a daemon runs: leave --spool away and ask it, or stop it first"
        }
        Holder::Writer(_) => "the program that has it batches for itself: stop it first",
        Holder::Readers => "wait until that has ended",
    }
}

fn is_denied(error: &FsError) -> bool {
    error.source.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn what_the_system_refuses_has_an_exit_code_and_a_hint() {
        let told = [Errno::IO.into(), io::ErrorKind::PermissionDenied.into()].map(|source| {
            let error = OfflineError::from(FsError {
                operation: "read",
                path: "/spool/queues".into(),
                source,
            });
            let hint = error.hint().unwrap_or_default();
            format!("{error}\n{} {hint}\n", error.exit_code())
        });
        insta::assert_snapshot!(told.concat(), @"
        cannot read /spool/queues: Input/output error (os error 5)
        74 the disk may be failing, of which the system's log says more; 'batchctl verify --spool DIR' reads what it can
        cannot read /spool/queues: permission denied
        77 a spool is its owner's alone: run this as the user of the daemon, or as root
        ");
    }

    #[test]
    fn who_has_it_is_asked_or_waited_for() {
        let writer = |said: &str| Holder::Writer(said.to_owned());
        let told = [
            writer("batchd, pid 42"),
            writer("batchd pipe, pid 42"),
            writer("a program that batches, pid 42"),
            writer(""),
            Holder::Readers,
        ];
        let told = told.map(|holder| {
            let path = "/spool".into();
            let error = OfflineError::from(SpoolError::Locked { path, holder });
            format!(
                "{} {}\n",
                error.exit_code(),
                error.hint().unwrap_or_default()
            )
        });
        insta::assert_snapshot!(told.concat(), @"
        75 a daemon runs: leave --spool away and ask it, or stop it first
        75 wait until that 'batchd pipe' has ended
        75 the program that has it batches for itself: stop it first
        75 a daemon runs: leave --spool away and ask it, or stop it first
        75 wait until that has ended
        ");
    }

    #[test]
    fn a_path_in_a_command_is_one_word() {
        let spool = || PathBuf::from("/my spool");
        let queue = QueueName::new("logs").expect("a name");
        let id = BatchId::from_bytes([0; 16]);
        let told = [
            OfflineError::NoSuchQueue {
                spool: spool(),
                queue,
                known: Vec::new(),
            },
            OfflineError::NoSuchBatch(spool(), id),
        ];
        let told = told.map(|error| format!("{}\n", error.hint().unwrap_or_default()));
        insta::assert_snapshot!(told.concat(), @"
        'batchctl ls --spool '/my spool'' lists what there is
        'batchctl ls --spool '/my spool'' lists the batches; one that was delivered is gone
        ");
    }
}

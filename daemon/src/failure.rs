//! Why the daemon does not run, or stopped: what is said of it, and the exit code.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use batchd_core::error::{FsError, is_no_space};
use batchd_core::spool::{Holder, SpoolError};
use batchd_protocol::{exit, shell_word};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

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

/// A failure of which is known where it happens what only a person can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Advised {
    /// What happened.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) hint: String,
    /// The exit code.
    pub(crate) code: u8,
}

/// What the configuration says that a failure is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// The path of the spool.
    Spool(&'a Path),
    /// The same, of a pipe.
    PipeSpool(&'a Path),
    /// The path of a socket.
    Socket(&'a Path),
}

impl Place<'_> {
    /// The key that names another place.
    fn key(self) -> &'static str {
        match self {
            Self::Spool(_) => "`path` in [spool]",
            Self::PipeSpool(_) => "--spool",
            Self::Socket(_) => "`path` in [[listen]]",
        }
    }

    /// What to do where this user may not make what belongs there. Read by somebody who will paste it: nothing of
    /// somebody else's changes hands by it. `denied` is what the error names.
    fn hint_of_denied(self, uid: u32, denied: Option<&Path>) -> String {
        let key = self.key();
        let (dir, mode) = match self {
            Self::Spool(path) | Self::PipeSpool(path) => (path, "0700"),
            Self::Socket(path) => (path.parent().unwrap_or(path), "0755"),
        };
        let shown = shell_word(dir);
        match (fs::metadata(dir), self) {
            (Err(error), _) if error.kind() == ErrorKind::NotFound => {
                let is_all = dir.parent().is_some_and(Path::is_dir);
                let by_root = format!("'install -d -m {mode} -o {uid} {shown}' does, as root; or");
                let how = if is_all {
                    by_root
                } else {
                    "run batchd as another user, or".to_owned()
                };
                format!("user {uid} may not make it: {how} set another {key}")
            }
            (Err(_), _) => format!(
                "user {uid} may not enter a directory above it: run batchd as another user, or set another {key}"
            ),
            (Ok(_), Self::Socket(_)) => {
                format!("set another {key}, in a directory that user {uid} may write to")
            }
            (Ok(found), _) if found.uid() == uid => {
                let refused = there(denied.unwrap_or(dir));
                format!("{}, or set another {key}", hint_of_own_spool(uid, refused))
            }
            (Ok(_), _) => format!(
                "user {uid} may not write there: run batchd as its owner, whom 'ls -ld {shown}' shows, or set another {key}"
            ),
        }
    }
}

impl Place<'_> {
    /// What to do where somebody has the spool.
    fn hint_of_holder(self, holder: &Holder) -> String {
        let (said, beside) = match (holder, self) {
            (Holder::Readers, _) => {
                return "wait until that has ended, and start again; 'lslocks' shows who locks it"
                    .to_owned();
            }
            (Holder::Writer(_), Self::PipeSpool(_)) => {
                return "wait until that process has ended, or give this one a spool of its own with --spool"
                    .to_owned();
            }
            (Holder::Writer(said), _) => (said, self.key()),
        };
        let pid = said.rsplit_once("pid ").map(|(_, pid)| pid);
        let pid = pid.and_then(|pid| pid.parse().ok());
        let stop = match pid.filter(|pid| is_batchd(*pid)) {
            Some(pid) => format!("'kill {pid}' stops it"),
            None => "stop it ('lslocks' shows who locks it)".to_owned(),
        };
        format!("{stop}; to run another beside it, set another {beside} and in [[listen]]")
    }
}

impl Failure {
    /// A failure to make what the configuration says.
    pub(crate) fn at(place: Place<'_>, error: anyhow::Error) -> Self {
        Self::of(Some(place), error)
    }

    /// A spool that cannot be opened.
    pub(crate) fn of_spool(place: Place<'_>, error: SpoolError) -> Self {
        let (hint, code) = match &error {
            SpoolError::Locked { holder, .. } => (place.hint_of_holder(holder), exit::TEMPFAIL),
            SpoolError::Newer { .. } => {
                let hint = format!(
                    "nothing was changed: start the batchd that wrote it, or a newer one, or set another {}",
                    place.key()
                );
                (hint, exit::CONFIG)
            }
            _ => {
                let error = anyhow::Error::from(error).context("cannot open the spool");
                return Self::at(place, error);
            }
        };
        Self {
            error: error.into(),
            hint: Some(hint),
            code,
        }
    }

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

    fn of(place: Option<Place<'_>>, error: anyhow::Error) -> Self {
        let said = |is_it: fn(&io::Error) -> bool| {
            let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
            causes.any(is_it)
        };
        let other = place.map_or("another path".to_owned(), |place| {
            format!("another {}", place.key())
        });
        let (hint, code) = if let Some(advised) = error.downcast_ref::<Advised>() {
            (Some(advised.hint.clone()), advised.code)
        } else if said(|cause| cause.kind() == ErrorKind::PermissionDenied) {
            (
                place.map(|place| place.hint_of_denied(crate::effective_uid(), path_of(&error))),
                exit::NOPERM,
            )
        } else if said(|cause| cause.kind() == ErrorKind::ReadOnlyFilesystem) {
            // Trying again later may help, as it may below.
            let hint = format!(
                "make that file system writable, or set {other}; under systemd, add ReadWritePaths= for it to \
                 the service"
            );
            (Some(hint), exit::TEMPFAIL)
        } else if said(is_no_space) {
            let hint = "make room on that file system: a start must be able to make directories and copies of open \
                batches";
            (Some(hint.to_owned()), exit::TEMPFAIL)
        } else if said(|cause| Errno::from_io_error(cause) == Some(Errno::MFILE)) {
            (Some(hint_of_descriptors()), exit::IOERR)
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
            hint: errors.hint(),
            code: exit::CONFIG,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::of(None, error)
    }
}

/// What to do where a user may not use something in its own spool, or the spool itself.
fn hint_of_own_spool(uid: u32, refused: &Path) -> String {
    let word = shell_word(refused);
    if fs::symlink_metadata(refused).is_ok_and(|found| found.uid() == uid) {
        format!("user {uid} owns it: 'ls -ld {word}' shows its mode; change that")
    } else {
        // As after a start by root.
        format!(
            "user {uid} owns the spool, but not all that is in it: 'ls -ld {word}' shows whose that is; run batchd as \
             that user"
        )
    }
}

/// What a failure of the file system was about.
fn path_of(error: &anyhow::Error) -> Option<&Path> {
    error.chain().find_map(|cause| {
        let failed = match cause.downcast_ref() {
            Some(SpoolError::Fs(failed)) => Some(failed),
            _ => cause.downcast_ref::<FsError>(),
        };
        Some(failed?.path.as_path())
    })
}

/// What can be looked at of a path: itself, or what is above it.
fn there(path: &Path) -> &Path {
    let mut above = path.ancestors();
    let there = above.find(|path| fs::symlink_metadata(path).is_ok());
    there.unwrap_or(path)
}

/// Whether a process is of this program. It may be another, since whoever noted its pid may have been in another
/// container; there this program is 1, which nobody must be told to stop.
fn is_batchd(pid: u32) -> bool {
    let name = |process: &str| fs::read(format!("/proc/{process}/comm")).ok();
    let own = name("self");
    pid != 1 && own.is_some() && name(&pid.to_string()) == own
}

fn hint_of_descriptors() -> String {
    let granted = getrlimit(Resource::Nofile).current;
    let granted = granted.map_or_else(|| "too few".to_owned(), |count| count.to_string());
    format!(
        "it may have {granted} files open at a time: allow it 1024, with 'ulimit -n 1024' in the shell that starts it, or \
         LimitNOFILE= in the service"
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use anyhow::Context as _;
    use insta::assert_snapshot;

    use super::*;

    /// The exit code, and the hint.
    fn told(failure: &Failure) -> String {
        let hint = failure.hint.as_deref().unwrap_or("-");
        let uid = crate::effective_uid();
        let hint = hint.replace(&format!("user {uid}"), "user N");
        format!(
            "{} {}",
            failure.code,
            hint.replace(&format!("-o {uid} "), "-o N ")
        )
    }

    fn of(place: Option<Place<'_>>, error: impl Into<io::Error>) -> String {
        let error: io::Result<()> = Err(error.into());
        let error = error.context("cannot make /s").expect_err("an error");
        told(&Failure::of(place, error))
    }

    #[test]
    fn what_can_be_done_about_it() {
        let spool = Some(Place::Spool(Path::new("/s")));
        let socket = Some(Place::Socket(Path::new("/run/batchd/s")));
        assert_snapshot!(of(spool, ErrorKind::ReadOnlyFilesystem), @"75 make that file system writable, or set another `path` in [spool]; under systemd, add ReadWritePaths= for it to the service");
        assert_snapshot!(of(socket, ErrorKind::ReadOnlyFilesystem), @"75 make that file system writable, or set another `path` in [[listen]]; under systemd, add ReadWritePaths= for it to the service");
        assert_snapshot!(of(None, ErrorKind::ReadOnlyFilesystem), @"75 make that file system writable, or set another path; under systemd, add ReadWritePaths= for it to the service");
        assert_snapshot!(of(spool, ErrorKind::StorageFull), @"75 make room on that file system: a start must be able to make directories and copies of open batches");
        assert_snapshot!(of(spool, ErrorKind::QuotaExceeded), @"75 make room on that file system: a start must be able to make directories and copies of open batches");
        assert_snapshot!(of(None, ErrorKind::Other), @"74 -");
        let few = of(None, Errno::MFILE);
        assert!(few.starts_with("74 it may have "), "{few}");
        assert!(few.contains("'ulimit -n 1024'"), "{few}");
    }

    #[test]
    fn who_may_not_is_told_what_is_possible() {
        let denied = ErrorKind::PermissionDenied;
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().to_str().expect("UTF-8");
        let at = |place: Place<'_>| of(Some(place), denied).replace(root, "DIR");
        let (there, missing) = (dir.path(), dir.path().join("a/b"));
        let made_at_once = dir.path().join("a");
        assert_snapshot!(at(Place::Spool(&made_at_once)), @"77 user N may not make it: 'install -d -m 0700 -o N DIR/a' does, as root; or set another `path` in [spool]");
        assert_snapshot!(at(Place::Spool(&missing)), @"77 user N may not make it: run batchd as another user, or set another `path` in [spool]");
        assert_snapshot!(at(Place::Socket(&there.join("s"))), @"77 set another `path` in [[listen]], in a directory that user N may write to");
        assert_snapshot!(at(Place::Socket(&missing)), @"77 user N may not make it: 'install -d -m 0755 -o N DIR/a' does, as root; or set another `path` in [[listen]]");
        // What cannot be looked at, whoever looks, is as if it were hidden.
        let hidden = PathBuf::from("x".repeat(300)).join("s");
        assert_snapshot!(at(Place::Socket(&hidden)), @"77 user N may not enter a directory above it: run batchd as another user, or set another `path` in [[listen]]");
        assert_snapshot!(of(None, denied), @"77 -");
    }

    #[test]
    fn who_may_not_use_a_spool_that_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = dir.path().join("a b");
        fs::create_dir(&spool).expect("a spool");
        fs::write(spool.join("LOCK"), "").expect("a file");
        let root = dir.path().to_str().expect("UTF-8");
        let told = |path: &Path| {
            let denied = FsError {
                operation: "lock",
                path: path.to_owned(),
                source: ErrorKind::PermissionDenied.into(),
            };
            told(&Failure::of_spool(Place::Spool(&spool), denied.into())).replace(root, "DIR")
        };
        // Its directory cannot be made somebody else's here: what it is asked for is somebody else.
        let uid = crate::effective_uid() + 1;
        let other = Place::Spool(&spool).hint_of_denied(uid, None);
        let other = other.replace(root, "DIR").replace(&uid.to_string(), "N");
        assert_snapshot!(other, @"user N may not write there: run batchd as its owner, whom 'ls -ld 'DIR/a b'' shows, or set another `path` in [spool]");
        let own = told(&spool.join("queues/default"));
        assert_snapshot!(own, @"77 user N owns it: 'ls -ld 'DIR/a b'' shows its mode; change that, or set another `path` in [spool]");
        assert_snapshot!(told(&spool.join("LOCK")), @"77 user N owns it: 'ls -ld 'DIR/a b/LOCK'' shows its mode; change that, or set another `path` in [spool]");
        let lock = spool.join("LOCK");
        let other = hint_of_own_spool(uid, &lock).replace(root, "DIR");
        assert_snapshot!(other.replace(&uid.to_string(), "N"), @"user N owns the spool, but not all that is in it: 'ls -ld 'DIR/a b/LOCK'' shows whose that is; run batchd as that user");
    }

    #[test]
    fn a_spool_that_somebody_has() {
        let locked = |holder| {
            let path = PathBuf::from("/s");
            told(&Failure::of_spool(
                Place::Spool(Path::new("/s")),
                SpoolError::Locked { path, holder },
            ))
        };
        let written_by = |pid: u32| locked(Holder::Writer(format!("batchd, pid {pid}")));
        let own = std::process::id();
        let told = written_by(own).replace(&format!("kill {own}'"), "kill PID'");
        assert_snapshot!(told, @"75 'kill PID' stops it; to run another beside it, set another `path` in [spool] and in [[listen]]");
        let nobody = locked(Holder::Writer(String::new()));
        assert_snapshot!(nobody, @"75 stop it ('lslocks' shows who locks it); to run another beside it, set another `path` in [spool] and in [[listen]]");
        assert_eq!(written_by(1), nobody);
        let mut other = Command::new("cat");
        let mut other = other.stdin(Stdio::piped()).spawn().expect("cat");
        let told = written_by(other.id());
        drop(other.stdin.take());
        other.wait().expect("its end");
        assert_eq!(told, nobody);
        assert_snapshot!(locked(Holder::Readers), @"75 wait until that has ended, and start again; 'lslocks' shows who locks it");
    }
}

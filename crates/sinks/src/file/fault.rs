//! Failures of the file system in words: what was tried, on what, the system's words, and a way out.

use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;

use crate::sink::SinkError;

/// Says what was tried, and on what, of a failure.
pub(super) trait At<T> {
    /// `doing` reads after "cannot".
    fn at(self, doing: &str, path: &Path) -> Result<T, SinkError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &str, path: &Path) -> Result<T, SinkError> {
        self.map_err(|error| {
            let hint = hint(error.kind(), path)
                .map(|hint| format!(": {hint}"))
                .unwrap_or_default();
            SinkError::retryable(format!("cannot {doing} {}: {error}{hint}", path.display()))
        })
    }
}

fn hint(kind: io::ErrorKind, path: &Path) -> Option<String> {
    match kind {
        io::ErrorKind::PermissionDenied => Some(hint_of_denied(path, may_use)),
        io::ErrorKind::ReadOnlyFilesystem => Some(
            "the file system is mounted read-only, for systemd's sandbox perhaps: see ReadWritePaths=, or change `path`"
                .to_owned(),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space there or change `path`".to_owned())
        }
        io::ErrorKind::NotADirectory => {
            let file = path.ancestors().find(|path| path.is_file())?;
            Some(format!(
                "{} is a file: move it away or change `path`",
                file.display()
            ))
        }
        _ => None,
    }
}

/// Says what it is that must be allowed: a file that is there and may not be used, or else a directory, that of a file
/// that may be, and the one that is there where something is to be made.
fn hint_of_denied(path: &Path, may_use: impl Fn(&Path) -> bool) -> String {
    let user = geteuid().as_raw();
    let who = "its owner and mode say who may";
    if path.is_file() && !may_use(path) {
        let file = path.display();
        return format!(
            "user {user} must be able to read and write the file {file} ({who}), or change `path`"
        );
    }
    let there = path.ancestors().find(|path| path.is_dir());
    let directory = there.unwrap_or(path).display();
    format!(
        "user {user} must be able to read, write and enter the directory {directory} ({who}), or change `path`"
    )
}

/// Whether this user may read and write a file.
fn may_use(file: &Path) -> bool {
    let both = Access::READ_OK | Access::WRITE_OK;
    accessat(CWD, file, both, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn known_failures_come_with_a_way_out() {
        let message = |kind: io::ErrorKind| {
            let failed: io::Result<()> = Err(kind.into());
            failed
                .at("write", Path::new("/a/b"))
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(
            message(io::ErrorKind::StorageFull),
            @"cannot write /a/b: no storage space: free some space there or change `path`"
        );
        let user = format!("user {} ", geteuid().as_raw());
        insta::assert_snapshot!(
            message(io::ErrorKind::PermissionDenied).replace(&user, "user N "),
            @"cannot write /a/b: permission denied: user N must be able to read, write and enter the directory / (its owner and mode say who may), or change `path`"
        );
        insta::assert_snapshot!(
            message(io::ErrorKind::TimedOut),
            @"cannot write /a/b: timed out"
        );
    }

    #[test]
    fn what_is_denied_is_a_file_or_a_directory() {
        let root = tempdir().unwrap();
        let file = root.path().join("log");
        std::fs::write(&file, b"").unwrap();
        let told = |path: &Path, may_use: bool| {
            let user = format!("user {} ", geteuid().as_raw());
            let told = hint_of_denied(path, |_| may_use).replace(&user, "user N ");
            told.replace(root.path().to_str().unwrap(), "ROOT")
        };
        insta::assert_snapshot!(
            told(&file, false),
            @"user N must be able to read and write the file ROOT/log (its owner and mode say who may), or change `path`"
        );
        let directory = told(root.path(), false);
        insta::assert_snapshot!(
            directory,
            @"user N must be able to read, write and enter the directory ROOT (its owner and mode say who may), or change `path`"
        );
        assert_eq!(told(&file, true), directory, "it may not be replaced");
        assert_eq!(told(&root.path().join("a/b"), false), directory);
    }
}

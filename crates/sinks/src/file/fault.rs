//! Failures of the file system in words: what was tried, on what, the system's words, and a way out.

use std::io;
use std::path::Path;

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
        io::ErrorKind::PermissionDenied => {
            // The one that is there, where it is about one that is to be made.
            let there = path.ancestors().find(|path| path.exists());
            Some(format!(
                "user {} must be able to read, write and enter the directory ('ls -ld {}' shows who may), or change \
                 `path`",
                geteuid().as_raw(),
                there.unwrap_or(path).display()
            ))
        }
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

#[cfg(test)]
mod tests {
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
            @"cannot write /a/b: permission denied: user N must be able to read, write and enter the directory ('ls -ld /' shows who may), or change `path`"
        );
        insta::assert_snapshot!(
            message(io::ErrorKind::TimedOut),
            @"cannot write /a/b: timed out"
        );
    }
}

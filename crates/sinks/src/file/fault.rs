//! Failures of the file system in words: what was tried, on what, the system's words, and a way out.

use std::io;
use std::path::Path;

use crate::sink::SinkError;

/// Says what was tried, and on what, of a failure.
pub(super) trait At<T> {
    /// `doing` reads after "cannot".
    fn at(self, doing: &str, path: &Path) -> Result<T, SinkError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &str, path: &Path) -> Result<T, SinkError> {
        self.map_err(|error| {
            let hint = hint(error.kind())
                .map(|hint| format!(": {hint}"))
                .unwrap_or_default();
            SinkError::retryable(format!("cannot {doing} {}: {error}{hint}", path.display()))
        })
    }
}

fn hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::PermissionDenied => {
            Some("the daemon's user needs to read, write and enter the directory")
        }
        io::ErrorKind::ReadOnlyFilesystem => Some(
            "the file system is mounted read-only, for systemd's sandbox perhaps: see ReadWritePaths=",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space there or change `path`")
        }
        io::ErrorKind::NotADirectory => {
            Some("something in `path` is a file where a directory is needed")
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
        insta::assert_snapshot!(
            message(io::ErrorKind::PermissionDenied),
            @"cannot write /a/b: permission denied: the daemon's user needs to read, write and enter the directory"
        );
        insta::assert_snapshot!(
            message(io::ErrorKind::TimedOut),
            @"cannot write /a/b: timed out"
        );
    }
}

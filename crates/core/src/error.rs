//! Failures of the file system, with the place they happened at.

use std::io;
use std::path::{Path, PathBuf};

/// An I/O call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}: {source}", path.display())]
pub struct FsError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system answered.
    pub source: io::Error,
}

impl FsError {
    /// Whether the file system, or the quota, is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        is_no_space(&self.source)
    }

    /// Whether the file system is read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.source.kind() == io::ErrorKind::ReadOnlyFilesystem
    }

    /// Whether whatever else is to be written there would fare no better.
    #[must_use]
    pub fn stops_all_writes(&self) -> bool {
        self.is_no_space() || self.is_read_only()
    }

    /// Whether there is no file to be opened, and trying again does not help: nothing is there, or something that
    /// is no regular file.
    #[must_use]
    pub fn is_no_file(&self) -> bool {
        use io::ErrorKind::{InvalidInput, IsADirectory, NotFound};
        matches!(self.source.kind(), NotFound | IsADirectory | InvalidInput)
    }

    /// Whether the file or directory is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Whether an error says that the file system, or the quota, is full.
#[must_use]
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Ends an I/O call with the place it happened at.
pub trait At<T> {
    /// Adds operation and path to an error.
    ///
    /// # Errors
    /// The same, as [`FsError`].
    fn at(self, operation: &'static str, path: &Path) -> Result<T, FsError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, FsError> {
        self.map_err(|source| FsError {
            operation,
            path: path.to_path_buf(),
            source,
        })
    }
}

//! The directory that files are written to, and what is made in it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::fault::At;
use crate::sink::SinkError;

/// The mode of files, less what the umask takes.
pub(super) const FILE_MODE: u32 = 0o640;

/// The directory a path names something in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Makes sure that the directory is there. Only the last component is created: a longer path that does not
/// exist is more likely a mistake or a file system that is not mounted.
pub(super) fn ensure(directory: &Path) -> Result<(), SinkError> {
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(SinkError::retryable(format!(
            "{} is not a directory: move it away or change `path`",
            directory.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(directory),
        Err(error) => Err(error).at("look into", directory),
    }
}

fn create(directory: &Path) -> Result<(), SinkError> {
    match DirBuilder::new().mode(0o755).create(directory) {
        Ok(()) => sync(parent_of(directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(SinkError::retryable(format!(
                "directory {} does not exist, nor does {}: create it or change `path`",
                directory.display(),
                parent_of(directory).display()
            )))
        }
        Err(error) => Err(error).at("create directory", directory),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync(directory: &Path) -> Result<(), SinkError> {
    match File::open(directory).and_then(|opened| opened.sync_all()) {
        // Some file systems (of FUSE, mostly) have no sync of directories, and say so with EINVAL.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced.at("sync directory", directory),
    }
}

/// Makes the directory's own name durable, which an earlier process may have created and not synced. A
/// parent that must not be read is no failure: then somebody else made the directory.
pub(super) fn sync_name_of(directory: &Path) -> Result<(), SinkError> {
    match File::open(parent_of(directory)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        _ => sync(parent_of(directory)),
    }
}

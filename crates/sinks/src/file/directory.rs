//! The directory that files are written to, and what is made in it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

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
    if is_there(directory)? {
        return Ok(());
    }
    match DirBuilder::new().mode(0o755).create(directory) {
        Ok(()) => sync(parent_of(directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(nowhere(directory)),
        Err(error) => Err(error).at("create directory", directory),
    }
}

/// Looks whether files can be made in the directory, or it can be made itself. Changes nothing.
pub(super) fn look(directory: &Path) -> Result<(), SinkError> {
    if is_there(directory)? {
        return may_write(directory).at("create a file in", directory);
    }
    match may_write(parent_of(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(nowhere(directory)),
        may => may.at("create directory", directory),
    }
}

/// Whether this user may write to what is there, and to a directory's names. The file system is asked, not tried.
pub(super) fn may_write(path: &Path) -> io::Result<()> {
    let mut access = Access::WRITE_OK;
    if fs::metadata(path)?.is_dir() {
        access |= Access::READ_OK | Access::EXEC_OK;
    }
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}

fn is_there(directory: &Path) -> Result<bool, SinkError> {
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(SinkError::retryable(format!(
            "{} is not a directory: move it away or change `path`",
            directory.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("look into", directory),
    }
}

/// There is nothing that the directory could be made in. No command is given that makes it: pasted before the disk is
/// mounted, it would have the batches written below the mount point.
fn nowhere(directory: &Path) -> SinkError {
    let parent = parent_of(directory).display();
    SinkError::retryable(format!(
        "directory {} does not exist, nor does {parent}: mount it if it is a disk of its own, or make it, or change `path`",
        directory.display()
    ))
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::tempdir;

    use super::super::FileSinkConfig;
    use super::super::testing::{deliver_afresh, delivery, names, sink};
    use crate::sink::Sink as _;

    #[test]
    fn a_look_says_what_a_delivery_would_fail_with_and_changes_nothing() {
        let root = tempdir().unwrap();
        std::fs::create_dir(root.path().join("there")).unwrap();
        std::fs::write(root.path().join("file"), b"").unwrap();
        let items: &[&[u8]] = &[b"one"];
        let look = |path: PathBuf, append| {
            let config = FileSinkConfig {
                append,
                ..FileSinkConfig::new(path)
            };
            let looked = sink(config.clone()).look();
            assert_eq!(names(root.path()), ["file", "there"]);
            let delivered = deliver_afresh(&config, &delivery(1, items), items);
            let said = |outcome: Result<(), crate::SinkError>| outcome.err().map(|e| e.to_string());
            let looked = said(looked);
            assert_eq!(looked, said(delivered));
            std::fs::remove_dir_all(root.path().join("made")).ok();
            looked.is_none()
        };
        for (path, append, works) in [
            ("there", false, true),
            ("made", false, true),
            ("file", false, false),
            ("file/a", false, false),
            ("a/b", false, false),
            ("there/log", true, true),
            ("made/log", true, true),
            ("there", true, false),
            ("file/log", true, false),
            ("a/b/log", true, false),
        ] {
            assert_eq!(
                look(root.path().join(path), append),
                works,
                "{path} {append}"
            );
        }
    }
}

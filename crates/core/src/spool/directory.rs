//! The directory of a spool, made so that a power cut does not take it with what is acknowledged in it.

use std::io::ErrorKind;
use std::path::Path;

use crate::env::Fs;
use crate::error::{At, FsError};

/// Makes a directory, mode 0700, and what is missing above it: one level at a time from the top, and the name of each
/// is synced before anything is made below it. The name of one that was there is synced as well, since whoever made
/// it may have died before; not where its parent cannot be read, which is then somebody else's. The path is absolute.
///
/// # Errors
/// [`FsError`] where one cannot be made or its name not be synced; of the kind [`ErrorKind::AlreadyExists`] where
/// something else has that name.
pub fn make_durable(fs: &dyn Fs, path: &Path) -> Result<(), FsError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let was_there = is_there(fs, path);
    if !was_there {
        make_durable(fs, parent)?;
        fs.mkdir(path).at("create", path)?;
    }
    match fs.sync_dir(parent) {
        Err(error) if was_there && error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced.at("sync", parent),
    }
}

/// Whether there is a directory, be it one that may not be read.
fn is_there(fs: &dyn Fs, path: &Path) -> bool {
    match fs.read_dir(path) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied && fs.space(path).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::env::sim::{Fault, OpKind, SimClock, SimDisk};

    const EACCES: i32 = 13;

    /// Makes a directory; says which calls changed anything.
    fn made(disk: &SimDisk, path: &str) -> String {
        let before = disk.op_log().lines().count();
        let result = make_durable(&*disk.env(&SimClock::default(), 1).fs, path.as_ref());
        let log = disk.op_log();
        let calls = log.lines().skip(before);
        let mut said: Vec<String> = calls.map(|call| call.trim_end().to_owned()).collect();
        said.extend(result.err().map(|error| error.to_string()));
        said.join("\n")
    }

    #[test]
    fn each_level_is_durable_before_the_next() {
        assert_snapshot!(made(&SimDisk::new(), "/a/b/spool"), @r"
        mkdir a
        sync_dir
        mkdir a/b
        sync_dir a
        mkdir a/b/spool
        sync_dir a/b
        ");
    }

    /// The last start may have died between a `mkdir` and its sync.
    #[test]
    fn the_lowest_that_was_there_is_synced_again() {
        let disk = SimDisk::new();
        disk.mkdir_durable("/a").expect("made");
        assert_snapshot!(made(&disk, "/a/spool"), @r"
        sync_dir
        mkdir a/spool
        sync_dir a
        ");
        assert_snapshot!(made(&disk, "/a/spool"), @"sync_dir a");
    }

    #[test]
    fn a_parent_that_cannot_be_read_is_no_hindrance_where_nothing_is_made() {
        let disk = SimDisk::new();
        disk.mkdir_durable("/a").expect("made");
        disk.fail_nth(OpKind::SyncDir, 1, Fault::from_then_on(EACCES).only_in("a"));
        let said = made(&disk, "/a/spool");
        assert!(said.contains("sync /a:"), "its name is not durable: {said}");
        let said = made(&disk, "/a/spool");
        assert!(!said.contains("sync /a:"), "it is there: {said}");
    }
}

//! A commit group: the appends of a queue that share one sync, and the I/O for them.
//!
//! A group is planned under the queue's lock and run without it. One group of a queue is under way at a time, so
//! the next one is not written before this one's sync returned.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use batchd_frame::SealReason;
use batchd_frame::planted::{Planted, is_planted};

use super::pending::{HEADROOM, TakenFrame};
use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::open::OpenBatch;

/// From this many files on, they are synced side by side.
const PARALLEL_SYNC_FILES: usize = 3;
/// So many at a time.
const PARALLEL_SYNC_THREADS: usize = 8;

/// The part of a group that goes to one file.
#[derive(Debug)]
pub(super) struct FileWrite {
    pub lane: usize,
    /// The batch as it will be when the write and, with `sync`, the sync succeeded.
    pub after: OpenBatch,
    /// The file is made by this group, or was made ahead and has no header yet.
    pub start: Start,
    /// That file is there now.
    pub made: bool,
    /// `HEADROOM`, then the frames; nothing where there is only something to sync.
    pub bytes: Vec<u8>,
    /// Where the frames go.
    pub offset: u64,
    /// Whether somebody waits for the sync.
    pub sync: bool,
    /// The frames.
    pub frames: Vec<TakenFrame>,
    /// Why the batch takes nothing more.
    pub close: Option<SealReason>,
}

/// How the batch's file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// It has a header.
    Begun,
    /// It was made ahead; its name is durable.
    MadeAhead,
    /// It is made now.
    New,
}

/// A group under way.
#[derive(Debug)]
pub struct Group {
    pub(super) writes: Vec<FileWrite>,
    pub(super) open_dir: PathBuf,
    /// Submissions that wait for nothing but the sync of what is there.
    pub(super) barriers: Vec<u32>,
}

/// How a group went.
#[derive(Debug)]
pub enum GroupResult {
    /// Written, and synced where somebody waits for it.
    Done,
    /// The file system is full. Every file is as it was before the group, durably.
    NoSpace(FsError),
    /// The file system is read-only. Nothing of the group was written.
    ReadOnly(FsError),
    /// What the files hold is not known. Nothing may be written to them any more.
    Broken(FsError),
}

impl Group {
    /// Writes and syncs. Blocks.
    pub fn run(&mut self, env: &Env) -> GroupResult {
        for index in 0..self.writes.len() {
            let Some(write) = self.writes.get_mut(index) else {
                break;
            };
            if let Err(error) = write.append(env) {
                return self.take_back(index, env, error);
            }
        }
        match self.sync(env) {
            Ok(()) => GroupResult::Done,
            Err(error) => GroupResult::Broken(error),
        }
    }

    fn sync(&self, env: &Env) -> Result<(), FsError> {
        if is_planted(Planted::AckBeforeSync) {
            return Ok(());
        }
        let files: Vec<_> = self
            .writes
            .iter()
            .filter(|write| write.sync)
            .map(|write| (&*write.after.file, write.after.path.as_path()))
            .collect();
        sync_all(&files)?;
        if self
            .writes
            .iter()
            .any(|write| write.sync && !write.after.name_durable)
            && !is_planted(Planted::NoDirectorySync)
        {
            env.fs.sync_dir(&self.open_dir).at("sync", &self.open_dir)?;
        }
        Ok(())
    }

    /// Cuts every file of the group back to where the group began. Only where all of that is durable is "no
    /// space" the whole truth.
    fn take_back(&self, last: usize, env: &Env, error: FsError) -> GroupResult {
        if error.is_read_only() && self.is_untouched(last) {
            return GroupResult::ReadOnly(error);
        }
        if !error.is_no_space() {
            return GroupResult::Broken(error);
        }
        let mut names_gone = false;
        for write in self.writes.iter().take(last + 1) {
            let start = if write.start == Start::Begun {
                write.offset
            } else {
                0
            };
            let path = &write.after.path;
            if write.frames.is_empty() {
                continue;
            }
            if write.start == Start::New {
                match env.fs.unlink(path) {
                    Ok(()) => names_gone = true,
                    Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
                    Err(_) => return GroupResult::Broken(error),
                }
                continue;
            }
            let cut = write
                .after
                .file
                .set_len(start)
                .and_then(|()| write.after.file.sync_data());
            if let Err(cut) = cut {
                tracing::error!(path = %path.display(), error = %cut, "cannot be cut back");
                return GroupResult::Broken(error);
            }
        }
        // What was refused must not come back under a name that the medium remembers, next to its repeat.
        if names_gone && env.fs.sync_dir(&self.open_dir).is_err() {
            return GroupResult::Broken(error);
        }
        GroupResult::NoSpace(error)
    }
}

impl Group {
    /// How many bytes it writes.
    pub(super) fn bytes(&self) -> u64 {
        self.writes
            .iter()
            .map(|write| write.bytes.len() as u64)
            .sum()
    }

    /// Whether nothing was written up to and with this file, whose write failed. What may have been cannot be
    /// taken back on a disk that takes no more calls.
    fn is_untouched(&self, last: usize) -> bool {
        self.writes
            .iter()
            .take(last + 1)
            .enumerate()
            .all(|(index, write)| {
                write.frames.is_empty() || (index == last && write.is_untouched())
            })
    }
}

impl FileWrite {
    /// Whether the file is still as it was before the write: only zeros, or nothing, where the frames would be.
    fn is_untouched(&self) -> bool {
        if self.start == Start::New && !self.made {
            return true;
        }
        let offset = match self.start {
            Start::Begun => self.offset,
            Start::MadeAhead | Start::New => 0,
        };
        let mut there = vec![0; self.bytes.len()];
        self.after
            .file
            .read_at(&mut there, offset)
            .is_ok_and(|read| there.iter().take(read).all(|byte| *byte == 0))
    }

    fn append(&mut self, env: &Env) -> Result<(), FsError> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let path = &self.after.path;
        if self.start == Start::New {
            self.after.file = env.fs.create_new(path).at("create", path)?;
            self.made = true;
        }
        let (bytes, offset) = if self.start == Start::Begun {
            (self.bytes.get(HEADROOM..).unwrap_or_default(), self.offset)
        } else {
            let header = self.after.header.encode();
            if let Some(place) = self.bytes.get_mut(..HEADROOM) {
                place.copy_from_slice(&header);
            }
            (self.bytes.as_slice(), 0)
        };
        self.after
            .file
            .write_all_at(bytes, offset)
            .at("write", path)
    }
}

/// Syncs files, side by side where there are several.
fn sync_all(files: &[(&dyn File, &Path)]) -> Result<(), FsError> {
    let sync = |(file, path): &(&dyn File, &Path)| file.sync_data().at("sync", path);
    if files.len() < PARALLEL_SYNC_FILES {
        return files.iter().try_for_each(sync);
    }
    std::thread::scope(|scope| {
        let share = files.len().div_ceil(PARALLEL_SYNC_THREADS);
        let workers: Vec<_> = files
            .chunks(share)
            .map(|some| scope.spawn(move || some.iter().try_for_each(sync)))
            .collect();
        // All of them are waited for, also behind a failure.
        let results: Vec<_> = workers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        for result in results {
            match result {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

/// Stands for a file that is not made yet.
#[derive(Debug)]
pub(super) struct NoFile;

impl NoFile {
    pub(super) fn shared() -> Arc<dyn File> {
        Arc::new(Self)
    }
}

fn not_made<T>() -> std::io::Result<T> {
    Err(std::io::Error::other("the file is not made yet"))
}

impl File for NoFile {
    fn write_all_at(&self, _: &[u8], _: u64) -> std::io::Result<()> {
        not_made()
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
        not_made()
    }
    fn set_len(&self, _: u64) -> std::io::Result<()> {
        not_made()
    }
    fn len(&self) -> std::io::Result<u64> {
        not_made()
    }
    fn sync_data(&self) -> std::io::Result<()> {
        not_made()
    }
}

//! What the engine asks of the world: a file system, a clock and randomness.
//!
//! The core never touches `std::fs`, the system clock or a random source by itself; it is handed an
//! [`Env`]. `os` is the real one and the only place that names those; `sim` is a disk that loses what was
//! not synced, for tests. Everything here is synchronous and blocks until the kernel has answered.

pub mod os;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The surroundings a spool lives in. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// Wall and boot-time clocks.
    pub clock: Arc<dyn Clock>,
    /// Random bytes, for batch ids and jitter.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without its directory. Names that are not UTF-8 are listed with replacement characters
    /// and can therefore be reported, but not opened.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// What a file system has left, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written by whoever has no claim on the reserve of the superuser.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// How many files may still be made; nothing where the file system does not count them.
    pub free_inodes: Option<u64>,
    /// How many files it can hold; 0 where it does not count them.
    pub total_inodes: u64,
    /// Whether it says of itself that nothing can be written.
    pub read_only: bool,
    /// What may be expected of it.
    pub kind: FsKind,
}

/// What may be expected of a file system, as far as its type tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsKind {
    /// It is gone with the power; with its name.
    Memory(&'static str),
    /// What a sync promises is the affair of another machine; with its name.
    Network(&'static str),
    /// Anything else.
    Other,
}

/// A file system, as far as a spool needs one.
///
/// No call is durable by itself: contents become durable by [`File::sync_data`], names by [`Fs::sync_dir`]
/// on the directory that holds them.
pub trait Fs: Send + Sync {
    /// Creates a file that must not exist yet, mode 0600, open for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where the name is taken; whatever the system answers.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing what has the new name. Atomic, not durable.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must not exist yet.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory, mode 0700; one that exists is success. Parents must exist.
    fn mkdir(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory, in no particular order, without `.` and `..`.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// As [`read_dir`](Self::read_dir), one name at a time, for directories that may hold very many.
    ///
    /// # Errors
    /// Whatever the system answers; any part of the names may then have been shown.
    fn visit_dir(&self, path: &Path, visit: &mut dyn FnMut(DirEntry)) -> io::Result<()> {
        self.read_dir(path)?.into_iter().for_each(visit);
        Ok(())
    }
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// What the file system that holds `path` has left.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes an exclusive lock on a file, or says at once that another holder has it. The lock lasts as
    /// long as the returned value.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where it is held elsewhere.
    fn try_lock(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Takes a shared lock on an existing file, which is opened for reading only; or says at once that somebody has
    /// it exclusively. Any number may have it shared. The lock lasts as long as the returned value.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where it is held exclusively elsewhere; [`io::ErrorKind::NotFound`] where there
    /// is no such file: none is made.
    fn try_lock_shared(&self, path: &Path) -> io::Result<Arc<dyn File>>;
}

/// An open file. Positions are explicit; there is no cursor.
#[expect(
    clippy::len_without_is_empty,
    reason = "nothing asks whether a file is empty"
)]
pub trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`, in one call where the system takes it in one, retrying what is
    /// interrupted or short.
    ///
    /// # Errors
    /// Whatever the system answers; any prefix may then have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `buf.len()` bytes at `offset`; short only at the end of the file.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Makes the contents durable (`fdatasync`): data, and the length where it changed.
    ///
    /// # Errors
    /// After an error nothing may be assumed of what was written since the last success, and the file must
    /// not be synced again: the kernel may have marked the lost pages clean.
    fn sync_data(&self) -> io::Result<()>;
}

/// Two clocks.
pub trait Clock: Send + Sync {
    /// Wall clock, microseconds since 1970. May jump.
    fn wall_micros(&self) -> u64;
    /// Time since boot, suspend included. Never jumps; means nothing across restarts.
    fn boot(&self) -> Duration;
}

/// Random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `buf`.
    fn fill(&self, buf: &mut [u8]);
}

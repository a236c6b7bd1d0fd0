//! Every name in the spool is built and parsed here.
//!
//! ```text
//! <spool>/LOCK  FORMAT  ballast  probe.tmp  quarantine/  index/
//! <spool>/queues/<queue>/ledger  ledger.1  open/  ready/  dead/
//! <spool>/queues/<queue>/ready/<id>.progress
//! ```
//! The names of batches are with [`OpenName`] and [`ReadyName`]. Beside any file `*.tmp` is one that is being written
//! and takes its place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use batchd_frame::{BatchId, QueueName};

use crate::policy::Load;

/// Suffix of batch files.
const BATCH_SUFFIX: &str = ".batch";
/// Suffix of a file that is being written and will be renamed.
const TEMPORARY_SUFFIX: &str = ".tmp";
/// Suffix of the record of a batch that is delivered in parts.
const PROGRESS_SUFFIX: &str = ".progress";

/// Places in a spool.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Of the spool in this directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The spool's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The file that is locked.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }
    /// The file that says which format the spool has.
    #[must_use]
    pub fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }
    /// Damaged files.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
    /// Blocks that are given up when the disk is full, so that what has to be written still fits.
    #[must_use]
    pub fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }
    /// A file that is written and removed to find out whether that can be done.
    #[must_use]
    pub fn probe(&self) -> PathBuf {
        self.root.join("probe.tmp")
    }
    /// The index, which is derived from all else and may be removed at any time.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }
    /// The store in the index; each that is made anew has another number.
    #[must_use]
    pub fn index_store(&self, number: u32) -> PathBuf {
        self.index().join(format!("store-{number}"))
    }
    /// Says that the index was closed cleanly, and over what.
    #[must_use]
    pub fn index_marker(&self) -> PathBuf {
        self.index().join("clean")
    }
    /// The queues' directories.
    #[must_use]
    pub fn queues(&self) -> PathBuf {
        self.root.join("queues")
    }
    /// One queue's places.
    #[must_use]
    pub fn queue(&self, name: &QueueName) -> QueueLayout {
        QueueLayout {
            dir: self.queues().join(name.as_str()),
        }
    }
}

/// Places of a queue.
#[derive(Debug, Clone)]
pub struct QueueLayout {
    dir: PathBuf,
}

impl QueueLayout {
    /// The queue's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// Batches being filled, and files made ahead.
    #[must_use]
    pub fn open(&self) -> PathBuf {
        self.dir.join("open")
    }
    /// Sealed batches.
    #[must_use]
    pub fn ready(&self) -> PathBuf {
        self.dir.join("ready")
    }
    /// Batches set aside.
    #[must_use]
    pub fn dead(&self) -> PathBuf {
        self.dir.join("dead")
    }
    /// The directory of batches in that place.
    #[must_use]
    pub fn dir_of(&self, place: Place) -> PathBuf {
        match place {
            Place::Open => self.open(),
            Place::Ready => self.ready(),
            Place::Dead => self.dead(),
        }
    }
    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger")
    }
    /// The ledger before the last rotation.
    #[must_use]
    pub fn ledger_previous(&self) -> PathBuf {
        self.dir.join("ledger.1")
    }
    /// The file of a sealed batch.
    #[must_use]
    pub fn sealed(&self, batch: &ReadyBatch) -> PathBuf {
        let ReadyBatch { name, place } = batch;
        let dir = self.dir_of(*place);
        match place {
            Place::Ready | Place::Dead => dir.join(name.to_string()),
            Place::Open => dir.join(name.open_name().to_string()),
        }
    }
    /// The record of a batch that is delivered in parts.
    #[must_use]
    pub fn progress(&self, id: BatchId) -> PathBuf {
        self.ready().join(format!("{id}{PROGRESS_SUFFIX}"))
    }
}

/// `path` with the suffix of a file that is being written.
#[must_use]
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    name.into()
}

/// Whether a name is that of a file that was being written.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY_SUFFIX)
}

/// The batch a progress record belongs to.
#[must_use]
pub fn parse_progress(name: &str) -> Option<BatchId> {
    name.strip_suffix(PROGRESS_SUFFIX)?.parse().ok()
}

/// A name is not that of a batch file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a batch file")]
pub struct BadFileName;

/// Name of a file in `open/`: `<seq>-<id>.batch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenName {
    /// The batch's number.
    pub seq: u64,
    /// The batch.
    pub id: BatchId,
}

impl fmt::Display for OpenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}-{}{BATCH_SUFFIX}", self.seq, self.id)
    }
}

impl FromStr for OpenName {
    type Err = BadFileName;
    fn from_str(name: &str) -> Result<Self, BadFileName> {
        let (seq, id) = stem(name)?.split_once('-').ok_or(BadFileName)?;
        let parsed = Self {
            seq: number(seq)?,
            id: id.parse().map_err(|_| BadFileName)?,
        };
        canonical(name, parsed)
    }
}

/// Name of a file in `ready/` and `dead/`: `<seq>-<items>-<bytes>-<expiry>-<id>.batch`. It tells what the
/// dispatcher and the limits need, so that a backlog is listed without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadyName {
    /// The batch's number.
    pub seq: u64,
    /// Items in it.
    pub items: u64,
    /// Sum of their lengths.
    pub bytes: u64,
    /// When it expires, unix time in microseconds; 0 for never.
    pub expires_at: u64,
    /// The batch.
    pub id: BatchId,
}

/// Where a sealed batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In `ready/`, under its own name.
    Ready,
    /// In `dead/`, under its own name.
    Dead,
    /// Still in `open/`, under the name it had while it was filled: it could not be renamed.
    Open,
}

/// A sealed batch. All that is held of one in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyBatch {
    /// What its name tells.
    pub name: ReadyName,
    /// Where it is.
    pub place: Place,
}

impl ReadyName {
    /// What it holds.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            items: self.items,
            bytes: self.bytes,
        }
    }

    /// Its name while it was filled.
    #[must_use]
    pub fn open_name(&self) -> OpenName {
        OpenName {
            seq: self.seq,
            id: self.id,
        }
    }

    /// What orders batches: the seq, and the id where two have the same.
    #[must_use]
    pub fn key(&self) -> (u64, BatchId) {
        (self.seq, self.id)
    }
}

impl fmt::Display for ReadyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seq,
            items,
            bytes,
            expires_at,
            id,
        } = self;
        write!(
            f,
            "{seq:012}-{items}-{bytes}-{expires_at}-{id}{BATCH_SUFFIX}"
        )
    }
}

impl FromStr for ReadyName {
    type Err = BadFileName;
    fn from_str(name: &str) -> Result<Self, BadFileName> {
        let mut fields = stem(name)?.splitn(5, '-');
        let mut next = || fields.next().ok_or(BadFileName);
        let parsed = Self {
            seq: number(next()?)?,
            items: number(next()?)?,
            bytes: number(next()?)?,
            expires_at: number(next()?)?,
            id: next()?.parse().map_err(|_| BadFileName)?,
        };
        canonical(name, parsed)
    }
}

fn stem(name: &str) -> Result<&str, BadFileName> {
    name.strip_suffix(BATCH_SUFFIX).ok_or(BadFileName)
}

fn number(text: &str) -> Result<u64, BadFileName> {
    text.parse().map_err(|_| BadFileName)
}

/// Two names for one thing would be two files for one batch: only the form that is written is read.
fn canonical<T: fmt::Display>(name: &str, parsed: T) -> Result<T, BadFileName> {
    if parsed.to_string() == name {
        Ok(parsed)
    } else {
        Err(BadFileName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BatchId = BatchId::from_bytes([0xab; 16]);

    #[test]
    fn names_read_back() {
        let open = OpenName { seq: 7, id: ID };
        assert_eq!(
            open.to_string(),
            "000000000007-abababab-abab-abab-abab-abababababab.batch"
        );
        assert_eq!(open.to_string().parse(), Ok(open));
        let ready = ReadyName {
            seq: u64::MAX,
            items: 3,
            bytes: 0,
            expires_at: 99,
            id: ID,
        };
        assert_eq!(ready.to_string().parse(), Ok(ready));
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            ".batch",
            "7-abababab-abab-abab-abab-abababababab.batch",
            "000000000007-ABABABAB-abab-abab-abab-abababababab.batch",
            "000000000007-abababab-abab-abab-abab-abababababab.batch.tmp",
            "+00000000007-abababab-abab-abab-abab-abababababab.batch",
            "000000000007-xyz.batch",
        ] {
            assert_eq!(name.parse::<OpenName>(), Err(BadFileName), "{name}");
            assert_eq!(name.parse::<ReadyName>(), Err(BadFileName), "{name}");
        }
    }
}

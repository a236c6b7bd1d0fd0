//! What each file of a daemon is, by its name.

use std::path::{Path, PathBuf};

use batchd_frame::BatchId;

/// Where the daemon's files are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The spool.
    pub spool: PathBuf,
    /// Where its sink puts one file for each batch.
    pub out: PathBuf,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// In `open/`.
    Open,
    /// In `ready/`.
    Ready,
    /// Or the one before, or the next.
    Ledger,
    /// Of the sink.
    Delivery,
    /// Nothing that is followed.
    None,
}

impl Places {
    /// What the file of a path is.
    pub(super) fn role(&self, path: &Path) -> Role {
        if path.parent() == Some(&*self.out) {
            return Role::Delivery;
        }
        let Ok(below) = path.strip_prefix(self.spool.join("queues")) else {
            return Role::None;
        };
        let mut parts = below.iter().skip(1).filter_map(|part| part.to_str());
        match parts.next() {
            Some("open") => Role::Open,
            Some("ready") => Role::Ready,
            Some("ledger" | "ledger.tmp" | "ledger.1") => Role::Ledger,
            _ => Role::None,
        }
    }

    /// Whether a path is below one of them.
    pub(super) fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.spool) || path.starts_with(&self.out)
    }
}

/// The batch that the name of a file tells of.
pub(super) fn batch_id_in(path: &Path) -> Option<BatchId> {
    const ID_BYTES: usize = 36;
    let name = path.file_name()?.to_str()?;
    (0..name.len()).find_map(|start| name.get(start..start + ID_BYTES)?.parse().ok())
}

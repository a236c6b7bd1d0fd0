//! Bugs planted on purpose, so that the crash tests can be shown to find them.
//!
//! Without the feature `planted-faults` every question here is answered "no" at compile time. With it, a test
//! plants one bug for its thread, and the test build of the daemon one for the process.

/// One bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Planted {
    /// Submissions are acknowledged before they are appended.
    AckBeforeAppend,
    /// Submissions are acknowledged after the append, without the sync.
    AckBeforeSync,
    /// No directory is synced: neither before what is in a new file is acknowledged, nor before delivery.
    NoDirectorySync,
    /// A batch is renamed to `ready/` before its seal was synced.
    SealWithoutSync,
    /// A delivered batch is unlinked before the ledger has its line.
    UnlinkBeforeRecord,
    /// Header checksums leave out the batch id and the offset.
    SaltLeftOut,
    /// A group is written across the border of two batches and acknowledged after a sync of the first.
    GroupSpansBatches,
    /// Recovery takes zeros in the middle of a file for its end.
    ZerosTakenForEnd,
}

impl Planted {
    /// All of them, with the names by which the test build of the daemon plants them.
    pub const ALL: [(&'static str, Self); 8] = [
        ("ack-before-append", Self::AckBeforeAppend),
        ("ack-before-sync", Self::AckBeforeSync),
        ("no-directory-sync", Self::NoDirectorySync),
        ("seal-without-sync", Self::SealWithoutSync),
        ("unlink-before-record", Self::UnlinkBeforeRecord),
        ("salt-left-out", Self::SaltLeftOut),
        ("group-spans-batches", Self::GroupSpansBatches),
        ("zeros-taken-for-end", Self::ZerosTakenForEnd),
    ];
}

#[cfg(feature = "planted-faults")]
mod active {
    use super::Planted;
    use std::cell::Cell;
    use std::sync::OnceLock;

    thread_local! {
        static THREAD: Cell<Option<Planted>> = const { Cell::new(None) };
    }
    static PROCESS: OnceLock<Planted> = OnceLock::new();

    /// Plants a bug for the calling thread, or removes it.
    pub fn plant_for_thread(bug: Option<Planted>) {
        THREAD.set(bug);
    }

    /// Plants a bug for the process, once.
    pub fn plant_for_process(bug: Planted) {
        PROCESS.get_or_init(|| bug);
    }

    /// Whether the bug is planted here.
    #[must_use]
    pub fn is_planted(bug: Planted) -> bool {
        THREAD.get() == Some(bug) || PROCESS.get() == Some(&bug)
    }
}
#[cfg(feature = "planted-faults")]
pub use active::{is_planted, plant_for_process, plant_for_thread};

/// Whether the bug is planted: never, in this build.
#[cfg(not(feature = "planted-faults"))]
#[must_use]
#[inline(always)]
pub const fn is_planted(_bug: Planted) -> bool {
    false
}

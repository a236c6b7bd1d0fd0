//! A disk that loses what was not synced, with a clock and randomness to match: the base of the crash tests.
//!
//! [`SimDisk`] implements [`Fs`](super::Fs) in memory and keeps two states: the **live** one, which programs
//! see, and the **durable** one, which a power cut leaves for certain. What lies between them is a list of
//! pending operations. [`SimDisk::crash_states`] walks what a power cut at this moment may leave; each
//! result is an [`Image`], which can be damaged further and started from with [`Image::to_disk`]. Everything
//! follows from the calls made and the seeds given; nothing here reads a clock or a random source.
//!
//! What makes an operation durable:
//! - contents (`write_all_at`, `set_len`): `sync_data` of that file, through any handle; never a directory sync;
//! - names (`create_new`, `link`, `unlink`, `rename`, `mkdir`): `sync_dir` of the directory that holds the
//!   name; never a sync of the file. A directory's own name belongs to its parent.
//! - a rename inside one directory is one operation. One across two directories is two: the new name appears,
//!   then the old one goes. The second never becomes durable without the first, so the file is at the old
//!   name, at both, or at the new one. Syncing the destination makes the first durable, the source both.
//!
//! What a power cut leaves:
//! - any subset of the pending operations, applied in order; one that no longer makes sense is skipped;
//! - any write torn at the 512-byte sectors of the file: a prefix, a suffix, all but one, or any set of them;
//! - where a file's new length is kept and a sector is not, zeros there, or **stale bytes**: what a
//!   file freed earlier, or the cut-off end of this one, held at the same offset.
//!
//! What fails while running ([`SimDisk::fail_nth`], [`SimDisk::set_capacity`], [`SimDisk::power_cut_after`]):
//! - the n-th call of a kind, once or from then on, with any errno; a write after some of its bytes;
//! - a `sync_data` that leaves clean pages: it fails once, the contents are lost although reads still show
//!   them, and the next sync succeeds ([`SimDisk::evict_clean_pages`] makes reads show the loss too);
//! - a full disk, on which a write takes what still fits and then fails;
//! - a read-only disk ([`SimDisk::set_read_only`]), on which every change fails and syncs succeed;
//! - the power, after any number of calls, until the disk is started again from an image.
//!
//! Harsher than real disks: operations are lost independently of one another, across files, across
//! directories and within one sector; creating and syncing a file never makes its name durable.
//!
//! Left out: sectors torn inside, bits that flip, writes that land elsewhere; a disk that ignores flushes
//! (damage an [`Image`] instead); stale bytes from other offsets; whole pages written back when a part of them
//! is rewritten; room taken by directories and sparse files; symbolic links, permissions, removing
//! directories, or replacing one by a rename; a failed `sync_dir` that loses anything; concurrency inside one call.

mod calls;
mod clock;
mod content;
mod crash;
mod disk;
mod faults;
mod image;
mod pending;
mod state;
mod tear;
mod tree;

#[cfg(test)]
mod tests;

pub use clock::{SimClock, SimEntropy};
pub use crash::{CrashCounts, CrashStates, Limits};
pub use disk::SimDisk;
pub use faults::{EIO, ENOSPC, EROFS, Fault, OpKind};
pub use image::Image;

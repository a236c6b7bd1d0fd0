//! How much room there is for the whole spool, shared by all of its queues.
//!
//! Three things can be short: what the spool may hold (`max_bytes`, of items), what the file system has left
//! (`min_free`, and files that can still be made), and the permission to write at all. Where one is short, new
//! submissions are refused and delivery goes on. The file system is asked when submissions come in and the last
//! answer is old, or may be used up; who is idle does not ask.
//!
//! The **ballast** is a file of real blocks that is removed when something that must be written finds no room: a
//! seal, a verdict, a line of the ledger. While it is gone nothing new is taken, which would use up the room it
//! left; it is made again when there is room to spare. Nothing rests on it, so that nothing about it is a failure.

mod account;
mod ballast;
mod limits;

pub use account::{LOOK_INTERVAL, SpoolSpace};
pub use limits::{MinFree, SPOOL_BYTES_MAX, Shortage, SpaceLimits, SpaceView};

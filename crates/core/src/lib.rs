//! The engine of batchd: the spool on disk, queues and their commit, flush policy, recovery.
//!
//! Synchronous and self-contained: no sockets, no async runtime, no environment variables, no system clock
//! and no file system of its own. All of that comes in through [`env::Env`], so that the same code runs on a
//! disk that loses what was not synced. `ARCHITECTURE.md` is the map.

pub mod batcher;
pub mod env;
pub mod error;
mod ids;
pub mod policy;
pub mod queue;
pub mod spool;

pub use batchd_frame as frame;
pub use error::{At, FsError};

//! Batching in a program of one's own: what the daemon does for all programs of a host, as a library.
//!
//! A [`Batcher`] says what becomes of items and of batches; a [`BatchServer`] runs it on a thread of its own, closes
//! batches by the same triggers as the daemon ([`Options`]), and tries again what failed. [`MemoryBatcher`] and
//! [`FileBatcher`] are batchers for the usual cases. Any of them is made durable by a directory: what was acknowledged
//! is then on the medium, and every batch that was not flushed is there again after whatever end. A [`Shelf`] keeps
//! batches until their lifespan is over.
//!
//! The directory is a spool of one queue, written by the engine of the daemon, so that everything said of that in
//! `docs/durability.md` holds, and `batchctl` with `--spool DIR` shows and verifies it.
//!
//! After BatchPlease (Elixir), the micro-batchers of four languages, and a manager of batches that disappear;
//! `docs/ancestors.md` says row by row what was taken over and what is different.
//!
//! # In memory
//!
//! ```
//! use batchd_core::batcher::{Closed, MemoryBatcher, Options};
//!
//! let server = MemoryBatcher::of(|batch: &Closed<Vec<u32>>| {
//!     println!("one call for {} items: {:?}", batch.items(), batch.batch());
//!     Ok(())
//! });
//! let server = server.options(Options::new().max_items(3)).start()?;
//! for item in 1..=4 {
//!     server.add_item(item)?;
//! }
//! server.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A batcher of one's own, durable
//!
//! ```
//! use batchd_core::batcher::{BatchServer, Batcher, CallbackResult, Closed, Codec, Config};
//!
//! /// Adds up.
//! struct Summer;
//!
//! impl Batcher for Summer {
//!     type Item = i64;
//!     type Batch = i64;
//!
//!     fn init(&mut self, _: &Config) -> CallbackResult<i64> {
//!         Ok(0)
//!     }
//!
//!     fn add_item(&mut self, sum: &mut i64, item: &i64) -> CallbackResult {
//!         *sum += item;
//!         Ok(())
//!     }
//!
//!     fn flush(&mut self, sum: &Closed<i64>) -> CallbackResult {
//!         println!("batch {} adds up to {}", sum.id(), sum.batch());
//!         Ok(())
//!     }
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let start = || BatchServer::of(|| Summer).durable(dir, Codec::json()).start();
//! let server = start()?;
//! server.sync_add_item(40)?; // on the medium
//! server.abort(); // as good as a crash
//! drop(server);
//!
//! let server = start()?;
//! assert_eq!(server.state()?.recovered.items_open, 1);
//! server.sync_add_item(2)?;
//! server.sync_flush()?; // adds up to 42
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod callbacks;
mod codec;
mod dir;
mod engine;
mod error;
mod file;
mod mailbox;
mod memory;
mod options;
mod overrides;
mod panics;
mod server;
mod shelf;
mod spooled;
mod status;
mod worker;

pub use crate::env::Env;
pub use crate::policy::{Backoff, Interval, IntervalMode, OnShutdown};
pub use crate::spool::progress::Part;
pub use crate::spool::space::MinFree;
pub use batchd_frame::{BatchId, SealReason};
pub use builder::Builder;
pub use callbacks::{Batcher, CallbackResult, Closed, Counts, Times, View};
pub use codec::{BoxError, Codec};
pub use dir::{DirError, DirLimits};
pub use error::{
    Accepted, AddFailure, FlushError, NotAdded, NotFlushed, NotRunning, Refused, StartError, Step,
    StopError, Trouble,
};
pub use file::{BatchFile, FileBatcher, FileItems, ReadError};
pub use memory::MemoryBatcher;
pub use options::{BadOption, Config, Options, Setting};
pub use server::{BatchServer, Failures};
pub use shelf::{BATCH_BYTES_MAX, Shelf, ShelfError, ShelfOptions};
pub use status::{Recovered, ServerState};

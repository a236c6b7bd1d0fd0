//! A shelf of disappearing batches, for programs that embed the engine: a batch is put on it whole, with a lifespan,
//! and is there for whoever has its id until that is over. Nothing of it is delivered anywhere.
//!
//! [`shelf`] is what a program sees. Behind it the batches are in [`memory`], or [`kept`] on a spool, which is a queue
//! without a sink. [`cleaner`] is a thread that knows only when to go a round.

mod cleaner;
mod error;
mod kept;
mod memory;
#[expect(clippy::module_inception, reason = "the shelf itself")]
mod shelf;

pub use error::ShelfError;
pub use kept::BATCH_BYTES_MAX;
pub use shelf::{Shelf, ShelfOptions};

//! What a server does, without its thread: takes items in, closes batches, and has them flushed.
//!
//! It asks the clock of its surroundings, and nothing here waits. [`state`] is what it knows, and what is due by the
//! clock; `opening` begins batches, also those of an earlier run; `intake` is the way in, `closing` when a batch is
//! complete, `delivery` the way out.

mod asker;
mod closing;
mod delivery;
mod intake;
mod opening;
pub(super) mod state;

pub(super) use asker::{Adding, Asker};
pub(super) use state::{End, Engine};

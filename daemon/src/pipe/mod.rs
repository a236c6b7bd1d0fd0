//! `batchd pipe`: the engine in one process, with standard input as its source.
//!
//! Input is read ahead by a thread of its own. One submission at a time is in flight, so that what the spool has of an
//! input is always a beginning of it; it holds all that had come when the one before it was durable. A submission of
//! a file is numbered by where it ends in the file: that number, in the spool with the items themselves, is all that
//! the next start needs to go on behind them.

mod args;
mod control;
mod end;
mod input;
mod intake;
mod progress;
mod run;
mod source;

pub(crate) use args::PipeArgs;
pub(crate) use progress::Progress;
pub(crate) use run::{Ended, run};

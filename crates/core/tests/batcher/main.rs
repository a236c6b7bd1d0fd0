//! The batcher library: batchers on a thread of their own, in memory and on a spool.

mod aborting;
mod callbacks;
mod crashes;
mod durable;
mod failing;
mod file;
mod functions;
mod hardship;
mod server;
mod support;
mod triggers;

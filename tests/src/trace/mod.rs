//! Reads what strace recorded of a daemon, and checks the order of its calls.
//!
//! A test that kills the daemon says nothing about syncs: the page cache survives it. This looks at the calls
//! themselves. [`log`] turns the recording into calls that were entered and calls that returned, [`disk`] keeps
//! what is then known to be on the medium, [`batch`] and [`wire`] decode what was written to batch files and
//! ledgers and what went over the sockets, and [`check`] holds each answer, delivery and removal against it
//! ([`acks`], [`deliveries`]). [`report`] has the rules.
//!
//! A call counts as done when it returned. What tells somebody something (an answer, a rename, an unlink)
//! counts from when it was entered: from then on it may have happened.

pub mod acks;
pub mod batch;
pub mod calls;
pub mod check;
pub mod deliveries;
pub mod disk;
pub mod log;
pub mod places;
pub mod record;
pub mod report;
pub mod wire;

#[cfg(test)]
mod script;
#[cfg(test)]
mod tests;

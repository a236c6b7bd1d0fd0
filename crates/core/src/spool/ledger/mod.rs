//! A queue's record of what became of each batch: one JSON line each, synced before the batch's file goes.
//!
//! Lines are only appended, and only to a file that this process wrote: at start the good lines are copied. What does
//! not parse at the end was torn by a crash, and is left out. Where good lines follow it, or the file cannot be read to
//! its end, it is damaged: it goes to quarantine as the copy takes its place. Where there is no room for the copy, the
//! file is appended to as it was found: a start must not need room, and what a lost line costs is a delivery that
//! is made again under its old id.
//!
//! `line` is what is said of a batch, `read` how lines are found again, `ledger` the file that is appended to.

#[expect(clippy::module_inception, reason = "the ledger itself")]
mod ledger;
mod line;
mod read;

pub use ledger::{Ledger, LedgerError, LedgerPrint};
pub use line::{End, LedgerLine, Outcome};
pub(super) use read::each_line;

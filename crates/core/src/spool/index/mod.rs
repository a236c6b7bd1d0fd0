//! The index: where each sealed batch is, and what became of those that ended; for look-ups by id and by time.
//!
//! It is derived. The names in `ready/` and `dead/` and the ledgers are the truth, and [`Index::rebuild`] makes the
//! index from them alone. So it may be deleted, cut, overwritten or locked by somebody at any time: what fails
//! or disagrees is removed and made anew, and meanwhile [`ledgers`] answers from the files. Nothing is synced on a
//! path that anybody waits for, and nothing here is called on such a path.
//!
//! The store underneath is `store`, the one module that names sled; another could take its place by changing
//! that module alone. sled does its own I/O, so there is no index on the simulated disk.

mod contents;
#[expect(
    clippy::module_inception,
    reason = "the index itself, beside what it is made of"
)]
mod index;
pub mod ledgers;
mod marker;
mod records;
mod store;
#[cfg(test)]
mod tests;

pub use index::{Index, IndexError, Source};
pub use records::{Cursor, Ended, Found, Page, Query, State};

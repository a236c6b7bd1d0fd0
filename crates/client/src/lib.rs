//! Clients of batchd: [`blocking::Client`], and [`asynchronous::Client`] on tokio.
//!
//! A submission that was answered is kept: what its [`Receipt`] says of it is true. One that was not answered
//! is sent again, under the same id and in the same order, over a new connection where the old one broke,
//! until its deadline. No call outlasts its deadline, whatever the daemon does or fails to do.
//!
//! Everything but the I/O is shared: `exchange` is the connection as a state machine that is given bytes and
//! the time and says what to do next; the two clients only obey it.
//!
//! ```no_run
//! use batchd_client::{ItemBuffer, Options, QueueName, Target, blocking};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = blocking::Client::new(Options::new("/run/batchd/batchd.sock"))?;
//! let target = Target::new(QueueName::new("logs")?);
//! for lines in [["one", "two"], ["three", "four"]] {
//!     let submission = client.prepare(&target, &ItemBuffer::from_iter(lines));
//!     client.send(submission)?;
//! }
//! let totals = client.settle()?; // all four are on the medium now
//! assert_eq!(totals.kept.items, 4);
//! # Ok(())
//! # }
//! ```

pub mod asynchronous;
pub mod blocking;
mod client_state;
pub mod error;
mod exchange;
pub mod explicit;
#[cfg(any(test, feature = "fake-daemon"))]
pub mod fake;
pub mod history;
pub mod ids;
pub mod items;
pub mod options;
mod paging;
mod socket;
pub mod submission;
#[cfg(test)]
mod tests;

pub use batchd_frame::split;
pub use batchd_frame::{BatchId, Key, NameError, ProducerId, QueueName, SubmissionId};
pub use batchd_protocol::{
    Ack, BatchInfo, BatchState, ErrorCode, Finding, FindingKind, FlushReport, HistoryCursor,
    HistoryEntry, ItemsPage, Limits, ListCursor, QueueStatus, ServerStatus, SpaceStatus, Tally,
    VerifiedPage,
};

pub use error::{Error, ProtocolError};
pub use explicit::NewBatch;
pub use history::HistoryQuery;
pub use ids::Identity;
pub use items::{ItemBuffer, ItemError, PackLimits, Packer};
pub use options::{Options, RetryDelays, WindowBounds, default_socket_path, user_socket_path};
pub use socket::probe_socket;
pub use submission::{Count, Receipt, Submission, Target, Ticket, Totals};

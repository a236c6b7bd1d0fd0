//! Ingest: dedicated threads, each a small runtime with its connections.
//!
//! A turn reads all that is ready, much from each socket, into the queues' next groups; then the thread leads the
//! commit itself, inline. It blocks in the sync on purpose: there is no hand-off on the way to an
//! acknowledgement, and what arrives meanwhile is the next group.
//!
//! Nothing here waits for a sink, and nothing a client sends costs more memory than its share: a connection that
//! has sent more than is read in a turn, or adds to what waits to be appended when that is too much, waits in its
//! socket.

mod connection;
mod mailbox;
mod order;
mod parking;
mod requests;
mod seldom;
mod thread;

pub(crate) use mailbox::{Letter, Mailboxes, Ticket, describe};
pub(crate) use requests::refusal_code;
pub(crate) use thread::start;

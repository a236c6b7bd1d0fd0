//! batchd's native protocol: what goes over the Unix socket, with its limits and versions.
//!
//! A connection carries messages: a length (u32, little-endian) and that many bytes of bincode, a [`Request`]
//! one way, a [`Response`] the other. The first request is [`Request::Hello`]; the daemon answers with
//! [`Response::Welcome`], which tells its limits. After that requests may be sent without waiting; each
//! carries a number of the client's choosing, and its answer repeats it. Answers come in any order.
//!
//! This crate does no I/O. `docs/protocol.md` describes the bytes for other languages.

pub mod error;
pub mod exit;
pub mod message;
pub mod report;
pub mod shell;
pub mod wire;

pub use error::ErrorCode;
pub use message::{Ack, Create, HELLO_MAGIC, Limits, PROTOCOL_VERSION, Request, Response, Submit};
pub use report::{
    BatchInfo, BatchState, Finding, FindingKind, FlushReport, HistoryCursor, HistoryEntry,
    ItemsPage, ListCursor, QueueStatus, ServerStatus, SpaceStatus, Tally, VerifiedPage,
};
pub use shell::shell_word;
pub use wire::{
    LENGTH_BYTES, MESSAGE_BYTES_MAX, WireError, encode_message, encode_message_into, split_message,
};

//! Ids, frame and item codec of batchd: what a producer needs to build a submission, and what the spool
//! keeps on disk.
//!
//! A leaf: it does no I/O, reads no clock, and allocates only what its caller hands it to decode. Every byte
//! it decodes is untrusted; every failure is a named error. The layouts are described in `docs/format.md`,
//! and a test compares that page with the constants here.

pub mod ack;
pub mod body;
pub mod checksum;
pub mod codec;
pub mod file_header;
pub mod frame_header;
pub mod ids;
pub mod layout;
pub mod planted;
pub mod records;
pub mod split;

pub use ack::Ack;
pub use body::{BodyError, BodyLimits, BodyView, Items, encode_body};
pub use checksum::{Digest, Digester};
pub use file_header::{FILE_HEADER_BYTES, FileHeader, OnExpire};
pub use frame_header::{
    FRAME_ALIGN, FRAME_HEADER_BYTES, FrameFlags, FrameHeader, FrameKind, HeaderError, Place,
};
pub use ids::{BatchId, Key, NameError, ProducerId, QueueName, SubmissionId};
pub use records::{KeptPart, ProducerRecord, Seal, SealReason, Verdict, VerdictOutcome};

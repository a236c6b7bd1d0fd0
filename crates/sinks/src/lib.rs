//! Where batches go: the trait every sink implements, the encoders, and one file per sink.
//!
//! A sink never sees bytes whose checksum failed, and is told the batch's id with every attempt, so that a
//! repeat can change nothing. Sinks block; the daemon calls them where that harms nobody.

pub mod encode;
pub mod file;
pub mod sink;

pub use encode::{Encoder, Encoding, Unencodable};
pub use file::{ConfigError, FileSink, FileSinkConfig, TemplateError};
pub use sink::{Delivery, ErrorClass, ItemSource, Range, Sink, SinkError, SourceError};

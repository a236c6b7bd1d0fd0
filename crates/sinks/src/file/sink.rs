//! The sink itself.

use super::append::Append;
use super::config::{ConfigError, FileSinkConfig, Target};
use super::copy::Format;
use super::per_batch::PerBatch;
use crate::sink::{Delivery, ItemSource, Sink, SinkError};

/// Writes batches to files.
#[derive(Debug)]
pub struct FileSink {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    PerBatch(PerBatch),
    Append(Append),
}

impl FileSink {
    /// Takes a configuration. Nothing on the disk is created until the first delivery.
    ///
    /// # Errors
    /// As [`FileSinkConfig::check`].
    pub fn new(config: FileSinkConfig) -> Result<Self, ConfigError> {
        let format = Format {
            encoding: config.encoding,
            unencodable: config.unencodable,
        };
        let kind = match config.target()? {
            Target::Directory(template) => {
                Kind::PerBatch(PerBatch::new(config.path, template, format))
            }
            Target::File => Kind::Append(Append::new(config.path, format)),
        };
        Ok(Self { kind })
    }
}

impl Sink for FileSink {
    fn deliver(
        &mut self,
        delivery: &Delivery,
        items: &mut dyn ItemSource,
    ) -> Result<(), SinkError> {
        match &mut self.kind {
            Kind::PerBatch(per_batch) => per_batch.deliver(delivery, items),
            Kind::Append(append) => append.deliver(delivery, items),
        }
    }

    fn look(&self) -> Result<(), SinkError> {
        match &self.kind {
            Kind::PerBatch(per_batch) => per_batch.look(),
            Kind::Append(append) => append.look(),
        }
    }
}

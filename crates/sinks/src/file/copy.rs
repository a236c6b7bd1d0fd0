//! The items of a delivery into a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::fault::At;
use crate::encode::{Encoder, Encoding, Unencodable};
use crate::sink::{Delivery, ItemSource, SinkError, SourceError};

const BUFFER_BYTES: usize = 128 * 1024;

/// How items are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) encoding: Encoding,
    pub(super) unencodable: Unencodable,
}

/// Writes all items to where the file stands. Not synced when it returns; on an error the caller takes back
/// what was written.
pub(super) fn copy_items(
    format: Format,
    delivery: &Delivery,
    items: &mut dyn ItemSource,
    file: &File,
    path: &Path,
) -> Result<(), SinkError> {
    let buffered = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut encoder =
        Encoder::begin(buffered, format.encoding, format.unencodable).at("write", path)?;
    while let Some(item) = items.next_item()? {
        encoder.item(item).at("write", path)?;
    }
    // Less than was promised must not pass for the batch: the spool would forget the rest.
    if encoder.items_written() != delivery.items {
        return Err(SourceError(format!(
            "{} items instead of {}",
            encoder.items_written(),
            delivery.items
        ))
        .into());
    }
    encoder
        .finish()
        .and_then(|mut buffered| buffered.flush())
        .at("write", path)
}

/// Whether two readers give the same bytes.
pub(super) fn same_bytes(
    mut one: impl io::BufRead,
    mut other: impl io::BufRead,
) -> io::Result<bool> {
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        if left.is_empty() || right.is_empty() {
            return Ok(left.is_empty() && right.is_empty());
        }
        let bytes = left.len().min(right.len());
        if left.get(..bytes) != right.get(..bytes) {
            return Ok(false);
        }
        one.consume(bytes);
        other.consume(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn bytes_are_compared_whatever_the_buffers() {
        let same = |one: &[u8], other: &[u8]| {
            same_bytes(
                BufReader::with_capacity(3, one),
                BufReader::with_capacity(5, other),
            )
            .unwrap()
        };
        assert!(same(b"", b""));
        assert!(same(b"0123456789", b"0123456789"));
        assert!(!same(b"0123456789", b"012345678"));
        assert!(!same(b"0123456789", b"01234567890"));
        assert!(!same(b"0123456789", b"0123456780"));
        assert!(!same(b"", b"0"));
    }
}

//! bincode, and the only module that names it.
//!
//! Bodies and messages are bincode's standard configuration: little-endian, variable-length integers. The
//! format is fixed by its specification, so that the crate, which is no longer developed, could be replaced
//! here without a change of format.

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

/// Bytes that do not decode to what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("does not decode: {0}")]
pub struct DecodeError(String);

const CONFIG: Configuration = standard();
/// More than any value here is long. What is read into memory of its own declares its length first: past this it is not
/// given that memory. The bytes are those of [`CONFIG`].
const LENGTH_MAX: usize = 1 << 30;
const BOUNDED: Configuration<LittleEndian, Varint, Limit<LENGTH_MAX>> =
    standard().with_limit::<LENGTH_MAX>();

/// Appends the encoding of `value` to `out`. Values of this workspace always encode.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    // Writing to a vector does not fail, and no type here has an encoding that can.
    let written = bincode::serde::encode_into_std_write(value, out, CONFIG);
    debug_assert!(written.is_ok(), "encoding failed: {written:?}");
}

/// The encoding of `value`.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// Decodes a value that owns its parts from all of `bytes`.
///
/// # Errors
/// [`DecodeError`] where the bytes are not such a value, or more than one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let decoded = bincode::serde::decode_from_slice(bytes, BOUNDED);
    whole(decoded.map_err(|e| DecodeError(e.to_string()))?, bytes)
}

/// Decodes a value that borrows from `bytes`, all of it.
///
/// # Errors
/// As [`decode`].
pub fn decode_borrowed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let decoded = bincode::serde::borrow_decode_from_slice(bytes, BOUNDED);
    whole(decoded.map_err(|e| DecodeError(e.to_string()))?, bytes)
}

fn whole<T>((value, used): (T, usize), bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.len().checked_sub(used) {
        Some(0) => Ok(value),
        _ => Err(DecodeError(format!(
            "{} bytes, of which {used} were used",
            bytes.len()
        ))),
    }
}

/// Reads one value off the front of `rest`.
pub(crate) fn take<'a, T: bincode::BorrowDecode<'a, ()>>(
    rest: &mut &'a [u8],
) -> Result<T, DecodeError> {
    let (value, used) =
        bincode::borrow_decode_from_slice(rest, CONFIG).map_err(|e| DecodeError(e.to_string()))?;
    *rest = rest.get(used..).unwrap_or_default();
    Ok(value)
}

/// Appends one value.
pub(crate) fn put<T: bincode::Encode>(value: T, out: &mut Vec<u8>) {
    let written = bincode::encode_into_std_write(value, out, CONFIG);
    debug_assert!(written.is_ok(), "encoding failed: {written:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueueName;

    #[test]
    fn the_encoding_is_bincodes_standard_one() {
        // From bincode's specification: below 251 one byte, then a marker and a little-endian integer.
        assert_eq!(encode(&250u64), [250]);
        assert_eq!(encode(&251u64), [251, 251, 0]);
        assert_eq!(encode(&70_000u64), [252, 0x70, 0x11, 1, 0]);
        assert_eq!(encode(&Some("ab")), [1, 2, b'a', b'b']);
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(decode::<u8>(&[7]), Ok(7));
        assert!(decode::<u8>(&[7, 0]).is_err());
        assert!(decode::<u8>(&[]).is_err());
        assert!(decode_borrowed::<&str>(&[2, 0xff, 0xff]).is_err());
    }

    #[test]
    fn a_huge_declared_length_allocates_nothing() {
        let mut bytes = Vec::new();
        put(u64::MAX / 2, &mut bytes);
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<Vec<String>>(&bytes).is_err());
        assert!(decode_borrowed::<&[u8]>(&bytes).is_err());
        for length in [LENGTH_MAX as u64 + 1, 1 << 45, u64::MAX] {
            let mut bytes = Vec::new();
            put(length, &mut bytes);
            assert!(decode::<String>(&bytes).is_err());
            assert!(decode_borrowed::<String>(&bytes).is_err());
            assert!(decode::<QueueName>(&bytes).is_err());
            assert!(decode_borrowed::<QueueName>(&bytes).is_err());
        }
    }

    #[test]
    fn a_queue_name_reads_back_from_text_and_from_bytes() {
        let cut = [&[4][..], b"log"].concat();
        assert!(decode_borrowed::<QueueName>(&cut).is_err());
        assert_eq!(
            decode_borrowed::<QueueName>(&encode(&"logs")),
            decode::<QueueName>(&encode(&QueueName::new("logs").unwrap())),
        );
        assert!(decode::<QueueName>(&encode(&"../logs")).is_err());
        let json = serde_json::from_str::<QueueName>(r#""l\u006fgs""#).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), r#""logs""#);
        assert!(serde_json::from_str::<QueueName>(r#""../logs""#).is_err());
    }
}

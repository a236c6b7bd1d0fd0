//! Messages on the wire: a length and that many bytes of bincode.

use batchd_frame::codec;
use serde::Serialize;

/// Bytes of the length before a message.
pub const LENGTH_BYTES: usize = 4;
/// The longest message any side may send: a body of the largest submission and what is around it.
pub const MESSAGE_BYTES_MAX: usize = (16 << 20) + (64 << 10);

/// A length that no message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message of {bytes} bytes is longer than the {max} allowed")]
pub struct WireError {
    /// As declared.
    pub bytes: u64,
    /// The limit.
    pub max: u64,
}

/// Appends a message with its length.
pub fn encode_message_into<T: Serialize>(message: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    codec::encode_into(message, out);
    let bytes = u32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
    if let Some(length) = out.get_mut(start..start + LENGTH_BYTES) {
        length.copy_from_slice(&bytes.to_le_bytes());
    }
}

/// A message with its length.
#[must_use]
pub fn encode_message<T: Serialize>(message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message_into(message, &mut out);
    out
}

/// The bytes of one message, and what follows it.
pub type Split<'a> = (&'a [u8], &'a [u8]);

/// Splits the first whole message off `buf`: its bytes and what follows. Nothing while it is incomplete.
///
/// # Errors
/// [`WireError`] where more than `bytes_max` are declared, before they arrive.
pub fn split_message(buf: &[u8], bytes_max: usize) -> Result<Option<Split<'_>>, WireError> {
    let Some((length, rest)) = buf.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let bytes = u32::from_le_bytes(*length) as usize;
    if bytes > bytes_max {
        return Err(WireError {
            bytes: bytes as u64,
            max: bytes_max as u64,
        });
    }
    Ok(rest.split_at_checked(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ack, Request, Response, Submit};

    #[test]
    fn messages_read_back() {
        let submit = Request::Submit(Submit {
            request: 7,
            queue: "logs",
            key: b"k",
            ack: Some(Ack::Written),
            repeat: false,
            end_of_batch: true,
            items: 2,
            body_crc: 9,
            body: &[1, 2, 3],
        });
        let mut bytes = encode_message(&submit);
        bytes.push(99);
        let (message, rest) = split_message(&bytes, 100).unwrap().unwrap();
        assert_eq!(codec::decode_borrowed::<Request<'_>>(message), Ok(submit));
        assert_eq!(rest, [99]);
        assert_eq!(split_message(&bytes[..bytes.len() - 2], 100), Ok(None));
    }

    #[test]
    fn a_cursor_that_declares_a_huge_name_is_refused() {
        for length in [1u64 << 20, 1 << 45, u64::MAX] {
            // List and Verify: request 1, no queue, a cursor.
            for mut bytes in [vec![4, 1, 0, 1, 0xfd], vec![7, 1, 0, 1, 0xfd]] {
                bytes.extend(length.to_le_bytes());
                assert!(codec::decode_borrowed::<Request<'_>>(&bytes).is_err());
            }
        }
    }

    #[test]
    fn an_accepted_submission_costs_few_bytes() {
        let accepted = Response::Accepted {
            request: 200,
            ack: Ack::Synced,
            repeat: false,
        };
        assert_eq!(encode_message(&accepted), [4, 0, 0, 0, 1, 200, 2, 0]);
    }

    #[test]
    fn a_declared_4_gib_is_refused_at_once() {
        assert_eq!(
            split_message(&[0xff; 4], 1000),
            Err(WireError {
                bytes: u64::from(u32::MAX),
                max: 1000
            })
        );
    }
}

//! The 512 bytes at the head of a batch file: who the batch is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checksum::crc32c;
use crate::ids::{BatchId, KEY_BYTES_MAX, Key, QUEUE_NAME_BYTES_MAX, QueueName};
use crate::layout::Field;

/// Length of a file header: one sector, so that it is written whole or not at all on most media.
pub const FILE_HEADER_BYTES: usize = 512;
/// The version this program writes.
pub const FILE_VERSION: u16 = 1;
/// The first bytes of a batch file; the line ending shows a transfer that changed it.
pub const FILE_MAGIC: [u8; 8] = *b"batchd\r\n";

const MAGIC: Field = Field::new(0, 8, "magic", "`batchd\\r\\n`");
const VERSION: Field = Field::new(8, 2, "version", "1");
const LENGTH: Field = Field::new(10, 2, "length", "of this header: 512");
const FLAGS: Field = Field::new(12, 4, "flags", "none defined: 0");
const ID: Field = Field::new(16, 16, "batch id", "UUIDv7");
const SEQ: Field = Field::new(32, 8, "seq", "sequence number in its queue");
const CREATED_AT: Field = Field::new(40, 8, "created at", "unix time in microseconds");
const LIFESPAN: Field = Field::new(48, 8, "lifespan", "in microseconds; 0: none");
const ON_EXPIRE: Field = Field::new(56, 1, "on expire", "0 dead, 1 drop");
const QUEUE_LEN: Field = Field::new(57, 1, "queue length", "bytes of the queue name");
const KEY_LEN: Field = Field::new(58, 1, "key length", "bytes of the key");
const RESERVED: Field = Field::new(59, 5, "reserved", "0");
const QUEUE: Field = Field::new(
    64,
    QUEUE_NAME_BYTES_MAX,
    "queue",
    "its name, filled up with zeros",
);
const KEY: Field = Field::new(128, KEY_BYTES_MAX, "key", "any bytes, filled up with zeros");
const PADDING: Field = Field::new(383, 125, "padding", "0");
const CRC: Field = Field::new(508, 4, "crc32c", "over bytes 0 to 507");

/// The layout, in order.
pub const FILE_HEADER_LAYOUT: [Field; 16] = [
    MAGIC, VERSION, LENGTH, FLAGS, ID, SEQ, CREATED_AT, LIFESPAN, ON_EXPIRE, QUEUE_LEN, KEY_LEN,
    RESERVED, QUEUE, KEY, PADDING, CRC,
];

/// What happens to a batch that outlives its lifespan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExpire {
    /// It is set aside in `dead/`, for a person.
    #[default]
    Dead,
    /// It is removed, on the record.
    Drop,
}

/// Why 512 bytes are no file header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileHeaderError {
    /// Fewer than 512 bytes.
    #[error("file header cut short")]
    Short,
    /// Not the magic number.
    #[error("not a batch file")]
    Magic,
    /// Damaged.
    #[error("file header checksum does not match")]
    Checksum,
    /// A good checksum over a version this program does not know.
    #[error("batch file of version {0}, written by a newer program")]
    Newer(u16),
    /// A good checksum over a queue name or enumeration that is none.
    #[error("file header does not make sense")]
    Invalid,
}

/// A file header, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// The batch.
    pub id: BatchId,
    /// Its number in the queue.
    pub seq: u64,
    /// When it was begun, unix time in microseconds.
    pub created_at: u64,
    /// How long it may live undelivered.
    pub lifespan: Option<Duration>,
    /// What happens after that.
    pub on_expire: OnExpire,
    /// Its queue.
    pub queue: QueueName,
    /// Its key.
    pub key: Key,
}

impl FileHeader {
    /// Encodes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut buf = [0; FILE_HEADER_BYTES];
        let lifespan = self
            .lifespan
            .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX));
        let queue = self.queue.as_str().as_bytes();
        let key = self.key.as_bytes();
        MAGIC.put(&mut buf, &FILE_MAGIC);
        VERSION.put(&mut buf, &FILE_VERSION.to_le_bytes());
        LENGTH.put(&mut buf, &512u16.to_le_bytes());
        ID.put(&mut buf, self.id.as_bytes());
        SEQ.put(&mut buf, &self.seq.to_le_bytes());
        CREATED_AT.put(&mut buf, &self.created_at.to_le_bytes());
        LIFESPAN.put(&mut buf, &lifespan.to_le_bytes());
        ON_EXPIRE.put(&mut buf, &[u8::from(self.on_expire == OnExpire::Drop)]);
        QUEUE_LEN.put(&mut buf, &[short_len(queue)]);
        KEY_LEN.put(&mut buf, &[short_len(key)]);
        put_start(&mut buf, QUEUE, queue);
        put_start(&mut buf, KEY, key);
        let crc = crc32c(buf.get(..CRC.at).unwrap_or_default());
        CRC.put(&mut buf, &crc.to_le_bytes());
        buf
    }

    /// Decodes a header.
    ///
    /// # Errors
    /// [`FileHeaderError`]; [`FileHeaderError::Newer`] only where the checksum is right.
    pub fn decode(bytes: &[u8]) -> Result<Self, FileHeaderError> {
        let buf: &[u8; FILE_HEADER_BYTES] = bytes.first_chunk().ok_or(FileHeaderError::Short)?;
        if MAGIC.get(buf) != FILE_MAGIC {
            return Err(FileHeaderError::Magic);
        }
        if Self::crc_of(buf) != crc32c(buf.get(..CRC.at).unwrap_or_default()) {
            return Err(FileHeaderError::Checksum);
        }
        let version = u16::from_le_bytes(VERSION.get(buf));
        if version != FILE_VERSION {
            return Err(FileHeaderError::Newer(version));
        }
        let lifespan = u64::from_le_bytes(LIFESPAN.get(buf));
        let [on_expire] = ON_EXPIRE.get(buf);
        let [queue_len] = QUEUE_LEN.get(buf);
        let [key_len] = KEY_LEN.get(buf);
        let queue = get_start(buf, QUEUE, queue_len).ok_or(FileHeaderError::Invalid)?;
        let key = get_start(buf, KEY, key_len).ok_or(FileHeaderError::Invalid)?;
        let queue = std::str::from_utf8(queue).map_err(|_| FileHeaderError::Invalid)?;
        Ok(Self {
            id: BatchId::from_bytes(ID.get(buf)),
            seq: u64::from_le_bytes(SEQ.get(buf)),
            created_at: u64::from_le_bytes(CREATED_AT.get(buf)),
            lifespan: (lifespan != 0).then(|| Duration::from_micros(lifespan)),
            on_expire: match on_expire {
                0 => OnExpire::Dead,
                1 => OnExpire::Drop,
                _ => return Err(FileHeaderError::Invalid),
            },
            queue: QueueName::new(queue).map_err(|_| FileHeaderError::Invalid)?,
            key: Key::new(key).map_err(|_| FileHeaderError::Invalid)?,
        })
    }

    /// The checksum an encoded header carries; the first frame repeats it.
    #[must_use]
    pub fn crc_of(encoded: &[u8; FILE_HEADER_BYTES]) -> u32 {
        u32::from_le_bytes(CRC.get(encoded))
    }
}

fn short_len(bytes: &[u8]) -> u8 {
    // Queue names and keys are bounded by their types.
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}

fn put_start(buf: &mut [u8], field: Field, bytes: &[u8]) {
    if let Some(slot) = buf.get_mut(field.at..field.at + bytes.len().min(field.bytes)) {
        slot.copy_from_slice(bytes.get(..slot.len()).unwrap_or_default());
    }
}

fn get_start(buf: &[u8], field: Field, len: u8) -> Option<&[u8]> {
    buf.get(field.range())?.get(..usize::from(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> FileHeader {
        FileHeader {
            id: BatchId::from_bytes([9; 16]),
            seq: 42,
            created_at: 1_800_000_000_000_000,
            lifespan: Some(Duration::from_secs(60)),
            on_expire: OnExpire::Drop,
            queue: QueueName::new("logs").unwrap(),
            key: Key::new(vec![0xff; 255]).unwrap(),
        }
    }

    #[test]
    fn layout_has_no_gap() {
        crate::layout::check_tiles(&FILE_HEADER_LAYOUT, FILE_HEADER_BYTES);
    }

    #[test]
    fn header_reads_back() {
        assert_eq!(FileHeader::decode(&sample().encode()), Ok(sample()));
        let plain = FileHeader {
            lifespan: None,
            on_expire: OnExpire::Dead,
            key: Key::default(),
            ..sample()
        };
        assert_eq!(FileHeader::decode(&plain.encode()), Ok(plain));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = sample().encode();
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn newer_is_not_damaged() {
        let mut bytes = sample().encode();
        bytes[8] = 2;
        let crc = crc32c(&bytes[..508]);
        bytes[508..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes), Err(FileHeaderError::Newer(2)));
    }
}

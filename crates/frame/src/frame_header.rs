//! The 48 bytes before every body.

use crate::checksum::{crc32c, crc32c_append};
use crate::ids::BatchId;
use crate::layout::Field;
use crate::planted::{Planted, is_planted};

/// Length of a frame header.
pub const FRAME_HEADER_BYTES: usize = 48;
/// Frames start at multiples of this; what lies between a body and the next frame is zero.
pub const FRAME_ALIGN: u64 = 8;
/// The version this program writes.
pub const FRAME_VERSION: u8 = 1;
/// The first two bytes of a frame.
pub const FRAME_MAGIC: [u8; 2] = [0xb7, 0xf5];

const MAGIC: Field = Field::new(0, 2, "magic", "`b7 f5`");
const VERSION: Field = Field::new(2, 1, "version", "1");
const KIND: Field = Field::new(3, 1, "kind", "1 items, 2 seal, 3 verdict, 4 mark");
const FLAGS: Field = Field::new(
    4,
    2,
    "flags",
    "bit 0: first part, bit 1: last part, bit 2: end of batch",
);
const PART: Field = Field::new(6, 2, "part", "which part of its submission, from 0");
const BODY_BYTES: Field = Field::new(8, 4, "body bytes", "length of the body, padding excluded");
const ITEMS: Field = Field::new(12, 4, "items", "items in the body");
const BODY_CRC: Field = Field::new(
    16,
    4,
    "body crc32c",
    "over the body; computed by the producer",
);
const PREV_CRC: Field = Field::new(
    20,
    4,
    "previous crc32c",
    "header crc32c of the previous frame; the file header's for the first",
);
const ITEMS_BEFORE: Field = Field::new(
    24,
    4,
    "items before",
    "items before this frame in the batch",
);
const SYNCED_TO: Field = Field::new(
    28,
    4,
    "synced to",
    "how far this file was known synced when this was written; 0 until a sync covered the file header",
);
const RECEIVED_AT: Field = Field::new(32, 8, "received at", "unix time in microseconds");
const FIRST_ITEM: Field = Field::new(
    40,
    4,
    "first item",
    "index in its submission of the first item here",
);
const HEADER_CRC: Field = Field::new(
    44,
    4,
    "header crc32c",
    "over the batch id, the frame's offset in the file (u64) and bytes 0 to 43",
);

/// The layout, in order.
pub const FRAME_HEADER_LAYOUT: [Field; 14] = [
    MAGIC,
    VERSION,
    KIND,
    FLAGS,
    PART,
    BODY_BYTES,
    ITEMS,
    BODY_CRC,
    PREV_CRC,
    ITEMS_BEFORE,
    SYNCED_TO,
    RECEIVED_AT,
    FIRST_ITEM,
    HEADER_CRC,
];

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Items of one submission, or of a part of it.
    Items,
    /// The end of a sealed batch.
    Seal,
    /// What became of the batch, or of a range of it.
    Verdict,
    /// Nothing but `synced_to`: closes an open file at a clean stop.
    Mark,
}

impl FrameKind {
    const fn code(self) -> u8 {
        match self {
            Self::Items => 1,
            Self::Seal => 2,
            Self::Verdict => 3,
            Self::Mark => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Items),
            2 => Some(Self::Seal),
            3 => Some(Self::Verdict),
            4 => Some(Self::Mark),
            _ => None,
        }
    }
}

/// Flags of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FrameFlags(u16);

impl FrameFlags {
    /// None set.
    pub const NONE: Self = Self(0);
    /// The first part of its submission.
    pub const FIRST_PART: Self = Self(1);
    /// The last part of its submission.
    pub const LAST_PART: Self = Self(2);
    /// The batch ends here: it is not filled further.
    pub const END_OF_BATCH: Self = Self(4);

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags, less the other's.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of the other's flags are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Where a header stands: what its checksum covers besides its own bytes, so that a frame from another
/// file, or from another place of the same one, does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The batch.
    pub batch: BatchId,
    /// Offset of the frame in its file.
    pub offset: u64,
}

/// Why 48 bytes are no header of a frame at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer than 48 bytes.
    #[error("cut short")]
    Short,
    /// Not the magic number.
    #[error("no frame starts here")]
    Magic,
    /// Damaged, or a frame of another place.
    #[error("header checksum does not match")]
    Checksum,
    /// A good checksum over a version or kind this program does not know: written by a newer one.
    #[error("frame of version {version}, kind {kind}, written by a newer program")]
    Newer {
        /// Its version.
        version: u8,
        /// Its kind.
        kind: u8,
    },
}

/// A frame header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body is.
    pub kind: FrameKind,
    /// Flags.
    pub flags: FrameFlags,
    /// Which part of its submission, from 0.
    pub part: u16,
    /// Length of the body in bytes.
    pub body_bytes: u32,
    /// Items in the body.
    pub items: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// The previous header's checksum.
    pub prev_crc: u32,
    /// Items before this frame in the batch.
    pub items_before: u32,
    /// How far the file was known synced when this was written.
    pub synced_to: u32,
    /// When its submission was received, unix time in microseconds.
    pub received_at: u64,
    /// Index in its submission of the first item here.
    pub first_item: u32,
}

impl FrameHeader {
    /// Encodes the header for its place. The last four bytes are its checksum, which the next frame repeats.
    #[must_use]
    #[inline]
    pub fn encode(&self, place: Place) -> [u8; FRAME_HEADER_BYTES] {
        let mut buf = [0; FRAME_HEADER_BYTES];
        MAGIC.put(&mut buf, &FRAME_MAGIC);
        VERSION.put(&mut buf, &[FRAME_VERSION]);
        KIND.put(&mut buf, &[self.kind.code()]);
        FLAGS.put(&mut buf, &self.flags.0.to_le_bytes());
        PART.put(&mut buf, &self.part.to_le_bytes());
        BODY_BYTES.put(&mut buf, &self.body_bytes.to_le_bytes());
        ITEMS.put(&mut buf, &self.items.to_le_bytes());
        BODY_CRC.put(&mut buf, &self.body_crc.to_le_bytes());
        PREV_CRC.put(&mut buf, &self.prev_crc.to_le_bytes());
        ITEMS_BEFORE.put(&mut buf, &self.items_before.to_le_bytes());
        SYNCED_TO.put(&mut buf, &self.synced_to.to_le_bytes());
        RECEIVED_AT.put(&mut buf, &self.received_at.to_le_bytes());
        FIRST_ITEM.put(&mut buf, &self.first_item.to_le_bytes());
        let crc = header_crc(&buf, place);
        HEADER_CRC.put(&mut buf, &crc.to_le_bytes());
        buf
    }

    /// Decodes a header and checks that it belongs to this place.
    ///
    /// # Errors
    /// [`HeaderError`], [`HeaderError::Newer`] only for a header whose checksum is right.
    pub fn decode(bytes: &[u8], place: Place) -> Result<Self, HeaderError> {
        let buf: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderError::Short)?;
        if MAGIC.get(buf) != FRAME_MAGIC {
            return Err(HeaderError::Magic);
        }
        if Self::crc_of(buf) != header_crc(buf, place) {
            return Err(HeaderError::Checksum);
        }
        let [version] = VERSION.get(buf);
        let [code] = KIND.get(buf);
        let kind = match FrameKind::from_code(code) {
            Some(kind) if version == FRAME_VERSION => kind,
            _ => {
                return Err(HeaderError::Newer {
                    version,
                    kind: code,
                });
            }
        };
        Ok(Self {
            kind,
            flags: FrameFlags(u16::from_le_bytes(FLAGS.get(buf))),
            part: u16::from_le_bytes(PART.get(buf)),
            body_bytes: u32::from_le_bytes(BODY_BYTES.get(buf)),
            items: u32::from_le_bytes(ITEMS.get(buf)),
            body_crc: u32::from_le_bytes(BODY_CRC.get(buf)),
            prev_crc: u32::from_le_bytes(PREV_CRC.get(buf)),
            items_before: u32::from_le_bytes(ITEMS_BEFORE.get(buf)),
            synced_to: u32::from_le_bytes(SYNCED_TO.get(buf)),
            received_at: u64::from_le_bytes(RECEIVED_AT.get(buf)),
            first_item: u32::from_le_bytes(FIRST_ITEM.get(buf)),
        })
    }

    /// The checksum an encoded header carries.
    #[must_use]
    pub fn crc_of(encoded: &[u8; FRAME_HEADER_BYTES]) -> u32 {
        u32::from_le_bytes(HEADER_CRC.get(encoded))
    }

    /// Length of the frame in its file: header, body and padding.
    #[must_use]
    pub const fn frame_bytes(&self) -> u64 {
        frame_bytes(self.body_bytes as u64)
    }
}

/// Length of a frame with a body of that many bytes: header, body and padding.
#[must_use]
pub const fn frame_bytes(body_bytes: u64) -> u64 {
    (FRAME_HEADER_BYTES as u64 + body_bytes).next_multiple_of(FRAME_ALIGN)
}

#[inline]
fn header_crc(buf: &[u8; FRAME_HEADER_BYTES], place: Place) -> u32 {
    let covered = buf.get(..HEADER_CRC.at).unwrap_or_default();
    if is_planted(Planted::SaltLeftOut) {
        return crc32c(covered);
    }
    let mut salt = [0; 24];
    let (id, offset) = salt.split_at_mut(16);
    id.copy_from_slice(place.batch.as_bytes());
    offset.copy_from_slice(&place.offset.to_le_bytes());
    crc32c_append(crc32c(&salt), covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Items,
            flags: FrameFlags::FIRST_PART.with(FrameFlags::END_OF_BATCH),
            part: 3,
            body_bytes: 1_000,
            items: 17,
            body_crc: 0x0102_0304,
            prev_crc: 0x0506_0708,
            items_before: 99,
            synced_to: 4_096,
            received_at: 1_800_000_000_000_000,
            first_item: 12,
        }
    }

    const PLACE: Place = Place {
        batch: BatchId::from_bytes([7; 16]),
        offset: 512,
    };

    #[test]
    fn layout_has_no_gap() {
        crate::layout::check_tiles(&FRAME_HEADER_LAYOUT, FRAME_HEADER_BYTES);
    }

    #[test]
    fn header_reads_back_at_its_own_place_only() {
        let bytes = sample().encode(PLACE);
        assert_eq!(FrameHeader::decode(&bytes, PLACE), Ok(sample()));
        let elsewhere = Place {
            offset: 520,
            ..PLACE
        };
        assert_eq!(
            FrameHeader::decode(&bytes, elsewhere),
            Err(HeaderError::Checksum)
        );
        let other = Place {
            batch: BatchId::from_bytes([8; 16]),
            ..PLACE
        };
        assert_eq!(
            FrameHeader::decode(&bytes, other),
            Err(HeaderError::Checksum)
        );
        assert_eq!(
            FrameHeader::decode(&bytes[..47], PLACE),
            Err(HeaderError::Short)
        );
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = sample().encode(PLACE);
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&bytes, PLACE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn newer_is_not_damaged() {
        for (at, value) in [(2, 2), (3, 9)] {
            let mut bytes = sample().encode(PLACE);
            bytes[at] = value;
            let crc = header_crc(&bytes, PLACE);
            bytes[44..].copy_from_slice(&crc.to_le_bytes());
            assert!(matches!(
                FrameHeader::decode(&bytes, PLACE),
                Err(HeaderError::Newer { .. })
            ));
        }
    }

    #[test]
    fn frames_are_aligned() {
        assert_eq!(frame_bytes(0), 48);
        assert_eq!(frame_bytes(1), 56);
        assert_eq!(frame_bytes(8), 56);
    }
}

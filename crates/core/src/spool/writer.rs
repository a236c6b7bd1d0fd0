//! Writes frames one after another into a file: what recovery copies with, and what closes a batch.

use batchd_frame::{
    Digest, Digester, FRAME_HEADER_BYTES, FileHeader, FrameFlags, FrameHeader, FrameKind, Place,
    Seal, SealReason,
};

use crate::env::File;
use crate::error::{At, FsError};
use crate::spool::frames::FRAMES_START;
use std::path::Path;

/// Where the next frame of a batch goes and what it must repeat.
#[derive(Debug, Clone)]
pub struct Tail {
    /// Offset of the next frame.
    pub offset: u64,
    /// Checksum of the previous header.
    pub prev_crc: u32,
    /// Items so far.
    pub items: u32,
    /// Sum of their lengths.
    pub bytes: u64,
    /// Digest of their bodies.
    pub digester: Digester,
}

impl Tail {
    /// Of a batch that has a header and nothing else.
    #[must_use]
    pub fn after_header(header: &[u8; batchd_frame::FILE_HEADER_BYTES]) -> Self {
        Self {
            offset: FRAMES_START,
            prev_crc: FileHeader::crc_of(header),
            items: 0,
            bytes: 0,
            digester: Digester::new(),
        }
    }

    /// Completes a frame's header for this place and moves past the frame. Item frames are counted, with the
    /// lengths of their items, and summed up.
    pub fn push(
        &mut self,
        batch: batchd_frame::BatchId,
        mut header: FrameHeader,
        body: &[u8],
        item_bytes: u64,
        synced_to: u64,
    ) -> [u8; FRAME_HEADER_BYTES] {
        header.prev_crc = self.prev_crc;
        header.items_before = self.items;
        header.synced_to = offset_field(synced_to);
        let encoded = header.encode(Place {
            batch,
            offset: self.offset,
        });
        self.prev_crc = FrameHeader::crc_of(&encoded);
        self.offset += header.frame_bytes();
        if header.kind == FrameKind::Items {
            self.items += header.items;
            self.bytes += item_bytes;
            self.digester.update(body);
        }
        encoded
    }

    /// The digest so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digester.finish()
    }
}

/// Offsets fit their field: files are kept below 4 GiB.
fn offset_field(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// A frame that holds no items.
#[must_use]
pub fn control_header(kind: FrameKind, body: &[u8], at: u64) -> FrameHeader {
    FrameHeader {
        kind,
        flags: FrameFlags::NONE,
        part: 0,
        body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
        items: 0,
        body_crc: batchd_frame::checksum::crc32c(body),
        prev_crc: 0,
        items_before: 0,
        synced_to: 0,
        received_at: at,
        first_item: 0,
    }
}

/// A frame of that many items, its body still to be described.
#[must_use]
pub const fn items_header(items: u32) -> FrameHeader {
    FrameHeader {
        kind: FrameKind::Items,
        flags: FrameFlags::NONE,
        part: 0,
        body_bytes: 0,
        items,
        body_crc: 0,
        prev_crc: 0,
        items_before: 0,
        synced_to: 0,
        received_at: 0,
        first_item: 0,
    }
}

/// Appends header, body and padding to `out`.
pub fn put_frame(out: &mut Vec<u8>, header: &[u8; FRAME_HEADER_BYTES], body: &[u8]) {
    let start = out.len();
    out.extend_from_slice(header);
    out.extend_from_slice(body);
    let bytes = batchd_frame::frame_header::frame_bytes(body.len() as u64);
    out.resize(start + usize::try_from(bytes).unwrap_or(usize::MAX), 0);
}

/// The body of a seal for what was written so far.
#[must_use]
pub fn seal_of(
    header: &FileHeader,
    tail: &Tail,
    reason: SealReason,
    sealed_at: u64,
    producers: Vec<batchd_frame::ProducerRecord>,
) -> Seal {
    Seal {
        header: header.encode().to_vec(),
        items: tail.items.into(),
        bytes: tail.bytes,
        digest: tail.digest(),
        reason,
        sealed_at,
        producers,
    }
}

/// Appends one control frame at the tail, with a header from [`control_header`]. Nothing is durable on return.
///
/// # Errors
/// [`FsError`]; the tail is then unchanged, and any prefix may have been written.
pub fn append_control(
    file: &dyn File,
    path: &Path,
    batch: batchd_frame::BatchId,
    tail: &mut Tail,
    header: FrameHeader,
    body: &[u8],
    synced_to: u64,
) -> Result<(), FsError> {
    let mut next = tail.clone();
    let header = next.push(batch, header, body, 0, synced_to);
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len() + 8);
    put_frame(&mut frame, &header, body);
    file.write_all_at(&frame, tail.offset).at("write", path)?;
    *tail = next;
    Ok(())
}

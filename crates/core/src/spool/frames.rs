//! Reads frames one after another, and goes on past bytes that are none.
//!
//! Nothing here trusts the file: lengths are bounded before anything is read, and memory is that of one body.
//! A read error counts as bad bytes.

use batchd_frame::checksum::crc32c;
use batchd_frame::frame_header::FRAME_MAGIC;
use batchd_frame::planted::{Planted, is_planted};
use batchd_frame::{
    BatchId, FILE_HEADER_BYTES, FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, HeaderError, Place,
};

use crate::env::File;
use std::cell::Cell;

/// The longest body of a frame: that of the largest submission, and what is around it.
pub const BODY_BYTES_MAX: u64 = (16 << 20) + (64 << 10);
/// How much is searched at a time.
const WINDOW_BYTES: usize = 64 << 10;
/// How much is searched at a time around what cannot be read: what a medium loses, it loses by the sector.
const SECTOR_BYTES: u64 = 512;
/// The distance of places where a frame may start.
pub(crate) const STEP: usize = 8;
const _: () = assert!(STEP as u64 == FRAME_ALIGN);
/// Where frames begin.
pub const FRAMES_START: u64 = FILE_HEADER_BYTES as u64;

/// A frame that was found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundFrame<'a> {
    /// Where it starts.
    pub offset: u64,
    /// Its header.
    pub header: FrameHeader,
    /// Its header's checksum, which the next frame repeats.
    pub crc: u32,
    /// Its body, checked against the header.
    pub body: &'a [u8],
}

/// What was found between the file header and the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walked {
    /// First byte that belongs to no good frame, where what follows is not only zeros.
    pub first_bad: Option<u64>,
    /// End of the last good frame.
    pub end: u64,
    /// The highest `synced_to` of any good frame.
    pub synced_to: u64,
    /// A frame of a newer version or kind was met; the walk ended there.
    pub newer: bool,
}

/// Why no good frame was found at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAFrame {
    /// Bad bytes, or none, or not readable.
    Bad,
    /// Written by a newer program.
    Newer,
}

/// Reads frames of one batch from a file, with a buffer that is kept.
pub struct FrameReader<'a> {
    file: &'a dyn File,
    batch: BatchId,
    len: u64,
    body: Vec<u8>,
    read_failed: Cell<bool>,
}

impl<'a> FrameReader<'a> {
    /// Of a file of that length; frames that were written for another batch do not pass.
    #[must_use]
    pub fn new(file: &'a dyn File, batch: BatchId, len: u64) -> Self {
        Self {
            file,
            batch,
            len,
            body: Vec::new(),
            read_failed: Cell::new(false),
        }
    }

    /// The frame that starts at `offset`.
    pub(crate) fn frame_at(&mut self, offset: u64) -> Result<FoundFrame<'_>, NotAFrame> {
        let (header, crc) = self.load(offset)?;
        Ok(FoundFrame {
            offset,
            header,
            crc,
            body: &self.body,
        })
    }

    /// Reads the frame at `offset` into the buffer: its header and the header's checksum.
    fn load(&mut self, offset: u64) -> Result<(FrameHeader, u32), NotAFrame> {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        if !self.read_exact(&mut bytes, offset) {
            return Err(NotAFrame::Bad);
        }
        let header = FrameHeader::decode(
            &bytes,
            Place {
                batch: self.batch,
                offset,
            },
        )
        .map_err(|e| match e {
            HeaderError::Newer { .. } => NotAFrame::Newer,
            _ => NotAFrame::Bad,
        })?;
        let body_bytes = u64::from(header.body_bytes);
        let end = offset + FRAME_HEADER_BYTES as u64 + body_bytes;
        if body_bytes > BODY_BYTES_MAX || end > self.len {
            return Err(NotAFrame::Bad);
        }
        let mut body = std::mem::take(&mut self.body);
        body.resize(header.body_bytes as usize, 0);
        let whole = self.read_exact(&mut body, offset + FRAME_HEADER_BYTES as u64);
        self.body = body;
        if !whole || crc32c(&self.body) != header.body_crc {
            return Err(NotAFrame::Bad);
        }
        Ok((header, FrameHeader::crc_of(&bytes)))
    }

    fn read_exact(&self, buf: &mut [u8], offset: u64) -> bool {
        let read = self.file.read_at(buf, offset);
        if read.is_err() {
            self.read_failed.set(true);
        }
        read.is_ok_and(|n| n == buf.len())
    }

    /// Whether anything could not be read so far: what is bad may then be there all the same.
    #[must_use]
    pub fn read_failed(&self) -> bool {
        self.read_failed.get()
    }

    /// Walks all good frames from `FRAMES_START`. `first_prev` is what the first frame must repeat, where that is
    /// known. Frames found past bad bytes are shown too: whether to keep them is the caller's decision.
    pub fn walk(
        &mut self,
        first_prev: Option<u32>,
        mut visit: impl FnMut(FoundFrame<'_>),
    ) -> Walked {
        let mut walked = Walked {
            end: FRAMES_START,
            ..Walked::default()
        };
        let mut expected_prev = first_prev;
        let mut offset = FRAMES_START;
        loop {
            match self.load(offset) {
                Ok((header, crc)) if expected_prev.is_none_or(|prev| prev == header.prev_crc) => {
                    visit(FoundFrame {
                        offset,
                        header,
                        crc,
                        body: &self.body,
                    });
                    expected_prev = Some(crc);
                    offset += header.frame_bytes();
                    walked.end = offset;
                    walked.synced_to = walked.synced_to.max(header.synced_to.into());
                }
                Err(NotAFrame::Newer) => {
                    walked.newer = true;
                    return walked;
                }
                _ if is_planted(Planted::ZerosTakenForEnd) && self.zeros_at(offset) => {
                    return walked;
                }
                _ if self.next_nonzero(offset).is_none() => return walked,
                _ => {
                    walked.first_bad.get_or_insert(offset);
                    // Past bad bytes the chain is broken: the next good frame starts a new one.
                    expected_prev = None;
                    match self.search(offset) {
                        Some(found) => offset = found,
                        None => return walked,
                    }
                }
            }
        }
    }

    /// First place at or after `from` where a good frame, or a newer one, starts. Sectors that cannot be read are
    /// passed over, and nothing around them.
    pub(crate) fn search(&mut self, from: u64) -> Option<u64> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut at = from.next_multiple_of(FRAME_ALIGN);
        // Up to here it is searched a sector at a time.
        let mut careful_to = at;
        while at < self.len {
            let is_careful = at < careful_to;
            let end = if is_careful {
                (at + 1).next_multiple_of(SECTOR_BYTES)
            } else {
                at + WINDOW_BYTES as u64
            };
            let size = usize::try_from(end - at).unwrap_or(WINDOW_BYTES);
            let piece = window.get_mut(..size).unwrap_or_default();
            let read = match self.file.read_at(piece, at) {
                Ok(0) => return None,
                Ok(read) => read,
                Err(_) if is_careful => {
                    self.read_failed.set(true);
                    at = end;
                    continue;
                }
                Err(_) => {
                    careful_to = end;
                    continue;
                }
            };
            let pieces = window.get(..read).unwrap_or_default().chunks(STEP);
            for (i, piece) in pieces.enumerate() {
                let offset = at + (i * STEP) as u64;
                if piece.starts_with(&FRAME_MAGIC) && self.load(offset) != Err(NotAFrame::Bad) {
                    return Some(offset);
                }
            }
            at += read.next_multiple_of(STEP) as u64;
        }
        None
    }

    fn zeros_at(&self, offset: u64) -> bool {
        let mut bytes = [0; STEP];
        self.file.read_at(&mut bytes, offset).is_ok() && bytes == [0; STEP]
    }

    /// First byte at or after `from` that is not zero, or cannot be read.
    #[must_use]
    pub fn next_nonzero(&self, from: u64) -> Option<u64> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut at = from;
        while at < self.len {
            match self.file.read_at(&mut window, at) {
                Ok(0) => return None,
                Ok(n) => {
                    let read = window.get(..n).unwrap_or_default();
                    if let Some(i) = read.iter().position(|b| *b != 0) {
                        return Some(at + i as u64);
                    }
                    at += n as u64;
                }
                Err(_) => {
                    self.read_failed.set(true);
                    return Some(at);
                }
            }
        }
        None
    }
}

#[cfg(test)]
pub(in crate::spool) mod tests {
    use super::*;
    use crate::spool::writer::{Tail, items_header, put_frame};
    use batchd_frame::{FileHeader, Key, OnExpire, QueueName};
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A file that is only read: what is in it, which sectors cannot be read, and how often it was.
    #[derive(Default)]
    pub(in crate::spool) struct Medium {
        pub(in crate::spool) bytes: Vec<u8>,
        pub(in crate::spool) bad_sectors: Vec<u64>,
        pub(in crate::spool) reads: AtomicU64,
    }

    impl File for Medium {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let start = usize::try_from(offset).unwrap().min(self.bytes.len());
            let read = buf.len().min(self.bytes.len() - start);
            let is_hit = |sector: &u64| {
                (offset / SECTOR_BYTES..(offset + read as u64).div_ceil(SECTOR_BYTES))
                    .contains(sector)
            };
            if self.bad_sectors.iter().any(is_hit) {
                return Err(io::Error::from_raw_os_error(crate::env::sim::EIO));
            }
            buf[..read].copy_from_slice(&self.bytes[start..start + read]);
            Ok(read)
        }

        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }

        fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn sync_data(&self) -> io::Result<()> {
            unreachable!("it is only read")
        }
    }

    /// A batch of frames of that many bytes, their headers included, up to a length of at least so much.
    pub(in crate::spool) fn batch(frame_bytes: usize, len: usize) -> (FileHeader, Tail, Vec<u8>) {
        let header = FileHeader {
            id: BatchId::new(1, [7; 10]),
            seq: 1,
            created_at: 1,
            lifespan: None,
            on_expire: OnExpire::Dead,
            queue: QueueName::new("q").unwrap(),
            key: Key::default(),
        };
        let mut bytes = header.encode().to_vec();
        let mut tail = Tail::after_header(&header.encode());
        let item = vec![b'x'; frame_bytes - FRAME_HEADER_BYTES - 3];
        let mut body = Vec::new();
        batchd_frame::encode_body(None, std::iter::once(&item[..]), &mut body);
        while bytes.len() < len {
            let frame = FrameHeader {
                body_bytes: u32::try_from(body.len()).unwrap(),
                body_crc: crc32c(&body),
                ..items_header(1)
            };
            let frame = tail.push(header.id, frame, &body, item.len() as u64, 0);
            put_frame(&mut bytes, &frame, &body);
        }
        (header, tail, bytes)
    }

    #[test]
    fn nothing_is_passed_over_but_what_cannot_be_read() {
        let (header, _, bytes) = batch(200, 200_000);
        let frames = (bytes.len() - 512) / 200;
        // Some 50 KB apart, within one window and across two; side by side; the first and the last.
        let last = bytes.len() as u64 / SECTOR_BYTES;
        for bad_sectors in [
            vec![20, 120],
            vec![100, 200],
            vec![100, 101, 110],
            vec![1],
            vec![last],
        ] {
            let is_hit = |n: &usize| {
                let (start, end) = (512 + n * 200, 512 + (n + 1) * 200);
                let is_in = |sector: &u64| {
                    let bad = usize::try_from(sector * SECTOR_BYTES).unwrap();
                    start < bad + 512 && bad < end
                };
                bad_sectors.iter().any(is_in)
            };
            let good: Vec<_> = (0..frames).filter(|n| !is_hit(n)).collect();
            let medium = Medium {
                bytes: bytes.clone(),
                bad_sectors: bad_sectors.clone(),
                ..Medium::default()
            };
            let mut reader = FrameReader::new(&medium, header.id, bytes.len() as u64);
            let mut found = Vec::new();
            reader.walk(None, |frame| found.push(frame.header.items_before as usize));
            let (count, all) = (found.len(), good.len());
            assert!(found == good, "{bad_sectors:?}: {count} of {all}");
            assert!(reader.read_failed());
        }
    }

    #[test]
    fn a_search_tells_that_it_passed_something_over() {
        let (header, _, bytes) = batch(200, 100_000);
        let medium = Medium {
            bad_sectors: vec![1],
            bytes,
            ..Medium::default()
        };
        let mut reader = FrameReader::new(&medium, header.id, medium.bytes.len() as u64);
        assert_eq!(reader.search(FRAMES_START), Some(512 + 3 * 200));
        assert!(reader.read_failed());
    }
}

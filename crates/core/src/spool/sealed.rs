//! Reads sealed batches, strictly: what is not exactly as the seal says is damage, and is named.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use batchd_frame::frame_header::FRAME_MAGIC;
use batchd_frame::{
    BatchId, BodyLimits, BodyView, Digester, FILE_HEADER_BYTES, FRAME_ALIGN, FileHeader, FrameKind,
    ProducerRecord, Seal, Verdict, codec, file_header::FileHeaderError,
};

use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::frames::{FRAMES_START, FoundFrame, FrameReader, NotAFrame, STEP};

/// How far from the end of its file a seal is looked for.
const SEAL_SEARCH_BYTES: usize = 64 << 10;

/// A run of items that can be read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoodRange {
    /// Index in the batch of the first item.
    pub first: u64,
    /// How many items.
    pub count: u64,
    /// Sum of their lengths.
    pub bytes: u64,
    /// Offset of the first frame.
    pub start: u64,
    /// End of the last frame.
    pub end: u64,
}

/// What a file in `ready/` or `dead/` holds.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The header: from the head of the file or, where that is damaged, from the seal.
    pub header: Option<FileHeader>,
    /// The seal.
    pub seal: Option<Seal>,
    /// The last verdict.
    pub verdict: Option<Verdict>,
    /// What can be read, in order.
    pub ranges: Vec<GoodRange>,
    /// What is wrong, for people; nothing where the batch is whole.
    pub damage: Option<String>,
    /// A frame or header of a newer program was met: not damaged, but not for this program.
    pub newer: bool,
    /// End of the last good frame.
    pub end: u64,
    /// Checksum of its header.
    pub last_crc: u32,
    /// First bad byte behind the file header, also one behind the seal, which takes nothing from the batch.
    pub first_bad: Option<u64>,
    /// Whether the header stands at the head of the file, and is of this batch.
    pub head_is_good: bool,
    /// Whether anything could not be read: what counts as bad may then be there all the same.
    pub read_failed: bool,
}

/// What has to be known of a batch to end it undelivered.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The header, where it can be read.
    pub header: Option<FileHeader>,
    /// The submissions it holds.
    pub producers: Vec<ProducerRecord>,
    /// Where a verdict goes: behind the last good frame or, where there is no seal, behind all there is.
    pub end: u64,
    /// Checksum of the last good frame's header, which a verdict repeats.
    pub last_crc: u32,
    /// A frame or header of a newer program was met.
    pub newer: bool,
}

/// A batch file that is open for reading.
#[derive(Clone)]
pub struct SealedFile {
    file: Arc<dyn File>,
    path: PathBuf,
    len: u64,
    id: BatchId,
}

impl std::fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedFile({})", self.path.display())
    }
}

impl SealedFile {
    /// Opens the file of a batch. Its id is part of every checksum.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn open(env: &Env, path: &Path, id: BatchId) -> Result<Self, FsError> {
        let file = env.fs.open_read(path).at("open", path)?;
        let len = file.len().at("measure", path)?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            len,
            id,
        })
    }

    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Length of the file, in bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "nothing asks whether a file is empty"
    )]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The same, as if it ended at that offset, where it is longer.
    #[must_use]
    pub(crate) fn up_to(mut self, len: u64) -> Self {
        self.len = self.len.min(len);
        self
    }

    /// Reads all of it and says what is there. Memory is that of one frame and of the list of ranges.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        self.inspect_with(|_| ())
    }

    /// As [`inspect`](Self::inspect), and shows every good frame to `visit` as it comes by.
    pub(crate) fn inspect_with(&self, mut visit: impl FnMut(&FoundFrame<'_>)) -> Inspection {
        let head = self.head();
        let mut found = Found::default();
        let mut reader = FrameReader::new(&*self.file, self.id, self.len);
        let walked = reader.walk(head.crc, |frame| {
            found.take(&frame);
            visit(&frame);
        });
        let head_is_good = head.header.is_some();
        let damage = if head_is_good {
            found.damage(walked.first_bad)
        } else {
            Some("file header is damaged".to_owned())
        };
        let from_seal = || self.header_in(found.seal.as_ref()?);
        Inspection {
            head_is_good,
            read_failed: head.read_failed || reader.read_failed(),
            first_bad: walked.first_bad,
            header: head.header.or_else(from_seal),
            seal: found.seal,
            verdict: found.verdict,
            ranges: found.ranges,
            damage,
            newer: walked.newer || head.newer,
            end: walked.end,
            last_crc: found.last_crc,
        }
    }

    /// The seal alone, looked for from the end of the file; nothing where there is none.
    ///
    /// # Errors
    /// [`FsError`] where it may lie in what could not be read.
    pub fn read_seal(&self) -> Result<Option<Seal>, FsError> {
        if let Some((_, seal)) = self.find_seal() {
            return Ok(Some(seal));
        }
        // A seal that names very many producers is longer than the search.
        let found = self.inspect();
        if found.seal.is_none() && found.read_failed {
            return Err(io::Error::other("a part of it cannot be read")).at("read", &self.path);
        }
        Ok(found.seal)
    }

    /// What has to be known of a batch to end it undelivered. Reads its header and what is behind its items; all
    /// of it only where no seal is found there.
    #[must_use]
    pub fn ends(&self) -> Ends {
        let Some((offset, seal)) = self.find_seal() else {
            let found = self.inspect();
            // Without its seal nobody knows how far a batch goes: what looks bad may be items that can be read one
            // day, and a person is to find them.
            let end = match &found.seal {
                Some(_) => found.end,
                None => self.len.next_multiple_of(FRAME_ALIGN),
            };
            return Ends {
                header: found.header,
                producers: found.seal.map(|seal| seal.producers).unwrap_or_default(),
                end,
                last_crc: found.last_crc,
                newer: found.newer,
            };
        };
        let head = self.head();
        let mut ends = Ends {
            newer: head.newer,
            header: head.header.or_else(|| self.header_in(&seal)),
            producers: seal.producers,
            end: offset,
            last_crc: 0,
        };
        let mut reader = FrameReader::new(&*self.file, self.id, self.len);
        loop {
            match reader.frame_at(ends.end) {
                Ok(frame) => {
                    ends.last_crc = frame.crc;
                    ends.end += frame.header.frame_bytes();
                }
                Err(why) => {
                    ends.newer |= why == NotAFrame::Newer;
                    return ends;
                }
            }
        }
    }

    fn head(&self) -> Head {
        let mut bytes = [0; FILE_HEADER_BYTES];
        let read = self.file.read_at(&mut bytes, 0);
        let read_failed = read.is_err();
        let decoded = FileHeader::decode(bytes.get(..read.unwrap_or(0)).unwrap_or_default());
        let newer = matches!(decoded, Err(FileHeaderError::Newer(_)));
        let header = decoded.ok().filter(|header| header.id == self.id);
        Head {
            crc: header.as_ref().map(|_| FileHeader::crc_of(&bytes)),
            header,
            newer,
            read_failed,
        }
    }

    /// The header that a seal repeats.
    fn header_in(&self, seal: &Seal) -> Option<FileHeader> {
        let header = FileHeader::decode(&seal.header).ok();
        header.filter(|header| header.id == self.id)
    }

    /// The seal and where it is, if it is near the end of the file.
    fn find_seal(&self) -> Option<(u64, Seal)> {
        let end = self.data_end().next_multiple_of(FRAME_ALIGN);
        let start = end.saturating_sub(SEAL_SEARCH_BYTES as u64);
        let mut window = vec![0; SEAL_SEARCH_BYTES];
        let read = self.file.read_at(&mut window, start).unwrap_or(0);
        let mut reader = FrameReader::new(&*self.file, self.id, self.len);
        let pieces = window.get(..read).unwrap_or_default().chunks(STEP);
        for (i, piece) in pieces.enumerate().rev() {
            let at = start + (i * STEP) as u64;
            if piece.starts_with(&FRAME_MAGIC)
                && let Ok(frame) = reader.frame_at(at)
                && frame.header.kind == FrameKind::Seal
            {
                return codec::decode(frame.body).ok().map(|seal| (at, seal));
            }
        }
        None
    }

    /// End of the last byte that is not zero: what was preallocated may not be cut off yet.
    fn data_end(&self) -> u64 {
        let mut window = vec![0; 64 << 10];
        let mut end = self.len;
        while end > 0 {
            let start = end.saturating_sub(window.len() as u64);
            let read = self.file.read_at(&mut window, start).unwrap_or(0);
            let bytes = usize::try_from(end - start).unwrap_or(read).min(read);
            let part = window.get(..bytes).unwrap_or_default();
            if let Some(last) = part.iter().rposition(|b| *b != 0) {
                return start + last as u64 + 1;
            }
            end = start;
        }
        0
    }

    /// A page of items, from the frame at `cursor` (0: the first) until `bytes_max` is passed, and the cursor of
    /// the next page. Bad bytes are passed over. Works on open batches too.
    #[must_use]
    pub fn page(&self, cursor: u64, bytes_max: u64) -> (Vec<Vec<u8>>, Option<u64>) {
        let mut reader = FrameReader::new(&*self.file, self.id, self.len);
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut offset = cursor.max(FRAMES_START).next_multiple_of(FRAME_ALIGN);
        while let Some(found) = reader.search(offset) {
            if bytes >= bytes_max {
                return (items, Some(found));
            }
            let Ok(frame) = reader.frame_at(found) else {
                break;
            };
            offset = found + frame.header.frame_bytes();
            if frame.header.kind == FrameKind::Items
                && let Ok(view) = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE)
            {
                bytes += frame.body.len() as u64;
                items.extend(view.items().map(<[u8]>::to_vec));
            }
        }
        (items, None)
    }

    /// The items of a range that an inspection named.
    #[must_use]
    pub fn items(&self, range: GoodRange) -> ItemReader {
        ItemReader {
            file: self.file.clone(),
            len: self.len,
            id: self.id,
            offset: range.start,
            end: range.end,
            frame: Vec::new(),
            at: 0,
            left: 0,
        }
    }
}

/// What stands at the head of a batch file.
struct Head {
    /// The header, where it is good and of this batch.
    header: Option<FileHeader>,
    /// Its checksum, which the first frame repeats.
    crc: Option<u32>,
    /// It is that of a newer program.
    newer: bool,
    read_failed: bool,
}

/// What a walk over a sealed file comes by.
#[derive(Default)]
struct Found {
    ranges: Vec<GoodRange>,
    digester: Digester,
    items: u64,
    bytes: u64,
    seal: Option<Seal>,
    seal_end: u64,
    verdict: Option<Verdict>,
    undecodable: bool,
    last_crc: u32,
}

impl Found {
    fn take(&mut self, frame: &crate::spool::frames::FoundFrame<'_>) {
        self.last_crc = frame.crc;
        match frame.header.kind {
            // Behind the seal there is nothing but verdicts.
            FrameKind::Items if self.seal.is_some() => self.undecodable = true,
            FrameKind::Items => self.take_items(frame),
            FrameKind::Seal => match codec::decode(frame.body) {
                Ok(seal) => {
                    self.seal = Some(seal);
                    self.seal_end = frame.offset + frame.header.frame_bytes();
                }
                Err(_) => self.undecodable = true,
            },
            FrameKind::Verdict => match codec::decode(frame.body) {
                Ok(verdict) => self.verdict = Some(verdict),
                Err(_) => self.undecodable = true,
            },
            FrameKind::Mark => {}
        }
    }

    fn take_items(&mut self, frame: &crate::spool::frames::FoundFrame<'_>) {
        let Ok(view) = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE) else {
            self.undecodable = true;
            return;
        };
        let (first, count) = (
            u64::from(frame.header.items_before),
            u64::from(view.count()),
        );
        let end = frame.offset + frame.header.frame_bytes();
        self.items += count;
        self.bytes += view.item_bytes();
        self.digester.update(frame.body);
        match self.ranges.last_mut() {
            Some(range) if range.end == frame.offset && range.first + range.count == first => {
                range.count += count;
                range.bytes += view.item_bytes();
                range.end = end;
            }
            // Frames that would give an item twice are not of this batch's making.
            Some(range) if first < range.first + range.count => self.undecodable = true,
            _ => self.ranges.push(GoodRange {
                first,
                count,
                bytes: view.item_bytes(),
                start: frame.offset,
                end,
            }),
        }
    }

    fn damage(&self, first_bad: Option<u64>) -> Option<String> {
        // A verdict that was torn takes nothing from a batch that is whole.
        if let Some(offset) = first_bad.filter(|at| self.seal.is_none() || *at < self.seal_end) {
            return Some(format!("bad bytes at offset {offset}"));
        }
        if self.undecodable {
            return Some("a frame does not decode".to_owned());
        }
        let Some(seal) = &self.seal else {
            return Some("no seal".to_owned());
        };
        if (seal.items, seal.bytes) != (self.items, self.bytes) {
            return Some(format!(
                "{} items where the seal says {}",
                self.items, seal.items
            ));
        }
        (seal.digest != self.digester.finish()).then(|| "digest does not match the seal".to_owned())
    }
}

/// Items of a range, one after another, each frame verified again before its items are given.
pub struct ItemReader {
    file: Arc<dyn File>,
    len: u64,
    id: BatchId,
    offset: u64,
    end: u64,
    /// What is left to give of the current frame's items, as encoded.
    frame: Vec<u8>,
    at: usize,
    left: u32,
}

impl std::fmt::Debug for ItemReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ItemReader({}..{})", self.offset, self.end)
    }
}

/// A frame that was good at the inspection is not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame at offset {0} can no longer be read")]
pub struct GoneBad(pub u64);

impl ItemReader {
    /// Whether there is another item.
    ///
    /// # Errors
    /// As [`next_item`](Self::next_item).
    pub fn has_more(&mut self) -> Result<bool, GoneBad> {
        while self.left == 0 {
            if self.offset >= self.end {
                return Ok(false);
            }
            self.load()?;
        }
        Ok(true)
    }

    /// The next item; nothing at the end of the range.
    ///
    /// # Errors
    /// [`GoneBad`] where a frame changed since the inspection.
    pub fn next_item(&mut self) -> Result<Option<&[u8]>, GoneBad> {
        if !self.has_more()? {
            return Ok(None);
        }
        let rest = self.frame.get(self.at..).unwrap_or_default();
        let (item, used) = batchd_frame::body::split_item(rest).ok_or(GoneBad(self.offset))?;
        self.at += used;
        self.left -= 1;
        Ok(Some(item))
    }

    fn load(&mut self) -> Result<(), GoneBad> {
        let mut reader = FrameReader::new(&*self.file, self.id, self.len);
        let frame = reader
            .frame_at(self.offset)
            .map_err(|_| GoneBad(self.offset))?;
        if frame.header.kind == FrameKind::Items {
            let view = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE)
                .map_err(|_| GoneBad(self.offset))?;
            self.frame.clear();
            self.frame.extend_from_slice(view.encoded_items());
            self.at = 0;
            self.left = view.count();
        }
        self.offset += frame.header.frame_bytes();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::frames::tests::{Medium, batch};
    use crate::spool::writer::{control_header, put_frame, seal_of};
    use batchd_frame::SealReason;
    use std::sync::atomic::Ordering;

    /// A batch of a MiB, with a seal or without, followed by zeros.
    fn medium(is_sealed: bool, zeros: usize) -> (BatchId, Arc<Medium>) {
        let (header, mut tail, mut bytes) = batch(200, 1 << 20);
        let seal = seal_of(&header, &tail, SealReason::MaxBytes, 1, Vec::new());
        let body = codec::encode(&seal);
        let control = control_header(FrameKind::Seal, &body, 1);
        let frame = tail.push(header.id, control, &body, 0, 0);
        if is_sealed {
            put_frame(&mut bytes, &frame, &body);
        }
        bytes.resize(bytes.len() + zeros, 0);
        let medium = Medium {
            bytes,
            ..Medium::default()
        };
        (header.id, Arc::new(medium))
    }

    fn sealed(id: BatchId, medium: &Arc<Medium>) -> SealedFile {
        SealedFile {
            file: medium.clone(),
            path: PathBuf::from("x"),
            len: medium.bytes.len() as u64,
            id,
        }
    }

    #[test]
    fn a_seal_is_found_with_few_reads() {
        // The end of what is not zero, what is before it, and header and body of the frame.
        for (zeros, reads) in [(0, 4), (65_500, 4), (1 << 20, 20)] {
            let (id, medium) = medium(true, zeros);
            assert!(sealed(id, &medium).find_seal().is_some());
            assert_eq!(medium.reads.load(Ordering::Relaxed), reads, "{zeros}");
        }
        // Where there is none, each frame may be it.
        let (id, medium) = medium(false, 0);
        assert!(sealed(id, &medium).find_seal().is_none());
        assert!(medium.reads.load(Ordering::Relaxed) < 700);
    }

    #[test]
    fn what_cannot_be_read_is_told_from_what_is_not_there() {
        let (id, whole) = medium(true, 0);
        let last = whole.bytes.len() as u64 / 512;
        let with = |is_sealed, bad_sectors| {
            let (_, mut medium) = medium(is_sealed, 0);
            Arc::get_mut(&mut medium).unwrap().bad_sectors = bad_sectors;
            sealed(id, &medium)
        };
        assert!(with(true, vec![last]).read_seal().is_err());
        assert_eq!(with(false, vec![]).read_seal().unwrap(), None);
        assert!(
            with(true, vec![0, 9, last - 9])
                .read_seal()
                .unwrap()
                .is_some()
        );
        assert!(!with(false, vec![]).inspect().read_failed);
        for sector in [0, 9, last] {
            assert!(with(true, vec![sector]).inspect().read_failed, "{sector}");
        }
    }
}

//! Batch files, decoded from the bytes that were written to them.

use std::ops::Range;

use batchd_frame::checksum::crc32c;
use batchd_frame::{
    BodyLimits, BodyView, FILE_HEADER_BYTES, FileHeader, FrameHeader, FrameKind, Place,
    SubmissionId,
};

/// A frame that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Where it ends, padding included.
    pub end: u64,
    /// Whose items it holds.
    pub submission: Option<SubmissionId>,
    /// Which items of the submission.
    pub items: Range<u32>,
    /// How far it says that the file is synced.
    pub synced_to: u32,
    /// The line on which the last of it was written.
    pub line: u64,
    start: u64,
    body: Range<usize>,
}

/// A batch file with a header.
#[derive(Debug)]
pub struct Batch {
    /// Who it is.
    pub header: FileHeader,
    /// What is in it, in order.
    pub frames: Vec<Frame>,
}

impl Batch {
    /// Reads the header of a file, if it has one already.
    #[must_use]
    pub fn begin(content: &[u8]) -> Option<Self> {
        let header = FileHeader::decode(content).ok()?;
        let frames = Vec::new();
        Some(Self { header, frames })
    }

    /// Reads the frames that are new after a write at `offset`; says how many of them there are.
    pub fn read_on(&mut self, content: &[u8], offset: u64, line: u64) -> usize {
        self.forget_after(offset);
        let before = self.frames.len();
        while let Some(frame) = self.read_frame(content, line) {
            self.frames.push(frame);
        }
        self.frames.len() - before
    }

    /// Forgets the frames that do not end by then; returns them.
    pub fn forget_after(&mut self, end: u64) -> Vec<Frame> {
        let keep = self.frames.partition_point(|frame| frame.end <= end);
        self.frames.split_off(keep)
    }

    /// The end of the last of its item frames that end by then.
    #[must_use]
    pub fn items_end(&self, by: u64) -> Option<u64> {
        let mut frames = self.frames.iter().rev();
        let last = frames.find(|frame| frame.kind == FrameKind::Items && frame.end <= by);
        last.map(|frame| frame.end)
    }

    /// Its seal.
    #[must_use]
    pub fn seal(&self) -> Option<&Frame> {
        self.frames
            .iter()
            .find(|frame| frame.kind == FrameKind::Seal)
    }

    /// The items of a frame.
    pub fn items<'a>(frame: &Frame, content: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let body = content.get(frame.body.clone()).unwrap_or_default();
        let count = u32::try_from(frame.items.len()).unwrap_or(u32::MAX);
        let view = BodyView::parse(body, count, BodyLimits::NONE).ok();
        view.into_iter().flat_map(|view| view.items())
    }

    fn read_frame(&self, content: &[u8], line: u64) -> Option<Frame> {
        let start = self
            .frames
            .last()
            .map_or(FILE_HEADER_BYTES as u64, |frame| frame.end);
        let (batch, at) = (self.header.id, usize::try_from(start).ok()?);
        let bytes = content.get(at..)?;
        let header = FrameHeader::decode(
            bytes,
            Place {
                batch,
                offset: start,
            },
        )
        .ok()?;
        let whole = bytes.get(..usize::try_from(header.frame_bytes()).ok()?)?;
        let length = header.body_bytes as usize;
        let body_at = batchd_frame::FRAME_HEADER_BYTES;
        let body = whole.get(body_at..body_at + length)?;
        // Half written, in a file made ahead: zeros stand where the rest of it will be.
        if crc32c(body) != header.body_crc {
            return None;
        }
        let submission = match header.kind {
            FrameKind::Items => BodyView::parse(body, header.items, BodyLimits::NONE)
                .ok()?
                .submission(),
            _ => None,
        };
        Some(Frame {
            kind: header.kind,
            start,
            end: start + header.frame_bytes(),
            submission,
            items: header.first_item..header.first_item.checked_add(header.items)?,
            synced_to: header.synced_to,
            line,
            body: at + body_at..at + body_at + length,
        })
    }
}

impl Frame {
    /// Where it begins: no two frames of a file begin at the same place.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }
}

//! What a file in `open/` holds, as far as the decision needs it.

use batchd_frame::file_header::FileHeaderError;
use batchd_frame::{
    BodyLimits, BodyView, FILE_HEADER_BYTES, FileHeader, FrameFlags, FrameKind, Seal, codec,
};

use crate::env::File;
use crate::spool::frames::{FRAMES_START, FoundFrame, FrameReader};
use crate::spool::layout::OpenName;

/// What the name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `<seq>-<id>.batch`.
    Batch,
    /// A file that was being written.
    Temporary,
    /// Anything else, or one that cannot be opened.
    Other,
}

/// What the first 512 bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// All zeros, or missing with all that would follow.
    Zero,
    /// A header of this queue.
    Good,
    /// A good header of another queue.
    Foreign,
    /// None.
    Bad,
    /// Of a newer version.
    Newer,
}

/// What follows the good frames from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Zeros to the end, or the end.
    Clean,
    /// Bad bytes that were never known synced: the write was under way, and nothing of it acknowledged.
    Torn,
    /// Bad bytes below what was known synced: items that were acknowledged are gone.
    Damaged,
}

/// All that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The name.
    pub name: Name,
    /// The header.
    pub header: Header,
    /// Whether there are good frames with items before the bad bytes or, where it is damaged, anywhere.
    pub items: bool,
    /// The tail; a bad header is bad bytes at offset 0.
    pub tail: Tail,
    /// Whether there is a good seal, before any torn bytes.
    pub seal: bool,
    /// Whether the last good frame says that the batch ends there.
    pub end_of_batch: bool,
    /// Whether a frame of a newer program was met.
    pub newer_frame: bool,
    /// Whether this is the highest seq of its key.
    pub highest: bool,
    /// Whether the same batch lies in `ready/` or `dead/`.
    pub elsewhere: bool,
}

/// What a file holds, before it is known how it stands to the others.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The file's name in `open/`.
    pub name: String,
    /// Id and seq: from the header or, where that is bad, from the name.
    pub identity: Option<OpenName>,
    /// The header: from the head or, where that is bad, from the seal.
    pub header: Option<FileHeader>,
    /// The facts; `highest` and `elsewhere` still to be set.
    pub facts: Facts,
    /// Where the good frames from the start end, and what is copied ends unless the file is damaged.
    pub good_end: u64,
    /// First bad byte.
    pub first_bad: Option<u64>,
    /// What the first frame must repeat, where the header is good.
    pub first_prev: Option<u32>,
    /// The seal.
    pub seal: Option<Seal>,
    /// Length of the file.
    pub len: u64,
    /// The item frames that are copied.
    pub kept: KeptFrames,
}

/// Item frames of a file, those that are kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptFrames {
    /// How many.
    pub frames: u64,
    /// What they take in the file.
    pub file_bytes: u64,
    /// Items in those that decode.
    pub items: u64,
    /// Sum of the items' lengths in bytes.
    pub bytes: u64,
    /// When the first item was received, unix time in microseconds.
    pub first_item_at: Option<u64>,
}

impl Examined {
    /// What a name says that belongs to no readable file.
    #[must_use]
    pub fn unreadable(name: &str) -> Self {
        let facts = Facts {
            name: if crate::spool::layout::is_temporary(name) {
                Name::Temporary
            } else {
                Name::Other
            },
            header: Header::Bad,
            items: false,
            tail: Tail::Torn,
            seal: false,
            end_of_batch: false,
            newer_frame: false,
            highest: false,
            elsewhere: false,
        };
        Self {
            name: name.to_owned(),
            identity: None,
            header: None,
            facts,
            good_end: 0,
            first_bad: Some(0),
            first_prev: None,
            seal: None,
            len: 0,
            kept: KeptFrames::default(),
        }
    }

    /// Whether the file's name is the one its header asks for.
    #[must_use]
    pub fn has_its_name(&self) -> bool {
        self.identity
            .is_some_and(|identity| identity.to_string() == self.name)
    }

    /// What is wrong, for people.
    #[must_use]
    pub fn describe_damage(&self) -> String {
        match (self.facts.header, self.first_bad) {
            (Header::Bad, _) => "the file header is damaged, or that of another batch".to_owned(),
            (Header::Foreign, _) => "belongs to another queue".to_owned(),
            (_, Some(offset)) => format!("bad bytes from offset {offset}"),
            (_, None) => "no damage".to_owned(),
        }
    }
}

/// Reads a file in `open/` whole, with the memory of one frame. `queue` is the one whose directory it is in.
#[must_use]
pub fn examine(file: &dyn File, name: &str, queue: &batchd_frame::QueueName) -> Examined {
    let Ok(named) = name.parse::<OpenName>() else {
        return Examined::unreadable(name);
    };
    let Ok(len) = file.len() else {
        return Examined::unreadable(name);
    };
    let mut head = [0; FILE_HEADER_BYTES];
    let read = file.read_at(&mut head, 0).unwrap_or(0);
    let head = head.get(..read).unwrap_or_default();
    let mut decoded = FileHeader::decode(head);
    // Where header and name disagree, the name is right: it was synced before anything in the file was
    // acknowledged, and blocks that a new file took over may show a whole batch of long ago.
    if decoded.as_ref().is_ok_and(|header| header.id != named.id) {
        decoded = Err(FileHeaderError::Checksum);
    }
    let identity = match &decoded {
        Ok(header) => OpenName {
            seq: header.seq,
            id: header.id,
        },
        Err(_) => named,
    };
    let first_prev = decoded
        .is_ok()
        .then(|| head.first_chunk().map(FileHeader::crc_of))
        .flatten();

    let mut frames = FrameReader::new(file, identity.id, len);
    let nothing = frames.next_nonzero(0).is_none();
    let mut met = Met::default();
    let walked = frames.walk(first_prev, |frame| met.take(&frame));

    let header = match &decoded {
        _ if nothing => Header::Zero,
        Ok(header) if header.queue == *queue => Header::Good,
        Ok(_) => Header::Foreign,
        Err(FileHeaderError::Newer(_)) => Header::Newer,
        Err(_) => Header::Bad,
    };
    let first_bad = if header == Header::Bad {
        Some(0)
    } else {
        walked.first_bad
    };
    let tail = match first_bad {
        None => Tail::Clean,
        // What cannot be read was perhaps never torn: the original is kept.
        Some(bad) if bad >= walked.synced_to && !frames.read_failed() => Tail::Torn,
        Some(_) => Tail::Damaged,
    };
    // What follows torn bytes was never acknowledged and does not count.
    let cut = if tail == Tail::Torn { first_bad } else { None };
    let kept = met.before(cut.unwrap_or(u64::MAX));
    let seal = kept.seal.then_some(met.seal).flatten();
    let from_seal = || FileHeader::decode(&seal.as_ref()?.header).ok();
    let known_header = decoded
        .ok()
        .or_else(from_seal)
        .filter(|h| h.id == identity.id);
    Examined {
        name: name.to_owned(),
        identity: Some(identity),
        header: known_header,
        facts: Facts {
            name: Name::Batch,
            header,
            items: kept.items,
            tail,
            seal: kept.seal,
            end_of_batch: kept.end_of_batch,
            newer_frame: walked.newer,
            highest: false,
            elsewhere: false,
        },
        good_end: cut.unwrap_or(walked.end),
        first_bad,
        first_prev,
        seal,
        len,
        kept: match tail {
            Tail::Damaged => met.all,
            Tail::Torn if header == Header::Bad => KeptFrames::default(),
            Tail::Torn | Tail::Clean => met.run,
        },
    }
}

/// What a walk comes by: where the frames end that matter.
#[derive(Default)]
struct Met {
    /// Item frames, and those of them that follow each other from the start without a gap.
    all: KeptFrames,
    run: KeptFrames,
    run_end: Option<u64>,
    first_items_end: Option<u64>,
    seal_end: Option<u64>,
    seal: Option<Seal>,
    /// The first frame after which the batch takes nothing more.
    batch_end: Option<u64>,
}

impl KeptFrames {
    fn take(&mut self, frame: &FoundFrame<'_>) {
        self.frames += 1;
        self.file_bytes += frame.header.frame_bytes();
        let view = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE);
        if let Ok(view) = view {
            self.items += u64::from(view.count());
            self.bytes += view.item_bytes();
            self.first_item_at.get_or_insert(frame.header.received_at);
        }
    }
}

struct Kept {
    items: bool,
    seal: bool,
    end_of_batch: bool,
}

impl Met {
    fn take(&mut self, frame: &FoundFrame<'_>) {
        let end = frame.offset + frame.header.frame_bytes();
        let is_run = self.run_end.unwrap_or(FRAMES_START) == frame.offset;
        if is_run {
            self.run_end = Some(end);
        }
        match frame.header.kind {
            FrameKind::Items => {
                self.all.take(frame);
                if is_run {
                    self.run.take(frame);
                }
                self.first_items_end.get_or_insert(end);
                if frame.header.flags.contains(FrameFlags::END_OF_BATCH) {
                    self.batch_end.get_or_insert(end);
                }
            }
            FrameKind::Seal => {
                if let Ok(seal) = codec::decode(frame.body) {
                    self.seal = Some(seal);
                    self.seal_end = Some(end);
                }
            }
            FrameKind::Verdict | FrameKind::Mark => {}
        }
    }

    fn before(&self, cut: u64) -> Kept {
        Kept {
            items: self.first_items_end.is_some_and(|end| end <= cut),
            seal: self.seal_end.is_some_and(|end| end <= cut),
            end_of_batch: self.batch_end.is_some_and(|end| end <= cut),
        }
    }
}

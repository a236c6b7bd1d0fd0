//! Does what the table decided: copies good frames, seals, sets aside.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use batchd_frame::{
    BodyLimits, BodyView, FileHeader, FrameKind, Key, QueueName, Verdict, VerdictOutcome, codec,
};

use super::facts::{Examined, Header, Tail as TailFact};
use super::table::Frames;
use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::frames::{FRAMES_START, FoundFrame, FrameReader};
use crate::spool::kept::BatchContents;
use crate::spool::layout::temporary;
use crate::spool::replace::discard;
use crate::spool::writer::{Tail, control_header, put_frame};

pub use crate::spool::open::OpenBatch;

/// How much of a copy is written at a time.
const COPY_BYTES: usize = 1 << 20;

/// Copies the good frames of an examined file over it, under the same id and seq, with what `frames` adds. The
/// copy and its name are durable on return.
///
/// # Errors
/// [`FsError`]; the original is then untouched.
pub(super) fn copy_over(
    env: &Env,
    queue: &QueueName,
    examined: &Examined,
    original: &dyn File,
    path: &Path,
    frames: Frames,
) -> Result<OpenBatch, FsError> {
    let new = temporary(path);
    let result = write_copy(env, queue, examined, original, &new, frames).and_then(|mut batch| {
        env.fs.rename(&new, path).at("rename", path)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        env.fs.sync_dir(dir).at("sync", dir)?;
        batch.path = path.to_path_buf();
        Ok(batch)
    });
    if result.is_err() {
        discard(env, &new);
    }
    result
}

fn write_copy(
    env: &Env,
    queue: &QueueName,
    examined: &Examined,
    original: &dyn File,
    new: &Path,
    frames: Frames,
) -> Result<OpenBatch, FsError> {
    let header = examined
        .header
        .clone()
        .unwrap_or_else(|| header_from_name(examined, queue));
    let encoded = header.encode();
    let file = env.fs.create_new(new).at("create", new)?;
    // Until the copy is whole it has another name, so that it may say from the start what will be true then.
    let synced_to = FRAMES_START + examined.kept.file_bytes;
    let mut copy = Copy {
        file: &file,
        path: new,
        header: &header,
        tail: Tail::after_header(&encoded),
        contents: BatchContents::default(),
        first_item_at: None,
        newest_item_at: 0,
        pending: encoded.to_vec(),
        written: 0,
        synced_to,
        failed: None,
    };
    let mut kept_frames = 0;
    each_kept(examined, original, header.id, |frame| {
        kept_frames += 1;
        copy.take(frame);
    });
    copy.write_out();
    if kept_frames != examined.kept.frames || copy.tail.offset > synced_to {
        // Nothing is lost: the original stays, and the next start looks again.
        let differs = Err(std::io::Error::other("it reads differently each time"));
        return differs.at("copy", new);
    }
    if let Some(error) = copy.failed {
        return Err(error);
    }
    let Copy {
        tail,
        contents,
        first_item_at,
        newest_item_at,
        ..
    } = copy;
    let first_item_at = first_item_at.unwrap_or(header.created_at);
    let mut batch = OpenBatch {
        first_item_at,
        newest_item_at: newest_item_at.max(first_item_at),
        // Told by whoever opens the queue: it knows the time.
        deadline: crate::policy::Deadline::NEVER,
        header,
        file: Arc::clone(&file),
        path: new.to_path_buf(),
        tail,
        synced_to,
        name_durable: true,
        contents: Arc::new(contents),
    };
    add_ending(env, examined, &mut batch, frames)?;
    file.sync_data().at("sync", new)?;
    batch.synced_to = batch.tail.offset;
    Ok(batch)
}

fn add_ending(
    env: &Env,
    examined: &Examined,
    batch: &mut OpenBatch,
    frames: Frames,
) -> Result<(), FsError> {
    let now = env.clock.wall_micros();
    if let Some(reason) = frames.seal_reason(examined.seal.as_ref()) {
        batch.append_seal(reason, now)?;
    }
    if frames == Frames::Dead {
        let verdict = Verdict {
            outcome: VerdictOutcome::Orphaned,
            first: 0,
            count: batch.tail.items.into(),
            attempts: 0,
            last_error: "the header is damaged and the key with it".to_owned(),
            at: now,
        };
        let body = codec::encode(&verdict);
        batch.append(control_header(FrameKind::Verdict, &body, now), &body)?;
    }
    Ok(())
}

/// The part of a file's header that its name and place tell.
fn header_from_name(examined: &Examined, queue: &QueueName) -> FileHeader {
    let (seq, id) = examined
        .identity
        .map_or((0, batchd_frame::BatchId::from_bytes([0; 16])), |name| {
            (name.seq, name.id)
        });
    FileHeader {
        id,
        seq,
        created_at: 0,
        lifespan: None,
        on_expire: batchd_frame::OnExpire::Dead,
        queue: queue.clone(),
        key: Key::default(),
    }
}

/// Visits the item frames that are kept: those before the cut or, where the file is damaged, all good ones.
pub(in crate::spool) fn each_kept(
    examined: &Examined,
    original: &dyn File,
    id: batchd_frame::BatchId,
    mut visit: impl FnMut(&FoundFrame<'_>),
) {
    let end = match examined.facts.tail {
        TailFact::Clean | TailFact::Torn => examined.good_end,
        TailFact::Damaged => u64::MAX,
    };
    let first_prev = (examined.facts.header == Header::Good)
        .then_some(examined.first_prev)
        .flatten();
    FrameReader::new(original, id, examined.len).walk(first_prev, |frame| {
        if frame.header.kind == FrameKind::Items && frame.offset + frame.header.frame_bytes() <= end
        {
            visit(&frame);
        }
    });
}

/// The submissions in what is kept of a file.
pub(super) fn kept_contents(
    examined: &Examined,
    original: &dyn File,
    id: batchd_frame::BatchId,
) -> BatchContents {
    let mut contents = BatchContents::default();
    each_kept(examined, original, id, |frame| {
        let view = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE);
        if let Some(id) = view.ok().and_then(|view| view.submission()) {
            contents.note(id, &frame.header);
        }
    });
    contents
}

struct Copy<'a> {
    file: &'a Arc<dyn File>,
    path: &'a Path,
    header: &'a FileHeader,
    tail: Tail,
    contents: BatchContents,
    first_item_at: Option<u64>,
    newest_item_at: u64,
    pending: Vec<u8>,
    written: u64,
    synced_to: u64,
    failed: Option<FsError>,
}

impl Copy<'_> {
    fn take(&mut self, frame: &FoundFrame<'_>) {
        let Ok(view) = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE) else {
            tracing::error!(
                path = %self.path.display(), offset = frame.offset,
                "a frame with a good checksum does not decode; left out, the original is in quarantine"
            );
            return;
        };
        self.first_item_at.get_or_insert(frame.header.received_at);
        self.newest_item_at = frame.header.received_at;
        let (batch, bytes) = (self.header.id, view.item_bytes());
        let encoded = self
            .tail
            .push(batch, frame.header, frame.body, bytes, self.synced_to);
        if let Some(id) = view.submission() {
            self.contents.note(id, &frame.header);
        }
        put_frame(&mut self.pending, &encoded, frame.body);
        if self.pending.len() >= COPY_BYTES {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self
                .file
                .write_all_at(&self.pending, self.written)
                .at("write", self.path)
        {
            self.failed = Some(error);
        }
        self.written += self.pending.len() as u64;
        self.pending.clear();
    }
}

/// Keeps the bytes that a cut leaves out, if any is not zero, in `quarantine/<name>.torn.<n>`. They have no reason
/// beside them: the name says it.
///
/// # Errors
/// [`FsError`]; nothing is kept then. None of these bytes was acknowledged, and the copy needs the room.
pub(super) fn keep_torn(
    env: &Env,
    quarantine: &Path,
    examined: &Examined,
    original: &dyn File,
) -> Result<Option<PathBuf>, FsError> {
    let reader = FrameReader::new(
        original,
        batchd_frame::BatchId::from_bytes([0; 16]),
        examined.len,
    );
    let Some(start) = reader.next_nonzero(examined.good_end) else {
        return Ok(None);
    };
    let free = (0u32..)
        .map(|n| quarantine.join(format!("{}.torn.{n}", examined.name)))
        .map(|path| (env.fs.create_new(&path), path))
        .find(|(made, _)| {
            !made
                .as_ref()
                .is_err_and(|e| e.kind() == std::io::ErrorKind::AlreadyExists)
        });
    let Some((made, path)) = free else {
        return Ok(None);
    };
    let file = made.at("create", &path)?;
    let written = write_torn(&*file, &path, start, examined, original);
    if let Err(error) = written {
        discard(env, &path);
        return Err(error);
    }
    env.fs.sync_dir(quarantine).at("sync", quarantine)?;
    Ok(Some(path))
}

fn write_torn(
    file: &dyn File,
    path: &Path,
    start: u64,
    examined: &Examined,
    original: &dyn File,
) -> Result<(), FsError> {
    let mut window = vec![0; 256 << 10];
    let (mut from, mut to) = (start, 0);
    while from < examined.len {
        let n = original.read_at(&mut window, from).unwrap_or(0);
        if n == 0 {
            break;
        }
        file.write_all_at(window.get(..n).unwrap_or_default(), to)
            .at("write", path)?;
        from += n as u64;
        to += n as u64;
    }
    file.sync_data().at("sync", path)
}

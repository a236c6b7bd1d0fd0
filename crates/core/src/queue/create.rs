//! Explicit batches: made whole, with items given at once and a lifespan of their own.
//!
//! The file is written under a temporary name in `ready/`, sealed and synced, then renamed, and the directory is
//! synced: only then is the batch answered for and delivered. A crash before the rename leaves a temporary file,
//! which the next start removes; one after it leaves a whole batch, of which nobody may have been told. No state
//! between those can be read as a batch.
//!
//! It takes its place among the items of its key: the open batch of that key is closed and sealed before it, and
//! what comes later goes into a batch with a higher seq. Requests that are under way at the same time have no order.

use std::time::Duration;

use batchd_frame::{
    BatchId, BodyView, FRAME_HEADER_BYTES, FileHeader, FrameFlags, FrameHeader, FrameKind, Key,
    SealReason, codec,
};

use super::commit::{Broken, Commit};
use super::due::close_lane;
use super::incoming::Refusal;
use super::state::Queue;
use crate::error::{At, FsError};
use crate::policy::{Deadline, Load, expires_at};
use crate::spool::layout::{OpenName, Place, ReadyBatch, ReadyName, temporary};
use crate::spool::writer::{Tail, append_control, control_header, items_header, seal_of};

/// A batch to be made. Its body was checked and carries no submission id: a repeat would not be recognised.
#[derive(Debug, Clone, Copy)]
pub struct Creation<'a> {
    /// Key; empty for none. At most 255 bytes.
    pub key: &'a [u8],
    /// The body as it came.
    pub body: &'a [u8],
    /// CRC-32C of the body, which was compared.
    pub body_crc: u32,
    /// The same body, walked.
    pub view: BodyView<'a>,
    /// Its lifespan; that of the queue where it is left out.
    pub lifespan: Option<Duration>,
}

/// Why a batch is not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// As a submission of these items would be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No items.
    #[error("a batch has at least one item: the input was empty")]
    Empty,
    /// More items than a batch of this queue may hold.
    #[error(
        "{items} items are more than `max_items` of the queue, {max}: give less at once, or raise it"
    )]
    OverMaxItems {
        /// How many.
        items: u32,
        /// The queue's bound.
        max: u32,
    },
    /// More bytes than a batch of this queue may hold.
    #[error(
        "{bytes} bytes of items are more than `max_bytes` of the queue, {max}: give less at once, or raise it"
    )]
    OverMaxBytes {
        /// How many.
        bytes: u64,
        /// The queue's bound.
        max: u64,
    },
    /// A lifespan of nothing.
    #[error("a lifespan is longer than nothing: leave it out for that of the queue")]
    NoLifespan,
    /// A body with a submission id, which would promise that a repeat is recognised.
    #[error("a batch that is created has no submission id")]
    HasId,
    /// The file system is full. Nothing is kept.
    #[error(
        "the file system is full ({0}): free some space; submissions are taken again by themselves"
    )]
    NoSpace(String),
    /// The file system is read-only. Nothing is kept.
    #[error(
        "the file system of the spool is read-only: nothing is taken until it is mounted read-write"
    )]
    ReadOnly,
    /// Whether the batch is there is not known, and the process must stop.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A batch in the making: it has its name, its place in the order, and its bytes reserved.
struct Making {
    header: FileHeader,
    name: ReadyName,
    deadline: Deadline,
    /// Batches of the same key may not be sealed yet.
    follows: bool,
}

impl<T: Clone> Commit<T> {
    /// Makes a batch of the given items. Durable on return: it is in `ready/`, whole. Blocks, also for the group
    /// under way where that may hold earlier items of the same key.
    ///
    /// # Errors
    /// [`CreateError`]; only after [`CreateError::Broken`] may there be a batch.
    pub fn create(&self, creation: &Creation<'_>) -> Result<BatchId, CreateError> {
        let making = self.lock().begin_creation(creation)?;
        let made = self
            .seal_older(&making)
            .and_then(|()| self.make(creation, &making));
        if let Err(error) = made {
            self.lock().release(making.name.load());
            return Err(error);
        }
        let (name, place) = (making.name, Place::Ready);
        let batch = ReadyBatch { name, place };
        // Before anybody can deliver it: its end is never told first.
        self.tell_placed(&batch);
        let mut queue = self.lock();
        queue.admit(batch, making.deadline);
        queue.counters.items_accepted += name.items;
        Ok(name.id)
    }

    /// Has the batches of the same key sealed that hold earlier items, so that neither now nor after a crash this
    /// one goes out before them.
    fn seal_older(&self, making: &Making) -> Result<(), CreateError> {
        if !making.follows {
            return Ok(());
        }
        self.wait_for_group()?;
        self.seal_closed()?;
        if self.lock().is_unsealed(&making.header.key, making.name.seq) {
            if self.space().is_read_only() {
                return Err(CreateError::ReadOnly);
            }
            let why = "the open batch of the same key cannot be sealed before it";
            return Err(CreateError::NoSpace(why.to_owned()));
        }
        Ok(())
    }

    fn make(&self, creation: &Creation<'_>, making: &Making) -> Result<(), CreateError> {
        let ready = self.layout().ready();
        let path = ready.join(making.name.to_string());
        let fs = &self.env().fs;
        let unfinished = temporary(&path);
        let written = self
            .write_whole(creation, making, &unfinished)
            .and_then(|()| fs.rename(&unfinished, &path).at("rename", &path));
        if let Err(error) = written {
            if let Err(error) = fs.unlink(&unfinished) {
                tracing::debug!(path = %unfinished.display(), %error, "stays until the next start");
            }
            // After a failed sync, or one that is not understood, no file is trusted.
            let is_sync = error.operation == "sync";
            return Err(if error.is_no_space() && !is_sync {
                self.note_no_space(making.name.bytes);
                CreateError::NoSpace(error.to_string())
            } else if error.is_read_only() && !is_sync {
                self.space().note_read_only();
                CreateError::ReadOnly
            } else {
                self.fail(&error).into()
            });
        }
        let synced = fs.sync_dir(&ready).at("sync", &ready);
        synced.map_err(|error| self.fail(&error).into())
    }

    /// Writes header, items and seal, and syncs them.
    fn write_whole(
        &self,
        creation: &Creation<'_>,
        making: &Making,
        path: &std::path::Path,
    ) -> Result<(), FsError> {
        let Making { header, .. } = making;
        let file = self.env().fs.create_new(path).at("create", path)?;
        let encoded = header.encode();
        let mut tail = Tail::after_header(&encoded);
        let body_at = tail.offset + FRAME_HEADER_BYTES as u64;
        let frame = frame_header(creation, header.created_at);
        let bytes = creation.view.item_bytes();
        let frame = tail.push(header.id, frame, creation.body, bytes, 0);
        let mut head = encoded.to_vec();
        head.extend_from_slice(&frame);
        file.write_all_at(&head, 0).at("write", path)?;
        file.write_all_at(creation.body, body_at)
            .at("write", path)?;
        let now = self.env().clock.wall_micros();
        let seal = seal_of(header, &tail, SealReason::Created, now, Vec::new());
        let body = codec::encode(&seal);
        let control = control_header(FrameKind::Seal, &body, now);
        append_control(&*file, path, header.id, &mut tail, control, &body, 0)?;
        file.sync_data().at("sync", path)
    }
}

impl<T: Clone> Queue<T> {
    /// Checks what is to be made, gives it a name, and closes what must come before it.
    fn begin_creation(&mut self, creation: &Creation<'_>) -> Result<Making, CreateError> {
        if self.stopped {
            return Err(Refusal::Stopped.into());
        }
        let created_at = self.env.clock.wall_micros();
        self.check_creation(creation)?;
        let key = Key::new(creation.key).map_err(Refusal::from)?;
        // Full is full, for whatever brings items.
        self.reserve(Load {
            items: creation.view.count().into(),
            bytes: creation.view.item_bytes(),
        })?;
        let OpenName { seq, id } = self.new_name();
        let lifespan = creation.lifespan.or(self.options.policy.lifespan);
        let header = FileHeader {
            id,
            seq,
            created_at,
            lifespan,
            on_expire: self.options.policy.on_expire,
            queue: self.options.name.clone(),
            key,
        };
        let deadline = Deadline::from_first_item(self.env.clock.boot(), lifespan);
        let name = ReadyName {
            seq,
            items: creation.view.count().into(),
            bytes: creation.view.item_bytes(),
            expires_at: expires_at(created_at, lifespan).unwrap_or(0),
            id,
        };
        let follows = self.close_before(&header.key, seq);
        Ok(Making {
            header,
            name,
            deadline,
            follows,
        })
    }

    fn check_creation(&self, creation: &Creation<'_>) -> Result<(), CreateError> {
        let Creation { view, .. } = creation;
        let policy = &self.options.policy;
        if view.count() == 0 {
            return Err(CreateError::Empty);
        }
        if view.submission().is_some() {
            return Err(CreateError::HasId);
        }
        if creation.lifespan == Some(Duration::ZERO) {
            return Err(CreateError::NoLifespan);
        }
        if let Some(max) = policy.max_items.filter(|max| view.count() > *max) {
            let items = view.count();
            return Err(CreateError::OverMaxItems { items, max });
        }
        let (bytes, max) = (view.item_bytes(), policy.bytes_bound());
        if bytes > max {
            return Err(CreateError::OverMaxBytes { bytes, max });
        }
        Ok(())
    }

    /// Closes the open batch of a key, whose next one gets a seq behind this. Says whether there may be any that is
    /// not sealed.
    fn close_before(&mut self, key: &Key, seq: u64) -> bool {
        let boot = self.env.clock.boot();
        if let Some(lane) = self.lanes.follow(key, seq)
            && (lane.batch.is_some() || lane.busy)
        {
            close_lane(lane, SealReason::Flush, boot, &mut self.closing);
            self.keep_due = true;
            return true;
        }
        // The key may be forgotten while its last batch still waits for the seal.
        self.is_unsealed(key, seq)
    }

    /// Whether a batch of a key, before this seq, is not sealed.
    fn is_unsealed(&self, key: &Key, seq: u64) -> bool {
        self.unsealed()
            .any(|(header, ..)| header.key == *key && header.seq < seq)
    }
}

fn frame_header(creation: &Creation<'_>, received_at: u64) -> FrameHeader {
    let flags = FrameFlags::NONE
        .with(FrameFlags::FIRST_PART)
        .with(FrameFlags::LAST_PART)
        .with(FrameFlags::END_OF_BATCH);
    FrameHeader {
        flags,
        body_bytes: u32::try_from(creation.body.len()).unwrap_or(u32::MAX),
        body_crc: creation.body_crc,
        received_at,
        ..items_header(creation.view.count())
    }
}

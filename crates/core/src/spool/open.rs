//! A batch that is being filled: its file, and how far it is appended and synced.

use std::path::PathBuf;
use std::sync::Arc;

use batchd_frame::{BatchId, FileHeader, FrameHeader, FrameKind, SealReason, codec};

use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::policy::{Deadline, Load, expires_at};
use crate::spool::kept::BatchContents;
use crate::spool::layout::ReadyName;
use crate::spool::writer::{Tail, append_control, control_header, seal_of};

/// A batch in `open/`. Watermarks: `tail.offset` (appended) >= `synced_to`.
#[derive(Clone)]
pub struct OpenBatch {
    /// Who it is.
    pub header: FileHeader,
    /// Its file, which this process wrote.
    pub file: Arc<dyn File>,
    /// Where that is.
    pub path: PathBuf,
    /// Where the next frame goes.
    pub tail: Tail,
    /// How far the file is known synced, header included; 0 until then.
    pub synced_to: u64,
    /// Whether its name in `open/` is known durable.
    pub name_durable: bool,
    /// The submissions in it. Shared, so that a group can be planned on a copy.
    pub contents: Arc<BatchContents>,
    /// When its first item was received, unix time in microseconds.
    pub first_item_at: u64,
    /// The end of its lifespan in this process.
    pub deadline: Deadline,
    /// When the newest item of those was received that were there at the start; its first item, where it began since.
    pub newest_item_at: u64,
}

impl std::fmt::Debug for OpenBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "OpenBatch({}, {} items)",
            self.header.id, self.tail.items
        )
    }
}

impl OpenBatch {
    /// The batch.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.header.id
    }

    /// When it expires, unix time in microseconds. A lifespan counts from the first item.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        expires_at(self.first_item_at, self.header.lifespan)
    }

    /// What it holds.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            items: self.tail.items.into(),
            bytes: self.tail.bytes,
        }
    }

    /// Its name once it is sealed.
    #[must_use]
    pub fn ready_name(&self) -> ReadyName {
        ReadyName {
            seq: self.header.seq,
            items: self.tail.items.into(),
            bytes: self.tail.bytes,
            expires_at: self.expires_at().unwrap_or(0),
            id: self.header.id,
        }
    }

    /// Appends the seal. Nothing is durable on return.
    ///
    /// # Errors
    /// [`FsError`]; the batch is then as it was, and any prefix of the seal may have been written.
    pub fn append_seal(&mut self, reason: SealReason, now: u64) -> Result<(), FsError> {
        let producers = self.contents.records();
        let body = codec::encode(&seal_of(&self.header, &self.tail, reason, now, producers));
        self.append(control_header(FrameKind::Seal, &body, now), &body)
    }

    /// Appends a mark and makes the file durable: closes it at a clean stop, so that damage anywhere in it is
    /// told from a torn tail.
    ///
    /// # Errors
    /// [`FsError`]; what was acknowledged is as safe as before.
    pub fn mark(&mut self, env: &Env) -> Result<(), FsError> {
        // What a mark says of the file before it must be true of it.
        self.file.sync_data().at("sync", &self.path)?;
        self.synced_to = self.tail.offset;
        self.append(
            control_header(FrameKind::Mark, &[], env.clock.wall_micros()),
            &[],
        )?;
        self.file.sync_data().at("sync", &self.path)?;
        self.synced_to = self.tail.offset;
        Ok(())
    }

    /// Appends a frame without items. Nothing is durable on return.
    pub(crate) fn append(&mut self, header: FrameHeader, body: &[u8]) -> Result<(), FsError> {
        let id = self.header.id;
        append_control(
            &*self.file,
            &self.path,
            id,
            &mut self.tail,
            header,
            body,
            self.synced_to,
        )
    }
}

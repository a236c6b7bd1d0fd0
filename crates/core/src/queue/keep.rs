//! Housekeeping off the path to any acknowledgement: seals, and files made ahead of need.

use std::sync::Arc;

use batchd_frame::SealReason;
use batchd_frame::planted::{Planted, is_planted};

use super::state::{Closing, Queue, view};
use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::policy::Deadline;
use crate::spool::layout::{OpenName, Place, QueueLayout, ReadyBatch};
use crate::spool::open::OpenBatch;

/// Bounds on how much of a file made ahead is filled with zeros: as much as the last batch came to.
const PREFILL_BYTES: (u64, u64) = (64 << 10, 64 << 20);
/// So much is filled at a time, and synced, so that no other sync has much to wait for.
const PREFILL_AT_ONCE: usize = 512 << 10;
/// Most files made ahead.
const SPARES_MAX: usize = 8;

/// A file made ahead: its first stretch is zeros, and contents and name are durable.
#[derive(Clone)]
pub(super) struct Spare {
    pub name: OpenName,
    pub file: Arc<dyn File>,
}

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spare({})", self.name)
    }
}

/// Batches to seal.
#[derive(Debug)]
pub(super) struct SealJob {
    closing: Vec<Closing>,
    layout: QueueLayout,
}

/// How sealing went.
#[derive(Debug, Default)]
pub(super) struct SealResult {
    /// With the length of the file.
    sealed: Vec<(ReadyBatch, Deadline, u64)>,
    /// For want of space, or because nothing can be written; tried again later, in order.
    left: Vec<Closing>,
    pub broken: Option<FsError>,
    pub waits: Option<FsError>,
}

impl SealJob {
    /// Appends the seals, syncs, cuts off what is left of the zeros, renames, and syncs the directory once for all.
    pub(super) fn run(self, env: &Env) -> SealResult {
        let mut result = SealResult::default();
        for mut closing in self.closing {
            if result.broken.is_some() {
                continue;
            }
            if result.waits.is_some() {
                result.leave(closing);
                continue;
            }
            match seal(env, &self.layout, &mut closing.batch, closing.reason) {
                Ok(place) => {
                    let batch = &closing.batch;
                    let name = batch.ready_name();
                    let sealed = ReadyBatch { name, place };
                    result
                        .sealed
                        .push((sealed, batch.deadline, batch.tail.offset));
                }
                Err(SealError::Wait(error)) => {
                    result.waits = Some(error);
                    result.leave(closing);
                }
                Err(SealError::Broken(error)) => result.broken = Some(error),
            }
        }
        let ready = self.layout.ready();
        if !result.sealed.is_empty()
            && !is_planted(Planted::NoDirectorySync)
            && let Err(error) = env.fs.sync_dir(&ready).at("sync", &ready)
        {
            // Not delivered from a name that may be gone after a crash.
            result.sealed.clear();
            result.broken.get_or_insert(error);
        }
        result
    }
}

impl SealResult {
    /// Those that are sealed, durably.
    pub(super) fn sealed(&self) -> impl Iterator<Item = &ReadyBatch> {
        self.sealed.iter().map(|(batch, _, _)| batch)
    }

    /// Keeps a batch for later. Its seal would have synced it; now that is done without.
    fn leave(&mut self, mut closing: Closing) {
        let batch = &mut closing.batch;
        if batch.synced_to < batch.tail.offset {
            match batch.file.sync_data().at("sync", &batch.path) {
                Ok(()) => batch.synced_to = batch.tail.offset,
                Err(error) => {
                    self.broken.get_or_insert(error);
                    return;
                }
            }
        }
        self.left.push(closing);
    }
}

enum SealError {
    /// Nothing depends on it: it is tried again.
    Wait(FsError),
    Broken(FsError),
}

fn seal(
    env: &Env,
    layout: &QueueLayout,
    batch: &mut OpenBatch,
    reason: SealReason,
) -> Result<Place, SealError> {
    let before = batch.tail.offset;
    if let Err(error) = batch.append_seal(reason, env.clock.wall_micros()) {
        // Part of a seal may be there. Nothing depends on it, but space may; the next try writes over it.
        let cut = batch.file.set_len(before);
        return Err(
            if error.is_read_only() || (error.is_no_space() && cut.is_ok()) {
                SealError::Wait(error)
            } else {
                SealError::Broken(error)
            },
        );
    }
    if !is_planted(Planted::SealWithoutSync) {
        batch
            .file
            .sync_data()
            .at("sync", &batch.path)
            .map_err(SealError::Broken)?;
        batch.synced_to = batch.tail.offset;
    }
    if let Err(error) = batch.file.set_len(batch.tail.offset) {
        tracing::warn!(path = %batch.path.display(), %error, "zeros behind the seal stay");
    }
    let path = layout.ready().join(batch.ready_name().to_string());
    match env.fs.rename(&batch.path, &path).at("rename", &path) {
        Ok(()) => Ok(Place::Ready),
        // Sealed and durable where it is: it goes out from there, and the next start renames it.
        Err(error) if error.is_no_space() || error.is_read_only() => {
            if !batch.name_durable {
                let open = layout.open();
                env.fs
                    .sync_dir(&open)
                    .at("sync", &open)
                    .map_err(SealError::Broken)?;
            }
            tracing::warn!(%error, "a sealed batch cannot be renamed now; it is delivered from open/");
            Ok(Place::Open)
        }
        Err(error) => Err(SealError::Broken(error)),
    }
}

/// Files to make ahead.
#[derive(Debug)]
pub(super) struct SpareJob {
    names: Vec<OpenName>,
    prefill_bytes: u64,
    layout: QueueLayout,
}

impl SpareJob {
    /// Makes the files. One that cannot be made is left out: the next batch is then begun on the spot.
    ///
    /// # Errors
    /// [`FsError`] where the directory cannot be synced: names in it are not known durable from then on.
    pub(super) fn run(&self, env: &Env) -> Result<Vec<Spare>, FsError> {
        let dir = self.layout.open();
        let mut spares = Vec::new();
        for name in &self.names {
            let path = dir.join(name.to_string());
            match make(env, &path, self.prefill_bytes) {
                Ok(file) => spares.push(Spare { name: *name, file }),
                Err(error) => {
                    tracing::debug!(%error, "no file made ahead");
                    if let Err(error) = env.fs.unlink(&path) {
                        tracing::debug!(path = %path.display(), %error, "not removed");
                    }
                    break;
                }
            }
        }
        env.fs.sync_dir(&dir).at("sync", &dir)?;
        Ok(spares)
    }

    pub(super) fn count(&self) -> usize {
        self.names.len()
    }
}

fn make(env: &Env, path: &std::path::Path, bytes: u64) -> Result<Arc<dyn File>, FsError> {
    let file = env.fs.create_new(path).at("create", path)?;
    let bytes = usize::try_from(bytes).unwrap_or(0);
    let zeros = vec![0; bytes.min(PREFILL_AT_ONCE)];
    for start in (0..bytes).step_by(PREFILL_AT_ONCE) {
        let some = zeros.get(..bytes - start).unwrap_or(&zeros);
        file.write_all_at(some, start as u64).at("write", path)?;
        file.sync_data().at("sync", path)?;
    }
    Ok(file)
}

impl<T: Clone> Queue<T> {
    /// How many closed batches wait for their seal.
    #[must_use]
    pub fn seals_waiting(&self) -> usize {
        self.closing.len() + self.seals_under_way.len()
    }

    pub(super) fn take_seals(&mut self) -> Option<SealJob> {
        if self.closing.is_empty() {
            return None;
        }
        let closing: Vec<_> = self.closing.drain(..).collect();
        for closed in &closing {
            self.beats.note_closed(closed.at);
        }
        self.sealing_unsynced = closing
            .iter()
            .any(|c| c.batch.synced_to < c.batch.tail.offset);
        self.seals_under_way = closing
            .iter()
            .map(|c| view(&c.batch, Some(c.reason)))
            .collect();
        Some(SealJob {
            closing,
            layout: self.layout.clone(),
        })
    }

    /// Takes note of sealed batches. Those for which there was no room go back to the front.
    pub(super) fn finish_seals(&mut self, result: SealResult) -> bool {
        self.seals_under_way.clear();
        self.sealing_unsynced = false;
        let any = !result.sealed.is_empty();
        for (batch, deadline, file_bytes) in result.sealed {
            let (low, high) = PREFILL_BYTES;
            self.prefill_bytes = file_bytes.next_multiple_of(low).clamp(low, high);
            self.admit(batch, deadline);
            if !self.options.has_sink {
                self.flush_ended(batch.name.id);
            }
        }
        for closing in result.left.into_iter().rev() {
            self.closing.push_front(closing);
        }
        any
    }

    /// How long a file made ahead is.
    pub(super) fn spare_bytes(&self) -> u64 {
        self.prefill_bytes.max(PREFILL_BYTES.0)
    }

    /// Names for files to make ahead: one, or as many as were begun since the last time.
    pub(super) fn want_spares(&mut self) -> Option<SpareJob> {
        let begun = std::mem::take(&mut self.begun_lately);
        let have = self.spares.len() + self.spares_under_way;
        // A queue that was never used costs nothing.
        if begun == 0 && (have > 0 || self.counters.groups == 0) {
            return None;
        }
        let want = begun.clamp(1, SPARES_MAX).saturating_sub(have);
        if want == 0 {
            return None;
        }
        let names = (0..want).map(|_| self.new_name()).collect();
        self.spares_under_way += want;
        Some(SpareJob {
            names,
            prefill_bytes: self.spare_bytes(),
            layout: self.layout.clone(),
        })
    }

    pub(super) fn add_spares(&mut self, wanted: usize, spares: Vec<Spare>) {
        self.spares_under_way -= wanted;
        self.spares.extend(spares);
        self.spares
            .make_contiguous()
            .sort_by_key(|spare| spare.name.seq);
    }
}

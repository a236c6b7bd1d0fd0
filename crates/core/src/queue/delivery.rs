//! What becomes of a sealed batch: recorded, then removed or set aside.

use std::io;
use std::path::Path;

use batchd_frame::planted::{Planted, is_planted};
use batchd_frame::{FrameKind, ProducerRecord, Verdict, codec};

use super::commit::Commit;
use super::state::Queue;
use crate::error::{At, FsError};
use crate::spool::layout::{Place, ReadyBatch};
use crate::spool::ledger::{LedgerError, LedgerLine, Outcome};
use crate::spool::progress::{self, Part};
use crate::spool::sealed::{Inspection, SealedFile};
use crate::spool::writer::{Tail, append_control, control_header};

/// Why a finished batch is not on record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// Nothing changed; try again.
    #[error(transparent)]
    Retry(FsError),
    /// What is on the medium is not known: the process must stop and recover. The queue knows of it.
    #[error(transparent)]
    Broken(FsError),
}

impl From<LedgerError> for FinishError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Untouched(error) => Self::Retry(error),
            LedgerError::Unknown(error) => Self::Broken(error),
        }
    }
}

impl<T: Clone> Commit<T> {
    /// Opens a sealed batch for reading.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn open_sealed(&self, batch: &ReadyBatch) -> Result<SealedFile, FsError> {
        SealedFile::open(self.env(), &self.layout().sealed(batch), batch.name.id)
    }

    /// Records what became of a batch, durably, and then removes its file.
    ///
    /// # Errors
    /// [`FinishError`]; where it says to try again, the batch is still there.
    pub fn finish(
        &self,
        batch: &ReadyBatch,
        outcome: Outcome,
        inspection: &Inspection,
    ) -> Result<(), FinishError> {
        let path = self.layout().sealed(batch);
        let why = inspection.damage.clone().unwrap_or_default();
        let producers = inspection.seal.as_ref().map(|seal| seal.producers.clone());
        if is_planted(Planted::UnlinkBeforeRecord) {
            self.unlink(&path);
            let ready = self.layout().ready();
            self.env()
                .fs
                .sync_dir(&ready)
                .at("sync", &ready)
                .map_err(FinishError::Broken)?;
        }
        let producers = producers.unwrap_or_default();
        self.record(&[self.ledger_line(batch, outcome, &why, producers)])?;
        if inspection.damage.is_some() {
            self.quarantine(&path, &why);
            self.unlink(&self.layout().progress(batch.name.id));
        } else {
            self.unlink(&path);
        }
        self.lock().settle(batch, outcome);
        Ok(())
    }

    /// Records that the file of a batch is gone, or is no file any more, so that the batches behind it go on. What
    /// lies there under its name goes to quarantine.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn give_up(&self, batch: &ReadyBatch, why: &str) -> Result<(), FinishError> {
        // Where the directory is gone too, the whole spool is away, and may come back.
        let path = self.layout().sealed(batch);
        let dir = path.parent().unwrap_or(Path::new("."));
        let there = self.env().fs.space(dir).at("look for", dir);
        there.map_err(FinishError::Retry)?;
        self.record(&[self.ledger_line(batch, Outcome::Removed, why, Vec::new())])?;
        tracing::error!(
            batch = %batch.name.id, path = %path.display(), items = batch.name.items, why,
            "the file of a batch cannot be opened and never will be: its items are lost to batchd"
        );
        if let Err(error) = self.spool().quarantine().take(&path, why) {
            tracing::debug!(%error, "nothing is set aside");
        }
        self.lock().settle(batch, Outcome::Removed);
        Ok(())
    }

    /// Enters in the ledger what became of batches. Durable on return. All that ends goes through here.
    pub(super) fn record(&self, lines: &[LedgerLine]) -> Result<(), FinishError> {
        let number = self.append_to_ledger(lines)?;
        let mut queue = self.lock();
        for line in lines {
            queue.note_end(line.seq, line.outcome, &line.producers);
        }
        drop(queue);
        for line in lines {
            self.tell_recorded(line, number);
        }
        Ok(())
    }

    pub(super) fn ledger_line(
        &self,
        batch: &ReadyBatch,
        outcome: Outcome,
        why: &str,
        producers: Vec<ProducerRecord>,
    ) -> LedgerLine {
        LedgerLine {
            at: self.env().clock.wall_micros(),
            id: batch.name.id,
            seq: batch.name.seq,
            outcome,
            items: batch.name.items,
            bytes: batch.name.bytes,
            why: why.to_owned(),
            producers,
        }
    }

    /// Appends lines to the ledger; where there is no room for them, at the expense of the ballast. Returns the
    /// ledger's [number](crate::spool::ledger::Ledger::number).
    fn append_to_ledger(&self, lines: &[LedgerLine]) -> Result<u64, FinishError> {
        let mut ledger = self.ledger();
        // Whoever held it before may have failed to sync it.
        self.demand_sound_for(&self.layout().ledger())?;
        let appended = self.with_room(|| ledger.append(lines).map_err(FinishError::from));
        let appended = appended.map(|()| ledger.number());
        // Before another thread has the ledger.
        let noted = appended.inspect_err(|error| self.note_unfinished(error));
        drop(ledger);
        noted
    }

    /// Records which parts of a batch were delivered. Durable on return.
    ///
    /// # Errors
    /// [`FsError`]; the record is then as it was, or as it was to be.
    pub fn record_progress(&self, batch: &ReadyBatch, parts: &[Part]) -> Result<(), FsError> {
        let path = self.layout().progress(batch.name.id);
        let write = || progress::write(self.env(), &path, parts).map_err(FinishError::Retry);
        self.with_room(write).map_err(|error| match error {
            FinishError::Retry(error) | FinishError::Broken(error) => {
                self.note_unwritten(&error);
                error
            }
        })
    }

    /// Writes; where there is no room for it, again at the expense of the ballast.
    fn with_room(
        &self,
        mut write: impl FnMut() -> Result<(), FinishError>,
    ) -> Result<(), FinishError> {
        let mut written = write();
        while matches!(&written, Err(FinishError::Retry(error)) if error.is_no_space())
            && self.make_way()
        {
            written = write();
        }
        written
    }

    /// Records that batches are dropped, durably, and removes their files.
    pub(super) fn drop_recorded(
        &self,
        batches: &[(ReadyBatch, Vec<ProducerRecord>)],
        why: &str,
    ) -> Result<(), FinishError> {
        let line = |(batch, producers): &(ReadyBatch, Vec<ProducerRecord>)| {
            self.ledger_line(batch, Outcome::Dropped, why, producers.clone())
        };
        self.record(&batches.iter().map(line).collect::<Vec<_>>())?;
        for (batch, _) in batches {
            self.unlink(&self.layout().sealed(batch));
            self.unlink(&self.layout().progress(batch.name.id));
        }
        let mut queue = self.lock();
        for (batch, _) in batches {
            queue.settle(batch, Outcome::Dropped);
        }
        Ok(())
    }

    /// As [`demand_sound`](Self::demand_sound), for what is about to be written.
    fn demand_sound_for(&self, path: &Path) -> Result<(), FinishError> {
        let sound = self.demand_sound().map_err(io::Error::other);
        sound.at("write", path).map_err(FinishError::Broken)
    }

    /// The end of a batch could not be recorded. Where that is for good, nobody writes here any more.
    pub(super) fn note_unfinished(&self, error: &FinishError) {
        match error {
            FinishError::Retry(error) => self.note_unwritten(error),
            FinishError::Broken(error) => {
                self.fail(error);
            }
        }
    }

    /// What became of a batch could not be recorded, which keeps the next attempt from being made too soon.
    fn note_unwritten(&self, error: &FsError) {
        if error.is_read_only() {
            self.space().note_read_only();
        } else if error.is_no_space() {
            self.space().note_unrecorded();
        }
    }

    /// Appends a verdict at an offset, with the checksum of the last good frame's header. Durable on return. Where
    /// there is no room for it, it is made at the expense of the ballast.
    pub(super) fn append_verdict(
        &self,
        batch: &ReadyBatch,
        behind: (u64, u32),
        verdict: &Verdict,
    ) -> Result<(), FinishError> {
        self.demand_sound_for(&self.layout().sealed(batch))?;
        self.with_room(|| self.write_verdict(batch, behind, verdict))
            .inspect_err(|error| self.note_unfinished(error))
    }

    fn write_verdict(
        &self,
        batch: &ReadyBatch,
        (offset, last_crc): (u64, u32),
        verdict: &Verdict,
    ) -> Result<(), FinishError> {
        let retry = FinishError::Retry;
        let (env, path) = (self.env(), &self.layout().sealed(batch));
        let file = env.fs.open(path).at("open", path).map_err(retry)?;
        // What a crash left of a longer one would stick out behind it.
        if file.len().at("measure", path).map_err(retry)? > offset {
            file.set_len(offset).at("cut", path).map_err(retry)?;
        }
        let mut tail = Tail {
            offset,
            prev_crc: last_crc,
            items: 0,
            bytes: 0,
            digester: batchd_frame::Digester::new(),
        };
        let id = batch.name.id;
        let body = codec::encode(verdict);
        let header = control_header(FrameKind::Verdict, &body, verdict.at);
        let written = append_control(&*file, path, id, &mut tail, header, &body, offset);
        if let Err(error) = written {
            // What was written of it would be in the way of the next one.
            if error.is_read_only() && file.len().is_ok_and(|len| len == offset) {
                return Err(retry(error));
            }
            let cut = file.set_len(offset).and_then(|()| file.sync_data());
            return Err(if cut.is_ok() {
                retry(error)
            } else {
                FinishError::Broken(error)
            });
        }
        file.sync_data()
            .at("sync", path)
            .map_err(FinishError::Broken)
    }

    pub(super) fn unlink(&self, path: &Path) {
        match self.env().fs.unlink(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // It is on record, so that the next start removes it.
                tracing::warn!(path = %path.display(), %error, "a finished batch is not removed yet");
            }
            _ => {}
        }
    }

    fn quarantine(&self, path: &Path, reason: &str) {
        match self.spool().quarantine().take(path, reason) {
            Ok(kept) => tracing::error!(
                kept = %kept.display(), reason,
                "a damaged batch is finished as far as it can be read; the file is in quarantine"
            ),
            Err(error) => tracing::error!(%error, "a damaged batch cannot be set aside"),
        }
    }
}

impl<T: Clone> Queue<T> {
    /// Takes note of whose submissions a batch held that has ended.
    pub(super) fn note_end(&mut self, seq: u64, outcome: Outcome, producers: &[ProducerRecord]) {
        if outcome != Outcome::Delivered {
            self.ended_badly.enter(producers);
        }
        self.remember(seq, producers);
    }

    /// A batch has ended, or is set aside: it waits no more. The file and the ledger say so already, or will.
    pub(super) fn settle(&mut self, batch: &ReadyBatch, outcome: Outcome) {
        if self.ready.remove(&batch.name.key()).is_some() {
            self.held = self.held.less(batch.name.load());
            self.ready_load = self.ready_load.less(batch.name.load());
        }
        self.batch_ended(batch.name.id, outcome);
        self.flush_ended(batch.name.id);
        self.watched_ended(batch.name.seq, outcome);
        match outcome {
            Outcome::Delivered | Outcome::DeliveredDamaged => {
                self.counters.batches_delivered += 1;
                self.counters.items_delivered += batch.name.items;
            }
            Outcome::Expired => {
                self.counters.batches_expired += 1;
                let place = Place::Dead;
                let name = batch.name;
                let there = self.dead.insert(name.key(), ReadyBatch { name, place });
                if there.is_none() {
                    self.dead_load = self.dead_load.plus(name.load());
                }
                return;
            }
            Outcome::Dropped => {
                self.counters.batches_dropped += 1;
                self.counters.items_dropped += batch.name.items;
            }
            Outcome::Removed => {}
        }
        self.options.space.give_back(batch.name.bytes);
    }
}

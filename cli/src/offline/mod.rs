//! Reads a spool while no daemon runs, and gives what a daemon would answer. The only module that knows of the core.

mod error;
mod items;

use std::path::{Path, PathBuf};

use batchd_client::{BatchId, BatchInfo, BatchState, Finding, FindingKind, QueueName};
use batchd_core::env::os;
use batchd_core::spool::sealed::SealedFile;
use batchd_core::spool::survey::{Stage, Survey, Surveyed};
use batchd_core::spool::verify::{self, Severity};
use batchd_core::spool::{Layout, ReadSpool};

pub(crate) use error::OfflineError;

use crate::render::findings::Summary;

/// A spool that no daemon has.
pub(crate) struct Offline {
    spool: ReadSpool,
}

impl Offline {
    /// Opens a spool. Nothing is written to it, now or later; a daemon cannot start while it is open.
    pub(crate) fn open(dir: &Path) -> Result<Self, OfflineError> {
        let spool = ReadSpool::open(os::env(), Layout::new(dir))?;
        Ok(Self { spool })
    }

    /// Shows every batch, by queue, state and seq.
    pub(crate) fn each_batch(
        &self,
        only: Option<&QueueName>,
        visit: &mut dyn FnMut(BatchInfo) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for queue in self.queues(only)? {
            let mut done = Ok(());
            let survey = Survey::new(&self.spool, &queue);
            survey
                .each_batch(|batch| {
                    done = visit(self.info(&queue, &batch));
                    done.is_ok()
                })
                .map_err(OfflineError::from)?;
            done?;
        }
        Ok(())
    }

    /// One batch, with what its file says of it.
    pub(crate) fn show(&self, id: BatchId) -> Result<BatchInfo, OfflineError> {
        let (queue, batch) = self.find(id)?;
        let mut info = self.info(&queue, &batch);
        if batch.header.is_none() {
            let inspection = SealedFile::open(self.spool.env(), &batch.path, id)?.inspect();
            info.reason = info
                .reason
                .or(inspection.seal.as_ref().map(|seal| seal.reason));
            info.verdict = inspection.verdict.as_ref().map(ToString::to_string);
            if let Some(header) = inspection.header {
                info.key = Some(header.key.as_bytes().to_vec());
                info.created_at = header.created_at;
            }
        }
        Ok(info)
    }

    /// Verifies the spool, or one queue of it.
    pub(crate) fn verify(
        &self,
        only: Option<&QueueName>,
        tell: &mut dyn FnMut(Finding) -> anyhow::Result<()>,
    ) -> anyhow::Result<Summary> {
        self.queues(only)?;
        let mut told = Ok(());
        let totals = verify::verify(&self.spool, only, &mut |found| {
            told = tell(finding(found));
            told.is_ok()
        })
        .map_err(OfflineError::from)?;
        told?;
        Ok(Summary {
            batches: totals.batches,
            items: totals.items,
            bytes: totals.bytes,
            damages: totals.damages,
            notes: totals.notes,
            items_missing: totals.items_missing,
        })
    }

    fn queues(&self, only: Option<&QueueName>) -> Result<Vec<QueueName>, OfflineError> {
        let queues = self.spool.queues()?;
        match only {
            None => Ok(queues),
            Some(only) if queues.contains(only) => Ok(vec![only.clone()]),
            Some(only) => Err(OfflineError::NoSuchQueue {
                spool: self.path(),
                queue: only.clone(),
                known: queues,
            }),
        }
    }

    fn find(&self, id: BatchId) -> Result<(QueueName, Surveyed), OfflineError> {
        for queue in self.spool.queues()? {
            if let Some(batch) = Survey::new(&self.spool, &queue).find(id)? {
                return Ok((queue, batch));
            }
        }
        Err(self.no_such_batch(id))
    }

    fn no_such_batch(&self, id: BatchId) -> OfflineError {
        OfflineError::NoSuchBatch(self.path(), id)
    }

    fn path(&self) -> PathBuf {
        self.spool.layout().root().to_owned()
    }

    fn info(&self, queue: &QueueName, batch: &Surveyed) -> BatchInfo {
        let root = self.spool.layout().root();
        let path = batch.path.strip_prefix(root).unwrap_or(&batch.path);
        let header = batch.header.as_ref();
        BatchInfo {
            id: batch.name.id,
            queue: queue.clone(),
            seq: batch.name.seq,
            key: header.map(|header| header.key.as_bytes().to_vec()),
            state: match batch.stage {
                Stage::Open => BatchState::Open,
                Stage::Closed => BatchState::Sealing,
                Stage::Ready => BatchState::Ready,
                Stage::Dead => BatchState::Dead,
            },
            items: batch.name.items,
            bytes: batch.name.bytes,
            created_at: batch.created_at(),
            expires_at: Some(batch.name.expires_at).filter(|at| *at != 0),
            reason: batch.reason,
            path: path.display().to_string(),
            verdict: None,
        }
    }
}

fn finding(found: verify::Finding) -> Finding {
    Finding {
        kind: match found.severity {
            Severity::Damage => FindingKind::Damage,
            Severity::Note => FindingKind::Note,
        },
        path: found.path,
        offset: found.offset,
        batch: found.batch,
        items_missing: found.items_missing,
        what: found.what,
    }
}

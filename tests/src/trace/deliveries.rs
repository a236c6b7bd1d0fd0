//! The way of a batch out: sealed, ready, delivered, on record, removed.

use std::collections::HashMap;
use std::path::Path;

use batchd_frame::BatchId;

use super::check::Checker;
use super::disk::FileId;
use super::log::{Call, Moment};
use super::places::{Role, batch_id_in};
use super::report::Rule;

impl Checker {
    /// A file is about to get another name.
    pub(super) fn rename_entered(&mut self, call: &Call, from: &Path, to: &Path) {
        let Some(id) = self.disk.find(from) else {
            return;
        };
        match self.places.role(to) {
            Role::Ready if self.batches.contains_key(&id) => {
                self.report.sealed += 1;
                if !self.sealed.contains_key(&id) {
                    let what = format!("{} becomes ready", from.display());
                    self.violation(Rule::SealSynced, call, what);
                }
            }
            Role::Open if self.disk.file(id).is_some_and(|file| !file.is_synced()) => {
                let what = format!("{} takes its place unsynced", from.display());
                self.violation(Rule::SyncedTo, call, what);
            }
            Role::Delivery => self.delivery_entered(call, id, to),
            _ => {}
        }
    }

    /// A sink gives a file its name. The attempt began when it made the file.
    fn delivery_entered(&mut self, call: &Call, id: FileId, to: &Path) {
        let Some(batch) = batch_id_in(to) else { return };
        let Some(file) = self.disk.file(id) else {
            return;
        };
        self.report.delivered += 1;
        let began = file.made;
        if !file.is_synced() {
            let what = format!("what was written to {} is not synced", to.display());
            self.violation(Rule::DeliverySynced, call, what);
        }
        self.delivered.insert(batch, id);
        if self.found.contains(&batch) {
            return;
        }
        let source = self.ids.get(&batch);
        let by_then = |moments: &HashMap<FileId, Moment>| {
            source
                .and_then(|id| moments.get(id))
                .is_some_and(|moment| *moment < began)
        };
        let (is_sealed, is_ready) = (by_then(&self.sealed), by_then(&self.ready));
        if !is_sealed {
            let what = format!("{batch} is delivered before its seal is synced");
            self.violation(Rule::AttemptSealed, call, what);
        }
        if !is_ready {
            let what = format!("{batch} is delivered before its name in ready/ is durable");
            self.violation(Rule::AttemptReady, call, what);
        }
    }

    /// The ledger is about to say that a batch is delivered.
    pub(super) fn check_delivered(&mut self, call: &Call, batch: BatchId) {
        // What a former daemon recorded is copied.
        if !self.ids.contains_key(&batch) && !self.found.contains(&batch) {
            return;
        }
        let file = self
            .delivered
            .get(&batch)
            .and_then(|id| self.disk.file(*id));
        let is_durable = file.is_some_and(|file| {
            self.places.role(&file.path) == Role::Delivery && self.disk.is_name_durable(&file.path)
        });
        if !is_durable {
            let what = format!("{batch} goes on record as delivered");
            self.violation(Rule::RecordDelivered, call, what);
        }
    }

    /// A file is about to be removed.
    pub(super) fn unlink_entered(&mut self, call: &Call, path: &Path) {
        let id = self.disk.find(path);
        let batch = match id {
            Some(id) => {
                let batch = self.batches.get(&id);
                batch
                    .filter(|batch| !batch.frames.is_empty())
                    .map(|batch| batch.header.id)
            }
            // Left by a former daemon.
            None if self.places.role(path) == Role::Ready => {
                batch_id_in(path).filter(|batch| !self.ids.contains_key(batch))
            }
            None => None,
        };
        let Some(batch) = batch else { return };
        self.report.removed += 1;
        if self.is_recorded(batch) {
            self.released.extend(id);
        } else {
            let what = format!("{} is removed", path.display());
            self.violation(Rule::RemovedRecorded, call, what);
        }
    }

    /// A file was opened: perhaps a batch that a former daemon left.
    pub(super) fn note_found(&mut self, path: &Path) {
        if self.disk.find(path).is_none() && self.places.role(path) == Role::Ready {
            self.found.extend(batch_id_in(path));
        }
    }

    /// Whether a line of a ledger has the batch, durably.
    fn is_recorded(&self, batch: BatchId) -> bool {
        let lines = self
            .recorded
            .get(&batch)
            .map(Vec::as_slice)
            .unwrap_or_default();
        lines.iter().any(|(id, end)| {
            let synced = self.disk.file(*id).map_or(0, |file| {
                if file.content.len() < *end {
                    0
                } else {
                    file.synced_to()
                }
            });
            synced >= *end as u64 && self.disk.is_reachable(*id)
        })
    }
}

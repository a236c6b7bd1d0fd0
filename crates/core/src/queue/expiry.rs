//! Expiry: what has outlived its lifespan is set aside or dropped, by whoever meets it first.
//!
//! The dispatcher meets it when it comes up for delivery, a reader when he asks for it, and the cleaner in its
//! rounds. Each claims the batch before anything is done, so that an attempt under way is never disturbed: a batch
//! whose lifespan ends meanwhile is delivered, if the attempt succeeds.
//!
//! Batches expire in groups, so that ten thousand of them cost a ledger sync for each group and not for each batch.
//! The order on disk is that of any end: to set one aside, the verdict is synced before the rename; to drop one, the
//! ledger's line before the file goes. A crash between any two steps leaves a batch that expires again.

use std::time::Duration;

use batchd_frame::{BatchId, OnExpire, ProducerRecord, SealReason, Verdict, VerdictOutcome};

use super::claim::Claim;
use super::commit::{Broken, Commit};
use super::delivery::FinishError;
use super::due::close_lane;
use super::state::Queue;
use crate::error::{At, FsError};
use crate::policy::Deadline;
use crate::spool::layout::{Place, ReadyBatch};
use crate::spool::ledger::Outcome;
use crate::spool::sealed::SealedFile;

/// So many expire together. Each costs two syncs at most, and housekeeping has more to do.
pub(super) const GROUP_BATCHES: usize = 64;
/// What the ledger says of a batch that was dropped for its age.
pub const WHY_DROPPED: &str = "lifespan";

/// A batch that waits, and until when it may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Perishable {
    pub batch: ReadyBatch,
    pub deadline: Deadline,
}

/// The last attempt that failed.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    id: BatchId,
    attempts: u32,
    error: String,
}

/// What has expired together.
#[derive(Debug, Default)]
struct Group {
    buried: Vec<(ReadyBatch, Vec<ProducerRecord>)>,
    dropped: Vec<(ReadyBatch, Vec<ProducerRecord>)>,
    /// Why one could not be ended now, or the rest was not tried.
    left: Option<FsError>,
    /// One was written by a newer program, and is not for this one to end.
    newer: Option<FsError>,
}

/// How the end of some batches went.
pub(super) struct Ended {
    pub expired: u64,
    pub left: Option<FsError>,
    newer: Option<FsError>,
}

impl<T: Clone> Commit<T> {
    /// Whether the lifespan of a batch that waits is over.
    #[must_use]
    pub fn is_expired(&self, batch: &ReadyBatch) -> bool {
        let mut queue = self.lock();
        let Some(perishable) = queue.ready.get(&batch.name.key()).copied() else {
            return false;
        };
        queue.is_over(perishable.deadline)
    }

    /// Takes note of an attempt that failed, for the verdict of a batch that expires after it.
    pub fn note_failure(&self, batch: &ReadyBatch, attempts: u32, error: &str) {
        self.lock().tried = Some(Tried {
            id: batch.name.id,
            attempts,
            error: error.to_owned(),
        });
    }

    /// Expires a batch that its caller has claimed and found expired, and with it those right behind it that are
    /// expired too and that nobody has. Durable on return.
    ///
    /// # Errors
    /// [`FinishError`]; where it says to try again, what is left is still there.
    pub fn expire_from(&self, claim: &Claim) -> Result<(), FinishError> {
        let more = self.lock().claim_expired_behind(claim);
        let mut batches = vec![*claim.batch()];
        batches.extend(more.iter().map(|claim| *claim.batch()));
        let ended = self.expire_all(&batches)?;
        // What became of those behind it is no failure of this one.
        let stays = self.lock().ready.contains_key(&claim.name.key());
        match ended.left.or(ended.newer).filter(|_| stays) {
            Some(error) => Err(FinishError::Retry(error)),
            None => Ok(()),
        }
    }

    /// Looks at one batch before it is read: where its lifespan is over, it expires now, unless somebody has it in
    /// hand. Says whether it is over. An open batch is closed and sealed first.
    ///
    /// # Errors
    /// [`Broken`] after a failed sync. What merely could not be done now is left to the cleaner: the batch counts
    /// as expired all the same.
    pub fn expire_at_access(&self, id: BatchId) -> Result<bool, Broken> {
        let mut is_over = false;
        {
            let mut queue = self.lock();
            if queue.is_open_over(id) {
                is_over = true;
                queue.close_over();
            }
        }
        // One whose seal is under way is ready behind it.
        if is_over {
            self.seal_closed()?;
        }
        let Some(batch) = self.find_sealed(id) else {
            return Ok(is_over);
        };
        if !self.is_expired(&batch) {
            return Ok(is_over);
        }
        let claim = self.claim(id);
        // Looked at again: between the look and the claim somebody may have ended it.
        if let Ok(claim) = claim
            && self.is_expired(&claim)
        {
            match self.expire_all(&[*claim.batch()]) {
                Ok(Ended { left: None, .. }) => {}
                Ok(Ended {
                    left: Some(error), ..
                })
                | Err(FinishError::Retry(error)) => tracing::warn!(
                    batch = %id, %error, "has expired, and cannot be set aside or dropped now"
                ),
                Err(FinishError::Broken(error)) => return Err(Broken(error.to_string())),
            }
        }
        Ok(true)
    }

    /// Expires batches that are claimed. Says how many, and why not the others.
    pub(super) fn expire_all(&self, batches: &[ReadyBatch]) -> Result<Ended, FinishError> {
        let mut group = Group::default();
        let mut gone = 0;
        for batch in batches {
            let prepared = match self.prepare(batch, &mut group) {
                // Not there to be opened. What cannot be renamed is another matter, and stays.
                Err(FinishError::Retry(error))
                    if error.is_no_file() && error.operation == "open" =>
                {
                    let given_up = self.give_up(batch, &error.to_string());
                    given_up.map(|()| gone += 1)
                }
                prepared => prepared,
            };
            match prepared {
                Ok(()) => {}
                // One that cannot be ended now holds up the others only where they would fare no better.
                Err(FinishError::Retry(error)) => {
                    let stops_all = error.stops_all_writes();
                    group.left = Some(error);
                    if stops_all {
                        break;
                    }
                }
                Err(broken) => return Err(broken),
            }
        }
        // First those that were renamed already: whatever becomes of the others, they wait no more.
        self.end_buried(&group)?;
        self.end_dropped(&group)?;
        Ok(Ended {
            expired: gone + (group.dropped.len() + group.buried.len()) as u64,
            left: group.left,
            newer: group.newer,
        })
    }

    /// Sees what is to become of a batch. One that is set aside has its verdict synced and is renamed here.
    fn prepare(&self, batch: &ReadyBatch, group: &mut Group) -> Result<(), FinishError> {
        let path = self.layout().sealed(batch);
        let file = SealedFile::open(self.env(), &path, batch.name.id);
        let ends = file.map_err(FinishError::Retry)?.ends();
        if ends.newer {
            group.newer = Some(FsError {
                operation: "expire",
                path,
                source: std::io::Error::other(
                    "the batch was written by a newer batchd: install that one",
                ),
            });
            return Ok(());
        }
        // Where it cannot be read, a person must look at it.
        let on_expire = ends
            .header
            .map_or(OnExpire::Dead, |header| header.on_expire);
        if on_expire == OnExpire::Drop {
            group.dropped.push((*batch, ends.producers));
            return Ok(());
        }
        let verdict = self.verdict(batch);
        self.append_verdict(batch, (ends.end, ends.last_crc), &verdict)?;
        let dead = self.layout().dead().join(batch.name.to_string());
        self.env()
            .fs
            .rename(&path, &dead)
            .at("rename", &dead)
            .map_err(FinishError::Retry)?;
        group.buried.push((*batch, ends.producers));
        Ok(())
    }

    fn verdict(&self, batch: &ReadyBatch) -> Verdict {
        let tried = self.lock().tried.clone();
        let (attempts, last_error) = tried
            .filter(|tried| tried.id == batch.name.id)
            .map_or((0, String::new()), |tried| (tried.attempts, tried.error));
        Verdict {
            outcome: VerdictOutcome::Expired,
            first: 0,
            count: batch.name.items,
            attempts,
            last_error,
            at: self.env().clock.wall_micros(),
        }
    }

    /// On record, then gone.
    fn end_dropped(&self, group: &Group) -> Result<(), FinishError> {
        if group.dropped.is_empty() {
            return Ok(());
        }
        self.drop_recorded(&group.dropped, WHY_DROPPED)?;
        self.lock().counters.batches_expired += group.dropped.len() as u64;
        let batches: Vec<_> = group.dropped.iter().map(|(batch, _)| *batch).collect();
        self.tell(&batches, OnExpire::Drop);
        Ok(())
    }

    /// Renamed already: made durable, and entered in the history.
    fn end_buried(&self, group: &Group) -> Result<(), FinishError> {
        if group.buried.is_empty() {
            return Ok(());
        }
        let dead = self.layout().dead();
        self.env()
            .fs
            .sync_dir(&dead)
            .at("sync", &dead)
            .map_err(FinishError::Broken)
            .inspect_err(|error| self.note_unfinished(error))?;
        for (batch, _) in &group.buried {
            let place = Place::Dead;
            self.tell_placed(&ReadyBatch { place, ..*batch });
        }
        let mut queue = self.lock();
        for (batch, producers) in &group.buried {
            queue.note_end(batch.name.seq, Outcome::Expired, producers);
            queue.settle(batch, Outcome::Expired);
        }
        drop(queue);
        let batches: Vec<_> = group.buried.iter().map(|(batch, _)| *batch).collect();
        self.tell(&batches, OnExpire::Dead);
        let lines: Vec<_> = batches
            .iter()
            .map(|batch| self.ledger_line(batch, Outcome::Expired, "", Vec::new()))
            .collect();
        match self.record(&lines) {
            // The files in dead/ say it all; the lines are for the history.
            Err(FinishError::Retry(error)) => {
                tracing::warn!(%error, "the ledger does not tell of batches that were set aside");
                Ok(())
            }
            other => other,
        }
    }

    /// One line in the log for what has expired together.
    fn tell(&self, batches: &[ReadyBatch], on_expire: OnExpire) {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return;
        };
        let items: u64 = batches.iter().map(|batch| batch.name.items).sum();
        let (queue, count) = (self.name(), batches.len());
        let (first_seq, last_seq) = (first.name.seq, last.name.seq);
        match on_expire {
            OnExpire::Dead => tracing::error!(
                %queue, batch = %first.name.id, batches = count, items, first_seq, last_seq,
                "expired before it was delivered; set aside in dead/"
            ),
            OnExpire::Drop => tracing::warn!(
                %queue, batch = %first.name.id, batches = count, items, first_seq, last_seq,
                "expired; dropped, as on_expire says"
            ),
        }
    }
}

impl<T: Clone> Queue<T> {
    /// Takes in batches that were found at the start.
    pub(super) fn admit_found(&mut self, found: Vec<ReadyBatch>, wall: u64, boot: Duration) {
        if self.gate.is_behind() {
            tracing::warn!(
                queue = %self.options.name,
                "the wall clock is behind the newest thing in the spool; nothing expires until it has caught up"
            );
        }
        for batch in found {
            let expires_at = Some(batch.name.expires_at).filter(|at| *at != 0);
            self.admit(batch, Deadline::after_start(expires_at, wall, boot));
        }
    }

    /// A sealed batch waits from now on.
    pub(super) fn admit(&mut self, batch: ReadyBatch, deadline: Deadline) {
        let perishable = Perishable { batch, deadline };
        if self.ready.insert(batch.name.key(), perishable).is_none() {
            self.ready_load = self.ready_load.plus(batch.name.load());
        }
        self.newly_ready = true;
    }

    /// Whether a lifespan that ends then is over, and it may count.
    pub(super) fn is_over(&mut self, deadline: Deadline) -> bool {
        let boot = self.env.clock.boot();
        deadline.is_past(boot) && self.gate.is_open(self.env.clock.wall_micros(), boot)
    }

    /// Whether the lifespan of the lane's batch is over: it takes nothing more.
    pub(super) fn is_lane_over(&mut self, number: usize) -> bool {
        let batch = self.lanes.get(number).and_then(|lane| lane.batch.as_ref());
        batch
            .map(|batch| batch.deadline)
            .is_some_and(|deadline| self.is_over(deadline))
    }

    /// Closes open batches whose lifespan is over.
    pub(super) fn close_over(&mut self) {
        let boot = self.env.clock.boot();
        let is_past = |lane: &super::lanes::Lane| {
            let batch = lane.batch.as_ref();
            batch.is_some_and(|batch| batch.deadline.is_past(boot))
        };
        if !self.lanes.iter().any(is_past) || !self.gate.is_open(self.env.clock.wall_micros(), boot)
        {
            return;
        }
        for lane in self.lanes.iter_mut().filter(|lane| is_past(lane)) {
            close_lane(lane, SealReason::Lifespan, boot, &mut self.closing);
        }
    }

    /// How long until an open batch must be closed for its age.
    pub(super) fn over_in(&self, deadline: Deadline, boot: Duration) -> Option<Duration> {
        let left = deadline.left(boot)?;
        let mut gate = self.gate;
        if gate.is_open(self.env.clock.wall_micros(), boot) {
            return Some(left);
        }
        Some(left.max(gate.opens_in(boot)?))
    }

    /// Whether this is a batch that is being filled or closed, and its lifespan is over.
    fn is_open_over(&mut self, id: BatchId) -> bool {
        let found = self.unsealed().find(|(header, ..)| header.id == id);
        let deadline = found.map(|(.., deadline)| deadline);
        deadline.is_some_and(|deadline| self.is_over(deadline))
    }

    /// Claims what has expired right behind a batch, a group of it.
    fn claim_expired_behind(&mut self, claim: &Claim) -> Vec<Claim> {
        let boot = self.env.clock.boot();
        self.ready_from(Some(claim.name.key()))
            .take(GROUP_BATCHES - 1)
            .map_while(|perishable| {
                let is_past = perishable.deadline.is_past(boot);
                is_past.then(|| self.claims.take(&perishable.batch))?
            })
            .collect()
    }

    /// Batches that wait, those behind this one, in order of seq.
    pub(super) fn ready_from(
        &self,
        after: Option<(u64, BatchId)>,
    ) -> impl Iterator<Item = &Perishable> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.ready.range((from, Unbounded)).map(|(_, found)| found)
    }
}

//! When a queue, or the spool, has no room: what is refused, and what is dropped to make room.
//!
//! Room is taken when a submission is put behind what waits, and is its batch's once it is in a file. A queue that
//! drops its oldest batches does so in the housekeeping, never on the way to an acknowledgement: the submission
//! waits for it with its caller. An attempt under way keeps its batch. A drop is on record, durably, before the
//! file goes; a crash in between is made up for by the next start, as with a delivery.

use std::sync::PoisonError;
use std::time::Duration;

use batchd_frame::{ProducerRecord, SealReason};

use super::claim::Claim;
use super::commit::{Broken, Commit};
use super::delivery::FinishError;
use super::due::close_lane;
use super::expiry::GROUP_BATCHES;
use super::incoming::Refusal;
use super::state::Queue;
use crate::policy::{Exceeded, Load, Overflow, Quota};
use crate::spool::layout::ReadyBatch;
use crate::spool::space::Shortage;

/// Drops are summed up for so long before the log says so again.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What is to be done next to make room.
enum Step {
    /// There is enough, or nothing helps.
    End,
    /// These go. They are claimed.
    Drop {
        victims: Vec<Claim>,
        /// It is for the disk's sake.
        for_disk: bool,
    },
    /// What is closed is to be sealed, so that it can go.
    Seal,
}

/// What was done to make room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MadeRoom {
    /// Batches were dropped.
    pub dropped: bool,
    /// Some were claimed for that, whatever became of them.
    pub claimed: bool,
}

/// Drops that the log does not know of yet.
#[derive(Debug, Default)]
pub(super) struct DropLog {
    batches: u64,
    load: Load,
    logged_at: Option<Duration>,
}

impl<T: Clone> Queue<T> {
    /// What the open and the ready batches hold, with what is on its way into them.
    #[must_use]
    pub fn held(&self) -> Load {
        self.held
    }

    /// Asks whether there is room for so much now.
    ///
    /// # Errors
    /// [`Refusal`], as [`begin`](Self::begin) would.
    pub fn could_take(&self, need: Load) -> Result<(), Refusal> {
        self.check_quota(need)?;
        Ok(self.options.space.could_take(need.bytes)?)
    }

    /// Somebody waits for so much room: where the queue drops its oldest batches, the housekeeping is to make it.
    pub fn want_room(&mut self, need: Load) {
        if self.options.policy.overflow == Overflow::DropOldest {
            self.wanted = Some(need);
            self.keep_due = true;
        }
    }

    /// Takes room. Where there is none and the queue drops its oldest batches, the housekeeping is to make some.
    pub(super) fn reserve(&mut self, need: Load) -> Result<(), Refusal> {
        let taken = self
            .check_quota(need)
            .and_then(|()| Ok(self.options.space.take(need.bytes)?));
        match &taken {
            Ok(()) => self.held = self.held.plus(need),
            Err(refusal) if refusal.is_for_want_of_room() => self.want_room(need),
            Err(_) => {}
        }
        taken
    }

    /// Gives room back that was taken and is not used.
    pub(super) fn release(&mut self, unused: Load) {
        if unused != Load::NONE {
            self.held = self.held.less(unused);
            self.options.space.give_back(unused.bytes);
        }
    }

    fn check_quota(&self, need: Load) -> Result<(), Refusal> {
        let quota = self.options.policy.quota;
        let never = |bound, max| Err(Refusal::OverQuota { bound, max });
        match quota.check(Load::NONE, need) {
            Err(Exceeded::Items(max)) => return never("`quota_items`", max),
            Err(Exceeded::Bytes(max)) => return never("`quota_bytes`", max),
            Ok(()) => {}
        }
        let max = self.options.space.max_bytes();
        if need.bytes > max {
            return never("`max_bytes` of the spool", max);
        }
        let held = self.held;
        match quota.check(held, need) {
            Err(Exceeded::Items(max)) => Err(Refusal::QueueItems { held, max }),
            Err(Exceeded::Bytes(max)) => Err(Refusal::QueueBytes { held, max }),
            Ok(()) => Ok(()),
        }
    }

    /// Decides what goes, oldest first.
    fn step_to_room(&mut self) -> Step {
        let Some(need) = self.wanted else {
            return Step::End;
        };
        let (excess, for_disk) = match self.could_take(need) {
            Ok(()) => return Step::End,
            Err(refusal) => (self.excess(&refusal, need), is_of_disk(&refusal)),
        };
        let Some(excess) = excess else {
            return Step::End;
        };
        let mut gone = Load::NONE;
        let mut victims = Vec::new();
        for found in self.ready.values() {
            let batch = &found.batch;
            let enough = gone.items >= excess.items && gone.bytes >= excess.bytes;
            if enough || victims.len() == GROUP_BATCHES {
                break;
            }
            if let Some(claim) = self.claims.take(batch) {
                gone = gone.plus(batch.name.load());
                victims.push(claim);
            }
        }
        if !victims.is_empty() {
            return Step::Drop { victims, for_disk };
        }
        if self.closing.is_empty() && !self.close_oldest() {
            return Step::End;
        }
        Step::Seal
    }

    /// How much has to go; nothing where dropping does not help.
    fn excess(&self, refusal: &Refusal, need: Load) -> Option<Load> {
        let over = |held: u64, more: u64, max: Option<u64>| {
            max.map_or(0, |max| held.saturating_add(more).saturating_sub(max))
        };
        let Quota { bytes, items } = self.options.policy.quota;
        let mut excess = Load {
            items: over(self.held.items, need.items, items),
            bytes: over(self.held.bytes, need.bytes, bytes),
        };
        let lacking = match refusal {
            Refusal::QueueItems { .. } | Refusal::QueueBytes { .. } => 0,
            Refusal::Shortage(Shortage::SpoolFull { used, max }) => {
                over(*used, need.bytes, Some(*max))
            }
            // Each batch that goes is a file less.
            Refusal::Shortage(Shortage::LowInodes { .. }) => 1,
            Refusal::Shortage(
                Shortage::LowSpace { free, min } | Shortage::NoBallast { free, min },
            ) if free < min => min - free,
            _ => return None,
        };
        // Otherwise all of it would go for nothing: somebody else has filled the spool or the disk.
        (lacking <= self.held.bytes).then(|| {
            excess.bytes = excess.bytes.max(lacking);
            excess
        })
    }

    /// Closes the oldest open batch. False where there is none.
    fn close_oldest(&mut self) -> bool {
        let boot = self.env.clock.boot();
        let seq = |lane: &super::lanes::Lane| lane.batch.as_ref().map(|batch| batch.header.seq);
        let oldest = self.lanes.iter().filter_map(seq).min();
        let Some(oldest) = oldest else {
            return false;
        };
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| seq(lane) == Some(oldest))
        {
            close_lane(lane, SealReason::Overflow, boot, &mut self.closing);
        }
        true
    }
}

/// Whether the file system is short, and not what batches may hold.
fn is_of_disk(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Shortage(shortage) if !matches!(shortage, Shortage::SpoolFull { .. }))
}

impl<T: Clone> Commit<T> {
    /// Gives room up, for something that must be written and found none: the ballast, or else the files made
    /// ahead. Says whether there was any.
    pub(super) fn make_way(&self) -> bool {
        if self.space().give_up_ballast() {
            return true;
        }
        let spares = std::mem::take(&mut self.lock().spares);
        let any = !spares.is_empty();
        for spare in spares {
            let path = self.layout().open().join(spare.name.to_string());
            // A handle would keep the blocks.
            drop(spare);
            self.unlink(&path);
        }
        any
    }

    /// Makes the room that somebody waits for, where that can be done.
    pub(super) fn make_room(&self) -> Result<MadeRoom, Broken> {
        let mut made = MadeRoom::default();
        loop {
            let step = self.lock().step_to_room();
            let goes_on = match step {
                Step::End => false,
                Step::Drop { victims, for_disk } => {
                    made.claimed = true;
                    let done = self.drop_batches(&victims)?;
                    made.dropped |= done;
                    // Some file systems free blocks a little later: whoever waits on asks again.
                    done && !for_disk
                }
                Step::Seal => self.seal_closed()?,
            };
            if !goes_on {
                // Whoever waits on asks again.
                self.lock().wanted = None;
                return Ok(made);
            }
        }
    }

    /// Records that batches are dropped, durably, and removes their files. False where they cannot be recorded:
    /// then nothing changed.
    fn drop_batches(&self, victims: &[Claim]) -> Result<bool, Broken> {
        let batches: Vec<_> = victims
            .iter()
            .map(|claim| (*claim.batch(), self.producers_of(claim)))
            .collect();
        match self.drop_recorded(&batches, "overflow") {
            Ok(()) => {}
            Err(FinishError::Broken(error)) => return Err(Broken(error.to_string())),
            Err(FinishError::Retry(error)) => {
                tracing::debug!(%error, "nothing can be dropped now");
                return Ok(false);
            }
        }
        self.space().refresh();
        let loads = victims.iter().map(|batch| batch.name.load());
        self.note_dropped(victims.len() as u64, loads.fold(Load::NONE, Load::plus));
        Ok(true)
    }

    /// Whose submissions a batch holds: a repeat of what was dropped is still a repeat. Where the file cannot be
    /// read, it is taken for new.
    fn producers_of(&self, batch: &ReadyBatch) -> Vec<ProducerRecord> {
        let seal = self
            .open_sealed(batch)
            .and_then(|file| file.read_seal())
            .ok()
            .flatten();
        seal.map(|seal| seal.producers).unwrap_or_default()
    }

    fn note_dropped(&self, batches: u64, load: Load) {
        let mut log = self.drop_log.lock().unwrap_or_else(PoisonError::into_inner);
        log.batches += batches;
        log.load = log.load.plus(load);
        drop(log);
        self.log_dropped(false);
    }

    /// Says what was dropped since it was said last, at most every so often, or at once. Says when to come again
    /// with the rest.
    pub(super) fn log_dropped(&self, at_once: bool) -> Option<Duration> {
        let now = self.env().clock.boot();
        let mut log = self.drop_log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.batches == 0 {
            return None;
        }
        let due = log.logged_at.map_or(now, |at| at + LOG_INTERVAL);
        if due > now && !at_once {
            return Some(due - now);
        }
        tracing::error!(
            queue = %self.name(), batches = log.batches, items = log.load.items, bytes = log.load.bytes,
            "dropped the oldest to make room, as `overflow` says; each is in the ledger"
        );
        *log = DropLog {
            logged_at: Some(now),
            ..DropLog::default()
        };
        None
    }
}

//! The commit: whoever comes first leads it for all that wait.
//!
//! No thread stands between a submission and the disk. The caller that finds no group under way writes and syncs
//! on its own thread; what others begin meanwhile is the next group, and they are followers of whoever leads it.
//! (MySQL's group commit and raft-engine's write queue work alike.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use batchd_frame::{QueueName, SealReason};

use super::beats::Looked;
use super::group::{Group, GroupResult};
use super::incoming::{Answer, Begun, Incoming, Refusal};
use super::observe::BatchEvents;
use super::overflow::DropLog;
use super::state::{Queue, QueueOptions};
use crate::env::Env;
use crate::error::{At, FsError};
use crate::policy::Overflow;
use crate::spool::layout::QueueLayout;
use crate::spool::ledger::Ledger;
use crate::spool::recovery::recover;
use crate::spool::root::LockedSpool;
use crate::spool::space::SpoolSpace;

/// So many closed batches may wait for their seal before the commit helps: each holds a descriptor.
pub(super) const SEALS_WAITING_MAX: usize = 32;
/// A leader writes so many groups before it lets its caller do something else.
const GROUPS_AT_ONCE: usize = 8;

/// What a call to [`Commit::lead`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Led {
    /// Nothing is left to write, or another thread leads.
    Idle,
    /// There is more: call again soon.
    More,
}

/// What a look at the house came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Batches became ready for delivery since it was last asked, or some were claimed meanwhile: the dispatcher may
    /// have found its next one taken.
    pub ready: bool,
    /// Batches were dropped: there is room for those who wait for it.
    pub made_room: bool,
    /// When to look again at the latest.
    pub next_due: Option<Duration>,
    /// A commit is due that nobody else leads: something was only written for long enough, or somebody waits for
    /// what a seal has synced.
    pub commit_due: bool,
}

/// What is on the medium is not known any more: the process must stop, and recover by copying.
#[derive(Debug, thiserror::Error)]
#[error("the spool cannot be relied on any more: {0}")]
pub struct Broken(pub String);

/// A queue that several threads share.
pub struct Commit<T> {
    name: QueueName,
    spool: LockedSpool,
    layout: QueueLayout,
    queue: Mutex<Queue<T>>,
    /// Told at the end of a group, where somebody waits for that.
    group_ended: Condvar,
    ledger: Mutex<Ledger>,
    keeper: Mutex<()>,
    /// Whether the last group found no room: said once, not for every group that is refused.
    no_space: AtomicBool,
    /// Whether the last seal found no room: said once as well.
    seal_waits: AtomicBool,
    space: Arc<SpoolSpace>,
    /// Submissions wait where there is no room.
    waits_for_room: bool,
    pub(super) drop_log: Mutex<DropLog>,
    left_behind: usize,
    damaged: usize,
    pub(super) events: Option<Arc<dyn BatchEvents>>,
}

impl<T> std::fmt::Debug for Commit<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commit({})", self.layout.dir().display())
    }
}

impl<T: Clone> Commit<T> {
    /// Recovers a queue and opens it.
    ///
    /// # Errors
    /// [`FsError`] as [`recover`].
    pub fn open(spool: &LockedSpool, options: QueueOptions) -> Result<Self, FsError> {
        let space = Arc::clone(&options.space);
        let make_way = |bytes| space.ballast_bytes() >= bytes && space.give_up_ballast();
        let (recovered, ledger) =
            recover(spool, &options.name, options.producer_window, &make_way)?;
        let name = options.name.clone();
        let waits_for_room = options.policy.overflow != Overflow::Reject;
        let layout = spool.layout().queue(&name);
        let events = options.events.clone();
        let (left_behind, damaged) = (recovered.left, recovered.damaged);
        let queue = Queue::new(spool.env().clone(), layout.clone(), options, recovered);
        Ok(Self {
            name,
            spool: spool.clone(),
            layout,
            queue: Mutex::new(queue),
            group_ended: Condvar::new(),
            ledger: Mutex::new(ledger),
            keeper: Mutex::new(()),
            no_space: AtomicBool::new(false),
            seal_waits: AtomicBool::new(false),
            space,
            waits_for_room,
            drop_log: Mutex::default(),
            left_behind,
            damaged,
            events,
        })
    }

    /// The state, locked. Hold it briefly: submissions wait for it.
    pub fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The surroundings.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.spool.env()
    }

    /// The spool.
    #[must_use]
    pub fn spool(&self) -> &LockedSpool {
        &self.spool
    }

    /// The room of the spool.
    #[must_use]
    pub fn space(&self) -> &SpoolSpace {
        &self.space
    }

    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// How many open batches the start could not recover: they stay as they are until the next one.
    #[must_use]
    pub fn left_behind(&self) -> usize {
        self.left_behind
    }

    /// How many files in `open/` the start found damaged, and set aside; what could be read of them goes on.
    #[must_use]
    pub fn damaged_at_start(&self) -> usize {
        self.damaged
    }

    /// The queue's places.
    #[must_use]
    pub fn layout(&self) -> &QueueLayout {
        &self.layout
    }

    /// Takes a submission into the next group; see [`Queue::begin`]. Somebody has to [`lead`](Self::lead) after it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn begin(&self, incoming: &Incoming<'_>, ticket: T) -> Result<Begun, Refusal> {
        self.lock().begin(incoming, ticket)
    }

    /// Leads the commit, unless another thread does: writes, syncs, and adds the answers to `answers`, also those
    /// for other threads' submissions. Blocks in the sync on purpose: what arrives meanwhile is the next group.
    ///
    /// # Errors
    /// [`Broken`] after a failed sync. Every submission that waited is answered "unknown".
    pub fn lead(&self, answers: &mut Vec<(T, Answer)>) -> Result<Led, Broken> {
        for _ in 0..GROUPS_AT_ONCE {
            let Some(mut group) = self.next_group(answers)? else {
                break;
            };
            let run = catch_unwind(AssertUnwindSafe(|| group.run(self.env())));
            let result = match run {
                Ok(result) => result,
                Err(_) => {
                    let mut queue = self.lock();
                    queue.fail("a panic in the commit".to_owned());
                    queue.stop_unknown(answers);
                    self.tell_group_ended(&queue);
                    return Err(Broken("a panic in the commit".to_owned()));
                }
            };
            let bytes = group.bytes();
            let mut queue = self.lock();
            queue.complete(group, &result, answers);
            self.tell_group_ended(&queue);
            drop(queue);
            match result {
                GroupResult::Done => {
                    if self.no_space.swap(false, Ordering::Relaxed) {
                        tracing::info!(queue = %self.name, "there is room again");
                    }
                }
                GroupResult::ReadOnly(error) => {
                    tracing::debug!(queue = %self.name, %error, "refused");
                    self.space.note_read_only();
                    self.lock().keep_due = true;
                }
                GroupResult::NoSpace(error) => {
                    self.note_no_space(bytes);
                    if self.no_space.swap(true, Ordering::Relaxed) {
                        tracing::debug!(queue = %self.name, "still no space");
                    } else {
                        tracing::error!(
                            queue = %self.name, %error,
                            "no space: submissions are refused until there is room; nothing is lost, delivery goes on"
                        );
                    }
                }
                GroupResult::Broken(error) => return Err(Broken(error.to_string())),
            }
        }
        Ok(if self.lock().has_pending() {
            Led::More
        } else {
            Led::Idle
        })
    }

    /// Plans a group. Seals first where too many wait, or somebody waits for what a seal syncs.
    fn next_group(&self, answers: &mut Vec<(T, Answer)>) -> Result<Option<Group>, Broken> {
        let seal_first = {
            let queue = self.lock();
            queue.seals_waiting() >= SEALS_WAITING_MAX || queue.waits_for_seals()
        };
        if seal_first && let Err(broken) = self.seal_closed() {
            self.lock().stop_unknown(answers);
            return Err(broken);
        }
        let mut queue = self.lock();
        if let Some(why) = queue.broken() {
            let broken = Broken(why.to_owned());
            queue.stop_unknown(answers);
            return Err(broken);
        }
        Ok(queue.plan())
    }

    /// Takes the answers for those whose batches ended since they were last taken.
    pub fn take_answers(&self) -> Vec<(T, Answer)> {
        std::mem::take(&mut self.lock().outbox)
    }

    /// A write of so many bytes found no room. Who refuses finds out by trying; who waits must know for what.
    pub(super) fn note_no_space(&self, bytes: u64) {
        if self.waits_for_room {
            self.space.note_no_space(bytes);
        }
    }

    fn tell_group_ended(&self, queue: &Queue<T>) {
        if queue.group_waiters > 0 {
            self.group_ended.notify_all();
        }
    }

    /// Waits for the end of the group that is under way, if there is one.
    pub(super) fn wait_for_group(&self) -> Result<(), Broken> {
        let mut queue = self.lock();
        let group = queue.groups_ended;
        queue.group_waiters += 1;
        while queue.in_flight && queue.groups_ended == group {
            let waited = self.group_ended.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
        queue.group_waiters -= 1;
        drop(queue);
        self.demand_sound()
    }

    /// Whether there is housekeeping to do sooner than was known when it was last done.
    pub fn take_keep_due(&self) -> bool {
        std::mem::take(&mut self.lock().keep_due)
    }

    /// Keeps house: closes batches that are due by time or whose lifespan is over, seals what is closed, makes files ahead.
    ///
    /// # Errors
    /// [`Broken`] after a failed sync.
    pub fn keep(&self) -> Result<Kept, Broken> {
        let mut queue = self.lock();
        let looked = queue.close_due();
        queue.close_over();
        drop(queue);
        self.log_beats(looked);
        self.seal_closed()?;
        let made = self.make_room()?;
        // What need not be there leaves the room to what must.
        let spare_bytes = self.lock().spare_bytes();
        let job = match self.space.has_room_to_spare(2 * spare_bytes) {
            true => self.lock().want_spares(),
            false => None,
        };
        if let Some(job) = job {
            match job.run(self.env()) {
                Ok(spares) => self.lock().add_spares(job.count(), spares),
                Err(error) => return Err(self.fail(&error)),
            }
        }
        let useless = std::mem::take(&mut self.lock().useless);
        for path in useless {
            if let Err(error) = self.env().fs.unlink(&path) {
                tracing::debug!(path = %path.display(), %error, "an empty file stays until the next start");
            }
        }
        let summary = self.log_dropped(false);
        let mut queue = self.lock();
        // The leader of a commit seals as well, and tells no dispatcher.
        let ready = std::mem::take(&mut queue.newly_ready) || made.claimed;
        let retry = (queue.seals_waiting() > 0).then_some(SEAL_RETRY);
        let next_due = [queue.next_due(), retry, summary]
            .into_iter()
            .flatten()
            .min();
        // Frames that wait are led by whoever brought them: to take them over costs them a hand-off.
        let commit_due = queue.has_barriers() || queue.sync_is_due();
        Ok(Kept {
            ready,
            made_room: made.dropped,
            next_due,
            commit_due,
        })
    }

    /// Says when beats of `interval` begin to come too late, and when that is over: not at every beat.
    fn log_beats(&self, looked: Looked) {
        if let Some(skipped) = looked.late {
            tracing::warn!(
                queue = %self.name, skipped,
                "beats of the interval come too late and are skipped; they are counted in the status"
            );
        }
        if looked.on_time {
            tracing::info!(queue = %self.name, "beats of the interval are on time again");
        }
    }

    /// Closes all open batches and returns the seqs of all that are not delivered yet, with their items.
    pub fn flush(&self) -> Vec<(u64, u64)> {
        self.flush_because(SealReason::Flush)
    }

    /// As [`flush`](Self::flush), for another reason than that somebody asked.
    pub fn flush_because(&self, reason: SealReason) -> Vec<(u64, u64)> {
        self.lock().flush(reason)
    }

    /// Stops cleanly: nothing more is taken, what is closed is sealed, and open files end in a mark, synced. Call
    /// it when nobody leads any more.
    ///
    /// # Errors
    /// [`Broken`]; what was acknowledged is as safe as before.
    pub fn close(&self) -> Result<(), Broken> {
        self.lock().stop();
        self.log_dropped(true);
        self.seal_closed()?;
        let open = self.lock().take_open();
        for mut batch in open {
            match batch.mark(self.env()) {
                // All is synced; only the mark is missing, and what there is of it will be cut off as torn.
                Err(error) if error.is_no_space() || error.is_read_only() => {
                    tracing::warn!(%error, "the mark of a clean stop cannot be written");
                }
                result => result.map_err(|error| self.fail(&error))?,
            }
        }
        let dir = self.layout.open();
        let synced = self.env().fs.sync_dir(&dir).at("sync", &dir);
        synced.map_err(|error| self.fail(&error))
    }

    /// Seals what is closed; one thread at a time, in order. Says whether batches became ready.
    pub(super) fn seal_closed(&self) -> Result<bool, Broken> {
        let _one = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        self.demand_sound()?;
        let mut ready = false;
        loop {
            let job = self.lock().take_seals();
            let Some(job) = job else { return Ok(ready) };
            let mut result = job.run(self.env());
            // Before anybody can deliver them: their end is never told first.
            result.sealed().for_each(|batch| self.tell_placed(batch));
            let broken = result.broken.take().map(|error| self.fail(&error));
            let waits = result.waits.take();
            ready |= self.lock().finish_seals(result);
            if let Some(broken) = broken {
                return Err(broken);
            }
            match waits {
                None => {
                    self.seal_waits.store(false, Ordering::Relaxed);
                    return Ok(ready);
                }
                Some(error) if error.is_read_only() => {
                    tracing::debug!(%error, "a seal waits until the file system can be written");
                    self.space.note_read_only();
                    return Ok(ready);
                }
                Some(_) if self.make_way() => {}
                Some(error) => {
                    if self.seal_waits.swap(true, Ordering::Relaxed) {
                        tracing::debug!(%error, "still no space for a seal");
                    } else {
                        tracing::warn!(%error, "no space for a seal: tried again, nothing is lost");
                    }
                    return Ok(ready);
                }
            }
        }
    }

    /// No file is synced any more after one sync has failed: it might be the same one, and succeed.
    pub(super) fn demand_sound(&self) -> Result<(), Broken> {
        match self.lock().broken() {
            Some(why) => Err(Broken(why.to_owned())),
            None => Ok(()),
        }
    }

    pub(super) fn fail(&self, error: &FsError) -> Broken {
        self.lock().fail(error.to_string());
        Broken(error.to_string())
    }
}

/// A seal for which there was no room is tried again after this.
const SEAL_RETRY: Duration = Duration::from_secs(1);

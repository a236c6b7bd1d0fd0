//! The state of one queue. No threads, no I/O: what is to be written is planned here, and what became of it is
//! told here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use batchd_frame::{BatchId, FileHeader, QueueName, SealReason, SubmissionId};

use super::awaited::Awaited;
use super::beats::Beats;
use super::claim::Claims;
use super::cleaner::Cleaner;
use super::expiry::{Perishable, Tried};
use super::incoming::Answer;
use super::keep::Spare;
use super::lanes::Lanes;
use super::observe::BatchEvents;
use super::pending::WAITING_BYTES;
use super::recall::Recall;
use super::slots::Slots;
use super::watched::Watches;
use crate::env::Env;
use crate::ids::BatchIds;
use crate::policy::{Deadline, ExpiryGate, Fill, Load, Policy};
use crate::spool::kept::{EndedBadly, KeptSubmissions};
use crate::spool::layout::{QueueLayout, ReadyBatch};
use crate::spool::open::OpenBatch;
use crate::spool::recovery::Recovered;
use crate::spool::space::SpoolSpace;

/// What is `written` is synced after this.
pub const WRITTEN_SYNC_AFTER: Duration = Duration::from_millis(500);

/// What a queue is made with.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Its name.
    pub name: QueueName,
    /// Its rules.
    pub policy: Policy,
    /// The room of the whole spool, shared by its queues.
    pub space: Arc<SpoolSpace>,
    /// Most batches open at a time; past it, that which was used longest ago is closed.
    pub open_batches_max: usize,
    /// Whether its batches are delivered. Where not, a flush has ended when they are sealed.
    pub has_sink: bool,
    /// How long before the newest thing in the queue submissions are recognised after a start.
    pub producer_window: Duration,
    /// What waits to be appended, of all queues that share it. Whoever reads submissions bounds it.
    pub pending_bytes: Arc<AtomicUsize>,
    /// Who is told what becomes of its batches.
    pub events: Option<Arc<dyn BatchEvents>>,
}

/// How long submissions are recognised after a start, where nobody says.
pub const PRODUCER_WINDOW: Duration = Duration::from_secs(3600);
/// Most batches of a queue that are open, where nobody says.
pub const OPEN_BATCHES_MAX: usize = 1024;

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Submissions accepted.
    pub submissions_accepted: u64,
    /// Items accepted.
    pub items_accepted: u64,
    /// Groups written.
    pub groups: u64,
    /// Batches delivered.
    pub batches_delivered: u64,
    /// Items delivered.
    pub items_delivered: u64,
    /// Batches that outlived their lifespan, whatever became of them.
    pub batches_expired: u64,
    /// Batches dropped: to make room, or because they expired and are not kept then.
    pub batches_dropped: u64,
    /// Items in them.
    pub items_dropped: u64,
    /// Beats of `interval` that were skipped, of all keys, because a look at the clock came too late.
    pub beats_skipped: u64,
}

/// A batch that is closed and not yet sealed.
#[derive(Debug)]
pub(super) struct Closing {
    pub batch: OpenBatch,
    pub reason: SealReason,
    /// When it was closed, by the boot-time clock.
    pub at: Duration,
}

/// An open batch, for listings.
#[derive(Debug, Clone)]
pub struct OpenView {
    /// Who it is.
    pub header: FileHeader,
    /// What it holds.
    pub fill: Fill,
    /// When it expires, unix time in microseconds.
    pub expires_at: Option<u64>,
    /// The same in this process.
    pub deadline: Deadline,
    /// Its file.
    pub path: PathBuf,
    /// How far the file is known synced; 0 where nothing of it is.
    pub synced_to: u64,
    /// When its first item was received, unix time in microseconds.
    pub first_item_at: u64,
    /// The same of the newest of those that were there at the start; its first item, where it began since.
    pub newest_item_at: u64,
    /// Why it was closed, if it was.
    pub closing: Option<SealReason>,
}

/// A queue. `T` is what identifies who is to be answered.
#[derive(Debug)]
pub struct Queue<T> {
    pub(super) options: QueueOptions,
    pub(super) env: Env,
    pub(super) layout: QueueLayout,
    pub(super) lanes: Lanes,
    /// Lanes with frames pending, in order of arrival.
    pub(super) dirty: VecDeque<usize>,
    /// Writes of lanes planned so far: the order in which batches were used.
    pub(super) writes_planned: u64,
    pub(super) slots: Slots<T>,
    /// Submissions under way, by id: a repeat waits with the first.
    pub(super) under_way: HashMap<SubmissionId, u32>,
    pub(super) barriers: Vec<u32>,
    pub(super) kept: KeptSubmissions,
    /// Submissions that are kept and were not delivered, or not whole.
    pub(super) ended_badly: EndedBadly,
    /// Submissions that are kept and not delivered by this process, or not whole.
    pub(super) parked: EndedBadly,
    /// Set until it is known which submissions the sealed batches of the last run hold.
    pub(super) recall: Option<Recall>,
    /// Who waits for the sink.
    pub(super) awaited: Awaited,
    /// Who waits for the end of a flush.
    pub(super) watches: Watches,
    /// Answers for those whose batches ended, until they are taken.
    pub(super) outbox: Vec<(T, Answer)>,
    pub(super) next_seq: u64,
    pub(super) ids: BatchIds,
    pub(super) spares: VecDeque<Spare>,
    pub(super) spares_under_way: usize,
    /// Batches begun since files were last made ahead.
    pub(super) begun_lately: usize,
    /// Bytes to fill a file made ahead with.
    pub(super) prefill_bytes: u64,
    pub(super) closing: VecDeque<Closing>,
    pub(super) beats: Beats,
    pub(super) seals_under_way: Vec<OpenView>,
    /// Among those are batches that hold frames not known synced.
    pub(super) sealing_unsynced: bool,
    /// Files made ahead that no key can use any more, since it is past their seq.
    pub(super) useless: Vec<PathBuf>,
    /// In order of seq. The id tells two apart where a file that somebody put back has a seq used since.
    pub(super) ready: BTreeMap<(u64, BatchId), Perishable>,
    /// Since the house was last kept, some were added, by whoever sealed them.
    pub(super) newly_ready: bool,
    pub(super) dead: BTreeMap<(u64, BatchId), ReadyBatch>,
    /// What the ready and the dead batches hold.
    pub(super) ready_load: Load,
    pub(super) dead_load: Load,
    /// Whose hands batches are in.
    pub(super) claims: Arc<Claims>,
    pub(super) gate: ExpiryGate,
    pub(super) cleaner: Cleaner,
    /// The last attempt that failed: a verdict tells of it.
    pub(super) tried: Option<Tried>,
    pub(super) counters: Counters,
    /// What the open and the ready batches hold, with what is on its way into them.
    pub(super) held: Load,
    /// Somebody waits until the oldest batches have made room for this.
    pub(super) wanted: Option<Load>,
    /// What waits to be appended.
    pub(super) pending_bytes: usize,
    /// So many repeat what is under way and not durable.
    pub(super) repeats: usize,
    pub(super) in_flight: bool,
    /// Groups that were under way and are not any more.
    pub(super) groups_ended: u64,
    /// So many wait for the end of a group.
    pub(super) group_waiters: usize,
    pub(super) stopped: bool,
    /// What is on the medium is not known any more, and why.
    pub(super) broken: Option<String>,
    /// Since the house was last kept, a batch was begun or closed, or something was only written.
    pub(super) keep_due: bool,
}

impl<T: Clone> Queue<T> {
    /// Puts a queue together from what was recovered.
    #[must_use]
    pub fn new(
        env: Env,
        layout: QueueLayout,
        options: QueueOptions,
        mut recovered: Recovered,
    ) -> Self {
        let (wall, boot) = (env.clock.wall_micros(), env.clock.boot());
        let rules = options.policy.expiry;
        let gate = ExpiryGate::new(rules, recovered.newest_micros, wall, boot);
        let mut queue = Self {
            options,
            env,
            layout,
            lanes: Lanes::default(),
            dirty: VecDeque::new(),
            writes_planned: 0,
            slots: Slots::default(),
            under_way: HashMap::new(),
            barriers: Vec::new(),
            kept: recovered.recollection.known(),
            ended_badly: std::mem::take(&mut recovered.recollection.ended_badly),
            parked: std::mem::take(&mut recovered.recollection.parked),
            recall: Some(Recall::new(&recovered.recollection)),
            awaited: Awaited::default(),
            watches: Watches::default(),
            outbox: Vec::new(),
            next_seq: recovered.next_seq,
            ids: BatchIds::after(recovered.newest_micros),
            spares: VecDeque::new(),
            spares_under_way: 0,
            begun_lately: 0,
            prefill_bytes: 0,
            closing: VecDeque::new(),
            beats: Beats::new(boot),
            seals_under_way: Vec::new(),
            sealing_unsynced: false,
            useless: Vec::new(),
            ready: BTreeMap::new(),
            newly_ready: false,
            dead: recovered
                .dead
                .into_iter()
                .map(|b| (b.name.key(), b))
                .collect(),
            ready_load: Load::NONE,
            dead_load: Load::NONE,
            claims: Arc::default(),
            gate,
            cleaner: Cleaner::starting(rules, boot),
            tried: None,
            counters: Counters::default(),
            held: Load::NONE,
            wanted: None,
            pending_bytes: 0,
            repeats: 0,
            in_flight: false,
            groups_ended: 0,
            group_waiters: 0,
            stopped: false,
            broken: None,
            keep_due: false,
        };
        queue.admit_found(recovered.ready, wall, boot);
        queue.held = queue.ready_load;
        for batch in queue.dead.values() {
            queue.dead_load = queue.dead_load.plus(batch.name.load());
        }
        for mut batch in recovered.open {
            queue.held = queue.held.plus(batch.load());
            batch.deadline = Deadline::after_start(batch.expires_at(), wall, boot);
            let age_of = |at| Duration::from_micros(wall.saturating_sub(at));
            let (aged, quieted) = (age_of(batch.first_item_at), age_of(batch.newest_item_at));
            // A key that was stored is within its bounds.
            let number = queue.lanes.number(batch.header.key.as_bytes()).unwrap_or(0);
            let Some(lane) = queue.lanes.get_mut(number) else {
                continue;
            };
            lane.last_seq = batch.header.seq;
            lane.aged = (aged, boot);
            lane.quieted = (quieted, boot);
            lane.batch = Some(batch);
            queue
                .beats
                .plan(&queue.options.policy, &queue.env, boot, lane);
        }
        let found = queue.held.plus(queue.dead_load);
        queue.options.space.found(found.bytes);
        if queue.ready.is_empty() && queue.dead.is_empty() {
            // There is nothing to read: repeats are recognised at once.
            queue.recalled();
        }
        queue
    }

    /// Whether closed batches hold frames that are not known synced: their seals will sync them.
    pub(super) fn closed_unsynced(&self) -> bool {
        self.sealing_unsynced
            || self
                .closing
                .iter()
                .any(|c| c.batch.synced_to < c.batch.tail.offset)
    }

    /// Whether somebody waits for a sync that comes with a seal.
    #[must_use]
    pub fn waits_for_seals(&self) -> bool {
        !self.barriers.is_empty() && self.closed_unsynced()
    }

    /// What waits to be appended, with those who repeat it: what it costs in memory, about.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Counts anew what waits to be appended, and tells those who share the count.
    pub(super) fn count_pending(&mut self) {
        let lanes = self.dirty.iter().filter_map(|n| self.lanes.get(*n));
        let frames: usize = lanes.map(|lane| lane.pending.bytes()).sum();
        // One that stopped writes no more, and is not waited for.
        self.set_pending(match self.stopped {
            false => frames + self.repeats * WAITING_BYTES,
            true => 0,
        });
    }

    /// So much more waits to be appended.
    pub(super) fn add_pending(&mut self, bytes: usize) {
        self.set_pending(self.pending_bytes + bytes);
    }

    fn set_pending(&mut self, bytes: usize) {
        let more = bytes.wrapping_sub(self.pending_bytes);
        self.options
            .pending_bytes
            .fetch_add(more, Ordering::Relaxed);
        self.pending_bytes = bytes;
    }

    /// Takes note that what is on the medium is not known any more: nothing is taken or acknowledged from here.
    pub fn fail(&mut self, why: String) {
        self.stopped = true;
        self.broken.get_or_insert(why);
    }

    /// Why nothing may be acknowledged any more, if that is so.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Takes nothing more from now on.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether a group could be planned now.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.in_flight && !self.stopped && (!self.dirty.is_empty() || !self.barriers.is_empty())
    }

    /// Whether somebody waits for nothing but a sync, and it could be planned now.
    #[must_use]
    pub fn has_barriers(&self) -> bool {
        !self.in_flight && !self.stopped && !self.barriers.is_empty()
    }

    /// Open batches and those that are being closed, in order of seq.
    #[must_use]
    pub fn open_views(&self) -> Vec<OpenView> {
        let open = self
            .lanes
            .iter()
            .filter_map(|lane| lane.batch.as_ref())
            .map(|b| view(b, None));
        let closing = self.closing.iter().map(|c| view(&c.batch, Some(c.reason)));
        let sealing = self.seals_under_way.iter().cloned();
        let mut views: Vec<_> = open.chain(closing).chain(sealing).collect();
        views.sort_by_key(|view| view.header.seq);
        views
    }

    /// The same in no order, and only what most want to know of them.
    pub(super) fn unsealed(&self) -> impl Iterator<Item = (&FileHeader, Fill, Deadline)> {
        let open = self.lanes.iter().filter_map(|lane| lane.batch.as_ref());
        let closing = self.closing.iter().map(|closing| &closing.batch);
        let here = open.chain(closing);
        let sealing = self.seals_under_way.iter();
        here.map(|batch| (&batch.header, fill_of(batch), batch.deadline))
            .chain(sealing.map(|view| (&view.header, view.fill, view.deadline)))
    }

    /// Batches that wait for delivery, in order of seq.
    pub fn ready(&self) -> impl Iterator<Item = &ReadyBatch> {
        self.ready.values().map(|perishable| &perishable.batch)
    }

    /// As [`ready`](Self::ready), those with a higher seq.
    pub fn ready_after(&self, seq: u64) -> impl Iterator<Item = &ReadyBatch> {
        let behind = self.ready_from(Some(last_of(seq)));
        behind.map(|found| &found.batch)
    }

    /// As [`dead`](Self::dead), those with a higher seq.
    pub fn dead_after(&self, seq: u64) -> impl Iterator<Item = &ReadyBatch> {
        self.dead
            .range((Bound::Excluded(last_of(seq)), Bound::Unbounded))
            .map(|(_, batch)| batch)
    }

    /// Batches set aside, in order of seq.
    pub fn dead(&self) -> impl Iterator<Item = &ReadyBatch> {
        self.dead.values()
    }

    /// How many batches wait for delivery, and what they hold.
    #[must_use]
    pub fn ready_sum(&self) -> (usize, Load) {
        (self.ready.len(), self.ready_load)
    }

    /// The same of those set aside.
    #[must_use]
    pub fn dead_sum(&self) -> (usize, Load) {
        (self.dead.len(), self.dead_load)
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &QueueName {
        &self.options.name
    }

    /// Takes the open batches out, for the mark of a clean stop.
    pub fn take_open(&mut self) -> Vec<OpenBatch> {
        self.stopped = true;
        self.lanes
            .iter_mut()
            .filter_map(|lane| lane.batch.take())
            .collect()
    }
}

/// Behind all batches of that seq.
fn last_of(seq: u64) -> (u64, BatchId) {
    (seq, BatchId::from_bytes([u8::MAX; 16]))
}

pub(super) fn fill_of(batch: &OpenBatch) -> Fill {
    Fill {
        items: batch.tail.items,
        bytes: batch.tail.bytes,
    }
}

pub(super) fn view(batch: &OpenBatch, closing: Option<SealReason>) -> OpenView {
    OpenView {
        header: batch.header.clone(),
        fill: fill_of(batch),
        expires_at: batch.expires_at(),
        deadline: batch.deadline,
        path: batch.path.clone(),
        synced_to: batch.synced_to,
        first_item_at: batch.first_item_at,
        newest_item_at: batch.newest_item_at,
        closing,
    }
}

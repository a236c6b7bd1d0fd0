//! What a server knows, and what the clock has it do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use batchd_frame::{BatchId, SealReason};

use super::asker::{Adding, Unanswered};
use super::delivery::Front;
use crate::batcher::builder::OnTrouble;
use crate::batcher::callbacks::{Batcher, Closed, Counts, Times};
use crate::batcher::error::{FlushError, NotRunning, Refused, StartError, StopError, Trouble};
use crate::batcher::options::Config;
use crate::batcher::overrides::Callbacks;
use crate::batcher::panics::catch;
use crate::batcher::spooled::Spooled;
use crate::batcher::status::{Recovered, ServerState};
use crate::env::Env;
use crate::ids::BatchIds;
use crate::policy::{Fill, OnShutdown, Policy, Rhythm};
use crate::queue::commit::Broken;

/// The clock is looked at again after this at the earliest.
const LOOK_AT_LEAST: Duration = Duration::from_millis(1);

/// The end of a server's thread, other than that it was stopped.
#[derive(Debug)]
pub(in crate::batcher) enum End {
    /// It cannot go on.
    Died(String),
    /// It was told to leave everything as it is.
    Aborted,
}

impl End {
    /// As others hear of it.
    pub(in crate::batcher) fn heard(&self) -> NotRunning {
        match self {
            Self::Died(why) => NotRunning::Died(why.clone()),
            Self::Aborted => NotRunning::Aborted,
        }
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        Self::Died(broken.to_string())
    }
}

/// An age that goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aged {
    pub(super) age: Duration,
    pub(super) at: Duration,
}

impl Aged {
    pub(super) fn now(at: Duration) -> Self {
        let age = Duration::ZERO;
        Self { age, at }
    }

    pub(super) fn age(self, now: Duration) -> Duration {
        self.age.saturating_add(now.saturating_sub(self.at))
    }
}

/// The batch that is being filled.
pub(super) struct Open<S> {
    pub(super) state: S,
    pub(super) fill: Fill,
    pub(super) first_item: Aged,
    pub(super) newest_item: Aged,
}

impl<S> Open<S> {
    pub(super) fn empty(state: S, now: Duration) -> Self {
        Self {
            state,
            fill: Fill::default(),
            first_item: Aged::now(now),
            newest_item: Aged::now(now),
        }
    }
}

/// Where batches are kept.
pub(super) enum Store<B: Batcher> {
    /// In memory: those that are closed, oldest first.
    Memory(VecDeque<Closed<B::Batch>>),
    /// On a spool. In memory is at most what the items of the oldest became.
    Spool {
        spool: Box<Spooled<B::Item>>,
        front: Option<Front<B>>,
    },
}

/// The wait after a flush that failed.
pub(super) struct Retry {
    pub(super) error: FlushError,
    pub(super) due: Duration,
}

/// A server without its thread.
pub(in crate::batcher) struct Engine<'a, B: Batcher> {
    pub(super) callbacks: Callbacks<'a, B>,
    pub(super) config: Config,
    pub(super) policy: Policy,
    pub(super) env: Env,
    pub(super) ids: BatchIds,
    pub(super) store: Store<B>,
    pub(super) open: Option<Open<B::Batch>>,
    pub(super) unanswered: Vec<Unanswered<B::Item>>,
    /// Items that are refused because the server dies, which is to be known first.
    pub(super) last_words: Vec<(Adding<B::Item>, Refused)>,
    /// The times of the first and the newest item of the open batch that are durable.
    pub(super) kept: Option<(Aged, Aged)>,
    /// Until when nothing is taken for want of room, and what that was.
    pub(super) no_room: Option<(Duration, String)>,
    /// Items of batches that were delivered and that could not be read.
    pub(super) items_lost: u64,
    pub(super) last_item: Option<B::Item>,
    pub(super) counts: Counts,
    pub(super) recovered: Recovered,
    pub(super) started: Duration,
    pub(super) flushed: Duration,
    pub(super) rhythm: Rhythm,
    /// What a beat closed, while the next one waits for its end.
    pub(super) beaten: Option<BatchId>,
    pub(super) retry: Option<Retry>,
    pub(super) last_error: Option<Trouble>,
    pub(super) on_trouble: Option<&'a mut OnTrouble>,
    /// Nothing more is to be flushed.
    pub(super) aborted: Arc<AtomicBool>,
}

impl<'a, B: Batcher> Engine<'a, B> {
    /// One with what is in its spool, if it has one.
    pub(in crate::batcher) fn open(
        callbacks: Callbacks<'a, B>,
        config: Config,
        env: Env,
        spool: Option<Spooled<B::Item>>,
        on_trouble: Option<&'a mut OnTrouble>,
        aborted: Arc<AtomicBool>,
    ) -> Result<Self, StartError> {
        let now = env.clock.boot();
        let store = match spool {
            None => Store::Memory(VecDeque::new()),
            Some(spool) => Store::Spool {
                spool: Box::new(spool),
                front: None,
            },
        };
        let mut engine = Self {
            callbacks,
            policy: config.policy(),
            config,
            ids: BatchIds::after(0),
            store,
            open: None,
            unanswered: Vec::new(),
            last_words: Vec::new(),
            kept: None,
            no_room: None,
            items_lost: 0,
            last_item: None,
            counts: Counts::default(),
            recovered: Recovered::default(),
            started: now,
            flushed: now,
            rhythm: Rhythm::default(),
            beaten: None,
            retry: None,
            last_error: None,
            on_trouble,
            aborted,
            env,
        };
        engine.recover().map_err(StartError::Init)?;
        Ok(engine)
    }

    pub(in crate::batcher) fn recovered(&self) -> Recovered {
        self.recovered
    }

    pub(super) fn now(&self) -> Duration {
        self.env.clock.boot()
    }

    pub(in crate::batcher) fn report(&mut self, trouble: Trouble) {
        match &trouble {
            Trouble::Died(why) => tracing::error!(why, "a batch server has died"),
            trouble => tracing::warn!(%trouble, "a batch server is in trouble"),
        }
        if let Some(on_trouble) = &mut self.on_trouble {
            let told = catch(|| on_trouble(trouble.clone()));
            if let Err(what) = told {
                tracing::warn!(what, "who is told of trouble panicked");
            }
        }
        self.last_error = Some(trouble);
    }

    /// Counts anew what waits, and what was delivered.
    pub(super) fn note_waiting(&mut self) {
        (self.counts.waiting, self.counts.items_waiting) = self.waiting();
        if let Store::Spool { spool, .. } = &self.store {
            let (flushes, items) = spool.delivered();
            self.counts.flushes = flushes;
            self.counts.items_flushed = items.saturating_sub(self.items_lost);
        }
    }

    fn waiting(&self) -> (usize, u64) {
        match &self.store {
            Store::Memory(waiting) => {
                (waiting.len(), waiting.iter().map(|batch| batch.items).sum())
            }
            Store::Spool { spool, .. } => spool.waiting(),
        }
    }

    /// The batch that is delivered next.
    pub(super) fn front(&self) -> Option<BatchId> {
        match &self.store {
            Store::Memory(waiting) => waiting.front().map(|batch| batch.id),
            Store::Spool { spool, .. } => spool.front(),
        }
    }

    /// Does what is due by the clock. Says when to look again.
    pub(in crate::batcher) fn look(&mut self) -> Result<Option<Duration>, End> {
        if !self.config.lazy_flush
            && let Some(reason) = self.reason_by_time()
        {
            self.close(reason)?;
        }
        let kept = match &self.store {
            Store::Memory(_) => None,
            Store::Spool { spool, .. } => spool.keep()?,
        };
        self.deliver(false)?;
        let due = match self.filled() {
            Some(open) if !self.config.lazy_flush => self.policy.due(&self.ages(open)),
            _ => None,
        };
        let retry = self.retry.as_ref().filter(|_| self.front().is_some());
        let retry = retry.map(|retry| retry.due.saturating_sub(self.now()));
        let due = due.map(|due| due.when.wait());
        let next = [due, kept, retry].into_iter().flatten().min();
        // What is due at once and was not done now is not done sooner by asking again.
        Ok(next.map(|next| next.max(LOOK_AT_LEAST)))
    }

    /// Stops: what is open is flushed, or kept, and `terminate` is called.
    pub(in crate::batcher) fn stop(&mut self) -> Result<(), StopError> {
        let mut error = StopError::default();
        let mut ended = self.commit();
        if ended.is_ok() {
            let flushed = match self.config.on_shutdown {
                OnShutdown::Flush => self.flush(SealReason::Shutdown),
                OnShutdown::Keep => self.make_up_for_records(),
            };
            ended = flushed.map(|flushed| error.flush = flushed.err());
        }
        if !matches!(ended, Err(End::Aborted)) {
            let mut open = self.open.take();
            let state = open.as_mut().map(|open| &mut open.state);
            let terminated = self.callbacks.terminate(state).err();
            error.terminate = terminated.map(|error| error.said());
        }
        if let (Ok(()), Store::Spool { spool, .. }) = (&ended, &self.store) {
            ended = spool.stop().map_err(End::from);
        }
        let (batches, items) = self.waiting();
        (error.batches_left, error.items_left) = (batches as u64, items);
        error.not_running = ended.err().map(|end| end.heard());
        match error.not_running.is_some() || error.flush.is_some() || error.terminate.is_some() {
            true => Err(error),
            false => Ok(()),
        }
    }

    /// Answers what is to be answered when it is known that the server dies.
    pub(in crate::batcher) fn say_last_words(&mut self) {
        for (adding, why) in self.last_words.drain(..) {
            adding.refuse(why);
        }
    }

    /// Gives back what was added and is not durable: nothing more is done about it.
    pub(in crate::batcher) fn give_back(&mut self, why: &NotRunning) {
        for Unanswered { adding, .. } in self.unanswered.drain(..) {
            adding.refuse(why.clone().into());
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let fill = self.open.as_ref().map_or(Fill::default(), |open| open.fill);
        Counts {
            batch_items: fill.items,
            batch_bytes: fill.bytes,
            ..self.counts
        }
    }

    pub(super) fn times(&self) -> Times {
        let now = self.now();
        Times {
            first_item: self.filled().map(|open| open.first_item.age(now)),
            newest_item: self.filled().map(|open| open.newest_item.age(now)),
            since_flush: now.saturating_sub(self.flushed),
        }
    }

    /// The state, and the item that was added last.
    pub(in crate::batcher) fn state(&self) -> (ServerState<()>, Option<&B::Item>) {
        let state = ServerState {
            counts: self.counts(),
            times: self.times(),
            config: self.config.clone(),
            overrides: self.callbacks.overridden(),
            recovered: self.recovered,
            last_error: self.last_error.clone(),
            last_item: None,
        };
        (state, self.last_item.as_ref())
    }
}

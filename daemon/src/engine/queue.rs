//! One queue of a running daemon.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use batchd_core::error::FsError;
use batchd_core::policy::{ExpiryRules, OnShutdown, Overflow, Policy};
use batchd_core::queue::{
    Ack, AttemptState, BatchEvents, Commit, OPEN_BATCHES_MAX, PRODUCER_WINDOW, QueueOptions,
};
use batchd_core::spool::LockedSpool;
use batchd_core::spool::space::SpoolSpace;
use batchd_frame::QueueName;
use batchd_sinks::{FileSink, Sink};
use tokio::sync::{Notify, watch};

use super::index::IndexQueue;
use crate::config::model::{QueueConfig, SinkConfig};
use crate::ingest::Ticket;

/// A queue with what delivers from it.
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) commit: Commit<Ticket>,
    /// What a submission waits for that does not say.
    pub(crate) ack: Ack,
    /// What becomes of a submission for which there is no room.
    pub(crate) overflow: Overflow,
    /// What the configuration says; nothing where it no longer names the queue.
    config: Option<QueueConfig>,
    /// Wakes the dispatcher.
    pub(crate) ready: Notify,
    /// Ends the wait after a failed attempt: somebody asked for a flush.
    pub(crate) hurry: Notify,
    delivery: Mutex<DeliveryState>,
    attempts: Mutex<AttemptState>,
    /// Counts changes of the above, for those who wait for a delivery.
    changed: watch::Sender<u64>,
}

/// How delivery goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeliveryState {
    /// Attempts that failed since the last that did not.
    pub(crate) attempts_failed: u32,
    /// Attempts that failed since the start.
    pub(crate) failures: u64,
    /// What the last failed attempt said.
    pub(crate) last_error: Option<String>,
}

impl Queue {
    pub(super) fn open(
        spool: &LockedSpool,
        name: QueueName,
        config: Option<&QueueConfig>,
        space: Arc<SpoolSpace>,
        pending_bytes: Arc<AtomicUsize>,
        index: Option<&Arc<IndexQueue>>,
    ) -> Result<Self, FsError> {
        let options = QueueOptions {
            name: name.clone(),
            // A parked queue takes nothing in, closes nothing by age, and lets nothing expire.
            policy: config.map_or(
                Policy {
                    max_age: None,
                    expiry: ExpiryRules {
                        is_parked: true,
                        ..ExpiryRules::default()
                    },
                    ..Policy::default()
                },
                |config| config.policy.clone(),
            ),
            space,
            open_batches_max: config.map_or(OPEN_BATCHES_MAX, |config| config.open_batches_max),
            has_sink: config.is_some_and(|config| config.sink.is_some()),
            producer_window: config.map_or(PRODUCER_WINDOW, |config| config.producer_window),
            pending_bytes,
            events: index.map(|index| Arc::clone(index) as Arc<dyn BatchEvents>),
        };
        let overflow = options.policy.overflow;
        let commit = Commit::open(spool, options)?;
        Ok(Self {
            name,
            commit,
            ack: config.map_or(Ack::Synced, |config| config.ack),
            overflow,
            config: config.cloned(),
            ready: Notify::new(),
            hurry: Notify::new(),
            delivery: Mutex::default(),
            attempts: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    /// Whether the configuration names it.
    pub(crate) fn is_configured(&self) -> bool {
        self.config.is_some()
    }

    /// A sink of its own, if it has one.
    pub(super) fn make_sink(&self) -> Option<Box<dyn Sink>> {
        match self.config.as_ref()?.sink.as_ref()? {
            SinkConfig::File(config) => match FileSink::new(config.clone()) {
                Ok(sink) => Some(Box::new(sink)),
                Err(error) => {
                    // The configuration was checked with the same rules.
                    tracing::error!(queue = %self.name, %error, "the sink cannot be used");
                    None
                }
            },
        }
    }

    /// Whether its batches go anywhere.
    pub(crate) fn has_sink(&self) -> bool {
        self.config
            .as_ref()
            .is_some_and(|config| config.sink.is_some())
    }

    /// What becomes of its open batches at a clean stop.
    pub(crate) fn on_shutdown(&self) -> OnShutdown {
        let config = self.config.as_ref();
        config.map_or(OnShutdown::Keep, |config| config.policy.on_shutdown)
    }

    /// Where its batches go, for people.
    pub(crate) fn describe_sink(&self) -> Option<String> {
        let config = self.config.as_ref()?;
        Some(match &config.sink {
            None => "none".to_owned(),
            Some(SinkConfig::File(file)) => format!("file:{}", file.path.display()),
        })
    }

    pub(crate) fn delivery(&self) -> MutexGuard<'_, DeliveryState> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known from one attempt to the next. Locked during an attempt; nobody else looks at it.
    pub(super) fn attempts(&self) -> MutexGuard<'_, AttemptState> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change in what is delivered.
    pub(super) fn note(&self, change: impl FnOnce(&mut DeliveryState)) {
        change(&mut self.delivery());
        self.changed.send_modify(|count| *count += 1);
    }

    /// Tells when delivery got on, or failed.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

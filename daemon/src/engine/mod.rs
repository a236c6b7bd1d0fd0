//! The queues of a running daemon, and what works on them besides ingest.

pub(crate) mod admin;
mod alive;
mod attempt;
pub(crate) mod dispatch;
pub(crate) mod drain;
pub(crate) mod explicit;
mod flush;
mod history;
pub(crate) mod housekeeping;
pub(crate) mod index;
mod no_queue;
mod queue;
pub(crate) mod recall;
mod space;
mod summary;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use batchd_core::error::FsError;
use batchd_core::queue::Answer;
use batchd_core::queue::QueuePrint;
use batchd_core::queue::commit::Broken;
use batchd_core::spool::LockedSpool;
use batchd_core::spool::space::SpoolSpace;
use batchd_frame::QueueName;
use batchd_protocol::Limits;
use tokio::sync::{Notify, Semaphore};

use crate::config::Config;
use crate::config::model::{QueueConfig, UnknownQueues};
use crate::ingest::{Mailboxes, Ticket};
pub(crate) use no_queue::{NoQueue, not_found};
pub(crate) use queue::Queue;

/// Bytes of messages that are longer than a read, all connections together.
const LONG_MESSAGE_BYTES: usize = 48 << 20;
/// Where there are so many queues, none is created on demand.
const QUEUES_MAX: usize = 1024;

/// Threads that may block: for an attempt of every queue there may be, and for what is asked.
pub(crate) fn blocking_threads(config: &Config) -> usize {
    QUEUES_MAX + config.queues.len() + admin::LOOKS
}

/// All that the threads of a daemon share.
pub(crate) struct Engine {
    pub(crate) spool: LockedSpool,
    pub(crate) limits: Limits,
    pub(crate) started_at: u64,
    queues: RwLock<HashMap<QueueName, Arc<Queue>>>,
    template: Option<QueueConfig>,
    /// Past so many queues none is created on demand.
    queues_max: usize,
    /// Whether that has been said.
    is_full: AtomicBool,
    pub(crate) space: Arc<SpoolSpace>,
    /// What waits to be appended, in all queues.
    pub(crate) pending_bytes: Arc<AtomicUsize>,
    /// Wakes those who wait for room.
    pub(crate) room: Notify,
    /// The sockets answer: what can wait may be done from now on.
    serving: AtomicBool,
    /// Nobody is to wait for a sink any more.
    is_stopping: AtomicBool,
    flushes: flush::Flushes,
    /// Wakes the housekeeper.
    pub(crate) house: housekeeping::Bell,
    pub(crate) mailboxes: Mailboxes,
    /// Permits for bytes of long messages.
    pub(crate) long_messages: Semaphore,
    /// How long a connection may be silent.
    pub(crate) idle_timeout: Option<Duration>,
    /// What the index is told and asked; nothing where there is to be none.
    index: Option<Arc<index::IndexQueue>>,
    dispatcher: Mutex<Option<dispatch::Spawner>>,
    tell_broken: Box<dyn Fn(String) + Send + Sync>,
    /// Why the daemon cannot go on, where that is so.
    broken: OnceLock<String>,
    /// Permits for requests that block.
    looks: Semaphore,
    /// Permits for bytes of batches that are being made.
    creations: Arc<Semaphore>,
    /// One looks through the ledgers at a time.
    history: Mutex<()>,
}

impl Engine {
    /// Recovers all queues: those of the configuration, and those that only the spool knows. `broken` is called
    /// when the spool cannot be relied on any more.
    ///
    /// # Errors
    /// [`FsError`] where directories cannot be read or made.
    pub(crate) fn open(
        config: &Config,
        spool: LockedSpool,
        broken: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Self, FsError> {
        let engine = Self {
            limits: limits(config),
            started_at: spool.env().clock.wall_micros(),
            queues: RwLock::default(),
            template: (config.unknown_queues == UnknownQueues::Create)
                .then(|| config.template.clone()),
            queues_max: QUEUES_MAX,
            is_full: AtomicBool::new(false),
            space: space::open(config, &spool),
            pending_bytes: Arc::default(),
            room: Notify::new(),
            serving: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            flushes: flush::Flushes::default(),
            house: housekeeping::Bell::default(),
            mailboxes: Mailboxes::default(),
            long_messages: Semaphore::new(LONG_MESSAGE_BYTES),
            idle_timeout: config.limits.idle_timeout,
            index: config
                .spool
                .index
                .then(|| Arc::new(index::IndexQueue::new())),
            dispatcher: Mutex::default(),
            tell_broken: Box::new(broken),
            broken: OnceLock::new(),
            looks: Semaphore::new(admin::LOOKS),
            creations: explicit::budget(),
            history: Mutex::default(),
            spool,
        };
        let mut all: BTreeMap<QueueName, Option<QueueConfig>> = BTreeMap::new();
        for name in engine.spool.queues()? {
            // One that was created on demand is what it was then.
            all.insert(name, engine.template.clone());
        }
        for (name, queue) in &config.queues {
            all.insert(name.clone(), Some(queue.clone()));
        }
        for (name, found) in all {
            if found.is_none() {
                tracing::warn!(
                    queue = %name,
                    "the configuration no longer names this queue; its batches stay: name it in [queues] again to \
                     have them delivered"
                );
            }
            engine.open_queue(name, found.as_ref())?;
        }
        if let Some(index) = &engine.index {
            index.set_queues(engine.prints());
        }
        Ok(engine)
    }

    /// What the queues hold, for the index.
    fn prints(&self) -> Vec<QueuePrint> {
        let queues = self.queues();
        queues.iter().map(|queue| queue.commit.print()).collect()
    }

    /// A queue by name, for what is to be put into it; created where the configuration wants that.
    ///
    /// # Errors
    /// [`NoQueue`].
    pub(crate) fn queue(&self, name: &str) -> Result<Arc<Queue>, NoQueue> {
        if let Some(queue) = self.read_queues().get(name) {
            return match queue.is_configured() {
                true => Ok(Arc::clone(queue)),
                false => Err(NoQueue::Parked(queue.name.clone())),
            };
        }
        let (Some(template), Ok(name)) = (self.template.as_ref(), QueueName::new(name)) else {
            return Err(NoQueue::Unknown(name.to_owned()));
        };
        let max = self.queues_max;
        if self.read_queues().len() >= max {
            // None of them goes, so that once is enough.
            if !self.is_full.swap(true, Ordering::Relaxed) {
                tracing::warn!(queue = %name, "not created, nor is any other: there are {max} queues");
            }
            return Err(NoQueue::TooMany(name, max));
        }
        let opened = self.open_queue(name.clone(), Some(template));
        opened.map_err(|error| {
            if error.is_no_space() || error.is_read_only() {
                tracing::debug!(queue = %name, %error, "cannot be created now");
            } else {
                tracing::error!(queue = %name, %error, "cannot be created");
            }
            NoQueue::Fs(error)
        })
    }

    fn open_queue(
        &self,
        name: QueueName,
        config: Option<&QueueConfig>,
    ) -> Result<Arc<Queue>, FsError> {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&name) {
            return Ok(Arc::clone(queue));
        }
        let queue = Arc::new(Queue::open(
            &self.spool,
            name.clone(),
            config,
            Arc::clone(&self.space),
            Arc::clone(&self.pending_bytes),
            self.index.as_ref(),
        )?);
        queues.insert(name, Arc::clone(&queue));
        drop(queues);
        let dispatcher = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(spawner) = &*dispatcher {
            spawner.spawn(Arc::clone(&queue));
        }
        Ok(queue)
    }

    /// All queues, by name.
    pub(crate) fn queues(&self) -> Vec<Arc<Queue>> {
        let mut queues: Vec<_> = self.read_queues().values().cloned().collect();
        queues.sort_by(|a, b| a.name.cmp(&b.name));
        queues
    }

    fn read_queues(&self) -> std::sync::RwLockReadGuard<'_, HashMap<QueueName, Arc<Queue>>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on queues that are created get a dispatcher too.
    pub(crate) fn set_dispatcher(&self, spawner: dispatch::Spawner) {
        *self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(spawner);
    }

    /// The sockets answer now.
    pub(crate) fn serve(&self) {
        self.serving.store(true, Ordering::Relaxed);
        self.house.ring();
    }

    /// Whether the sockets answer.
    fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Sends answers to the threads whose connections wait for them.
    pub(crate) fn answer(&self, answers: &mut Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers.drain(..) {
            self.mailboxes.send_answer(ticket, answer);
        }
    }

    /// Batches have ended otherwise than by their dispatcher: tells whoever waits for them, or for their room.
    fn batches_ended(&self, queue: &Queue) {
        self.answer(&mut queue.commit.take_answers());
        // It may have found its next batch taken.
        queue.ready.notify_one();
        // Whoever waits for a flush learns what became of his.
        queue.note(|_| {});
        self.room.notify_waiters();
    }

    /// Tells all whose submissions wait for the sink alone that it will not be in this process.
    pub(crate) fn release_waiting(&self) {
        for queue in self.queues() {
            queue.commit.lock().release_waiting();
            self.answer(&mut queue.commit.take_answers());
        }
    }

    /// Tells all who wait for a flush the same. Returns when they are answered.
    pub(crate) async fn release_flushes(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        for queue in self.queues() {
            queue.note(|_| {});
        }
        self.flushes.all_answered().await;
    }

    /// Whether that has happened.
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// The spool cannot be relied on any more: the daemon ends.
    pub(crate) fn break_down(&self, queue: &QueueName, broken: &Broken) {
        self.end(format!("queue {queue}: {broken}"));
    }

    /// The daemon cannot go on, for that reason: it ends.
    fn end(&self, why: String) {
        if self.broken.set(why.clone()).is_ok() {
            tracing::error!("{why}");
            (self.tell_broken)(why);
        }
    }

    /// Why it cannot go on, if that has happened.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// Seals what is closed and marks what stays open. Called when nothing else runs. A queue of which that fails is
    /// [`broken`](Self::broken); the others are closed all the same.
    pub(crate) fn close(&self) {
        for queue in self.queues() {
            if let Err(broken) = queue.commit.close() {
                self.break_down(&queue.name, &broken);
            }
        }
    }
}

fn limits(config: &Config) -> Limits {
    let body = config.limits.submission_bytes_max;
    Limits {
        item_bytes_max: config.limits.item_bytes_max,
        submission_bytes_max: body,
        submission_items_max: u64::from(u32::MAX),
        // What is around a body fits a few kilobytes.
        message_bytes_max: body + (64 << 10),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use batchd_core::env::os;
    use batchd_core::queue::Creation;
    use batchd_core::spool::Layout;
    use batchd_frame::checksum::crc32c;
    use batchd_frame::{BodyLimits, BodyView, encode_body};

    use super::*;
    use crate::config::Surroundings;

    /// The engine of a configuration, on a spool in this directory. Nothing runs.
    pub(super) fn engine(root: &Path, config: &str) -> Engine {
        let (file, spool) = (root.join("b.toml"), root.join("spool"));
        let common = "[spool]\nballast = \"off\"\nindex = false\n";
        std::fs::write(&file, format!("{common}{config}")).expect("written");
        std::fs::create_dir_all(&spool).expect("made");
        let config = Config::load(&file, &Surroundings::new(0, |_| None)).expect("no mistakes");
        let spool = LockedSpool::open(os::env(), Layout::new(&spool), "test").expect("locked");
        Engine::open(&config, spool, |what| panic!("{what}")).expect("opened")
    }

    /// Makes a batch of one item, ready to be delivered. Nobody is told.
    pub(super) fn create(queue: &Queue) {
        let mut body = Vec::new();
        encode_body(None, [b"item".as_slice()].into_iter(), &mut body);
        let creation = Creation {
            key: b"",
            body: &body,
            body_crc: crc32c(&body),
            view: BodyView::parse(&body, 1, BodyLimits::NONE).expect("a body"),
            lifespan: None,
        };
        queue.commit.create(&creation).expect("created");
    }
}

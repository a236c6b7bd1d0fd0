//! What a batcher does: the callbacks.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use batchd_frame::{BatchId, SealReason};

use super::codec::BoxError;
use super::options::{Config, Options};
use crate::env::Env;
use crate::spool::progress::Part;
use crate::spool::sealed::GoodRange;

/// What a callback comes to.
pub type CallbackResult<T = ()> = Result<T, BoxError>;

/// Collects items in batches, and does something with each batch. A [`BatchServer`](super::BatchServer) runs it.
///
/// The callbacks are those of BatchPlease (Elixir). All of them run on the server's thread, one at a time.
///
/// A callback that changes a batch and fails leaves the batch as it was. One that panics may leave it half-changed:
/// what that means is said at [`BatchServer`](super::BatchServer#when-a-callback-fails).
pub trait Batcher {
    /// What is collected.
    type Item;
    /// What the items of a batch become: a list, a sum, a map of counts.
    type Batch;

    /// Whether a batch is made of its items: on a spool it is then made anew from those by
    /// [`init`](Self::init) and [`add_item`](Self::add_item), after a restart and where it was dropped from memory.
    /// A batcher that reads the items when it flushes has nothing to be made.
    const IS_REBUILT: bool = true;

    /// The options of this type. Those of a start lie over them.
    fn options(&self) -> Options {
        Options::new()
    }

    /// Begins a batch: at the start, and behind every batch that is closed.
    ///
    /// # Errors
    /// Whatever went wrong. At the start that is the end of it; later, it is called again for the next item, which is
    /// not taken until it succeeds.
    fn init(&mut self, config: &Config) -> CallbackResult<Self::Batch>;

    /// Adds an item.
    ///
    /// Where batches are durable, it is called again for items that were taken: after a restart, and whenever a batch is
    /// made anew. What it does depends on the batch and the item alone then, not on what came before, on the time, or
    /// on chance; a batch that cannot be made anew [waits](super::Step::Rebuild).
    ///
    /// # Errors
    /// Why the item is not taken: its producer is told.
    fn add_item(&mut self, batch: &mut Self::Batch, item: &Self::Item) -> CallbackResult;

    /// Processes a batch. It is delivered when this succeeds.
    ///
    /// # Errors
    /// The batch stays, and is tried again, under the same id and with the same content. Those behind it wait.
    fn flush(&mut self, batch: &Closed<Self::Batch>) -> CallbackResult;

    /// Prepares a batch for [`flush`](Self::flush): until it has succeeded once, and never again for that batch (in
    /// this process).
    ///
    /// # Errors
    /// As of `flush`.
    fn pre_flush(&mut self, batch: &mut Closed<Self::Batch>) -> CallbackResult {
        let _ = batch;
        Ok(())
    }

    /// Looks at a batch that was delivered.
    ///
    /// # Errors
    /// They are reported. The batch is delivered all the same, and not again.
    fn post_flush(&mut self, batch: &Closed<Self::Batch>) -> CallbackResult {
        let _ = batch;
        Ok(())
    }

    /// Cleans up when the server stops. `batch` is the open one: where it was flushed by the stop, the next one, which is
    /// empty; nothing where none could be begun. It is not called where the process dies, nor for
    /// [`abort`](super::BatchServer::abort), nor where the server's thread ended otherwise.
    ///
    /// # Errors
    /// Told to whoever stops the server, which stops all the same.
    fn terminate(&mut self, batch: Option<&mut Self::Batch>) -> CallbackResult {
        let _ = batch;
        Ok(())
    }

    /// Whether the open batch is to be flushed now, besides what the triggers say. Asked before and after each item.
    /// An empty batch is never flushed.
    fn should_flush(&mut self, state: &View<'_, Self>) -> bool {
        let _ = state;
        false
    }

    /// How many bytes of `max_bytes` an item takes up, where batches are kept in memory. 0: none.
    fn item_bytes(&self, item: &Self::Item) -> u64 {
        let _ = item;
        0
    }
}

/// The state of a server, as [`should_flush`](Batcher::should_flush) sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct View<'a, B: Batcher + ?Sized> {
    /// The open batch.
    pub batch: &'a B::Batch,
    /// The item that is about to be added; nothing behind it.
    pub next_item: Option<&'a B::Item>,
    /// The item that was added last, to whatever batch.
    pub last_item: Option<&'a B::Item>,
    /// What was counted.
    pub counts: Counts,
    /// Ages.
    pub times: Times,
    /// The options in force.
    pub config: &'a Config,
}

/// What a server counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Items of the open batch.
    pub batch_items: u32,
    /// Bytes of the open batch.
    pub batch_bytes: u64,
    /// Items taken since the start, each once.
    pub total_items: u64,
    /// Items refused since the start.
    pub refused: u64,
    /// Batches delivered since the start.
    pub flushes: u64,
    /// Items in them.
    pub items_flushed: u64,
    /// Flushes that failed since the start.
    pub failures: u64,
    /// Batches that are closed and wait for their flush.
    pub waiting: usize,
    /// Items in them.
    pub items_waiting: u64,
    /// Beats of `interval` that came too late and were skipped.
    pub beats_skipped: u64,
}

/// How old things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// The first item of the open batch.
    pub first_item: Option<Duration>,
    /// The newest item of the open batch.
    pub newest_item: Option<Duration>,
    /// Since a batch was last closed; since the start, where none was.
    pub since_flush: Duration,
}

/// A batch that takes no more items, on its way out. It stands for what the items became.
#[derive(Debug)]
pub struct Closed<S> {
    pub(super) id: BatchId,
    pub(super) part: Option<Part>,
    pub(super) reason: Option<SealReason>,
    pub(super) items: u64,
    pub(super) bytes: u64,
    pub(super) attempts: u32,
    pub(super) file: Option<ItemsFile>,
    pub(super) is_prepared: bool,
    pub(super) state: S,
}

/// Where the items of a batch are.
#[derive(Debug, Clone)]
pub(super) struct ItemsFile {
    pub(super) env: Env,
    pub(super) path: PathBuf,
    pub(super) ranges: Vec<GoodRange>,
}

impl<S> Closed<S> {
    /// Its id: the same at every attempt, also after a restart. A target that remembers it, with
    /// [`part`](Self::part), recognises a repeat.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// Which of its items these are, where not all of them can be read any more.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        self.part
    }

    /// Why it was closed; nothing where that cannot be read any more.
    #[must_use]
    pub fn reason(&self) -> Option<SealReason> {
        self.reason
    }

    /// How many items it has.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Sum of their lengths, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Which attempt this is, in this process: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempts
    }

    /// Its file, where it has one. It is gone when the batch is delivered.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// What its items became.
    #[must_use]
    pub fn batch(&self) -> &S {
        &self.state
    }
}

impl<S> Deref for Closed<S> {
    type Target = S;
    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> DerefMut for Closed<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.state
    }
}

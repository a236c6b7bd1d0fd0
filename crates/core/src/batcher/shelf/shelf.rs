//! The shelf as a program uses it, wherever its batches are.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use batchd_frame::BatchId;

use super::cleaner::Cleaner;
use super::error::ShelfError;
use super::kept::Kept;
use super::memory::Memory;
use crate::batcher::{Codec, DirError, DirLimits};
use crate::env::{Env, os};
use crate::policy::expiry::CLEANUP_INTERVAL;

/// What a shelf is made with. The default is no bound of its own, a cleaner every 60 s, and the surroundings of the
/// machine.
///
/// ```
/// use std::time::Duration;
/// use batchd_core::batcher::{ShelfError, ShelfOptions};
///
/// let options = ShelfOptions { max_items: Some(3), ..ShelfOptions::default() };
/// let shelf = options.in_memory();
/// shelf.create([1, 2], Duration::from_secs(10))?;
/// let refused = shelf.create([3, 4], Duration::from_secs(10));
/// assert!(matches!(refused, Err(ShelfError::Full { items: 2, max: 3 })));
/// # Ok::<(), ShelfError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ShelfOptions {
    /// Most items of all its batches together.
    pub max_items: Option<u64>,
    /// How often its cleaner goes a round, from the start on; nothing for a shelf without one, until
    /// [`start_cleaner`](Shelf::start_cleaner).
    pub cleanup_interval: Option<Duration>,
    /// What its directory may hold; nothing to a shelf in memory.
    pub limits: DirLimits,
    /// File system, clocks and randomness.
    pub env: Env,
}

impl Default for ShelfOptions {
    fn default() -> Self {
        Self {
            max_items: None,
            cleanup_interval: Some(CLEANUP_INTERVAL),
            limits: DirLimits::default(),
            env: os::env(),
        }
    }
}

impl ShelfOptions {
    /// Makes a shelf in memory.
    #[must_use]
    pub fn in_memory<T: Send + Sync + 'static>(self) -> Shelf<T> {
        let (max_items, interval) = (self.max_items, self.cleanup_interval);
        Shelf::of(Store::Memory(Memory::new(self)), max_items, interval)
    }

    /// Opens the shelf in a directory, as [`Shelf::on_spool`].
    ///
    /// # Errors
    /// [`DirError`].
    pub fn on_spool<T: Send + Sync + 'static>(
        self,
        path: impl AsRef<Path>,
        codec: Codec<T>,
    ) -> Result<Shelf<T>, DirError> {
        let (max_items, interval) = (self.max_items, self.cleanup_interval);
        let path = os::absolute(path.as_ref().to_path_buf());
        let kept = Kept::open(self, &path, codec)?;
        Ok(Shelf::of(Store::Kept(Box::new(kept)), max_items, interval))
    }
}

/// A shelf of disappearing batches: each is put on it whole, with a lifespan, and is there for whoever has its id until
/// that is over. It is in memory, or on a spool, a directory of its own, and is used in the same way. Many threads
/// share it, by reference or in an [`Arc`].
///
/// ```
/// use std::time::Duration;
/// use batchd_core::batcher::Shelf;
///
/// let shelf: Shelf<String> = Shelf::in_memory();
/// let items = ["item1", "item2"].map(str::to_owned);
/// let id = shelf.create(items, Duration::from_secs(10))?;
/// let found = shelf.get(id)?.expect("there for ten seconds");
/// assert_eq!(*found, ["item1", "item2"]);
/// # Ok::<(), batchd_core::batcher::ShelfError>(())
/// ```
///
/// # When a batch is gone
///
/// A lifespan begins when [`create`](Self::create) is called. The batch is there as long as its age is at most its
/// lifespan, also where both are equal, and never after that, whether or not anybody has removed it by then. It is
/// removed by the first of: somebody who asks for it; a round of the cleaner, a thread that goes one every 60 s unless
/// [it is told otherwise](ShelfOptions::cleanup_interval), or a call of [`clean`](Self::clean); a batch that is created
/// and finds no room otherwise. Until then it takes its room, and [`len`](Self::len) counts it.
///
/// Ages are by the boot-time clock, which counts while the machine is suspended: a wall clock that is set changes
/// nothing. Only a shelf on a spool outlives its process, and then there is nothing but the wall clock:
/// - time goes on while no program has the shelf open, and what is over at the start is gone from the start on. There
///   is no grace as in the daemon, where somebody may have come to mend what kept batches from going out: from a
///   shelf nothing goes out;
/// - what the wall clock says at the start counts. Where it is behind the newest batch of the spool, it is wrong, and
///   nothing expires until it has caught up.
///
/// # What is kept
///
/// In memory, nothing outlives the shelf. On a spool a batch is synced when `create` returns, and survives the end of
/// the process and of the power. One whose `create` did not return is there whole after a crash, or not at all. No
/// other process can have the same directory as long as the shelf lives; readers such as `batchctl ls --spool DIR`
/// show it when it does not. What expires is entered in the ledger of the spool before its file goes.
///
/// Every checksum is verified at every [`get`](Self::get): a batch that was damaged on disk is an error,
/// [`ShelfError::Damaged`], and never other items. After a sync that failed nothing is known of what is on the medium:
/// every further call is [`ShelfError::Broken`], until the shelf is opened again.
pub struct Shelf<T> {
    // First, so that nothing uses the store any more when that goes.
    cleaner: Cleaner,
    store: Arc<Store<T>>,
    max_items: Option<u64>,
}

/// Where the batches are.
enum Store<T> {
    Memory(Memory<T>),
    Kept(Box<Kept<T>>),
}

impl<T: Send + Sync + 'static> Shelf<T> {
    /// Makes a shelf in memory, without bounds. [`ShelfOptions`] has them.
    #[must_use]
    pub fn in_memory() -> Self {
        ShelfOptions::default().in_memory()
    }

    /// Opens the shelf in a directory, with the batches that are there. A directory that is not there is made, mode
    /// 0700.
    ///
    /// ```
    /// use std::time::Duration;
    /// use batchd_core::batcher::{Codec, Shelf};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("shelf");
    /// // let path = "/var/lib/app/shelf";
    /// let shelf = Shelf::on_spool(&path, Codec::json())?;
    /// let id = shelf.create([("a".to_owned(), 1)], Duration::from_secs(3600))?;
    /// drop(shelf);
    ///
    /// // Later, in another process.
    /// let shelf: Shelf<(String, u32)> = Shelf::on_spool(&path, Codec::json())?;
    /// assert_eq!(*shelf.get(id)?.expect("an hour has not passed"), [("a".to_owned(), 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DirError`]: the directory is in use, or of a newer program, or cannot be read or written.
    pub fn on_spool(path: impl AsRef<Path>, codec: Codec<T>) -> Result<Self, DirError> {
        ShelfOptions::default().on_spool(path, codec)
    }

    fn of(store: Store<T>, max_items: Option<u64>, interval: Option<Duration>) -> Self {
        let shelf = Self {
            cleaner: Cleaner::default(),
            store: Arc::new(store),
            max_items,
        };
        if let Some(interval) = interval
            && let Err(error) = shelf.start_cleaner(interval)
        {
            // They expire all the same when somebody asks for them, and where there is no room.
            tracing::warn!(%error, "a shelf has no cleaner");
        }
        shelf
    }

    /// Puts a batch on the shelf, which is there for so long from this call on. On a spool it is durable on return. A
    /// vector does for `items`, and so does an array; who wants to have them still when there was no room gives a clone
    /// of an `Arc`.
    ///
    /// # Errors
    /// [`ShelfError`]; only after [`ShelfError::Broken`] may there be a batch.
    pub fn create(
        &self,
        items: impl Into<Arc<[T]>>,
        lifespan: Duration,
    ) -> Result<BatchId, ShelfError> {
        let items = items.into();
        if items.is_empty() {
            return Err(ShelfError::Empty);
        }
        // No clock here tells less.
        if lifespan < Duration::from_micros(1) {
            return Err(ShelfError::NoLifespan);
        }
        let count = items.len() as u64;
        if let Some(max) = self.max_items.filter(|max| count > *max) {
            return Err(ShelfError::TooManyItems { items: count, max });
        }
        match &*self.store {
            Store::Memory(memory) => memory.create(&items, lifespan),
            Store::Kept(kept) => kept.create(&items, lifespan),
        }
    }

    /// The items of a batch as long as its lifespan lasts. Nothing where that is over, and where the shelf never had
    /// such a batch.
    ///
    /// # Errors
    /// [`ShelfError`], on a spool.
    pub fn get(&self, id: BatchId) -> Result<Option<Arc<[T]>>, ShelfError> {
        match &*self.store {
            Store::Memory(memory) => Ok(memory.get(id)),
            Store::Kept(kept) => kept.get(id),
        }
    }

    /// How many batches it holds, with those that have expired and that nobody has removed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        match &*self.store {
            Store::Memory(memory) => memory.len(),
            Store::Kept(kept) => kept.len(),
        }
    }

    /// Whether it holds no batch, not even one that has expired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes a round of the cleaner now: removes all batches that have expired, and says how many. On a spool, what
    /// cannot be removed now is left to the next round.
    ///
    /// # Errors
    /// [`ShelfError::Broken`], on a spool.
    pub fn clean(&self) -> Result<u64, ShelfError> {
        self.store.clean()
    }

    /// Starts the cleaner: a thread that goes a round every so often, first when one interval has passed, and takes no
    /// time in between. One that runs already, as it does [from the start on](ShelfOptions::cleanup_interval), has this
    /// interval from now on. It is of real time, whatever the clock of the shelf is, and
    /// a millisecond at least. The thread keeps no process alive, and ends with the shelf.
    ///
    /// # Errors
    /// [`ShelfError::NoThread`].
    pub fn start_cleaner(&self, interval: Duration) -> Result<(), ShelfError> {
        let store = Arc::clone(&self.store);
        let round = move || match store.clean() {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "the cleaner of a shelf ends");
                false
            }
        };
        let started = self.cleaner.start(interval, round);
        started.map_err(ShelfError::NoThread)
    }

    /// Stops the cleaner, if it runs: at once, or at the end of the round that is under way. No round begins after it,
    /// until it is started again. Nothing else changes.
    pub fn stop_cleaner(&self) {
        self.cleaner.stop();
    }
}

impl<T> Store<T> {
    fn clean(&self) -> Result<u64, ShelfError> {
        match self {
            Self::Memory(memory) => Ok(memory.clean()),
            Self::Kept(kept) => kept.clean(),
        }
    }
}

impl<T> fmt::Debug for Shelf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.store {
            Store::Memory(_) => "Shelf in memory",
            Store::Kept(_) => "Shelf on a spool",
        })
    }
}

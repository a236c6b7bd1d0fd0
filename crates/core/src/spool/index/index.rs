//! The life of the index: opened where it was closed cleanly over the same files, made anew otherwise, kept in
//! step with what happens, and given up for a while where it fails.
//!
//! Nothing here returns an error that matters: whoever asks while there is no index is told so, and asks the
//! ledgers.

use std::collections::HashMap;
#[cfg(test)]
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use batchd_frame::{BatchId, QueueName};

use super::contents::{Asked, Contents, sum_of};
use super::marker::{Marker, StoreMark, Sum};
#[cfg(test)]
use super::records::{ALL_KEYS, from_value, to_value};
use super::records::{Ended, Found, Page, Query};
use super::store::{Store, StoreError, destroy};
use crate::env::Env;
use crate::error::At;
use crate::queue::QueuePrint;
use crate::spool::layout::{Layout, QueueLayout, ReadyBatch};

/// So many failures in a row, and it is given up until the next start.
const FAILURES_MAX: u32 = 10;
/// Bounds of the wait after a failure: doubled from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// One that held for so long counts as sound again.
const SOUND_AFTER: Duration = Duration::from_secs(600);

/// So many entries it may have: three for each batch that ended. The store holds some seventy bytes of memory for
/// each, wherever the entry itself is.
const ENTRIES_MAX: u64 = 1_500_000;

/// There is no index at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no index at the moment")]
pub struct IndexError;

/// A queue, for a rebuild.
pub struct Source<'a> {
    /// Its name.
    pub queue: QueueName,
    /// Its places.
    pub layout: QueueLayout,
    /// Its ledger's [number](crate::spool::ledger::Ledger::number).
    pub ledger_number: Box<dyn Fn() -> u64 + 'a>,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({})", self.queue)
    }
}

/// The index of a spool. One thread has it.
#[derive(Debug)]
pub struct Index {
    env: Env,
    layout: Layout,
    store: Option<Contents>,
    /// Number of the store that is made next: what is left of one must not meet another.
    next_store: u32,
    failures: u32,
    entries_max: u64,
    /// When to make it anew, by the boot-time clock; never where it was given up.
    rebuild_at: Option<Duration>,
}

impl Index {
    /// One that is not opened yet. Nothing is touched.
    #[must_use]
    pub fn new(env: Env, layout: Layout) -> Self {
        let rebuild_at = Some(env.clock.boot());
        Self {
            env,
            layout,
            store: None,
            next_store: 1,
            failures: 0,
            entries_max: ENTRIES_MAX,
            rebuild_at,
        }
    }

    /// Whether it can be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// How long to wait before it is to be [rebuilt](Self::rebuild); nothing where it is open, or given up.
    #[must_use]
    pub fn rebuild_due(&self) -> Option<Duration> {
        let at = self.rebuild_at.filter(|_| self.store.is_none())?;
        Some(at.saturating_sub(self.env.clock.boot()))
    }

    /// Opens what a clean stop left, where the queues still are what they were then. Says whether it is open; where
    /// it is not, a rebuild is due.
    pub fn open(&mut self, queues: &[QueuePrint]) -> bool {
        match self.open_clean(queues) {
            Ok(contents) => {
                tracing::debug!(entries = contents.sum.count, "the index is as it was left");
                self.store = Some(contents);
            }
            Err(why) => tracing::debug!(why, "the index is to be rebuilt"),
        }
        self.is_open()
    }

    fn open_clean(&mut self, queues: &[QueuePrint]) -> Result<Contents, String> {
        let marker = Marker::read(&self.env, &self.layout)?;
        marker.check(&self.env, &self.layout, queues)?;
        let StoreMark {
            number,
            sum,
            is_verified,
        } = marker.store;
        self.next_store = number.wrapping_add(1);
        // From here on it is believed only if it is closed again.
        let path = self.layout.index_marker();
        let removed = self.env.fs.unlink(&path).at("remove", &path);
        removed.map_err(|error| error.to_string())?;
        let text = |error: StoreError| error.to_string();
        let store = Store::open(&self.layout.index_store(number)).map_err(text)?;
        if !is_verified {
            check_sum(&store, sum).map_err(text)?;
        }
        Ok(self.contents(store, number, sum))
    }

    fn contents(&self, store: Store, number: u32, sum: Sum) -> Contents {
        Contents {
            store,
            number,
            sum,
            generations: HashMap::new(),
            opened_at: self.env.clock.boot(),
        }
    }

    /// Makes it anew from the files of the spool. What happens meanwhile is to be told afterwards; what is told twice
    /// does no harm. Stops early, without an index, where `go_on` says no.
    pub fn rebuild(&mut self, queues: &[Source<'_>], go_on: &dyn Fn() -> bool) -> bool {
        self.store = None;
        let start = self.env.clock.boot();
        match self.build(queues, go_on) {
            Ok(Some(contents)) => {
                let entries = contents.sum.count;
                self.store = Some(contents);
                self.check_size();
                if self.is_open() {
                    let took = self.env.clock.boot().saturating_sub(start);
                    tracing::info!(entries, ?took, "the index was rebuilt");
                }
            }
            Ok(None) => {}
            Err(why) => self.fail(&why),
        }
        self.is_open()
    }

    fn build(
        &mut self,
        queues: &[Source<'_>],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Contents>, String> {
        let dir = self.layout.index();
        let prepared = destroy(&dir).at("remove", &dir);
        let prepared = prepared.and_then(|()| self.env.fs.mkdir(&dir).at("create", &dir));
        prepared.map_err(|error| error.to_string())?;
        let number = self.next_store;
        self.next_store = number.wrapping_add(1);
        let store = Store::open(&self.layout.index_store(number)).map_err(|e| e.to_string())?;
        let mut contents = self.contents(store, number, Sum::default());
        let mut asked = Asked {
            go_on,
            count: 0,
            entries_max: self.entries_max,
        };
        for source in queues {
            if !contents.read_queue(&self.env, source, &mut asked)? {
                let is_too_large = contents.sum.count > self.entries_max;
                return Ok(is_too_large.then_some(contents));
            }
        }
        Ok(Some(contents))
    }

    /// Takes note that a batch lies sealed in a directory.
    pub fn placed(&mut self, queue: &QueueName, batch: &ReadyBatch) {
        self.change(|contents| contents.placed(queue, batch));
    }

    /// Takes note of a line of the ledger of that [number](crate::spool::ledger::Ledger::number).
    pub fn recorded(&mut self, ended: &Ended, ledger_number: u64) {
        self.change(|contents| contents.recorded(ended, ledger_number));
    }

    fn change(&mut self, change: impl FnOnce(&mut Contents) -> Result<(), StoreError>) {
        if let Some(contents) = &mut self.store
            && let Err(error) = change(contents)
        {
            self.fail(&error.to_string());
        }
        self.check_size();
    }

    /// More than it may hold is no failure, and trying again does not help.
    fn check_size(&mut self) {
        let entries_max = self.entries_max;
        if self
            .store
            .take_if(|it| it.sum.count > entries_max)
            .is_some()
        {
            self.remove();
            self.give_up("there is more on record than it may hold");
        }
    }

    /// Where a batch is, and what became of it.
    ///
    /// # Errors
    /// [`IndexError`]
    pub fn find(&mut self, id: BatchId) -> Result<Option<Found>, IndexError> {
        self.ask(|contents| contents.find(id))
    }

    /// A page of the history.
    ///
    /// # Errors
    /// [`IndexError`]
    pub fn history(&mut self, query: &Query) -> Result<Page, IndexError> {
        self.ask(|contents| contents.history(query))
    }

    fn ask<T>(
        &mut self,
        ask: impl FnOnce(&Contents) -> Result<T, StoreError>,
    ) -> Result<T, IndexError> {
        let contents = self.store.as_ref().ok_or(IndexError)?;
        ask(contents).map_err(|error| {
            self.fail(&error.to_string());
            IndexError
        })
    }

    /// Looks whether it is still there, and notes that it has held. To be called every few seconds.
    pub fn tend(&mut self) {
        let Some(contents) = &self.store else { return };
        let dir = self.layout.index_store(contents.number);
        let held = self.env.clock.boot().saturating_sub(contents.opened_at);
        match self.env.fs.read_dir(&dir) {
            Ok(entries) if !entries.is_empty() => {
                if held >= SOUND_AFTER {
                    self.failures = 0;
                }
            }
            Ok(_) => self.fail("its files are gone"),
            Err(error) => self.fail(&format!("its directory cannot be read: {error}")),
        }
    }

    /// Gives it up for a while: it is not what it should be.
    pub fn fail(&mut self, why: &str) {
        self.store = None;
        self.remove();
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            return self.give_up(why);
        }
        let (first, last) = BACKOFF;
        let wait = first.saturating_mul(1 << (self.failures - 1)).min(last);
        self.rebuild_at = Some(self.env.clock.boot().saturating_add(wait));
        tracing::warn!(
            why,
            ?wait,
            "the index is removed, and rebuilt later; nothing is lost"
        );
    }

    /// What is broken is of use to nobody, and space may be what it failed for.
    fn remove(&self) {
        if let Err(error) = destroy(&self.layout.index()) {
            tracing::debug!(%error, "the index cannot be removed");
        }
    }

    fn give_up(&mut self, why: &str) {
        self.rebuild_at = None;
        tracing::warn!(
            why,
            "the index is given up until the next start; look-ups are slower, nothing is lost"
        );
    }

    /// Closes it, so that the next start can use it if the queues are then what they are now.
    pub fn close(mut self, queues: &[QueuePrint]) {
        let Some(contents) = self.store.take() else {
            return;
        };
        let Contents {
            store, number, sum, ..
        } = contents;
        let dir = self.layout.index_store(number);
        let closed = close_soundly(store, &dir, sum).map_err(|error| error.to_string());
        let marked = closed.and_then(|is_verified| {
            let contents = StoreMark {
                number,
                sum,
                is_verified,
            };
            Marker::new(&self.env, &self.layout, contents, queues)
                .and_then(|marker| marker.write(&self.env, &self.layout))
                .map_err(|error| error.to_string())
        });
        if let Err(why) = marked {
            tracing::warn!(
                why,
                "the index was not closed cleanly; the next start rebuilds it"
            );
        }
    }
}

/// Closes a store, and sees that what is on disk is what was put in: somebody may have written into its files while
/// they were open. Done at the end rather than at the start, where the memory that it takes would stay. Where the
/// store has not let go of its files yet, it says no, and the next start has to look.
fn close_soundly(store: Store, dir: &Path, sum: Sum) -> Result<bool, StoreError> {
    store.close()?;
    let Ok(store) = Store::open(dir) else {
        return Ok(false);
    };
    check_sum(&store, sum)?;
    store.close().map(|()| true)
}

fn check_sum(store: &Store, sum: Sum) -> Result<(), StoreError> {
    if sum_of(store)? == sum {
        Ok(())
    } else {
        Err(StoreError::unsound())
    }
}

#[cfg(test)]
impl Index {
    /// Lets it have fewer entries.
    pub(super) fn hold_at_most(&mut self, entries: u64) {
        self.entries_max = entries;
    }

    /// All entries, the generations counted back from the present one: two indexes of the same have the same.
    pub(super) fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let contents = self.store.as_ref().expect("open");
        let (from, to) = ALL_KEYS;
        let mut entries = Vec::new();
        let visited = contents.store.range(from, to, false, |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        visited.expect("readable");
        let current: HashMap<_, u64> = entries
            .iter()
            .filter(|(key, _)| key.starts_with(b"g"))
            .map(|(key, value)| (key[1..].to_vec(), from_value(value).expect("a number")))
            .collect();
        entries.retain(|(key, _)| !key.starts_with(b"g"));
        for (key, value) in &mut entries {
            if key.starts_with(b"q") {
                let name = key.split(|byte| *byte == 0).next().expect("a name");
                let generation: u64 = from_value(value).expect("a number");
                *value = to_value(&(current[&name[1..]] - generation));
            }
        }
        entries
    }
}

//! What lies in a queue's directory, read without changing it, and what the next start would make of it.
//!
//! Of sealed batches the names are read, in pages sorted by seq: memory does not grow with their number. What the
//! ledgers hold is read once, and is bounded. The files in `open/` are read whole, as a start reads them, and it is the
//! start's own table that decides what they are.

mod open;
mod sealed;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::PathBuf;

use batchd_frame::{BatchId, FileHeader, QueueName, SealReason};

use crate::env::{DirEntry, Env};
use crate::error::{At, FsError};
use crate::spool::index::ledgers::Ledgers;
use crate::spool::layout::{OpenName, Place, QueueLayout, ReadyBatch, ReadyName};
use crate::spool::ledger::Outcome;
use crate::spool::reader::{ReadSpool, is_no_dir};
use crate::spool::recovery::created_micros;

pub use open::{OpenFile, OpenFiles};
pub use sealed::SealedPage;

/// Names of sealed batches that are held at a time.
const PAGE_NAMES: usize = 1 << 15;

/// A queue of a spool that is only read.
#[derive(Debug)]
pub struct Survey {
    env: Env,
    queue: QueueName,
    layout: QueueLayout,
    page_names: usize,
    on_record: OnceCell<HashMap<BatchId, Outcome>>,
}

/// Where a batch is in its life, as the next start would have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Being filled.
    Open,
    /// In `open/`, but closed: the next start moves it on.
    Closed,
    /// Waiting for delivery.
    Ready,
    /// Set aside, or about to be.
    Dead,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// What its name tells or, of an open one, would tell.
    pub name: ReadyName,
    /// Where it is in its life.
    pub stage: Stage,
    /// Its header, of a file in `open/`.
    pub header: Option<FileHeader>,
    /// Why it was or would be closed, where that is known without opening it.
    pub reason: Option<SealReason>,
    /// Its file.
    pub path: PathBuf,
}

impl Surveyed {
    /// When it was begun, unix time in microseconds: as its header says or, where that was not read, its id.
    #[must_use]
    pub fn created_at(&self) -> u64 {
        let header = self.header.as_ref();
        header.map_or_else(|| created_micros(self.name.id), |header| header.created_at)
    }
}

impl Survey {
    /// Of a queue.
    #[must_use]
    pub fn new(spool: &ReadSpool, queue: &QueueName) -> Self {
        Self {
            env: spool.env().clone(),
            queue: queue.clone(),
            layout: spool.layout().queue(queue),
            page_names: PAGE_NAMES,
            on_record: OnceCell::new(),
        }
    }

    /// The same, with at most so many names held at a time.
    #[must_use]
    pub fn with_page_names(mut self, page_names: usize) -> Self {
        self.page_names = page_names.max(1);
        self
    }

    /// The surroundings.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// The queue's places.
    #[must_use]
    pub fn layout(&self) -> &QueueLayout {
        &self.layout
    }

    /// The directory of batches in that place.
    #[must_use]
    pub fn dir(&self, place: Place) -> PathBuf {
        self.layout.dir_of(place)
    }

    /// Shows every name in that place, in no order. One that has no directory is empty.
    ///
    /// # Errors
    /// [`FsError`] where the directory cannot be listed.
    pub fn each_name(&self, place: Place, mut visit: impl FnMut(DirEntry)) -> Result<(), FsError> {
        let dir = self.dir(place);
        match self.env.fs.visit_dir(&dir, &mut visit).at("list", &dir) {
            Err(error) if is_no_dir(&error) => Ok(()),
            result => result,
        }
    }

    /// Shows every name of a sealed batch in that place, in no order.
    ///
    /// # Errors
    /// As [`each_name`](Self::each_name).
    pub fn each_sealed(
        &self,
        place: Place,
        mut visit: impl FnMut(ReadyName),
    ) -> Result<(), FsError> {
        self.each_name(place, |entry| {
            if let Ok(name) = entry.name.parse()
                && !entry.is_dir
            {
                visit(name);
            }
        })
    }

    /// Shows every batch, by stage and seq, until `visit` says false.
    ///
    /// # Errors
    /// As [`open_files`](Self::open_files).
    pub fn each_batch(&self, mut visit: impl FnMut(Surveyed) -> bool) -> Result<(), FsError> {
        let mut from_open = Vec::new();
        for file in &self.open_files()?.files {
            from_open.extend(file.surveyed());
        }
        from_open.sort_by_key(|batch| (batch.stage, batch.name));
        let dead = from_open.partition_point(|batch| batch.stage < Stage::Dead);
        let dead = from_open.split_off(dead);
        if !from_open.into_iter().all(&mut visit)
            || !self.each_sealed_batch(Place::Ready, &mut visit)?
            || !dead.into_iter().all(&mut visit)
        {
            return Ok(());
        }
        self.each_sealed_batch(Place::Dead, &mut visit).map(drop)
    }

    /// Says whether `visit` wants more.
    fn each_sealed_batch(
        &self,
        place: Place,
        visit: &mut impl FnMut(Surveyed) -> bool,
    ) -> Result<bool, FsError> {
        let mut after = None;
        loop {
            let page = self.sealed_page(place, after)?;
            let is_there = |name: &&ReadyName| {
                !page.finished.contains_key(&name.id) && !page.twice.contains_key(name)
            };
            for name in page.names.iter().filter(is_there) {
                if !visit(self.sealed(place, *name)) {
                    return Ok(false);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(true),
            }
        }
    }

    fn sealed(&self, place: Place, name: ReadyName) -> Surveyed {
        Surveyed {
            name,
            stage: match place {
                Place::Dead => Stage::Dead,
                Place::Ready | Place::Open => Stage::Ready,
            },
            header: None,
            reason: None,
            path: self.layout.sealed(&ReadyBatch { name, place }),
        }
    }

    /// The batch of that id, if there is one.
    ///
    /// # Errors
    /// As [`open_files`](Self::open_files).
    pub fn find(&self, id: BatchId) -> Result<Option<Surveyed>, FsError> {
        let mut is_open = false;
        self.each_name(Place::Open, |entry| {
            is_open |= entry
                .name
                .parse::<OpenName>()
                .is_ok_and(|name| name.id == id);
        })?;
        if is_open {
            let files = self.open_files()?.files;
            let mut found = files.iter().filter_map(OpenFile::surveyed);
            if let Some(found) = found.find(|found| found.name.id == id) {
                return Ok(Some(found));
            }
        }
        for place in [Place::Dead, Place::Ready] {
            let mut found: Option<ReadyName> = None;
            self.each_sealed(place, |name| {
                if name.id == id {
                    found = Some(found.map_or(name, |found| found.min(name)));
                }
            })?;
            if let Some(name) = found {
                let is_there = self.gone(place, id)?.is_none();
                return Ok(is_there.then(|| self.sealed(place, name)));
            }
        }
        Ok(None)
    }

    /// What the ledgers say of batches last. They are read once.
    fn on_record(&self) -> Result<&HashMap<BatchId, Outcome>, FsError> {
        if let Some(known) = self.on_record.get() {
            return Ok(known);
        }
        let mut found = HashMap::new();
        Ledgers::open(&self.env, &self.layout)?.visit(|_, end| {
            found.insert(end.id, end.outcome);
            true
        });
        Ok(self.on_record.get_or_init(|| found))
    }

    /// What the ledgers say of a batch last, if it lies in `ready/` and has no place there any more.
    fn gone(&self, place: Place, id: BatchId) -> Result<Option<Outcome>, FsError> {
        if place != Place::Ready {
            return Ok(None);
        }
        let outcome = self.on_record()?.get(&id).copied();
        Ok(outcome.filter(|outcome| outcome.leaves_ready()))
    }
}

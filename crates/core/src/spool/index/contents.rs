//! What is in an open store, and how it is changed: the same by what happens, and by what is read from the files.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use batchd_frame::{BatchId, QueueName};

use super::index::Source;
use super::ledgers::{Ledgers, Which};
use super::marker::Sum;
use super::records::{
    ALL_KEYS, Batch, Cursor, Ended, Found, Page, Query, State, batch_key, cursor_of, from_value,
    generation_key, line_key, line_keys, queue_keys, queue_line_key, to_value,
};
use super::store::{Store, StoreError};
use crate::env::Env;
use crate::error::At;
use crate::spool::layout::{Place, ReadyBatch, ReadyName};

/// So many lines are removed at a time.
const PRUNE_AT_ONCE: usize = 512;
/// Every so many entries a rebuild asks whether to go on.
const ASK_EVERY: u64 = 256;

/// An open store with what is known of it.
#[derive(Debug)]
pub(super) struct Contents {
    pub store: Store,
    /// Number of the store.
    pub number: u32,
    pub sum: Sum,
    pub generations: HashMap<QueueName, Generation>,
    /// By the boot-time clock.
    pub opened_at: Duration,
}

/// A queue's ledgers by number. Each rotation begins a new generation; of those before the last two, nothing is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generation {
    /// What is added to the ledger's number since the start.
    offset: u64,
    current: u64,
}

/// Asks now and then whether to go on.
pub(super) struct Asked<'a> {
    pub go_on: &'a dyn Fn() -> bool,
    pub count: u64,
    /// A store that has more is not read into any further.
    pub entries_max: u64,
}

impl Asked<'_> {
    fn go_on(&mut self, sum: Sum) -> bool {
        self.count += 1;
        sum.count <= self.entries_max && (!self.count.is_multiple_of(ASK_EVERY) || (self.go_on)())
    }
}

impl Contents {
    /// Reads a queue's files. Says whether it got through.
    pub(super) fn read_queue(
        &mut self,
        env: &Env,
        source: &Source<'_>,
        asked: &mut Asked<'_>,
    ) -> Result<bool, String> {
        let queue = &source.queue;
        let (ledgers, current) = open_ledgers(env, source)?;
        self.set_generation(queue, 0, current)
            .map_err(|error| error.to_string())?;
        let mut result = Ok(true);
        ledgers.visit(|which, end| {
            let generation = match which {
                Which::Present => current,
                Which::Previous => current.saturating_sub(1),
            };
            result = match self.enter(&Ended::new(queue, end), generation) {
                Ok(()) => Ok(asked.go_on(self.sum)),
                Err(error) => Err(error.to_string()),
            };
            result == Ok(true)
        });
        if result != Ok(true) {
            return result;
        }
        for place in [Place::Ready, Place::Dead] {
            let dir = source.layout.dir_of(place);
            let names = env.fs.read_dir(&dir).at("list", &dir);
            for entry in names.map_err(|error| error.to_string())? {
                if let Ok(name) = entry.name.parse::<ReadyName>() {
                    self.placed(queue, &ReadyBatch { name, place })
                        .map_err(|error| error.to_string())?;
                }
                if !asked.go_on(self.sum) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub(super) fn placed(
        &mut self,
        queue: &QueueName,
        batch: &ReadyBatch,
    ) -> Result<(), StoreError> {
        let state = match batch.place {
            Place::Ready => State::Ready,
            Place::Dead => State::Dead,
            // It is looked for by its name, which it has not yet.
            Place::Open => return Ok(()),
        };
        let (known, last) = self.last_of(batch.name.id)?;
        // Its file may outlive its record, for a moment.
        if last.is_some_and(|last| last.end.outcome.is_final()) {
            return Ok(());
        }
        let name = &batch.name;
        let batch = Batch {
            queue: queue.clone(),
            seq: name.seq,
            items: name.items,
            bytes: name.bytes,
            state,
            lines: known.map(|known| known.lines).unwrap_or_default(),
        };
        self.put(&batch_key(name.id), &to_value(&batch))
    }

    pub(super) fn recorded(&mut self, ended: &Ended, ledger_number: u64) -> Result<(), StoreError> {
        let queue = &ended.queue;
        let known = self.generation(queue)?;
        let generation = known.offset.saturating_add(ledger_number);
        if generation > known.current {
            self.set_generation(queue, known.offset, generation)?;
            self.prune(queue, generation)?;
        } else if is_past(generation, known.current) {
            return Ok(());
        }
        self.enter(ended, generation)
    }

    /// Enters a line that is in the ledger of this generation.
    fn enter(&mut self, ended: &Ended, generation: u64) -> Result<(), StoreError> {
        let (cursor, end) = (ended.cursor(), &ended.end);
        let known = self.batch(end.id)?;
        let is_new = known.is_none();
        let mut batch = known.unwrap_or_else(|| Batch {
            queue: ended.queue.clone(),
            seq: end.seq,
            items: end.items,
            bytes: end.bytes,
            state: State::Gone,
            lines: Vec::new(),
        });
        // What is only set aside was said to be where it is before.
        if end.outcome.is_final() {
            batch.state = State::Gone;
        }
        if is_new || !batch.lines.contains(&end.at) {
            batch.lines.push(end.at);
        }
        self.put(&line_key(cursor), &to_value(ended))?;
        self.put(
            &queue_line_key(&ended.queue, cursor),
            &to_value(&generation),
        )?;
        self.put(&batch_key(end.id), &to_value(&batch))
    }

    /// Removes the lines that are in no ledger any more.
    fn prune(&mut self, queue: &QueueName, current: u64) -> Result<(), StoreError> {
        let (from, to) = queue_keys(queue);
        loop {
            let mut past = Vec::new();
            self.store.range(&from, &to, false, |key, value| {
                let generation = from_value::<u64>(value).unwrap_or(0);
                if is_past(generation, current) {
                    past.extend(cursor_of(key));
                }
                if past.len() < PRUNE_AT_ONCE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            for cursor in &past {
                self.forget(queue, *cursor)?;
            }
            if past.len() < PRUNE_AT_ONCE {
                return Ok(());
            }
        }
    }

    fn forget(&mut self, queue: &QueueName, cursor: Cursor) -> Result<(), StoreError> {
        self.remove(&queue_line_key(queue, cursor))?;
        self.remove(&line_key(cursor))?;
        let Some(mut batch) = self.batch(cursor.id)? else {
            return Ok(());
        };
        batch.lines.retain(|at| *at != cursor.at);
        let key = batch_key(cursor.id);
        if batch.lines.is_empty() && batch.state == State::Gone {
            self.remove(&key)
        } else {
            self.put(&key, &to_value(&batch))
        }
    }

    pub(super) fn find(&self, id: BatchId) -> Result<Option<Found>, StoreError> {
        let (batch, ended) = self.last_of(id)?;
        Ok(batch.map(|batch| Found {
            queue: batch.queue,
            seq: batch.seq,
            items: batch.items,
            bytes: batch.bytes,
            state: batch.state,
            ended,
        }))
    }

    pub(super) fn history(&self, query: &Query) -> Result<Page, StoreError> {
        // One more tells whether there are more.
        let wanted = query.limit.saturating_add(1);
        let mut ended = Vec::new();
        for cursor in self.cursors(query, wanted)? {
            let line = self.line(cursor)?.ok_or_else(StoreError::unsound)?;
            ended.push(line);
        }
        ended.retain(|ended| query.takes(ended));
        let more = ended.len() > query.limit;
        ended.truncate(query.limit);
        Ok(Page { ended, more })
    }

    /// Places of what may be asked for, newest first.
    fn cursors(&self, query: &Query, wanted: usize) -> Result<Vec<Cursor>, StoreError> {
        if let Some(id) = query.batch {
            let lines = self.batch(id)?.map(|batch| batch.lines);
            let mut lines = lines.unwrap_or_default();
            lines.sort_unstable_by(|a, b| b.cmp(a));
            return Ok(lines.into_iter().map(|at| Cursor { at, id }).collect());
        }
        let (from, to) = line_keys(query);
        let mut cursors = Vec::new();
        let mut is_sound = true;
        self.store.range(&from, &to, true, |key, _| {
            let cursor = cursor_of(key);
            is_sound &= cursor.is_some();
            cursors.extend(cursor);
            if cursors.len() < wanted && is_sound {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if is_sound {
            Ok(cursors)
        } else {
            Err(StoreError::unsound())
        }
    }

    /// A batch, and the last line about it.
    fn last_of(&self, id: BatchId) -> Result<(Option<Batch>, Option<Ended>), StoreError> {
        let batch = self.batch(id)?;
        let last = batch.as_ref().and_then(|batch| batch.lines.last());
        let ended = match last {
            Some(at) => self.line(Cursor { at: *at, id })?,
            None => None,
        };
        Ok((batch, ended))
    }

    fn batch(&self, id: BatchId) -> Result<Option<Batch>, StoreError> {
        self.value(&batch_key(id))
    }

    fn line(&self, cursor: Cursor) -> Result<Option<Ended>, StoreError> {
        self.value(&line_key(cursor))
    }

    fn generation(&mut self, queue: &QueueName) -> Result<Generation, StoreError> {
        if let Some(known) = self.generations.get(queue) {
            return Ok(*known);
        }
        // As the process before left it: what that counted from there, this one counts from 1.
        let current = self.value(&generation_key(queue))?.unwrap_or(1);
        let known = Generation {
            offset: u64::saturating_sub(current, 1),
            current,
        };
        self.generations.insert(queue.clone(), known);
        Ok(known)
    }

    fn set_generation(
        &mut self,
        queue: &QueueName,
        offset: u64,
        current: u64,
    ) -> Result<(), StoreError> {
        let known = Generation { offset, current };
        self.generations.insert(queue.clone(), known);
        self.put(&generation_key(queue), &to_value(&current))
    }

    fn value<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        match self.store.get(key)? {
            None => Ok(None),
            Some(bytes) => from_value(&bytes).map(Some).ok_or_else(StoreError::unsound),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if let Some(before) = self.store.put(key, value)? {
            self.sum.take(key, &before);
        }
        self.sum.add(key, value);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if let Some(before) = self.store.remove(key)? {
            self.sum.take(key, &before);
        }
        Ok(())
    }
}

/// Whether the ledger of a generation is gone.
fn is_past(generation: u64, current: u64) -> bool {
    generation.saturating_add(1) < current
}

/// Opens a queue's ledgers, and says which generation the present one is.
fn open_ledgers(env: &Env, source: &Source<'_>) -> Result<(Ledgers, u64), String> {
    loop {
        let before = (source.ledger_number)();
        let opened = Ledgers::open(env, &source.layout);
        let ledgers = opened.map_err(|error| error.to_string())?;
        // One that is rotated takes megabytes to fill again.
        if (source.ledger_number)() == before {
            return Ok((ledgers, before));
        }
    }
}

pub(super) fn sum_of(store: &Store) -> Result<Sum, StoreError> {
    let mut sum = Sum::default();
    let (from, to) = ALL_KEYS;
    store.range(from, to, false, |key, value| {
        sum.add(key, value);
        ControlFlow::Continue(())
    })?;
    Ok(sum)
}

//! After a start: which submissions lie in batches that were sealed before it.
//!
//! Their seals say it, and there may be a great many, so they are read while the queue works already. Until that is
//! done, a submission that says it is a repeat has to wait, unless it is known; one that is new is taken.

use batchd_frame::{BatchId, ProducerRecord};

use super::commit::Commit;
use super::state::Queue;
use crate::error::FsError;
use crate::spool::kept::{FoundPart, KeptSubmissions, Newest};
use crate::spool::layout::{Place, ReadyBatch};
use crate::spool::recovery::{Recollection, created_micros};
use crate::spool::sealed::SealedFile;

/// After so many seals that are too old, none before them is read: a file may have been made long before its batch
/// was sealed, so that seqs tell the order only roughly.
const TOO_OLD_MAX: usize = 64;

/// How far the reading has come.
#[derive(Debug)]
pub(super) struct Recall {
    /// Parts of submissions: they are entered in order, when all are known.
    parts: Vec<FoundPart>,
    oldest: u64,
    /// Batches from this one on are read: newest first.
    read_from: Option<(u64, BatchId)>,
    too_old: usize,
    /// Batches whose seals could not be read. They are tried once more when there are no others left.
    unread: Vec<ReadyBatch>,
    /// That has begun.
    is_again: bool,
}

impl Recall {
    pub(super) fn new(known: &Recollection) -> Self {
        let mut recall = Self {
            parts: Vec::new(),
            oldest: known.oldest,
            read_from: None,
            too_old: 0,
            unread: Vec::new(),
            is_again: false,
        };
        for (seq, records) in &known.held {
            recall.keep_parts(*seq, records);
        }
        recall
    }

    /// Takes note of batches that were read, which were to be so many. Says whether they were the last.
    fn advance(&mut self, batches: &[ReadyBatch], at_most: usize) -> bool {
        if self.is_again {
            return self.unread.is_empty();
        }
        self.read_from = batches
            .last()
            .map(|batch| batch.name.key())
            .or(self.read_from);
        self.is_again = batches.len() < at_most || self.too_old >= TOO_OLD_MAX;
        self.is_again && self.unread.is_empty()
    }

    fn keep_parts(&mut self, seq: u64, records: &[ProducerRecord]) {
        for record in records {
            let producer = record.producer;
            self.parts.extend(record.parts.iter().map(|part| FoundPart {
                seq,
                producer,
                part: *part,
            }));
        }
    }
}

impl Recollection {
    /// What is known so far, for look-ups.
    pub(super) fn known(&mut self) -> KeptSubmissions {
        // In order of seq, so that the parts of a submission meet, whatever became of each.
        self.held.sort_by_key(|(seq, _)| *seq);
        let mut kept = KeptSubmissions::default();
        for (_, records) in &self.held {
            kept.enter(records);
        }
        kept
    }
}

impl<T: Clone> Commit<T> {
    /// Reads up to `at_most` seals of batches that were there at the start, newest first. Returns whether there are
    /// more to read. Blocks in reading; call it again and again, off the path to any acknowledgement.
    pub fn recall(&self, at_most: usize) -> bool {
        let Some(batches) = self.lock().next_to_recall(at_most) else {
            return false;
        };
        let seals: Vec<_> = batches
            .iter()
            .map(|batch| {
                (
                    batch,
                    self.open_wherever(batch).and_then(|file| file.read_seal()),
                )
            })
            .collect();
        let mut queue = self.lock();
        let queue = &mut *queue;
        let Some(recall) = &mut queue.recall else {
            return false;
        };
        for (batch, seal) in seals {
            match seal {
                // Ids ascend also where the wall clock is set back, which the time of a seal does not.
                Ok(Some(seal))
                    if seal.sealed_at.max(created_micros(batch.name.id)) >= recall.oldest =>
                {
                    if queue.dead.contains_key(&batch.name.key()) {
                        queue.ended_badly.enter(&seal.producers);
                    }
                    recall.keep_parts(batch.name.seq, &seal.producers);
                    queue.kept.enter_older(&seal.producers);
                }
                Ok(Some(_)) => recall.too_old += 1,
                // It is damaged, and says nothing more.
                Ok(None) => {}
                // It has ended since, and what it held was entered then; or it is gone.
                Err(error) if error.is_no_file() => {}
                Err(error) if recall.is_again => tracing::warn!(
                    batch = %batch.name.id, items = batch.name.items, %error,
                    "the seal of a batch cannot be read: a repeat of what it holds is taken for new"
                ),
                Err(_) => recall.unread.push(*batch),
            }
        }
        if recall.advance(&batches, at_most) {
            queue.recalled();
        }
        queue.recall.is_some()
    }

    /// Opens a sealed batch also where it is being set aside: its file is renamed before what it holds is entered.
    fn open_wherever(&self, batch: &ReadyBatch) -> Result<SealedFile, FsError> {
        let place = Place::Dead;
        self.open_sealed(batch).or_else(|error| match error {
            gone if gone.is_not_found() => self.open_sealed(&ReadyBatch { place, ..*batch }),
            error => Err(error),
        })
    }

    /// What is known to be kept of the newest of several producers, in this process and before it; all of it, once
    /// [`has_recalled`](Self::has_recalled). Their ids begin with the same eight bytes.
    #[must_use]
    pub fn newest_of(&self, family: [u8; 8]) -> Option<Newest> {
        self.lock().kept.newest_of(family)
    }

    /// Whether it is known which submissions were kept before the start.
    #[must_use]
    pub fn has_recalled(&self) -> bool {
        self.lock().recall.is_none()
    }
}

impl<T: Clone> Queue<T> {
    /// The next batches to read, newest first; nothing where all is read.
    fn next_to_recall(&mut self, at_most: usize) -> Option<Vec<ReadyBatch>> {
        let recall = self.recall.as_mut()?;
        if recall.is_again {
            let rest = recall.unread.len().saturating_sub(at_most);
            return Some(recall.unread.split_off(rest));
        }
        let below = recall
            .read_from
            .unwrap_or((u64::MAX, BatchId::from_bytes([0xff; 16])));
        let ready = self.ready.range(..below).rev();
        let mut ready = ready.map(|(key, found)| (key, &found.batch)).peekable();
        let mut dead = self.dead.range(..below).rev().peekable();
        let next = || {
            let newer = match (ready.peek(), dead.peek()) {
                (Some((one, _)), Some((other, _))) if other > one => dead.next(),
                (None, _) => dead.next(),
                _ => ready.next(),
            };
            newer.map(|(_, batch)| *batch)
        };
        Some(std::iter::from_fn(next).take(at_most).collect())
    }

    /// A batch ended, perhaps before its seal was read for this.
    pub(super) fn remember(&mut self, seq: u64, records: &[ProducerRecord]) {
        if let Some(recall) = &mut self.recall {
            recall.keep_parts(seq, records);
            self.kept.enter_older(records);
        }
    }

    /// All is read.
    pub(super) fn recalled(&mut self) {
        if let Some(recall) = self.recall.take() {
            self.kept.enter_parts(recall.parts);
        }
    }
}

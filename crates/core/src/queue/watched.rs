//! What becomes of batches that somebody flushed and waits for. An end that is no delivery leaves nothing in memory to
//! tell it by, so that it is counted for those who wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use batchd_frame::SealReason;

use super::commit::Commit;
use super::state::Queue;
use crate::spool::ledger::Outcome;

/// The batches of one flush. Nothing is counted for it any more once it is dropped.
#[derive(Debug)]
pub struct FlushWatch {
    /// Seqs, ascending.
    seqs: Vec<u64>,
    not_delivered: AtomicU64,
}

impl FlushWatch {
    /// How many of them have ended up to now without being delivered whole: they expired, were dropped, were damaged,
    /// or their files are gone.
    #[must_use]
    pub fn not_delivered(&self) -> u64 {
        self.not_delivered.load(Ordering::Relaxed)
    }
}

/// The flushes of a queue that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Watches(Vec<Weak<FlushWatch>>);

impl Watches {
    fn add(&mut self, watch: &Arc<FlushWatch>) {
        self.0.retain(|watch| watch.strong_count() > 0);
        self.0.push(Arc::downgrade(watch));
    }

    fn ended(&mut self, seq: u64, outcome: Outcome) {
        if outcome == Outcome::Delivered {
            return;
        }
        self.0.retain(|watch| {
            let Some(watch) = watch.upgrade() else {
                return false;
            };
            if watch.seqs.binary_search(&seq).is_ok() {
                watch.not_delivered.fetch_add(1, Ordering::Relaxed);
            }
            true
        });
    }
}

impl<T: Clone> Commit<T> {
    /// As [`flush`](Self::flush), for one who waits and wants to know how the batches end.
    pub fn flush_watched(&self) -> (Vec<(u64, u64)>, Arc<FlushWatch>) {
        let mut queue = self.lock();
        let batches = queue.flush(SealReason::Flush);
        let mut seqs: Vec<_> = batches.iter().map(|(seq, _)| *seq).collect();
        seqs.sort_unstable();
        let watch = Arc::new(FlushWatch {
            seqs,
            not_delivered: AtomicU64::new(0),
        });
        queue.watches.add(&watch);
        (batches, watch)
    }

    /// How many of these seqs are still to be delivered.
    #[must_use]
    pub fn undelivered(&self, seqs: &[(u64, u64)]) -> usize {
        self.lock().undelivered(seqs).count()
    }

    /// Whether any of these seqs is still to be delivered: quickly, where the last one is.
    #[must_use]
    pub fn is_undelivered(&self, seqs: &[(u64, u64)]) -> bool {
        self.lock().undelivered(seqs).next().is_some()
    }
}

impl<T: Clone> Queue<T> {
    /// Closes all open batches and returns the seqs of all that are not delivered yet, with their items.
    pub(super) fn flush(&mut self, reason: SealReason) -> Vec<(u64, u64)> {
        let unsealed = self.unsealed();
        let mut open: Vec<_> = unsealed
            .map(|(header, fill, _)| (header.seq, u64::from(fill.items)))
            .collect();
        open.sort_unstable();
        self.close_all(reason);
        let ready = self.ready().map(|batch| (batch.name.seq, batch.name.items));
        ready.chain(open).collect()
    }

    /// Those of these seqs that are still to be delivered, the last ones first: they are delivered last.
    fn undelivered(&self, seqs: &[(u64, u64)]) -> impl Iterator<Item = u64> {
        let open: Vec<_> = self.unsealed().map(|(header, ..)| header.seq).collect();
        let is_ready = |seq: u64| {
            let from = self.ready_after(seq.saturating_sub(1));
            let mut from = from.map(|batch| batch.name.seq);
            from.next() == Some(seq)
        };
        let seqs = seqs.iter().rev().map(|(seq, _)| *seq);
        seqs.filter(move |seq| open.contains(seq) || is_ready(*seq))
    }

    /// A batch is delivered, or has ended otherwise.
    pub(super) fn watched_ended(&mut self, seq: u64, outcome: Outcome) {
        self.watches.ended(seq, outcome);
    }
}

//! The cleaner: goes its round once an interval, and expires what nobody has met.
//!
//! What it does in one call is bounded, so that housekeeping gets to its other work: it looks at all that waits, but
//! gives the lock back again and again, and ends at most one group of batches.

use std::time::Duration;

use batchd_frame::BatchId;

use super::claim::{Claim, LOOK_BATCHES};
use super::commit::{Broken, Commit};
use super::delivery::FinishError;
use super::expiry::GROUP_BATCHES;
use super::state::Queue;
use crate::error::FsError;
use crate::policy::ExpiryRules;

/// Where the cleaner's round is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cleaner {
    interval: Option<Duration>,
    /// When the next round begins, by the boot-time clock.
    next_at: Duration,
    /// The last batch this round has passed.
    passed: Option<(u64, BatchId)>,
}

impl Cleaner {
    /// The first round is one interval after the start.
    pub(super) fn starting(rules: ExpiryRules, boot: Duration) -> Self {
        let interval = rules.cleanup_interval.filter(|_| !rules.is_parked);
        let mut cleaner = Self {
            interval,
            next_at: boot,
            passed: None,
        };
        cleaner.end_round(boot);
        cleaner
    }

    fn is_due(&self, boot: Duration) -> bool {
        self.interval.is_some() && boot >= self.next_at
    }

    /// The next begins after an interval, and up to a fiftieth of it later: at the same moment as those of the queues
    /// that were started a little before or after, so that one look at the clock does for all of them.
    fn end_round(&mut self, boot: Duration) {
        self.passed = None;
        let interval = self.interval.unwrap_or_default();
        let share = (interval / 50).as_nanos().max(1);
        let at = boot.saturating_add(interval).as_nanos();
        let rounded = u64::try_from(at.next_multiple_of(share)).unwrap_or(u64::MAX);
        self.next_at = Duration::from_nanos(rounded);
    }

    /// How long until it is due; at once while a round is under way.
    fn next_due(&self, boot: Duration) -> Option<Duration> {
        self.interval.map(|_| self.next_at.saturating_sub(boot))
    }
}

/// What a look of the cleaner came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// Batches that expired.
    pub expired: u64,
    /// Whether any was claimed: the dispatcher may have found it taken, and is to be woken.
    pub claimed: bool,
    /// When to call again at the latest; at once where there is more to do.
    pub next_due: Option<Duration>,
}

impl<T: Clone> Commit<T> {
    /// The cleaner: once an interval it goes through the batches that wait, in order, and expires those whose
    /// lifespan is over, a group at a time. Batches that somebody has in hand are left to him.
    ///
    /// # Errors
    /// [`Broken`] after a failed sync.
    pub fn clean(&self) -> Result<Cleaned, Broken> {
        let mut cleaned = Cleaned::default();
        self.demand_sound()?;
        let claims = loop {
            let mut queue = self.lock();
            let (claims, goes_on) = queue.claim_expired();
            if !claims.is_empty() || !goes_on {
                break claims;
            }
        };
        if !claims.is_empty() {
            cleaned.claimed = true;
            let batches: Vec<_> = claims.iter().map(|claim| *claim.batch()).collect();
            match self.expire_all(&batches) {
                Ok(ended) => {
                    cleaned.expired = ended.expired;
                    ended.left.iter().for_each(|error| self.leave(error));
                }
                Err(FinishError::Retry(error)) => self.leave(&error),
                Err(FinishError::Broken(error)) => return Err(Broken(error.to_string())),
            }
        }
        let queue = self.lock();
        cleaned.next_due = queue.cleaner.next_due(queue.env.clock.boot());
        Ok(cleaned)
    }

    /// What cannot be done now is left to the next round. Where nothing can be written, this one ends.
    fn leave(&self, error: &FsError) {
        tracing::warn!(%error, "expired batches cannot be set aside or dropped now; tried again");
        if !error.stops_all_writes() {
            return;
        }
        let mut queue = self.lock();
        let boot = queue.env.clock.boot();
        queue.cleaner.end_round(boot);
    }
}

impl<T: Clone> Queue<T> {
    /// The next group of the cleaner's round, from the next so many batches. Says whether there is more to look at.
    fn claim_expired(&mut self) -> (Vec<Claim>, bool) {
        let boot = self.env.clock.boot();
        if !self.cleaner.is_due(boot) {
            return (Vec::new(), false);
        }
        if !self.gate.is_open(self.env.clock.wall_micros(), boot) {
            self.cleaner.end_round(boot);
            return (Vec::new(), false);
        }
        let (mut claims, mut looked, mut passed) = (Vec::new(), 0, None);
        for perishable in self.ready_from(self.cleaner.passed).take(LOOK_BATCHES) {
            looked += 1;
            passed = Some(perishable.batch.name.key());
            if perishable.deadline.is_past(boot) {
                claims.extend(self.claims.take(&perishable.batch));
            }
            if claims.len() == GROUP_BATCHES {
                break;
            }
        }
        if claims.len() < GROUP_BATCHES && looked < LOOK_BATCHES {
            self.cleaner.end_round(boot);
            return (claims, false);
        }
        self.cleaner.passed = passed;
        (claims, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_were_started_together_have_their_rounds_together() {
        let rules = ExpiryRules {
            cleanup_interval: Some(Duration::from_secs(60)),
            is_parked: false,
        };
        let starts = (0..256).map(|n| Duration::from_millis(1000 + n / 2));
        let mut cleaners: Vec<_> = starts.map(|at| Cleaner::starting(rules, at)).collect();
        for _ in 0..3 {
            let next_at = cleaners.first().map(|first| first.next_at);
            for cleaner in &mut cleaners {
                assert_eq!(Some(cleaner.next_at), next_at);
                let late = Duration::from_micros(10);
                cleaner.end_round(cleaner.next_at + late);
            }
        }
        let first = Cleaner::starting(rules, Duration::from_secs(1)).next_at;
        assert!((61..63).contains(&first.as_secs()), "{first:?}");
    }
}

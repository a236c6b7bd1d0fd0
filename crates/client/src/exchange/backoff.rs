//! Exponential pauses with full jitter.

use std::time::Duration;

use crate::options::RetryDelays;

#[derive(Debug)]
pub(crate) struct Backoff {
    delays: RetryDelays,
    failures: u32,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(delays: RetryDelays, seed: u64) -> Self {
        Self {
            delays,
            failures: 0,
            random: seed,
        }
    }

    /// The pause after one more failure in a row.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = 2u32.saturating_pow(self.failures);
        let bound = self.delays.start.saturating_mul(doubled);
        self.failures = self.failures.saturating_add(1);
        bound.min(self.delays.max).mul_f64(self.fraction())
    }

    /// Something went well.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// From 0 to below 1, by SplitMix64: jitter needs to differ between clients, no more.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_below_a_bound_that_doubles() {
        let delays = RetryDelays {
            start: Duration::from_millis(50),
            max: Duration::from_secs(2),
        };
        let mut longest = [Duration::ZERO; 9];
        for seed in 0..200 {
            let mut backoff = Backoff::new(delays, seed);
            for longest in &mut longest {
                *longest = backoff.next().max(*longest);
            }
        }
        for (longest, bound_ms) in longest
            .into_iter()
            .zip([50, 100, 200, 400, 800, 1600, 2000, 2000, 2000])
        {
            let bound = Duration::from_millis(bound_ms);
            assert!(
                longest <= bound && longest > bound / 2,
                "{longest:?} of {bound:?}"
            );
        }
    }

    #[test]
    fn the_longest_run_of_failures_does_not_overflow() {
        let mut backoff = Backoff::new(RetryDelays::default(), 1);
        backoff.failures = u32::MAX;
        assert!(backoff.next() <= Duration::from_secs(2));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}

//! The wait after a failed attempt: doubled each time, with full jitter.

use std::time::Duration;

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure; doubled with each that follows.
    pub first: Duration,
    /// The longest wait ever.
    pub max: Duration,
}

impl Default for Backoff {
    /// From 100 ms to a minute.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            max: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait after so many failures in a row, by four random bytes: anything up to the bound, so that many that
    /// failed together do not come back together ("full jitter"), but at least a tenth of the first.
    #[must_use]
    pub fn wait(&self, failures: u32, random: [u8; 4]) -> Duration {
        let doubled = 1 << failures.saturating_sub(1).min(20);
        let bound = self.first.saturating_mul(doubled).min(self.max);
        let share = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
        let wait = Duration::try_from_secs_f64(bound.as_secs_f64() * share);
        wait.map_or(bound, |wait| wait.min(bound))
            .max(self.first / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread() {
        let backoff = Backoff::default();
        let most = |failures| backoff.wait(failures, [0xff; 4]).as_millis();
        let bounds = [0, 1, 2, 3, 10, 11, u32::MAX].map(most);
        assert_eq!(bounds, [100, 100, 200, 400, 51_200, 60_000, 60_000]);
        let longest = Backoff {
            first: Duration::MAX,
            max: Duration::MAX,
        };
        assert_eq!(longest.wait(1, [0xff; 4]), Duration::MAX);
        let half = [0xff, 0xff, 0xff, 0x7f];
        assert_eq!(backoff.wait(3, half).as_millis(), 200);
        assert_eq!(backoff.wait(9, [0; 4]).as_millis(), 10);
    }
}

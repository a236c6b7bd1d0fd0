//! Beats: closing every so often.
//!
//! A key has a grid of moments, `every` apart, from an origin. Every beat is on the grid, or behind its place on the
//! grid by what jitter adds to it; so jitter never adds up. Nothing happens at a beat that finds no batch, so
//! nobody has to wait for it: the next one is computed when there is something to close.

use std::time::Duration;

/// The largest jitter, in percent of the interval.
pub const JITTER_PERCENT_MAX: u32 = 20;

/// How beats follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IntervalMode {
    /// On a grid from the queue's start. Beats that are missed are skipped.
    #[default]
    FixedRate,
    /// So long after what the last beat flushed was delivered.
    FixedDelay,
}

/// Closes batches every so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    /// How often; longer than nothing.
    pub every: Duration,
    /// From when to when.
    pub mode: IntervalMode,
    /// By how much of the interval a beat may be delayed, in percent; at most [`JITTER_PERCENT_MAX`].
    pub jitter_percent: u32,
}

impl Interval {
    /// One at a fixed rate, without jitter.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self {
            every,
            mode: IntervalMode::FixedRate,
            jitter_percent: 0,
        }
    }

    /// By how much a key's grid is shifted, so that many keys do not close at once: less than an interval, always
    /// the same for the same key, and nothing for no key.
    #[must_use]
    pub fn phase(&self, key: &[u8]) -> Duration {
        if key.is_empty() {
            return Duration::ZERO;
        }
        scale(self.every, hash(key) >> 32)
    }

    /// The first place on the grid behind `now`. Where the origin is yet to come, that is the first.
    #[must_use]
    pub fn next_place(&self, origin: Duration, now: Duration) -> Duration {
        match now.checked_sub(origin) {
            None => origin,
            Some(passed) => {
                let next = u128::from(self.count(passed)) + 1;
                origin.saturating_add(from_nanos(self.every.as_nanos().saturating_mul(next)))
            }
        }
    }

    /// By how much jitter delays a beat, by four random bytes.
    #[must_use]
    pub fn delay(&self, random: [u8; 4]) -> Duration {
        let most = self.every * self.jitter_percent.min(JITTER_PERCENT_MAX) / 100;
        scale(most, u32::from_le_bytes(random).into())
    }

    /// How many whole beats have passed since the place of one.
    #[must_use]
    pub fn skipped(&self, place: Duration, now: Duration) -> u64 {
        self.count(now.saturating_sub(place))
    }

    fn count(&self, passed: Duration) -> u64 {
        let count = passed.as_nanos() / self.every.as_nanos().max(1);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

/// `share` of 2^32 parts of a time.
fn scale(time: Duration, share: u64) -> Duration {
    from_nanos((time.as_nanos() * u128::from(share)) >> 32)
}

fn from_nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// FNV-1a, of which every bit is then spread as SplitMix64 does: keys that count up must not lie close together.
fn hash(key: &[u8]) -> u64 {
    let mut hash = key.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn second() -> Interval {
        Interval::every(ms(1000))
    }

    #[test]
    fn a_place_is_behind_now() {
        let next = |origin, now| second().next_place(ms(origin), ms(now)).as_millis();
        assert_eq!(next(600, 600), 1600);
        assert_eq!(next(600, 601), 1600);
        assert_eq!(next(600, 1599), 1600);
        assert_eq!(next(600, 1600), 2600);
        assert_eq!(next(600, 9999), 10_600);
        assert_eq!(next(600, 0), 600, "the origin is the first");
    }

    #[test]
    fn whole_beats_are_skipped() {
        let skipped = |place, now| second().skipped(ms(place), ms(now));
        assert_eq!(skipped(1600, 1600), 0);
        assert_eq!(skipped(1600, 2599), 0);
        assert_eq!(skipped(1600, 2600), 1);
        assert_eq!(skipped(1600, 11_700), 10);
        assert_eq!(skipped(1600, 0), 0);
    }

    #[test]
    fn jitter_is_a_share_and_has_a_bound() {
        let with = |percent| Interval {
            jitter_percent: percent,
            ..second()
        };
        let most = [0xff; 4];
        assert_eq!(with(0).delay(most), ms(0));
        assert_eq!(with(20).delay([0; 4]), ms(0));
        assert!(with(20).delay(most) < ms(200));
        assert!(with(20).delay(most) > ms(199));
        assert!(with(90).delay(most) < ms(200), "never more than a fifth");
        assert_eq!(with(10).delay([0, 0, 0, 0x80]), ms(50));
    }

    #[test]
    fn phases_spread_keys_evenly() {
        let interval = second();
        assert_eq!(interval.phase(b""), ms(0));
        assert_eq!(interval.phase(b"a"), interval.phase(b"a"));
        for name in ["", "user-", "/var/log/host"] {
            let mut tenths = [0; 10];
            for number in 0..200 {
                let phase = interval.phase(format!("{name}{number}").as_bytes());
                assert!(phase < ms(1000), "{phase:?}");
                tenths[usize::try_from(phase.as_millis() / 100).unwrap()] += 1;
            }
            assert!(tenths.iter().all(|n| (5..=40).contains(n)), "{tenths:?}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let long = Interval {
            jitter_percent: 20,
            ..Interval::every(ms(100 * 365 * 24 * 3_600_000))
        };
        assert!(long.phase(b"key") < long.every);
        assert!(long.delay([0xff; 4]) < long.every / 5 + ms(1));
        assert!(long.next_place(long.every, long.every * 3) > long.every * 3);
        let short = Interval::every(ms(1));
        let year = ms(365 * 24 * 3_600_000);
        assert_eq!(short.next_place(ms(0), year), year + ms(1));
    }
}

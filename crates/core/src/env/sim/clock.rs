//! A clock that moves when told, and random bytes that follow from a seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::env::{Clock, Entropy};

/// A wall and a boot-time clock, each set on its own. Clones share the time.
#[derive(Debug, Clone)]
pub struct SimClock {
    now: Arc<Now>,
}

#[derive(Debug)]
struct Now {
    wall_micros: AtomicU64,
    boot_nanos: AtomicU64,
}

impl Default for SimClock {
    /// Starts on 2027-01-15 at 08:00 UTC, ten minutes after boot.
    fn default() -> Self {
        Self::new(1_800_000_000_000_000, Duration::from_secs(600))
    }
}

impl SimClock {
    /// Makes a clock that stands at the given times.
    #[must_use]
    pub fn new(wall_micros: u64, boot: Duration) -> Self {
        let now = Now {
            wall_micros: AtomicU64::new(wall_micros),
            boot_nanos: AtomicU64::new(saturate(boot.as_nanos())),
        };
        Self { now: Arc::new(now) }
    }

    /// Sets the wall clock, to microseconds since 1970. It may go backwards.
    pub fn set_wall(&self, micros: u64) {
        self.now.wall_micros.store(micros, Ordering::SeqCst);
    }

    /// Sets the boot-time clock, as after a restart of the machine.
    pub fn set_boot(&self, boot: Duration) {
        self.now
            .boot_nanos
            .store(saturate(boot.as_nanos()), Ordering::SeqCst);
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.advance_wall(by);
        self.advance_boot(by);
    }

    /// Moves the wall clock forward alone.
    pub fn advance_wall(&self, by: Duration) {
        self.now
            .wall_micros
            .fetch_add(saturate(by.as_micros()), Ordering::SeqCst);
    }

    /// Moves the boot-time clock forward alone.
    pub fn advance_boot(&self, by: Duration) {
        self.now
            .boot_nanos
            .fetch_add(saturate(by.as_nanos()), Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn wall_micros(&self) -> u64 {
        self.now.wall_micros.load(Ordering::SeqCst)
    }

    fn boot(&self) -> Duration {
        Duration::from_nanos(self.now.boot_nanos.load(Ordering::SeqCst))
    }
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Random bytes that follow from a seed.
#[derive(Debug)]
pub struct SimEntropy {
    random: Mutex<SplitMix>,
}

impl SimEntropy {
    /// Makes a source that always gives the same bytes for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Mutex::new(SplitMix(seed)),
        }
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, buf: &mut [u8]) {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buf.chunks_mut(8) {
            let word = random.next().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(word) {
                *to = from;
            }
        }
    }
}

/// Steele, Lea and Flood's SplitMix64: small, fast and good enough to choose crash states by.
#[derive(Debug, Clone)]
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let rest = self.next().checked_rem(bound as u64).unwrap_or(0);
        usize::try_from(rest).unwrap_or(0)
    }

    /// One of two.
    pub(super) fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

/// Spreads every bit of `value` over all 64; a bijection.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

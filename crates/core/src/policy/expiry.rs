//! When a batch expires: pure functions of times.
//!
//! Within a process ages are by the boot-time clock, so that a wall clock that is set changes nothing. Across
//! restarts there is only the wall clock, in the name of the batch's file; what it says at the start counts.

use std::time::Duration;

/// `cleanup_interval` where nothing else is said.
pub const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

/// Rules for what has outlived its lifespan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryRules {
    /// How often expired batches are looked for; nothing for never. One that is met expires all the same.
    pub cleanup_interval: Option<Duration>,
    /// Nothing expires: the queue is not configured any more, and keeps what it has.
    pub is_parked: bool,
}

impl Default for ExpiryRules {
    fn default() -> Self {
        Self {
            cleanup_interval: Some(CLEANUP_INTERVAL),
            is_parked: false,
        }
    }
}

impl ExpiryRules {
    /// For so long after a start nothing expires: somebody may have come to mend what kept it from going out.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.cleanup_interval.unwrap_or(CLEANUP_INTERVAL)
    }
}

/// When a batch expires whose first item came at `first_item_at`, both unix time in microseconds; nothing for never.
#[must_use]
pub fn expires_at(first_item_at: u64, lifespan: Option<Duration>) -> Option<u64> {
    lifespan.map(|lifespan| first_item_at.saturating_add(micros(lifespan)))
}

/// The last moment of a batch's lifespan, by the boot-time clock of this process: 8 bytes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// Of a batch that does not expire.
    pub const NEVER: Self = Self(u64::MAX);

    /// Of a batch whose first item came at `first_item`, by the boot-time clock.
    #[must_use]
    pub fn from_first_item(first_item: Duration, lifespan: Option<Duration>) -> Self {
        match lifespan {
            Some(lifespan) => Self(micros(first_item).saturating_add(micros(lifespan))),
            None => Self::NEVER,
        }
    }

    /// Of a batch that was found at the start: `expires_at` is what its name says, unix time in microseconds, and
    /// `wall` and `boot` are the clocks at the start. What is over by then ends at the start, not before.
    #[must_use]
    pub fn after_start(expires_at: Option<u64>, wall: u64, boot: Duration) -> Self {
        match expires_at {
            Some(at) => Self(micros(boot).saturating_add(at.saturating_sub(wall))),
            None => Self::NEVER,
        }
    }

    /// Whether the lifespan is over: `age > lifespan`, not yet where they are equal.
    #[must_use]
    pub fn is_past(self, boot: Duration) -> bool {
        micros(boot) > self.0
    }

    /// How long until it is over; nothing for never.
    #[must_use]
    pub fn left(self, boot: Duration) -> Option<Duration> {
        (self != Self::NEVER)
            .then(|| Duration::from_micros(self.0.saturating_add(1)).saturating_sub(boot))
    }
}

/// Whether anything may expire yet: not for one cleanup interval after a start, nor while the wall clock is behind
/// the newest thing that the spool held at the start. Once it may, it stays so.
#[derive(Debug, Clone, Copy)]
pub struct ExpiryGate {
    opens_at: Duration,
    /// While the wall clock is behind: what it must reach, and when it will have by the boot-time clock.
    behind: Option<(u64, Duration)>,
    is_parked: bool,
}

impl ExpiryGate {
    /// At the start: `newest` is the newest time met in the spool and `wall` the wall clock, both unix time in
    /// microseconds.
    #[must_use]
    pub fn new(rules: ExpiryRules, newest: u64, wall: u64, boot: Duration) -> Self {
        let late = Duration::from_micros(newest.saturating_sub(wall));
        Self {
            opens_at: boot.saturating_add(rules.grace()),
            behind: (newest > wall).then(|| (newest, boot.saturating_add(late))),
            is_parked: rules.is_parked,
        }
    }

    /// By how much the wall clock was behind at the start.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether anything may expire.
    #[must_use]
    pub fn is_open(&mut self, wall: u64, boot: Duration) -> bool {
        if self
            .behind
            .is_some_and(|(newest, at)| wall >= newest || boot >= at)
        {
            self.behind = None;
        }
        !self.is_parked && self.behind.is_none() && boot >= self.opens_at
    }

    /// When to ask again where it is not open; nothing for never. A wall clock that is behind may be set at any
    /// time, which nobody tells.
    #[must_use]
    pub fn opens_in(&self, boot: Duration) -> Option<Duration> {
        let again = Duration::from_secs(1);
        let behind = self.behind.map_or(Duration::ZERO, |_| again);
        (!self.is_parked).then(|| self.opens_at.saturating_sub(boot).max(behind))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Duration = Duration::from_secs(600);
    const WALL: u64 = 1_800_000_000_000_000;
    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_batch_expires_past_its_lifespan_and_not_at_it() {
        let deadline = Deadline::from_first_item(BOOT, Some(Duration::from_secs(10)));
        let at = BOOT + Duration::from_secs(10);
        let past = at + Duration::from_micros(1);
        assert!(!deadline.is_past(at));
        assert!(deadline.is_past(past));
        assert_eq!(deadline.left(at), Some(Duration::from_micros(1)));
        assert_eq!(deadline.left(past), Some(Duration::ZERO));
        assert!(!Deadline::NEVER.is_past(Duration::MAX));
        assert_eq!(Deadline::NEVER.left(BOOT), None);
        assert_eq!(Deadline::from_first_item(BOOT, None), Deadline::NEVER);
    }

    #[test]
    fn after_a_start_what_is_left_counts_and_is_not_below_zero() {
        let left = Deadline::after_start(Some(WALL + 5 * SECOND), WALL, BOOT);
        assert!(!left.is_past(BOOT + Duration::from_secs(5)));
        assert!(left.is_past(BOOT + Duration::from_micros(5 * SECOND + 1)));
        let over = Deadline::after_start(Some(WALL - 5 * SECOND), WALL, BOOT);
        assert!(!over.is_past(BOOT));
        assert!(over.is_past(BOOT + Duration::from_micros(1)));
        assert_eq!(Deadline::after_start(None, WALL, BOOT), Deadline::NEVER);
    }

    #[test]
    fn nothing_expires_for_one_interval_after_a_start() {
        let rules = ExpiryRules {
            cleanup_interval: Some(Duration::from_secs(7)),
            is_parked: false,
        };
        let mut gate = ExpiryGate::new(rules, WALL, WALL, BOOT);
        let before = BOOT + Duration::from_micros(7 * SECOND - 1);
        assert!(!gate.is_open(WALL, before));
        assert_eq!(gate.opens_in(before), Some(Duration::from_micros(1)));
        assert!(gate.is_open(WALL, BOOT + Duration::from_secs(7)));
        // Whatever becomes of the wall clock.
        assert!(gate.is_open(0, BOOT + Duration::from_secs(7)));
        let off = ExpiryRules {
            cleanup_interval: None,
            ..rules
        };
        assert_eq!(off.grace(), CLEANUP_INTERVAL);
    }

    #[test]
    fn nothing_expires_while_the_wall_clock_is_behind() {
        let day = Duration::from_secs(86_400);
        let start = || {
            let newest = WALL + 86_400 * SECOND;
            ExpiryGate::new(ExpiryRules::default(), newest, WALL, BOOT)
        };
        let soon = BOOT + Duration::from_secs(3600);
        let mut gate = start();
        assert!(gate.is_behind());
        assert!(!gate.is_open(WALL + 3600 * SECOND, soon));
        // It is set right, or catches up on its own.
        assert!(gate.is_open(WALL + 86_400 * SECOND, soon));
        let mut gate = start();
        assert!(gate.is_open(WALL, BOOT + day));
    }

    #[test]
    fn nothing_expires_in_a_queue_that_is_parked() {
        let rules = ExpiryRules {
            is_parked: true,
            ..ExpiryRules::default()
        };
        let mut gate = ExpiryGate::new(rules, WALL, WALL, BOOT);
        assert!(!gate.is_open(u64::MAX, Duration::MAX));
        assert_eq!(gate.opens_in(BOOT), None);
    }
}

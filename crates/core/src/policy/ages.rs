//! Triggers that go by time: asked at every look at the clock. Ages compare with "at least".

use std::cmp::Ordering;
use std::time::Duration;

use batchd_frame::SealReason;

use super::Policy;

/// How old a batch is, in every sense that decides, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Since its first item came.
    pub first_item: Duration,
    /// Since its newest item came; nothing where one is on its way just now.
    pub newest_item: Option<Duration>,
    /// Since a batch of its queue was last closed, for whatever reason.
    pub since_flush: Duration,
    /// When the next beat of `interval` is, where there is one.
    pub beat: Option<When>,
}

/// A moment as seen from another. Ordered as moments are: what was longest ago comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It has come, so long ago; perhaps just now.
    Ago(Duration),
    /// It is so far away.
    In(Duration),
}

impl When {
    /// The moment when an age reaches a bound.
    #[must_use]
    pub fn reached(age: Duration, bound: Duration) -> Self {
        match age.checked_sub(bound) {
            Some(late) => Self::Ago(late),
            None => Self::In(bound - age),
        }
    }

    /// How long to wait for it.
    #[must_use]
    pub fn wait(self) -> Duration {
        match self {
            Self::Ago(_) => Duration::ZERO,
            Self::In(wait) => wait,
        }
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(self) -> bool {
        matches!(self, Self::Ago(_))
    }
}

impl Ord for When {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Ago(a), Self::Ago(b)) => b.cmp(a),
            (Self::Ago(_), Self::In(_)) => Ordering::Less,
            (Self::In(_), Self::Ago(_)) => Ordering::Greater,
            (Self::In(a), Self::In(b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for When {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// When a batch is to be closed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub when: When,
    /// Why.
    pub reason: SealReason,
}

impl Policy {
    /// The trigger that closes a batch first, as far as time goes. Where several have come, the one that came
    /// first is the reason.
    #[must_use]
    pub fn due(&self, ages: &Ages) -> Option<Due> {
        let reached = |age: Duration, bound: Option<Duration>| Some(When::reached(age, bound?));
        // One that is on its way will be new when it has come.
        let idle = ages.newest_item.unwrap_or(Duration::ZERO);
        [
            (SealReason::MaxAge, reached(ages.first_item, self.max_age)),
            (
                SealReason::MaxSinceFlush,
                reached(ages.since_flush, self.max_since_flush),
            ),
            (SealReason::Interval, ages.beat),
            (SealReason::Idle, reached(idle, self.idle)),
        ]
        .into_iter()
        .filter_map(|(reason, when)| {
            Some(Due {
                when: when?,
                reason,
            })
        })
        .min_by_key(|due| due.when)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn policy() -> Policy {
        Policy {
            max_age: Some(ms(5000)),
            max_since_flush: Some(ms(4000)),
            idle: Some(ms(1000)),
            ..Policy::default()
        }
    }

    fn ages(first_item: u64, newest_item: Option<u64>, since_flush: u64) -> Ages {
        Ages {
            first_item: ms(first_item),
            newest_item: newest_item.map(ms),
            since_flush: ms(since_flush),
            beat: None,
        }
    }

    #[track_caller]
    fn check(ages: Ages, reason: SealReason, when: When) {
        assert_eq!(policy().due(&ages), Some(Due { when, reason }));
    }

    #[test]
    fn ages_compare_with_at_least() {
        let micro = Duration::from_micros(1);
        for age in [ms(5000), Duration::ZERO] {
            let bound = ms(5000);
            assert_eq!(When::reached(age + bound, bound), When::Ago(age));
        }
        assert_eq!(When::reached(ms(5000) - micro, ms(5000)), When::In(micro));
        assert_eq!(When::reached(ms(0), ms(5000)), When::In(ms(5000)));
        assert!(When::reached(ms(1), ms(1)).has_come());
        assert!(!When::reached(ms(0), ms(1)).has_come());
    }

    #[test]
    fn the_first_to_come_is_the_reason() {
        use SealReason::{Idle, Interval, MaxAge, MaxSinceFlush};
        check(ages(0, Some(0), 0), Idle, When::In(ms(1000)));
        check(ages(4700, Some(0), 0), MaxAge, When::In(ms(300)));
        check(ages(0, Some(0), 3500), MaxSinceFlush, When::In(ms(500)));
        check(ages(6000, Some(1500), 4200), MaxAge, When::Ago(ms(1000)));
        check(ages(5000, Some(1500), 4200), Idle, When::Ago(ms(500)));
        // At one moment, the first in the order of the documentation.
        check(ages(5000, Some(1000), 4000), MaxAge, When::Ago(ms(0)));
        let beat = Ages {
            beat: Some(When::Ago(ms(2))),
            ..ages(5000, Some(1000), 4001)
        };
        check(beat, Interval, When::Ago(ms(2)));
    }

    #[test]
    fn what_is_on_its_way_is_not_idle() {
        check(ages(0, None, 0), SealReason::Idle, When::In(ms(1000)));
    }

    #[test]
    fn what_is_off_is_never_due() {
        let off = Policy {
            max_age: None,
            ..Policy::default()
        };
        let old = Ages {
            first_item: Duration::MAX,
            newest_item: Some(Duration::MAX),
            since_flush: Duration::MAX,
            beat: None,
        };
        assert_eq!(off.due(&old), None);
        assert!(!off.goes_by_time());
    }

    #[test]
    fn moments_are_in_order() {
        let moments = [
            When::Ago(ms(2)),
            When::Ago(ms(1)),
            When::Ago(ms(0)),
            When::In(ms(1)),
            When::In(ms(2)),
        ];
        assert!(moments.is_sorted());
        let waits = moments.map(When::wait);
        assert_eq!(waits, [ms(0), ms(0), ms(0), ms(1), ms(2)]);
    }
}

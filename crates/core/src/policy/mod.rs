//! When a batch is closed, and when it expires: pure functions of counts and times.

pub mod expiry;

use std::time::Duration;

use batchd_frame::{OnExpire, SealReason};

pub use expiry::{Deadline, ExpiryGate, ExpiryRules};

/// What closes a batch of a queue that has no trigger at all, in bytes.
pub const FALLBACK_BYTES_MAX: u64 = 64 << 20;
/// The largest `max_bytes`.
pub const BYTES_MAX_MAX: u64 = 1 << 30;

/// A queue's rules. A trigger that is `None` is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Most items of a batch; at least 1.
    pub max_items: Option<u32>,
    /// Most bytes of a batch's items; 1 to 1 GiB. An item longer than this is refused.
    pub max_bytes: Option<u64>,
    /// How old a batch's first item may become.
    pub max_age: Option<Duration>,
    /// How long a batch may live undelivered.
    pub lifespan: Option<Duration>,
    /// What happens after that.
    pub on_expire: OnExpire,
    /// How what has expired is looked for.
    pub expiry: ExpiryRules,
}

impl Default for Policy {
    /// That of the queue `default` without configuration.
    fn default() -> Self {
        Self {
            max_items: Some(1000),
            max_bytes: Some(1 << 20),
            max_age: Some(Duration::from_secs(5)),
            lifespan: None,
            on_expire: OnExpire::Dead,
            expiry: ExpiryRules::default(),
        }
    }
}

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fill {
    /// Items.
    pub items: u32,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
}

impl Policy {
    /// The bound on a batch's bytes that is in force.
    #[must_use]
    pub fn bytes_bound(&self) -> u64 {
        match (self.max_bytes, self.max_items, self.max_age) {
            (Some(bytes), _, _) => bytes,
            (None, None, None) => FALLBACK_BYTES_MAX,
            (None, _, _) => BYTES_MAX_MAX,
        }
    }

    /// Checks before an item: why the batch must be closed rather than take it. An empty batch takes any
    /// item, since those over the bound are refused at the door.
    #[must_use]
    pub fn before_item(&self, fill: Fill, item_bytes: u64) -> Option<SealReason> {
        if fill.items == 0 {
            return None;
        }
        self.after_item(fill).or_else(|| {
            (fill.bytes.saturating_add(item_bytes) > self.bytes_bound())
                .then_some(SealReason::MaxBytes)
        })
    }

    /// Checks after an item: why the batch must be closed now.
    #[must_use]
    pub fn after_item(&self, fill: Fill) -> Option<SealReason> {
        if self.max_items.is_some_and(|max| fill.items >= max) {
            Some(SealReason::MaxItems)
        } else if fill.bytes >= self.bytes_bound() {
            Some(SealReason::MaxBytes)
        } else {
            None
        }
    }

    /// Checks the age of a batch's first item: closes at `max_age`, not after it.
    #[must_use]
    pub fn at_age(&self, age: Duration) -> Option<SealReason> {
        self.max_age
            .is_some_and(|max| age >= max)
            .then_some(SealReason::MaxAge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            max_items: Some(3),
            max_bytes: Some(10),
            ..Policy::default()
        }
    }

    #[track_caller]
    fn check(fill: (u32, u64), item: u64, before: Option<SealReason>, after: Option<SealReason>) {
        let fill = Fill {
            items: fill.0,
            bytes: fill.1,
        };
        assert_eq!(policy().before_item(fill, item), before, "before");
        assert_eq!(policy().after_item(fill), after, "after");
    }

    #[test]
    fn bounds_are_reached_and_never_crossed() {
        use SealReason::{MaxBytes, MaxItems};
        check((0, 0), 10, None, None);
        check((2, 2), 8, None, None);
        check((2, 2), 9, Some(MaxBytes), None);
        check((2, 10), 0, Some(MaxBytes), Some(MaxBytes));
        check((3, 3), 0, Some(MaxItems), Some(MaxItems));
        check((3, 10), 0, Some(MaxItems), Some(MaxItems));
    }

    #[test]
    fn ages_compare_with_at_least() {
        let at = |ms| Policy::default().at_age(Duration::from_millis(ms));
        assert_eq!(at(4_999), None);
        assert_eq!(at(5_000), Some(SealReason::MaxAge));
        let off = Policy {
            max_age: None,
            ..Policy::default()
        };
        assert_eq!(off.at_age(Duration::MAX), None);
    }

    #[test]
    fn a_queue_without_triggers_still_closes() {
        let none = Policy {
            max_items: None,
            max_bytes: None,
            max_age: None,
            ..Policy::default()
        };
        assert_eq!(none.bytes_bound(), FALLBACK_BYTES_MAX);
        assert_eq!(
            Policy {
                max_items: Some(1),
                ..none
            }
            .bytes_bound(),
            BYTES_MAX_MAX
        );
    }
}

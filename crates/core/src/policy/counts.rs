//! Triggers that go by what a batch holds: asked before and after every item.

use batchd_frame::SealReason;

use super::Policy;

/// What closes a batch of a queue that has no trigger at all, in bytes.
pub const FALLBACK_BYTES_MAX: u64 = 64 << 20;
/// The largest `max_bytes`.
pub const BYTES_MAX_MAX: u64 = 1 << 30;

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
        match self.max_bytes {
            Some(bytes) => bytes,
            None if self.max_items.is_none() && !self.goes_by_time() => FALLBACK_BYTES_MAX,
            None => BYTES_MAX_MAX,
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::Interval;

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
    fn a_queue_without_triggers_still_closes() {
        let none = Policy {
            max_items: None,
            max_bytes: None,
            max_age: None,
            ..Policy::default()
        };
        assert_eq!(none.bytes_bound(), FALLBACK_BYTES_MAX);
        let second = Some(Duration::from_secs(1));
        let bounds = [
            Policy {
                max_items: Some(1),
                ..none.clone()
            },
            Policy {
                max_age: second,
                ..none.clone()
            },
            Policy {
                max_since_flush: second,
                ..none.clone()
            },
            Policy {
                interval: second.map(Interval::every),
                ..none.clone()
            },
            Policy {
                idle: second,
                ..none.clone()
            },
        ]
        .map(|policy| policy.bytes_bound());
        assert_eq!(bounds, [BYTES_MAX_MAX; 5]);
        let set = Policy {
            max_bytes: Some(7),
            ..none
        };
        assert_eq!(set.bytes_bound(), 7);
    }
}

//! Lines of the log that strangers can cause: at most one now and then, with how many it stands for.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Lines of one kind are at least so far apart.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts what happens until it is said again.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    said_at: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

impl Seldom {
    /// It happened. How often since it was last said, where it is to be said now.
    pub(super) fn note(&self) -> Option<u64> {
        self.note_at(Instant::now())
    }

    fn note_at(&self, now: Instant) -> Option<u64> {
        let unsaid = self.unsaid.get() + 1;
        let said_at = self.said_at.get();
        if said_at.is_some_and(|at| now.duration_since(at) < INTERVAL) {
            self.unsaid.set(unsaid);
            return None;
        }
        self.said_at.set(Some(now));
        self.unsaid.set(0);
        Some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_seldom_with_the_count() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.note_at(now), Some(1));
        let almost = now + INTERVAL - Duration::from_nanos(1);
        assert_eq!((seldom.note_at(now), seldom.note_at(almost)), (None, None));
        assert_eq!(seldom.note_at(now + INTERVAL), Some(3));
        assert_eq!(seldom.note_at(now + INTERVAL), None);
    }
}

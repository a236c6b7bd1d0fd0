//! Waiting for what nobody tells of, always with a bound.

use std::thread;
use std::time::{Duration, Instant};

/// More than anything that works takes, on a machine that has much else to do.
pub(super) const LONG: Duration = Duration::from_secs(30);
/// Between one look and the next.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until there is an answer, [`LONG`] at most.
pub(super) fn poll<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        match look() {
            None if start.elapsed() < LONG => thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

//! Waiting, always with a bound.

use std::thread;
use std::time::{Duration, Instant};

/// More than anything that works takes, on a machine that has much else to do.
pub const LONG: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
///
/// # Panics
/// Where there is none within the bound; says what was waited for.
#[track_caller]
pub fn wait_until<T>(what: &str, bound: Duration, ask: impl FnMut() -> Option<T>) -> T {
    match poll(bound, ask) {
        Some(answer) => answer,
        None => panic!("waited {bound:?} for {what}"),
    }
}

/// As [`wait_until`], for what may not happen.
pub fn poll<T>(bound: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() >= bound {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

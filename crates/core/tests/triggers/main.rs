//! When batches are closed: every trigger at its bound, one microsecond before it, off, and over restarts and steps
//! of the wall clock. Each test is a script, and what it says; seals say why they were made.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod ages;
mod beats;
mod bursts;
mod crashes;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use batchd_core::policy::{Interval, IntervalMode, Policy};

/// No trigger at all.
fn off() -> Policy {
    Policy {
        max_items: None,
        max_bytes: None,
        max_age: None,
        ..Policy::default()
    }
}

const fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

fn rate(secs: u64) -> Option<Interval> {
    Some(Interval::every(Duration::from_secs(secs)))
}

fn delay(secs: u64) -> Option<Interval> {
    Some(Interval {
        mode: IntervalMode::FixedDelay,
        ..Interval::every(Duration::from_secs(secs))
    })
}

//! Crashes around what the clock closes, and around a stop that flushes.

use std::time::Duration;

use batchd_core::policy::{Interval, Policy};

use super::{delay, secs};
use crate::support::crash::{Scenario, thorough};
use crate::support::world::small;

fn check(name: &'static str, policy: Policy, script: &'static str) {
    let scenario = Scenario {
        name,
        policy,
        script,
        limits: thorough(),
        planted: None,
        again_every: 20,
    };
    if let Err(violation) = scenario.walk() {
        panic!("{violation}");
    }
}

#[test]
fn batches_that_the_clock_closes() {
    let policy = Policy {
        max_since_flush: secs(7),
        interval: Some(Interval {
            jitter_percent: 20,
            ..Interval::every(Duration::from_secs(5))
        }),
        idle: secs(3),
        ..small()
    };
    let script = "submit a 1 300; submit b 1 100; lead; wait 3s; submit a 1 200; keep; lead; deliver; wait 2s; keep; \
         submit b 2 200; lead; wait 6s; submit a 1 100; submit b 1 10 written; lead; keep; deliver all";
    check("closed by the clock", policy, script);
}

#[test]
fn batches_that_a_fixed_delay_closes() {
    let policy = Policy {
        interval: delay(5),
        ..small()
    };
    let script = "submit - 1 300; lead; wait 5s; keep; submit - 2 100; lead; wait 1s; deliver; wait 5s; keep; \
         submit - 1 10; lead; deliver; reopen; wait 5s; keep; deliver";
    check("a fixed delay", policy, script);
}

#[test]
fn a_stop_that_flushes() {
    let script = "submit a 2 300; submit b 1 200 written; lead; shutdown; keep; deliver; stop; reopen; submit a 1 100; \
         lead; shutdown; stop; reopen; deliver all";
    check("a stop that flushes", small(), script);
}

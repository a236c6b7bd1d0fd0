//! Random scripts against the plain model, with restarts, clean stops, crashes and a full disk in them. Failures
//! shrink to a short script; what was found that way is a test of its own in `queue.rs` or `crash_points.rs`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use batchd_core::frame::OnExpire;
use batchd_core::frame::planted::Planted;
use batchd_core::policy::{ExpiryRules, Interval, IntervalMode, Policy};
use batchd_core::queue::Ack;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use support::book::Due;
use support::crash::{Plant, drain_and_check};
use support::world::{Dead, World};

fn step() -> impl Strategy<Value = String> {
    let submit = (0..3usize, 1..7usize, 5..900usize, 0..4usize, 0..6usize);
    let submit = submit.prop_map(|(key, count, size, ack, end)| {
        let ack = ["", " written", " none", ""][ack];
        let end = if end == 0 { " end" } else { "" };
        format!("submit {} {count} {size}{ack}{end}", ["a", "b", "c"][key])
    });
    prop_oneof![
        8 => submit,
        2 => (0..12usize, 0..3usize)
            .prop_map(|(n, ack)| format!("repeat {n}{}", ["", " written", ""][ack])),
        6 => Just("lead".to_owned()),
        4 => Just("keep".to_owned()),
        1 => Just("close".to_owned()),
        3 => Just("deliver".to_owned()),
        1 => Just("attempt".to_owned()),
        2 => (1..1500usize).prop_map(|ms| format!("wait {ms}")),
        1 => Just("stop; reopen".to_owned()),
        1 => Just("reopen".to_owned()),
        2 => (0..u32::MAX).prop_map(|seed| format!("crash {seed}")),
        1 => (0..3000usize).prop_map(|room| format!("full {room}")),
        2 => Just("heal".to_owned()),
        2 => (0..3usize, 1..7usize, 5..900usize, 0..4usize).prop_map(|(key, count, size, life)| {
            let life = ["", " 200", " 700", " 5000"][life];
            format!("create {} {count} {size}{life}", ["a", "b", "c"][key])
        }),
        2 => Just("clean".to_owned()),
        1 => Just("touch".to_owned()),
        1 => prop_oneof![Just(-40i64), Just(-1), Just(40)].prop_map(|s| format!("wall {s}")),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let lifespan = prop_oneof![2 => Just(None), 1 => Just(Some(800)), 1 => Just(Some(3000))];
    let expiry = (lifespan, any::<bool>());
    let millis = |bits: u32, bit: u32, millis: u64| {
        (bits >> bit & 1 == 1).then_some(Duration::from_millis(millis))
    };
    (1..9u32, 900..4000u64, 0..32u32, expiry).prop_map(move |(items, bytes, bits, expiry)| Policy {
        max_items: Some(items),
        max_bytes: Some(bytes),
        max_age: millis(bits, 0, 2000),
        max_since_flush: millis(bits, 1, 1500),
        interval: millis(bits, 2, 1000).map(|every| Interval {
            mode: match bits >> 3 & 1 {
                0 => IntervalMode::FixedRate,
                _ => IntervalMode::FixedDelay,
            },
            jitter_percent: 20,
            every,
        }),
        idle: millis(bits, 4, 700),
        lifespan: expiry.0.map(Duration::from_millis),
        on_expire: if expiry.1 {
            OnExpire::Drop
        } else {
            OnExpire::Dead
        },
        expiry: ExpiryRules {
            cleanup_interval: Some(Duration::from_millis(300)),
            is_parked: false,
        },
        ..Policy::default()
    })
}

fn check(policy: &Policy, steps: &[String]) -> Result<(), TestCaseError> {
    let fail = |why: String| TestCaseError::fail(format!("{why}\nscript: {}", steps.join("; ")));
    let mut world = World::new(policy.clone());
    world.start().unwrap();
    for step in steps {
        // A repeat of what was not submitted yet is nothing.
        let too_early = step
            .strip_prefix("repeat ")
            .and_then(|rest| rest.split(' ').next())
            .is_some_and(|n| n.parse::<usize>().unwrap() >= world.book.submissions.len());
        if too_early {
            continue;
        }
        // A restart is not tried on a full disk: what it leaves alone then comes out late.
        if step.contains("reopen") {
            world.run("heal").unwrap();
        }
        if let Err(Dead(why)) = world.run(step) {
            return Err(fail(format!("died: {why}\n{}", world.disk.op_log())));
        }
    }
    world.run("heal").unwrap();
    if world.commit.is_some() {
        drain_and_check(&mut world).map_err(|v| fail(format!("{v}\n{}", world.out)))?;
    }
    world
        .book
        .check(Due::Acked(Ack::Synced))
        .map_err(|v| fail(v.to_string()))
}

proptest! {
    // What is found is printed as a script. `PROPTEST_CASES` makes it search longer.
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_script_keeps_the_promises(policy in policy(), steps in prop::collection::vec(step(), 1..40)) {
        check(&policy, &steps)?;
    }
}

#[test]
fn a_planted_bug_is_found() {
    let _planted = Plant::new(Some(Planted::AckBeforeSync));
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let steps = prop::collection::vec(step(), 1..40);
    let found = runner.run(&(policy(), steps), |(policy, steps)| check(&policy, &steps));
    let why = found.unwrap_err().to_string();
    assert!(why.contains("Lost"), "{why}");
}

//! Random scripts against the plain model, with restarts, clean stops, crashes and a full disk in them. Failures
//! shrink to a short script; what was found that way is a test of its own in `queue.rs` or `crash_points.rs`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use batchd_core::frame::OnExpire;
use batchd_core::frame::planted::Planted;
use batchd_core::policy::{ExpiryRules, Interval, IntervalMode, Overflow, Policy, Quota};
use batchd_core::queue::Ack;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use support::book::Due;
use support::crash::{Plant, drain_and_check};
use support::world::{Dead, World};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "-"];

/// What a run is made with.
#[derive(Debug, Clone)]
struct Rules {
    policy: Policy,
    open_batches_max: usize,
    spool_bytes_max: u64,
    /// Whether a start reads at once whose submissions its batches hold.
    recalls: bool,
}

fn rules() -> impl Strategy<Value = Rules> {
    let spool = prop_oneof![3 => Just(u64::MAX), 1 => 3000..9000u64];
    let open = prop_oneof![1 => Just(1024usize), 2 => 1..4usize];
    let quota = (0..4usize, 4..20u64, 2000..9000u64, 0..3usize);
    (policy(), open, spool, quota, prop::bool::weighted(0.8)).prop_map(
        |(policy, open_batches_max, spool_bytes_max, (bounds, items, bytes, overflow), recalls)| {
            Rules {
                policy: Policy {
                    quota: Quota {
                        items: (bounds & 1 == 1).then_some(items),
                        bytes: (bounds & 2 == 2).then_some(bytes),
                    },
                    overflow: [Overflow::Reject, Overflow::Block, Overflow::DropOldest][overflow],
                    ..policy
                },
                open_batches_max,
                spool_bytes_max,
                recalls,
            }
        },
    )
}

fn step() -> impl Strategy<Value = String> {
    let submit = (0..KEYS.len(), 1..7usize, 5..900usize, 0..5usize, 0..6usize);
    let submit = submit.prop_map(|(key, count, size, ack, end)| {
        let ack = ["", " written", " none", "", " delivered"][ack];
        let end = if end == 0 { " end" } else { "" };
        format!("submit {} {count} {size}{ack}{end}", KEYS[key])
    });
    prop_oneof![
        8 => submit,
        2 => (0..12usize, 0..4usize)
            .prop_map(|(n, ack)| format!("repeat {n}{}", ["", " written", "", " delivered"][ack])),
        6 => Just("lead".to_owned()),
        1 => Just("plan; land".to_owned()),
        3 => Just("plan".to_owned()),
        2 => Just("land".to_owned()),
        1 => Just("hold".to_owned()),
        1 => Just("let go".to_owned()),
        4 => Just("keep".to_owned()),
        1 => Just("close".to_owned()),
        3 => Just("deliver".to_owned()),
        1 => Just("attempt".to_owned()),
        2 => (1..1500usize).prop_map(|ms| format!("wait {ms}")),
        1 => Just("stop; reopen".to_owned()),
        1 => Just("reopen".to_owned()),
        2 => (0..u32::MAX).prop_map(|seed| format!("crash {seed}")),
        1 => (0..3000usize).prop_map(|room| format!("full {room}")),
        1 => Just("readonly".to_owned()),
        2 => Just("heal all".to_owned()),
        1 => Just("recall".to_owned()),
        2 => (0..KEYS.len(), 1..7usize, 5..900usize, 0..4usize).prop_map(|(key, count, size, life)| {
            let life = ["", " 200", " 700", " 5000"][life];
            format!("create {} {count} {size}{life}", KEYS[key])
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

fn world_of(rules: &Rules) -> World {
    let mut world = World::new(rules.policy.clone());
    world.open_batches_max = rules.open_batches_max;
    world.spool_bytes_max = rules.spool_bytes_max;
    world.recalls = rules.recalls;
    world
}

fn check(rules: &Rules, steps: &[String]) -> Result<(), TestCaseError> {
    let fail = |why: String| TestCaseError::fail(format!("{why}\nscript: {}", steps.join("; ")));
    let mut world = world_of(rules);
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
            world.run("heal all").unwrap();
        }
        if let Err(Dead(why)) = world.run(step) {
            return Err(fail(format!("died: {why}\n{}", world.disk.op_log())));
        }
        if let Err(why) = world.audit() {
            return Err(fail(format!("after {step}: {why}\n{}", world.out)));
        }
    }
    end(&mut world).map_err(|why| fail(format!("{why}\n{}", world.out)))?;
    world
        .book
        .check(Due::Acked(Ack::Synced))
        .map_err(|v| fail(v.to_string()))
}

/// Takes all that bounds the queue away, and demands that whatever was begun ends.
fn end(world: &mut World) -> Result<(), String> {
    world.run("heal all").unwrap();
    while world.commit().recall(3) {}
    world.drain().map_err(|Dead(why)| why)?;
    world.audit()?;
    let unanswered = world.commit().lock().unanswered();
    if unanswered > 0 {
        return Err(format!("{unanswered} are never answered"));
    }
    // Repeats of all that there was would not fit.
    world.policy.quota = Quota::default();
    (world.spool_bytes_max, world.recalls) = (u64::MAX, true);
    world.run("stop; reopen").map_err(|Dead(why)| why)?;
    drain_and_check(world).map_err(|violation| violation.to_string())?;
    world.audit()
}

proptest! {
    // What is found is printed as a script. `PROPTEST_CASES` makes it search longer.
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_script_keeps_the_promises(rules in rules(), steps in prop::collection::vec(step(), 1..40)) {
        check(&rules, &steps)?;
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
    let found = runner.run(&(rules(), steps), |(rules, steps)| check(&rules, &steps));
    let why = found.unwrap_err().to_string();
    assert!(why.contains("Lost"), "{why}");
}

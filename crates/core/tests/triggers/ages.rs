//! Ages: of the first item, of the newest, of the queue's last flush.

use batchd_core::policy::Policy;
use insta::assert_snapshot;

use super::{off, rate, secs};
use crate::support::world::{World, run};

/// An item, a look one microsecond before the bound, one at the bound, and what the seal says.
const AT_THE_BOUND: &str = "submit a 1 10; lead; due; wait 4999999us; keep; list; due; wait 1us; due; keep; \
     list; reasons; due";

#[test]
fn max_age_closes_at_the_bound() {
    let policy = Policy {
        max_age: secs(5),
        ..off()
    };
    assert_snapshot!(run(policy, AT_THE_BOUND), @r"
    0 Kept(Synced)
    due in 5s
    open 1: 0.0
    due in 1µs
    due in 0ns
    ready 1: 0.0
    1: 0.0 max_age
    nothing is due
    ");
}

#[test]
fn max_since_flush_closes_at_the_bound() {
    let policy = Policy {
        max_since_flush: secs(5),
        ..off()
    };
    assert_snapshot!(run(policy, AT_THE_BOUND), @r"
    0 Kept(Synced)
    due in 5s
    open 1: 0.0
    due in 1µs
    due in 0ns
    ready 1: 0.0
    1: 0.0 max_since_flush
    nothing is due
    ");
}

#[test]
fn idle_closes_at_the_bound() {
    let policy = Policy {
        idle: secs(5),
        ..off()
    };
    assert_snapshot!(run(policy, AT_THE_BOUND), @r"
    0 Kept(Synced)
    due in 5s
    open 1: 0.0
    due in 1µs
    due in 0ns
    ready 1: 0.0
    1: 0.0 idle
    nothing is due
    ");
}

#[test]
fn an_interval_closes_at_the_beat() {
    let policy = Policy {
        interval: rate(5),
        ..off()
    };
    // Without a key the grid begins with the queue.
    let script = AT_THE_BOUND.replace("submit a", "submit -");
    assert_snapshot!(run(policy, &script), @r"
    0 Kept(Synced)
    due in 5s
    open 1: 0.0
    due in 1µs
    due in 0ns
    ready 1: 0.0
    1: 0.0 interval
    nothing is due
    ");
}

#[test]
fn what_is_off_closes_nothing() {
    let script = "submit a 1 10; lead; keep; due; wait 9999d; keep; due; list; skipped";
    assert_snapshot!(run(off(), script), @r"
    0 Kept(Synced)
    nothing is due
    nothing is due
    open 1: 0.0
    0 skipped
    ");
}

#[test]
fn nothing_is_due_while_nothing_is_open() {
    let policy = Policy {
        max_age: secs(5),
        max_since_flush: secs(5),
        interval: rate(5),
        idle: secs(5),
        ..off()
    };
    let script = "due; keep; due; wait 1d; due; keep; due; submit - 1 10; due; lead; due; keep; due; \
         reasons; deliver all; due; wait 1d; due; keep; due; skipped";
    assert_snapshot!(run(policy, script), @r"
    nothing is due
    nothing is due
    nothing is due
    nothing is due
    nothing is due
    0 Kept(Synced)
    due in 0ns
    nothing is due
    1: 0.0 max_since_flush
    delivered 1: 0.0
    nothing is due
    nothing is due
    nothing is due
    0 skipped
    ");
}

#[test]
fn every_item_puts_idle_off_and_none_puts_age_off() {
    let policy = Policy {
        max_age: secs(12),
        idle: secs(5),
        ..off()
    };
    let script = "submit a 1 10; lead; wait 4999ms; submit a 1 10; lead; due; wait 4999ms; keep; list; \
         submit a 1 10; lead; due; wait 2001us; keep; list; wait 2s; keep; reasons; \
         submit a 1 10; submit b 1 10; lead; wait 3s; submit a 1 10; lead; wait 2s; keep; list; reasons";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    due in 5s
    open 1: 0.0 1.0
    2 Kept(Synced)
    due in 2.002s
    open 1: 0.0 1.0 2.0
    1: 0.0 1.0 2.0 max_age
    3 Kept(Synced)
    4 Kept(Synced)
    5 Kept(Synced)
    open 2: 3.0 5.0
    ready 1: 0.0 1.0 2.0
    ready 3: 4.0
    1: 0.0 1.0 2.0 max_age
    3: 4.0 idle
    ");
}

#[test]
fn what_waits_to_be_written_is_no_longer_idle() {
    let policy = Policy {
        idle: secs(5),
        ..off()
    };
    let script =
        "submit a 1 10; lead; wait 5s; submit a 1 10; due; keep; list; lead; due; keep; list";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    due in 5s
    open 1: 0.0
    1 Kept(Synced)
    due in 5s
    open 1: 0.0 1.0
    ");
}

#[test]
fn a_batch_that_gets_an_item_in_the_group_under_way_is_not_idle() {
    let policy = Policy {
        idle: secs(5),
        ..off()
    };
    let mut world = World::started(policy);
    world
        .run("submit a 1 10; submit b 1 10; lead; wait 5s; submit a 1 10; plan")
        .unwrap();
    // A look at the clock while the group is under way: both are due.
    world.run("keep; due").unwrap();
    world.commit().take_keep_due();
    world.run("land").unwrap();
    assert!(world.commit().take_keep_due(), "somebody looks again");
    world.run("keep; due; list; reasons").unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    nothing is due
    2 Kept(Synced)
    due in 5s
    open 1: 0.0 2.0
    ready 2: 1.0
    2: 1.0 idle
    ");
}

#[test]
fn the_last_flush_is_that_of_any_batch_for_any_reason() {
    let policy = Policy {
        max_items: Some(2),
        max_since_flush: secs(5),
        ..off()
    };
    let script = "submit a 1 10; lead; keep; wait 4s; submit b 2 10; lead; due; keep; due; wait 4s; \
         submit b 1 10 end; lead; due; wait 4s; flush; submit c 1 10; lead; due; keep; wait 5s; keep; reasons";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    due in 5s
    due in 5s
    2 Kept(Synced)
    due in 5s
    flush of 3
    3 Kept(Synced)
    due in 5s
    1: 0.0 flush
    2: 1.0 1.1 max_items
    3: 2.0 end_of_batch
    4: 3.0 max_since_flush
    ");
}

#[test]
fn after_a_quiet_spell_the_first_item_goes_at_once() {
    let policy = Policy {
        max_since_flush: secs(5),
        ..off()
    };
    let script = "wait 5s; due; submit a 1 10; lead; due; keep; submit a 1 10; submit b 1 10; lead; due; keep; \
         list; wait 5s; keep; reasons; due";
    assert_snapshot!(run(policy, script), @r"
    nothing is due
    0 Kept(Synced)
    due in 0ns
    1 Kept(Synced)
    2 Kept(Synced)
    due in 5s
    open 2: 1.0
    open 3: 2.0
    ready 1: 0.0
    1: 0.0 max_since_flush
    2: 1.0 max_since_flush
    3: 2.0 max_since_flush
    nothing is due
    ");
}

#[test]
fn counts_close_before_times() {
    let policy = Policy {
        max_items: Some(2),
        max_bytes: Some(100),
        max_age: secs(5),
        max_since_flush: secs(5),
        interval: rate(5),
        idle: secs(5),
        ..off()
    };
    let script =
        "submit a 3 10; lead; keep; submit b 1 60; submit b 1 60; lead; keep; reasons; list";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 Kept(Synced)
    1: 0.0 0.1 max_items
    3: 1.0 max_bytes
    open 2: 0.2
    open 4: 2.0
    ready 1: 0.0 0.1
    ready 3: 1.0
    ");
}

#[test]
fn ages_count_over_a_restart_by_the_wall_clock() {
    let policy = Policy {
        max_age: secs(50),
        idle: secs(5),
        ..off()
    };
    // Idle counts from the newest item, not from the first. The machine may have been started anew between.
    let script = "submit a 1 10; lead; wait 4s; submit a 1 10; lead; wait 3s; reopen; due; wait 1999999us; keep; \
         list; wait 1us; keep; reasons";
    assert_snapshot!(run(policy.clone(), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    due in 2s
    open 1: 0.0 1.0
    1: 0.0 1.0 idle
    ");
    let mut world = World::started(policy);
    world.run("submit a 1 10; lead; wait 3s").unwrap();
    world.clock.set_boot(std::time::Duration::from_secs(1));
    world
        .run("crash; due; wait 1999ms; keep; list; wait 1ms; keep; reasons")
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    due in 2s
    open 1: 0.0
    1: 0.0 idle
    ");
}

#[test]
fn a_start_is_a_flush_and_the_beginning_of_the_grid() {
    let policy = Policy {
        max_since_flush: secs(50),
        interval: rate(60),
        ..off()
    };
    let script = "wait 45s; submit - 1 10; lead; due; reopen; due; wait 49999999us; keep; list; wait 1us; keep; \
         reasons; submit - 1 10; lead; due; wait 10s; keep; reasons";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    due in 5s
    due in 50s
    open 1: 0.0
    1: 0.0 max_since_flush
    1 Kept(Synced)
    due in 10s
    1: 0.0 max_since_flush
    2: 1.0 interval
    ");
}

#[test]
fn steps_of_the_wall_clock_close_nothing_early_or_late() {
    let policy = Policy {
        max_age: secs(5),
        max_since_flush: secs(60),
        interval: rate(70),
        idle: secs(4),
        ..off()
    };
    for step in ["wall +1d", "wall -1d"] {
        let script = format!(
            "submit - 1 10; lead; {step}; due; keep; wait 2s; submit - 1 10; lead; due; {step}; wait 2999999us; \
             keep; list; due; wait 1us; keep; reasons; {step}; submit - 1 10; lead; due; keep; list; skipped"
        );
        let out = run(policy.clone(), &script);
        insta::allow_duplicates! {
            assert_snapshot!(out, @r"
            0 Kept(Synced)
            due in 4s
            1 Kept(Synced)
            due in 3s
            open 1: 0.0 1.0
            due in 1µs
            1: 0.0 1.0 max_age
            2 Kept(Synced)
            due in 4s
            open 2: 2.0
            ready 1: 0.0 1.0
            0 skipped
            ");
        }
    }
}

#[test]
fn steps_of_the_wall_clock_between_two_runs() {
    let policy = Policy {
        max_age: secs(50),
        idle: secs(40),
        ..off()
    };
    // Set forward, all that is open seems old. Set back, ages begin anew: late by what had passed, never by the step.
    let script = "submit a 1 10; lead; wait 10s; wall +1d; reopen; due; keep; reasons";
    assert_snapshot!(run(policy.clone(), script), @r"
    0 Kept(Synced)
    due in 0ns
    1: 0.0 idle
    ");
    let script = "submit a 1 10; lead; wait 10s; wall -1d; reopen; due; wait 40s; keep; reasons";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    due in 40s
    1: 0.0 idle
    ");
}

#[test]
fn a_flush_of_nothing_is_nothing_to_do() {
    let policy = Policy {
        max_since_flush: secs(5),
        ..off()
    };
    let script = "flush; keep; calls create; list; wait 4s; flush; submit a 1 10; lead; due; flush; keep; \
         deliver all; flush; flush; list; ledger";
    assert_snapshot!(run(policy, script), @r"
    flush of 0
    3 create
    flush of 0
    0 Kept(Synced)
    due in 1s
    flush of 1
    delivered 1: 0.0
    flush of 0
    flush of 0
    ledger 1: delivered
    ");
}

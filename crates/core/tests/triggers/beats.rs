//! Beats of `interval`.

use std::time::Duration;

use batchd_core::policy::{Interval, Policy};
use insta::assert_snapshot;

use super::{delay, off, rate, secs};
use crate::support::world::{World, run};

fn every(interval: Option<Interval>) -> Policy {
    Policy { interval, ..off() }
}

#[test]
fn beats_are_on_a_grid_from_the_start() {
    let script = "wait 3s; submit - 1 10; lead; due; wait 7s; keep; wait 500ms; submit - 1 10; lead; due; wait 9500ms; \
         keep; submit - 1 10; lead; due; reasons";
    assert_snapshot!(run(every(rate(10)), script), @r"
    0 Kept(Synced)
    due in 7s
    1 Kept(Synced)
    due in 9.5s
    2 Kept(Synced)
    due in 10s
    1: 0.0 interval
    2: 1.0 interval
    ");
}

#[test]
fn a_batch_closed_otherwise_leaves_the_grid_alone() {
    let policy = Policy {
        max_items: Some(2),
        ..every(rate(10))
    };
    let script = "wait 3s; submit - 2 10; lead; keep; submit - 1 10; lead; due; wait 4s; flush; keep; \
         submit - 1 10; lead; due; wait 3s; keep; reasons";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    due in 7s
    flush of 2
    2 Kept(Synced)
    due in 3s
    1: 0.0 0.1 max_items
    2: 1.0 flush
    3: 2.0 interval
    ");
}

#[test]
fn missed_beats_are_skipped_and_counted() {
    let script = "submit - 1 10; lead; wait 39999ms; keep; reasons; skipped; keep; submit - 1 10; lead; due; wait 1ms; \
         keep; due; skipped; list";
    assert_snapshot!(run(every(rate(10)), script), @r"
    0 Kept(Synced)
    1: 0.0 interval
    2 skipped
    1 Kept(Synced)
    due in 1ms
    nothing is due
    2 skipped
    ready 1: 0.0
    ready 2: 1.0
    ");
}

#[test]
fn being_late_is_told_when_it_begins_and_when_it_is_over() {
    let mut world = World::started(every(rate(10)));
    // A look so long after the last: that of a beat, late or on time.
    let mut look = |wait: &str| {
        world
            .run(&format!("submit - 1 10; lead; wait {wait}"))
            .unwrap();
        let looked = world.commit().lock().close_due();
        world.run("keep").unwrap();
        (looked.late, looked.on_time)
    };
    assert_eq!(look("10s"), (None, false));
    assert_eq!(look("40s"), (Some(3), false), "it begins");
    for _ in 0..3 {
        assert_eq!(look("10s"), (None, false), "not yet on time");
        assert_eq!(look("20s"), (None, false), "late as before");
    }
    for _ in 0..5 {
        assert_eq!(look("10s"), (None, false), "not yet on time");
    }
    assert_eq!(look("10s"), (None, true), "it is over");
    assert_eq!(look("10s"), (None, false));
    assert_eq!(look("20s"), (Some(1), false), "it begins again");
    assert_eq!(world.commit().lock().counters().beats_skipped, 7);
}

#[test]
fn what_is_skipped_is_counted_from_the_grid() {
    let jitter = Interval {
        jitter_percent: 20,
        ..Interval::every(Duration::from_secs(10))
    };
    // Looks just before the third place, which is before the third beat; and at a place.
    let script = "submit - 1 10; lead; wait 29999ms; keep; skipped; submit - 1 10; lead; wait 20001ms; keep; skipped";
    assert_snapshot!(run(every(Some(jitter)), script), @r"
    0 Kept(Synced)
    1 skipped
    1 Kept(Synced)
    3 skipped
    ");
}

#[test]
fn a_batch_from_before_the_start_meets_the_first_beat() {
    let script = "wait 4s; submit - 1 10; lead; reopen; due; wait 10s; keep; reasons";
    assert_snapshot!(run(every(rate(10)), script), @r"
    0 Kept(Synced)
    due in 10s
    1: 0.0 interval
    ");
    assert_snapshot!(run(every(delay(10)), script), @r"
    0 Kept(Synced)
    due in 10s
    1: 0.0 interval
    ");
}

#[test]
fn a_beat_that_finds_nothing_is_not_missed() {
    let script =
        "wait 95s; keep; skipped; submit - 1 10; lead; due; wait 5s; keep; skipped; reasons";
    assert_snapshot!(run(every(rate(10)), script), @r"
    0 skipped
    0 Kept(Synced)
    due in 5s
    0 skipped
    1: 0.0 interval
    ");
}

#[test]
fn a_group_that_ends_behind_a_beat_does_not_put_it_off() {
    let script = "submit - 1 10; lead; wait 10s; submit - 1 10; lead; due; keep; reasons; list";
    assert_snapshot!(run(every(rate(10)), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    due in 0ns
    1: 0.0 1.0 interval
    ready 1: 0.0 1.0
    ");
}

#[test]
fn the_next_beat_comes_so_long_after_the_delivery() {
    let script = "submit - 1 10; lead; due; wait 10s; keep; due; submit - 1 10; lead; due; wait 60s; keep; due; list; \
         deliver; due; wait 9999999us; keep; list; wait 1us; keep; reasons; skipped";
    assert_snapshot!(run(every(delay(10)), script), @r"
    0 Kept(Synced)
    due in 10s
    nothing is due
    1 Kept(Synced)
    nothing is due
    nothing is due
    open 2: 1.0
    ready 1: 0.0
    delivered 1: 0.0
    due in 10s
    open 2: 1.0
    2: 1.0 interval
    0 skipped
    ");
}

#[test]
fn any_end_of_a_batch_is_the_end_of_its_flush() {
    let script = "submit - 1 10; lead; wait 10s; keep; wait 3s; bury; submit - 1 10; lead; due; wait 10s; keep; reasons";
    assert_snapshot!(run(every(delay(10)), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    due in 10s
    2: 1.0 interval
    ");
}

#[test]
fn without_a_sink_a_flush_ends_with_the_seal() {
    let mut world = World::new(every(delay(10)));
    world.has_sink = false;
    let script = "submit - 1 10; lead; wait 13s; keep; due; submit - 1 10; lead; due; wait 10s; keep; reasons";
    assert_snapshot!(world.told(script), @r"
    0 Kept(Synced)
    nothing is due
    1 Kept(Synced)
    due in 10s
    1: 0.0 interval
    2: 1.0 interval
    ");
}

#[test]
fn a_beat_that_finds_nothing_is_over_at_once() {
    // Of the beats 10 and 20 s after the start nothing is left but the grid; the delivery then begins another.
    let script = "wait 24s; submit - 1 10; lead; due; wait 6s; keep; wait 1s; deliver; wait 24s; submit - 1 10; lead; due";
    assert_snapshot!(run(every(delay(10)), script), @r"
    0 Kept(Synced)
    due in 6s
    delivered 1: 0.0
    1 Kept(Synced)
    due in 6s
    ");
}

#[test]
fn what_closes_meanwhile_does_not_move_a_fixed_delay() {
    let policy = Policy {
        max_items: Some(2),
        ..every(delay(10))
    };
    let script = "submit - 2 10; lead; keep; deliver; wait 4s; submit - 1 10; lead; due; wait 6s; keep; \
         submit - 2 10; lead; keep; submit - 1 10; lead; due; deliver; due; deliver; due; reasons";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    delivered 1: 0.0 0.1
    1 Kept(Synced)
    due in 6s
    2 Kept(Synced)
    3 Kept(Synced)
    nothing is due
    delivered 2: 1.0
    due in 10s
    delivered 3: 2.0 2.1
    due in 10s
    ");
}

#[test]
fn the_delivery_wakes_who_waits_for_the_next_beat() {
    let mut world = World::started(every(delay(10)));
    world
        .run("submit - 1 10; lead; wait 10s; keep; submit - 1 10; lead; keep; due")
        .unwrap();
    world.commit().take_keep_due();
    world.run("deliver; due").unwrap();
    assert!(world.commit().take_keep_due());
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    nothing is due
    delivered 1: 0.0
    due in 10s
    ");
}

#[test]
fn jitter_delays_within_its_share_and_never_adds_up() {
    let interval = Interval {
        jitter_percent: 20,
        ..Interval::every(Duration::from_secs(10))
    };
    let mut world = World::started(every(Some(interval)));
    let mut delays = Vec::new();
    for beat in 1..200u64 {
        world.run("submit - 1 10; lead").unwrap();
        let now = batchd_core::env::Clock::boot(&world.clock) - Duration::from_secs(600);
        let due = world.commit().lock().next_due().unwrap();
        let place = Duration::from_secs(10) * u32::try_from(beat).unwrap();
        let delay = (now + due)
            .checked_sub(place)
            .expect("never before its place");
        assert!(
            delay < Duration::from_secs(2),
            "{delay:?} behind beat {beat}"
        );
        delays.push(delay);
        world.clock.advance(due - Duration::from_nanos(1000));
        world.run("keep").unwrap();
        assert_eq!(world.commit().lock().open_views().len(), 1, "not before");
        world.clock.advance(Duration::from_nanos(1000));
        world.run("keep; deliver all").unwrap();
        assert!(
            world.commit().lock().open_views().is_empty(),
            "{}",
            world.out
        );
    }
    let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
    assert!(
        *most - *least > Duration::from_secs(1),
        "{least:?} to {most:?}"
    );
    assert_eq!(world.commit().lock().counters().beats_skipped, 0);
}

#[test]
fn a_beat_that_jitter_delays_is_kept_for_the_next_batch() {
    // The first batch is flushed just before its beat; the next one meets the same beat, not the one after.
    let interval = Interval {
        jitter_percent: 20,
        ..Interval::every(Duration::from_secs(10))
    };
    let mut world = World::started(every(Some(interval)));
    world.run("submit - 1 10; lead").unwrap();
    let due = world.commit().lock().next_due().unwrap();
    world.clock.advance(due - Duration::from_millis(1));
    world.run("flush; keep; submit - 1 10; lead; due").unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    flush of 1
    1 Kept(Synced)
    due in 1ms
    ");
}

#[test]
fn beats_reach_over_no_restart() {
    let script = "submit - 1 10; lead; wait 10s; keep; wait 2s; reopen; submit - 1 10; lead; due; wait 10s; keep; reasons";
    assert_snapshot!(run(every(delay(10)), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    due in 10s
    1: 0.0 interval
    3: 1.0 interval
    ");
    let policy = Policy {
        max_age: secs(3),
        ..every(rate(10))
    };
    let script = "submit - 1 10; lead; wait 2s; crash; due; wait 1s; keep; reasons";
    assert_snapshot!(run(policy, script), @r"
    0 Kept(Synced)
    due in 1s
    1: 0.0 max_age
    ");
}

//! When a batch is flushed.
#![expect(
    clippy::disallowed_methods,
    reason = "looks at its threads from outside"
)]

use std::time::Duration;

use batchd_core::batcher::{Accepted, Batcher, Options, Refused, Setting};
use batchd_core::policy::{Interval, IntervalMode};

use crate::support::{Failing, Gate, Machine, all, lists, next, settle};

const SECOND: Duration = Duration::from_secs(1);

/// One trigger, and no other.
fn only() -> Options {
    Options::new().without_triggers()
}

#[test]
fn a_batch_is_flushed_when_it_has_its_items() {
    let (builder, batches) = lists(only().max_items(3));
    let server = builder.start().expect("starts");
    for item in 1..=7 {
        server.sync_add_item(item).expect("taken");
    }
    assert_eq!(
        all(&batches),
        ["[1, 2, 3] max_items", "[4, 5, 6] max_items"]
    );
}

#[test]
fn a_batch_never_has_more_bytes_than_it_may() {
    let (builder, batches) = lists(only().max_bytes(10));
    let builder = builder.on_item_bytes(|_, item| (*item).into());
    let server = builder.start().expect("starts");
    for item in [4, 4, 3, 7, 1, 10] {
        server.sync_add_item(item).expect("taken");
    }
    let refused = server.sync_add_item(11).expect_err("too long");
    assert!(matches!(
        refused.why,
        Refused::TooLong { bytes: 11, max: 10 }
    ));
    let flushed = [
        "[4, 4] max_bytes",
        "[3, 7] max_bytes",
        "[1] max_bytes",
        "[10] max_bytes",
    ];
    assert_eq!(all(&batches), flushed);
}

/// Of the original, an age is looked at only when an item is added.
#[test]
fn an_age_is_reached_without_a_further_item() {
    let (builder, batches) = lists(only().max_age(Duration::from_millis(20)));
    let server = builder.start().expect("starts");
    server.add_item(1).expect("runs");
    assert_eq!(next(&batches), "[1] max_age");
}

#[test]
fn ages_count_from_the_first_item_and_compare_with_at_least() {
    let mut machine = Machine::new();
    let (builder, batches) = lists(only().max_age(SECOND * 5));
    let server = builder.env(machine.env()).start().expect("starts");
    machine.clock.advance(SECOND * 100);
    server.sync_add_item(1).expect("taken");
    machine.clock.advance(SECOND * 4);
    server.sync_add_item(2).expect("taken");
    machine.clock.advance(SECOND - Duration::from_micros(1));
    settle(&server);
    assert!(all(&batches).is_empty());
    machine.clock.advance(Duration::from_micros(1));
    settle(&server);
    assert_eq!(all(&batches), ["[1, 2] max_age"]);
}

/// What comes when the batch is due is not put into it, even if the thread was not there in time.
#[test]
fn triggers_of_time_are_looked_at_before_an_item_too() {
    let mut machine = Machine::new();
    let (builder, batches) = lists(only().max_age(SECOND));
    let server = builder.env(machine.env()).start().expect("starts");
    server.sync_add_item(1).expect("taken");
    machine.clock.advance(SECOND * 2);
    server.sync_add_item(2).expect("taken");
    assert_eq!(all(&batches), ["[1] max_age"]);
    assert_eq!(server.state().expect("runs").counts.batch_items, 1);
}

#[test]
fn the_time_since_the_last_flush_counts_from_the_start_at_first() {
    let mut machine = Machine::new();
    let (builder, batches) = lists(only().max_since_flush(SECOND * 10));
    let server = builder.env(machine.env()).start().expect("starts");
    machine.clock.advance(SECOND * 9);
    server.sync_add_item(1).expect("taken");
    machine.clock.advance(SECOND);
    settle(&server);
    assert_eq!(all(&batches), ["[1] max_since_flush"]);
    // Of an empty batch there is no flush, and nothing that would be the last one.
    machine.clock.advance(SECOND * 30);
    settle(&server);
    let flushed = server.sync_add_item(2).expect("taken");
    assert_eq!(flushed, Accepted::Flushed, "it is long overdue");
    assert_eq!(all(&batches), ["[2] max_since_flush"]);
}

#[test]
fn an_idle_batch_is_flushed() {
    let mut machine = Machine::new();
    let (builder, batches) = lists(only().idle(SECOND * 2));
    let server = builder.env(machine.env()).start().expect("starts");
    for item in 1..=3 {
        server.sync_add_item(item).expect("taken");
        machine.clock.advance(SECOND);
    }
    machine.clock.advance(SECOND);
    settle(&server);
    assert_eq!(all(&batches), ["[1, 2, 3] idle"]);
}

/// A flush that takes long is no reason to make up for the beats that passed meanwhile.
#[test]
fn at_a_fixed_rate_beats_that_are_missed_are_skipped_and_counted() {
    let mut machine = Machine::new();
    let (builder, batches) = lists(only().interval(Interval::every(SECOND)));
    let server = builder.env(machine.env()).start().expect("starts");
    machine.clock.advance(Duration::from_millis(300));
    server.sync_add_item(1).expect("taken");
    machine.clock.advance(Duration::from_millis(699));
    settle(&server);
    assert!(all(&batches).is_empty());
    machine.clock.advance(Duration::from_millis(1));
    settle(&server);
    assert_eq!(all(&batches), ["[1] interval"], "on the grid of the start");
    server.sync_add_item(2).expect("taken");
    machine.clock.advance(Duration::from_millis(4500));
    settle(&server);
    assert_eq!(all(&batches), ["[2] interval"]);
    assert_eq!(server.state().expect("runs").counts.beats_skipped, 3);
    server.sync_add_item(3).expect("taken");
    machine.clock.advance(Duration::from_millis(500));
    settle(&server);
    assert_eq!(all(&batches), ["[3] interval"], "on the grid again");
}

#[test]
fn at_a_fixed_delay_the_next_beat_counts_from_the_end_of_the_flush() {
    let mut machine = Machine::new();
    let (failing, clock) = (Failing::default(), machine.clock.clone());
    let fails = failing.clone();
    let interval = Interval {
        mode: IntervalMode::FixedDelay,
        ..Interval::every(SECOND * 10)
    };
    let (builder, batches) = lists(only().interval(interval));
    let builder = builder.on_flush(move |batcher, batch| {
        clock.advance(SECOND * 3);
        fails.now()?;
        batcher.flush(batch)
    });
    let server = builder.env(machine.env()).start().expect("starts");
    server.sync_add_item(1).expect("taken");
    machine.clock.advance(SECOND * 10);
    settle(&server);
    assert_eq!(all(&batches), ["[1] interval"]);
    server.sync_add_item(2).expect("taken");
    machine.clock.advance(SECOND * 9);
    settle(&server);
    assert!(all(&batches).is_empty(), "it ended nine seconds ago");
    machine.clock.advance(SECOND);
    settle(&server);
    assert_eq!(all(&batches), ["[2] interval"]);
}

#[test]
fn an_interval_and_a_bound_make_a_micro_batcher() {
    let mut machine = Machine::new();
    let half = Duration::from_millis(500);
    let (builder, batches) = lists(only().max_items(5).interval(Interval::every(half)));
    let server = builder.env(machine.env()).start().expect("starts");
    for item in 0..12 {
        server.sync_add_item(item).expect("taken");
    }
    machine.clock.advance(half);
    settle(&server);
    let flushed = [
        "[0, 1, 2, 3, 4] max_items",
        "[5, 6, 7, 8, 9] max_items",
        "[10, 11] interval",
    ];
    assert_eq!(all(&batches), flushed);
}

#[test]
fn an_empty_batch_is_never_flushed_by_whatever_trigger() {
    for options in [
        only().max_age(SECOND),
        only().max_since_flush(SECOND),
        only().interval(Interval::every(SECOND)),
        only().idle(SECOND),
        Options::new(),
    ] {
        let mut machine = Machine::new();
        let (builder, batches) = lists(options);
        let builder = builder.on_should_flush(|_, _| true);
        let server = builder.env(machine.env()).start().expect("starts");
        for _ in 0..3 {
            machine.clock.advance(SECOND * 10);
            settle(&server);
        }
        server.sync_flush().expect("there is nothing to do");
        server.stop().expect("all is well");
        assert!(all(&batches).is_empty(), "{options:?}");
    }
}

#[test]
fn should_flush_is_asked_before_and_after_each_item_and_keeps_no_other_trigger_from_it() {
    let (builder, batches) = lists(only().max_items(3));
    let (told, asked) = std::sync::mpsc::channel();
    let builder = builder.on_should_flush(move |_, state| {
        told.send((state.next_item.copied(), state.batch.clone()))
            .expect("heard");
        // A batch begins with a hundred, and ends with a seven.
        state.next_item == Some(&100) || state.last_item == Some(&7)
    });
    let server = builder.start().expect("starts");
    for item in [1, 2, 7, 3, 100, 4, 5] {
        server.sync_add_item(item).expect("taken");
    }
    let flushed = [
        "[1, 2, 7] max_items",
        "[3] end_of_batch",
        "[100, 4, 5] max_items",
    ];
    assert_eq!(all(&batches), flushed);
    let asked: Vec<_> = asked.try_iter().take(3).collect();
    assert_eq!(
        asked,
        [(None, vec![1]), (Some(2), vec![1]), (None, vec![1, 2])]
    );
}

#[test]
fn should_flush_sees_the_batch_the_last_item_counts_and_times() {
    let mut machine = Machine::new();
    let (builder, batches) = lists(only());
    let builder = builder.on_should_flush(|_, state| {
        state.counts.total_items == 3
            && state.counts.batch_items == 3
            && state.batch.len() == 3
            && state.last_item == Some(&3)
            && state.times.first_item == Some(SECOND * 2)
            && state.times.newest_item == Some(Duration::ZERO)
            && state.config.max_items.is_none()
    });
    let server = builder.env(machine.env()).start().expect("starts");
    for item in 1..=3 {
        server.sync_add_item(item).expect("taken");
        machine.clock.advance(SECOND);
    }
    assert_eq!(all(&batches), ["[1, 2, 3] end_of_batch"]);
}

/// The original declares it and has no code for it.
#[test]
fn lazy_triggers_are_looked_at_only_before_an_item() {
    let mut machine = Machine::new();
    let options = Options::new().max_items(2).max_age(SECOND).lazy_flush(true);
    let (builder, batches) = lists(options.max_bytes(Setting::Off));
    let server = builder.env(machine.env()).start().expect("starts");
    for item in 1..=2 {
        assert_eq!(server.sync_add_item(item).expect("taken"), Accepted::Held);
    }
    machine.clock.advance(SECOND * 10);
    settle(&server);
    assert!(all(&batches).is_empty(), "full, old, and not looked at");
    assert_eq!(server.sync_add_item(3).expect("taken"), Accepted::Flushed);
    assert_eq!(all(&batches), ["[1, 2] max_items"]);
    machine.clock.advance(SECOND * 10);
    server.sync_add_item(4).expect("taken");
    assert_eq!(all(&batches), ["[3] max_age"]);
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[4] flush"], "who asks is heard");
}

/// An idle server waits for a message, and for nothing else.
#[test]
fn an_idle_server_does_not_wake_up() {
    let (told, id) = std::sync::mpsc::channel();
    let (builder, _batches) = lists(Options::new());
    let builder = builder.on_init(move |batcher, config| {
        let thread = std::fs::read_link("/proc/thread-self").expect("a thread");
        told.send(thread).ok();
        batcher.init(config)
    });
    let server = builder.start().expect("starts");
    let thread = id.recv().expect("begun");
    let switches = || {
        let status = std::path::Path::new("/proc").join(&thread).join("status");
        let status = std::fs::read_to_string(status).expect("it lives");
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        counts
            .filter_map(|line| line.rsplit('\t').next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    server.state().expect("runs");
    let before = switches();
    // Another one is busy for a second.
    let (busy, batches) = lists(only().max_age(SECOND));
    let busy = busy.start().expect("starts");
    busy.add_item(1).expect("runs");
    next(&batches);
    let woken = switches() - before;
    assert!(woken <= 5, "{woken} times in a second");
}

#[test]
fn a_flush_that_is_slow_keeps_nobody_from_adding() {
    let gate = Gate::default();
    let stands = gate.clone();
    let (builder, batches) = lists(only().max_items(2));
    let builder = builder.on_flush(move |batcher, batch| {
        stands.pass();
        batcher.flush(batch)
    });
    let server = builder.start().expect("starts");
    for item in 1..=2 {
        server.add_item(item).expect("runs");
    }
    gate.wait_for(1);
    for item in 3..=6 {
        server.add_item(item).expect("runs");
    }
    gate.open();
    server.stop().expect("all is well");
    assert_eq!(all(&batches).len(), 3);
}

//! The queue as its callers see it: each test is a script, and what it says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use batchd_core::env::sim::{EIO, Fault, OpKind};
use batchd_core::frame::checksum::crc32c;
use batchd_core::frame::{BodyLimits, BodyView};
use batchd_core::policy::{Interval, IntervalMode, Policy};
use batchd_core::queue::{Ack, Answer, Begun, Incoming};
use batchd_core::spool::ledger::Outcome;
use insta::assert_snapshot;
use support::book::Due;
use support::world::{World, read_items, run, small};

/// Every item is a batch.
fn one_item() -> Policy {
    Policy {
        max_items: Some(1),
        ..small()
    }
}

/// Runs a script under `items N bytes N age MS`, each of which may be `off` or left out.
fn run_under(policy: &str, script: &str) -> String {
    let words: Vec<&str> = policy.split_whitespace().collect();
    let value = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words[at + 1].parse::<u64>().ok()
    };
    let policy = Policy {
        max_items: value("items").map(|n| u32::try_from(n).unwrap()),
        max_bytes: value("bytes"),
        max_age: value("age").map(Duration::from_millis),
        ..Policy::default()
    };
    run(policy, script)
}

#[test]
fn one_batch_goes_through() {
    let script = "submit a 2 10; list; lead; list; flush; list; keep; list; deliver all; \
         list; ledger";
    assert_snapshot!(run_under("items 4 bytes 4000", script), @r"
        0 Kept(Synced)
        open 1: 0.0 0.1
        flush of 1
        open 1: 0.0 0.1
        closing 1: flush
        ready 1: 0.0 0.1
        delivered 1: 0.0 0.1
        ledger 1: delivered
    ");
}

#[test]
fn a_batch_closes_at_max_items() {
    let script = "submit a 7 10; lead; keep; list";
    assert_snapshot!(run_under("items 3 bytes 4000", script), @r"
        0 Kept(Synced)
        open 3: 0.6
        ready 1: 0.0 0.1 0.2
        ready 2: 0.3 0.4 0.5
    ");
}

#[test]
fn a_batch_closes_at_max_bytes_and_never_crosses_it() {
    let script = "submit a 1 60; submit a 1 60; submit a 2 50; lead; keep; list";
    assert_snapshot!(run_under("items off bytes 100", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        2 Kept(Synced)
        ready 1: 0.0
        ready 2: 1.0
        ready 3: 2.0 2.1
    ");
}

#[test]
fn parts_of_one_submission_are_delivered_in_order() {
    let script = "submit a 1 10; submit a 5 10; submit a 1 10; lead; flush; keep; deliver all";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        2 Kept(Synced)
        flush of 4
        delivered 1: 0.0 1.0
        delivered 2: 1.1 1.2
        delivered 3: 1.3 1.4
        delivered 4: 2.0
    ");
}

#[test]
fn an_item_over_max_bytes_is_refused_at_the_door() {
    let script = "submit a 1 101; submit a 1 100; lead; list";
    assert_snapshot!(run_under("items off bytes 100", script), @r"
        0 refused: an item of 101 bytes is longer than `max_bytes` of the queue, 100: split it, or raise it
        1 Kept(Synced)
        open 1: 1.0
        closing 1: max_bytes
    ");
}

#[test]
fn end_of_batch_closes_after_the_last_item() {
    let script = "submit a 2 10 end; submit a 1 10; lead; keep; list";
    assert_snapshot!(run_under("items 9 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        open 2: 1.0
        ready 1: 0.0 0.1
    ");
}

#[test]
fn keys_fill_their_own_batches_and_seqs_ascend() {
    let script = "submit a 1 10; submit b 1 10; submit a 2 10; lead; keep; submit b 2 10; \
         submit a 2 10; lead; keep; list";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        2 Kept(Synced)
        3 Kept(Synced)
        4 Kept(Synced)
        open 4: 3.1
        open 5: 4.1
        ready 1: 0.0 2.0
        ready 2: 1.0 3.0
        ready 3: 2.1 4.0
    ");
}

#[test]
fn a_repeat_is_answered_with_the_first_or_known() {
    let script = "submit a 2 10; repeat 0; lead; repeat 0; lead; list";
    assert_snapshot!(run_under("items 4 bytes 4000", script), @r"
        0 Kept(Synced)
        0 KeptBefore(Synced)
        0 known
        open 1: 0.0 0.1
    ");
}

#[test]
fn a_repeat_that_asks_for_more_while_under_way_is_told_to_come_again() {
    let script = "submit a 1 10 written; repeat 0; lead; repeat 0; lead; repeat 0";
    assert_snapshot!(run_under("items 4 bytes 4000", script), @r"
        0 refused: the same submission is under way with a weaker acknowledgement: repeat it
        0 Kept(Written)
        0 KeptBefore(Synced)
        0 known
    ");
}

#[test]
fn a_repeat_across_a_restart_adds_nothing() {
    let script = "submit a 5 10; lead; keep; deliver; crash; repeat 0; list; flush; keep; \
         deliver all; crash; repeat 0; list";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Synced)
        delivered 1: 0.0 0.1
        0 known
        open 3: 0.4
        ready 2: 0.2 0.3
        flush of 2
        delivered 2: 0.2 0.3
        delivered 3: 0.4
        0 known
    ");
}

#[test]
fn what_is_only_written_is_synced_within_the_second() {
    // One sync of the ledger and no other, until it is due.
    let script = "calls sync_data; submit a 1 10 written; lead; calls sync_data; wait 499; \
         keep; lead; calls sync_data; wait 1; keep; lead; calls sync_data; keep; \
         lead; calls sync_data; crash; list";
    assert_snapshot!(run_under("items 9 bytes 4000", script), @r"
        2 sync_data
        0 Kept(Written)
        2 sync_data
        3 sync_data
        a commit is due
        4 sync_data
        4 sync_data
        open 1: 0.0
    ");
}

#[test]
fn what_is_only_written_is_lost_in_a_crash() {
    let script = "submit a 1 10 written; lead; crash; list; repeat 0; lead; crash; list";
    assert_snapshot!(run_under("items 9 bytes 4000", script), @r"
        0 Kept(Written)
        0 Kept(Synced)
        open 1: 0.0
    ");
}

#[test]
fn a_synced_repeat_of_what_is_written_waits_for_a_sync() {
    let script = "submit a 1 10 written; lead; calls sync_data; repeat 0; lead; \
         calls sync_data; crash; list";
    assert_snapshot!(run_under("items 9 bytes 4000", script), @r"
        0 Kept(Written)
        2 sync_data
        0 KeptBefore(Synced)
        3 sync_data
        open 1: 0.0
    ");
}

#[test]
fn a_synced_repeat_of_what_is_written_in_a_closed_batch_waits_for_its_seal() {
    let script = "submit a 1 10 written; lead; repeat 0; lead; crash; list";
    assert_snapshot!(run_under("items 1 bytes 4000", script), @r"
        0 Kept(Written)
        0 KeptBefore(Synced)
        ready 1: 0.0
    ");
}

#[test]
fn a_full_disk_refuses_and_takes_the_group_back() {
    let script = "submit a 1 10; lead; full 200; submit a 1 900; submit a 1 10; lead; list; \
         submit a 1 10; lead; heal; repeat 1; lead; list; crash; list";
    assert_snapshot!(run_under("items 9 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Failed(NoSpace)
        2 Failed(NoSpace)
        open 1: 0.0
        3 Kept(Synced)
        1 Kept(Synced)
        open 1: 0.0 3.0 1.0
        open 1: 0.0 3.0 1.0
    ");
}

#[test]
fn a_full_disk_keeps_the_part_that_was_kept() {
    // The first part is in its own batch and stays; the repeat adds the rest.
    let script = "submit a 1 10; lead; full 1000; submit a 3 600; lead; list; heal; \
         repeat 1; lead; flush; keep; deliver all";
    assert_snapshot!(run_under("items 2 bytes 9000", script), @r"
        0 Kept(Synced)
        1 Failed(NoSpace)
        open 1: 0.0 1.0
        closing 1: max_items
        1 Kept(Synced)
        flush of 2
        delivered 1: 0.0 1.0
        delivered 3: 1.1 1.2
    ");
}

#[test]
fn a_full_disk_delays_seals_but_not_the_sync() {
    let script = "submit a 2 10 written; lead; full 10; keep; list; repeat 0; lead; heal; \
         keep; list; deliver all";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Written)
        open 1: 0.0 0.1
        closing 1: max_items
        0 known
        ready 1: 0.0 0.1
        delivered 1: 0.0 0.1
    ");
}

#[test]
fn a_batch_whose_seal_found_no_room_survives_a_crash() {
    let script = "submit a 2 10 written; lead; full 10; keep; list; crash; list; \
         submit a 1 10; lead; heal; flush; keep; deliver all";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Written)
        open 1: 0.0 0.1
        closing 1: max_items
        ready 1: 0.0 0.1
        1 Kept(Synced)
        flush of 2
        delivered 1: 0.0 0.1
        delivered 2: 1.0
    ");
}

#[test]
fn a_batch_that_cannot_be_renamed_goes_out_from_where_it_is() {
    let script = "submit a 2 10; lead; fail rename 1; keep; deliver all; ledger; crash; list";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Synced)
        delivered 1: 0.0 0.1
        ledger 1: delivered
    ");
}

#[test]
fn a_failed_sync_stops_the_queue() {
    let script = "submit a 1 10; lead; fail sync 1; submit a 1 10; submit b 1 10; lead";
    assert_snapshot!(run_under("items 9 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Failed(Unknown)
        2 Failed(Unknown)
        died: lead: the spool cannot be relied on any more: sync /spool/queues/q/open/000000000001-01a3185c-5000-7e56-971c-de355897421e.batch: Input/output error (os error 5)
    ");
}

#[test]
fn nothing_is_taken_after_a_failed_seal() {
    let script = "submit a 2 10 written; lead; submit b 1 10; fail sync 1; keep";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Written)
        died: keep: the spool cannot be relied on any more: sync /spool/queues/q/open/000000000001-01a3185c-5000-7e56-971c-de355897421e.batch: Input/output error (os error 5)
    ");
}

#[test]
fn a_batch_is_closed_at_exactly_max_age() {
    let script = "submit a 1 10; lead; wait 4999; keep; list; wait 1; keep; list";
    assert_snapshot!(run_under("items 9 bytes 4000 age 5000", script), @r"
        0 Kept(Synced)
        open 1: 0.0
        ready 1: 0.0
    ");
}

#[test]
fn age_counts_over_a_restart() {
    let script = "submit a 1 10; lead; wait 3000; reopen; wait 1999; keep; list; wait 1; \
         keep; list";
    assert_snapshot!(run_under("items 9 bytes 4000 age 5000", script), @r"
        0 Kept(Synced)
        open 1: 0.0
        ready 1: 0.0
    ");
}

#[test]
fn files_made_ahead_are_used() {
    let script = "submit a 1 10; lead; keep; calls create; submit a 1 10; lead; \
         calls create; keep; calls create; list";
    assert_snapshot!(run_under("items 1 bytes 4000", script), @r"
        0 Kept(Synced)
        5 create
        1 Kept(Synced)
        5 create
        6 create
        ready 1: 0.0
        ready 2: 1.0
    ");
}

#[test]
fn an_idle_queue_makes_one_file_ahead_and_no_more() {
    let script = "keep; calls create; submit a 1 10; lead; keep; calls create; keep; keep; \
         calls create";
    assert_snapshot!(run_under("items 9 bytes 4000", script), @r"
        3 create
        0 Kept(Synced)
        5 create
        5 create
    ");
}

#[test]
fn a_restart_fills_the_same_batch() {
    let script = "submit a 1 10; lead; reopen; submit a 1 10; lead; list; crash; \
         submit a 3 10; lead; keep; list";
    assert_snapshot!(run_under("items 4 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        open 1: 0.0 1.0
        2 Kept(Synced)
        open 2: 2.2
        ready 1: 0.0 1.0 2.0 2.1
    ");
}

#[test]
fn a_clean_stop_keeps_batches_open() {
    let script = "submit a 1 10; submit b 1 10; lead; stop; reopen; list; submit a 1 10; \
         lead; stop; reopen; list";
    assert_snapshot!(run_under("items 4 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        open 1: 0.0
        open 2: 1.0
        2 Kept(Synced)
        open 1: 0.0 2.0
        open 2: 1.0
    ");
}

#[test]
fn a_batch_that_said_it_ends_is_sealed_by_a_restart() {
    let script = "submit a 2 10; submit b 1 10; lead; crash; list";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        open 2: 1.0
        ready 1: 0.0 0.1
    ");
}

#[test]
fn a_flush_names_what_is_still_to_be_delivered() {
    let script = "submit a 2 10; submit b 1 10; lead; flush; keep; flush; deliver; flush; \
         deliver all; flush";
    assert_snapshot!(run_under("items 4 bytes 4000", script), @r"
        0 Kept(Synced)
        1 Kept(Synced)
        flush of 2
        flush of 2
        delivered 1: 0.0 0.1
        flush of 1
        delivered 2: 1.0
        flush of 0
    ");
}

#[test]
fn a_delivery_that_was_not_recorded_is_repeated_under_the_same_id() {
    let script = "submit a 2 10; lead; keep; attempt; crash; deliver all; ledger; crash; \
         deliver all; list";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
        0 Kept(Synced)
        delivered 1: 0.0 0.1
        delivered 1: 0.0 0.1
        ledger 1: delivered
    ");
}

/// A world with one acknowledged submission of each key, and a group of another submission under way.
fn with_group_under_way() -> World {
    let mut world = World::started(Policy {
        max_age: None,
        ..Policy::default()
    });
    world
        .run("submit a 1 10; submit b 1 10; lead; submit a 1 10; plan")
        .unwrap();
    world
}

#[test]
fn a_flush_closes_also_the_batches_that_the_group_under_way_leaves_alone() {
    let mut world = with_group_under_way();
    world.run("flush; land").unwrap();
    assert!(world.commit().take_keep_due());
    world.run("keep; list").unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    flush of 2
    2 Kept(Synced)
    ready 1: 0.0 2.0
    ready 2: 1.0
    ");
}

#[test]
fn what_the_group_under_way_leaves_alone_is_closed_and_sealed_at_once() {
    let mut world = with_group_under_way();
    world.run("flush; keep").unwrap();
    let is_ready = |world: &World| world.commit().lock().ready().count();
    assert_eq!(is_ready(&world), 1, "b need not wait for a");
    world.run("land; keep").unwrap();
    assert_eq!(is_ready(&world), 2);
}

#[test]
fn a_batch_that_a_group_only_syncs_is_part_of_it() {
    let mut world = World::started(small());
    world
        .run("submit a 1 10 written; submit b 1 10; lead; wait 600; submit b 1 10; plan; flush; keep")
        .unwrap();
    assert_eq!(world.commit().lock().ready().count(), 0);
    world.run("land; keep").unwrap();
    assert_eq!(world.commit().lock().ready().count(), 2);
}

#[test]
fn what_begins_while_a_group_is_under_way_is_the_next_group() {
    let mut world = with_group_under_way();
    world.run("submit a 1 10").unwrap();
    assert!(
        world.commit().lock().plan().is_none(),
        "one group at a time"
    );
    world.run("land; list; lead; list").unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 Kept(Synced)
    open 1: 0.0 2.0
    open 2: 1.0
    3 Kept(Synced)
    open 1: 0.0 2.0 3.0
    open 2: 1.0
    ");
}

#[test]
fn a_failed_seal_stops_the_queue_and_answers_who_waits() {
    let mut world = World::started(one_item());
    world
        .run("submit a 1 10 written; lead; submit a 1 10")
        .unwrap();
    world
        .disk
        .fail_nth(OpKind::SyncData, 1, Fault::once(EIO).losing_pages(0));
    world.commit().keep().unwrap_err();
    world.begin(0, Ack::Synced);
    world.lead().unwrap_err();
    assert_snapshot!(world.out, @r"
    0 Kept(Written)
    0 refused: the daemon is stopping: repeat it when it is back
    1 Failed(Unknown)
    ");
}

#[test]
fn a_repeat_of_what_is_kept_is_known_in_a_full_spool() {
    let mut world = World::new(Policy {
        max_age: None,
        ..Policy::default()
    });
    world.spool_bytes_max = 100;
    world
        .start()
        .and_then(|()| world.run("submit a 1 90; lead; submit a 1 90; repeat 0"))
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 refused: the spool holds 90 bytes of items, of the 100 it may (`max_bytes` of [spool]): wait for deliveries, or raise it
    0 known
    ");
}

#[test]
fn a_repeat_is_known_whatever_became_of_the_parts() {
    // The first part is set aside, the second is delivered: on record in another order than they were made.
    let script = "submit a 3 10; lead; close; keep; bury; deliver; crash; repeat 0; lead; list";
    assert_snapshot!(run_under("items 2 bytes 4000", script), @r"
    0 Kept(Synced)
    delivered 2: 0.2
    0 known
    dead 1: 0.0 0.1
    ");
}

#[test]
fn a_repeat_is_known_though_its_file_was_made_long_before() {
    // The second batch is filled two hours after its file was made, and its id is as old as that.
    let script = "submit a 1 10; lead; keep; deliver; wait 7200000; submit a 1 10; lead; keep; crash; \
                  repeat 1; lead; list";
    assert_snapshot!(run_under("items 1 bytes 4000", script), @r"
    0 Kept(Synced)
    delivered 1: 0.0
    1 Kept(Synced)
    1 known
    ready 2: 1.0
    ");
}

#[test]
fn no_barrier_passes_what_only_a_seal_will_sync() {
    let mut world = World::started(one_item());
    world.run("submit a 1 10 written; lead").unwrap();
    world.begin(0, Ack::Synced);
    assert!(world.commit().lock().waits_for_seals());
    assert!(
        world.commit().lock().plan().is_none(),
        "its batch is not synced yet"
    );
    world.run("keep; lead").unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Written)
    a commit is due
    0 KeptBefore(Synced)
    ");
}

#[test]
fn two_batches_of_one_seq_are_both_delivered() {
    let mut world = World::started(one_item());
    world
        .run("submit a 1 10; lead; keep; submit b 1 10; lead; keep")
        .unwrap();
    world.commit = None;
    // Somebody puts a file back under a seq that was used since.
    let mut image = world.disk.live_image();
    let files = image.files();
    let second = files
        .iter()
        .find(|path| path.contains("/ready/000000000002-"))
        .unwrap();
    image
        .rename(second, second.replace("000000000002-", "000000000001-"))
        .unwrap();
    world.disk = image.to_disk();
    world
        .start()
        .and_then(|()| world.run("deliver all"))
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    delivered 1: 0.0
    delivered 1: 1.0
    ");
}

#[test]
fn a_repeat_is_known_where_zeros_follow_the_seal() {
    // A crash may come before the cut of what was preallocated is durable.
    let mut world = World::started(one_item());
    world.run("submit a 1 10; lead; keep").unwrap();
    world.commit = None;
    let mut image = world.disk.live_image();
    let files = image.files();
    let ready = files.iter().find(|path| path.contains("/ready/")).unwrap();
    let mut bytes = image.read(ready).unwrap();
    bytes.resize(bytes.len() + 200_003, 0);
    image.write(ready, bytes).unwrap();
    world.disk = image.to_disk();
    world
        .start()
        .and_then(|()| world.run("repeat 0; deliver"))
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    0 known
    delivered 1: 0.0
    ");
}

#[test]
fn a_seal_may_be_long() {
    // Every other submission goes to the other key, so that no two numbers of a batch touch.
    let policy = Policy {
        max_items: None,
        max_bytes: Some(1 << 30),
        max_age: None,
        ..Policy::default()
    };
    let mut world = World::started(policy);
    for number in 0..24_000 {
        let key = if number % 2 == 0 { "a" } else { "b" };
        let number = world.book.submit(key, 1, 5, false);
        world.begin(number, Ack::Synced);
    }
    world.run("lead; close; keep; crash").unwrap();
    world.out.clear();
    world.run("repeat 0; repeat 23999").unwrap();
    assert_snapshot!(world.out, @r"
    0 known
    23999 known
    ");
}

#[test]
fn threads_lead_keep_house_and_deliver_at_once() {
    const THREADS: usize = 4;
    const EACH: usize = 150;
    let millis = |millis| Some(Duration::from_millis(millis));
    let mut world = World::started(Policy {
        max_items: Some(7),
        max_age: millis(20),
        max_since_flush: millis(15),
        interval: Some(Interval {
            mode: IntervalMode::FixedDelay,
            ..Interval::every(Duration::from_millis(9))
        }),
        idle: millis(3),
        ..Policy::default()
    });
    let clock = world.clock.clone();
    for number in 0..THREADS * EACH {
        let key = ["a", "b", "c"][number % 3];
        world.book.submit(key, 1 + number % 4, 20, false);
    }
    let commit = world.commit.take().unwrap();
    let book = Mutex::new(world.book.clone());
    let answered: Vec<AtomicBool> = (0..THREADS * EACH)
        .map(|_| AtomicBool::new(false))
        .collect();
    let producers_left = AtomicUsize::new(THREADS);
    let lead = || {
        let mut answers = Vec::new();
        commit.lead(&mut answers).unwrap();
        for (number, answer) in answers {
            assert_eq!(answer, Answer::Kept(Ack::Synced));
            book.lock().unwrap().ack(number, Ack::Synced);
            assert!(
                !answered[number].swap(true, Ordering::SeqCst),
                "answered twice"
            );
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (commit, answered, lead) = (&commit, &answered, &lead);
            let (submissions, producers_left) = (&world.book.submissions, &producers_left);
            scope.spawn(move || {
                for number in (0..EACH).map(|n| n * THREADS + thread) {
                    let submission = &submissions[number];
                    let body = submission.body(number);
                    let count = u32::try_from(submission.items.len()).unwrap();
                    let incoming = Incoming {
                        key: &submission.key,
                        body: &body,
                        body_crc: crc32c(&body),
                        view: BodyView::parse(&body, count, BodyLimits::NONE).unwrap(),
                        ack: Ack::Synced,
                        repeat: false,
                        end_of_batch: false,
                        received_at: 0,
                    };
                    assert_eq!(commit.begin(&incoming, number), Ok(Begun::Waiting));
                    while !answered[number].load(Ordering::SeqCst) {
                        lead();
                        std::thread::yield_now();
                    }
                }
                producers_left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        scope.spawn(|| {
            while producers_left.load(Ordering::SeqCst) > 0 {
                clock.advance(Duration::from_micros(500));
                commit.keep().unwrap();
                std::thread::yield_now();
            }
        });
        scope.spawn(|| {
            while producers_left.load(Ordering::SeqCst) > 0 {
                if let Some(batch) = commit.claim_next() {
                    let file = commit.open_sealed(&batch).unwrap();
                    let (inspection, items) = read_items(&file).unwrap();
                    book.lock().unwrap().deliver(batch.name.id, items);
                    commit
                        .finish(&batch, Outcome::Delivered, &inspection)
                        .unwrap();
                }
                std::thread::yield_now();
            }
        });
    });
    world.book = book.into_inner().unwrap();
    world.commit = Some(commit);
    world.drain().unwrap();
    world
        .book
        .check(Due::All)
        .unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_batch_that_is_closed_while_its_group_is_under_way_is_seen_to() {
    let mut world = World::started(Policy {
        max_age: Some(Duration::from_secs(1)),
        ..Policy::default()
    });
    world
        .run("submit a 1 10; lead; keep; submit a 1 10; wait 1s; plan; keep; due")
        .unwrap();
    world.commit().take_keep_due();
    world.run("land").unwrap();
    assert!(
        world.commit().take_keep_due(),
        "nobody seals it: {}",
        world.out
    );
}

#[test]
fn what_is_only_written_wakes_the_house_once() {
    let mut world = World::started(small());
    let begins = "submit a 1 10; lead; keep";
    world.run(begins).unwrap();
    world.commit().take_keep_due();
    for (script, wakes) in [
        ("submit a 1 10 written; lead", true),
        ("submit a 1 10 none; lead", false),
        // The house syncs it; what comes then is to be synced again.
        ("wait 600; lead", false),
        ("submit a 1 10 written; lead", true),
    ] {
        world.run(script).unwrap();
        assert_eq!(world.commit().take_keep_due(), wakes, "{script}");
    }
}

#[test]
fn what_the_leader_of_a_commit_sealed_is_told_when_the_house_is_kept() {
    let mut world = World::started(small());
    world
        .run("submit a 4 10 written; lead; repeat 0; lead")
        .unwrap();
    assert_eq!(world.commit().lock().ready().count(), 1);
    assert!(world.commit().keep().unwrap().ready, "no dispatcher looks");
    assert!(!world.commit().keep().unwrap().ready);
}

#[test]
fn a_sync_that_is_due_waits_for_the_group_under_way_and_nobody_spins() {
    let mut world = World::started(small());
    world
        .run("submit b 1 10 written; lead; wait 600; submit a 1 10")
        .unwrap();
    assert_eq!(world.commit().lock().next_due(), Some(Duration::ZERO));
    // The group of a single file, as where the sync of the other became due just behind it.
    world
        .run("lead; submit b 1 10 written; lead; submit a 1 10; plan; wait 1s")
        .unwrap();
    assert!(world.commit().lock().next_due() > Some(Duration::ZERO));
    world.run("land").unwrap();
    assert_eq!(world.commit().lock().next_due(), Some(Duration::ZERO));
}

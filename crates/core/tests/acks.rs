//! What each acknowledgement waits for, and what is answered where that never comes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use batchd_core::env::sim::{EIO, Fault, OpKind};
use insta::assert_snapshot;
use support::world::{World, run, small};

#[test]
fn delivered_is_answered_when_the_sink_has_it() {
    let script = "submit a 2 10 delivered; lead; keep; flush; keep; attempt; deliver";
    assert_snapshot!(run(small(), script), @r"
    0 Durable
    flush of 1
    delivered 1: 0.0 0.1
    delivered 1: 0.0 0.1
    0 Kept(Delivered)
    ");
}

#[test]
fn a_submission_in_several_batches_waits_for_the_last_of_them() {
    let script = "submit a 9 10 delivered; lead; keep; deliver; deliver; flush; keep; deliver";
    assert_snapshot!(run(small(), script), @r"
    0 Durable
    delivered 1: 0.0 0.1 0.2 0.3
    delivered 2: 0.4 0.5 0.6 0.7
    flush of 1
    delivered 3: 0.8
    0 Kept(Delivered)
    ");
}

#[test]
fn a_part_may_be_delivered_before_the_next_is_written() {
    // A group ends where the batch is full.
    let script = "submit a 3 10; submit a 7 10 delivered; plan; land; keep; deliver; plan; land; keep; deliver; \
                  plan; land; flush; keep; deliver";
    assert_snapshot!(run(small(), script), @r"
    0 Kept(Synced)
    delivered 1: 0.0 0.1 0.2 1.0
    delivered 2: 1.1 1.2 1.3 1.4
    1 Durable
    flush of 1
    delivered 3: 1.5 1.6
    1 Kept(Delivered)
    ");
}

#[test]
fn each_end_of_a_batch_has_its_answer() {
    let script = "submit a 4 10 delivered; lead; keep; bury; \
                  submit a 4 10 delivered; lead; keep; drop; \
                  submit a 4 10 delivered; lead; release";
    assert_snapshot!(run(small(), script), @r"
    0 Durable
    0 Failed(Expired)
    1 Durable
    1 Failed(Dropped)
    2 Durable
    2 Failed(Stopped)
    ");
}

#[test]
fn without_a_sink_nobody_waits_for_it() {
    let mut world = World::new(small());
    world.has_sink = false;
    let script = "submit a 1 10 delivered; submit a 1 10; lead";
    assert_snapshot!(world.told(script), @r#"
    0 refused: the queue has no sink, so that nothing of it is ever delivered: ask for "synced"
    1 Kept(Synced)
    "#);
}

#[test]
fn a_repeat_joins_the_first_and_asks_for_no_more_than_it() {
    let script = "submit a 2 10; repeat 0 delivered; lead; \
                  submit a 1 10 delivered; repeat 1; repeat 1 delivered; lead; \
                  repeat 1; repeat 1 delivered; flush; keep; deliver";
    assert_snapshot!(run(small(), script), @r"
    0 refused: the same submission is under way with a weaker acknowledgement: repeat it
    0 Kept(Synced)
    1 KeptBefore(Synced)
    1 Durable
    1 Durable
    1 known
    1 waits for the sink
    flush of 1
    delivered 1: 0.0 0.1 1.0
    1 Kept(Delivered)
    1 KeptBefore(Delivered)
    1 KeptBefore(Delivered)
    ");
}

#[test]
fn a_repeat_after_a_restart_waits_for_all_that_was_there() {
    let script = "submit a 4 10; submit b 4 10; lead; keep; crash; repeat 0 delivered; deliver; deliver; \
                  repeat 1 delivered";
    assert_snapshot!(run(small(), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    0 waits for the sink
    delivered 1: 0.0 0.1 0.2 0.3
    delivered 2: 1.0 1.1 1.2 1.3
    0 KeptBefore(Delivered)
    1 known
    ");
}

#[test]
fn a_repeat_of_what_ended_badly_is_told_so_also_after_a_restart() {
    let script = "submit a 4 10; submit b 4 10; lead; keep; bury; drop; repeat 0 delivered; \
                  repeat 1 delivered; crash; repeat 0 delivered; repeat 1 delivered; repeat 1";
    assert_snapshot!(run(small(), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    0 refused: it was kept before, and its batch ended without being delivered, or not whole
    1 refused: it was kept before, and its batch ended without being delivered, or not whole
    0 refused: it was kept before, and its batch ended without being delivered, or not whole
    1 refused: it was kept before, and its batch ended without being delivered, or not whole
    1 known
    ");
}

#[test]
fn a_failed_sync_is_unknown_to_all_who_wait() {
    let script = "submit a 4 10 delivered; lead; keep; fail sync 1; submit b 1 10 delivered; \
                  submit c 1 10 written; lead";
    assert_snapshot!(run(small(), script), @r"
    0 Durable
    0 Failed(Unknown)
    1 Failed(Unknown)
    2 Failed(Unknown)
    died: lead: the spool cannot be relied on any more: sync /spool/queues/q/open/000000000002-01a3185c-5000-7f53-bedd-bfbc7b9864f6.batch: Input/output error (os error 5)
    ");
}

#[test]
fn without_space_a_part_that_is_kept_is_no_answer() {
    let script = "submit a 9 600 delivered; full 4000; lead; heal; repeat 0 delivered; lead; keep; \
                  deliver all; flush; keep; deliver all";
    assert_snapshot!(run(small(), script), @r"
    0 Failed(NoSpace)
    0 Durable
    delivered 1: 0.0 0.1 0.2 0.3
    delivered 3: 0.4 0.5 0.6 0.7
    flush of 1
    delivered 4: 0.8
    0 Kept(Delivered)
    ");
}

#[test]
fn repeats_wait_until_it_is_read_what_sealed_batches_hold() {
    let mut world = World::started(small());
    world
        .run("submit a 4 10; lead; submit b 4 10; lead; submit c 1 10; lead; submit d 6 10; lead; keep; stop")
        .unwrap();
    world.recalls = false;
    world.start().unwrap();
    // What is in an open batch is known at once; so is what is recalled so far.
    world
        .run(
            "repeat 2; repeat 0; submit e 1 10; recall; repeat 3; repeat 0; lead; recall; repeat 1; \
             deliver; recall; recall; repeat 0; repeat 1; repeat 2; repeat 3; repeat 4; lead",
        )
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 Kept(Synced)
    3 Kept(Synced)
    2 known
    0 refused: which submissions were kept before the start is still being read: repeat it
    there is more to recall
    3 refused: which submissions were kept before the start is still being read: repeat it
    0 refused: which submissions were kept before the start is still being read: repeat it
    4 Kept(Synced)
    there is more to recall
    1 known
    delivered 1: 0.0 0.1 0.2 0.3
    all is recalled
    all is recalled
    0 known
    1 known
    2 known
    3 known
    4 known
    ");
}

#[test]
fn a_seal_is_found_also_while_its_batch_is_being_set_aside() {
    let mut world = World::started(small());
    world.run("submit a 4 10; lead; keep; stop").unwrap();
    world.recalls = false;
    world.start().unwrap();
    let batch = world.next_ready().unwrap();
    // What comes first when it expires. What it holds is entered a good while later.
    let layout = world.commit().layout();
    let dead = layout.dead().join(batch.name.to_string());
    let fs = &world.commit().env().fs;
    fs.rename(&layout.sealed(&batch), &dead).unwrap();
    world.run("recall; recall; repeat 0").unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    there is more to recall
    all is recalled
    0 known
    ");
}

/// Three batches of one submission each, and a fault in what reads them behind the start.
fn recall_with(kind: OpKind, nth: u64, fault: Fault) -> String {
    let mut world = World::started(small());
    world
        .run("submit a 4 10; lead; submit a 4 10; lead; submit a 4 10; lead; keep; stop")
        .unwrap();
    world.recalls = false;
    world.start().unwrap();
    world.disk.fail_nth(kind, nth, fault.only_in("/ready/"));
    while world.commit().recall(2) {}
    world.out.clear();
    world
        .run("heal; repeat 0; repeat 1; repeat 2; lead")
        .unwrap();
    world.out
}

#[test]
fn a_seal_that_cannot_be_read_is_tried_once_more() {
    const EMFILE: i32 = 24;
    for (kind, fault) in [
        (OpKind::Open, Fault::once(EMFILE)),
        (OpKind::Len, Fault::once(EIO)),
    ] {
        assert_eq!(recall_with(kind, 2, fault), "0 known\n1 known\n2 known\n");
    }
}

#[test]
fn a_seal_that_can_never_be_read_does_not_hold_up_the_recall() {
    let lasting = Fault::from_then_on(EIO);
    for kind in [OpKind::Open, OpKind::Read] {
        assert_eq!(
            recall_with(kind, 1, lasting.clone()),
            "0 Kept(Synced)\n1 Kept(Synced)\n2 Kept(Synced)\n"
        );
    }
}

#[test]
fn a_start_without_sealed_batches_has_nothing_to_read() {
    let mut world = World::new(small());
    world.recalls = false;
    world.start().unwrap();
    assert!(world.commit().has_recalled());
    world.run("submit a 4 10; lead; keep; reopen").unwrap();
    assert!(!world.commit().has_recalled());
    world.run("deliver; reopen").unwrap();
    assert!(world.commit().has_recalled());
}

#[test]
fn a_start_recalls_what_was_kept_within_the_window() {
    let mut world = World::new(small());
    world.producer_window = std::time::Duration::from_secs(10);
    let script = "submit a 4 10; lead; keep; submit b 4 10; lead; keep; deliver; wait 10000; submit c 4 10; lead; keep; \
         crash; repeat 0; repeat 1; wait 1; submit d 4 10; lead; keep; crash; repeat 0; repeat 1; repeat 2; lead";
    assert_snapshot!(world.told(script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    delivered 1: 0.0 0.1 0.2 0.3
    2 Kept(Synced)
    0 known
    1 known
    3 Kept(Synced)
    2 known
    0 Kept(Synced)
    1 Kept(Synced)
    ");
}

#[test]
fn a_wall_clock_that_is_set_back_makes_nothing_old() {
    let script = "submit a 4 10; lead; keep; wall -90000; submit a 4 10; lead; keep; deliver; submit a 4 10; lead; keep; \
         deliver; crash; repeat 0; repeat 1; repeat 2";
    assert_snapshot!(run(small(), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    delivered 1: 0.0 0.1 0.2 0.3
    2 Kept(Synced)
    delivered 2: 1.0 1.1 1.2 1.3
    0 known
    1 known
    2 known
    ");
}

#[test]
fn delivered_is_not_said_of_a_rest_whose_first_part_was_set_aside() {
    // The second part finds no room; the first is kept, set aside, and the rest comes with the repeat.
    let script = "submit a 2 10; lead; submit a 7 10 delivered; plan; land; full 0; plan; land; heal all; keep; bury; \
                  repeat 1 delivered; lead; flush; keep; deliver all";
    assert_snapshot!(run(small(), script), @r"
    0 Kept(Synced)
    1 Failed(NoSpace)
    1 Durable
    flush of 2
    delivered 3: 1.2 1.3 1.4 1.5
    delivered 4: 1.6
    1 Failed(Dropped)
    ");
}

#[test]
fn delivered_is_not_said_of_what_could_not_be_recovered() {
    // The start finds no room to copy the open batch, which stays where it is.
    let script = "submit a 2 10; lead; full 0; reopen; repeat 0; repeat 0 delivered; list; release; \
                  heal all; reopen; repeat 0 delivered; flush; keep; deliver all";
    assert_snapshot!(run(small(), script), @r"
    0 Kept(Synced)
    0 known
    0 waits for the sink
    0 Failed(Stopped)
    0 waits for the sink
    flush of 1
    delivered 1: 0.0 0.1
    0 KeptBefore(Delivered)
    ");
}

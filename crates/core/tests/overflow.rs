//! Queues that drop their oldest batches to make room: nothing that somebody owns, everything on the record.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use batchd_core::env::sim::{ENOSPC, Fault, Limits, OpKind};
use batchd_core::frame::BatchId;
use batchd_core::policy::{Overflow, Policy, Quota};
use batchd_core::queue::Claim;
use batchd_core::spool::ledger::Outcome;
use batchd_core::spool::space::MinFree;
use insta::assert_snapshot;
use proptest::prelude::*;
use support::crash::{Scenario, drain_and_check};
use support::world::{Dead, World, run};

fn dropping(quota_items: u64, max_items: u32) -> Policy {
    Policy {
        max_items: Some(max_items),
        max_bytes: Some(4000),
        max_age: None,
        quota: Quota {
            bytes: None,
            items: Some(quota_items),
        },
        overflow: Overflow::DropOldest,
        ..Policy::default()
    }
}

#[test]
fn the_oldest_ready_batch_goes_and_then_the_oldest_open_one() {
    let script = "submit a 2 10; submit b 1 10; submit c 1 10; lead; keep; list; \
        submit d 1 10; keep; list; repeat 3; lead; submit d 1 10; lead; submit d 1 10; keep; list; ledger; \
        repeat 5; lead; repeat 0; list";
    assert_snapshot!(run(dropping(4, 2), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 Kept(Synced)
    open 2: 1.0
    open 3: 2.0
    ready 1: 0.0 0.1
    3 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    open 2: 1.0
    open 3: 2.0
    3 Kept(Synced)
    4 Kept(Synced)
    5 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    open 2: 1.0
    open 3: 2.0
    ledger 1: dropped
    ledger 4: dropped
    5 Kept(Synced)
    0 known
    open 2: 1.0
    open 3: 2.0
    open 5: 5.0
    ");
}

#[test]
fn no_more_goes_than_must_and_what_can_never_fit_moves_nothing() {
    let script = "submit a 2 10; submit a 2 10; submit a 2 10; lead; keep; submit b 3 10; keep; list; \
        submit b 7 10; keep; list; ledger";
    assert_snapshot!(run(dropping(6, 2), script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 Kept(Synced)
    3 refused: the queue holds 6 items, and 6 are allowed (`quota_items`): wait for deliveries, or raise it
    ready 3: 2.0 2.1
    4 refused: the submission is more than `quota_items` allows for all that waits, 6: send less at once, or raise it
    ready 3: 2.0 2.1
    ledger 1: dropped
    ledger 2: dropped
    ");
}

#[test]
fn an_attempt_keeps_its_batch_and_gives_it_up_when_it_fails() {
    let mut world = World::started(dropping(4, 2));
    world
        .run("submit a 2 10; submit a 2 10; lead; keep")
        .unwrap();
    let owned = world.commit().claim_next().unwrap();
    world
        .run("submit a 2 10; keep; list; repeat 2; lead; keep; submit a 2 10; keep; list")
        .unwrap();
    drop(owned);
    world
        .run("repeat 3; lead; keep; submit a 2 10; keep; list; ledger")
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    ready 1: 0.0 0.1
    2 Kept(Synced)
    3 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    ready 1: 0.0 0.1
    3 Kept(Synced)
    4 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    ready 4: 3.0 3.1
    ledger 2: dropped
    ledger 3: dropped
    ledger 1: dropped
    ");
}

#[test]
fn a_full_spool_drops_batches_of_the_queue_that_wants_room() {
    let mut world = World::new(Policy {
        quota: Quota::default(),
        ..dropping(0, 2)
    });
    world.spool_bytes_max = 100;
    let script = "submit a 2 20; submit a 2 20; lead; keep; submit a 2 20; keep; list; repeat 2; lead; space";
    assert_snapshot!(world.told(script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 refused: the spool holds 80 bytes of items, of the 100 it may (`max_bytes` of [spool]): wait for deliveries, or raise it
    ready 2: 1.0 1.1
    2 Kept(Synced)
    used 80, free 18446744073709551615, shortage: none
    ");
}

#[test]
fn a_spool_that_other_queues_fill_drops_nothing_in_vain() {
    let mut world = World::new(Policy {
        quota: Quota::default(),
        ..dropping(0, 2)
    });
    world.spool_bytes_max = 200;
    world.start().unwrap();
    world.run("submit a 2 20; lead; keep").unwrap();
    // So much is another queue's.
    world.commit().space().take(100).unwrap();
    world
        .run("submit a 2 60; keep; list; submit a 2 40; keep; repeat 2; lead; keep; list")
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 refused: the spool holds 140 bytes of items, of the 200 it may (`max_bytes` of [spool]): wait for deliveries, or raise it
    ready 1: 0.0 0.1
    2 refused: the spool holds 140 bytes of items, of the 200 it may (`max_bytes` of [spool]): wait for deliveries, or raise it
    2 Kept(Synced)
    ready 2: 2.0 2.1
    ");
}

#[test]
fn a_full_disk_drops_what_makes_room_and_nothing_in_vain() {
    let mut world = World::new(Policy {
        quota: Quota::default(),
        ..dropping(0, 2)
    });
    world.min_free = MinFree::Bytes(5000);
    world.start().unwrap();
    world
        .run("submit a 2 900; submit a 2 900; submit a 2 900; lead; keep")
        .unwrap();
    let used = world.disk.bytes_used();
    world.disk.set_capacity(Some(used + 4000));
    world
        .run("wait 100; submit a 2 100; keep; list; repeat 3; lead; space")
        .unwrap();
    // Somebody else takes more than all of it could make good.
    world.disk.set_capacity(Some(used - 20_000));
    world
        .run("wait 100; submit a 2 100; keep; list; ledger")
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 Kept(Synced)
    3 refused: the file system of the spool is full: 4000 bytes are free, and 5000 must be (see `min_free`): make room, or wait for deliveries
    ready 2: 1.0 1.1
    ready 3: 2.0 2.1
    3 Kept(Synced)
    used 3800, free 6779, shortage: none
    4 refused: the file system of the spool is full: 0 bytes are free, and 5000 must be (see `min_free`): make room, or wait for deliveries
    ready 2: 1.0 1.1
    ready 3: 2.0 2.1
    ready 4: 3.0 3.1
    ledger 1: dropped
    ");
}

#[test]
fn where_the_drop_cannot_be_recorded_nothing_is_dropped() {
    let mut world = World::started(dropping(4, 2));
    world
        .run("submit a 2 10; submit a 2 10; lead; keep")
        .unwrap();
    let full = Fault::from_then_on(ENOSPC).after_bytes(20);
    world.disk.fail_nth(OpKind::Write, 1, full);
    world.run("submit a 2 10; keep; list; ledger").unwrap();
    world
        .run("heal; repeat 2; keep; list; ledger; repeat 2; lead; list")
        .unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    ready 1: 0.0 0.1
    ready 2: 1.0 1.1
    2 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    ready 2: 1.0 1.1
    ledger 1: dropped
    2 Kept(Synced)
    open 6: 2.0 2.1
    ready 2: 1.0 1.1
    closing 6: max_items
    ");
}

/// The power is cut at every call of a script that drops, and what that leaves is recovered.
#[test]
fn a_crash_loses_nothing_that_is_not_on_record() {
    let scenario = Scenario {
        name: "drops",
        policy: dropping(5, 2),
        script: "submit a 2 50; submit a 2 50; lead; keep; submit b 1 50; lead; submit a 2 50; keep; repeat 3; lead; \
            keep; submit b 1 50; submit a 2 40; keep; repeat 4; repeat 5; lead; deliver; submit c 3 30; keep; \
            repeat 6; lead; stop",
        limits: Limits {
            random_states: 4,
            ..Limits::default()
        },
        again_every: 0,
        planted: None,
    };
    let stats = scenario
        .walk()
        .unwrap_or_else(|violation| panic!("{violation}"));
    assert!(stats.distinct > 200, "{stats:?}");
}

/// A step of a random script, in which a dispatcher owns a batch for a while.
#[derive(Debug, Clone)]
enum Step {
    Script(String),
    Claim,
    Release,
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    let submit = (0..3usize, 1..5usize, 5..60usize);
    let submit = submit
        .prop_map(|(key, count, size)| format!("submit {} {count} {size}", ["a", "b", "c"][key]));
    let script = |text: &str| Just(Step::Script(text.to_owned()));
    prop_oneof![
        8 => submit.prop_map(Step::Script),
        6 => script("lead"),
        6 => script("keep"),
        1 => script("close"),
        1 => script("reopen"),
        1 => script("stop; reopen"),
        1 => (0..u32::MAX).prop_map(|seed| Step::Script(format!("crash {seed}"))),
        3 => Just(Step::Claim),
        2 => Just(Step::Release),
        2 => Just(Step::Finish),
    ]
}

/// What the spool holds, by batch.
fn held(world: &World) -> BTreeMap<BatchId, (u64, bool)> {
    let contents = world.contents().unwrap();
    let batch = |(place, seq, id, _)| (id, (seq, place == "ready"));
    contents.into_iter().map(batch).collect()
}

fn check(quota: u64, max_items: u32, steps: &[Step]) -> Result<(), TestCaseError> {
    let fail = |why: String| TestCaseError::fail(format!("{why}\nsteps: {steps:?}"));
    let mut world = World::started(dropping(quota, max_items));
    let mut claimed: Option<Claim> = None;
    for step in steps {
        let before = held(&world);
        match step {
            Step::Claim => {
                drop(claimed.take());
                claimed = world.commit().claim_next();
            }
            Step::Release => drop(claimed.take()),
            Step::Finish => {
                if let Some(batch) = claimed.take() {
                    let (inspection, items) = world.read(&batch).map_err(|d| fail(d.0))?;
                    let place = world.book.deliver(batch.name.id, items);
                    world
                        .commit()
                        .finish(&batch, Outcome::Delivered, &inspection)
                        .unwrap();
                    world.book.record(place);
                }
            }
            Step::Script(script) => {
                if script.contains("open") || script.contains("crash") {
                    claimed = None;
                }
                if let Err(Dead(why)) = world.run(script) {
                    return Err(fail(format!("died: {why}")));
                }
                if script == "keep" {
                    check_drops(&world, &before, claimed.as_ref()).map_err(fail)?;
                }
            }
        }
        let load = world.commit().lock().held();
        if load.items > quota {
            return Err(fail(format!("holds {load:?}")));
        }
        world.note_dropped();
    }
    // Whoever waits is served in the end, where nobody owns anything.
    drop(claimed.take());
    let waiting: Vec<usize> = (0..world.book.submissions.len())
        .filter(|number| world.book.submissions[*number].acked.is_none())
        .filter(|number| world.book.submissions[*number].items.len() as u64 <= quota)
        .collect();
    for number in waiting {
        let script = format!("lead; repeat {number}; keep; lead; keep; repeat {number}; lead");
        if let Err(Dead(why)) = world.run(&script) {
            return Err(fail(format!("died: {why}")));
        }
        if world.book.submissions[number].acked.is_none() {
            return Err(fail(format!("{number} is never taken\n{}", world.out)));
        }
    }
    drain_and_check(&mut world).map_err(|v| fail(format!("{v}\n{}", world.out)))
}

/// What went while the house was kept is on record, was the oldest, and was nobody's.
fn check_drops(
    world: &World,
    before: &BTreeMap<BatchId, (u64, bool)>,
    claimed: Option<&Claim>,
) -> Result<(), String> {
    let after = held(world);
    let gone: Vec<_> = before
        .iter()
        .filter(|(id, _)| !after.contains_key(id))
        .collect();
    let ledger = world.ledger();
    for (id, (seq, _)) in &gone {
        let is_on_record = |line: &&serde_json::Value| {
            line["id"] == id.to_string()
                && line["outcome"] == "dropped"
                && line["why"] == "overflow"
        };
        if ledger.iter().filter(is_on_record).count() != 1 {
            return Err(format!("batch {seq} is gone without a record"));
        }
        if claimed.is_some_and(|batch| batch.name.id == **id) {
            return Err(format!("batch {seq} was dropped under an attempt"));
        }
        let is_spared = |(other, (older, is_ready)): (&BatchId, &(u64, bool))| {
            let is_owned = claimed.is_some_and(|batch| batch.name.id == *other);
            *is_ready && before[other].1 && older < seq && !is_owned
        };
        let known = after.iter().filter(|(other, _)| before.contains_key(other));
        if let Some((_, (older, _))) = known.clone().find(|(id, at)| is_spared((id, at))) {
            return Err(format!("batch {seq} was dropped before {older}"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_script_drops_only_the_oldest_and_tells(
        quota in 4..12u64,
        max_items in 1..5u32,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        check(quota, max_items, &steps)?;
    }
}

#[test]
fn who_finds_a_batch_taken_that_cannot_be_dropped_is_told_to_look_again() {
    let mut world = World::started(dropping(4, 2));
    world
        .run("submit a 2 10; submit a 2 10; lead; keep; submit a 2 10; readonly")
        .unwrap();
    let kept = world.commit().keep().unwrap();
    assert!(kept.ready && !kept.made_room, "{kept:?}");
}

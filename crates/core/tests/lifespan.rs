//! Lifespans: exactly when a batch expires, by whom, and what is left of it; and batches that are made whole.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use batchd_core::env::Clock;
use batchd_core::env::sim::{EIO, Fault, OpKind};
use batchd_core::frame::checksum::crc32c;
use batchd_core::frame::{
    BatchId, FileHeader, FrameHeader, FrameKind, Key, OnExpire, QueueName, SealReason, codec,
    encode_body,
};
use batchd_core::policy::{ExpiryRules, Policy};
use batchd_core::queue::NotClaimed;
use batchd_core::spool::ReadyName;
use batchd_core::spool::ledger::Outcome;
use batchd_core::spool::writer::{Tail, control_header, items_header, put_frame, seal_of};
use insta::assert_snapshot;
use support::book::Book;
use support::world::{self, QUEUE, World, small};

const DAY: i64 = 86_400;

fn mortal(on_expire: OnExpire) -> Policy {
    Policy {
        lifespan: Some(Duration::from_secs(10)),
        on_expire,
        expiry: ExpiryRules {
            cleanup_interval: Some(Duration::from_secs(1)),
            is_parked: false,
        },
        ..small()
    }
}

/// A world that was started long enough ago for batches to expire.
fn started(policy: Policy) -> World {
    let mut world = World::started(policy);
    world.run("wait 1000").unwrap();
    world
}

/// What a script says on such a world.
fn run(policy: Policy, script: &str) -> String {
    world::run(policy, &format!("wait 1000; {script}"))
}

fn advance_micros(world: &World, micros: u64) {
    world.clock.advance(Duration::from_micros(micros));
}

#[test]
fn a_batch_expires_past_its_lifespan_and_not_at_it() {
    let mut world = started(mortal(OnExpire::Dead));
    world.run("create a 2 20; wait 10000").unwrap();
    let id = world.next_ready().unwrap().name.id;
    assert!(!world.touch(id).unwrap());
    world.run("clean").unwrap();
    assert!(world.commit().find_sealed(id).is_some());
    advance_micros(&world, 1);
    assert!(world.touch(id).unwrap());
    world.run("list; ledger").unwrap();
    assert_snapshot!(world.out, @"
    0 created as 1
    not expired
    expired
    dead 1: 0.0 0.1
    ledger 1: expired
    ");
}

#[test]
fn whoever_meets_it_first_expires_it() {
    let script = |who: &str| {
        format!(
            "submit a 4 20; lead; keep; wait 10001; submit a 4 20; lead; keep; {who}; list; ledger"
        )
    };
    let by = |who| run(mortal(OnExpire::Drop), &script(who));
    assert_snapshot!(by("touch; clean; deliver"), @"
    0 Kept(Synced)
    1 Kept(Synced)
    expired
    delivered 2: 1.0 1.1 1.2 1.3
    ledger 1: dropped
    ledger 2: delivered
    ");
    assert_snapshot!(by("clean; touch; deliver"), @"
    0 Kept(Synced)
    1 Kept(Synced)
    cleaned 1
    not expired
    delivered 2: 1.0 1.1 1.2 1.3
    ledger 1: dropped
    ledger 2: delivered
    ");
    assert_snapshot!(by("deliver; touch; clean"), @"
    0 Kept(Synced)
    1 Kept(Synced)
    expired 1
    not expired
    ready 2: 1.0 1.1 1.2 1.3
    ledger 1: dropped
    ");
}

#[test]
fn the_cleaner_goes_its_round_once_an_interval() {
    let mut world = started(mortal(OnExpire::Dead));
    assert_eq!(
        world.commit().clean().unwrap().next_due,
        Some(Duration::from_secs(1))
    );
    world.run("create a 1 20 300; wait 500; clean").unwrap();
    let due = world.commit().clean().unwrap().next_due;
    assert_eq!(due, Some(Duration::from_millis(500)));
    world.run("list; wait 500; clean; list").unwrap();
    assert_snapshot!(world.out, @"
    0 created as 1
    ready 1: 0.0
    cleaned 1
    dead 1: 0.0
    ");
}

#[test]
fn without_a_cleaner_batches_expire_at_access_alone() {
    let mut policy = mortal(OnExpire::Dead);
    policy.expiry.cleanup_interval = None;
    let mut world = started(policy);
    // The grace is then that of the default.
    world
        .run("create a 1 20; wait 58999; touch; wait 1")
        .unwrap();
    assert_eq!(world.commit().clean().unwrap().next_due, None);
    world.run("clean; list; touch; list").unwrap();
    assert_snapshot!(world.out, @"
    0 created as 1
    not expired
    ready 1: 0.0
    expired
    dead 1: 0.0
    ");
}

#[test]
fn nothing_expires_for_one_interval_after_a_start() {
    let script = "create a 1 20; wait 20000; reopen; wait 999; touch; clean; deliver; list";
    assert_snapshot!(run(mortal(OnExpire::Dead), script), @"
    0 created as 1
    not expired
    delivered 1: 0.0
    ");
    let script = "create a 1 20; wait 20000; reopen; wait 1000; clean; list";
    assert_snapshot!(run(mortal(OnExpire::Dead), script), @"
    0 created as 1
    cleaned 1
    dead 1: 0.0
    ");
}

#[test]
fn what_is_left_of_a_lifespan_goes_on_after_a_restart() {
    let script = "create a 1 20; wait 4000; reopen; wait 6000; touch; wait 1; touch";
    assert_snapshot!(run(mortal(OnExpire::Dead), script), @"
    0 created as 1
    not expired
    expired
    ");
}

#[test]
fn a_wall_clock_that_is_set_while_it_runs_changes_nothing() {
    let said = [-1, 1].map(|days| {
        let mut world = started(mortal(OnExpire::Dead));
        let wall = days * DAY;
        let script = format!(
            "create a 1 20; submit b 1 20; lead; wall {wall}; wait 10000; clean; touch; keep; list; wait 1; clean; \
             keep; wait 1000; clean; list"
        );
        world.run(&script).unwrap();
        world.out
    });
    assert_eq!(said[0], said[1]);
    assert_snapshot!(said[0], @"
    0 created as 1
    1 Kept(Synced)
    not expired
    open 2: 1.0
    ready 1: 0.0
    cleaned 2
    dead 1: 0.0
    dead 2: 1.0
    ");
}

#[test]
fn after_a_wall_clock_was_set_back_nothing_expires_until_it_has_caught_up() {
    let mut world = started(mortal(OnExpire::Dead));
    world.run("create a 1 20; wait 20000").unwrap();
    let before = world.next_ready().unwrap().name;
    world
        .run(&format!("wall -{DAY}; reopen; create a 1 20"))
        .unwrap();
    let after = world.commit().lock().ready().last().unwrap().name;
    assert!(after.seq > before.seq && after.id > before.id);
    world.run("wait 3600000; clean; touch; list").unwrap();
    assert_snapshot!(std::mem::take(&mut world.out), @"
    0 created as 1
    1 created as 2
    not expired
    ready 1: 0.0
    ready 2: 1.0
    ");
    // The boot-time clock says that it would have caught up by now.
    world
        .run(&format!("wait {}; clean; list", DAY * 1000))
        .unwrap();
    assert_snapshot!(std::mem::take(&mut world.out), @"
    cleaned 2
    dead 1: 0.0
    dead 2: 1.0
    ");
}

#[test]
fn a_wall_clock_that_was_set_forward_between_runs_costs_what_it_says() {
    let script = format!("create a 1 20; wall {DAY}; reopen; touch; wait 1000; touch");
    assert_snapshot!(run(mortal(OnExpire::Dead), &script), @"
    0 created as 1
    not expired
    expired
    ");
}

#[test]
fn an_open_batch_is_closed_at_the_end_of_its_lifespan() {
    let mut world = started(mortal(OnExpire::Dead));
    world.run("submit a 1 20; lead; wait 10000; keep").unwrap();
    let kept = world.commit().keep().unwrap();
    assert_eq!(kept.next_due, Some(Duration::from_micros(1)));
    world
        .run("list; wait 1; keep; list; deliver; list; ledger")
        .unwrap();
    assert_snapshot!(world.out, @"
    0 Kept(Synced)
    open 1: 0.0
    ready 1: 0.0
    expired 1
    dead 1: 0.0
    ledger 1: expired
    ");
}

#[test]
fn an_open_batch_that_is_over_takes_nothing_more() {
    let script =
        "submit a 1 20; lead; wait 10001; submit a 1 20; lead; keep; list; deliver; deliver; list";
    assert_snapshot!(run(mortal(OnExpire::Drop), script), @"
    0 Kept(Synced)
    1 Kept(Synced)
    open 2: 1.0
    ready 1: 0.0
    expired 1
    open 2: 1.0
    ");
}

#[test]
fn an_open_batch_expires_when_it_is_asked_for() {
    let mut world = started(mortal(OnExpire::Dead));
    world.run("submit a 1 20; lead; wait 10001").unwrap();
    let id = world.commit().lock().open_views()[0].header.id;
    assert!(world.touch(id).unwrap());
    world.run("list").unwrap();
    assert_snapshot!(world.out, @"
    0 Kept(Synced)
    expired
    dead 1: 0.0
    ");
}

#[test]
fn a_batch_that_runs_out_during_its_attempt_is_delivered() {
    let mut world = started(mortal(OnExpire::Dead));
    world.run("create a 2 20").unwrap();
    let commit = world.commit();
    let claim = commit.claim_next().unwrap();
    let file = commit.open_sealed(&claim).unwrap();
    world.clock.advance(Duration::from_secs(11));
    // Neither the cleaner nor a reader takes it from under the attempt.
    assert_eq!(commit.clean().unwrap().expired, 0);
    assert!(commit.expire_at_access(claim.name.id).unwrap());
    assert_eq!(commit.claim(claim.name.id).unwrap_err(), NotClaimed::Taken);
    commit
        .finish(&claim, Outcome::Delivered, &file.inspect())
        .unwrap();
    drop(claim);
    let counters = world.commit().lock().counters();
    assert_eq!(
        (counters.batches_delivered, counters.batches_expired),
        (1, 0)
    );
    world.run("wait 1000; clean; list; ledger").unwrap();
    assert_snapshot!(world.out, @"
    0 created as 1
    ledger 1: delivered
    ");
}

#[test]
fn a_batch_that_ran_out_during_a_failed_attempt_expires_with_its_last_error() {
    let mut world = started(mortal(OnExpire::Dead));
    world.run("create a 2 20").unwrap();
    let batch = world.next_ready().unwrap();
    world.commit().note_failure(&batch, 3, "no route");
    world.run("wait 10001; clean").unwrap();
    let batch = *world.commit().lock().dead().next().unwrap();
    let verdict = world.read(&batch).unwrap().0.verdict.unwrap();
    assert_eq!(
        (verdict.attempts, verdict.last_error.as_str()),
        (3, "no route")
    );
}

#[test]
fn a_parked_queue_lets_nothing_expire() {
    let mut world = started(mortal(OnExpire::Drop));
    world.run("create a 2 20; submit b 1 20; lead").unwrap();
    world.policy.expiry.is_parked = true;
    world
        .run("reopen; wait 100000; clean; keep; touch; list")
        .unwrap();
    assert_eq!(world.commit().clean().unwrap().next_due, None);
    assert_snapshot!(world.out, @"
    0 created as 1
    1 Kept(Synced)
    not expired
    open 2: 1.0
    ready 1: 0.0 0.1
    ");
}

/// A sealed batch of one item, as bytes, with its name.
fn sealed_batch(seq: u64, on_expire: OnExpire, expires_at: u64) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    encode_body(None, std::iter::once(&b"item"[..]), &mut body);
    let id = BatchId::new(expires_at / 1000 - 10_000, {
        let [.., a, b] = seq.to_be_bytes();
        [0, 0, 0, 0, 0, 0, 0, 0, a, b]
    });
    let header = FileHeader {
        id,
        seq,
        created_at: expires_at - 10_000_000,
        lifespan: Some(Duration::from_secs(10)),
        on_expire,
        queue: QueueName::new("q").unwrap(),
        key: Key::default(),
    };
    let mut bytes = header.encode().to_vec();
    let mut tail = Tail::after_header(&header.encode());
    let frame = FrameHeader {
        body_bytes: u32::try_from(body.len()).unwrap(),
        body_crc: crc32c(&body),
        ..items_header(1)
    };
    let frame = tail.push(id, frame, &body, 4, 0);
    put_frame(&mut bytes, &frame, &body);
    let seal = codec::encode(&seal_of(&header, &tail, SealReason::Flush, 1, Vec::new()));
    let frame = tail.push(id, control_header(FrameKind::Seal, &seal, 1), &seal, 0, 0);
    put_frame(&mut bytes, &frame, &seal);
    let name = ReadyName {
        seq,
        items: 1,
        bytes: 4,
        expires_at,
        id,
    };
    (name.to_string(), bytes)
}

#[test]
fn ten_thousand_batches_expire_at_once_in_groups() {
    const BATCHES: u64 = 10_000;
    for on_expire in [OnExpire::Dead, OnExpire::Drop] {
        let empty = started(mortal(on_expire));
        let mut image = empty.disk.live_image();
        let now = empty.clock.wall_micros();
        for seq in 1..=BATCHES {
            let (name, bytes) = sealed_batch(seq, on_expire, now);
            image.write(format!("{QUEUE}/ready/{name}"), bytes).unwrap();
        }
        let mut world = World::after(&image, mortal(on_expire), Book::default(), 7);
        world.start().unwrap();
        world.run("wait 2000").unwrap();
        let syncs = |world: &World| {
            let log = world.disk.op_log();
            log.lines().filter(|line| line.starts_with("sync")).count() as u64
        };
        let before = syncs(&world);
        let (mut looks, mut expired) = (0, 0);
        loop {
            let cleaned = world.commit().clean().unwrap();
            // What one look does is bounded.
            assert!(cleaned.expired <= 64);
            expired += cleaned.expired;
            looks += 1;
            if cleaned.next_due != Some(Duration::ZERO) {
                break;
            }
        }
        assert_eq!(expired, BATCHES);
        let queue = world.commit().lock();
        let counters = queue.counters();
        assert_eq!(
            (queue.ready().count(), counters.batches_expired),
            (0, BATCHES)
        );
        let is_drop = on_expire == OnExpire::Drop;
        assert_eq!(counters.batches_dropped, if is_drop { BATCHES } else { 0 });
        drop(queue);
        let each = if is_drop { 0 } else { BATCHES };
        assert!(
            syncs(&world) - before <= each + 3 * looks,
            "syncs of groups"
        );
    }
}

#[test]
fn a_file_that_is_gone_does_not_hold_up_the_cleaner() {
    let mut world = started(mortal(OnExpire::Drop));
    world.run("create a 1 20; create a 1 20").unwrap();
    let path = {
        let batch = world.next_ready().unwrap();
        world.commit().layout().sealed(&batch)
    };
    world.commit().env().fs.unlink(&path).unwrap();
    world.run("wait 11000").unwrap();
    assert_eq!(world.commit().clean().unwrap().expired, 2);
    world.run("list; ledger").unwrap();
    assert_snapshot!(world.out, @"
    0 created as 1
    1 created as 2
    ledger 1: removed
    ledger 2: dropped
    ");
}

#[test]
fn an_expiring_batch_that_is_damaged_keeps_every_byte() {
    let world = started(mortal(OnExpire::Dead));
    let empty = world.disk.live_image();
    let (name, good) = sealed_batch(1, OnExpire::Dead, world.clock.wall_micros());
    // A frame of items, and the seal: any byte of either is bad, or one of each.
    for at in (512..good.len()).step_by(3) {
        for seal_is_bad in [false, true] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let last = bytes.len() - 9;
            bytes[last] ^= u8::from(seal_is_bad);
            let mut image = empty.clone();
            image
                .write(format!("{QUEUE}/ready/{name}"), bytes.clone())
                .unwrap();
            let mut world = World::after(&image, mortal(OnExpire::Dead), Book::default(), 7);
            world.start().unwrap();
            world.run("wait 2000; clean").unwrap();
            let image = world.disk.live_image();
            let dead = image.read(format!("{QUEUE}/dead/{name}")).unwrap();
            assert!(dead.starts_with(&bytes), "{at}, {seal_is_bad}");
            let batch = *world.commit().lock().dead().next().unwrap();
            let (inspection, _) = world.read(&batch).unwrap();
            assert!(inspection.verdict.is_some(), "{at}, {seal_is_bad}");
        }
    }
}

#[test]
fn what_becomes_of_those_behind_is_no_failure_of_the_batch_that_expired() {
    let mut world = started(mortal(OnExpire::Dead));
    world
        .run("create a 1 20; create a 1 20; wait 11000")
        .unwrap();
    world.disk.fail_nth(OpKind::Rename, 2, Fault::once(EIO));
    let first = world.commit().claim_next().unwrap();
    world.commit().expire_from(&first).unwrap();
    drop(first);
    world.disk.fail_nth(OpKind::Rename, 1, Fault::once(EIO));
    let second = world.commit().claim_next().unwrap();
    world.commit().expire_from(&second).unwrap_err();
}

#[test]
fn a_read_only_disk_ends_the_round_of_the_cleaner() {
    let mut world = started(mortal(OnExpire::Dead));
    for _ in 0..70 {
        world.run("create a 1 20").unwrap();
    }
    world.run("wait 11000; readonly").unwrap();
    let cleaned = world.commit().clean().unwrap();
    assert_eq!(cleaned.expired, 0);
    assert_eq!(cleaned.next_due, Some(Duration::from_secs(1)));
    world.run("heal; wait 1000; clean").unwrap();
    assert!(world.out.ends_with("cleaned 70\n"), "{}", world.out);
}

#[test]
fn a_batch_that_cannot_be_ended_now_does_not_hold_up_the_others() {
    let mut world = started(mortal(OnExpire::Dead));
    world
        .run("create a 1 20; create a 1 20; create a 1 20; wait 11000")
        .unwrap();
    world.disk.fail_nth(OpKind::Rename, 2, Fault::once(EIO));
    assert_eq!(world.commit().clean().unwrap().expired, 2);
    world.run("list; wait 1000; clean; list; ledger").unwrap();
    assert_snapshot!(world.out, @"
    0 created as 1
    1 created as 2
    2 created as 3
    ready 2: 1.0
    dead 1: 0.0
    dead 3: 2.0
    cleaned 1
    dead 1: 0.0
    dead 2: 1.0
    dead 3: 2.0
    ledger 1: expired
    ledger 3: expired
    ledger 2: expired
    ");
}

#[test]
fn a_full_disk_parts_no_batch_from_what_is_known_of_it() {
    for room in (0..900).step_by(20) {
        let mut world = started(mortal(OnExpire::Dead));
        world.run("create a 1 300; create a 1 20").unwrap();
        // A batch keeps what it was begun with, so that one group holds both kinds.
        world.policy.on_expire = OnExpire::Drop;
        world
            .run("reopen; create a 1 20; create a 1 300; wait 10001")
            .unwrap();
        world
            .run(&format!("full {room}; clean; heal; wait 1000; clean"))
            .unwrap();
        let counters = world.commit().lock().counters();
        assert_eq!(
            (counters.batches_expired, counters.batches_dropped),
            (4, 2),
            "{room}"
        );
        assert_eq!(world.commit().lock().dead().count(), 2, "{room}");
        world.out.clear();
        world.run("ledger").unwrap();
        assert!(!world.out.contains("removed"), "{room}: {}", world.out);
        assert_eq!(
            world.out.matches("dropped").count(),
            2,
            "{room}: {}",
            world.out
        );
    }
}

#[test]
fn a_full_disk_puts_expiry_off() {
    let script = "create a 4 300; wait 10001; full 0; clean; touch; list; heal; clean; wait 1000; clean; list";
    assert_snapshot!(run(mortal(OnExpire::Dead), script), @"
    0 created as 1
    expired
    ready 1: 0.0 0.1 0.2 0.3
    cleaned 1
    dead 1: 0.0 0.1 0.2 0.3
    ");
    assert_snapshot!(run(mortal(OnExpire::Drop), script), @"
    0 created as 1
    expired
    ready 1: 0.0 0.1 0.2 0.3
    cleaned 1
    ");
}

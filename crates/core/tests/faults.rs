//! A medium that fails and a disk that is full, at every call at which they can.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use batchd_core::env::sim::{EIO, ENOSPC, Fault, Limits, OpKind};
use batchd_core::frame::OnExpire;
use batchd_core::policy::{ExpiryRules, Policy};
use batchd_core::queue::{Claim, Commit, FinishError};
use batchd_core::spool::ledger::Outcome;
use support::book::{Kind, Violation};
use support::crash::{check_state, drain_and_check};
use support::world::{Dead, World, small};

/// Groups, parts, two keys, seals, deliveries, a wait for what is only written, a clean stop.
const SCRIPT: &str = "submit a 3 300; submit b 1 200; lead; keep; deliver; submit a 3 400; lead; keep; \
    submit b 2 400 written; lead; wait 500; keep; lead; submit b 2 100; lead; keep; deliver all; \
    submit a 1 100; lead; submit a 2 700; submit a 1 50 end; lead; keep; deliver; stop";

/// Fails the n-th sync, for every n, and checks what is there after a crash at that moment, after a restart that
/// reads what the medium never got, and after a crash that follows on that.
fn fail_each_sync(kind: OpKind, fault: &Fault) {
    let mut died = 0;
    for (nth, evict) in (1..).flat_map(|nth| [(nth, false), (nth, true)]) {
        let mut world = World::started(small());
        world.disk.fail_nth(kind, nth, fault.clone());
        let result = world.run(SCRIPT);
        if world.disk.faults_struck() == 0 {
            assert!(died > 6);
            return;
        }
        died += u64::from(result.is_err());
        world.commit = None;
        let check = |result: Result<(), Violation>| {
            if let Err(violation) = result {
                panic!("{kind:?} {nth}: {violation}\n{}", world.disk.op_log());
            }
        };
        let limits = Limits {
            random_states: 4,
            cuts_per_write: 4,
            ..Limits::default()
        };
        for image in world.disk.crash_states(&limits) {
            check(check_state(&small(), &image, &world.book));
        }
        // The process is started again. The page cache still shows what the medium never got, or is gone.
        world.disk.heal();
        if evict {
            world.disk.evict_clean_pages();
        }
        world.start().unwrap();
        let after = world.disk.durable_image();
        if let Err(violation) =
            check_state(&small(), &after, &world.book).and_then(|()| drain_and_check(&mut world))
        {
            panic!(
                "{kind:?} {nth}, evicted: {evict}: {violation}\n{}",
                world.disk.op_log()
            );
        }
    }
}

#[test]
fn a_sync_fails_and_loses_everything_since_the_last() {
    fail_each_sync(OpKind::SyncData, &Fault::once(EIO).losing_pages(0));
}

#[test]
fn a_sync_fails_and_loses_a_part() {
    fail_each_sync(OpKind::SyncData, &Fault::once(EIO).losing_pages(600));
}

#[test]
fn a_directory_sync_fails() {
    fail_each_sync(OpKind::SyncDir, &Fault::once(EIO));
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync() {
    for nth in 1..4 {
        let mut world = World::started(small());
        world
            .disk
            .fail_nth(OpKind::SyncData, nth, Fault::once(EIO).losing_pages(0));
        let mut failed = false;
        for _ in 0..6 {
            let number = world.book.submit("a", 1, 100, false);
            world.begin(number, batchd_core::queue::Ack::Synced);
            let died = world.lead().is_err();
            assert!(!failed || died, "led after a failed sync");
            failed |= died;
            assert_eq!(failed, world.book.submissions[number].acked.is_none());
        }
        assert!(failed);
    }
}

/// Two batches that have expired; the end of the first cannot be made durable, since the n-th sync fails. From there
/// on nobody writes or syncs, whoever comes, and the stop is none that is clean.
#[track_caller]
fn check_broken(
    on_expire: OnExpire,
    (kind, nth): (OpKind, u64),
    end: impl Fn(&Commit<usize>, &Claim) -> Result<(), FinishError>,
) {
    let mut world = World::started(Policy {
        lifespan: Some(Duration::from_secs(10)),
        on_expire,
        expiry: ExpiryRules {
            cleanup_interval: Some(Duration::from_secs(1)),
            is_parked: false,
        },
        ..small()
    });
    let batch = "submit a 4 20; lead; keep";
    world
        .run(&format!("wait 1000; {batch}; {batch}; wait 10001"))
        .unwrap();
    let commit = world.commit();
    let [first, second] = [(); 2].map(|()| commit.claim_oldest().unwrap());
    world.disk.fail_nth(kind, nth, Fault::once(EIO));
    assert!(matches!(end(commit, &first), Err(FinishError::Broken(_))));
    let before = world.disk.op_log().lines().count();
    assert!(matches!(end(commit, &second), Err(FinishError::Broken(_))));
    commit.keep().unwrap_err();
    commit.clean().unwrap_err();
    commit.close().unwrap_err();
    let log = world.disk.op_log();
    let more = log.lines().skip(before);
    let bad: Vec<_> = more
        .filter(|call| call.starts_with("write") || call.starts_with("sync"))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn nothing_is_written_after_the_end_of_a_batch_was_not_synced() {
    let data = |nth| (OpKind::SyncData, nth);
    check_broken(OnExpire::Dead, data(1), |commit, claim| {
        let inspection = commit.open_sealed(claim).unwrap().inspect();
        commit.finish(claim, Outcome::Delivered, &inspection)
    });
    check_broken(OnExpire::Dead, data(1), |commit, claim| {
        commit.give_up(claim, "gone")
    });
    let expire = |commit: &Commit<usize>, claim: &Claim| commit.expire_from(claim);
    check_broken(OnExpire::Drop, data(1), expire);
    // The verdict, its name in dead/, and the line in the ledger.
    check_broken(OnExpire::Dead, data(1), expire);
    check_broken(OnExpire::Dead, (OpKind::SyncDir, 1), expire);
    check_broken(OnExpire::Dead, data(2), expire);
}

/// Runs the script on a disk that refuses; nothing may die of it. Then heals the disk, and all must be there.
fn check_full(what: &str, mut world: World, script: &str) {
    let check = |world: &World, result: Result<(), Violation>| {
        if let Err(violation) = result {
            panic!(
                "{what}: {violation}\n{}\n{}",
                world.out,
                world.disk.op_log()
            );
        }
    };
    if let Err(Dead(why)) = world.run(script) {
        let violation = Violation::new(Kind::Start, format!("died of a full disk: {why}"));
        check(&world, Err(violation));
    }
    let acked = world
        .out
        .lines()
        .filter(|line| line.contains("Kept"))
        .count();
    assert!(acked < 20);
    assert!(!world.out.contains("Unknown"), "{what}: {}", world.out);
    world.commit = None;
    let durable = world.disk.durable_image();
    check(&world, check_state(&small(), &durable, &world.book));
    world.run("heal").unwrap();
    world.start().unwrap();
    let result = drain_and_check(&mut world);
    check(&world, result);
}

#[test]
fn each_call_finds_no_space_once() {
    for kind in [
        OpKind::Write,
        OpKind::Create,
        OpKind::SetLen,
        OpKind::Rename,
        OpKind::Link,
    ] {
        for bytes in [0, 37, 700] {
            for nth in 1.. {
                let world = World::started(small());
                let disk = world.disk.clone();
                disk.fail_nth(kind, nth, Fault::once(ENOSPC).after_bytes(bytes));
                check_full(&format!("{kind:?} {nth}"), world, SCRIPT);
                if disk.faults_struck() == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn each_call_finds_no_space_from_then_on() {
    for nth in 1.. {
        let world = World::started(small());
        let disk = world.disk.clone();
        for kind in [OpKind::Write, OpKind::Create] {
            disk.fail_nth(kind, nth, Fault::from_then_on(ENOSPC).after_bytes(100));
        }
        check_full(&format!("from {nth} on"), world, SCRIPT);
        if disk.faults_struck() == 0 {
            break;
        }
    }
}

#[test]
fn the_disk_fills_up_at_every_size() {
    for room in (0..12_000).step_by(50).chain((60_000..80_000).step_by(500)) {
        let world = World::started(small());
        world
            .disk
            .set_capacity(Some(world.disk.bytes_used() + room));
        check_full(&format!("room for {room}"), world, SCRIPT);
    }
}

#[test]
fn a_full_disk_does_not_keep_the_spool_from_starting() {
    for room in (0..6_000).step_by(100) {
        let mut world = World::started(small());
        world
            .run("submit a 3 300; lead; submit a 3 200; submit b 2 100; lead; keep; deliver; submit a 1 80; lead")
            .unwrap();
        world.commit = None;
        world
            .disk
            .set_capacity(Some(world.disk.bytes_used() + room));
        if let Err(Dead(why)) = world.start() {
            panic!("room for {room}: {why}");
        }
        world
            .run("repeat 0; repeat 1; repeat 2; repeat 3; lead; keep; deliver")
            .unwrap();
        assert!(!world.out.contains("Unknown"), "{}", world.out);
        world.commit = None;
        world.run("heal").unwrap();
        world.start().unwrap();
        if let Err(violation) = drain_and_check(&mut world)
            // What is parked goes out when there is room, which is after what could be taken meanwhile.
            && violation.kind != Kind::Order
        {
            panic!(
                "room for {room}: {violation}\n{}\n{}",
                world.out,
                world.disk.op_log()
            );
        }
    }
}

#[test]
fn a_torn_tail_that_finds_no_room_leaves_it_to_the_copy() {
    let mut world = World::started(small());
    world.run("submit a 1 100; lead").unwrap();
    world.commit = None;
    let mut image = world.disk.live_image();
    let is_written = |path: &String| image.read(path).unwrap().first() == Some(&b'b');
    let mut open = image.files().into_iter().filter(|p| p.contains("/open/"));
    let path = open.find(is_written).unwrap();
    let mut bytes = image.read(&path).unwrap();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes.extend([0x5a; 20_000]);
    image.write(&path, bytes).unwrap();
    let mut world = World::after(&image, small(), world.book.clone(), 2);
    // For the copy, and not for what is torn.
    world
        .disk
        .set_capacity(Some(world.disk.bytes_used() + 10_000));
    world.start().unwrap();
    drain_and_check(&mut world).unwrap();
    assert_eq!(world.files_in("spool/quarantine"), Vec::<String>::new());
}

#[test]
fn nothing_is_synced_after_a_failed_sync() {
    let mut world = World::started(small());
    world
        .run("submit a 1 100; submit b 1 100 written; lead; submit a 1 100")
        .unwrap();
    world
        .disk
        .fail_nth(OpKind::SyncData, 1, Fault::once(EIO).losing_pages(0));
    world.lead().unwrap_err();
    let calls = world.disk.op_count();
    world.commit().flush();
    world.commit().keep().unwrap_err();
    world.lead().unwrap_err();
    world.commit().close().unwrap_err();
    assert_eq!(world.disk.op_count(), calls, "{}", world.disk.op_log());
}

/// A spool with open batches and ready ones, in which everything is acknowledged.
fn filled() -> World {
    let mut world = World::started(small());
    world
        .run("submit a 3 300; submit b 1 200; lead; submit a 3 400; lead; keep; submit b 2 900; lead; submit a 1 60; lead")
        .unwrap();
    world.commit = None;
    world.disk.sync_all();
    world
}

/// Fails each call of a kind at start. What is not given out is in quarantine, or comes out after the next start.
fn fail_each_at_start(kind: OpKind, errno: i32) {
    for nth in 1.. {
        let mut world = filled();
        world.disk.fail_nth(kind, nth, Fault::once(errno));
        let started = world.start();
        if world.disk.faults_struck() == 0 {
            assert!(nth > 5);
            return;
        }
        world.disk.heal();
        if started.is_err() {
            world.start().unwrap();
        } else {
            world.drain().unwrap();
        }
        world.start().unwrap();
        world.drain().unwrap();
        let given: Vec<_> = world
            .book
            .sink
            .iter()
            .flat_map(|d| d.items.clone())
            .collect();
        let image = world.disk.live_image();
        for item in world.book.submissions.iter().flat_map(|s| &s.items) {
            let is_in_quarantine = || {
                let mut files = image
                    .files()
                    .into_iter()
                    .filter(|p| p.contains("/quarantine/"));
                files.any(|path| {
                    image
                        .read(path)
                        .unwrap()
                        .windows(item.len())
                        .any(|w| w == item)
                })
            };
            assert!(
                given.contains(item) || is_in_quarantine(),
                "{kind:?} {nth}: {} is lost\n{}",
                item.escape_ascii(),
                world.disk.op_log()
            );
        }
    }
}

#[test]
fn a_read_error_at_start_loses_nothing() {
    fail_each_at_start(OpKind::Read, EIO);
}

#[test]
fn too_few_descriptors_at_start_lose_nothing() {
    const EMFILE: i32 = 24;
    fail_each_at_start(OpKind::Open, EMFILE);
    fail_each_at_start(OpKind::Len, EIO);
}

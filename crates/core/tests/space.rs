//! The room of a spool and of its queues: bounds, the ballast, a disk that cannot be written.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use batchd_core::env::sim::{ENOSPC, EROFS, Fault, OpKind, SimClock, SimDisk};
use batchd_core::policy::{Policy, Quota};
use batchd_core::spool::space::{MinFree, SpaceLimits, SpoolSpace};
use batchd_core::spool::{Layout, LockedSpool};
use insta::assert_snapshot;
use support::book::{Kind, Violation};
use support::crash::{check_state, drain_and_check};
use support::world::{Dead, SPOOL, World, run, small};

fn quota(items: Option<u64>, bytes: Option<u64>) -> Policy {
    Policy {
        quota: Quota { bytes, items },
        ..small()
    }
}

#[test]
fn a_quota_of_items_is_reached_and_never_crossed() {
    let script = "submit a 5 10; submit a 1 10; lead; submit b 1 10; keep; deliver; \
        submit b 4 10; submit a 1 10; lead; reopen; submit a 1 10; deliver all; submit a 4 10";
    assert_snapshot!(run(quota(Some(5), None), script), @r"
    1 refused: the queue holds 5 items, and 5 are allowed (`quota_items`): wait for deliveries, or raise it
    0 Kept(Synced)
    2 refused: the queue holds 5 items, and 5 are allowed (`quota_items`): wait for deliveries, or raise it
    delivered 1: 0.0 0.1 0.2 0.3
    4 refused: the queue holds 5 items, and 5 are allowed (`quota_items`): wait for deliveries, or raise it
    3 Kept(Synced)
    5 refused: the queue holds 5 items, and 5 are allowed (`quota_items`): wait for deliveries, or raise it
    delivered 3: 3.0 3.1 3.2 3.3
    ");
}

#[test]
fn a_quota_of_bytes_is_reached_and_never_crossed() {
    let script = "submit a 1 60; submit b 1 40; submit b 1 4; lead; reopen; submit b 1 4; \
        close; keep; deliver; submit b 2 30; submit b 1 4; submit b 1 101";
    assert_snapshot!(run(quota(None, Some(100)), script), @r"
    2 refused: the queue holds 100 bytes of items, and 100 are allowed (`quota_bytes`): wait for deliveries, or raise it
    0 Kept(Synced)
    1 Kept(Synced)
    3 refused: the queue holds 100 bytes of items, and 100 are allowed (`quota_bytes`): wait for deliveries, or raise it
    delivered 1: 0.0
    5 refused: the queue holds 100 bytes of items, and 100 are allowed (`quota_bytes`): wait for deliveries, or raise it
    6 refused: the submission is more than `quota_bytes` allows for all that waits, 100: send less at once, or raise it
    ");
}

#[test]
fn dead_batches_count_for_the_spool_and_not_for_the_queue() {
    let mut world = World::new(quota(Some(4), None));
    world.spool_bytes_max = 100;
    let script = "submit a 4 15; lead; keep; bury; submit a 4 10; lead; space; submit a 1 10; reopen; space; \
        keep; deliver; submit a 4 11; submit a 4 10; lead; submit a 1 10; space";
    assert_snapshot!(world.told(script), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    used 100, free 18446744073709551615, shortage: none
    2 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    used 100, free 18446744073709551615, shortage: none
    delivered 2: 1.0 1.1 1.2 1.3
    3 refused: the spool holds 60 bytes of items, of the 100 it may (`max_bytes` of [spool]): wait for deliveries, or raise it
    4 Kept(Synced)
    5 refused: the queue holds 4 items, and 4 are allowed (`quota_items`): wait for deliveries, or raise it
    used 100, free 18446744073709551615, shortage: none
    ");
}

#[test]
fn what_was_not_kept_takes_no_room() {
    let script = "full 0; submit a 3 100; lead; heal; space; submit a 5 100; lead; space; \
        submit a 1 10; repeat 1; space";
    assert_snapshot!(run(quota(Some(5), None), script), @r"
    0 Failed(NoSpace)
    used 0, free 18446744073709551615, shortage: none
    1 Kept(Synced)
    used 500, free 18446744073709551615, shortage: none
    2 refused: the queue holds 5 items, and 5 are allowed (`quota_items`): wait for deliveries, or raise it
    1 known
    used 500, free 18446744073709551615, shortage: none
    ");
}

#[test]
fn a_repeat_takes_room_for_what_is_missing() {
    // Three fit into the first batch with the one before; the other two find no room.
    let script = "submit a 1 10; lead; full 1000; submit a 5 300; lead; list; heal; repeat 1; lead; space; list";
    assert_snapshot!(run(quota(Some(6), Some(2000)), script), @r"
    0 Kept(Synced)
    1 Failed(NoSpace)
    open 1: 0.0 1.0 1.1 1.2
    closing 1: max_items
    1 Kept(Synced)
    used 1510, free 18446744073709551615, shortage: none
    open 1: 0.0 1.0 1.1 1.2
    open 3: 1.3 1.4
    closing 1: max_items
    ");
}

#[test]
fn what_is_low_refuses_and_delivers_and_resumes() {
    let mut world = World::new(small());
    world.min_free = MinFree::Bytes(4000);
    world.start().unwrap();
    world
        .disk
        .set_capacity(Some(world.disk.bytes_used() + 9_500));
    // The last answer of the disk is good for a while, but not for more than it promised.
    let script = "wait 100; submit a 4 400; lead; submit a 4 400; lead; submit a 4 400; lead; keep; \
        submit a 1 10; deliver; deliver; submit a 1 10; wait 100; submit a 1 10; lead; space";
    world.run(script).unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 refused: the file system of the spool is full: 5116 bytes are free, and 5600 must be (see `min_free`): make room, or wait for deliveries
    delivered 1: 0.0 0.1 0.2 0.3
    delivered 2: 1.0 1.1 1.2 1.3
    3 Kept(Synced)
    4 Kept(Synced)
    5 Kept(Synced)
    used 30, free 9072, shortage: none
    ");
}

#[test]
fn once_low_a_sixteenth_more_must_be_free() {
    let mut world = World::new(small());
    world.min_free = MinFree::Bytes(16_000);
    world.start().unwrap();
    let mut free = |bytes: u64| {
        let capacity = world.disk.bytes_used() + bytes;
        world.disk.set_capacity(Some(capacity));
        world.run("wait 100; submit a 1 10").unwrap();
    };
    free(15_999);
    free(16_900);
    free(18_000);
    assert_snapshot!(world.out, @r"
    0 refused: the file system of the spool is full: 15999 bytes are free, and 16000 must be (see `min_free`): make room, or wait for deliveries
    1 refused: the file system of the spool is full: 16900 bytes are free, and 17000 must be (see `min_free`): make room, or wait for deliveries
    ");
}

#[test]
fn too_few_files_to_be_made_are_a_want_of_room() {
    let mut world = World::new(small());
    world.min_free = MinFree::Bytes(1);
    world.start().unwrap();
    world.run("submit a 1 10; lead").unwrap();
    world.disk.set_free_inodes(Some(63));
    world.run("wait 100; submit a 1 10; keep").unwrap();
    world.disk.set_free_inodes(Some(64));
    world.run("wait 100; submit a 1 10; lead; space").unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 refused: the file system of the spool is full: 63 more files can be made, and 64 must be: remove some
    2 Kept(Synced)
    used 20, free 18446744073709551615, shortage: none
    ");
}

#[test]
fn what_nobody_sets_follows_from_the_size_of_the_file_system() {
    let bounds = |total: u64, min_free| {
        let disk = SimDisk::new();
        disk.mkdir_durable(SPOOL).unwrap();
        disk.set_capacity(Some(total));
        let env = disk.env(&SimClock::default(), 1);
        let spool = LockedSpool::open(env, Layout::new(SPOOL), "test").unwrap();
        let limits = SpaceLimits {
            max_bytes: None,
            min_free,
            ballast_bytes: 0,
        };
        let view = SpoolSpace::new(&spool, limits).view();
        (view.max_bytes, view.min_free_bytes)
    };
    let (mib, gib) = (1 << 20, 1 << 30);
    assert_eq!(bounds(100 * mib, MinFree::Default), (10 * mib, 5 * mib));
    assert_eq!(bounds(20 * gib, MinFree::Default), (2 * gib, gib));
    assert_eq!(bounds(400 * gib, MinFree::Default), (10 * gib, gib));
    assert_eq!(bounds(400 * gib, MinFree::Off), (10 * gib, 0));
    assert_eq!(bounds(200 * mib, MinFree::Percent(7)).1, 2 * mib * 7);
    assert_eq!(bounds(200 * mib, MinFree::Bytes(9)).1, 9);
}

#[test]
fn the_ballast_makes_room_for_a_seal_and_a_record() {
    let mut world = World::new(small());
    world.ballast_bytes = 4096;
    let script = "tend; submit a 3 300; lead; full 0; close; keep; list; space; submit a 1 10; deliver all; ledger; \
        wait 100; tend; submit a 1 10; heal; tend; space; submit a 1 10; lead; list";
    assert_snapshot!(world.told(script), @r"
    0 Kept(Synced)
    ready 1: 0.0 0.1 0.2
    used 900, free 4096, shortage: the file system of the spool was full: 4096 bytes are free, and 8192 must be before anything new is taken: make room, or wait for deliveries
    1 refused: the file system of the spool was full: 4096 bytes are free, and 8192 must be before anything new is taken: make room, or wait for deliveries
    delivered 1: 0.0 0.1 0.2
    ledger 1: delivered
    2 refused: the file system of the spool was full: 5371 bytes are free, and 8192 must be before anything new is taken: make room, or wait for deliveries
    used 0, free 18446744073709551615, shortage: none
    3 Kept(Synced)
    open 2: 3.0
    ");
}

#[test]
fn the_ballast_makes_room_for_a_recovery() {
    let with = |ballast_bytes| {
        let mut world = World::new(small());
        world.ballast_bytes = ballast_bytes;
        world.disk.set_capacity(Some(1 << 20));
        world.start().unwrap();
        world
            .run("tend; submit a 3 300; lead; submit b 3 900; lead")
            .unwrap();
        let env = world.disk.env(&world.clock, 1);
        let room = (1 << 20) - world.disk.bytes_used();
        let filler = env.fs.create_new("/filler".as_ref()).unwrap();
        filler.set_len(room).unwrap();
        world
            .run("reopen; list; space; close; keep; deliver all")
            .unwrap();
        world.out
    };
    assert_snapshot!(with(6000), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    open 1: 0.0 0.1 0.2
    open 2: 1.0 1.1 1.2
    used 3600, free 6000, shortage: the file system of the spool was full: 6000 bytes are free, and 12000 must be before anything new is taken: make room, or wait for deliveries
    delivered 1: 0.0 0.1 0.2
    delivered 2: 1.0 1.1 1.2
    ");
    // Too small for the larger one, which stays where it is until there is room.
    assert_snapshot!(with(2000), @r"
    0 Kept(Synced)
    1 Kept(Synced)
    open 1: 0.0 0.1 0.2
    used 900, free 2000, shortage: the file system of the spool was full: 2000 bytes are free, and 4000 must be before anything new is taken: make room, or wait for deliveries
    delivered 1: 0.0 0.1 0.2
    ");
}

#[test]
fn a_ballast_is_kept_across_a_restart_and_half_of_one_is_not() {
    let mut world = World::new(small());
    world.ballast_bytes = 3 << 20;
    world.start().unwrap();
    let len = |world: &World| {
        let image = world.disk.live_image();
        image
            .read("spool/ballast")
            .map(|bytes| bytes.len())
            .unwrap_or_default()
    };
    // A piece at a time.
    assert!(world.commit().space().tend().is_some());
    assert_eq!(len(&world), 1 << 20);
    world.run("crash").unwrap();
    assert_eq!(len(&world), 0, "it is not whole, and goes");
    world.run("tend").unwrap();
    assert_eq!(len(&world), 3 << 20);
    world.disk.sync_all();
    world.run("crash").unwrap();
    assert_eq!(len(&world), 3 << 20);
    let calls = world.disk.op_count();
    world.run("tend").unwrap();
    assert_eq!(world.disk.op_count(), calls, "it is there already");
    // With another size it is made anew; with none it goes.
    world.ballast_bytes = 1 << 20;
    world.run("reopen; tend").unwrap();
    assert_eq!(len(&world), 1 << 20);
    world.ballast_bytes = 0;
    world.run("reopen; tend").unwrap();
    assert_eq!(len(&world), 0);
}

const SCRIPT: &str = "tend; submit a 3 300; submit b 1 200; lead; keep; deliver; submit a 3 400; lead; tend; keep; \
    submit b 2 400 written; lead; wait 500; keep; lead; submit b 2 100; lead; keep; tend; deliver all; bury; \
    submit a 1 100; lead; submit a 2 700; submit a 1 50 end; lead; keep; bury; tend; deliver; stop";

/// A started world with a ballast and something that must stay free.
fn reserved() -> World {
    let mut world = World::new(small());
    world.ballast_bytes = 2048;
    world.min_free = MinFree::Bytes(1000);
    world.start().unwrap();
    world
}

#[track_caller]
fn check(what: &str, world: &World, result: Result<(), Violation>) {
    if let Err(violation) = result {
        panic!(
            "{what}: {violation}\n{}\n{}",
            world.out,
            world.disk.op_log()
        );
    }
}

/// Heals the disk after a script, dead or not; then all that was acknowledged is there, also after a crash.
fn check_healed(what: &str, mut world: World) {
    assert!(!world.out.contains("damaged"), "{what}: {}", world.out);
    world.commit = None;
    world.disk.heal();
    world.disk.set_read_only(false);
    world.disk.set_capacity(None);
    let durable = world.disk.durable_image();
    check(what, &world, check_state(&small(), &durable, &world.book));
    world.start().unwrap();
    let result = drain_and_check(&mut world);
    check(what, &world, result);
}

#[track_caller]
fn expect_alive(what: &str, world: &mut World, script: &str) {
    if let Err(Dead(why)) = world.run(script) {
        let violation = Violation::new(Kind::Start, format!("died: {why}"));
        check(what, world, Err(violation));
    }
    assert!(!world.out.contains("Unknown"), "{what}: {}", world.out);
}

#[test]
fn with_a_ballast_each_call_may_find_no_space() {
    for kind in [
        OpKind::Write,
        OpKind::Create,
        OpKind::SetLen,
        OpKind::Rename,
    ] {
        for fault in [Fault::once(ENOSPC), Fault::from_then_on(ENOSPC)] {
            for nth in 1.. {
                // A cut that finds no space is none.
                if kind == OpKind::SetLen && nth > 1 {
                    break;
                }
                let mut world = reserved();
                let disk = world.disk.clone();
                disk.fail_nth(kind, nth, fault.clone().after_bytes(37));
                expect_alive(&format!("{kind:?} {nth}"), &mut world, SCRIPT);
                let struck = disk.faults_struck();
                check_healed(&format!("{kind:?} {nth}"), world);
                if struck == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn with_a_ballast_the_disk_may_fill_up_at_every_size() {
    for room in (0..16_000)
        .step_by(100)
        .chain((60_000..80_000).step_by(1000))
    {
        let mut world = reserved();
        let used = world.disk.bytes_used();
        world.disk.set_capacity(Some(used + room));
        let what = format!("room for {room}");
        expect_alive(&what, &mut world, SCRIPT);
        check_healed(&what, world);
    }
}

#[test]
fn a_ballast_that_cannot_be_made_is_tried_again_later() {
    let mut world = World::new(small());
    world.ballast_bytes = 4096;
    world.start().unwrap();
    let quota = Fault::from_then_on(ENOSPC).only_in("ballast");
    world.disk.fail_nth(OpKind::Write, 1, quota);
    let tries = |world: &World| {
        let log = world.disk.op_log();
        log.lines()
            .filter(|line| line.starts_with("create spool/ballast"))
            .count()
    };
    world.run("tend; tend; wait 9000; tend").unwrap();
    assert_eq!(tries(&world), 1, "{}", world.disk.op_log());
    world.run("wait 1000; tend").unwrap();
    assert_eq!(tries(&world), 2);
    // Nothing is refused for want of what was never there.
    world
        .run("submit a 1 10; lead; heal; wait 10000; tend; space")
        .unwrap();
    assert!(world.disk.live_image().exists("spool/ballast"));
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    used 10, free 18446744073709551615, shortage: none
    ");
}

/// Between any two steps the disk becomes read-only, and some steps later it can be written again.
#[test]
fn a_disk_may_turn_read_only_between_any_two_steps() {
    let steps: Vec<&str> = SCRIPT.split(';').map(str::trim).collect();
    let last = steps.len() - 1;
    for from in 0..last {
        for to in from..last {
            let mut world = reserved();
            let what = format!("read-only from step {from} to {to}");
            let run = |world: &mut World, steps: &[&str]| {
                expect_alive(&what, world, &steps.join("; "));
            };
            run(&mut world, &steps[..from]);
            world.disk.set_read_only(true);
            let acked = world
                .book
                .submissions
                .iter()
                .filter(|s| s.acked.is_some())
                .count();
            run(&mut world, &steps[from..to]);
            let after = world
                .book
                .submissions
                .iter()
                .filter(|s| s.acked.is_some())
                .count();
            assert!(after <= acked + 1, "{what}: {}", world.out);
            run(&mut world, &["heal", "tend"]);
            world.clock.advance(std::time::Duration::from_secs(1));
            run(&mut world, &["tend"]);
            let taken = world.out.len();
            run(&mut world, &["submit a 1 10", "lead"]);
            assert!(world.out[taken..].contains("Kept"), "{what}: {}", world.out);
            run(&mut world, &steps[to..]);
            check_healed(&what, world);
        }
    }
}

/// In the middle of a group of several files it cannot be taken back: then the process ends, and knows nothing.
#[test]
fn a_write_that_is_refused_as_read_only_loses_nothing() {
    for bytes in [0, 37] {
        for nth in 1.. {
            let mut world = reserved();
            let disk = world.disk.clone();
            let fault = Fault::from_then_on(EROFS).after_bytes(bytes);
            disk.fail_nth(OpKind::Write, nth, fault);
            let what = format!("write {nth}, of it {bytes} bytes");
            let died = world.run(SCRIPT).is_err();
            let struck = disk.faults_struck();
            let may_die = bytes > 0 || world.out.contains("Unknown");
            assert!(!died || may_die, "{what}: {}", world.out);
            check_healed(&what, world);
            if struck == 0 {
                break;
            }
        }
    }
}

#[test]
fn a_read_only_disk_is_told_and_found_writable_again() {
    let mut world = World::started(small());
    let script = "submit a 1 10; lead; readonly; submit a 1 10; lead; space; submit b 1 10; lead; wait 100; space; \
        heal; space; tend; space; repeat 1; lead";
    world.run(script).unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Failed(ReadOnly)
    used 10, free 18446744073709551615, shortage: the file system of the spool is read-only
    2 refused: the file system of the spool is read-only
    used 10, free 18446744073709551615, shortage: the file system of the spool is read-only
    used 10, free 18446744073709551615, shortage: the file system of the spool is read-only
    used 10, free 18446744073709551615, shortage: none
    1 Kept(Synced)
    ");
}

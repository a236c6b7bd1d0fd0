//! Failing calls, full disks, lost pages and the power; clock and randomness.

use std::time::Duration;

use super::*;
use crate::env::Entropy;

#[test]
fn the_nth_call_of_a_kind_fails_once() {
    let disk = run("create d/x; create d/y");
    disk.fail_nth(OpKind::Write, 2, Fault::once(EIO));
    run_on(&disk, "write d/x 0 3 a; sync d/x");
    check_errno(step(&disk, "write d/y 0 3 a"), EIO);
    assert_eq!(disk.faults_struck(), 1);
    run_on(&disk, "write d/y 0 1 b");
    assert_eq!(render(&disk.live_image()), "d/x=3a d/y=1b");
}

#[test]
fn every_kind_can_fail() {
    let kinds = [
        (OpKind::Write, "write d/x 0 1 a"),
        (OpKind::SetLen, "set_len d/x 1"),
        (OpKind::SyncData, "sync d/x"),
        (OpKind::SyncDir, "sync_dir d"),
        (OpKind::Create, "create d/y"),
        (OpKind::Rename, "rename d/x d/y"),
        (OpKind::Link, "link d/x d/y"),
        (OpKind::Unlink, "unlink d/x"),
        (OpKind::Mkdir, "mkdir n"),
        (OpKind::Open, "sync d/x"),
    ];
    for (kind, line) in kinds {
        for set in [kind, OpKind::Any] {
            let disk = run("create d/x");
            disk.fail_nth(set, 1, Fault::once(30));
            if set.is_mutating() {
                let before = (disk.live_image(), disk.durable_image());
                check_errno(step(&disk, line), 30);
                assert_eq!((disk.live_image(), disk.durable_image()), before, "{line}");
            }
            disk.heal();
            run_on(&disk, line);
        }
    }
    let disk = run("create d/x");
    let file = open(&disk, "d/x");
    disk.fail_nth(OpKind::Open, 1, Fault::once(EIO));
    disk.fail_nth(OpKind::Read, 2, Fault::once(EIO));
    disk.fail_nth(OpKind::Len, 1, Fault::once(EIO));
    disk.fail_nth(OpKind::List, 1, Fault::once(EIO));
    assert_eq!(file.read_at(&mut [0], 0).expect("first"), 0);
    check_errno(file.read_at(&mut [0], 0), EIO);
    check_errno(file.len(), EIO);
    check_errno(disk.open_read(Path::new("d/x")), EIO);
    check_errno(disk.read_dir(Path::new("d")), EIO);
    assert_eq!(disk.op_count(), 1, "reads are not counted");
}

#[test]
fn a_lasting_fault_ends_when_healed_and_may_concern_some_files_only() {
    let disk = run("create d/x; create e/y");
    disk.fail_nth(OpKind::SyncData, 2, Fault::from_then_on(EIO).only_in("e/"));
    run_on(&disk, "sync e/y; sync d/x; sync d/x");
    check_errno(step(&disk, "sync e/y"), EIO);
    check_errno(step(&disk, "sync e/y"), EIO);
    run_on(&disk, "sync d/x");
    disk.heal();
    run_on(&disk, "sync e/y");
}

#[test]
fn a_failed_write_may_have_written_some() {
    let disk = run("create d/x");
    disk.fail_nth(OpKind::Write, 1, Fault::from_then_on(ENOSPC).after_bytes(2));
    check_errno(step(&disk, "write d/x 0 3 a"), ENOSPC);
    check_errno(step(&disk, "write d/x 2 3 b"), ENOSPC);
    assert_eq!(render(&disk.live_image()), "d/x=2a");
    assert_eq!(
        disk.op_log(),
        "create d/x\n\
         write d/x 0+3 = No space left on device (os error 28)\n\
         write d/x 2+3 = No space left on device (os error 28)\n"
    );
}

#[test]
fn a_failed_sync_loses_the_pages_and_the_next_sync_does_not_bring_them_back() {
    let disk = run("create d/x; write d/x 0 2 a; sync_all; write d/x 2 2 b; write d/x 4 2 c");
    disk.fail_nth(OpKind::SyncData, 1, Fault::once(EIO).losing_pages(0));
    check_errno(step(&disk, "sync d/x"), EIO);
    assert_eq!(disk.pending_count(), 0);
    run_on(&disk, "sync d/x");
    assert_eq!(render(&disk.live_image()), "d/x=2a,2b,2c");
    assert_eq!(crash_set(&disk), BTreeSet::from(["d/x=2a".to_owned()]));

    // What is written after it can be synced, over a gap.
    run_on(&disk, "write d/x 6 2 d; sync d/x");
    assert_eq!(
        crash_set(&disk),
        BTreeSet::from(["d/x=2a,4.,2d".to_owned()])
    );
    disk.evict_clean_pages();
    assert_eq!(render(&disk.live_image()), "d/x=2a,4.,2d");
}

#[test]
fn a_failed_sync_may_have_made_a_prefix_durable_or_nothing_clean() {
    for (kept, left) in [(1, "d/x=1b"), (3, "d/x=2b,1c"), (9, "d/x=2b,2c,2.")] {
        let disk = run("create d/x; sync_all");
        run_on(&disk, "write d/x 0 2 b; write d/x 2 2 c; set_len d/x 6");
        disk.fail_nth(OpKind::SyncData, 1, Fault::once(EIO).losing_pages(kept));
        check_errno(step(&disk, "sync d/x"), EIO);
        assert_eq!(crash_set(&disk), BTreeSet::from([left.to_owned()]));
    }
    let disk = run("create d/x; sync_all; write d/x 0 2 b");
    disk.fail_nth(OpKind::SyncData, 1, Fault::once(EIO));
    check_errno(step(&disk, "sync d/x"), EIO);
    assert_eq!(disk.pending_count(), 1);
    run_on(&disk, "sync d/x");
    assert_eq!(render(&disk.durable_image()), "d/x=2b");
}

#[test]
fn eviction_shows_what_is_pending_still() {
    let disk = run("create d/x; sync_all; write d/x 0 2 b");
    disk.fail_nth(OpKind::SyncData, 1, Fault::once(EIO).losing_pages(1));
    check_errno(step(&disk, "sync d/x"), EIO);
    run_on(&disk, "write d/x 3 1 c");
    disk.evict_clean_pages();
    assert_eq!(render(&disk.live_image()), "d/x=1b,2.,1c");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = run("create d/x; create d/y");
    disk.set_capacity(Some(10));
    run_on(&disk, "write d/x 0 6 a; set_len d/y 1");
    check_errno(step(&disk, "write d/x 4 6 b"), ENOSPC);
    assert_eq!(render(&disk.live_image()), "d/x=4a,5b d/y=1.");
    check_errno(step(&disk, "create d/z"), ENOSPC);
    check_errno(step(&disk, "link d/x d/z"), ENOSPC);
    check_errno(step(&disk, "mkdir n"), ENOSPC);
    check_errno(step(&disk, "set_len d/y 2"), ENOSPC);
    check_errno(step(&disk, "write d/y 5 1 a"), ENOSPC);
    // What takes no room succeeds, and what gives some back helps.
    run_on(
        &disk,
        "write d/x 0 9 c; rename d/y d/w; sync d/x; unlink d/w; create d/z",
    );
    assert_eq!(disk.bytes_used(), 9);
    disk.set_capacity(None);
    run_on(&disk, "write d/z 0 600 z");
}

#[test]
fn after_a_power_cut_nothing_is_executed() {
    let disk = run("create d/x");
    disk.power_cut_after(2);
    run_on(&disk, "write d/x 0 1 a");
    let file = open(&disk, "d/x");
    assert!(!disk.is_power_cut());
    run_on(&disk, "sync_dir d");
    assert!(disk.is_power_cut());
    for error in [
        file.write_all_at(b"b", 0).err(),
        file.sync_data().err(),
        file.read_at(&mut [0], 0).err(),
        file.len().err(),
        disk.read_dir(Path::new("d")).err(),
        disk.open(Path::new("d/x")).err(),
    ] {
        let error = error.expect("no power");
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (io::ErrorKind::Other, "power cut")
        );
    }
    assert_eq!(disk.op_count(), 3);
    assert_eq!(disk.op_log(), "create d/x\nwrite d/x 0+1\nsync_dir d\n");
    assert_eq!(render(&disk.live_image()), "d/x=1a");
    assert_eq!(render(&disk.durable_image()), "d/x=");
    let restarted = disk.durable_image().to_disk();
    run_on(&restarted, "write d/x 0 1 b");
}

#[test]
fn the_clocks_move_apart_and_are_shared() {
    let clock = SimClock::new(5_000_000, Duration::from_secs(1));
    let env = disk().env(&clock, 7);
    clock.advance(Duration::from_secs(2));
    clock.advance_boot(Duration::from_millis(1));
    clock.advance_wall(Duration::from_micros(3));
    assert_eq!(env.clock.wall_micros(), 7_000_003);
    assert_eq!(env.clock.boot(), Duration::from_millis(3001));
    clock.set_wall(1);
    clock.set_boot(Duration::ZERO);
    assert_eq!(
        (env.clock.wall_micros(), env.clock.boot()),
        (1, Duration::ZERO)
    );
}

#[test]
fn random_bytes_follow_from_the_seed() {
    let bytes = |seed| {
        let (entropy, mut buf) = (SimEntropy::new(seed), [0; 20]);
        entropy.fill(&mut buf);
        entropy.fill(&mut buf);
        buf
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

//! File systems that are filled up, by others and by the spool itself.

use std::fs::{self, File};

use batchd_protocol::ErrorCode;
use batchd_tests::{Disk, Kind, LONG, Launch, Site, lead_to, wait_until};

use crate::bench::{Producer, delivered, expect_well, flush};

const ITEM_BYTES: usize = 1000;
const RESERVE: &str = "min_free = \"1MiB\"\nballast = \"128KiB\"";
/// Batches of a few items, delivered as they come, and a queue whose batches stay.
const QUEUES: &str = "[queues.default]\nmax_items = 20\nmax_bytes = \"64KiB\"\nmax_age = \"off\"\n\
    [queues.stay]\nmax_bytes = \"1MiB\"\nsink = \"off\"\n";

/// A place whose spool is on that disk, and perhaps what is delivered too.
fn site_on(disk: &Disk, spool_settings: &str, with_target: bool) -> Site {
    let site = Site::new("");
    lead_to(&site.spool(), &disk.root().join("spool"));
    if with_target {
        lead_to(&site.out(), &disk.root().join("out"));
    }
    let config = format!("{QUEUES}{}", Site::lines_sink("default"));
    site.configure_spool(spool_settings, &config);
    site
}

fn expect_full((code, message): (ErrorCode, String)) {
    assert_eq!(code, ErrorCode::NoSpace, "{message}");
    assert!(message.contains("full"), "{message}");
}

/// A file of somebody else takes the room. What is there is delivered; what comes is refused, until the file goes.
#[track_caller]
fn check_filled_by_others(kind: Kind, with_target: bool) {
    let Some(disk) = Disk::mount(kind) else {
        return;
    };
    let site = site_on(&disk, RESERVE, with_target);
    let daemon = site.start();
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(50);
    let filler = disk.fill(700 << 10);
    expect_full(producer.submit_until_refused(1000));
    // Delivery goes on.
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    // People are told the same, and to try again.
    let refused = site.batchctl(["submit", "--timeout", "300ms"], b"no\n");
    let refused = refused.expect_code(75);
    assert!(refused.stderr.contains("full"), "{refused}");
    let status = site.batchctl(["status"], b"").success().text();
    assert!(status.contains("nothing is taken: "), "{status}");
    // A restart changes nothing.
    expect_well(&site, daemon);
    let daemon = site.start();
    let mut later = Producer::new(&site, "default", ITEM_BYTES);
    expect_full(later.submit_until_refused(1));
    drop(filler);
    later.submit_until_taken();
    later.submit_all(50);
    let status = site.batchctl(["status"], b"").success().text();
    assert!(!status.contains("nothing is taken: "), "{status}");
    flush(&site, "default");
    let numbers = delivered(&site, ITEM_BYTES);
    let (first, second) = numbers.split_at(producer.acknowledged.len());
    assert_eq!(first, producer.acknowledged);
    assert_eq!(second, later.acknowledged);
    expect_well(&site, daemon);
    let log = site.log_text();
    assert!(log.contains("nothing new is taken"), "{log}");
    assert!(log.contains("has room again"), "{log}");
}

#[test]
fn ext4_filled_by_others_refuses_and_goes_on() {
    check_filled_by_others(Kind::Ext4(16, None), false);
}

#[test]
fn ext4_filled_by_others_with_the_target_on_it_refuses_and_goes_on() {
    check_filled_by_others(Kind::Ext4(16, None), true);
}

#[test]
fn tmpfs_filled_by_others_refuses_and_goes_on() {
    check_filled_by_others(Kind::Tmpfs(12), true);
}

/// The spool itself takes the room: it stops before the last of it, and the other queue's batches go out.
#[track_caller]
fn check_filled_by_itself(kind: Kind) {
    let Some(disk) = Disk::mount(kind) else {
        return;
    };
    let site = site_on(&disk, &format!("max_bytes = \"1GiB\"\n{RESERVE}"), true);
    let daemon = site.start();
    let mut default = Producer::new(&site, "default", ITEM_BYTES);
    default.submit_all(90);
    let mut stay = Producer::new(&site, "stay", 100_000);
    expect_full(stay.submit_until_refused(1000));
    assert!(stay.acknowledged.len() > 50, "{}", stay.acknowledged.len());
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), default.acknowledged);
    expect_well(&site, daemon);
    // With a sink, all that stayed goes out, into room of another disk.
    let elsewhere = site.root().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    let sink = Site::lines_sink("stay").replace("{out}", "{root}/elsewhere");
    site.configure_spool(
        RESERVE,
        &format!("[queues.default]\nsink = \"off\"\n[queues.stay]\nmax_bytes = \"1MiB\"\n{sink}"),
    );
    let daemon = site.start();
    flush(&site, "stay");
    // A batch that was open finds room for its copy at the next start, if not at this one.
    expect_well(&site, daemon);
    let daemon = site.start();
    flush(&site, "stay");
    let bytes = batchd_tests::delivered(&elsewhere);
    let expected: Vec<u8> = stay
        .acknowledged
        .iter()
        .flat_map(|number| [crate::bench::item(*number, 100_000), b"\n".to_vec()].concat())
        .collect();
    assert_eq!(bytes.len(), expected.len());
    assert!(bytes == expected, "other bytes than were submitted");
    Producer::new(&site, "stay", 100_000).submit_until_taken();
    expect_well(&site, daemon);
}

#[test]
fn ext4_filled_by_the_spool_refuses_and_goes_on() {
    check_filled_by_itself(Kind::Ext4(16, None));
}

#[test]
fn tmpfs_filled_by_the_spool_refuses_and_goes_on() {
    check_filled_by_itself(Kind::Tmpfs(12));
}

/// To the last byte: what must be written takes the place of the ballast.
#[test]
fn the_ballast_is_given_up_and_made_again() {
    let Some(disk) = Disk::mount(Kind::Ext4(32, None)) else {
        return;
    };
    let site = site_on(&disk, "min_free = \"off\"\nballast = \"256KiB\"", false);
    let ballast = site.spool().join("ballast");
    let daemon = site.start();
    let has_ballast = || fs::metadata(&ballast).is_ok_and(|file| file.len() == 256 << 10);
    wait_until("the ballast", LONG, || has_ballast().then_some(()));
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(30);
    let filler = disk.fill(0);
    // What was made ahead takes some still.
    expect_full(producer.submit_until_refused(10_000));
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    let log = site.log_text();
    if log.contains("the ballast is given up") {
        assert!(!ballast.exists());
        expect_full(producer.submit_until_refused(1));
    }
    drop(filler);
    wait_until("the ballast again", LONG, || has_ballast().then_some(()));
    producer.submit_until_taken();
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    expect_well(&site, daemon);
}

#[test]
fn a_file_system_without_room_for_files_refuses_and_goes_on() {
    let Some(disk) = Disk::mount(Kind::Ext4(16, Some(256))) else {
        return;
    };
    let site = site_on(&disk, RESERVE, false);
    let daemon = site.start();
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(50);
    let fillers: Vec<_> = (0..)
        .map(|number| disk.root().join(format!("filler-{number}")))
        .take_while(|path| File::create(path).is_ok())
        .collect();
    assert!(fillers.len() > 50, "{}", fillers.len());
    let (code, message) = producer.submit_until_refused(10_000);
    assert_eq!(code, ErrorCode::NoSpace, "{message}");
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    for path in fillers {
        fs::remove_file(path).expect("removed");
    }
    producer.submit_until_taken();
    producer.submit_all(50);
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    expect_well(&site, daemon);
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let Some(disk) = Disk::mount(Kind::Tmpfs(2)) else {
        return;
    };
    let log = disk.root().join("log");
    File::create(&log).expect("a log");
    let filler = disk.fill(0);
    let site = Site::lines(3);
    let launch = Launch {
        stderr: Some(log.clone()),
        ..Launch::default()
    }
    .env("BATCHD_LOG", "trace");
    let daemon = site.start_with(&launch);
    site.batchctl(["submit"], b"1\n2\n3\n4\n").success();
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(site.delivered(), b"1\n2\n3\n4\n");
    let before = fs::metadata(&log).expect("the log").len();
    drop(filler);
    // With room again, it is written again.
    site.batchctl(["submit"], b"5\n").success();
    wait_until("the log to go on", LONG, || {
        (fs::metadata(&log).expect("the log").len() > before).then_some(())
    });
    expect_well(&site, daemon);
}

#[test]
fn a_spool_in_memory_is_warned_about() {
    let Some(disk) = Disk::mount(Kind::Tmpfs(12)) else {
        return;
    };
    let site = site_on(&disk, RESERVE, false);
    let daemon = site.start();
    assert_eq!(site.log_text().matches("gone with the power").count(), 1);
    expect_well(&site, daemon);
}

/// More than the disk holds, to a queue that drops its oldest: everything is taken, and the last of it is there.
#[test]
fn a_queue_that_drops_its_oldest_goes_round_on_a_full_disk() {
    let Some(disk) = Disk::mount(Kind::Ext4(16, None)) else {
        return;
    };
    let site = site_on(&disk, RESERVE, false);
    let config = "[queues.default]\nmax_items = 20\nmax_bytes = \"1MiB\"\nmax_age = \"off\"\n\
        overflow = \"drop-oldest\"\nsink = \"off\"\n";
    let settings = format!("max_bytes = \"1GiB\"\n{RESERVE}");
    site.configure_spool(&settings, config);
    let daemon = site.start();
    let mut producer = Producer::new(&site, "default", 50_000);
    producer.submit_all(600);
    assert!(disk.free_bytes() >= 500 << 10, "{}", disk.free_bytes());
    let status = site
        .batchctl(["status", "--output", "json"], b"")
        .success()
        .json();
    let number = |pointer: &str| {
        let value = status.first().and_then(|status| status.pointer(pointer));
        value.and_then(serde_json::Value::as_u64).expect("a number")
    };
    let dropped = number("/queues/0/items_dropped");
    let held = number("/queues/0/open/items") + number("/queues/0/ready/items");
    assert_eq!(dropped + held, 600);
    assert!(held > 100, "{held}");
    expect_well(&site, daemon);
    // What is left is the newest, whole and in order.
    let sink = Site::lines_sink("default");
    site.configure_spool(
        RESERVE,
        &format!("[queues.default]\nmax_bytes = \"1MiB\"\n{sink}"),
    );
    let daemon = site.start();
    flush(&site, "default");
    let expected: Vec<u64> = (dropped..600).collect();
    assert_eq!(delivered(&site, 50_000), expected);
    expect_well(&site, daemon);
}

#[test]
fn a_queue_that_blocks_waits_until_the_disk_has_room() {
    let Some(disk) = Disk::mount(Kind::Ext4(16, None)) else {
        return;
    };
    let site = site_on(&disk, RESERVE, false);
    let config = format!(
        "[queues.default]\nmax_items = 20\noverflow = \"block\"\n{}",
        Site::lines_sink("default")
    );
    site.configure_spool(RESERVE, &config);
    let launch = Launch::default().env("BATCHD_LOG", "debug");
    let daemon = site.start_with(&launch);
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(5);
    let filler = disk.fill(700 << 10);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| producer.submit_all(50));
        wait_until("it to wait", LONG, || {
            site.log_text().contains("waits for room").then_some(())
        });
        assert!(!waits.is_finished());
        drop(filler);
        waits.join().expect("all taken");
    });
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    assert_eq!(producer.acknowledged.len(), 55);
    expect_well(&site, daemon);
}

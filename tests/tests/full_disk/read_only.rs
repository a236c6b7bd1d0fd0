//! File systems that cannot be written.

use std::fs;

use batchd_protocol::ErrorCode;
use batchd_tests::{
    Daemon, Disk, Exit, Kind, LONG, Launch, Site, Tracer, lead_to, service, wait_until,
};

use crate::bench::{Producer, delivered, expect_well, flush};

const ITEM_BYTES: usize = 100;

#[test]
fn a_start_on_a_read_only_spool_fails_for_now() {
    let Some(disk) = Disk::mount(Kind::Ext4(16, None)) else {
        return;
    };
    let site = Site::lines(3);
    lead_to(&site.spool(), &disk.root().join("spool"));
    let daemon = site.start();
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(5);
    daemon.kill9();
    assert!(disk.remount("ro"));
    let ended = site.try_start(&Launch::default());
    assert_eq!(ended.err(), Some(Exit::Code(75)));
    let log = site.log_text();
    assert!(
        log.contains("hint: make that file system writable"),
        "{log}"
    );
    assert!(disk.remount("rw"));
    let daemon = site.start();
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    expect_well(&site, daemon);
}

fn make_fail(daemon: &Daemon, thread: &str) -> Option<Tracer> {
    let strace = service("strace")?;
    let options = [
        "-o",
        "/dev/null",
        "-e",
        "trace=pwrite64",
        "-e",
        "inject=pwrite64:error=EROFS:when=1+",
    ];
    let options = options.map(str::to_owned);
    Some(Tracer::attach(&strace, daemon, thread, &options))
}

fn warmed_up() -> (Site, Daemon) {
    let site = Site::lines(3);
    let daemon = site.start();
    Producer::new(&site, "default", ITEM_BYTES).submit_all(4);
    flush(&site, "default");
    for file in site.delivered_files() {
        fs::remove_file(site.out().join(file.name)).expect("removed");
    }
    (site, daemon)
}

#[test]
fn what_cannot_be_written_is_refused_until_it_can() {
    let (site, daemon) = warmed_up();
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(4);
    let Some(tracer) = make_fail(&daemon, "ingest-0") else {
        return;
    };
    let (code, message) = producer.submit_until_refused(1);
    assert_eq!(code, ErrorCode::ReadOnly, "{message}");
    assert!(message.contains("read-only"), "{message}");
    let refused = site.batchctl(["submit", "--timeout", "300ms"], b"no\n");
    let refused = refused.expect_code(75);
    assert!(refused.stderr.contains("read-only"), "{refused}");
    drop(tracer);
    producer.submit_until_taken();
    producer.submit_all(4);
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    expect_well(&site, daemon);
}

#[test]
fn what_cannot_be_recorded_is_not_delivered_over_and_over() {
    let (site, daemon) = warmed_up();
    let Some(tracer) = make_fail(&daemon, "main") else {
        return;
    };
    // The housekeeping finds out for all; the probe must fail with it.
    let Some(house) = make_fail(&daemon, "house") else {
        return;
    };
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    let (code, _) = producer.submit_until_refused(1000);
    assert_eq!(code, ErrorCode::ReadOnly);
    let status = site.batchctl(["status"], b"").success().text();
    assert!(status.contains("read-only"), "{status}");
    drop(tracer);
    drop(house);
    producer.submit_until_taken();
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), producer.acknowledged);
    let log = site.log_text();
    assert!(log.matches("can be written again").count() >= 1, "{log}");
    assert!(log.matches("not delivered").count() <= 2, "{log}");
    expect_well(&site, daemon);
}

/// As when the kernel finds the file system damaged. What the daemon does then depends on what had to be synced;
/// what it acknowledged must be there.
#[test]
fn a_file_system_that_turns_read_only_loses_nothing() {
    let Some(disk) = Disk::mount_with(Kind::Ext4(16, None), "errors=remount-ro") else {
        return;
    };
    let image = disk.image();
    let trigger = fs::read_dir("/sys/class/block")
        .into_iter()
        .flatten()
        .flatten()
        .find(|block| {
            let backing = fs::read_to_string(block.path().join("loop/backing_file"));
            backing.is_ok_and(|file| file.trim_end() == image.to_string_lossy())
        })
        .map(|block| {
            let name = block.file_name().to_string_lossy().into_owned();
            format!("/sys/fs/ext4/{name}/trigger_fs_error")
        });
    let Some(trigger) = trigger else {
        batchd_tests::skip("the loop device cannot be told");
        return;
    };
    let site = Site::lines(3);
    lead_to(&site.spool(), &disk.root().join("spool"));
    let daemon = site.start();
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(20);
    if fs::write(&trigger, "a test").is_err() {
        batchd_tests::skip("the kernel makes no such errors");
        return;
    }
    let (code, message) = producer.submit_until_refused(1000);
    let told = [ErrorCode::ReadOnly, ErrorCode::Unknown, ErrorCode::Stopping];
    assert!(told.contains(&code), "{code:?}: {message}");
    assert!(!site.log_text().contains("panicked"), "{}", site.log_text());
    daemon.kill9();
    // Nobody can start there, and the unit would try again.
    let ended = site.try_start(&Launch::default());
    assert_eq!(ended.err(), Some(Exit::Code(75)), "{}", site.log_text());
    wait_until("the disk to be free", LONG, || disk.unmount().then_some(()));
    assert!(disk.mount_again());
    let daemon = site.start();
    flush(&site, "default");
    let mut numbers = delivered(&site, ITEM_BYTES);
    numbers.dedup();
    let acknowledged = &producer.acknowledged;
    assert!(
        numbers.starts_with(acknowledged),
        "{numbers:?}, acknowledged {acknowledged:?}"
    );
    expect_well(&site, daemon);
}

//! How a daemon starts and ends: by signals, at any time, and what it says where it cannot start.

use std::fs::{self, File};
use std::thread;

use batchd_tests::{Exit, LONG, Launch, Site, wait_until};
use rustix::process::{Pid, Signal, kill_process};

#[track_caller]
fn wait_for_log(site: &Site, text: &str) {
    wait_until("a line in the log", LONG, || {
        site.log_text().contains(text).then_some(())
    });
}

/// Restarts, and demands that what was acknowledged is delivered.
#[track_caller]
fn check_delivered(site: &Site, expected: &str) {
    let daemon = site.start();
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(String::from_utf8_lossy(&site.delivered()), expected);
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_second_term_ends_it_at_once_and_loses_nothing() {
    // Longer than a test waits: it must not be waited out.
    let config = "[engine]\nshutdown_timeout = \"1h\"\n[queues.default]\non_shutdown = \"flush\"\n";
    let sink = Site::lines_sink("default").replace("{out}", "{out}/away/target");
    let site = Site::new(&format!("{config}{sink}"));
    let daemon = site.start();
    site.batchctl(["submit"], b"first\n").success();
    daemon.signal(Signal::TERM);
    wait_for_log(&site, "not delivered; the batch is kept and tried again");
    assert_eq!(daemon.term(), Exit::Signal(15));
    assert!(!site.log_text().contains("stopped"), "{}", site.log_text());
    fs::create_dir_all(site.out().join("away/target")).expect("the target is there");
    let daemon = site.start();
    site.batchctl(["flush", "--wait"], b"").success();
    let delivered = batchd_tests::delivered(&site.out().join("away/target"));
    assert_eq!(delivered, b"first\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_term_ends_a_recovery_and_loses_nothing() {
    let site = Site::lines(100);
    let daemon = site.start();
    site.batchctl(["submit"], b"first\n").success();
    daemon.kill9();
    // A hole behind the open batch, which takes longer to be read than a test waits.
    let open = fs::read_dir(site.spool().join("queues/default/open")).expect("open");
    let files: Vec<_> = open
        .map(|entry| {
            let file = File::options()
                .write(true)
                .open(entry.expect("a file").path());
            let file = file.expect("a file");
            let length = file.metadata().expect("a file").len();
            file.set_len(1 << 40).expect("a hole");
            (file, length)
        })
        .collect();
    let ended = thread::scope(|scope| {
        let started = scope.spawn(|| site.try_start(&Launch::default()).map(drop));
        let lock = site.spool().join("LOCK");
        let process = wait_until("the next daemon to lock the spool", LONG, || {
            let holder = fs::read_to_string(&lock).unwrap_or_default();
            let id: i32 = holder.trim().rsplit(' ').next()?.parse().ok()?;
            let name = fs::read(format!("/proc/{id}/comm")).unwrap_or_default();
            name.starts_with(b"batchd").then(|| Pid::from_raw(id))?
        });
        kill_process(process, Signal::TERM).expect("the daemon's process");
        started.join().expect("no panic")
    });
    assert_eq!(ended, Err(Exit::Signal(15)));
    wait_for_log(&site, "stopped while it recovers");
    for (file, length) in files {
        file.set_len(length).expect("no hole");
    }
    check_delivered(&site, "first\n");
}

#[test]
fn a_hangup_changes_nothing() {
    let site = Site::lines(100);
    let daemon = site.start();
    site.batchctl(["submit"], b"first\n").success();
    daemon.signal(Signal::HUP);
    wait_for_log(&site, "SIGHUP: nothing is read anew");
    site.batchctl(["submit"], b"second\n").success();
    assert_eq!(daemon.term(), Exit::Code(0));
    check_delivered(&site, "first\nsecond\n");
}

#[test]
fn whatever_is_logged_it_says_why_it_does_not_start() {
    let site = Site::lines(100);
    let _daemon = site.start();
    let second = Site::lines(100);
    let config = fs::read_to_string(second.config()).expect("configuration");
    let spool = |site: &Site| site.spool().display().to_string();
    let config = config.replace(&spool(&second), &spool(&site));
    fs::write(second.config(), config).expect("configuration");
    for filter in ["inof", "batchd_core=debug", "off", "info"] {
        let ended = second.try_start(&Launch::default().env("BATCHD_LOG", filter));
        assert_eq!(ended.err(), Some(Exit::Code(75)), "{filter}");
        let log = second.log_text();
        let complaints = log.lines().filter(|line| line.starts_with("batchd: "));
        assert_eq!(complaints.count(), 2, "{filter}: {log}");
        fs::remove_file(second.log()).expect("the log");
    }
}

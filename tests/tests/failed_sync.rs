//! Every sync of a load fails once, in a run of its own: nothing is acknowledged after it, the daemon ends, and after
//! the next start all that was acknowledged is there, and a repeat of everything adds only what is missing.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use batchd_client::{ProducerId, SubmissionId};
use batchd_protocol::{Ack, ErrorCode, Request, Response};
use batchd_tests::{Body, Daemon, Exit, LONG, Site, Tracer, Wire, wait_until};

/// Batches of three items, so that submissions are cut.
const MAX_ITEMS: u32 = 3;
/// So many submissions, one after another.
const SUBMISSIONS: u64 = 12;
/// More runs than any of the loads has syncs.
const RUNS_MAX: u32 = 200;

fn items(number: u64) -> Vec<String> {
    (0..1 + number % 5)
        .map(|index| format!("{number}.{index}"))
        .collect()
}

/// Sends a submission under its id; says what was answered, or nothing where the connection ended.
fn send(wire: &mut Wire, number: u64, repeat: bool) -> Option<Response> {
    let id = SubmissionId {
        producer: ProducerId::from_bytes([3; 16]),
        sequence: number + 1,
    };
    let body = Body::new(Some(id), &items(number));
    let key: &[u8] = if number % 3 == 2 { b"key" } else { b"" };
    let mut submit = body.submit(number, "default", key, Ack::Synced);
    submit.repeat = repeat;
    wire.send(&Request::Submit(submit)).ok()?;
    wire.receive().ok()?
}

/// How often each item was delivered; a batch that was delivered twice has one file.
fn delivered(site: &Site) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for file in site.delivered_files() {
        for line in file.lines() {
            let item = String::from_utf8(line.to_vec()).expect("UTF-8");
            *counts.entry(item).or_default() += 1;
        }
    }
    counts
}

/// Submits all, until the daemon ends or all is delivered. Says which were acknowledged, and how the daemon ended, if
/// it did.
fn run_load(site: &Site, mut daemon: Daemon) -> (Vec<u64>, Option<Exit>) {
    let mut acknowledged = Vec::new();
    let mut failed = false;
    if let Ok(mut wire) = Wire::greeted(&site.socket()) {
        for number in 0..SUBMISSIONS {
            match send(&mut wire, number, false) {
                Some(Response::Accepted { .. }) => {
                    assert!(!failed, "{number} is acknowledged after a failed sync");
                    acknowledged.push(number);
                }
                Some(Response::Failed { code, .. }) => {
                    assert!(
                        matches!(code, ErrorCode::Unknown | ErrorCode::Stopping),
                        "{code:?}"
                    );
                    failed = true;
                }
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
        let flush = Request::Flush {
            request: SUBMISSIONS,
            queue: None,
            wait: false,
        };
        // The daemon may be gone.
        wire.send(&flush).ok();
    }
    let all: usize = (0..SUBMISSIONS).map(|number| items(number).len()).sum();
    let ended = wait_until("an end, or all to be delivered", LONG, || {
        match daemon.ended() {
            Some(exit) => Some(Some(exit)),
            None => (delivered(site).len() == all && is_empty(site)).then_some(None),
        }
    });
    (acknowledged, ended)
}

/// A daemon of which each thread is there.
fn warmed_up(site: &Site) -> Daemon {
    let daemon = site.start();
    site.batchctl(["submit"], b"warm\n").success();
    site.batchctl(["flush", "--wait"], b"").success();
    for file in site.delivered_files() {
        fs::remove_file(site.out().join(file.name)).expect("removed");
    }
    daemon
}

/// Whether every batch has left the spool.
fn is_empty(site: &Site) -> bool {
    let ready = fs::read_dir(site.spool().join("queues/default/ready")).expect("ready");
    ready.count() == 0
}

/// One run after another, each with a later sync that fails.
#[track_caller]
fn check_every(thread: &str, call: &str, file: Option<fn(&Site) -> PathBuf>) {
    for nth in 1..RUNS_MAX {
        let site = Site::lines(MAX_ITEMS);
        let daemon = warmed_up(&site);
        let fault = format!("{call}:error=EIO:when={nth}");
        let what = format!("{thread}, {fault}");
        let path = file.map(|file| file(&site));
        let Some(tracer) = Tracer::inject(&daemon, thread, &[&fault], path.as_deref()) else {
            return;
        };
        let (acknowledged, ended) = run_load(&site, daemon);
        if !tracer.has_injected() {
            assert!(nth > 1, "{what}: no such call in the load");
            return;
        }
        // A file made ahead that cannot be synced is not used, and that is all.
        if let Some(exit) = ended {
            assert_eq!(exit, Exit::Code(74), "{what}: {}", site.log_text());
        }
        drop(tracer);
        check_after(&site, &acknowledged, &what);
    }
    panic!("{thread}, {call}: no end");
}

#[track_caller]
fn check_after(site: &Site, acknowledged: &[u64], what: &str) {
    let daemon = site.start();
    site.batchctl(["flush", "--wait"], b"").success();
    let counts = delivered(site);
    for item in acknowledged.iter().flat_map(|number| items(*number)) {
        assert_eq!(counts.get(&item), Some(&1), "{what}: {item}");
    }
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    for number in 0..SUBMISSIONS {
        // At first it is perhaps still being read what waiting batches hold.
        wait_until("the repeat to be acknowledged", LONG, || {
            match send(&mut wire, number, true) {
                Some(Response::Accepted { repeat, .. }) => {
                    assert!(
                        repeat || !acknowledged.contains(&number),
                        "{what}: {number}"
                    );
                    Some(())
                }
                Some(Response::Failed {
                    code: ErrorCode::Unknown,
                    ..
                }) => None,
                other => panic!("{what}: {other:?}"),
            }
        });
    }
    site.batchctl(["flush", "--wait"], b"").success();
    let counts = delivered(site);
    for item in (0..SUBMISSIONS).flat_map(items) {
        assert_eq!(counts.get(&item), Some(&1), "{what}: {item} at the end");
    }
    assert_eq!(daemon.term(), Exit::Code(0));
    assert!(!site.log_text().contains("panicked"), "{what}");
}

#[test]
fn every_sync_of_an_ingest_thread() {
    check_every("ingest-0", "fdatasync", None);
}

#[test]
fn every_sync_of_a_directory_by_an_ingest_thread() {
    check_every("ingest-0", "fsync", None);
}

#[test]
fn every_sync_of_a_file_by_the_housekeeper() {
    check_every("house", "fdatasync", None);
}

#[test]
fn every_sync_of_a_directory_by_the_housekeeper() {
    check_every("house", "fsync", None);
}

#[test]
fn every_sync_of_the_ledger() {
    check_every(
        "main",
        "fdatasync",
        Some(|site| site.spool().join("queues/default/ledger")),
    );
}

/// Nobody waits for news of the spool any more then, and the stop is none that is clean all the same.
#[test]
fn a_sync_of_the_ledger_during_the_stop() {
    let site = Site::new(&format!(
        "[queues.default]\nmax_age = \"off\"\non_shutdown = \"flush\"\n{}",
        Site::lines_sink("default")
    ));
    let daemon = warmed_up(&site);
    site.batchctl(["submit"], b"item\n").success();
    let ledger = site.spool().join("queues/default/ledger");
    let fault = ["fdatasync:error=EIO:when=1"];
    let Some(tracer) = Tracer::inject(&daemon, "main", &fault, Some(&ledger)) else {
        return;
    };
    assert_eq!(daemon.term(), Exit::Code(74));
    assert!(tracer.has_injected());
    let log = site.log_text();
    assert!(log.contains("batchd: hint: start it again"), "{log}");
    drop(tracer);
    let daemon = site.start();
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(delivered(&site).get("item"), Some(&1));
    assert_eq!(daemon.term(), Exit::Code(0));
}

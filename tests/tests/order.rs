//! The order of the daemon's system calls under load, from a recording by strace: nothing is answered, delivered,
//! put on record or removed before what that rests on is on the medium.
//!
//! A daemon that does it in the wrong order passes every test that kills it, since the page cache survives that.
//! The check itself is in `batchd_tests::trace`; here it is also shown to find bugs that were planted.

use std::ffi::OsString;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use batchd_client::{Ack, Error, ItemBuffer, Key, QueueName, Target};
use batchd_tests::trace::calls::traced;
use batchd_tests::trace::check::check;
use batchd_tests::trace::places::Places;
use batchd_tests::trace::report::{Report, Rule};
use batchd_tests::{Daemon, Exit, LONG, Launch, Random, Site, planted, service, wait_until};

/// More than any write of the daemon has in this load.
const STRING_BYTES_MAX: &str = "16777216";
const QUEUES: [&str; 2] = ["default", "other"];
/// Every so many submissions of a client, one is sent twice at once, and once more at the end.
const REPEAT_EVERY: usize = 20;

/// How much is submitted.
struct Load {
    /// Clients that wait for the sync.
    clients: u64,
    /// Submissions of each.
    submissions: usize,
    /// How many of [`QUEUES`], and how many keys of each.
    queues: u64,
    keys: u64,
    max_items: u32,
    max_age: &'static str,
    on_shutdown: &'static str,
    /// Every so many submissions of the first client, the batches are flushed; 0 for never.
    flush_every: usize,
    ingest_threads: u32,
    /// How long the clients wait for an answer.
    patience: Duration,
}

/// A little.
const SMALL: Load = Load {
    clients: 2,
    submissions: 40,
    queues: 2,
    keys: 3,
    max_items: 30,
    max_age: "500ms",
    on_shutdown: "keep",
    flush_every: 45,
    ingest_threads: 1,
    patience: LONG,
};

impl Load {
    fn site(&self) -> Site {
        let Self {
            max_items,
            max_age,
            on_shutdown,
            ingest_threads,
            ..
        } = self;
        let queues = QUEUES.map(|queue| {
            let policy = format!(
                "max_items = {max_items}\nmax_age = \"{max_age}\"\non_shutdown = \"{on_shutdown}\"\n"
            );
            format!("[queues.{queue}]\n{policy}{}", Site::lines_sink(queue))
        });
        let engine = format!("[engine]\ningest_threads = {ingest_threads}\n");
        Site::new(&(engine + &queues.concat()))
    }

    /// Submits from all clients at once. One more asks only that it is written. Returns how many were accepted.
    fn submit(&self, site: &Site) -> Result<u64, Error> {
        let one = |client| {
            let is_last = client == self.clients;
            let (count, ack) = match is_last {
                true => (self.submissions / 4, Ack::Written),
                false => (self.submissions, Ack::Synced),
            };
            self.submit_from(client, count, ack, site)
        };
        let one = &one;
        thread::scope(|scope| {
            let clients: Vec<_> = (0..=self.clients)
                .map(|client| scope.spawn(move || one(client)))
                .collect();
            let accepted = clients
                .into_iter()
                .map(|client| client.join().expect("no panic"));
            accepted.sum()
        })
    }

    /// Submits one after another without waiting for the answers.
    fn submit_from(&self, number: u64, count: usize, ack: Ack, site: &Site) -> Result<u64, Error> {
        let mut random = Random::new(number);
        let mut client = site.client(None, self.patience);
        let mut again = Vec::new();
        for index in 0..count {
            let [queue, key] = [self.queues, self.keys].map(|n| random.next_u64() % n);
            let queue = QUEUES
                .get(usize::try_from(queue).expect("small"))
                .expect("a queue");
            let mut target = Target::new(QueueName::new(*queue).expect("a name"));
            target.key = Key::new(format!("key {key}")).expect("a key");
            target.ack = Some(ack);
            let item = |item| format!("{number}-{index}-{item}").into_bytes();
            let items: Vec<_> = (0..1 + random.next_u64() % 4).map(item).collect();
            let submission = client.prepare(&target, &ItemBuffer::from_iter(&items));
            client.send(submission.clone())?;
            if index % REPEAT_EVERY == 0 {
                client.send(submission.clone().repeated())?;
                again.push(submission);
            }
            if number == 0 && (index + 1).is_multiple_of(self.flush_every) {
                client.flush(None, None)?;
            }
        }
        client.settle()?;
        for submission in again {
            client.submit(submission.repeated())?;
        }
        Ok(client.totals().kept.submissions)
    }
}

/// strace, writing to the recording of a site.
fn recorder(strace: &Path, site: &Site) -> Launch {
    let trace = format!("trace={}", traced());
    let options = [
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-xx",
        "-s",
        STRING_BYTES_MAX,
        "-e",
        &trace,
    ];
    let mut words: Vec<OsString> = vec![strace.into()];
    words.extend(options.map(OsString::from));
    words.extend([
        "-e".into(),
        "signal=none".into(),
        "-o".into(),
        recording(site).into(),
    ]);
    Launch::under(words)
}

fn recording(site: &Site) -> PathBuf {
    site.root().join("recording")
}

/// Delivers everything, and stops the daemon.
#[track_caller]
fn finish(site: &Site, daemon: Daemon) {
    site.client(None, LONG)
        .flush(None, Some(LONG))
        .expect("flush");
    assert_eq!(daemon.term(), Exit::Code(0), "{}", site.log_text());
}

/// Checks what was recorded.
#[track_caller]
#[expect(
    clippy::print_stdout,
    reason = "figures, for whoever asks for the output of tests"
)]
fn checked(site: &Site) -> Report {
    let start = Instant::now();
    let file = File::open(recording(site)).expect("recording");
    let places = Places {
        spool: site.spool(),
        out: site.out(),
    };
    let mib = file.metadata().expect("recording").len() >> 20;
    let report = check(BufReader::new(file), places).expect("a recording of strace");
    println!(
        "{mib} MiB of recording read in {:?}\n{report}",
        start.elapsed()
    );
    report
}

/// A daemon with so many ingest threads breaks no rule.
#[track_caller]
fn check_real(ingest_threads: u32) {
    let Some(strace) = service("strace") else {
        return;
    };
    let load = Load {
        clients: 6,
        submissions: 400,
        max_items: 60,
        ingest_threads,
        ..SMALL
    };
    let site = load.site();
    let daemon = site.start_with(&recorder(&strace, &site));
    let accepted = load.submit(&site).expect("all answered");
    finish(&site, daemon);
    let report = checked(&site);
    assert!(report.violations.is_empty(), "{report}");

    // It has seen what it was to check.
    let acks = report.acks_synced + report.acks_written;
    assert_eq!(acks as u64, accepted, "{report}");
    // What is asked to be written is told that it is synced where it was synced with others.
    let submissions = usize::try_from(load.clients).expect("small") * load.submissions;
    assert!(report.acks_synced >= submissions, "{report}");
    // Some are cut, where a batch is full.
    assert!(
        report.item_frames > submissions + load.submissions / 4,
        "{report}"
    );
    assert!(report.sealed > 50, "{report}");
    assert_eq!(report.delivered, report.sealed, "{report}");
    assert_eq!(report.recorded, report.sealed, "{report}");
    assert_eq!(report.removed, report.sealed, "{report}");

    // One sync answers many.
    assert!(report.submissions_a_sync_tenths() >= 40, "{report}");
}

#[test]
fn nothing_is_told_before_it_is_durable() {
    check_real(1);
}

#[test]
fn nor_where_several_threads_lead_commits() {
    check_real(3);
}

#[test]
fn nor_after_a_restart_that_recovers() {
    let Some(strace) = service("strace") else {
        return;
    };
    // What is not full stays open.
    let load = Load {
        max_age: "off",
        ..SMALL
    };
    let site = load.site();
    let daemon = site.start();
    load.submit(&site).expect("all answered");
    // A delivery that this daemon made and did not record is repeated by the next one, and changes nothing then: the
    // recording would show a record without a delivery.
    wait_until("what is full to be delivered and gone", LONG, || {
        let listed = site.batchctl(["ls", "--output", "json"], b"").success();
        let listed = listed.json();
        let is_open = |batch: &serde_json::Value| batch.get("state").is_some_and(|s| s == "open");
        listed.iter().all(is_open).then_some(())
    });
    daemon.kill9();

    let daemon = site.start_with(&recorder(&strace, &site));
    load.submit(&site).expect("all answered");
    finish(&site, daemon);
    let report = checked(&site);
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.acks_synced > 0 && report.delivered > 0, "{report}");
    assert_eq!(report.removed, report.delivered, "{report}");
}

#[test]
fn nor_at_a_stop_that_flushes() {
    let Some(strace) = service("strace") else {
        return;
    };
    // All is open when the stop comes.
    let load = Load {
        max_items: 100_000,
        max_age: "off",
        on_shutdown: "flush",
        flush_every: 0,
        ..SMALL
    };
    let site = load.site();
    let daemon = site.start_with(&recorder(&strace, &site));
    load.submit(&site).expect("all answered");
    assert_eq!(daemon.term(), Exit::Code(0), "{}", site.log_text());
    let report = checked(&site);
    assert!(report.violations.is_empty(), "{report}");
    let keys = usize::try_from(load.queues * load.keys).expect("small");
    assert_eq!(report.sealed, keys, "{report}");
    assert_eq!(report.delivered, keys, "{report}");
    assert_eq!(report.removed, keys, "{report}");
}

#[test]
fn nor_after_a_sync_that_fails() {
    let Some(strace) = service("strace") else {
        return;
    };
    // One file, which nobody seals: all syncs after the start are the commit's, on the thread that leads it.
    let load = Load {
        submissions: 400,
        queues: 1,
        keys: 1,
        max_items: 100_000,
        max_age: "off",
        flush_every: 0,
        patience: Duration::from_secs(2),
        ..SMALL
    };
    let site = load.site();
    let mut launch = recorder(&strace, &site);
    // The fifth of each thread; another one of the same file would succeed.
    launch
        .wrapper
        .extend(["-e", "inject=fdatasync:error=EIO:when=5"].map(Into::into));
    let daemon = site.start_with(&launch);
    load.submit(&site).expect_err("a daemon that stops");
    assert_ne!(daemon.wait(), Exit::Code(0), "{}", site.log_text());
    let report = checked(&site);
    assert!(report.violations.is_empty(), "{report}");
    assert_eq!(report.failed_syncs, 1, "{report}");
    let acks = report.acks_synced + report.acks_written;
    assert!(0 < acks && acks < report.submissions, "{report}");
}

/// A build with a planted bug breaks these rules, perhaps among others.
#[track_caller]
fn check_planted(bug: &str, rules: &[Rule]) {
    let Some(strace) = service("strace") else {
        return;
    };
    let site = SMALL.site();
    let daemon = site.start_with(&Launch {
        batchd: Some(planted().batchd.clone()),
        ..recorder(&strace, &site).env("BATCHD_PLANTED", bug)
    });
    SMALL.submit(&site).expect("all answered");
    finish(&site, daemon);
    let report = checked(&site);
    let broken = report.broken();
    for rule in rules {
        assert!(
            broken.contains_key(rule),
            "{bug} goes unnoticed by {rule:?}: {report}"
        );
    }
}

#[test]
fn a_daemon_that_answers_before_it_writes_is_found() {
    check_planted("ack-before-append", &[Rule::AckWritten]);
}

#[test]
fn a_daemon_that_answers_before_it_syncs_is_found() {
    check_planted("ack-before-sync", &[Rule::AckSynced]);
}

#[test]
fn a_daemon_that_syncs_no_directory_is_found() {
    check_planted("no-directory-sync", &[Rule::AckNamed, Rule::AttemptReady]);
}

#[test]
fn a_daemon_that_does_not_sync_seals_is_found() {
    check_planted(
        "seal-without-sync",
        &[Rule::SealSynced, Rule::AttemptSealed],
    );
}

#[test]
fn a_daemon_that_removes_before_it_records_is_found() {
    check_planted("unlink-before-record", &[Rule::RemovedRecorded]);
}

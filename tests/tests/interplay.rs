//! What one part of the daemon does while another is at work: with the real programs.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::process::Command;
use std::thread;

use batchd_client::{ItemBuffer, QueueName, Target};
use batchd_tests::{Exit, LONG, Launch, Output, Site, make_backlog, wait_until};
use serde_json::Value;

/// A queue whose sink has no directory to write to, and what else is set for the queue.
fn stuck(daemon: &str, queue: &str) -> Site {
    let sink = Site::lines_sink("stuck").replace("{out}", "{root}/nowhere/at/all");
    Site::new(&format!(
        "{daemon}\n[queues.stuck]\nmax_age = \"off\"\n{queue}\n{sink}"
    ))
}

fn make_the_directory(site: &Site) {
    fs::create_dir_all(site.root().join("nowhere/at/all")).unwrap();
}

fn json(site: &Site, args: &[&str]) -> Vec<Value> {
    let args = args.iter().chain(&["--output", "json"]);
    site.batchctl(args, b"").success().json()
}

/// A counter of the queue `stuck`.
fn counter(site: &Site, name: &str) -> u64 {
    let status = json(site, &["status"]);
    let queues = status[0]["queues"].as_array().unwrap().clone();
    let queue = queues.iter().find(|queue| queue["queue"] == "stuck");
    queue.unwrap()[name].as_u64().unwrap()
}

fn flush_and_wait(site: &Site) -> Output {
    let args = ["flush", "--wait", "--queue", "stuck", "--output", "json"];
    site.batchctl(args, b"")
}

/// The dispatcher backs off when the batch expires, and finds that out because of the flush. Somebody else may find it
/// before: then there is nothing to flush, and it is tried again.
#[test]
fn a_flush_does_not_call_expired_batches_delivered() {
    for (on_expire, ended) in [("dead", "expired"), ("drop", "dropped")] {
        let queue = format!("on_expire = \"{on_expire}\"");
        let site = stuck("[engine]\ncleanup_interval = \"1s\"", &queue);
        let daemon = site.start();
        // Until then, nothing expires.
        let first = ["create", "--queue", "stuck", "--lifespan", "1ms"];
        site.batchctl(first, b"first\n").success();
        wait_until("the first to expire", LONG, || {
            (counter(&site, "batches_expired") == 1).then_some(())
        });
        let flushed = wait_until("a flush that meets an expired batch", LONG, || {
            let args = ["create", "--queue", "stuck", "--lifespan", "300ms"];
            let id = site
                .batchctl(args, b"one\n")
                .success()
                .text()
                .trim()
                .to_owned();
            let expires_at = json(&site, &["ls", "--queue", "stuck"])
                .iter()
                .find(|batch| batch["id"] == id.as_str())
                .map_or(0, |batch| batch["expires_at"].as_u64().unwrap());
            wait_until("the end of the lifespan", LONG, || {
                let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
                (now > expires_at.into()).then_some(())
            });
            let flushed = flush_and_wait(&site);
            let report = flushed.json()[0].clone();
            (report["batches"] == 1).then_some((id, flushed, report))
        });
        let (id, output, report) = flushed;
        assert_eq!(report["delivered"], false);
        assert_eq!(report["not_delivered"], 1);
        let output = output.expect_code(1);
        assert!(
            output
                .stderr
                .contains("not delivered, or not whole: 1 batch"),
            "{output}"
        );
        let history = json(&site, &["history", "--batch", &id]);
        assert_eq!(history[0]["outcome"], ended);
        assert_eq!(daemon.term(), Exit::Code(0));
    }
}

#[test]
fn a_flush_of_a_queue_without_a_sink_says_so() {
    let site = Site::new("[queues.default]\nsink = \"off\"\n");
    let daemon = site.start();
    site.batchctl(["submit"], b"one\n").success();
    let flushed = site.batchctl(["flush", "--wait", "--queue", "default"], b"");
    let flushed = flushed.expect_code(78);
    assert!(flushed.stderr.contains("has no sink"), "{flushed}");
    // Of all queues, it has nothing to wait for.
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_stop_that_flushes_tries_a_sink_again_that_is_back() {
    let site = stuck(
        "[engine]\nshutdown_timeout = \"5s\"",
        "on_shutdown = \"flush\"\nmax_items = 2",
    );
    let daemon = site.start();
    site.batchctl(["submit", "--queue", "stuck"], b"1\n2\n3\n")
        .success();
    // By now it waits for seconds, and soon for a minute.
    wait_until("attempts that fail", LONG, || {
        (counter(&site, "attempts_failed") >= 7).then_some(())
    });
    make_the_directory(&site);
    assert_eq!(daemon.term(), Exit::Code(0));
    let out = site.root().join("nowhere/at/all");
    assert_eq!(
        fs::read_dir(out).unwrap().count(),
        2,
        "the batches are not delivered"
    );
}

#[test]
fn a_signal_to_flush_does_not_end_a_daemon_that_recovers() {
    let site = Site::lines(1000);
    make_backlog(&site, "default", 1000);
    let daemon = thread::scope(|scope| {
        scope.spawn(|| {
            let pid = wait_until("somebody to hold the spool", LONG, || {
                let lock = fs::read_to_string(site.spool().join("LOCK")).ok()?;
                let pid = lock.trim().strip_prefix("batchd, pid ")?;
                Some(pid.to_owned())
            });
            let sent = Command::new("kill").args(["-USR1", &pid]).status().unwrap();
            assert!(sent.success());
        });
        site.start()
    });
    wait_until("the signal to be obeyed", LONG, || {
        site.log_text()
            .contains("all queues are flushed")
            .then_some(())
    });
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_low_limit_of_open_files_is_raised() {
    let site = Site::new(
        "[queues.default]\nunknown_queues = \"create\"\nmax_age = \"off\"\nsink = \"off\"\n",
    );
    // Only the soft one, as a login shell may have it.
    let script = "ulimit -S -n 64; exec \"$@\"";
    let daemon = site.start_with(&Launch::under(["sh", "-c", script, "sh"]));
    let mut client = site.client(None, LONG);
    for queue in 0..64 {
        let target = Target::new(QueueName::new(format!("q{queue}")).unwrap());
        let submission = client.prepare(&target, &ItemBuffer::from_iter(["item"]));
        client.submit(submission).unwrap();
    }
    assert!(daemon.descriptors() > 64);
    assert_eq!(daemon.term(), Exit::Code(0));
}

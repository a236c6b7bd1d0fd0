//! What flushes without anybody filling a batch: the clock, a signal, a stop.

use std::fs;
use std::path::PathBuf;

use batchd_tests::{Daemon, Exit, LONG, Launch, Signal, Site, Tracer, service, wait_until};
use serde_json::Value;

/// No trigger in any queue that does not set one.
const OFF: &str = "max_items = \"off\"\nmax_bytes = \"off\"\nmax_age = \"off\"\n";

fn submit(site: &Site, queue: &str, line: &str) {
    site.batchctl(["submit", "--queue", queue], line.as_bytes())
        .success();
}

/// The log, once it has so many lines with a text.
#[track_caller]
fn wait_for_log(site: &Site, text: &str, count: usize) -> Vec<String> {
    wait_until(text, LONG, || {
        let log = site.log_text();
        let lines: Vec<String> = log
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[track_caller]
fn wait_for_delivery(site: &Site, expected: &[u8]) {
    wait_until("the delivery", LONG, || {
        (site.delivered() == expected).then_some(())
    });
}

/// A start that logs why each batch was closed.
fn start(site: &Site) -> Daemon {
    site.start_with(&Launch::default().env("BATCHD_LOG", "debug"))
}

/// Files in a directory of a queue.
fn files(site: &Site, queue: &str, dir: &str) -> Vec<String> {
    let path = site.spool().join("queues").join(queue).join(dir);
    let entries = fs::read_dir(path).expect("the queue's directory");
    let names = entries.map(|entry| entry.expect("entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_signal_flushes_all_queues() {
    let sink = Site::lines_sink("default");
    let site = Site::new(&format!("[queues.default]\n{OFF}{sink}[queues.other]\n"));
    let daemon = start(&site);
    submit(&site, "default", "a\n");
    submit(&site, "other", "b\n");
    daemon.signal(Signal::USR1);
    wait_for_delivery(&site, b"a\nb\n");
    let line = wait_for_log(&site, "all queues are flushed", 1).remove(0);
    assert!(line.contains("batches=2 items=2"), "{line}");
    wait_for_log(&site, "reason=\"flush\"", 2);
    // Of nothing, it is nothing to do.
    daemon.signal(Signal::USR1);
    let line = wait_for_log(&site, "all queues are flushed", 2).remove(1);
    assert!(line.contains("batches=0 items=0"), "{line}");
    let flushed = site.batchctl(["flush", "--wait", "--output", "json"], b"");
    let report = flushed.success().json().remove(0);
    assert_eq!(report["batches"], 0, "{report}");
    submit(&site, "default", "c\n");
    daemon.signal(Signal::USR1);
    wait_for_delivery(&site, b"a\nc\nb\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_stop_flushes_where_that_is_wanted() {
    let sink = Site::lines_sink("default");
    let site = Site::new(&format!(
        "[queues.default]\n{OFF}{sink}[queues.flush]\non_shutdown = \"flush\"\n\
         [queues.kept]\non_shutdown = \"flush\"\nsink = \"off\"\n"
    ));
    let daemon = start(&site);
    submit(&site, "flush", "1\n2\n");
    submit(&site, "default", "3\n");
    submit(&site, "kept", "4\n");
    assert_eq!(daemon.term(), Exit::Code(0));
    // All that is said has been done when the daemon is gone.
    assert_eq!(site.delivered(), b"1\n2\n");
    let log = site.log_text();
    assert!(log.contains("reason=\"shutdown\""), "the reason is told");
    assert!(log.contains("batches=2 items=3"), "how much is flushed");
    assert!(!log.contains("WARN") && !log.contains("ERROR"));
    assert!(files(&site, "flush", "ready").is_empty());
    assert!(files(&site, "default", "ready").is_empty());
    // Without a sink a batch is closed, and stays.
    assert_eq!(files(&site, "kept", "ready").len(), 1);
    let daemon = site.start();
    let batches = site.batchctl(["ls", "--output", "json"], b"").success();
    let states: Vec<_> = batches
        .json()
        .iter()
        .map(|batch| format!("{} {}", batch["queue"], batch["state"]))
        .collect();
    assert_eq!(states, ["\"default\" \"open\"", "\"kept\" \"ready\""]);
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_stop_does_not_wait_for_ever_and_loses_nothing() {
    let site = Site::new(&format!(
        "[engine]\nshutdown_timeout = \"200ms\"\n[queues.default]\n{OFF}on_shutdown = \"flush\"\n\
         [queues.default.sink]\ntype = \"file\"\npath = \"{{root}}/away/out\"\n"
    ));
    let daemon = start(&site);
    submit(&site, "default", "1\n2\n");
    // With the limit the stop comes within what a test waits at all.
    assert_eq!(daemon.term(), Exit::Code(0));
    let line = wait_for_log(&site, "not delivered within shutdown_timeout", 1).remove(0);
    assert!(line.contains("batches=1"), "{line}");
    assert_eq!(files(&site, "default", "ready").len(), 1);
    let target = site.root().join("away");
    fs::create_dir(&target).expect("the target is back");
    let daemon = site.start();
    wait_until("the delivery", LONG, || {
        let delivered = batchd_tests::delivered(&target.join("out"));
        (delivered == b"1\n2\n").then_some(())
    });
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_seal_that_fails_at_a_stop_is_no_clean_stop_and_loses_nothing() {
    let Some(strace) = service("strace") else {
        return;
    };
    let sink = Site::lines_sink("default");
    // Longer than a test waits: it must not be waited out.
    let site = Site::new(&format!(
        "[engine]\nshutdown_timeout = \"1h\"\n[queues.default]\n{OFF}on_shutdown = \"flush\"\n{sink}"
    ));
    let daemon = start(&site);
    submit(&site, "default", "1\n2\n");
    let options = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"];
    let tracer = Tracer::attach(&strace, &daemon, "house", &options.map(str::to_owned));
    assert_eq!(daemon.term(), Exit::Code(74));
    tracer.wait();
    assert_eq!(site.delivered(), b"");
    assert!(site.log_text().contains("ERROR"));
    let daemon = site.start();
    daemon.signal(Signal::USR1);
    wait_for_delivery(&site, b"1\n2\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn the_clock_alone_delivers() {
    let queue = |name: &str, trigger: &str| format!("[queues.{name}]\n{trigger}\n");
    let sink = Site::lines_sink("default");
    let site = Site::new(&format!(
        "[queues.default]\n{OFF}{sink}{}{}{}{}",
        queue("rate", "interval = \"100ms\"\ninterval_jitter = \"20%\""),
        queue(
            "delay",
            "interval = \"100ms\"\ninterval_mode = \"fixed-delay\""
        ),
        queue("idle", "idle = \"100ms\""),
        queue("since", "max_since_flush = \"100ms\""),
    ));
    let daemon = start(&site);
    // Twice, so that what one leaves behind is seen to serve the next. The files are in order of queue, then of seq.
    for round in 1..=2 {
        for queue in ["rate", "delay", "idle", "since"] {
            submit(&site, queue, &format!("{queue}\n"));
        }
        let expected: String = ["delay\n", "idle\n", "rate\n", "since\n"]
            .map(|line| line.repeat(round))
            .concat();
        wait_for_delivery(&site, expected.as_bytes());
    }
    for (reason, count) in [("interval", 4), ("idle", 2), ("max_since_flush", 2)] {
        wait_for_log(&site, &format!("reason=\"{reason}\""), count);
    }
    assert_eq!(daemon.term(), Exit::Code(0));
}

/// How often the housekeeping thread gave up its processor by itself: once for every wait.
fn waits_of_house(daemon: &Daemon) -> u64 {
    // The socket is there before the threads are.
    let house = wait_until("the housekeeping thread", LONG, || {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("threads");
        let is_house = |task: &PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "house\n")
        };
        tasks
            .map(|task| task.expect("a thread").path())
            .find(is_house)
    });
    let status = fs::read_to_string(house.join("status")).expect("status");
    let waits = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .expect("a counter");
    waits.trim().parse().expect("a number")
}

#[test]
fn an_idle_daemon_does_not_look_at_the_clock() {
    let every = "max_age = \"1h\"\nmax_since_flush = \"1h\"\ninterval = \"1h\"\ninterval_jitter = \"20%\"\nidle = \"1h\"\n";
    let queues: String = (0..100).map(|n| format!("[queues.q{n}]\n")).collect();
    let site = Site::new(&format!("[queues.default]\n{every}{queues}"));
    let daemon = site.start();
    // Time passes with requests that are none of the thread's business. Had it something to do all the time, it would
    // wait more often than they are made.
    let quiet = |what: &str| {
        wait_until(what, LONG, || {
            let before = waits_of_house(&daemon);
            let statuses: Vec<Value> = (0..20)
                .map(|_| site.batchctl(["status", "--output", "json"], b"").success())
                .flat_map(|status| status.json())
                .collect();
            assert_eq!(statuses.len(), 20);
            (waits_of_house(&daemon) - before <= 1).then_some(())
        });
    };
    quiet("quiet with nothing to close");
    for queue in ["default", "q7"] {
        submit(&site, queue, "1\n");
    }
    quiet("quiet with something to close in an hour");
    assert_eq!(daemon.term(), Exit::Code(0));
}

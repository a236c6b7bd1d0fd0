//! The background thread whose event was never cleared went round without an end. What waits here is asleep.

use std::fs;

use batchd_tests::{Daemon, Exit, LONG, Site, wait_until};

/// How often all threads of a daemon got a processor, and gave it up or lost it.
fn switches(daemon: &Daemon) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("a process");
    let of_thread = |status: &str| -> u64 {
        let counters = status
            .lines()
            .filter(|line| line.contains("voluntary_ctxt_switches:"));
        let counts =
            counters.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        counts.sum()
    };
    // A thread may end meanwhile.
    let statuses =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    statuses.map(|status| of_thread(&status)).sum()
}

#[test]
fn idle_queues_cost_no_processor() {
    let queues: String = ["a", "b", "c", "d", "e"]
        .map(|queue| format!("[queues.{queue}]\n{}", Site::lines_sink(queue)))
        .concat();
    let site = Site::new(&format!(
        "[queues.default]\nmax_age = \"1h\"\ninterval = \"1h\"\n{queues}"
    ));
    let idle = site.start();
    site.batchctl(["submit", "--queue", "a"], b"waits for an hour\n")
        .success();
    // By another daemon a second is seen to pass.
    let other = Site::new(&format!(
        "[queues.default]\nmax_age = \"1s\"\n{}",
        Site::lines_sink("default")
    ));
    let busy = other.start();
    let mut round = 0;
    wait_until("a second in which nobody looks around", LONG, || {
        let before = switches(&idle);
        other.batchctl(["submit"], b"tick\n").success();
        round += 1;
        wait_until("a second", LONG, || {
            (other.delivered_files().len() == round).then_some(())
        });
        // Threads that looked twice a second would never come to so few.
        (switches(&idle) - before <= 1).then_some(())
    });
    assert_eq!(idle.term(), Exit::Code(0));
    assert_eq!(busy.term(), Exit::Code(0));
}

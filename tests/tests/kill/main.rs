//! The daemon is killed at every step.
//!
//! One scripted run makes the daemon do all it can do to its spool. It is repeated with the process killed (SIGKILL,
//! on entry, so that the call does not happen) at the first, second, third... call of one kind in one thread, until
//! a run gets through. Since everything but these calls leaves the disk as it is, that is every state a kill can
//! leave behind. After each kill an oracle that knows nothing of the spool's format looks at what is there.
//!
//! What is written stays in the page cache, so nothing is said here of syncs.

mod oracle;
mod points;
mod script;

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use batchd_client::{ItemBuffer, Key, QueueName, Target};
use batchd_tests::{LONG, Launch, Random, planted, poll, service, wait_until};

use points::{Harness, SinkKind, Summary, Whom};

/// Prints what came of it all.
fn print(what: &str, summary: &Summary, start: Instant) {
    let mut text = String::new();
    for ((whom, call), killed) in &summary.by_whom {
        text.push_str(&format!("  {whom:?}: {call} {killed}\n"));
    }
    text.push_str(&format!(
        "{what}: {} kill points, {} killed, {} violations, in {:.1} s\n",
        summary.points,
        summary.killed,
        summary.violations.len(),
        start.elapsed().as_secs_f64()
    ));
    io::stderr().write_all(text.as_bytes()).expect("stderr");
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_daemon_is_killed() {
    let Some(strace) = service("strace") else {
        return;
    };
    let start = Instant::now();
    let summary = Harness::new(strace, Launch::default(), SinkKind::Files).run_all(&Whom::ALL);
    print("as shipped", &summary, start);
    assert!(
        summary.violations.is_empty(),
        "{}",
        summary.violations.join("\n")
    );
    for whom in Whom::ALL {
        let killed: usize = summary
            .by_whom
            .iter()
            .filter(|((of, _), _)| *of == whom)
            .map(|(_, killed)| killed)
            .sum();
        assert!(killed > 0, "{whom:?} was never killed");
    }
}

#[test]
fn what_is_appended_to_one_file_is_there_once_wherever_the_daemon_is_killed() {
    let Some(strace) = service("strace") else {
        return;
    };
    let start = Instant::now();
    let harness = Harness::new(strace, Launch::default(), SinkKind::OneFile);
    let summary = harness.run_all(&[Whom::Sink]);
    print("appended to one file", &summary, start);
    assert!(
        summary.violations.is_empty(),
        "{}",
        summary.violations.join("\n")
    );
    assert!(summary.killed > 0);
}

#[test]
fn bugs_planted_on_purpose_are_found() {
    let Some(strace) = service("strace") else {
        return;
    };
    for (bug, whom) in [
        ("ack-before-append", Whom::Ingest),
        ("unlink-before-record", Whom::Sink),
    ] {
        let start = Instant::now();
        let mut launch = Launch::default().env("BATCHD_PLANTED", bug);
        launch.batchd = Some(planted().batchd.clone());
        let mut harness = Harness::new(strace.clone(), launch, SinkKind::Files);
        harness.until_found = true;
        let summary = harness.run_all(&[whom]);
        print(bug, &summary, start);
        assert!(!summary.violations.is_empty(), "{bug} was not found");
    }
}

/// Several clients at once, which the enumeration above does not have: here the moments are drawn, not enumerated.
#[test]
fn clients_go_on_through_kills_and_nothing_is_lost_or_doubled() {
    const CLIENTS: u64 = 4;
    const SUBMISSIONS: u64 = 400;
    const KILLS_MAX: usize = 40;
    let site = SinkKind::Files.site();
    let items = |client: u64, number: u64| {
        (0..1 + (client + number) % 5).map(move |item| format!("{client}:{number}.{item}"))
    };
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (site, done) = (&site, &done);
            scope.spawn(move || {
                let mut options = site.options();
                (options.wait_for_daemon, options.deadline) = (true, LONG);
                // Soon enough to be there when the next daemon is killed.
                options.retry.max = Duration::from_millis(50);
                let mut connection =
                    batchd_client::blocking::Client::new(options).expect("random bytes");
                let mut target = Target::new(QueueName::new("default").expect("a name"));
                target.key = Key::new(client.to_string()).expect("a key");
                for number in 0..SUBMISSIONS {
                    let items = ItemBuffer::from_iter(items(client, number));
                    let submission = connection.prepare(&target, &items);
                    // Some are waited for, most are in flight with others.
                    if number % 7 == 0 {
                        connection.submit(submission).expect("submitted");
                    } else {
                        connection.send(submission).expect("sent");
                    }
                }
                connection.settle().expect("settled");
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut random = Random::new(5);
        let is_done = || (done.load(Ordering::Relaxed) as u64 == CLIENTS).then_some(());
        let mut kills = 0;
        while is_done().is_none() && kills < KILLS_MAX {
            let daemon = site.start();
            poll(Duration::from_millis(10 + random.next_u64() % 60), is_done);
            daemon.kill9();
            kills += 1;
        }
        assert!(kills > 2, "the clients were done after {kills} kills");
        let _daemon = site.start();
        wait_until("the clients", LONG * 2, is_done);
        site.batchctl(["flush", "--wait"], b"").success();
    });
    let delivered: Vec<_> = site
        .delivered_files()
        .iter()
        .flat_map(oracle::items)
        .collect();
    for client in 0..CLIENTS {
        let prefix = format!("{client}:");
        let found: Vec<_> = delivered
            .iter()
            .filter(|item| item.starts_with(&prefix))
            .collect();
        let expected: Vec<_> = (0..SUBMISSIONS)
            .flat_map(|number| items(client, number))
            .collect();
        assert!(
            found.iter().copied().eq(&expected),
            "client {client}: {} of {} items",
            found.len(),
            expected.len()
        );
    }
    assert!(!site.log_text().contains("panicked"), "{}", site.log_text());
}

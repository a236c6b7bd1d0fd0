//! Many clients that send as much as they may, all at once: memory stays bounded, and others are served.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use batchd_protocol::{Ack, ErrorCode, Request, Response, encode_message};
use batchd_tests::{Body, Exit, LONG, Site, Wire, poll, wait_until};

/// So many connections.
const CLIENTS: usize = 200;
/// The longest submission, less what is around the items.
const SUBMISSION_BYTES: usize = (16 << 20) - 64;
/// Long messages on their way (48 MiB), their copies in groups (as much), the beginnings of others (256 KiB each), and
/// what a daemon needs anyway; of more than 3 GiB that are sent.
const MEMORY_KIB_MAX: u64 = 256 << 10;
/// Small items are sent for so long,
const FLOOD_TIME: Duration = Duration::from_secs(5);
/// and cost no more than that: what waits (8 MiB), the group that is written, and what a daemon needs anyway.
const SMALL_MEMORY_KIB_MAX: u64 = 96 << 10;
/// A decent client is served within that, whatever others do.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn two_hundred_clients_with_the_longest_submissions() {
    // The spool is full after a few, so that it is memory that is tried and not the disk.
    let site = Site::lines(1);
    site.configure_spool(
        "max_bytes = \"64MiB\"\nballast = \"off\"",
        "[limits]\nitem_bytes_max = \"16MiB\"\n\
         [queues.default]\nmax_bytes = \"1GiB\"\nmax_age = \"off\"\nsink = \"off\"\n\
         [queues.other]\nmax_items = 1\n",
    );
    let daemon = site.start();
    let body = Body::new(None, &[vec![b'x'; SUBMISSION_BYTES]]);
    let served = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
                    let submit = body.submit(1, "default", b"", Ack::Synced);
                    wire.send(&Request::Submit(submit)).expect("sent");
                    match wire.receive().expect("an answer") {
                        Some(Response::Accepted { .. }) => true,
                        Some(Response::Failed { code, .. }) => {
                            assert_eq!(code, ErrorCode::SpoolFull);
                            false
                        }
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        let mut served = Duration::ZERO;
        while clients.iter().any(|client| !client.is_finished()) {
            let start = Instant::now();
            site.batchctl(["status"], b"").success();
            served = served.max(start.elapsed());
        }
        let accepted = clients
            .into_iter()
            .filter_map(|client| client.join().ok())
            .filter(|accepted| *accepted)
            .count();
        assert!((1..=4).contains(&accepted), "{accepted} accepted");
        served
    });
    assert!(served < SERVED_WITHIN, "served after {served:?}");
    let most = daemon.memory_kib("VmHWM");
    assert!(most < MEMORY_KIB_MAX, "{most} KiB");
    eprintln!("status answered within {served:?}; {most} KiB at most");
    assert_eq!(daemon.term(), Exit::Code(0));
}

/// A client sends items of 40 bytes as fast as they are read, and waits for no answer.
fn check_small_items(queue: &str) {
    let site = Site::new(&format!(
        "[queues.default]\nmax_age = \"off\"\nsink = \"off\"\n{queue}"
    ));
    let daemon = site.start();
    let body = Body::new(None, &[[b'x'; 40]]);
    let one = encode_message(&Request::Submit(body.submit(1, "default", b"", Ack::None)));
    let many = one.repeat(1000);
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    let (mut sent, mut served) = (0, Duration::ZERO);
    let start = Instant::now();
    while start.elapsed() < FLOOD_TIME {
        let pause = Instant::now();
        while pause.elapsed() < FLOOD_TIME / 20 {
            let more = poll(FLOOD_TIME / 20, || {
                let rest = many.get(sent % many.len()..).expect("shorter");
                Some(wire.send_now(rest).expect("sent")).filter(|more| *more > 0)
            });
            sent += more.unwrap_or(0);
        }
        let asked = Instant::now();
        site.batchctl(["status"], b"").success();
        served = served.max(asked.elapsed());
    }
    let most = daemon.memory_kib("VmHWM");
    let items = sent / one.len();
    assert!(served < SERVED_WITHIN, "served after {served:?}");
    assert!(
        most < SMALL_MEMORY_KIB_MAX,
        "{most} KiB after {items} items"
    );
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn small_items_faster_than_they_are_written() {
    check_small_items("");
}

#[test]
fn small_items_that_are_a_batch_each() {
    check_small_items("max_items = 1\n");
}

#[test]
fn sinks_that_hang_hold_up_nobody_who_asks() {
    // More than a pool of threads has of itself.
    const QUEUES: usize = 520;
    let queue = |number| {
        format!(
            "[queues.q{number}]\nmax_items = 1\n[queues.q{number}.sink]\ntype = \"file\"\n\
             path = \"{{out}}/{number}\"\nappend = true\nencoding = \"lines\"\n"
        )
    };
    let site = Site::new(&(0..QUEUES).map(queue).collect::<String>());
    // What a sink notes beside its file is a pipe here, which nobody writes to.
    let pipes = (0..QUEUES).map(|number| site.out().join(format!(".{number}.batchd")));
    let made = Command::new("mkfifo").args(pipes).status().expect("mkfifo");
    assert!(made.success());
    let daemon = site.start();
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    let body = Body::new(None, &["one"]);
    for number in 0..QUEUES {
        let queue = format!("q{number}");
        let submit = body.submit(1, &queue, b"", Ack::Written);
        wire.send(&Request::Submit(submit)).expect("sent");
        let answer = wire.receive().expect("an answer");
        assert!(
            matches!(answer, Some(Response::Accepted { .. })),
            "{answer:?}"
        );
    }
    wait_until("the sinks to hang", LONG, || {
        let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("a process");
        (threads.count() >= QUEUES).then_some(())
    });
    site.batchctl(["--timeout", "20s", "status"], b"").success();
    daemon.kill9();
}

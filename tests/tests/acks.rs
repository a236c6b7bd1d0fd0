//! Submissions that wait for the sink, and what else goes on meanwhile.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use batchd_client::ItemBuffer;
use batchd_client::{Ack, QueueName, Target};
use batchd_frame::{ProducerId, SubmissionId};
use batchd_protocol::{ErrorCode, Request, Response, encode_message, encode_message_into};
use batchd_tests::{Body, Daemon, Exit, LONG, Site, Tracer, Wire, wait_until};

/// A decent client is served within that, whatever others do.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// So many wait for a sink that takes nothing.
const WAITING: u64 = 10_000;

fn id(sequence: u64) -> SubmissionId {
    SubmissionId {
        producer: ProducerId::from_bytes([7; 16]),
        sequence,
    }
}

/// A queue `default` that delivers to a directory that is not there, and one that works.
fn stalled() -> Site {
    Site::new(&format!(
        "[queues.default]\nmax_items = 100\nmax_age = \"off\"\n\
         [queues.default.sink]\ntype = \"file\"\npath = \"{{root}}/missing/out\"\n\
         [queues.works]\nmax_items = 1\n{}",
        Site::lines_sink("works")
    ))
}

#[test]
fn delivered_is_answered_when_the_sink_has_it() {
    let site = Site::lines(3);
    let daemon = site.start();
    let out = site.batchctl(
        ["submit", "--ack", "delivered", "-v"],
        b"a\nb\nc\nd\ne\nf\n",
    );
    out.success();
    assert_eq!(site.delivered(), b"a\nb\nc\nd\ne\nf\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn requests_behind_it_do_not_wait_for_the_delivery() {
    let site = Site::lines(100);
    let _daemon = site.start();
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    let body = Body::new(None, &["one"]);
    wire.send(&Request::Submit(body.submit(
        1,
        "default",
        b"",
        Ack::Delivered,
    )))
    .expect("sent");
    let flush = Request::Flush {
        request: 2,
        queue: None,
        wait: true,
    };
    wire.send(&flush).expect("sent");
    let mut answered = Vec::new();
    while answered.len() < 2 {
        match wire.receive().expect("an answer") {
            Some(Response::Accepted { request, ack, .. }) => {
                assert_eq!(ack, Ack::Delivered);
                answered.push(request);
            }
            Some(Response::Flushed { request, report }) => {
                assert_eq!(report.items, 1, "the flush is behind the submission");
                answered.push(request);
            }
            other => panic!("{other:?}"),
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 2]);
}

#[test]
fn many_that_wait_cost_little_and_hold_up_nobody() {
    let site = stalled();
    let daemon = site.start();
    site.submit("works", &[vec!["first"]]).expect("submitted");
    let before = daemon.memory_kib("VmRSS");
    let mut wires: Vec<Wire> = (0..100)
        .map(|_| Wire::greeted(&site.socket()).expect("welcome"))
        .collect();
    for number in 0..WAITING {
        let wire = usize::try_from(number % 100).expect("few");
        let body = Body::new(Some(id(number)), &["waits"]);
        let submit = body.submit(number, "default", b"", Ack::Delivered);
        wires[wire].send(&Request::Submit(submit)).expect("sent");
    }
    wait_until("all of them to be kept", LONG, || {
        let status = site
            .batchctl(["status", "--output", "json"], b"")
            .success()
            .json();
        let queues = status[0]["queues"].as_array().expect("queues").clone();
        let accepted = queues[0]["submissions_accepted"].as_u64();
        (accepted == Some(WAITING)).then_some(())
    });
    let start = Instant::now();
    site.batchctl(
        ["submit", "--queue", "works", "--ack", "delivered"],
        b"second\n",
    )
    .success();
    site.batchctl(["status"], b"").success();
    assert!(start.elapsed() < SERVED_WITHIN);
    let grown = daemon.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < 32 << 10, "grew by {grown} KiB");
    // The sink works after all: every one of them is answered.
    fs::create_dir_all(site.root().join("missing/out")).expect("directory");
    site.batchctl(["flush", "--wait"], b"").success();
    for wire in &mut wires {
        for _ in 0..100 {
            match wire.receive().expect("an answer") {
                Some(Response::Accepted { ack, .. }) => assert_eq!(ack, Ack::Delivered),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_stop_tells_those_who_wait_and_a_repeat_waits_on() {
    let site = stalled();
    let daemon = site.start();
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    let body = Body::new(Some(id(1)), &["waits"]);
    let mut submit = body.submit(1, "default", b"", Ack::Delivered);
    wire.send(&Request::Submit(submit)).expect("sent");
    wait_until("it to be kept", LONG, || {
        let listed = site.batchctl(["ls", "--output", "json"], b"").success();
        (!listed.json().is_empty()).then_some(())
    });
    assert_eq!(daemon.term(), Exit::Code(0));
    match wire.receive().expect("an answer") {
        Some(Response::Failed { code, .. }) => assert_eq!(code, ErrorCode::Stopping),
        other => panic!("{other:?}"),
    }
    fs::create_dir_all(site.root().join("missing/out")).expect("directory");
    let _daemon = site.start();
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    submit.repeat = true;
    wire.send(&Request::Submit(submit)).expect("sent");
    site.batchctl(["flush", "--wait"], b"").success();
    match wire.receive().expect("an answer") {
        Some(Response::Accepted { ack, repeat, .. }) => {
            assert_eq!((ack, repeat), (Ack::Delivered, true));
        }
        other => panic!("{other:?}"),
    }
    let delivered = fs::read_dir(site.root().join("missing/out"))
        .expect("out")
        .count();
    assert_eq!(delivered, 1);
}

/// Makes every sync of a thread take 10 ms longer. Nothing where strace is missing.
fn slow_syncs(daemon: &Daemon, thread: &str) -> Option<Tracer> {
    Tracer::inject(daemon, thread, &["fdatasync:delay_enter=10000"], None)
}

#[test]
fn a_stop_answers_all_of_what_was_begun() {
    let site = Site::new(
        "[queues.default]\nmax_items = 1\nmax_age = \"off\"\n\
         [queues.default.sink]\ntype = \"file\"\npath = \"{root}/missing/out\"\n",
    );
    let daemon = site.start();
    let Some(_slow) = slow_syncs(&daemon, "ingest-0") else {
        return;
    };
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    // More batches than a thread writes at once, in one read.
    let items: Vec<_> = (0..16).map(|number| number.to_string()).collect();
    let mut bytes = Vec::new();
    for (number, key, ack) in [(1, b"a", Ack::Synced), (2, b"b", Ack::Delivered)] {
        let body = Body::new(Some(id(number)), &items);
        let submit = body.submit(number, "default", key, ack);
        encode_message_into(&Request::Submit(submit), &mut bytes);
    }
    wire.send_bytes(&bytes).expect("sent");
    wait_until("the first batch", LONG, || {
        let ready = fs::read_dir(site.spool().join("queues/default/ready")).expect("ready");
        (ready.count() > 0).then_some(())
    });
    assert_eq!(daemon.term(), Exit::Code(0));
    let mut answers: Vec<_> = (0..2)
        .map(|_| match wire.receive().expect("an answer") {
            Some(Response::Accepted { request, .. }) => (request, None),
            Some(Response::Failed { request, code, .. }) => (request, Some(code)),
            other => panic!("{other:?}"),
        })
        .collect();
    answers.sort_by_key(|(request, _)| *request);
    assert_eq!(answers, [(1, None), (2, Some(ErrorCode::Stopping))]);
    assert_eq!(wire.receive().expect("the end"), None);
    let _daemon = site.start();
    let batches: Vec<_> = site
        .client(None, LONG)
        .list(None)
        .collect::<Result<_, _>>()
        .expect("a list");
    assert_eq!(batches.len(), 32);
}

#[test]
fn a_stop_answers_also_what_another_thread_keeps() {
    const CLIENTS: usize = 6;
    let site = Site::new(
        "[engine]\ningest_threads = 2\n[queues.default]\nmax_age = \"off\"\nsink = \"off\"\n",
    );
    let daemon = site.start();
    let slow = ["ingest-0", "ingest-1"].map(|thread| slow_syncs(&daemon, thread));
    if slow.iter().any(Option::is_none) {
        return;
    }
    let body = Body::new(None, &["one"]);
    let one = encode_message(&Request::Submit(body.submit(
        1,
        "default",
        b"",
        Ack::Synced,
    )));
    let accepted: Vec<_> = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for accepted in &accepted {
            scope.spawn(|| {
                let mut wire = Wire::greeted(&site.socket()).expect("welcome");
                // A few are always under way.
                let mut is_sent = wire.send_bytes(&one.repeat(20)).is_ok();
                while let Ok(Some(answer)) = wire.receive() {
                    assert!(matches!(answer, Response::Accepted { .. }), "{answer:?}");
                    accepted.fetch_add(1, Ordering::Relaxed);
                    is_sent = is_sent && wire.send_bytes(&one).is_ok();
                }
            });
        }
        wait_until("all to be at it", LONG, || {
            let is_at_it = |count: &AtomicU64| count.load(Ordering::Relaxed) > 50;
            accepted.iter().all(is_at_it).then_some(())
        });
        assert_eq!(daemon.term(), Exit::Code(0));
    });
    let _daemon = site.start();
    let mut client = site.client(None, LONG);
    let batches = client.list(None);
    let kept: u64 = batches.map(|batch| batch.expect("a batch").items).sum();
    let accepted: u64 = accepted.iter().map(|a| a.load(Ordering::Relaxed)).sum();
    assert_eq!(accepted, kept);
}

#[test]
fn without_a_sink_it_is_refused() {
    let site = Site::new("[queues.default]\nsink = \"off\"\n");
    let _daemon = site.start();
    let mut client = site.client(None, LONG);
    let target = Target::new(QueueName::new("default").expect("name"));
    let submission = client.prepare(&target, &ItemBuffer::from_iter(["x"]));
    client.submit(submission).expect("kept");
    site.batchctl(["submit", "--ack", "delivered"], b"x\n")
        .expect_code(78);
}

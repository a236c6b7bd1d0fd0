//! What no decent client sends: each gets the error that is documented for it, and nobody else notices.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use batchd_frame::{ProducerId, SubmissionId, checksum::crc32c};
use batchd_protocol::{
    Ack, Create, ErrorCode, HELLO_MAGIC, PROTOCOL_VERSION, Request, Response, encode_message,
    encode_message_into,
};
use batchd_tests::{Body, Daemon, Exit, LONG, Random, Site, Wire, hello, poll, wait_until};

/// The daemon's memory may grow by so much, whatever is sent.
const GROWTH_KIB_MAX: u64 = 32 << 10;
/// A decent client is served within that, whatever others do.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// A daemon with what it needs of memory when all is well.
struct Victim {
    site: Site,
    daemon: Daemon,
    kib: u64,
}

impl Victim {
    fn start() -> Self {
        let site =
            Site::new("[queues.default]\nmax_age = \"off\"\nmax_bytes = \"off\"\nsink = \"off\"\n");
        let daemon = site.start();
        // What any daemon grows to when it is used.
        site.submit("default", &[vec![vec![b'x'; 1 << 20]; 4]])
            .expect("submitted");
        let kib = daemon.memory_kib("VmHWM");
        Self { site, daemon, kib }
    }

    fn wire(&self) -> Wire {
        Wire::greeted(&self.site.socket()).expect("welcome")
    }

    /// Submits as anybody would; says how long that took.
    #[track_caller]
    fn serve_somebody(&self) -> Duration {
        let start = Instant::now();
        self.site
            .submit("default", &[vec!["somebody's"]])
            .expect("submitted");
        let took = start.elapsed();
        assert!(took < SERVED_WITHIN, "served after {took:?}");
        took
    }

    /// It runs, has not grown, and stops as it should.
    #[track_caller]
    fn expect_well(self) {
        self.serve_somebody();
        let kib = self.daemon.memory_kib("VmHWM");
        assert!(
            kib <= self.kib + GROWTH_KIB_MAX,
            "grew from {} to {kib} KiB",
            self.kib
        );
        assert_eq!(self.daemon.term(), Exit::Code(0));
        assert!(!self.site.log_text().contains("panicked"));
    }
}

/// The code of the next answer, which must be a failure.
#[track_caller]
fn failure(wire: &mut Wire) -> ErrorCode {
    match wire.receive().expect("an answer") {
        Some(Response::Failed { code, .. }) => code,
        other => panic!("{other:?} instead of a failure"),
    }
}

/// The bytes are answered with a failure, and the connection is closed.
#[track_caller]
fn check_closed(victim: &Victim, greeted: bool, bytes: &[u8], expected: ErrorCode) {
    let connected = if greeted {
        Wire::greeted
    } else {
        Wire::connect
    };
    let mut wire = connected(&victim.site.socket()).expect("connection");
    wire.send_bytes(bytes).expect("sent");
    assert_eq!(failure(&mut wire), expected);
    assert_eq!(wire.receive().expect("an end"), None);
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let victim = Victim::start();
    let message = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("short");
        [&length.to_le_bytes()[..], bytes].concat()
    };
    let garbage = message(b"\xff\xff\xff\xff garbage");
    for greeted in [false, true] {
        check_closed(&victim, greeted, &garbage, ErrorCode::BadMessage);
        check_closed(&victim, greeted, &message(b""), ErrorCode::BadMessage);
        check_closed(&victim, greeted, &[0xff; 4], ErrorCode::MessageTooLarge);
        check_closed(&victim, greeted, &[0xff; 400], ErrorCode::MessageTooLarge);
        let one_more = (16u32 << 20) + (64 << 10) + 1;
        check_closed(
            &victim,
            greeted,
            &one_more.to_le_bytes(),
            ErrorCode::MessageTooLarge,
        );
        // List and Verify from a cursor whose queue has a name that is longer than any memory.
        for length in [1u64 << 45, u64::MAX] {
            for request in [4, 7] {
                let list = [&[request, 1, 0, 1, 0xfd][..], &length.to_le_bytes()].concat();
                check_closed(&victim, greeted, &message(&list), ErrorCode::BadMessage);
            }
        }
    }
    let wrong_magic = Request::Hello {
        magic: *b"GET / HT",
        version: 1,
        client: "",
    };
    check_closed(
        &victim,
        false,
        &encode_message(&wrong_magic),
        ErrorCode::BadMessage,
    );
    check_closed(
        &victim,
        false,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ErrorCode::MessageTooLarge,
    );
    let newer = encode_message(&hello(PROTOCOL_VERSION + 1));
    check_closed(&victim, false, &newer, ErrorCode::UnsupportedVersion);
    let again = encode_message(&hello(PROTOCOL_VERSION));
    check_closed(&victim, true, &again, ErrorCode::BadMessage);
    check_closed(
        &victim,
        false,
        &encode_message(&Request::Status { request: 1 }),
        ErrorCode::BadMessage,
    );
    let body = Body::new(None, &["early"]);
    let early = Request::Submit(body.submit(1, "default", b"", Ack::Synced));
    check_closed(
        &victim,
        false,
        &encode_message(&early),
        ErrorCode::BadMessage,
    );
    let log = victim.site.log_text();
    let closed = "connection closed: BadMessage: the other side does not speak batchd's protocol";
    assert!(log.contains(closed), "{log}");
    victim.expect_well();
}

#[test]
fn a_bad_submission_is_refused_and_the_connection_goes_on() {
    let victim = Victim::start();
    let mut wire = victim.wire();
    let mut refused = |body: &Body, queue: &str, key: &[u8], expected: ErrorCode| {
        wire.send(&Request::Submit(body.submit(7, queue, key, Ack::Synced)))
            .expect("sent");
        match wire.receive().expect("an answer") {
            Some(Response::Failed {
                request: 7,
                code,
                message,
            }) => {
                assert_eq!(code, expected, "{message}");
                assert!(!message.is_empty());
            }
            other => panic!("{other:?} instead of {expected:?}"),
        }
        let good = Body::new(None, &["good"]);
        wire.send(&Request::Submit(good.submit(
            8,
            "default",
            b"",
            Ack::Synced,
        )))
        .expect("sent");
        let answer = wire.receive().expect("an answer");
        assert!(
            matches!(answer, Some(Response::Accepted { request: 8, .. })),
            "{answer:?}"
        );
    };
    let good = Body::new(None, &["one", "two"]);
    refused(&good, "nobody", b"", ErrorCode::UnknownQueue);
    refused(&good, "../escape", b"", ErrorCode::UnknownQueue);
    refused(&good, "", b"", ErrorCode::UnknownQueue);
    refused(&good, &"q".repeat(10_000), b"", ErrorCode::UnknownQueue);
    refused(&good, "default", &[b'k'; 256], ErrorCode::BadName);
    let mut bad = good.clone();
    bad.crc ^= 1;
    refused(&bad, "default", b"", ErrorCode::ChecksumMismatch);
    let mut bad = good.clone();
    if let Some(last) = bad.bytes.last_mut() {
        *last ^= 1;
    }
    refused(&bad, "default", b"", ErrorCode::ChecksumMismatch);
    for items in [0, 1, 3, u32::MAX] {
        let bad = Body {
            items,
            ..good.clone()
        };
        refused(&bad, "default", b"", ErrorCode::BadBody);
    }
    for bytes in [
        vec![],
        vec![0xff; 100],
        b"\0\xfd\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ] {
        let bad = Body {
            items: 1,
            crc: crc32c(&bytes),
            bytes,
        };
        refused(&bad, "default", b"", ErrorCode::BadBody);
    }
    let long = Body::new(None, &[vec![b'x'; (1 << 20) + 1]]);
    refused(&long, "default", b"", ErrorCode::ItemTooLarge);
    let large = Body::new(None, &vec![vec![b'x'; 1 << 20]; 16]);
    refused(&large, "default", b"", ErrorCode::SubmissionTooLarge);
    victim.expect_well();
}

#[test]
fn long_names_and_keys_are_refused_in_every_request() {
    let victim = Victim::start();
    let mut wire = victim.wire();
    let long = "q".repeat(8 << 20);
    let body = Body::new(None, &["one"]);
    let create = |queue, key| {
        Request::Create(Create {
            request: 7,
            queue,
            key,
            lifespan: None,
            items: body.items,
            body_crc: body.crc,
            body: &body.bytes,
        })
    };
    let queue = Some(long.as_str());
    let (request, after, wait) = (7, None, false);
    let requests = [
        (create(&long, b""), ErrorCode::UnknownQueue),
        (create("default", long.as_bytes()), ErrorCode::BadName),
        (
            Request::Flush {
                request,
                queue,
                wait,
            },
            ErrorCode::UnknownQueue,
        ),
        (
            Request::Verify {
                request,
                queue,
                after,
            },
            ErrorCode::UnknownQueue,
        ),
    ];
    for (request, expected) in requests {
        wire.send(&request).expect("sent");
        match wire.receive().expect("an answer") {
            Some(Response::Failed {
                request: 7,
                code,
                message,
            }) => {
                assert_eq!(code, expected, "{message}");
            }
            other => panic!("{other:?} instead of {expected:?}"),
        }
    }
    victim.expect_well();
}

#[test]
fn a_message_that_is_cut_is_as_if_it_was_never_sent() {
    let victim = Victim::start();
    for bytes in [1000, 700_000] {
        let body = Body::new(None, &[vec![b'c'; bytes]]);
        let message = encode_message(&Request::Submit(body.submit(
            1,
            "default",
            b"cut",
            Ack::Synced,
        )));
        for length in [1, 3, 4, 5, 20, message.len() / 2, message.len() - 1] {
            let mut wire = victim.wire();
            wire.send_bytes(message.get(..length).expect("shorter"))
                .expect("sent");
            wire.finish().expect("half closed");
            assert_eq!(
                wire.receive().expect("an end"),
                None,
                "{length} of {}",
                message.len()
            );
        }
    }
    let batches: Vec<_> = victim
        .site
        .client(None, LONG)
        .list(None)
        .collect::<Result<_, _>>()
        .expect("a list");
    assert!(
        batches
            .iter()
            .all(|batch| batch.key.as_deref() != Some(b"cut")),
        "{batches:?}"
    );
    victim.expect_well();
}

#[test]
fn a_slow_trickle_holds_nobody_up() {
    let victim = Victim::start();
    let body = Body::new(None, &["slow but sure"]);
    let mut message = encode_message(&hello(PROTOCOL_VERSION));
    encode_message_into(
        &Request::Submit(body.submit(1, "default", b"", Ack::Synced)),
        &mut message,
    );
    let mut trickles: Vec<_> = (0..5)
        .map(|_| Wire::connect(&victim.site.socket()).expect("connection"))
        .collect();
    // Ones whose message is longer than a read, and never comes.
    let mut stuck: Vec<_> = (0..20).map(|_| victim.wire()).collect();
    for wire in &mut stuck {
        wire.send_bytes(&(16u32 << 20).to_le_bytes()).expect("sent");
        wire.send_bytes(&[0; 1000]).expect("sent");
    }
    for byte in &message {
        for wire in &mut trickles {
            wire.send_bytes(&[*byte]).expect("sent");
        }
        victim.serve_somebody();
    }
    for wire in &mut trickles {
        assert!(matches!(wire.receive(), Ok(Some(Response::Welcome { .. }))));
        assert!(matches!(
            wire.receive(),
            Ok(Some(Response::Accepted { request: 1, .. }))
        ));
    }
    victim.expect_well();
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let victim = Victim::start();
    let mut wire = victim.wire();
    let body = Body::new(None, &["x"]);
    // A refusal is longer than its request is wide.
    let queue = "nobody-".repeat(10);
    let one = encode_message(&Request::Submit(body.submit(9, &queue, b"", Ack::Synced)));
    let many = one.repeat(500);
    let mut sent = 0u64;
    loop {
        let more = poll(Duration::from_secs(1), || {
            let rest = usize::try_from(sent % many.len() as u64).expect("shorter");
            let count = wire
                .send_now(many.get(rest..).expect("shorter"))
                .expect("sent");
            (count > 0).then_some(count as u64)
        });
        match more {
            Some(more) => sent += more,
            None => break,
        }
        assert!(sent < 64 << 20, "the daemon reads on and on");
    }
    victim.serve_somebody();
    // Every answer is still there, once it reads.
    for _ in 0..sent / one.len() as u64 {
        assert_eq!(failure(&mut wire), ErrorCode::UnknownQueue);
    }
    let begun = usize::try_from(sent % one.len() as u64).expect("shorter");
    wire.send_bytes(one.get(begun..).expect("shorter"))
        .expect("sent");
    assert_eq!(failure(&mut wire), ErrorCode::UnknownQueue);
    // One that never reads, and goes.
    let mut gone = victim.wire();
    while gone.send_now(&many).expect("sent") > 0 {}
    drop(gone);
    victim.expect_well();
}

#[test]
fn more_than_a_thousand_questions_at_once_end_the_connection() {
    let victim = Victim::start();
    let mut wire = victim.wire();
    let mut bytes = Vec::new();
    for request in 1..=1100 {
        encode_message_into(&Request::Status { request }, &mut bytes);
    }
    wire.send_bytes(&bytes).expect("sent");
    let (mut answered, mut failures) = (0, Vec::new());
    while let Some(answer) = wire.receive().expect("an answer, or the end") {
        match answer {
            Response::Status { .. } => answered += 1,
            Response::Failed { request, code, .. } => failures.push((request, code)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failures, [(0, ErrorCode::BadMessage)]);
    assert_eq!(answered, 1024);
    victim.expect_well();
}

#[test]
fn who_sends_no_more_gets_every_answer() {
    let site = Site::new(&format!(
        "[queues.default]\nmax_age = \"off\"\n{}",
        Site::lines_sink("default")
    ));
    let daemon = site.start();
    for round in 0..20 {
        let mut wire = Wire::greeted(&site.socket()).expect("welcome");
        let body = Body::new(None, &["one"]);
        let mut bytes = encode_message(&Request::Submit(body.submit(
            1,
            "default",
            b"",
            Ack::Synced,
        )));
        encode_message_into(&Request::Status { request: 2 }, &mut bytes);
        let flush = Request::Flush {
            request: 3,
            queue: None,
            wait: true,
        };
        encode_message_into(&flush, &mut bytes);
        encode_message_into(&Request::Status { request: 4 }, &mut bytes);
        wire.send_bytes(&bytes).expect("sent");
        wire.finish().expect("half closed");
        let mut answers = 0;
        while let Some(answer) = wire.receive().expect("an answer, or the end") {
            assert!(!matches!(answer, Response::Failed { .. }), "{answer:?}");
            answers += 1;
        }
        assert_eq!(answers, 4, "in round {round}");
    }
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_hundred_idle_connections_hold_nobody_up() {
    let victim = Victim::start();
    let connect = |_| Wire::connect(&victim.site.socket()).expect("connection");
    let silent: Vec<_> = (0..50).map(connect).collect();
    let idle: Vec<_> = (0..50).map(|_| victim.wire()).collect();
    for _ in 0..20 {
        victim.serve_somebody();
    }
    let descriptors = victim.daemon.descriptors();
    assert!(descriptors >= 100, "{descriptors}");
    drop((silent, idle));
    wait_until("descriptors to be closed", LONG, || {
        (victim.daemon.descriptors() < descriptors - 90).then_some(())
    });
    victim.expect_well();
}

#[test]
fn too_many_connections_are_refused_and_those_there_are_go_on() {
    let site = Site::new(
        "[limits]\nconnections = 10\n[queues.default]\nmax_age = \"off\"\nsink = \"off\"\n",
    );
    let daemon = site.start();
    let greet = || Wire::greeted(&site.socket());
    let mut wires: Vec<Wire> = wait_until("ten connections", LONG, || {
        let wires: Vec<_> = (0..10).map(|_| greet()).collect::<Result<_, _>>().ok()?;
        Some(wires)
    });
    assert!(greet().is_err());
    for wire in &mut wires {
        wire.send(&Request::Status { request: 3 }).expect("sent");
        assert!(matches!(
            wire.receive(),
            Ok(Some(Response::Status { request: 3, .. }))
        ));
    }
    wires.pop();
    wait_until("a place to be free", LONG, || greet().ok());
    drop(wires);
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn random_bytes_do_no_harm() {
    const STRINGS: u64 = 10_000;
    const WORKERS: usize = 4;
    let victim = Victim::start();
    let (done, slowest) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let decent = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let took = victim.serve_somebody();
                slowest.fetch_max(
                    u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    Ordering::Relaxed,
                );
            }
        });
        let bad: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let victim = &victim;
                scope.spawn(move || {
                    for seed in (worker as u64..STRINGS).step_by(WORKERS) {
                        if let Err(error) = throw(victim, seed) {
                            panic!("seed {seed}: {error}");
                        }
                    }
                })
            })
            .collect();
        for thread in bad {
            thread.join().expect("every string is answered");
        }
        done.store(true, Ordering::Relaxed);
        decent.join().expect("decent clients are served");
    });
    println!(
        "slowest decent submission: {} ms",
        slowest.load(Ordering::Relaxed)
    );
    // What was kept is what somebody sent.
    let mut client = victim.site.client(None, LONG);
    let batches: Vec<_> = client.list(None).collect::<Result<_, _>>().expect("a list");
    let mut kept = HashSet::new();
    for batch in batches {
        for item in client.items(batch.id) {
            kept.insert(item.expect("an item"));
        }
    }
    let known: HashSet<Vec<u8>> = [&b"somebody's"[..], b"thrown", &vec![b'x'; 1 << 20]]
        .map(<[u8]>::to_vec)
        .into();
    assert!(
        kept.is_subset(&known),
        "{:?}",
        kept.difference(&known).map(Vec::len).collect::<Vec<_>>()
    );
    victim.expect_well();
}

/// Throws one string at the daemon and takes what comes back, which must be responses and an end.
fn throw(victim: &Victim, seed: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    let mut wire = if random.below(2) == 0 {
        Wire::connect(&victim.site.socket())?
    } else {
        Wire::greeted(&victim.site.socket())?
    };
    let bytes = string(&mut random);
    match wire.send_bytes(&bytes).and_then(|()| wire.finish()) {
        // It may have been refused before its end.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    let mut answers = 0;
    while wire.receive()?.is_some() {
        answers += 1;
    }
    assert!(answers <= 10, "{answers} answers");
    Ok(())
}

/// Noise, noise in a frame, or a good message with a few bits flipped or a piece missing.
fn string(random: &mut Random) -> Vec<u8> {
    let count = random.below(300);
    match random.below(4) {
        0 => random.bytes(count),
        1 => {
            let noise = random.bytes(count);
            let length = u32::try_from(noise.len()).expect("short");
            [&length.to_le_bytes()[..], &noise].concat()
        }
        kind => {
            let id = SubmissionId {
                producer: ProducerId::from_bytes([3; 16]),
                sequence: random.next_u64() % 100,
            };
            let body = Body::new(Some(id), &["thrown"]);
            let mut bytes = Vec::new();
            let magic = HELLO_MAGIC;
            encode_message_into(
                &Request::Hello {
                    magic,
                    version: 1,
                    client: "thrower",
                },
                &mut bytes,
            );
            let submit = body.submit(1, "default", b"key", Ack::Synced);
            encode_message_into(&Request::Submit(submit), &mut bytes);
            encode_message_into(
                &Request::List {
                    request: 2,
                    queue: Some("default"),
                    after: None,
                    limit: 10,
                },
                &mut bytes,
            );
            encode_message_into(
                &Request::Flush {
                    request: 3,
                    queue: None,
                    wait: false,
                },
                &mut bytes,
            );
            if kind == 2 {
                for _ in 0..=random.below(4) {
                    let (at, bit) = (random.below(bytes.len()), random.below(8));
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
            } else {
                let from = random.below(bytes.len());
                let to = from + random.below(bytes.len() - from);
                bytes.drain(from..to);
            }
            bytes
        }
    }
}

#[test]
fn past_the_bound_a_connection_is_told_so() {
    let site = Site::new(
        "[limits]\nconnections = 3\n[queues.default]\nmax_age = \"off\"\nsink = \"off\"\n",
    );
    let daemon = site.start();
    let wires: Vec<Wire> = (0..3)
        .map(|_| wait_until("a free place", LONG, || Wire::greeted(&site.socket()).ok()))
        .collect();
    let mut refused = Wire::connect(&site.socket()).expect("connection");
    assert_eq!(failure(&mut refused), ErrorCode::TooManyConnections);
    assert_eq!(refused.receive().expect("an end"), None);
    let mut command = site.batchctl(["--timeout", "1s", "status"], b"");
    command.stdout.clear();
    let refused = command.expect_code(75);
    assert!(refused.stderr.contains("3 connections"), "{refused}");
    drop(wires);
    wait_until("a free place", LONG, || {
        (site.batchctl(["status"], b"").code == Some(0)).then_some(())
    });
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_silent_connection_is_closed_and_one_that_waits_is_not() {
    let site = Site::new(&format!(
        "[limits]\nidle_timeout = \"100ms\"\n[queues.default]\nmax_age = \"off\"\n{}",
        Site::lines_sink("default")
    ));
    let daemon = site.start();
    let mut waits = Wire::greeted(&site.socket()).expect("welcome");
    let body = Body::new(None, &["waits"]);
    let submit = body.submit(1, "default", b"", Ack::Delivered);
    waits.send(&Request::Submit(submit)).expect("sent");
    let mut silent = Wire::greeted(&site.socket()).expect("welcome");
    assert_eq!(failure(&mut silent), ErrorCode::IdleConnection);
    assert_eq!(silent.receive().expect("an end"), None);
    site.batchctl(["flush"], b"").success();
    match waits.receive().expect("an answer") {
        Some(Response::Accepted { ack, .. }) => assert_eq!(ack, Ack::Delivered),
        other => panic!("{other:?}"),
    }
    assert_eq!(failure(&mut waits), ErrorCode::IdleConnection);
    // A client connects again by itself.
    let mut client = site.client(None, LONG);
    for item in ["one", "two"] {
        let target =
            batchd_client::Target::new(batchd_client::QueueName::new("default").expect("name"));
        let submission = client.prepare(&target, &batchd_client::ItemBuffer::from_iter([item]));
        client.submit(submission).expect("kept");
        let mut silent = Wire::greeted(&site.socket()).expect("welcome");
        assert_eq!(failure(&mut silent), ErrorCode::IdleConnection);
    }
    assert_eq!(daemon.term(), Exit::Code(0));
}

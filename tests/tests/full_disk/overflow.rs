//! Queues that hold as much as they may: refused, waited for, or made room for.

use std::fs;

use std::path::PathBuf;

use batchd_frame::{ProducerId, SubmissionId};
use batchd_protocol::{Ack, ErrorCode, Request, Response};
use batchd_tests::{
    Body, Daemon, Exit, LONG, Launch, Site, Wire, make_backlog, service, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::bench::{Producer, delivered, expect_well, flush, item};

const ITEM_BYTES: usize = 100;

/// A queue `default` with that in it, whose sink fails while its target is [`Blocked`], and a queue `other`.
fn site_with(settings: &str) -> (Site, Blocked) {
    let site = Site::new(&format!(
        "[queues.default]\nmax_items = 2\nmax_bytes = \"1GiB\"\nmax_age = \"off\"\n{settings}{}[queues.other]\n\
         quota_items = \"off\"\nquota_bytes = \"off\"\noverflow = \"reject\"\nsink = \"off\"\n",
        Site::lines_sink("default")
    ));
    let blocked = Blocked::new(&site);
    (site, blocked)
}

/// Something lies in the place of the target's directory, until this is dropped.
struct Blocked(PathBuf);

impl Blocked {
    fn new(site: &Site) -> Self {
        fs::remove_dir(site.out()).expect("an empty directory");
        fs::write(site.out(), "in the way").expect("a file");
        Self(site.out())
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
        fs::create_dir(&self.0).ok();
    }
}

/// Sends submissions of an item each, and does not wait for answers.
fn send(wire: &mut Wire, queue: &str, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let body = Body::new(None, &[item(number, ITEM_BYTES)]);
        let request = body.submit(number, queue, b"", Ack::Synced);
        wire.send(&Request::Submit(request)).expect("sent");
    }
}

/// The next answers, which must be acknowledgements of these.
#[track_caller]
fn expect_accepted(wire: &mut Wire, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        match wire.receive().expect("an answer") {
            Some(Response::Accepted { request, .. }) => assert_eq!(request, number),
            other => panic!("{other:?} to {number}"),
        }
    }
}

/// How many connections wait for room, and how many did.
#[track_caller]
fn wait_for_parked(site: &Site, count: usize) {
    wait_until("connections to wait for room", LONG, || {
        (site.log_text().matches("waits for room").count() >= count).then_some(())
    });
}

fn start(site: &Site) -> Daemon {
    site.start_with(&Launch::default().env("BATCHD_LOG", "debug"))
}

#[test]
fn a_full_queue_refuses_and_says_what_is_full() {
    let (site, blocked) = site_with("quota_items = 5\nquota_bytes = \"450B\"\n");
    let daemon = site.start();
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(4);
    let (code, message) = producer.submit_until_refused(1);
    assert_eq!(code, ErrorCode::QueueFull);
    assert!(message.contains("holds 400 bytes"), "{message}");
    assert!(message.contains("`quota_bytes`"), "{message}");
    let mut small = Producer::new(&site, "default", 10);
    small.submit_all(1);
    let (code, message) = small.submit_until_refused(1);
    assert_eq!(code, ErrorCode::QueueFull);
    assert!(message.contains("holds 5 items"), "{message}");
    assert!(message.contains("`quota_items`"), "{message}");
    let refused = site.batchctl(["submit", "--timeout", "300ms"], b"no\n");
    let refused = refused.expect_code(75);
    assert!(refused.stderr.contains("quota_items"), "{refused}");
    // What can never be taken is another thing.
    let refused = site
        .batchctl(["submit"], b"1\n2\n3\n4\n5\n6\n")
        .expect_code(65);
    assert!(refused.stderr.contains("quota_items"), "{refused}");
    // Other queues are none of its business.
    Producer::new(&site, "other", ITEM_BYTES).submit_all(10);
    drop(blocked);
    flush(&site, "default");
    producer.submit_all(1);
    expect_well(&site, daemon);
}

#[test]
fn a_queue_counts_what_it_held_before_a_restart() {
    let (site, _blocked) = site_with("quota_items = 5\n");
    let daemon = site.start();
    Producer::new(&site, "default", ITEM_BYTES).submit_all(5);
    daemon.kill9();
    let daemon = site.start();
    let (code, _) = Producer::new(&site, "default", ITEM_BYTES).submit_until_refused(1);
    assert_eq!(code, ErrorCode::QueueFull);
    expect_well(&site, daemon);
}

#[test]
fn a_queue_that_blocks_takes_everything_in_order_when_there_is_room() {
    let (site, blocked) = site_with("quota_items = 5\noverflow = \"block\"\n");
    let daemon = start(&site);
    let wire = || Wire::greeted(&site.socket()).expect("welcome");
    let (mut first, mut second, mut third) = (wire(), wire(), wire());
    send(&mut first, "default", 0..9);
    expect_accepted(&mut first, 0..5);
    wait_for_parked(&site, 1);
    // Whoever comes later stands behind, and one that wants something else is served.
    send(&mut second, "default", 100..103);
    wait_for_parked(&site, 2);
    send(&mut third, "other", 200..210);
    expect_accepted(&mut third, 200..210);
    site.batchctl(["status"], b"").success();
    drop(blocked);
    expect_accepted(&mut first, 5..9);
    expect_accepted(&mut second, 100..103);
    flush(&site, "default");
    let numbers = delivered(&site, ITEM_BYTES);
    let of = |range: std::ops::Range<u64>| {
        let own = numbers.iter().copied();
        own.filter(|number| range.contains(number))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(0..9), (0..9).collect::<Vec<_>>());
    assert_eq!(of(100..103), [100, 101, 102]);
    assert_eq!(numbers.len(), 12);
    expect_well(&site, daemon);
}

#[test]
fn a_client_that_waits_may_go_and_one_that_sends_no_more_may_stay() {
    let (site, blocked) = site_with("quota_items = 2\noverflow = \"block\"\n");
    let daemon = start(&site);
    let wire = || Wire::greeted(&site.socket()).expect("welcome");
    let (mut first, mut gone, mut stays) = (wire(), wire(), wire());
    send(&mut first, "default", 0..2);
    expect_accepted(&mut first, 0..2);
    send(&mut gone, "default", 2..4);
    wait_for_parked(&site, 1);
    send(&mut stays, "default", 4..6);
    stays.finish().expect("half closed");
    wait_for_parked(&site, 2);
    let lost = || site.log_text().matches("connection lost").count();
    let before = lost();
    drop(gone);
    wait_until("the loss to be noticed", LONG, || {
        (lost() > before).then_some(())
    });
    drop(blocked);
    expect_accepted(&mut stays, 4..6);
    assert_eq!(stays.receive().expect("the end"), None);
    flush(&site, "default");
    assert_eq!(delivered(&site, ITEM_BYTES), [0, 1, 4, 5]);
    expect_well(&site, daemon);
}

#[test]
fn a_stop_ends_the_wait() {
    let (site, _blocked) = site_with("quota_items = 2\noverflow = \"block\"\n");
    let daemon = start(&site);
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    send(&mut wire, "default", 0..4);
    expect_accepted(&mut wire, 0..2);
    wait_for_parked(&site, 1);
    assert_eq!(daemon.term(), Exit::Code(0));
    let answer = wire.receive().expect("an answer");
    let is_stopping = matches!(
        answer,
        Some(Response::Failed {
            request: 2,
            code: ErrorCode::Stopping,
            ..
        })
    );
    assert!(is_stopping, "{answer:?}");
    assert_eq!(wire.receive().expect("the end"), None);
}

/// A daemon with two batches that wait, of which the start cannot read the older one before [`let_go`]. Nothing
/// where strace is missing.
fn start_without_recall(site: &Site) -> Option<Daemon> {
    let strace = service("strace")?;
    make_backlog(site, "default", 2);
    let ready = fs::read_dir(site.spool().join("queues/default/ready")).expect("ready");
    let oldest = ready.map(|entry| entry.expect("an entry").path()).min();
    let oldest = oldest.expect("a batch").display().to_string();
    // Not above the daemon: it is to outlive it.
    let options = ["-D", "-f", "-qq", "-o", "/dev/null", "-P", &oldest];
    let fault = ["-e", "trace=openat", "-e", "inject=openat:delay_enter=60s"];
    let words = options.into_iter().chain(fault).map(Into::into);
    let launch = Launch::under([strace.into_os_string()].into_iter().chain(words));
    Some(site.start_with(&launch.env("BATCHD_LOG", "debug")))
}

/// Lets the daemon read what it is kept from.
#[track_caller]
fn let_go(daemon: &Daemon) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("a process");
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok())
        .and_then(Pid::from_raw)
        .expect("a tracer");
    kill_process(tracer, Signal::KILL).expect("the tracer");
}

#[track_caller]
fn wait_for_log(site: &Site, text: &str) {
    wait_until(text, LONG, || site.log_text().contains(text).then_some(()));
}

/// Sends something that says it is a repeat.
fn send_repeat(wire: &mut Wire, request: u64, sequence: u64) {
    let producer = ProducerId::from_bytes([7; 16]);
    let id = SubmissionId { producer, sequence };
    let body = Body::new(Some(id), &[item(sequence, ITEM_BYTES)]);
    let mut submit = body.submit(request, "default", b"", Ack::Synced);
    submit.repeat = true;
    wire.send(&Request::Submit(submit)).expect("sent");
}

#[test]
fn a_repeat_that_is_new_after_all_and_finds_no_room_holds_up_nobody() {
    let site = Site::new(
        "[queues.default]\nquota_items = 2\noverflow = \"block\"\nmax_age = \"off\"\nsink = \"off\"\n",
    );
    let Some(daemon) = start_without_recall(&site) else {
        return;
    };
    let mut repeat = Wire::greeted(&site.socket()).expect("welcome");
    send_repeat(&mut repeat, 1, 1);
    wait_for_log(&site, "waits for the recall");
    let_go(&daemon);
    wait_for_log(&site, "kept before the start");
    wait_for_parked(&site, 1);
    let mut other = Wire::greeted(&site.socket()).expect("welcome");
    send(&mut other, "default", [1]);
    wait_for_parked(&site, 2);
    assert_eq!(daemon.term(), Exit::Code(0));
    for wire in [&mut repeat, &mut other] {
        let answer = wire.receive().expect("an answer");
        let code = match answer {
            Some(Response::Failed { code, .. }) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code, ErrorCode::Stopping);
    }
}

#[test]
fn a_stop_does_not_say_of_a_repeat_that_nothing_is_kept() {
    let site = Site::new("[queues.default]\nmax_age = \"off\"\nsink = \"off\"\n");
    let Some(daemon) = start_without_recall(&site) else {
        return;
    };
    let mut repeat = Wire::greeted(&site.socket()).expect("welcome");
    send_repeat(&mut repeat, 1, 1);
    wait_for_log(&site, "waits for the recall");
    daemon.signal(Signal::TERM);
    let answer = repeat.receive().expect("an answer");
    match answer {
        Some(Response::Failed { code, message, .. }) => {
            assert_eq!(code, ErrorCode::Unknown, "{message}");
        }
        other => panic!("{other:?}"),
    }
    let_go(&daemon);
    assert_eq!(daemon.wait(), Exit::Code(0));
}

#[test]
fn the_deadline_of_a_client_bounds_its_wait() {
    let (site, blocked) = site_with("quota_items = 2\noverflow = \"block\"\n");
    let daemon = site.start();
    site.batchctl(["submit"], b"1\n2\n").success();
    site.batchctl(["submit", "--timeout", "500ms"], b"3\n")
        .expect_code(75);
    drop(blocked);
    site.batchctl(["submit", "--timeout", "60s"], b"4\n")
        .success();
    expect_well(&site, daemon);
}

#[test]
fn those_who_wait_cost_bounded_memory_and_hold_nobody_up() {
    let (site, blocked) = site_with("quota_bytes = \"24MiB\"\noverflow = \"block\"\n");
    let daemon = start(&site);
    let large = |number: u64| {
        let part = vec![b'x'; 1 << 20];
        (number, Body::new(None, &vec![part; 12]))
    };
    let mut wires: Vec<Wire> = Vec::new();
    let mut answers = Vec::new();
    for (number, body) in (0..8).map(large) {
        let mut wire = Wire::greeted(&site.socket()).expect("welcome");
        let request = body.submit(number, "default", b"", Ack::Synced);
        wire.send(&Request::Submit(request)).expect("sent");
        // Two are taken, two wait, and for more there is no room to keep them.
        if !(2..4).contains(&number) {
            answers.push(wire.receive().expect("an answer"));
        } else {
            wait_for_parked(&site, usize::try_from(number - 1).expect("few"));
        }
        wires.push(wire);
    }
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Some(Response::Accepted { .. }) => None,
            Some(Response::Failed { code, .. }) => Some(*code),
            other => panic!("{other:?}"),
        })
        .collect();
    let full = Some(ErrorCode::QueueFull);
    assert_eq!(codes, [None, None, full, full, full, full]);
    // Long messages of others still go through.
    let (number, body) = large(99);
    let mut other = Wire::greeted(&site.socket()).expect("welcome");
    let request = body.submit(number, "other", b"", Ack::Synced);
    other.send(&Request::Submit(request)).expect("sent");
    expect_accepted(&mut other, [99]);
    let kib = daemon.memory_kib("VmHWM");
    assert!(kib < 220 << 10, "{kib} KiB");
    drop(blocked);
    let (early, late) = wires.split_at_mut(3);
    expect_accepted(early.last_mut().expect("a wire"), [2]);
    expect_accepted(late.first_mut().expect("a wire"), [3]);
    assert_eq!(daemon.term(), Exit::Code(0));
}

/// The lines of the ledger about drops: the items in them.
fn items_dropped(site: &Site) -> u64 {
    let ledger = fs::read_to_string(site.spool().join("queues/default/ledger")).expect("a ledger");
    let text = |line: &Value, key: &str| line.get(key).map(ToString::to_string);
    ledger
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line"))
        .filter(|line| text(line, "outcome").as_deref() == Some("\"dropped\""))
        .map(|line| {
            assert_eq!(text(&line, "why").as_deref(), Some("\"overflow\""));
            line.get("items")
                .and_then(Value::as_u64)
                .expect("a number of items")
        })
        .sum()
}

#[test]
fn a_queue_that_drops_its_oldest_takes_everything_and_tells() {
    let (site, blocked) = site_with("quota_items = 7\noverflow = \"drop-oldest\"\n");
    let daemon = site.start();
    let mut producer = Producer::new(&site, "default", ITEM_BYTES);
    producer.submit_all(40);
    let dropped = items_dropped(&site);
    assert!((33..=38).contains(&dropped), "{dropped}");
    let status = site.batchctl(["status", "--output", "json"], b"").json();
    let queue = status
        .first()
        .and_then(|status| status.pointer("/queues/0"))
        .expect("a queue");
    assert_eq!(queue.get("queue").and_then(Value::as_str), Some("default"));
    let counted = queue.get("items_dropped").and_then(Value::as_u64);
    assert_eq!(counted, Some(dropped));
    let log = site.log_text();
    // Once, and the rest in a summary, which a stop does not swallow.
    assert_eq!(log.matches("dropped the oldest").count(), 1, "{log}");
    drop(blocked);
    flush(&site, "default");
    let numbers = delivered(&site, ITEM_BYTES);
    let total = numbers.len() as u64 + items_dropped(&site);
    assert_eq!(total, 40);
    // The last ones, in order, but for a batch that an attempt owned.
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(numbers.ends_with(&[36, 37, 38, 39]), "{numbers:?}");
    expect_well(&site, daemon);
    let summed: u64 = site
        .log_text()
        .lines()
        .filter(|line| line.contains("dropped the oldest"))
        .filter_map(|line| {
            line.split("items=")
                .nth(1)?
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum();
    assert_eq!(summed, dropped);
}

#[test]
fn open_batches_are_closed_and_dropped_where_nothing_else_is() {
    let (site, _blocked) = site_with("quota_items = 5\noverflow = \"drop-oldest\"\n");
    let daemon = site.start();
    // One item each, for one key each: none is full.
    for number in 0..12u64 {
        let mut wire = Wire::greeted(&site.socket()).expect("welcome");
        let body = Body::new(None, &[item(number, ITEM_BYTES)]);
        let key = format!("key {number}");
        let request = body.submit(number, "default", key.as_bytes(), Ack::Synced);
        wire.send(&Request::Submit(request)).expect("sent");
        expect_accepted(&mut wire, [number]);
    }
    assert_eq!(items_dropped(&site), 7);
    let listed = site.batchctl(["ls"], b"").success().text();
    assert_eq!(listed.matches(" open ").count(), 5, "{listed}");
    expect_well(&site, daemon);
}

#[test]
fn what_was_dropped_stays_dropped_and_its_repeat_is_known() {
    let (site, _blocked) = site_with("quota_items = 4\noverflow = \"drop-oldest\"\n");
    let daemon = site.start();
    site.batchctl(["submit", "--id", "first"], b"1\n2\n")
        .success();
    site.batchctl(["submit"], b"3\n4\n").success();
    site.batchctl(["submit"], b"5\n6\n").success();
    let dropped = items_dropped(&site);
    assert!(dropped >= 2, "{dropped}");
    daemon.kill9();
    let daemon = site.start();
    assert_eq!(items_dropped(&site), dropped);
    // Where the attempt had it, the second was dropped in its place.
    let again = site
        .batchctl(["submit", "--id", "first"], b"1\n2\n")
        .success();
    assert_eq!(items_dropped(&site), dropped, "{again}");
    expect_well(&site, daemon);
}

//! The commands that show something, and `batchctl flush`.

use batchd_client::fake::{FakeDaemon, Peer, Script};
use batchd_client::{BatchInfo, BatchState, FlushReport, QueueName};
use batchd_protocol::{Request, Response, exit};

use super::{Bench, TIME, answer_status, answer_status_with, id};

pub(super) fn batch(seq: u64) -> BatchInfo {
    BatchInfo {
        id: id(),
        queue: QueueName::new("logs").expect("a name"),
        seq,
        key: None,
        state: BatchState::Ready,
        items: 1000 * seq,
        bytes: 1536 * seq,
        created_at: TIME,
        expires_at: (seq > 1).then_some(u64::MAX),
        reason: None,
        path: format!("queues/logs/ready/{seq}"),
        verdict: None,
    }
}

fn list(peer: &mut Peer) {
    peer.answer(|request| match request {
        Request::List { request, .. } => Response::Batches {
            request,
            batches: vec![batch(1), batch(2)],
            next: None,
        },
        other => panic!("{other:?}"),
    });
}

#[test]
fn ls_prints_a_table_or_a_document_a_line() {
    let ran = Bench::new().run_with("ls", list);
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    ID                                    QUEUE  SEQ  STATE  ITEMS    BYTES  CREATED                   EXPIRES                 REASON
    019806cd-b000-7707-8707-070707070707  logs     1  ready   1000  1.5 KiB  2025-07-14T02:40:00.000Z  -                       -
    019806cd-b000-7707-8707-070707070707  logs     2  ready   2000  3.0 KiB  2025-07-14T02:40:00.000Z  18446744073709551615us  -
    ");
    let ran = Bench::new().run_with("ls --output json", list);
    insta::assert_snapshot!(ran.stdout, @r#"
    {"id":"019806cd-b000-7707-8707-070707070707","queue":"logs","seq":1,"state":"ready","items":1000,"bytes":1536,"created_at":1752460800000000,"expires_at":null,"reason":null,"path":"queues/logs/ready/1"}
    {"id":"019806cd-b000-7707-8707-070707070707","queue":"logs","seq":2,"state":"ready","items":2000,"bytes":3072,"created_at":1752460800000000,"expires_at":18446744073709551615,"reason":null,"path":"queues/logs/ready/2"}
    "#);
}

#[test]
fn show_escapes_what_is_no_text() {
    for command in ["show", "show --output json"] {
        let ran = Bench::new().run_with(&format!("{command} {}", id()), |peer| {
            peer.answer(|request| match request {
                Request::Show { request, batch: id } => {
                    let mut batch = batch(1);
                    batch.id = id;
                    batch.key = Some(b"k\xff".to_vec());
                    Response::Batch { request, batch }
                }
                other => panic!("{other:?}"),
            });
        });
        assert_eq!(ran.code, exit::OK, "{}", ran.stderr);
        if command == "show" {
            insta::assert_snapshot!(ran.stdout, @r"
            id       019806cd-b000-7707-8707-070707070707
            queue    logs
            seq      1
            key      k\xff
            state    ready
            items    1000
            bytes    1.5 KiB
            created  2025-07-14T02:40:00.000Z
            expires  -
            reason   -
            path     queues/logs/ready/1
            ");
        } else {
            insta::assert_snapshot!(ran.stdout, @r#"{"id":"019806cd-b000-7707-8707-070707070707","queue":"logs","seq":1,"key_escaped":"k\\xff","state":"ready","items":1000,"bytes":1536,"created_at":1752460800000000,"expires_at":null,"reason":null,"path":"queues/logs/ready/1"}"#);
        }
    }
}

#[test]
fn status_prints_the_daemon_and_its_queues() {
    let ran = Bench::new().run_with("status", answer_status);
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    server       batchd 0.1.0
    pid          42
    started      2025-07-14T02:40:00.000Z
    spool        /var/spool/batchd
    quarantined  0
    room         14.6 KiB of 10.0 GiB used; 20.0 GiB free on the file system, 1.0 GiB must be

    nothing is taken: the\tdisk is full

    QUEUE  SINK  OPEN  READY  DEAD  ITEMS     BYTES  ACCEPTED  DELIVERED  DROPPED  FAILED  LAST ERROR
    logs   file     1      2     0     30  14.6 KiB        70         40       12       1  no\troom
    queue logs: its batches are kept, and tried again by themselves; once what LAST ERROR says is mended, 'batchctl flush --queue logs' tries at once
    ");
    let ran = Bench::new().run_with("status --output json", answer_status);
    insta::assert_snapshot!(ran.stdout, @r#"{"server":"batchd 0.1.0","pid":42,"started_at":1752460800000000,"spool":"/var/spool/batchd","quarantined":0,"queues":[{"queue":"logs","sink":"file","open":{"batches":1,"items":10,"bytes":5000},"ready":{"batches":2,"items":20,"bytes":10000},"dead":{"batches":0,"items":0,"bytes":0},"submissions_accepted":7,"items_accepted":70,"groups":3,"batches_delivered":4,"items_delivered":40,"attempts_failed":1,"last_error":"no\troom","beats_skipped":0,"batches_dropped":1,"items_dropped":12,"batches_expired":6}],"space":{"used_bytes":15000,"max_bytes":10737418240,"free_bytes":21474836480,"min_free_bytes":1073741824,"shortage":"the\tdisk is full"}}"#);
}

#[test]
fn status_tells_of_beats_that_were_skipped() {
    let ran = Bench::new().run_with("status", |peer| answer_status_with(peer, 3));
    let last = ran.stdout.lines().last();
    insta::assert_snapshot!(last.unwrap_or_default(), @"queue logs: 3 beats of the interval were skipped, because they came too late");
}

fn flush(peer: &mut Peer) {
    peer.answer(|request| match request {
        Request::Flush { request, queue, .. } => {
            assert_eq!(queue, Some("logs"));
            let report = FlushReport {
                batches: 1,
                items: 20,
                delivered: false,
                not_delivered: 0,
            };
            Response::Flushed { request, report }
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn flush_says_what_it_did() {
    let ran = Bench::new().run_with("flush --queue logs", flush);
    insta::assert_snapshot!(ran.stdout, @r"
    batches    1
    items      20
    delivered  not yet
    ");
    let ran = Bench::new().run_with("flush --queue logs --output json", flush);
    insta::assert_snapshot!(ran.stdout, @r#"{"batches":1,"items":20,"delivered":false,"not_delivered":0}"#);
}

#[test]
fn flush_tells_of_batches_that_ended_otherwise() {
    let ran = Bench::new().run_with("flush --wait", |peer| {
        peer.answer(|request| match request {
            Request::Flush { request, .. } => Response::Flushed {
                request,
                report: FlushReport {
                    batches: 3,
                    items: 20,
                    delivered: false,
                    not_delivered: 2,
                },
            },
            other => panic!("{other:?}"),
        });
    });
    assert_eq!(ran.code, batchd_protocol::exit::FAILURE);
    insta::assert_snapshot!(ran.stdout, @r"
    batches    3
    items      20
    delivered  all but 2
    ");
    insta::assert_snapshot!(ran.stderr, @r"
    batchctl: not delivered, or not whole: 2 batches
    hint: 'batchctl history' tells what became of them
    ");
}

fn two_items(peer: &mut Peer) {
    peer.answer(|request| match request {
        Request::Read { request, .. } => {
            let items = [&b"a\n"[..], b"\xff"].map(|item| item.to_vec().into());
            let page = batchd_client::ItemsPage {
                items: items.to_vec(),
                next: None,
            };
            Response::Items { request, page }
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn cat_writes_items_as_they_are() {
    for (options, expected) in [
        ("", &b"a\n\n\xff\n"[..]),
        ("--null", b"a\n\0\xff\0"),
        ("--raw", b"a\n\xff"),
    ] {
        let bench = Bench::new();
        let script: Script = Box::new(|peer| {
            peer.welcome();
            two_items(peer);
        });
        let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
        let mut stdout = Vec::new();
        let ran = bench.run_into(&format!("cat {options} {}", id()), &mut stdout);
        daemon.finish();
        assert_eq!((ran.code, stdout.as_slice()), (exit::OK, expected));
    }
}

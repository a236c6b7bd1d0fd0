//! `batchctl verify`, and the commands that read a spool without a daemon.

use std::path::Path;

use batchd_client::fake::Peer;
use batchd_client::{BatchState, Finding, FindingKind, ListCursor, QueueName, VerifiedPage};
use batchd_core::env::os;
use batchd_core::spool::{Layout, LockedSpool};
use batchd_protocol::{Request, Response, exit};

use super::{Bench, id};

pub(super) fn finding(kind: FindingKind, offset: Option<u64>, items_missing: u64) -> Finding {
    Finding {
        kind,
        path: "queues/logs/ready/1\t.batch".to_owned(),
        offset,
        batch: offset.map(|_| id()),
        items_missing,
        what: "bad bytes".to_owned(),
    }
}

/// Two pages, with two findings on the first.
fn verified(peer: &mut Peer) {
    let cursor = || ListCursor {
        queue: QueueName::new("logs").expect("a name"),
        state: BatchState::Ready,
        seq: 7,
    };
    for expected in [None, Some(cursor())] {
        peer.answer(|request| match request {
            Request::Verify {
                request,
                queue,
                after,
            } => {
                assert_eq!((queue, &after), (Some("logs"), &expected));
                let findings = vec![
                    finding(FindingKind::Damage, Some(4096), 12),
                    finding(FindingKind::Note, None, 0),
                ];
                let is_first = expected.is_none();
                Response::Verified {
                    request,
                    page: VerifiedPage {
                        batches: 3,
                        items: 300,
                        bytes: 2048,
                        findings: if is_first { findings } else { Vec::new() },
                        next: is_first.then(cursor),
                    },
                }
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn verify_prints_what_a_daemon_found_and_fails_where_it_is_damage() {
    let ran = Bench::new().run_with("verify --queue logs", verified);
    assert_eq!(ran.code, exit::DAMAGED);
    insta::assert_snapshot!(ran.stdout, @r"
    KIND    PATH                         OFFSET  MISSING  WHAT
    damage  queues/logs/ready/1\t.batch    4096       12  bad bytes
    note    queues/logs/ready/1\t.batch       -        0  bad bytes

    batches        6
    items          600
    bytes          4.0 KiB
    damages        1
    notes          1
    items missing  12
    ");
    insta::assert_snapshot!(ran.stderr, @r"
    batchctl: damage in 1 place; items that are known to be missing: 12
    hint: batchd delivers what is whole of a damaged batch and keeps the file in quarantine; 'batchctl cat' reads what can be read now
    ");
    let ran = Bench::new().run_with("verify --queue logs --output json", verified);
    assert_eq!(ran.code, exit::DAMAGED);
    insta::assert_snapshot!(ran.stdout, @r#"
    {"kind":"damage","path":"queues/logs/ready/1\t.batch","offset":4096,"batch":"019806cd-b000-7707-8707-070707070707","items_missing":12,"what":"bad bytes"}
    {"kind":"note","path":"queues/logs/ready/1\t.batch","offset":null,"batch":null,"items_missing":0,"what":"bad bytes"}
    {"kind":"summary","batches":6,"items":600,"bytes":4096,"damages":1,"notes":1,"items_missing":12}
    "#);
}

#[test]
fn notes_are_no_failure() {
    let ran = Bench::new().run_with("verify", |peer| {
        peer.answer(|request| match request {
            Request::Verify { request, .. } => Response::Verified {
                request,
                page: VerifiedPage {
                    findings: vec![finding(FindingKind::Note, None, 0)],
                    ..VerifiedPage::default()
                },
            },
            other => panic!("{other:?}"),
        });
    });
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    KIND  PATH                         OFFSET  MISSING  WHAT
    note  queues/logs/ready/1\t.batch       -        0  bad bytes

    batches        0
    items          0
    bytes          0 B
    damages        0
    notes          1
    items missing  0
    ");
}

/// Makes an empty spool; held as long as what is returned.
fn make_spool(path: &Path) -> LockedSpool {
    std::fs::create_dir(path).expect("a directory");
    let spool = LockedSpool::open(os::env(), Layout::new(path), "batchd, pid 42").expect("a spool");
    let queue = QueueName::new("logs").expect("a name");
    spool.make_queue(&queue).expect("a queue");
    spool
}

#[test]
fn an_empty_spool_is_read_without_a_daemon() {
    let bench = Bench::new();
    drop(make_spool(&bench.path("spool")));
    let ran = bench.run("ls --spool @spool");
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @"ID  QUEUE  SEQ  STATE  ITEMS  BYTES  CREATED  EXPIRES  REASON");
    let ran = bench.run("verify --spool @spool --queue logs");
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    batches        0
    items          0
    bytes          0 B
    damages        0
    notes          0
    items missing  0
    ");
    let ran = bench.run("verify --spool @spool --output json");
    insta::assert_snapshot!(ran.stdout, @r#"
    {"kind":"summary","batches":0,"items":0,"bytes":0,"damages":0,"notes":0,"items_missing":0}
    "#);

    for command in ["ls --queue other", "verify --queue other"] {
        let ran = bench.run(&format!("{command} --spool @spool"));
        assert_eq!(ran.code, exit::NOINPUT);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.stderr, @"
            batchctl: no queue 'other' in the spool
            hint: 'batchctl ls --spool DIR/spool' lists what there is
            ");
        }
    }
    let ran = bench.run("ls --spool @spool --queue lgos");
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: no queue 'lgos' in the spool
    hint: did you mean 'logs'? 'batchctl ls --spool DIR/spool' lists what there is
    ");
    for command in ["show", "cat"] {
        let ran = bench.run(&format!("{command} --spool @spool {}", id()));
        assert_eq!(ran.code, exit::NOINPUT);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.stderr, @"
            batchctl: no batch 019806cd-b000-7707-8707-070707070707 in the spool
            hint: 'batchctl ls --spool DIR/spool' lists the batches; one that was delivered is gone
            ");
        }
    }
}

#[test]
fn a_spool_that_cannot_be_read_is_refused_with_the_reason() {
    let bench = Bench::new();
    let held = make_spool(&bench.path("spool"));
    for command in ["ls", "verify", &format!("cat {}", id())] {
        let ran = bench.run(&format!("{command} --spool @spool"));
        assert_eq!((ran.code, ran.stdout.as_str()), (exit::TEMPFAIL, ""));
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.stderr, @r"
            batchctl: spool DIR/spool is in use by another process (batchd, pid 42)
            hint: a daemon runs: leave --spool away and ask it, or stop it first
            ");
        }
    }
    drop(held);

    bench.file("spool/FORMAT", b"batchd-spool 9\n");
    let ran = bench.run("ls --spool @spool");
    assert_eq!(ran.code, exit::CONFIG);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: spool DIR/spool has format 'batchd-spool 9', this program knows 'batchd-spool 1'
    hint: nothing was read: use the batchctl that came with the batchd that wrote it
    ");

    let ran = bench.run("ls --spool @nowhere");
    assert_eq!(ran.code, exit::NOINPUT);
    insta::assert_snapshot!(ran.stderr, @r"
    batchctl: DIR/nowhere is not a spool: there is no such directory
    hint: 'batchd check-config' shows the path of the spool, under [spool]
    ");
}

#[test]
fn a_spool_and_a_socket_are_not_asked_at_once() {
    let bench = Bench::new();
    for command in [
        "ls --spool @spool --socket @socket",
        "--socket @socket verify --spool @spool",
        "status --spool @spool",
        "submit --spool @spool",
        "flush --spool @spool",
    ] {
        let ran = bench.run(command);
        assert_eq!(ran.code, exit::USAGE, "{command}: {}", ran.stderr);
        assert!(ran.stderr.contains("--spool"), "{command}: {}", ran.stderr);
    }
}

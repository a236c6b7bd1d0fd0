//! What became of batches: `batchctl history`, and `batchctl show` of a batch that has ended.

use batchd_client::fake::Peer;
use batchd_client::{ErrorCode, HistoryCursor, HistoryEntry, QueueName};
use batchd_protocol::{Request, Response, exit};

use super::{Bench, TIME, id};

pub(super) fn entry(seq: u64) -> HistoryEntry {
    HistoryEntry {
        at: TIME + seq,
        queue: QueueName::new("logs").expect("a name"),
        id: id(),
        seq,
        outcome: "delivered".to_owned(),
        items: 1000 * seq,
        bytes: 1536 * seq,
        why: if seq == 1 {
            String::new()
        } else {
            "a\treason".to_owned()
        },
    }
}

pub(super) fn cursor(seq: u64) -> HistoryCursor {
    HistoryCursor {
        at: TIME + seq,
        id: id(),
    }
}

/// Two pages, of two entries and of one.
fn pages(peer: &mut Peer) {
    for page in [None, Some(cursor(2))] {
        peer.answer(|request| match request {
            Request::History {
                request,
                queue: Some("logs"),
                batch: None,
                since: 1_769_860_800_000_000,
                after,
                ..
            } => {
                assert_eq!(after, page);
                let seqs = if page.is_none() { vec![3, 2] } else { vec![1] };
                Response::History {
                    request,
                    entries: seqs.into_iter().map(entry).collect(),
                    next: page.is_none().then(|| cursor(2)),
                }
            }
            other => panic!("{other:?}"),
        });
    }
}

const QUERY: &str = "history --queue logs --since 2026-01-31T12:00:00Z";

#[test]
fn history_prints_a_table_or_a_document_a_line() {
    let ran = Bench::new().run_with(QUERY, pages);
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    WHEN                      QUEUE  BATCH                                 SEQ  OUTCOME    ITEMS    BYTES  WHY
    2025-07-14T02:40:00.000Z  logs   019806cd-b000-7707-8707-070707070707    3  delivered   3000  4.5 KiB  a\treason
    2025-07-14T02:40:00.000Z  logs   019806cd-b000-7707-8707-070707070707    2  delivered   2000  3.0 KiB  a\treason
    2025-07-14T02:40:00.000Z  logs   019806cd-b000-7707-8707-070707070707    1  delivered   1000  1.5 KiB  -
    ");
    let ran = Bench::new().run_with(&format!("{QUERY} --output json"), pages);
    insta::assert_snapshot!(ran.stdout, @r#"
    {"at":1752460800000003,"queue":"logs","id":"019806cd-b000-7707-8707-070707070707","seq":3,"outcome":"delivered","items":3000,"bytes":4608,"why":"a\treason"}
    {"at":1752460800000002,"queue":"logs","id":"019806cd-b000-7707-8707-070707070707","seq":2,"outcome":"delivered","items":2000,"bytes":3072,"why":"a\treason"}
    {"at":1752460800000001,"queue":"logs","id":"019806cd-b000-7707-8707-070707070707","seq":1,"outcome":"delivered","items":1000,"bytes":1536}
    "#);
}

#[test]
fn history_stops_at_its_limit_and_asks_for_no_more() {
    let ran = Bench::new().run_with("history --limit 1", |peer| {
        peer.answer(|request| match request {
            Request::History {
                request, since: 0, ..
            } => Response::History {
                request,
                entries: vec![entry(2), entry(1)],
                next: Some(cursor(1)),
            },
            other => panic!("{other:?}"),
        });
    });
    assert_eq!(ran.code, exit::OK, "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
}

#[test]
fn a_time_that_is_none_is_refused() {
    for since in ["yesterday", "5", "-1h"] {
        let ran = Bench::new().run(&format!("history --since={since}"));
        assert_eq!(ran.code, exit::USAGE, "{since}: {}", ran.stderr);
    }
}

/// A daemon that does not have the batch, and knows this of it.
fn gone(known: Option<HistoryEntry>) -> impl FnOnce(&mut Peer) + Send + 'static {
    move |peer| {
        peer.answer(|request| match request {
            Request::Show { request, .. } => Response::Failed {
                request,
                code: ErrorCode::NoSuchBatch,
                message: "no batch".to_owned(),
            },
            other => panic!("{other:?}"),
        });
        peer.answer(|request| match request {
            Request::History { request, batch, .. } => {
                assert_eq!(batch, Some(id()));
                Response::History {
                    request,
                    entries: known.into_iter().collect(),
                    next: None,
                }
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn show_says_what_became_of_a_batch() {
    let ran = Bench::new().run_with(&format!("show {}", id()), gone(Some(entry(2))));
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    id     019806cd-b000-7707-8707-070707070707
    queue  logs
    seq    2
    state  delivered
    items  2000
    bytes  3.0 KiB
    ended  2025-07-14T02:40:00.000Z
    why    a\treason
    ");
    let json = format!("show --output json {}", id());
    let ran = Bench::new().run_with(&json, gone(Some(entry(1))));
    insta::assert_snapshot!(ran.stdout, @r#"{"at":1752460800000001,"queue":"logs","id":"019806cd-b000-7707-8707-070707070707","seq":1,"outcome":"delivered","items":1000,"bytes":1536}"#);
    let ran = Bench::new().run_with(&json, gone(None));
    assert_eq!((ran.code, ran.stdout.as_str()), (exit::NOINPUT, ""));
    assert!(ran.stderr.contains("no batch"), "{}", ran.stderr);
}

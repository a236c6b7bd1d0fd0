//! Lists that come page by page.

use batchd_client::{BatchState, ErrorCode, FindingKind, ListCursor, QueueName, VerifiedPage};
use batchd_protocol::{Request, Response, exit};

use super::history::{cursor, entry};
use super::offline::finding;
use super::showing::batch;
use super::{Bench, id};

/// A first page with one row. There is more, and it cannot be had.
fn one_page(request: Request<'_>) -> Response {
    let next = Some(ListCursor {
        queue: QueueName::new("logs").expect("a name"),
        state: BatchState::Ready,
        seq: 1,
    });
    match request {
        Request::List {
            request,
            after: None,
            ..
        } => Response::Batches {
            request,
            batches: vec![batch(1)],
            next,
        },
        Request::History {
            request,
            after: None,
            ..
        } => Response::History {
            request,
            entries: vec![entry(1)],
            next: Some(cursor(1)),
        },
        Request::Verify {
            request,
            after: None,
            ..
        } => Response::Verified {
            request,
            page: VerifiedPage {
                findings: vec![finding(FindingKind::Damage, None, 12)],
                next,
                ..VerifiedPage::default()
            },
        },
        Request::List { request, .. }
        | Request::History { request, .. }
        | Request::Verify { request, .. } => Response::Failed {
            request,
            code: ErrorCode::Internal,
            message: "no more".to_owned(),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_that_were_read_are_printed_whatever_fails_behind_them() {
    for (command, row) in [
        ("ls", id().to_string()),
        ("history", id().to_string()),
        ("verify", "damage".to_owned()),
    ] {
        for (output, lines) in [("table", 2), ("json", 1)] {
            let ran = Bench::new().run_with(&format!("{command} --output {output}"), |peer| {
                peer.answer(one_page);
                peer.answer(one_page);
            });
            assert_eq!(ran.code, exit::SOFTWARE, "{}", ran.stderr);
            assert_eq!(ran.stdout.lines().count(), lines, "{}", ran.stdout);
            assert!(ran.stdout.contains(&row), "{command}: {}", ran.stdout);
        }
    }
}

//! Verifying, page by page.

use batchd_protocol::{BatchState, ListCursor, Request, Response, VerifiedPage};

use super::*;
use crate::ProtocolError;
use crate::fake::FakeDaemon;

fn cursor() -> ListCursor {
    ListCursor {
        queue: queue("q"),
        state: BatchState::Ready,
        seq: 9,
    }
}

/// A page with one behind it, and then a daemon that does not move on.
fn pages() -> Vec<Script> {
    vec![script(|peer| {
        peer.welcome();
        for expected in [None, Some(cursor())] {
            peer.answer(|request| match request {
                Request::Verify {
                    request,
                    queue: Some("q"),
                    after,
                } => {
                    assert_eq!(after, expected);
                    Response::Verified {
                        request,
                        page: page(),
                    }
                }
                other => panic!("{other:?}"),
            });
        }
    })]
}

fn page() -> VerifiedPage {
    VerifiedPage {
        batches: 3,
        next: Some(cursor()),
        ..VerifiedPage::default()
    }
}

#[track_caller]
fn check(first: Result<VerifiedPage, Error>, second: Result<VerifiedPage, Error>) {
    assert_eq!(first.expect("a page"), page());
    assert!(
        matches!(second, Err(Error::Protocol(ProtocolError::CursorStuck))),
        "{second:?}"
    );
}

#[test]
fn the_blocking_client_goes_on_where_a_page_ended() {
    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, pages());
    let mut client = blocking::Client::new(place.options()).expect("a client");
    let queue = queue("q");
    let first = client.verify_page(Some(&queue), None);
    let second = client.verify_page(Some(&queue), Some(cursor()));
    check(first, second);
    daemon.finish();
}

#[test]
fn the_asynchronous_client_goes_on_where_a_page_ended() {
    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, pages());
    on_tokio(async {
        let mut client = asynchronous::Client::new(place.options()).expect("a client");
        let queue = queue("q");
        let first = client.verify_page(Some(&queue), None).await;
        let second = client.verify_page(Some(&queue), Some(cursor())).await;
        check(first, second);
    });
    daemon.finish();
}

//! Requests other than submissions.

use std::time::Duration;

use batchd_protocol::{
    BatchInfo, BatchState, ErrorCode, FlushReport, ItemsPage, ListCursor, Request, Response,
};

use super::*;
use crate::ProtocolError;
use crate::fake::FakeDaemon;

fn info(seq: u64) -> BatchInfo {
    BatchInfo {
        id: batchd_frame::BatchId::new(seq, [0; 10]),
        queue: queue("q"),
        seq,
        key: None,
        state: BatchState::Ready,
        items: 1,
        bytes: 2,
        created_at: 3,
        expires_at: None,
        reason: None,
        path: String::new(),
        verdict: None,
    }
}

/// Two pages of a listing, two of items, and a flush.
fn other_requests() -> Vec<Script> {
    vec![script(move |peer| {
        peer.welcome();
        for page in [None, Some(cursor())] {
            peer.answer(|request| match request {
                Request::List { request, after, .. } => {
                    assert_eq!(after, page);
                    let seqs = if page.is_none() { [1, 2] } else { [3, 4] };
                    Response::Batches {
                        request,
                        batches: seqs.map(info).to_vec(),
                        next: page.is_none().then(cursor),
                    }
                }
                other => panic!("{other:?}"),
            });
        }
        for page in [0u8, 7] {
            peer.answer(|request| match request {
                Request::Read {
                    request, cursor, ..
                } => {
                    assert_eq!(cursor, u64::from(page));
                    let items = vec![serde_bytes::ByteBuf::from([page])];
                    let next = (page == 0).then_some(7);
                    Response::Items {
                        request,
                        page: ItemsPage { items, next },
                    }
                }
                other => panic!("{other:?}"),
            });
        }
        peer.answer(|request| match request {
            Request::Flush {
                request,
                queue: Some("q"),
                wait: true,
            } => Response::Flushed {
                request,
                report: FlushReport::default(),
            },
            other => panic!("{other:?}"),
        });
        peer.answer(|request| match request {
            Request::Show { request, .. } => Response::Failed {
                request,
                code: ErrorCode::NoSuchBatch,
                message: "no such batch".to_owned(),
            },
            other => panic!("{other:?}"),
        });
    })]
}

#[test]
fn a_listing_whose_future_was_dropped_goes_on_where_it_was() {
    let place = Place::new();
    let (has_it, has_it_at) = tokio::sync::oneshot::channel();
    let page = |request, seqs: [u64; 2], next| Response::Batches {
        request,
        batches: seqs.map(info).to_vec(),
        next,
    };
    let daemon = FakeDaemon::start(
        &place.socket,
        vec![script(move |peer| {
            peer.welcome();
            let (first, after) = read_list(peer);
            assert_eq!(after, None);
            peer.send(&page(first, [1, 2], Some(cursor())));
            let (dropped, after) = read_list(peer);
            assert_eq!(after, Some(cursor()));
            assert!(has_it.send(()).is_ok());
            let (again, after) = read_list(peer);
            assert_eq!(after, Some(cursor()));
            // Nobody waits for the first of the two any more.
            peer.send(&page(dropped, [8, 9], None));
            peer.send(&page(again, [3, 4], None));
        })],
    );
    on_tokio(async {
        let mut client = asynchronous::Client::new(place.options()).expect("a client");
        let mut batches = client.list(None);
        for seq in [1, 2] {
            let batch = batches.next().await.expect("a listing");
            assert_eq!(batch.map(|batch| batch.seq), Some(seq));
        }
        tokio::select! {
            batch = batches.next() => panic!("{batch:?}"),
            has_it = has_it_at => assert!(has_it.is_ok()),
        }
        for seq in [3, 4] {
            let batch = batches.next().await.expect("a listing");
            assert_eq!(batch.map(|batch| batch.seq), Some(seq));
        }
        assert_eq!(batches.next().await.expect("an end"), None);
    });
    daemon.finish();
}

#[test]
fn the_futures_may_go_from_thread_to_thread() {
    fn check_send(_: impl Send) {}
    let mut client = asynchronous::Client::new(Place::new().options()).expect("a client");
    check_send(client.status());
    check_send(client.list(None).next());
    check_send(client.items(info(1).id).next());
    check_send(client.history(&crate::HistoryQuery::default()).next());
}

fn cursor() -> ListCursor {
    ListCursor {
        queue: queue("q"),
        state: BatchState::Ready,
        seq: 2,
    }
}

/// An answer of another kind than the request; over the next connection, one that fits.
fn wrong_answers() -> Vec<Script> {
    let wrong = script(|peer| {
        peer.welcome();
        peer.answer(|request| match request {
            Request::Show { request, .. } => Response::Flushed {
                request,
                report: FlushReport::default(),
            },
            other => panic!("{other:?}"),
        });
        peer.read_to_end();
    });
    let right = script(|peer| {
        peer.welcome();
        peer.answer(|request| match request {
            Request::Show { request, .. } => Response::Batch {
                request,
                batch: info(1),
            },
            other => panic!("{other:?}"),
        });
    });
    vec![wrong, right]
}

#[track_caller]
fn check_wrong_answer(first: Result<BatchInfo, Error>, second: Result<BatchInfo, Error>) {
    let wrong = ProtocolError::WrongAnswer { request: 1 };
    assert!(
        matches!(&first, Err(Error::Protocol(error)) if *error == wrong),
        "{first:?}"
    );
    assert_eq!(second.expect("a batch"), info(1));
}

#[test]
fn an_answer_of_another_kind_ends_the_connection() {
    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, wrong_answers());
    let mut client = blocking::Client::new(place.options()).expect("a client");
    check_wrong_answer(client.show(info(1).id), client.show(info(1).id));
    daemon.finish();

    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, wrong_answers());
    on_tokio(async {
        let mut client = asynchronous::Client::new(place.options()).expect("a client");
        let first = client.show(info(1).id).await;
        check_wrong_answer(first, client.show(info(1).id).await);
    });
    daemon.finish();
}

/// Reads a request for a page of a listing: its number, and where the page is to begin.
#[track_caller]
fn read_list(peer: &mut Peer) -> (u64, Option<ListCursor>) {
    match batchd_frame::codec::decode_borrowed(&peer.read_message()) {
        Ok(Request::List { request, after, .. }) => (request, after),
        other => panic!("{other:?}"),
    }
}

const WAIT: Option<Duration> = Some(Duration::from_secs(10));

#[test]
fn the_blocking_client_lists_reads_and_flushes() {
    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, other_requests());
    let mut client = blocking::Client::new(place.options()).expect("a client");
    let seqs: Result<Vec<u64>, Error> = client.list(None).map(|batch| Ok(batch?.seq)).collect();
    assert_eq!(seqs.expect("a listing"), [1, 2, 3, 4]);
    let items: Result<Vec<_>, Error> = client.items(info(1).id).collect();
    assert_eq!(items.expect("items"), [[0], [7]]);
    let flushed = client.flush(Some(&queue("q")), WAIT);
    assert_eq!(flushed.expect("flushed"), FlushReport::default());
    let shown = client.show(info(1).id);
    assert!(matches!(
        shown,
        Err(Error::Refused {
            submission: None,
            ..
        })
    ));
    daemon.finish();
}

#[test]
fn the_asynchronous_client_lists_reads_and_flushes() {
    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, other_requests());
    on_tokio(async {
        let mut client = asynchronous::Client::new(place.options()).expect("a client");
        let mut batches = client.list(None);
        for seq in 1..=4 {
            let batch = batches.next().await.expect("a listing");
            assert_eq!(batch.map(|batch| batch.seq), Some(seq));
        }
        assert_eq!(batches.next().await.expect("an end"), None);
        let mut items = client.items(info(1).id);
        assert_eq!(items.next().await.expect("an item"), Some(vec![0]));
        assert_eq!(items.next().await.expect("an item"), Some(vec![7]));
        assert_eq!(items.next().await.expect("an end"), None);
        let flushed = client.flush(Some(&queue("q")), WAIT).await;
        assert_eq!(flushed.expect("flushed"), FlushReport::default());
        let shown = client.show(info(1).id).await;
        assert!(matches!(
            shown,
            Err(Error::Refused {
                submission: None,
                ..
            })
        ));
    });
    daemon.finish();
}

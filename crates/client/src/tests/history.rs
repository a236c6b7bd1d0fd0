//! The history, page by page.

use batchd_protocol::{HistoryCursor, HistoryEntry, Request, Response};

use super::*;
use crate::fake::FakeDaemon;
use crate::{HistoryQuery, ProtocolError};

fn entry(at: u64) -> HistoryEntry {
    HistoryEntry {
        at,
        queue: queue("q"),
        id: batchd_frame::BatchId::new(at, [0; 10]),
        seq: at,
        outcome: "delivered".to_owned(),
        items: 1,
        bytes: 2,
        why: String::new(),
    }
}

fn cursor(at: u64) -> HistoryCursor {
    HistoryCursor {
        at,
        id: entry(at).id,
    }
}

fn query() -> HistoryQuery {
    HistoryQuery {
        queue: Some(queue("q")),
        batch: Some(entry(1).id),
        since: 7,
    }
}

/// Answers for each of these: where the page is to begin, what is on it, and where it ends.
fn pages(pages: Vec<(Option<u64>, Vec<u64>, Option<u64>)>) -> Vec<Script> {
    vec![script(move |peer| {
        peer.welcome();
        for (begin, ats, end) in pages {
            peer.answer(|request| match request {
                Request::History {
                    request,
                    queue: Some("q"),
                    batch,
                    since: 7,
                    after,
                    ..
                } => {
                    assert_eq!(batch, Some(entry(1).id));
                    assert_eq!(after, begin.map(cursor));
                    Response::History {
                        request,
                        entries: ats.into_iter().map(entry).collect(),
                        next: end.map(cursor),
                    }
                }
                other => panic!("{other:?}"),
            });
        }
    })]
}

fn two_pages() -> Vec<Script> {
    pages(vec![(None, vec![9, 8], Some(8)), (Some(8), vec![7], None)])
}

#[test]
fn the_blocking_client_reads_the_history() {
    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, two_pages());
    let mut client = blocking::Client::new(place.options()).expect("a client");
    let ats: Result<Vec<u64>, Error> = client.history(&query()).map(|e| Ok(e?.at)).collect();
    assert_eq!(ats.expect("a history"), [9, 8, 7]);
    daemon.finish();
}

#[test]
fn the_asynchronous_client_reads_the_history() {
    let place = Place::new();
    let daemon = FakeDaemon::start(&place.socket, two_pages());
    on_tokio(async {
        let mut client = asynchronous::Client::new(place.options()).expect("a client");
        let query = query();
        let mut history = client.history(&query);
        for at in [9, 8, 7] {
            let entry = history.next().await.expect("a history");
            assert_eq!(entry.map(|entry| entry.at), Some(at));
        }
        assert_eq!(history.next().await.expect("an end"), None);
    });
    daemon.finish();
}

#[test]
fn a_history_that_does_not_get_on_is_an_error() {
    let place = Place::new();
    let stuck = pages(vec![(None, vec![9], Some(9)), (Some(9), vec![9], Some(9))]);
    let daemon = FakeDaemon::start(&place.socket, stuck);
    let mut client = blocking::Client::new(place.options()).expect("a client");
    let last = client.history(&query()).last().expect("an entry");
    assert!(matches!(
        last,
        Err(Error::Protocol(ProtocolError::CursorStuck))
    ));
    daemon.finish();
}

//! Batches of their own: sent once, and no second time where the outcome is not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchd_frame::BatchId;
use batchd_protocol::{ErrorCode, Request, Response};

use super::*;
use crate::explicit::NewBatch;

type Create = fn(Options) -> Result<BatchId, Error>;

fn new_batch() -> NewBatch {
    let mut batch = NewBatch::new(queue("q"), &ItemBuffer::from_iter(["one", "two"]));
    batch.lifespan = Some(Duration::from_millis(1500));
    batch
}

fn create_blocking(options: Options) -> Result<BatchId, Error> {
    blocking::Client::new(options)?.create(new_batch())
}

fn create_asynchronous(options: Options) -> Result<BatchId, Error> {
    on_tokio(async {
        asynchronous::Client::new(options)?
            .create(new_batch())
            .await
    })
}

/// Runs the scripts against both clients, and gives what came out.
#[track_caller]
fn check(scripts: impl Fn() -> Vec<Script>, expect: impl Fn(Result<BatchId, Error>)) {
    for create in [create_blocking as Create, create_asynchronous as Create] {
        let place = Place::new();
        let daemon = FakeDaemon::start(&place.socket, scripts());
        let created = create(place.options());
        daemon.finish();
        expect(created);
    }
}

fn id() -> BatchId {
    BatchId::new(5, [7; 10])
}

/// Takes a batch to be created, and says that it was.
fn answer_create(peer: &mut Peer) {
    peer.answer(|request| match request {
        Request::Create(create) => {
            assert_eq!((create.queue, create.key), ("q", &b""[..]));
            assert_eq!((create.items, create.lifespan), (2, Some(1_500_000)));
            assert_eq!(batchd_frame::checksum::crc32c(create.body), create.body_crc);
            let request = create.request;
            let batch = id();
            Response::Created { request, batch }
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_batch_is_created_and_its_id_told() {
    let scripts = || {
        vec![script(|peer| {
            peer.welcome();
            answer_create(peer);
        })]
    };
    check(scripts, |created| {
        assert_eq!(created.expect("created"), id());
    });
}

#[test]
fn a_lost_connection_leaves_the_outcome_unknown_and_is_not_repeated() {
    let connections = Arc::new(AtomicUsize::new(0));
    let scripts = || {
        let connections = Arc::clone(&connections);
        vec![script(move |peer| {
            connections.fetch_add(1, Ordering::SeqCst);
            peer.welcome();
            peer.read_message();
        })]
    };
    check(scripts, |created| {
        let error = created.expect_err("no answer");
        assert!(matches!(error, Error::OutcomeUnknown), "{error:?}");
        assert!(!error.is_retryable() && error.may_have_created());
    });
    // One for each client: a second would have been refused by a daemon that follows no more scripts.
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_daemon_that_was_stopping_is_asked_again_since_it_has_done_nothing() {
    let scripts = || {
        let stopping = script(|peer| {
            peer.welcome();
            peer.answer(|request| match request {
                Request::Create(create) => Response::Failed {
                    request: create.request,
                    code: ErrorCode::Stopping,
                    message: "stopping".to_owned(),
                },
                other => panic!("{other:?}"),
            });
        });
        let next = script(|peer| {
            peer.welcome();
            answer_create(peer);
        });
        vec![stopping, next]
    };
    check(scripts, |created| {
        assert_eq!(created.expect("created"), id());
    });
}

#[test]
fn a_refusal_is_told() {
    let scripts = || {
        vec![script(|peer| {
            peer.welcome();
            peer.answer(|request| match request {
                Request::Create(create) => Response::Failed {
                    request: create.request,
                    code: ErrorCode::NoSpace,
                    message: "full".to_owned(),
                },
                other => panic!("{other:?}"),
            });
        })]
    };
    check(scripts, |created| {
        let error = created.expect_err("refused");
        assert!(!error.may_have_created());
        let code = match error {
            Error::Refused { code, .. } => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code, ErrorCode::NoSpace);
    });
}

#[test]
fn a_batch_is_read_as_long_as_it_lives() {
    let place = Place::new();
    let scripts = script(|peer| {
        peer.welcome();
        for cursor in [0, 7] {
            peer.answer(|request| match request {
                Request::Get {
                    request,
                    cursor: at,
                    ..
                } => {
                    assert_eq!(at, cursor);
                    if cursor == 7 {
                        let (code, message) = (ErrorCode::Expired, "over".to_owned());
                        return Response::Failed {
                            request,
                            code,
                            message,
                        };
                    }
                    let page = batchd_protocol::ItemsPage {
                        items: vec![serde_bytes::ByteBuf::from([1])],
                        next: Some(7),
                    };
                    Response::Items { request, page }
                }
                other => panic!("{other:?}"),
            });
        }
    });
    let daemon = FakeDaemon::start(&place.socket, vec![scripts]);
    let mut client = blocking::Client::new(place.options()).expect("a client");
    let got: Vec<_> = client.get(id()).collect();
    daemon.finish();
    assert_eq!(got.len(), 2);
    assert!(matches!(got.first(), Some(Ok(item)) if *item == [1]));
    assert!(matches!(
        got.last(),
        Some(Err(Error::Refused {
            code: ErrorCode::Expired,
            ..
        }))
    ));
}

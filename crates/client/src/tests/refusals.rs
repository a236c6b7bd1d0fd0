//! Daemons that refuse, and others that are none.

use std::io;

use batchd_protocol::{Ack, ErrorCode, PROTOCOL_VERSION, Request, Response};

use super::*;
use crate::fake::LIMITS;

#[test]
fn a_full_spool_is_waited_out() {
    check(
        || {
            vec![script(|peer| {
                peer.welcome();
                for attempt in 0..3 {
                    let received = peer.read_submission();
                    assert_eq!(received.repeat, attempt > 0);
                    if attempt < 2 {
                        peer.fail(received.request, ErrorCode::SpoolFull);
                    } else {
                        peer.accept(&received);
                    }
                }
            })]
        },
        |_| {},
        Ack::Synced,
        &["a"],
        |settled, _| assert_eq!(settled.expect("kept").kept.items, 1),
    );
}

#[test]
fn a_spool_that_stays_full_ends_with_the_deadline() {
    check(
        || {
            vec![script(|peer| {
                peer.welcome();
                let received = peer.read_submission();
                peer.fail(received.request, ErrorCode::SpoolFull);
                peer.read_to_end();
            })]
        },
        |options| {
            options.deadline = 5 * SHORT;
            // So that the refusal is the last that is heard.
            options.retry.start = Duration::from_secs(3600);
            options.retry.max = Duration::from_secs(3600);
        },
        Ack::Synced,
        &["a"],
        |settled, totals| {
            let error = settled.expect_err("full");
            assert!(error.is_retryable());
            insta::allow_duplicates! {
                insta::assert_snapshot!(chain(&error), @"no answer within 400ms: refused: SpoolFull");
            }
            assert_eq!(totals.unknown.items, 0, "known not to be kept");
        },
    );
}

#[test]
fn a_refusal_for_good_names_the_submission() {
    check(
        || {
            vec![script(|peer| {
                peer.welcome();
                let received = [(); 3].map(|()| peer.read_submission());
                let [first, second, third] = &received;
                peer.accept(third);
                peer.fail(second.request, ErrorCode::ItemTooLarge);
                peer.accept(first);
            })]
        },
        |_| {},
        Ack::Synced,
        &["a", "b", "c"],
        |settled, totals| {
            assert!(matches!(
                settled,
                Err(Error::Refused {
                    code: ErrorCode::ItemTooLarge,
                    submission: Some(1),
                    ..
                })
            ));
            assert_eq!((totals.prefix.items, totals.kept.items), (1, 2));
        },
    );
}

#[test]
fn without_acknowledgements_a_later_error_is_still_seen() {
    check(
        || {
            vec![script(|peer| {
                peer.welcome();
                let received = [(); 2].map(|()| peer.read_submission());
                assert!(received.iter().all(|one| one.ack == Some(Ack::None)));
                peer.fail(received[1].request, ErrorCode::UnknownQueue);
                peer.answer(|request| match request {
                    Request::Status { request } => failed_status(request),
                    other => panic!("{other:?}"),
                });
            })]
        },
        |_| {},
        Ack::None,
        &["a", "b"],
        |settled, _| {
            assert!(matches!(
                settled,
                Err(Error::Refused {
                    code: ErrorCode::UnknownQueue,
                    ..
                })
            ));
        },
    );
}

fn failed_status(request: u64) -> Response {
    Response::Failed {
        request,
        code: ErrorCode::Internal,
        message: "no status".to_owned(),
    }
}

#[test]
fn what_is_no_batchd_is_named() {
    #[track_caller]
    fn check_error(answer: fn(&mut Peer), expected: &str) {
        check(
            || {
                vec![script(move |peer| {
                    peer.read_message();
                    answer(peer);
                    peer.read_to_end();
                })]
            },
            |_| {},
            Ack::Synced,
            &["a"],
            |settled, _| {
                let chain = chain(&settled.expect_err("no daemon"));
                // How many kinds of response there are is not the point.
                let (named, _) = chain
                    .split_once(", expected variant")
                    .unwrap_or((&chain, ""));
                assert_eq!(named, expected);
            },
        );
    }
    check_error(
        |peer| peer.send_bytes(b"HTTP/1.1 400 Bad Request\r\n"),
        "protocol violated by the daemon: message of 1347703880 bytes is longer than the 16842752 allowed",
    );
    check_error(
        |peer| peer.send_bytes(&[2, 0, 0, 0, 99, 99]),
        "protocol violated by the daemon: not a response: does not decode: \
         OtherString(\"invalid value: integer `99`",
    );
    check_error(
        |peer| {
            peer.send(&Response::Accepted {
                request: 0,
                ack: Ack::Synced,
                repeat: false,
            });
        },
        "protocol violated by the daemon: welcome where none belongs, or none where it belongs",
    );
    check_error(
        |peer| {
            peer.send(&Response::Welcome {
                version: PROTOCOL_VERSION + 1,
                server: String::new(),
                limits: LIMITS,
            });
        },
        "daemon speaks protocol version 2, this client version 1",
    );
    check_error(
        |peer| peer.fail(0, ErrorCode::UnsupportedVersion),
        "daemon speaks another protocol version, this client version 1",
    );
}

#[test]
fn no_daemon_is_an_error_at_once_where_none_is_waited_for() {
    for submit in [submit_blocking as Submit, submit_asynchronous as Submit] {
        let place = Place::new();
        let mut options = place.options();
        options.wait_for_daemon = false;
        let (settled, _) = submit(options, Ack::Synced, &["a"]);
        assert!(matches!(
            settled,
            Err(Error::Connect { source, .. }) if source.kind() == io::ErrorKind::NotFound
        ));
    }
}

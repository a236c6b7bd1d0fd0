//! `create` and `get`.

use batchd_client::ErrorCode;

use batchd_protocol::exit;

use super::*;

fn answer_create(peer: &mut Peer) {
    peer.answer(|request| match request {
        Request::Create(create) => {
            assert_eq!((create.queue, create.key), ("shelf", &b"k"[..]));
            assert_eq!((create.items, create.lifespan), (2, Some(600_000_000)));
            let (request, batch) = (create.request, id());
            Response::Created { request, batch }
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn create_prints_the_id() {
    let mut bench = Bench::new();
    bench.stdin = b"one\ntwo\n".to_vec();
    let ran = bench.run_with("create --queue shelf --key k --lifespan 10m", answer_create);
    assert_eq!(ran.code, exit::OK, "{}", ran.stderr);
    assert_eq!(ran.stdout, format!("{}\n", id()));
    let mut bench = Bench::new();
    bench.stdin = b"one\0two\0".to_vec();
    let command = "create --null --queue shelf --key k --lifespan 10min --output json";
    let ran = bench.run_with(command, answer_create);
    assert_eq!(ran.stdout, format!("{{\"id\":\"{}\"}}\n", id()));
}

#[test]
fn a_create_whose_answer_is_lost_says_what_that_means() {
    let ran = Bench::new().run_with("create --queue shelf", |peer| {
        peer.read_message();
    });
    assert_eq!(ran.code, exit::TEMPFAIL);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: connection lost before the answer: whether the batch was created is not known
    note: there may be a batch, which 'batchctl ls' shows; the same command may make another
    ");
}

#[test]
fn a_create_of_which_the_daemon_does_not_know_says_what_that_means() {
    let ran = Bench::new().run_with("create --queue shelf", |peer| {
        peer.answer(|request| match request {
            Request::Create(create) => Response::Failed {
                request: create.request,
                code: ErrorCode::Unknown,
                message: "the disk failed".to_owned(),
            },
            other => panic!("{other:?}"),
        });
    });
    assert_eq!(ran.code, exit::TEMPFAIL);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: refused: the disk failed
    note: there may be a batch, which 'batchctl ls' shows; the same command may make another
    hint: the daemon's log says more
    ");
}

#[test]
fn what_does_not_fit_one_request_is_not_created() {
    let mut bench = Bench::new();
    bench.stdin = vec![b'\n'; 200_000];
    let ran = bench.run_with("create --queue shelf", |peer| peer.read_to_end());
    assert_eq!(ran.code, exit::DATAERR, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: more than the daemon takes at once: 100000 items, 16777216 bytes
    hint: give less, or use 'batchctl submit', which cuts it by itself
    ");
}

#[test]
fn a_lifespan_of_nothing_is_a_mistake() {
    let ran = Bench::new().run("create --lifespan 0s");
    assert_eq!(ran.code, exit::USAGE);
    assert!(
        ran.stderr.contains("at least a microsecond"),
        "{}",
        ran.stderr
    );
}

#[test]
fn get_writes_items_until_the_batch_has_expired() {
    let get = format!("get {}", id());
    let ran = Bench::new().run_with(&get, |peer| {
        peer.answer(|request| match request {
            Request::Get { request, .. } => {
                let items = vec![b"one".to_vec().into(), b"two".to_vec().into()];
                let page = batchd_client::ItemsPage { items, next: None };
                Response::Items { request, page }
            }
            other => panic!("{other:?}"),
        });
    });
    assert_eq!((ran.code, ran.stdout.as_str()), (exit::OK, "one\ntwo\n"));
    for (code, exit) in [
        (ErrorCode::Expired, exit::FAILURE),
        (ErrorCode::NoSuchBatch, exit::NOINPUT),
    ] {
        let ran = Bench::new().run_with(&get, move |peer| {
            peer.answer(|request| match request {
                Request::Get { request, .. } => Response::Failed {
                    request,
                    code,
                    message: "gone".to_owned(),
                },
                other => panic!("{other:?}"),
            });
        });
        assert_eq!((ran.code, ran.stdout.as_str()), (exit, ""));
    }
}

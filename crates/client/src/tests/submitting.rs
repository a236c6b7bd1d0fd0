//! Submissions in flight, over connections that hold and that break.

use batchd_protocol::Ack;

use super::*;
use crate::fake::FakeDaemon;
use crate::submission::Receipt;

#[test]
fn submissions_are_pipelined_and_answered_in_any_order() {
    check(
        || {
            vec![script(|peer| {
                peer.welcome();
                let received = [(); 3].map(|()| peer.read_submission());
                assert_eq!(
                    received.each_ref().map(|one| one.id.sequence),
                    [1, 2, 3],
                    "all three before any answer"
                );
                assert!(received.iter().all(|one| !one.repeat && one.queue == "q"));
                received.iter().rev().for_each(|one| peer.accept(one));
            })]
        },
        |_| {},
        Ack::Synced,
        &["a", "b", "c"],
        |settled, _| {
            let totals = settled.expect("kept");
            assert_eq!(totals.prefix.items, 3);
            assert_eq!(totals.kept, totals.prefix);
        },
    );
}

#[test]
fn a_connection_that_breaks_is_made_again_and_ids_are_kept() {
    check(
        || {
            vec![
                script(|peer| {
                    peer.welcome();
                    let first = peer.read_submission();
                    peer.accept(&first);
                    assert_eq!(peer.read_submission().items, [b"b"]);
                }),
                script(|_| {}),
                script(|peer| {
                    peer.welcome();
                    for (sequence, item) in [(2, b"b"), (3, b"c")] {
                        let received = peer.read_submission();
                        assert_eq!(
                            (received.id.sequence, &received.items[..]),
                            (sequence, &[item.to_vec()][..])
                        );
                        assert!(received.repeat || sequence == 3);
                        peer.accept(&received);
                    }
                }),
            ]
        },
        |_| {},
        Ack::Written,
        &["a", "b", "c"],
        |settled, _| assert_eq!(settled.expect("kept").prefix.submissions, 3),
    );
}

#[test]
fn a_daemon_that_starts_later_is_waited_for() {
    let place = Place::new();
    let options = place.options();
    let client = std::thread::spawn(move || submit_blocking(options, Ack::Synced, &["a"]));
    let daemon = FakeDaemon::start(
        &place.socket,
        vec![script(|peer| {
            peer.welcome();
            let received = peer.read_submission();
            peer.accept(&received);
        })],
    );
    let (settled, _) = client.join().expect("no panic");
    assert_eq!(settled.expect("kept").kept.items, 1);
    daemon.finish();
}

#[test]
fn tickets_are_waited_for_in_any_order() {
    let place = Place::new();
    let daemon = FakeDaemon::start(
        &place.socket,
        vec![script(|peer| {
            peer.welcome();
            let received = [(); 2].map(|()| peer.read_submission());
            received.iter().for_each(|one| peer.accept(one));
        })],
    );
    let mut client = blocking::Client::new(place.options()).expect("a client");
    let mut tickets = Vec::new();
    for item in ["a", "bb"] {
        let submission = client.prepare(&target(), &ItemBuffer::from_iter([item]));
        tickets.push(client.send_tracked(submission).expect("sent"));
    }
    let receipts: Vec<Receipt> = tickets
        .iter()
        .rev()
        .map(|ticket| client.wait(ticket).expect("kept"))
        .collect();
    assert_eq!(
        receipts
            .iter()
            .map(|receipt| (receipt.index, receipt.item_bytes))
            .collect::<Vec<_>>(),
        [(1, 2), (0, 1)]
    );
    let again = tickets.first().map(|ticket| client.wait(ticket));
    assert!(matches!(again, Some(Err(Error::GivenUp))));
    daemon.finish();
}

#[test]
fn a_dropped_future_leaves_its_submission_in_flight() {
    let place = Place::new();
    let (has_it, has_it_at) = tokio::sync::oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel();
    let daemon = FakeDaemon::start(
        &place.socket,
        vec![script(move |peer| {
            peer.welcome();
            let received = peer.read_submission();
            assert!(has_it.send(()).is_ok());
            assert!(wait.recv().is_ok());
            peer.accept(&received);
        })],
    );
    on_tokio(async {
        let mut client = asynchronous::Client::new(place.options()).expect("a client");
        let submission = client.prepare(&target(), &ItemBuffer::from_iter(["a"]));
        tokio::select! {
            answer = client.submit(submission) => panic!("{answer:?}"),
            has_it = has_it_at => assert!(has_it.is_ok()),
        }
        go.send(()).expect("a daemon");
        assert_eq!(client.settle().await.expect("kept").kept.items, 1);
    });
    daemon.finish();
}

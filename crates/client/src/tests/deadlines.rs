//! Daemons that hang in one way or another: no call outlasts its deadline.

use std::io;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use batchd_protocol::Ack;

use super::*;
use crate::error::ProtocolError;
use crate::fake::FakeDaemon;

/// A daemon that misbehaves in some way for ever: the call ends with its deadline.
#[track_caller]
fn check_deadline(misbehave: fn(&mut Peer)) {
    let start = Instant::now();
    check(
        move || vec![script(misbehave)],
        |options| options.deadline = SHORT,
        Ack::Synced,
        &["a"],
        |settled, _| {
            assert!(
                matches!(settled, Err(Error::DeadlineExceeded { .. })),
                "{settled:?}"
            );
        },
    );
    // Generous, since the machine may be busy; the daemon would go on for ever.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_daemon_that_never_greets_is_left_at_the_deadline() {
    check_deadline(Peer::read_to_end);
}

#[test]
fn a_daemon_that_never_answers_is_left_at_the_deadline() {
    check_deadline(|peer| {
        peer.welcome();
        peer.read_to_end();
    });
}

#[test]
fn a_daemon_that_trickles_is_left_at_the_deadline() {
    check_deadline(|peer| {
        peer.welcome();
        peer.send_bytes(&1_000_000u32.to_le_bytes());
        while peer.try_send_bytes(&[0]) {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_daemon_that_floods_is_left_as_faulty() {
    let place = Place::new();
    let daemon = FakeDaemon::start(
        &place.socket,
        vec![script(|peer| {
            peer.welcome();
            let flood = vec![0; 1 << 20];
            while peer.try_send_bytes(&flood) {}
        })],
    );
    let (settled, _) = submit_blocking(place.options(), Ack::Synced, &["a"]);
    assert!(matches!(
        settled,
        Err(Error::Protocol(ProtocolError::Decode(_)))
    ));
    daemon.finish();
}

#[test]
fn a_daemon_that_does_not_read_is_left_at_the_deadline() {
    let place = Place::new();
    let listener = UnixListener::bind(&place.socket).expect("bind");
    for submit in [submit_blocking as Submit, submit_asynchronous as Submit] {
        let mut options = place.options();
        options.deadline = SHORT;
        let thread = std::thread::spawn({
            let listener = listener.try_clone().expect("clone");
            move || listener.accept().expect("accept")
        });
        let big = "x".repeat(1 << 20);
        let (settled, _) = submit(options, Ack::Synced, &[big.as_str(); 20]);
        assert!(matches!(settled, Err(Error::DeadlineExceeded { .. })));
        drop(thread.join());
    }
}

#[test]
fn a_call_whose_time_is_up_before_it_connects_ends_with_the_deadline() {
    let place = Place::new();
    let _listener = UnixListener::bind(&place.socket).expect("bind");
    let mut options = place.options();
    options.deadline = Duration::ZERO;
    let blocking = blocking::Client::new(options.clone()).and_then(|mut client| client.limits());
    // A clock that stands still, so that no rounding gives the connect a millisecond.
    let asynchronous = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(async { asynchronous::Client::new(options)?.limits().await });
    for limits in [blocking, asynchronous] {
        assert!(
            matches!(limits, Err(Error::DeadlineExceeded { .. })),
            "{limits:?}"
        );
    }
}

#[test]
fn a_full_backlog_is_left_at_the_deadline() {
    let place = Place::new();
    let _listener = UnixListener::bind(&place.socket).expect("bind");
    let mut waiting = Vec::new();
    let full = loop {
        match crate::socket::connect_now(&place.socket) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    for submit in [submit_blocking as Submit, submit_asynchronous as Submit] {
        let mut options = place.options();
        options.deadline = SHORT;
        let (settled, _) = submit(options, Ack::Synced, &["a"]);
        assert!(matches!(
            settled,
            Err(Error::DeadlineExceeded {
                welcomed: false,
                last: Some(_),
                ..
            })
        ));
    }
}

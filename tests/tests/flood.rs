//! Many clients that send as much as they may, all at once: memory stays bounded, and others are served.

use std::thread;
use std::time::{Duration, Instant};

use batchd_protocol::{Ack, ErrorCode, Request, Response};
use batchd_tests::{Body, Exit, Site, Wire};

/// So many connections.
const CLIENTS: usize = 200;
/// The longest submission, less what is around the items.
const SUBMISSION_BYTES: usize = (16 << 20) - 64;
/// Long messages on their way (48 MiB), their copies in groups (as much), the beginnings of others (256 KiB each), and
/// what a daemon needs anyway; of more than 3 GiB that are sent.
const MEMORY_KIB_MAX: u64 = 256 << 10;
/// A decent client is served within that, whatever others do.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn two_hundred_clients_with_the_longest_submissions() {
    // The spool is full after a few, so that it is memory that is tried and not the disk.
    let site = Site::lines(1);
    site.configure_spool(
        "max_bytes = \"64MiB\"\nballast = \"off\"",
        "[limits]\nitem_bytes_max = \"16MiB\"\n\
         [queues.default]\nmax_bytes = \"1GiB\"\nmax_age = \"off\"\nsink = \"off\"\n\
         [queues.other]\nmax_items = 1\n",
    );
    let daemon = site.start();
    let body = Body::new(None, &[vec![b'x'; SUBMISSION_BYTES]]);
    let served = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
                    let submit = body.submit(1, "default", b"", Ack::Synced);
                    wire.send(&Request::Submit(submit)).expect("sent");
                    match wire.receive().expect("an answer") {
                        Some(Response::Accepted { .. }) => true,
                        Some(Response::Failed { code, .. }) => {
                            assert_eq!(code, ErrorCode::SpoolFull);
                            false
                        }
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        let mut served = Duration::ZERO;
        while clients.iter().any(|client| !client.is_finished()) {
            let start = Instant::now();
            site.batchctl(["status"], b"").success();
            served = served.max(start.elapsed());
        }
        let accepted = clients
            .into_iter()
            .filter_map(|client| client.join().ok())
            .filter(|accepted| *accepted)
            .count();
        assert!((1..=4).contains(&accepted), "{accepted} accepted");
        served
    });
    assert!(served < SERVED_WITHIN, "served after {served:?}");
    let most = daemon.memory_kib("VmHWM");
    assert!(most < MEMORY_KIB_MAX, "{most} KiB");
    eprintln!("status answered within {served:?}; {most} KiB at most");
    assert_eq!(daemon.term(), Exit::Code(0));
}

//! A start with a great many batches that wait, and their delivery.

use std::fs;
use std::time::Instant;

use batchd_frame::SubmissionId;
use batchd_protocol::{Ack, ErrorCode, Request, Response};
use batchd_tests::{Body, Exit, LONG, Site, Wire, make_backlog, wait_until};

/// What a daemon may grow to, in KiB.
const MEMORY_KIB_MAX: u64 = 100 << 10;

/// So many batches wait; more where `BATCHD_BACKLOG` says so.
fn backlog() -> u64 {
    let wanted = std::env::var("BATCHD_BACKLOG").ok();
    wanted.map_or(500, |number| number.parse().expect("a number"))
}

fn site() -> Site {
    Site::new(
        "[queues.default]\nmax_items = 1000\nmax_age = \"off\"\n\
         [queues.default.sink]\ntype = \"file\"\npath = \"{out}/all\"\nappend = true\nencoding = \"lines\"\n",
    )
}

#[test]
fn a_backlog_is_delivered_in_order_with_little_memory() {
    let batches = backlog();
    let site = site();
    make_backlog(&site, "default", batches);
    let start = Instant::now();
    let daemon = site.start();
    site.submit("default", &[vec!["last"]]).expect("submitted");
    let accepting = start.elapsed();
    let at_start = daemon.memory_kib("VmHWM");
    site.batchctl(["flush"], b"").success();
    let bound = LONG * u32::try_from(batches / 10_000 + 1).expect("few");
    let mut most_descriptors = 0;
    wait_until("all of it to be delivered", bound, || {
        most_descriptors = most_descriptors.max(daemon.descriptors());
        let ready = fs::read_dir(site.spool().join("queues/default/ready")).expect("ready");
        (ready.count() == 0).then_some(())
    });
    let delivered = start.elapsed();
    let text = fs::read_to_string(site.out().join("all")).expect("delivered");
    let mut lines = text.lines();
    for seq in 1..=batches {
        assert_eq!(lines.next(), Some(seq.to_string().as_str()));
    }
    assert_eq!((lines.next(), lines.next()), (Some("last"), None));
    let most = daemon.memory_kib("VmHWM");
    eprintln!(
        "{batches} batches: accepting after {accepting:?} at {at_start} KiB, delivered after {delivered:?} \
         with {most} KiB and {most_descriptors} descriptors at most"
    );
    assert!(most < MEMORY_KIB_MAX, "{most} KiB");
    assert!(most_descriptors < 64, "{most_descriptors} descriptors");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn repeats_are_recognised_in_a_backlog() {
    let site = Site::new("[queues.default]\nsink = \"off\"\n");
    let producer = make_backlog(&site, "default", backlog());
    let _daemon = site.start();
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    for sequence in [1, backlog() / 2, backlog()] {
        let id = SubmissionId { producer, sequence };
        let body = Body::new(Some(id), &["again"]);
        let mut submit = body.submit(sequence, "default", b"", Ack::Synced);
        submit.repeat = true;
        // Refused until it is read what the waiting batches hold.
        wait_until("it to be recognised", LONG, || {
            wire.send(&Request::Submit(submit)).expect("sent");
            match wire.receive().expect("an answer") {
                Some(Response::Accepted { repeat, .. }) => {
                    assert!(repeat, "{sequence} was taken for new");
                    Some(())
                }
                Some(Response::Failed { code, .. }) => {
                    assert_eq!(code, ErrorCode::Unknown);
                    None
                }
                other => panic!("{other:?}"),
            }
        });
    }
}

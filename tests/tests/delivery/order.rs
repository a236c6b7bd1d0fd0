//! What an answer on a connection says of what came before it, and what a missing file does to those behind it.

use std::fs;

use batchd_protocol::{Ack, Request, Response};
use batchd_tests::{Body, Exit, LONG, Site, Wire, wait_until};

#[test]
fn a_status_comes_behind_the_answers_to_all_that_was_submitted_before() {
    const SUBMISSIONS: u64 = 500;
    // Each in a batch of its own: many groups, which ingest and housekeeping lead in turn.
    for threads in [1, 3] {
        let site = Site::new(&format!(
            "[engine]\ningest_threads = {threads}\n[queues.default]\nmax_items = 1\nsink = \"off\"\n"
        ));
        let daemon = site.start();
        let mut wire = Wire::greeted(&site.socket()).expect("welcome");
        for number in 0..SUBMISSIONS {
            let body = Body::new(None, &[format!("item {number}")]);
            let submit = Request::Submit(body.submit(number, "default", b"", Ack::Synced));
            wire.send(&submit).expect("send");
        }
        wire.send(&Request::Status {
            request: SUBMISSIONS,
        })
        .expect("send");
        let mut answered = 0;
        loop {
            match wire.receive().expect("receive").expect("an answer") {
                Response::Accepted { .. } => answered += 1,
                Response::Status { status, .. } => {
                    assert_eq!(answered, SUBMISSIONS);
                    assert_eq!(status.queues[0].items_accepted, SUBMISSIONS);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(daemon.term(), Exit::Code(0));
    }
}

#[test]
fn a_batch_whose_file_is_gone_does_not_hold_up_those_behind_it() {
    let site = Site::lines(1);
    // Nothing can go out while a file stands where the sink's directory is to be.
    fs::remove_dir(site.out()).expect("remove");
    fs::write(site.out(), "in the way").expect("write");
    let daemon = site.start();
    site.submit("default", &[vec!["lost"], vec!["kept 1"], vec!["kept 2"]])
        .expect("submit");
    let ready = site.spool().join("queues/default/ready");
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&ready)
            .expect("list")
            .map(|e| e.expect("entry").path())
            .collect();
        names.sort();
        names
    };
    wait_until("three batches are ready", LONG, || {
        (names().len() == 3).then_some(())
    });
    fs::remove_file(&names()[0]).expect("remove");
    fs::remove_file(site.out()).expect("remove");
    wait_until("the others are delivered", LONG, || {
        (site.delivered() == b"kept 1\nkept 2\n").then_some(())
    });
    wait_until("it is in the log", LONG, || {
        site.log_text().contains("never will be").then_some(())
    });
    let ledger = site.spool().join("queues/default/ledger");
    assert!(
        fs::read_to_string(ledger)
            .expect("read")
            .contains("\"removed\"")
    );
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_flush_of_all_queues_waits_for_those_that_have_a_sink() {
    let site = Site::new(&format!(
        "{}[queues.shelf]\nsink = \"off\"\n",
        Site::lines_sink("default")
    ));
    let daemon = site.start();
    for queue in ["default", "shelf"] {
        site.submit(queue, &[vec!["item"]]).expect("submit");
    }
    assert_eq!(site.batchctl(["flush", "--wait"], b"").code, Some(0));
    assert_eq!(site.delivered(), b"item\n");
    assert_eq!(
        site.batchctl(["flush", "--wait", "--queue", "shelf"], b"")
            .code,
        Some(78)
    );
    assert_eq!(daemon.term(), Exit::Code(0));
}

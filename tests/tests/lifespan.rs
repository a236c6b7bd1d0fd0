//! Lifespans and batches of their own, with the real programs.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use batchd_client::{BatchId, BatchState, Error, ErrorCode, ItemBuffer, NewBatch, QueueName};
use batchd_tests::{Exit, LONG, Output, Site, wait_until};

/// A shelf, and a queue whose sink does not get on, both quick to clean up.
fn site(cleanup_interval: &str) -> Site {
    Site::new(&format!(
        "[engine]\ncleanup_interval = \"{cleanup_interval}\"\n\
         [queues.shelf]\nsink = \"off\"\nmax_age = \"off\"\n\
         [queues.stuck]\nmax_age = \"off\"\n{}",
        Site::lines_sink("stuck").replace("{out}", "{root}/nowhere/at/all")
    ))
}

fn create(site: &Site, queue: &str, lifespan: &str, items: &[u8]) -> String {
    let args = ["create", "--queue", queue, "--lifespan", lifespan];
    let created = site.batchctl(args, items).success();
    created.text().trim().to_owned()
}

fn get(site: &Site, id: &str) -> Output {
    site.batchctl(["get", id], b"")
}

fn status(site: &Site, queue: &str, counter: &str) -> u64 {
    let status = site.batchctl(["status", "--output", "json"], b"").success();
    let queues = status.json()[0]["queues"].clone();
    let queues = queues.as_array().unwrap();
    let found = queues.iter().find(|found| found["queue"] == queue).unwrap();
    found[counter].as_u64().unwrap()
}

#[test]
fn a_batch_of_its_own_is_there_until_it_expires() {
    let site = site("20ms");
    let daemon = site.start();
    let kept = create(&site, "shelf", "1h", b"one\ntwo\n");
    assert_eq!(get(&site, &kept).success().text(), "one\ntwo\n");
    let short = create(&site, "shelf", "50ms", b"three\n");
    let expired = wait_until("the end of the lifespan", LONG, || {
        let got = get(&site, &short);
        (got.code != Some(0)).then_some(got)
    });
    let expired = expired.expect_code(1);
    assert!(expired.stderr.contains("has expired"), "{expired}");
    assert_eq!(expired.text(), "");
    // The cleaner has been there, or the request was: either way it is on record and counted.
    wait_until("the record", LONG, || {
        let counted =
            ["batches_expired", "batches_dropped"].map(|name| status(&site, "shelf", name));
        (counted == [1, 1]).then_some(())
    });
    let gone = site.batchctl(["cat", &short], b"").expect_code(1);
    assert!(gone.stderr.contains("has expired"), "{gone}");
    let shown = site.batchctl(["show", &short], b"").success();
    assert!(shown.text().contains("why    lifespan"), "{shown}");
    let nobody = get(&site, "0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11").expect_code(66);
    assert!(nobody.stderr.contains("nothing is on record"), "{nobody}");
    assert_eq!(get(&site, &kept).success().text(), "one\ntwo\n");
    assert_eq!(daemon.term(), Exit::Code(0));
    assert!(site.log_text().contains("expired; dropped"));
}

#[test]
fn without_a_cleaner_nothing_expires_for_a_minute_after_a_start() {
    let site = site("off");
    let daemon = site.start();
    let id = create(&site, "shelf", "1ms", b"one\n");
    assert_eq!(get(&site, &id).success().text(), "one\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_shelf_outlives_the_daemon() {
    let site = site("20ms");
    let daemon = site.start();
    let kept = create(&site, "shelf", "1h", b"one\n");
    let short = create(&site, "shelf", "2s", b"two\n");
    daemon.kill9();
    let daemon = site.start();
    assert_eq!(get(&site, &kept).success().text(), "one\n");
    wait_until("the end of the lifespan", LONG, || {
        let ready = site.spool().join("queues/shelf/ready");
        let left = std::fs::read_dir(ready).unwrap().count();
        (left == 1).then_some(())
    });
    get(&site, &short).expect_code(1);
    let flushed = site.batchctl(["flush", "--queue", "shelf"], b"").success();
    assert!(flushed.text().contains("not yet"), "{flushed}");
    assert_eq!(get(&site, &kept).success().text(), "one\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn an_expired_batch_with_a_sink_is_set_aside_with_a_verdict() {
    let site = site("20ms");
    let daemon = site.start();
    let id = create(&site, "stuck", "300ms", b"one\n");
    wait_until("the batch to be dead", LONG, || {
        let listed = site.batchctl(["ls", "--output", "json"], b"").success();
        let listed = listed.json();
        let found = listed.iter().find(|batch| batch["id"] == id.as_str())?;
        (found["state"] == "dead").then_some(())
    });
    let shown = site
        .batchctl(["show", &id, "--output", "json"], b"")
        .success();
    let shown = &shown.json()[0];
    assert_eq!(shown["reason"], "created");
    let verdict = shown["verdict"].as_str().unwrap();
    assert!(
        verdict.starts_with("expired before it was delivered"),
        "{verdict}"
    );
    // Who wants a live batch is told; who looks at the dead sees it.
    get(&site, &id).expect_code(1);
    let cat = site.batchctl(["cat", &id], b"").success();
    assert_eq!(cat.text(), "one\n");
    assert_eq!(status(&site, "stuck", "batches_expired"), 1);
    assert_eq!(status(&site, "stuck", "batches_dropped"), 0);
    assert_eq!(daemon.term(), Exit::Code(0));
    assert!(site.log_text().contains("set aside in dead/"));
}

#[test]
fn with_a_sink_a_batch_of_its_own_is_delivered_in_its_place() {
    let site = Site::lines(1000);
    let daemon = site.start();
    site.submit("default", &[vec!["one"], vec!["two"]]).unwrap();
    let id = create(&site, "default", "1h", b"three\nfour\n");
    site.submit("default", &[vec!["five"]]).unwrap();
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(site.delivered(), b"one\ntwo\nthree\nfour\nfive\n");
    let gone = get(&site, &id).expect_code(66);
    assert!(gone.stderr.contains("was delivered"), "{gone}");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn what_cannot_be_a_batch_is_refused_by_name() {
    let site = Site::new(
        "[queues.small]\nsink = \"off\"\nmax_items = 2\nmax_bytes = \"100B\"\nmax_age = \"off\"\n",
    );
    let daemon = site.start();
    let try_create = |items: &[u8]| site.batchctl(["create", "--queue", "small"], items);
    for (items, code, says) in [
        (&b"1\n2\n3\n"[..], 65, "max_items"),
        (&[b'x'; 101][..], 65, "max_bytes"),
        (b"", 65, "at least one item"),
    ] {
        let refused = try_create(items).expect_code(code);
        assert!(refused.stderr.contains(says), "{refused}");
    }
    let unknown = site.batchctl(["create", "--queue", "nowhere"], b"1\n");
    unknown.expect_code(66);
    try_create(b"1\n2\n").success();
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn long_batches_are_made_from_several_connections_at_once() {
    const THREADS: usize = 6;
    let site = site("1min");
    let daemon = site.start();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let site = &site;
            scope.spawn(move || {
                let item = vec![b'a' + u8::try_from(thread).unwrap(); 1 << 20];
                let items: ItemBuffer = std::iter::repeat_n(&item, 1).collect();
                let mut client = site.client(None, LONG);
                let queue = QueueName::new("shelf").unwrap();
                let id = client.create(NewBatch::new(queue, &items)).unwrap();
                let got: Result<Vec<_>, Error> = client.get(id).collect();
                assert_eq!(got.unwrap(), [item]);
            });
        }
    });
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn ids_are_unique_and_ascend_by_queue_whoever_asks_for_them() {
    const THREADS: usize = 8;
    const EACH: usize = 300;
    let site = site("1min");
    let daemon = site.start();
    let all: Mutex<Vec<BatchId>> = Mutex::default();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (site, all) = (&site, &all);
            scope.spawn(move || {
                let mut client = site.client(None, LONG);
                let mut mine = Vec::new();
                for number in 0..EACH {
                    let item = format!("{thread} {number}");
                    let queue = QueueName::new("shelf").unwrap();
                    let batch = NewBatch::new(queue, &ItemBuffer::from_iter([item]));
                    mine.push(client.create(batch).unwrap());
                }
                assert!(mine.windows(2).all(|pair| pair[0] < pair[1]), "ascending");
                all.lock().unwrap().extend(mine);
            });
        }
    });
    let all = all.into_inner().unwrap();
    let unique: HashSet<_> = all.iter().collect();
    assert_eq!(unique.len(), THREADS * EACH);
    let mut client = site.client(None, LONG);
    let listed: Vec<_> = client.list(None).map(Result::unwrap).collect();
    let ready: Vec<_> = listed
        .iter()
        .filter(|batch| batch.state == BatchState::Ready)
        .collect();
    assert_eq!(ready.len(), THREADS * EACH);
    let ascends =
        |pair: &[&batchd_client::BatchInfo]| pair[0].seq < pair[1].seq && pair[0].id < pair[1].id;
    assert!(ready.windows(2).all(ascends), "ids ascend with seqs");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_daemon_that_is_killed_leaves_whole_batches_or_none() {
    let site = site("1min");
    for round in 0..4 {
        let daemon = site.start();
        let made: Mutex<Vec<BatchId>> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..3 {
                let (site, made) = (&site, &made);
                scope.spawn(move || {
                    let mut client = site.client(None, Duration::from_millis(500));
                    loop {
                        let queue = QueueName::new("shelf").unwrap();
                        let items = ItemBuffer::from_iter(["one", "two", "three"]);
                        match client.create(NewBatch::new(queue, &items)) {
                            Ok(id) => made.lock().unwrap().push(id),
                            Err(_) => return,
                        }
                    }
                });
            }
            wait_until("some batches", LONG, || {
                (made.lock().unwrap().len() > 20 + round * 7).then_some(())
            });
            daemon.kill9();
        });
        let daemon = site.start();
        let mut client = site.client(None, LONG);
        for id in made.into_inner().unwrap() {
            let got: Result<Vec<_>, Error> = client.get(id).collect();
            assert_eq!(got.unwrap().len(), 3);
        }
        let listed: Vec<_> = client.list(None).map(Result::unwrap).collect();
        assert!(listed.iter().all(|batch| batch.items == 3), "{listed:?}");
        let status = client.status().unwrap();
        assert_eq!(status.quarantined, 0);
        drop(daemon);
    }
}

#[test]
fn a_batch_that_never_was_is_unknown_to_the_library_too() {
    let site = site("1min");
    let daemon = site.start();
    let mut client = site.client(None, LONG);
    let got = client.get(BatchId::from_bytes([1; 16])).next().unwrap();
    let is_unknown = matches!(
        got,
        Err(Error::Refused {
            code: ErrorCode::NoSuchBatch,
            ..
        })
    );
    assert!(is_unknown, "{got:?}");
    assert_eq!(daemon.term(), Exit::Code(0));
}

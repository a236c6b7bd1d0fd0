//! Batches that are made whole, with items given at once.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use batchd_core::frame::checksum::crc32c;
use batchd_core::frame::{BatchId, BodyLimits, BodyView, SealReason, encode_body};
use batchd_core::queue::{Ack, Answer, Begun, Commit, Creation, Incoming};
use insta::assert_snapshot;
use support::book::Due;
use support::world::{World, run, small};

fn body_of(item: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    encode_body(None, std::iter::once(item), &mut body);
    body
}

/// Makes a batch of one item.
fn create(commit: &Commit<usize>, key: &[u8], item: &[u8]) -> BatchId {
    let body = body_of(item);
    let creation = Creation {
        key,
        body: &body,
        body_crc: crc32c(&body),
        view: BodyView::parse(&body, 1, BodyLimits::NONE).unwrap(),
        lifespan: Some(Duration::from_secs(3600)),
    };
    commit.create(&creation).unwrap()
}

/// Submits one item and leads the commit until that is answered.
fn submit(commit: &Commit<usize>, key: &[u8], item: &[u8]) {
    let body = body_of(item);
    let incoming = Incoming {
        key,
        body: &body,
        body_crc: crc32c(&body),
        view: BodyView::parse(&body, 1, BodyLimits::NONE).unwrap(),
        ack: Ack::Synced,
        repeat: false,
        end_of_batch: false,
        received_at: 0,
    };
    assert_eq!(commit.begin(&incoming, 0), Ok(Begun::Waiting));
    let mut answers = Vec::new();
    commit.lead(&mut answers).unwrap();
    assert_eq!(answers, [(0, Answer::Kept(Ack::Synced))]);
}

#[test]
fn what_is_created_leaves_alone_what_is_of_other_keys() {
    let mut world = World::started(small());
    world
        .run("submit a 1 20; submit b 1 20; lead; submit a 1 20; plan")
        .unwrap();
    // Nothing of its key is open: it waits neither for the group nor for seals.
    world.commit().lock().close_all(SealReason::Flush);
    create(world.commit(), b"c", b"item");
    assert_eq!(world.commit().lock().seals_waiting(), 1);
    world.run("land; keep").unwrap();
    assert_eq!(world.commit().lock().ready().count(), 3);
}

#[test]
fn created_batches_are_delivered_in_their_place() {
    let script =
        "submit a 1 20; lead; create a 2 20; submit a 1 20; lead; create b 1 20; list; deliver all";
    assert_snapshot!(run(small(), script), @"
    0 Kept(Synced)
    1 created as 2
    2 Kept(Synced)
    3 created as 4
    open 3: 2.0
    ready 1: 0.0
    ready 2: 1.0 1.1
    ready 4: 3.0
    delivered 1: 0.0
    delivered 2: 1.0 1.1
    delivered 4: 3.0
    ");
}

#[test]
fn a_crash_does_not_let_a_created_batch_overtake_what_was_submitted_before_it() {
    let script = "submit a 1 20; lead; create a 1 20; crash; deliver all; list";
    assert_snapshot!(run(small(), script), @"
    0 Kept(Synced)
    1 created as 2
    delivered 1: 0.0
    delivered 2: 1.0
    ");
}

#[test]
fn files_made_ahead_before_a_created_batch_are_not_filled_after_it() {
    // The second batch of a key would begin on a file made ahead, with a seq before that of the created one.
    let script = "submit a 4 20; lead; keep; create a 1 20; submit a 4 20; lead; keep; create c 1 20; \
                  submit c 1 20; lead; close; keep; deliver all";
    assert_snapshot!(run(small(), script), @"
    0 Kept(Synced)
    1 created as 3
    2 Kept(Synced)
    3 created as 6
    4 Kept(Synced)
    delivered 1: 0.0 0.1 0.2 0.3
    delivered 3: 1.0
    delivered 4: 2.0 2.1 2.2 2.3
    delivered 6: 3.0
    delivered 7: 4.0
    ");
}

#[test]
fn what_does_not_fit_a_batch_is_not_created() {
    let mut world = World::started(small());
    world.spool_bytes_max = 4500;
    world
        .run("reopen; create a 5 20; create a 2 2500; create a 1 4500; create a 1 20 0")
        .unwrap();
    world
        .run("create a 2 2000; create a 1 600; list; ledger")
        .unwrap();
    assert_snapshot!(world.out, @"
    0 not created: 5 items are more than `max_items` of the queue, 4: give less at once, or raise it
    1 not created: 5000 bytes of items are more than `max_bytes` of the queue, 4000: give less at once, or raise it
    2 not created: 4500 bytes of items are more than `max_bytes` of the queue, 4000: give less at once, or raise it
    3 not created: a lifespan is longer than nothing: leave it out for that of the queue
    4 created as 1
    5 not created: the spool holds 4000 bytes of items, of the 4500 it may (`max_bytes` of [spool]): wait for deliveries, or raise it
    ready 1: 4.0 4.1
    ");
    let files = world.files_in("spool/queues/q/ready");
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn a_created_batch_that_finds_no_room_leaves_nothing() {
    for room in (0..1200).step_by(40) {
        let mut world = World::started(small());
        world
            .run(&format!(
                "create a 1 20; full {room}; create a 2 200; heal; create a 2 200"
            ))
            .unwrap();
        let files = world.files_in("spool/queues/q/ready");
        assert!(
            files.iter().all(|file| file.ends_with(".batch")),
            "{files:?}"
        );
        world.drain().unwrap();
        world.book.check(Due::All).unwrap();
    }
}

#[test]
fn a_failed_sync_of_a_created_batch_stops_the_queue() {
    let mut world = World::started(small());
    let died = world
        .run("create a 1 20; fail sync 1; create a 1 20")
        .unwrap_err();
    assert!(died.0.contains("sync"), "{}", died.0);
    world.disk.heal();
    world.start().unwrap();
    world.drain().unwrap();
    world.book.check(Due::Acked(Ack::Synced)).unwrap();
}

#[test]
fn ids_and_seqs_ascend_within_a_millisecond_and_over_restarts() {
    let mut world = World::started(small());
    let mut last: Option<(u64, BatchId)> = None;
    for round in 0..6 {
        for _ in 0..200 {
            world.run("create a 1 12").unwrap();
        }
        let names: Vec<_> = {
            let queue = world.commit().lock();
            queue
                .ready()
                .map(|batch| (batch.name.seq, batch.name.id))
                .collect()
        };
        for (seq, id) in names.into_iter().skip(round * 200) {
            assert!(last.is_none_or(|(s, i)| seq > s && id > i));
            last = Some((seq, id));
        }
        world
            .run(if round == 3 {
                "wall -86400; reopen"
            } else {
                "reopen"
            })
            .unwrap();
    }
}

#[test]
fn threads_create_while_others_submit_and_deliver() {
    let mut world = World::started(small());
    let commit = world.commit.take().unwrap();
    let made: Mutex<Vec<BatchId>> = Mutex::default();
    let left = AtomicUsize::new(5);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (commit, made, left) = (&commit, &made, &left);
            scope.spawn(move || {
                let mut mine = Vec::new();
                for n in 0..100 {
                    let item = format!("created {thread} {n}").into_bytes();
                    mine.push(create(commit, b"a", &item));
                }
                assert!(mine.windows(2).all(|pair| pair[0] < pair[1]), "ascending");
                made.lock().unwrap().extend(mine);
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        // One key for all: each batch that is created has to have the open one sealed before it.
        let (commit, left) = (&commit, &left);
        scope.spawn(move || {
            for n in 0..100 {
                submit(commit, b"a", &format!("submitted {n}").into_bytes());
            }
            left.fetch_sub(1, Ordering::SeqCst);
        });
        scope.spawn(move || {
            while left.load(Ordering::SeqCst) > 0 {
                commit.keep().unwrap();
                commit.clean().unwrap();
                std::thread::yield_now();
            }
        });
    });
    let mut made = made.into_inner().unwrap();
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 400);
    let items = commit.lock().counters().items_accepted;
    assert_eq!(items, 500);
    let queue = commit.lock();
    let ids: Vec<_> = queue.ready().map(|batch| batch.name.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(made.iter().all(|id| ids.contains(id)));
}

#[test]
fn a_created_batch_follows_also_the_last_batch_of_a_key_that_was_forgotten() {
    let mut world = World::started(small());
    world.run("submit a 4 10; lead").unwrap();
    // So many keys that those which hold nothing are forgotten, though its batch is not sealed yet.
    for key in 0..2100 {
        world.run(&format!("submit k{key} 1 5")).unwrap();
    }
    world.run("create a 1 10; deliver; deliver").unwrap();
    let delivered = world
        .out
        .lines()
        .filter(|line| line.starts_with("delivered"));
    assert_snapshot!(delivered.collect::<Vec<_>>().join("\n"), @r"
    delivered 1: 0.0 0.1 0.2 0.3
    delivered 2: 2101.0
    ");
}

#[test]
fn a_batch_that_finds_no_room_keeps_no_smaller_one_out() {
    let script =
        "submit b 1 10; lead; full 3000; create a 4 900; submit b 1 10; lead; heal; keep; list";
    let out = run(small(), script);
    assert!(
        out.contains("1 not created: the file system is full"),
        "{out}"
    );
    assert!(out.contains("2 Kept(Synced)"), "{out}");
}

#[test]
fn where_nothing_can_be_written_that_is_said_also_where_an_older_batch_cannot_be_sealed() {
    let script = "submit a 1 10; lead; readonly; create a 1 10; heal all; keep; list";
    assert_snapshot!(run(small(), script), @r"
    0 Kept(Synced)
    1 not created: the file system of the spool is read-only: nothing is taken until it is mounted read-write
    ready 1: 0.0
    ");
}

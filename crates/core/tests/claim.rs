//! One owner a batch: what is claimed is nobody else's.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchd_core::frame::BatchId;
use batchd_core::queue::NotClaimed;
use batchd_core::spool::ledger::Outcome;
use support::world::{World, read_items, small};

/// A started world with so many ready batches of four items.
fn ready(batches: usize) -> World {
    let mut world = World::started(small());
    for _ in 0..batches {
        world.run("submit a 4 50; lead; keep").unwrap();
    }
    world
}

fn seqs(world: &World) -> Vec<u64> {
    let queue = world.commit().lock();
    queue.ready().map(|batch| batch.name.seq).collect()
}

#[test]
fn a_batch_has_one_owner_until_the_claim_is_dropped() {
    let world = ready(3);
    let commit = world.commit();
    let all = seqs(&world);
    let first = commit.claim_next().unwrap();
    assert_eq!(first.name.seq, all[0]);
    // Those behind it are not delivered before it.
    assert!(commit.claim_next().is_none());
    assert_eq!(commit.claim(first.name.id).unwrap_err(), NotClaimed::Taken);
    let second = commit.claim_oldest().unwrap();
    let third = commit.claim_oldest().unwrap();
    assert_eq!((second.name.seq, third.name.seq), (all[1], all[2]));
    assert!(commit.claim_oldest().is_none());
    let id = second.name.id;
    drop(second);
    assert_eq!(commit.claim(id).unwrap().name.id, id);
    drop(first);
    assert_eq!(commit.claim_next().unwrap().name.seq, all[0]);
}

#[test]
fn a_batch_that_ended_cannot_be_claimed_and_a_dead_one_can() {
    let mut world = ready(2);
    let delivered = world.next_ready().unwrap().name.id;
    world.run("deliver").unwrap();
    let buried = world.next_ready().unwrap().name.id;
    world.run("bury").unwrap();
    let commit = world.commit();
    assert_eq!(commit.claim(delivered).unwrap_err(), NotClaimed::Missing);
    assert_eq!(
        commit.claim(BatchId::from_bytes([7; 16])).unwrap_err(),
        NotClaimed::Missing
    );
    let dead = commit.claim(buried).unwrap();
    assert_eq!(commit.claim(buried).unwrap_err(), NotClaimed::Taken);
    assert_eq!(dead.place, batchd_core::spool::layout::Place::Dead);
}

#[test]
fn a_panic_gives_the_batch_back() {
    let world = ready(1);
    let commit = world.commit();
    let panicked = std::thread::scope(|scope| {
        let attempt = scope.spawn(|| {
            let _claim = commit.claim_next().unwrap();
            panic!("the sink is broken");
        });
        attempt.join().is_err()
    });
    assert!(panicked);
    assert!(commit.claim_next().is_some());
}

#[test]
fn threads_never_have_the_same_batch() {
    const BATCHES: usize = 60;
    let mut world = ready(BATCHES);
    let commit = world.commit.take().unwrap();
    let ids: Vec<BatchId> = {
        let queue = commit.lock();
        queue.ready().map(|batch| batch.name.id).collect()
    };
    let owners: Mutex<HashMap<BatchId, usize>> = Mutex::default();
    let finished: Mutex<Vec<BatchId>> = Mutex::default();
    let left = AtomicUsize::new(BATCHES);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (commit, owners, finished, left) = (&commit, &owners, &finished, &left);
            let ids = &ids;
            scope.spawn(move || {
                let mut look = thread;
                while left.load(Ordering::SeqCst) > 0 {
                    look += 1;
                    let claim = match thread {
                        0 => commit.claim_next(),
                        1 => commit.claim_oldest(),
                        _ => commit.claim(ids[look % ids.len()]).ok(),
                    };
                    let Some(claim) = claim else {
                        std::thread::yield_now();
                        continue;
                    };
                    let other = owners.lock().unwrap().insert(claim.name.id, thread);
                    assert_eq!(other, None, "two owners");
                    let file = commit.open_sealed(&claim).unwrap();
                    let (inspection, _) = read_items(&file).unwrap();
                    // Every other claim is given back, as after a failed attempt.
                    if look % 2 == 0 {
                        commit
                            .finish(&claim, Outcome::Delivered, &inspection)
                            .unwrap();
                        finished.lock().unwrap().push(claim.name.id);
                        left.fetch_sub(1, Ordering::SeqCst);
                    }
                    owners.lock().unwrap().remove(&claim.name.id);
                }
            });
        }
    });
    let mut finished = finished.into_inner().unwrap();
    finished.sort_unstable();
    let mut ids = ids;
    ids.sort_unstable();
    assert_eq!(finished, ids, "each once");
    assert_eq!(commit.lock().ready().count(), 0);
}

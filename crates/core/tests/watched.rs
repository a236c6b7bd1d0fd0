//! What one is told who flushed and waits: which of his batches ended otherwise than delivered.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use batchd_core::policy::{ExpiryRules, Policy};
use support::world::{World, small};

fn world() -> World {
    let policy = Policy {
        lifespan: Some(Duration::from_secs(10)),
        expiry: ExpiryRules {
            cleanup_interval: Some(Duration::from_secs(1)),
            is_parked: false,
        },
        ..small()
    };
    let mut world = World::started(policy);
    world.run("wait 1000").unwrap();
    world
}

#[test]
fn only_the_batches_of_a_flush_are_counted_for_it_and_only_those_not_delivered() {
    let mut world = world();
    // The first is full, the second is open until it is flushed.
    world.run("submit a 5 20; lead; keep").unwrap();
    let (batches, watch) = world.commit().flush_watched();
    assert_eq!(batches.len(), 2);
    assert_eq!(watch.not_delivered(), 0);
    world.run("keep; deliver").unwrap();
    assert_eq!(watch.not_delivered(), 0, "one was delivered");
    assert!(world.commit().is_undelivered(&batches));
    assert_eq!(world.commit().undelivered(&batches), 1);
    world.run("submit a 4 20; lead; keep; wait 10001").unwrap();
    let (later, other) = world.commit().flush_watched();
    assert_eq!(later.len(), 2);
    world.run("clean").unwrap();
    assert!(!world.commit().is_undelivered(&later));
    assert_eq!(watch.not_delivered(), 1, "the third came after its flush");
    assert_eq!(other.not_delivered(), 2);
}

#[test]
fn a_flush_that_nobody_waits_for_any_more_costs_nothing() {
    let mut world = world();
    world.run("submit a 5 20; lead; keep").unwrap();
    drop(world.commit().flush_watched());
    let (batches, watch) = world.commit().flush_watched();
    world.run("keep; wait 10001; clean").unwrap();
    assert_eq!(watch.not_delivered(), 2);
    assert!(!world.commit().is_undelivered(&batches));
}

//! Many keys: each fills a batch of its own, and only so many are open.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use insta::assert_snapshot;
use support::crash::drain_and_check;
use support::world::{World, small};

#[test]
fn past_the_bound_the_batch_that_was_used_longest_ago_is_closed() {
    let mut world = World::new(small());
    world.open_batches_max = 2;
    world.start().unwrap();
    let script = "submit a 1 10; lead; submit b 1 10; lead; submit a 1 10; lead; submit c 1 10; lead; list; \
                  keep; submit b 1 10; lead; keep; list";
    world.run(script).unwrap();
    assert_snapshot!(world.out, @r"
    0 Kept(Synced)
    1 Kept(Synced)
    2 Kept(Synced)
    3 Kept(Synced)
    open 1: 0.0 2.0
    open 2: 1.0
    open 3: 3.0
    closing 2: open_batches
    4 Kept(Synced)
    open 3: 3.0
    open 4: 4.0
    ready 1: 0.0 2.0
    ready 2: 1.0
    ");
}

#[test]
fn a_group_of_more_keys_than_may_be_open_is_written_in_several() {
    let mut world = World::new(small());
    world.open_batches_max = 3;
    world.start().unwrap();
    for key in 0..100 {
        world.run(&format!("submit k{key} 1 10")).unwrap();
    }
    world.run("lead; keep").unwrap();
    assert!(world.commit().lock().open_views().len() <= 3);
    drain_and_check(&mut world).unwrap();
}

#[test]
fn keys_that_come_and_go_are_forgotten_and_keep_their_order() {
    let mut world = World::new(small());
    world.open_batches_max = 4;
    world.start().unwrap();
    for round in 0..3 {
        for key in 0..1500 {
            world.run(&format!("submit k{key} 1 10; lead")).unwrap();
            if key % 16 == round {
                world.run("keep; deliver all").unwrap();
            }
        }
    }
    drain_and_check(&mut world).unwrap();
    let keys = world.commit().lock().keys();
    assert!(keys <= 2049, "{keys} keys are remembered");
}

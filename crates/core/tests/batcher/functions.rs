//! The ways to ask a server.

use std::sync::mpsc::channel;

use batchd_core::batcher::{
    Accepted, AddFailure, Closed, MemoryBatcher, NotFlushed, NotRunning, Options, Refused, Setting,
    Trouble,
};

use crate::support::{Failing, Gate, PATIENCE, all, lists, next};

#[test]
fn add_item_tells_whom_it_was_given_of_an_error() {
    let failing = Failing::default();
    let fails = failing.clone();
    let (builder, _batches) = lists(Options::new().max_items(2));
    let builder = builder.on_add_item(|batcher, batch, item| match item {
        13 => Err("unlucky".into()),
        _ => batchd_core::batcher::Batcher::add_item(batcher, batch, item),
    });
    let server = builder.on_flush(move |_, _| fails.now()).start();
    let server = server.expect("starts");
    let (tell, failures) = channel();
    for item in [12, 13] {
        server.add_item_telling(item, &tell).expect("runs");
    }
    let refused = failures.recv_timeout(PATIENCE).expect("told");
    let AddFailure::NotAdded(refused) = refused else {
        panic!("taken");
    };
    assert_eq!(refused.item, Some(13), "the one before is no failure");
    assert_eq!(refused.to_string(), "the item is not taken: unlucky");
    failing.times(1);
    server.add_item_telling(14, &tell).expect("runs");
    let taken = failures.recv_timeout(PATIENCE).expect("told");
    assert!(matches!(taken, AddFailure::FlushFailed(error) if error.why == "out of order"));
}

#[test]
fn sync_add_item_flushes_and_answers() {
    let failing = Failing::default();
    let fails = failing.clone();
    let (builder, _batches) = lists(Options::new().max_items(2));
    let server = builder.on_flush(move |_, _| fails.now()).start();
    let server = server.expect("starts");
    assert_eq!(server.sync_add_item(1).expect("taken"), Accepted::Held);
    assert_eq!(server.sync_add_item(2).expect("taken"), Accepted::Flushed);
    failing.times(1);
    server.sync_add_item(3).expect("taken");
    let Accepted::FlushFailed(error) = server.sync_add_item(4).expect("taken") else {
        panic!("the flush did not fail");
    };
    assert!(!error.is_delivered());
    assert!(
        error.to_string().ends_with("flush failed: out of order"),
        "{error}"
    );
}

#[test]
fn flush_does_not_wait_and_sync_flush_answers() {
    let (gate, failing) = (Gate::default(), Failing::default());
    let (stands, fails) = (gate.clone(), failing.clone());
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| {
        stands.pass();
        fails.now()
    });
    let server = server.start().expect("starts");
    server.add_item(1).expect("runs");
    server.flush().expect("does not wait");
    gate.wait_for(1);
    gate.open();
    server.sync_flush().expect("there is nothing more");
    failing.times(1);
    server.add_item(2).expect("runs");
    let failed = server.sync_flush().expect_err("it fails");
    assert!(matches!(&failed, NotFlushed::Failed(error) if error.why == "out of order"));
    server.sync_flush().expect("it is tried again, at once");
    failing.times(1);
    server.add_item(3).expect("runs");
    let (tell, failures) = channel();
    server.flush_telling(tell).expect("does not wait");
    let failed = failures.recv_timeout(PATIENCE).expect("told");
    assert_eq!(failed.why, "out of order");
    server.stop().expect("all is well");
    let stopped = Err(NotFlushed::NotRunning(NotRunning::Stopped));
    assert_eq!(server.sync_flush(), stopped);
}

#[test]
fn items_on_their_way_are_bounded() {
    let gate = Gate::default();
    let (stands, (told, batches)) = (gate.clone(), channel());
    let server = MemoryBatcher::of(move |batch: &Closed<Vec<u32>>| {
        stands.pass();
        Ok(told.send(batch.batch().clone())?)
    });
    let options = Options::new().max_items(1).mailbox(2);
    let server = server.options(options).start().expect("starts");
    server.add_item(1).expect("runs");
    gate.wait_for(1);
    for item in 2..=3 {
        server.try_add_item(item).expect("there is room");
    }
    let refused = server.try_add_item(4).expect_err("there is none");
    assert_eq!(refused.item, Some(4));
    assert!(matches!(refused.why, Refused::Busy(2)));
    std::thread::scope(|scope| {
        // Waits for room rather than to be refused.
        let waits = scope.spawn(|| server.add_item(4));
        gate.open();
        waits.join().expect("ends").expect("taken");
    });
    server.stop().expect("all is well");
    let flushed: Vec<Vec<u32>> = batches.try_iter().collect();
    assert_eq!(flushed.concat(), [1, 2, 3, 4]);
}

#[test]
fn items_of_many_threads_are_taken_each_once() {
    let (builder, batches) = lists(Options::new().max_items(7).max_age(Setting::Off));
    let server = builder.start().expect("starts");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for item in 0..100 {
                    server.sync_add_item(thread * 100 + item).expect("taken");
                }
            });
        }
    });
    server.stop().expect("all is well");
    let mut items: Vec<u32> = all(&batches)
        .iter()
        .flat_map(|batch| {
            let (list, _) = batch.split_once(']').expect("a list");
            let items = list.trim_start_matches('[').split(", ");
            items
                .map(|item| item.parse().expect("a number"))
                .collect::<Vec<u32>>()
        })
        .collect();
    items.sort_unstable();
    assert_eq!(items, (0..400).collect::<Vec<_>>());
}

#[test]
fn what_was_added_before_a_flush_is_in_it() {
    let (builder, batches) = lists(Options::new());
    let server = builder.start().expect("starts");
    for item in 1..=3 {
        server.add_item(item).expect("runs");
    }
    server.flush().expect("runs");
    server.add_item(4).expect("runs");
    server.sync_flush().expect("flushed");
    assert_eq!(next(&batches), "[1, 2, 3] flush");
    assert_eq!(next(&batches), "[4] flush");
}

/// What is refused where nobody waits for it is told and counted.
#[test]
fn items_that_are_refused_while_nobody_waits_are_trouble() {
    let (told, troubles) = channel();
    let (builder, _batches) = lists(Options::new());
    let builder = builder.on_add_item(|_, _, _| Err("unlucky".into()));
    let builder = builder.on_trouble(move |trouble| drop(told.send(trouble)));
    let server = builder.start().expect("starts");
    server.add_item(13).expect("runs");
    let trouble = troubles.recv_timeout(PATIENCE).expect("told");
    assert_eq!(trouble, Trouble::NotAdded("unlucky".to_owned()));
    assert_eq!(server.state().expect("runs").counts.refused, 1);
}

//! Flushes that fail, and callbacks that panic.

use std::sync::mpsc::channel;
use std::time::Duration;

use batchd_core::batcher::{Accepted, Batcher, Options, Refused, Setting, Step, Trouble};
use batchd_core::policy::Backoff;

use crate::support::{Failing, Machine, PATIENCE, all, durable, lists, next, settle};

const SECOND: Duration = Duration::from_secs(1);

/// Of the original, such an item is in the file and not counted, and whoever repeats it has it twice.
#[test]
fn an_item_whose_flush_fails_is_taken_once_and_counted() {
    let failing = Failing::default();
    let (builder, batches) = lists(Options::new().max_items(2));
    let builder = builder.on_flush(failing.before_flush());
    let server = builder.start().expect("starts");
    failing.times(1);
    server.sync_add_item(1).expect("taken");
    let taken = server
        .sync_add_item(2)
        .expect("taken, though the flush failed");
    assert!(matches!(&taken, Accepted::FlushFailed(error) if error.step == Step::Flush));
    let counts = server.state().expect("runs").counts;
    assert_eq!((counts.total_items, counts.batch_items), (2, 0));
    assert_eq!((counts.items_waiting, counts.failures), (2, 1));
    server.sync_flush().expect("tried again");
    assert_eq!(all(&batches), ["[1, 2] max_items"], "each once");
}

/// Of the original, `batch_pre_flush` has closed the file, which is then written to.
#[test]
fn items_can_be_added_after_a_flush_that_failed() {
    let failing = Failing::default();
    let (builder, batches) = lists(Options::new().max_items(2));
    let builder = builder.on_flush(failing.before_flush());
    let server = builder.start().expect("starts");
    failing.times(1);
    for item in 1..=3 {
        server.sync_add_item(item).expect("taken");
    }
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1, 2] max_items", "[3] flush"], "in order");
}

/// Of the original, every item that is added while a flush fails tries it again.
#[test]
fn a_flush_is_tried_again_by_the_clock_and_not_for_every_item() {
    let mut machine = Machine::new();
    let (failing, (told, attempts)) = (Failing::default(), channel());
    let fails = failing.clone();
    let backoff = Backoff {
        first: SECOND,
        max: SECOND * 4,
    };
    let options = Options::new().max_items(1).backoff(backoff);
    let (builder, batches) = lists(options);
    let builder = builder.on_flush(move |batcher, batch| {
        told.send(batch.attempt())?;
        fails.now()?;
        batcher.flush(batch)
    });
    let server = builder.env(machine.env()).start().expect("starts");
    failing.times(3);
    for item in 1..=5 {
        let taken = server.sync_add_item(item).expect("taken");
        assert!(matches!(taken, Accepted::FlushFailed(error) if error.failures == 1));
    }
    assert_eq!(attempts.try_iter().collect::<Vec<_>>(), [1]);
    for (wait, attempt) in [(1, 2), (2, 3)] {
        // With full jitter, the wait is anything up to its bound.
        machine.clock.advance(SECOND * wait);
        settle(&server);
        assert_eq!(attempts.try_iter().collect::<Vec<_>>(), [attempt]);
    }
    machine.clock.advance(SECOND * 4);
    settle(&server);
    let flushed: Vec<String> = (1..=5).map(|item| format!("[{item}] max_items")).collect();
    assert_eq!(
        all(&batches),
        flushed,
        "in order, once the first is through"
    );
}

#[test]
fn a_flush_is_tried_again_without_anybody_doing_anything() {
    let failing = Failing::default();
    let backoff = Backoff {
        first: Duration::from_millis(10),
        max: Duration::from_millis(20),
    };
    let (builder, batches) = lists(Options::new().max_items(1).backoff(backoff));
    let (told, troubles) = channel();
    let builder = builder.on_flush(failing.before_flush());
    let server = builder
        .on_trouble(move |trouble| drop(told.send(trouble)))
        .start()
        .expect("starts");
    failing.times(3);
    server.add_item(1).expect("runs");
    assert_eq!(next(&batches), "[1] max_items");
    let said: Vec<Trouble> = troubles.try_iter().collect();
    assert_eq!(said.len(), 3, "each failure is told");
    let failures = said.iter().map(|trouble| match trouble {
        Trouble::Flush(error) => error.failures,
        other => panic!("{other}"),
    });
    assert_eq!(failures.collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn what_waits_in_memory_is_bounded_and_the_item_past_it_is_given_back() {
    let failing = Failing::default();
    let options = Options::new().max_items(2).max_waiting(2);
    let (builder, batches) = lists(options);
    let builder = builder.on_flush(failing.before_flush());
    let server = builder.start().expect("starts");
    failing.times(u32::MAX);
    for item in 1..=4 {
        server.sync_add_item(item).expect("taken");
    }
    let refused = server.sync_add_item(5).expect_err("there is no room");
    assert_eq!(refused.item, Some(5));
    assert!(matches!(refused.why, Refused::Full(2)));
    failing.times(0);
    server.sync_flush().expect("flushed");
    server.sync_add_item(5).expect("there is room again");
    server.sync_flush().expect("flushed");
    let flushed = ["[1, 2] max_items", "[3, 4] max_items", "[5] flush"];
    assert_eq!(all(&batches), flushed);
}

#[test]
fn a_batch_whose_post_flush_fails_is_not_flushed_again() {
    let (builder, batches) = lists(Options::new().max_items(1));
    let (told, troubles) = channel();
    let builder = builder.on_post_flush(|_, batch| match batch.contains(&1) {
        true => Err("no stamp".into()),
        false => panic!("no stamp at all"),
    });
    let server = builder
        .on_trouble(move |trouble| drop(told.send(trouble)))
        .start()
        .expect("starts");
    for item in 1..=2 {
        let taken = server.sync_add_item(item).expect("taken");
        let Accepted::FlushFailed(error) = taken else {
            panic!("not told");
        };
        assert!(error.is_delivered(), "{error}");
    }
    server.sync_flush().expect("there is nothing to flush");
    server.stop().expect("all is well");
    assert_eq!(all(&batches), ["[1] max_items", "[2] max_items"]);
    let said: Vec<String> = troubles.try_iter().map(|t| t.to_string()).collect();
    assert!(said[0].ends_with("post_flush failed: no stamp"), "{said:?}");
    assert!(said[1].ends_with("panicked: no stamp at all"), "{said:?}");
}

#[test]
fn a_flush_that_panics_has_failed() {
    let failing = Failing::default();
    let fails = failing.clone();
    let (builder, batches) = lists(Options::new());
    let builder = builder.on_flush(move |batcher, batch| {
        fails.now().expect("no fuse");
        batcher.flush(batch)
    });
    let server = builder.start().expect("starts");
    failing.times(1);
    server.sync_add_item(1).expect("taken");
    let error = server.sync_flush().expect_err("it panics");
    assert!(error.to_string().contains("panicked: no fuse"), "{error}");
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1] flush"]);
}

#[test]
fn a_should_flush_that_panics_says_no() {
    let (told, troubles) = channel();
    let (builder, _batches) = lists(Options::new());
    let builder = builder.on_should_flush(|_, _| panic!("no idea"));
    let server = builder
        .on_trouble(move |trouble| drop(told.send(trouble)))
        .start()
        .expect("starts");
    assert_eq!(server.sync_add_item(1).expect("taken"), Accepted::Held);
    let said = troubles.try_recv().expect("told");
    assert_eq!(said, Trouble::ShouldFlush("no idea".to_owned()));
}

#[test]
fn init_and_terminate_that_panic_have_failed() {
    let (builder, _batches) = lists(Options::new());
    let builder = builder.on_terminate(|_, _| panic!("no broom"));
    let server = builder.start().expect("starts");
    let error = server.stop().expect_err("told");
    assert_eq!(error.terminate.as_deref(), Some("panicked: no broom"));
    let (builder, _batches) = lists(Options::new());
    let started = builder.on_init(|_, _| panic!("no table")).start();
    let error = started.expect_err("no batch");
    assert_eq!(
        error.to_string(),
        "no batch can be begun: panicked: no table"
    );
}

/// In memory, nothing tells what a batch was that is half-changed. What nobody submitted is not delivered.
#[test]
fn in_memory_a_pre_flush_that_panics_is_the_end_of_the_server() {
    let (told, troubles) = channel();
    let (builder, batches) = lists(Options::new().max_items(2));
    let builder = builder.on_pre_flush(|_, batch| {
        batch.clear();
        panic!("half-way");
    });
    let server = builder
        .on_trouble(move |trouble| drop(told.send(trouble)))
        .start()
        .expect("starts");
    server.sync_add_item(1).expect("taken");
    let refused = server
        .sync_add_item(2)
        .expect_err("the server died with it");
    assert_eq!(refused.item, Some(2));
    let died = troubles.recv_timeout(PATIENCE).expect("told");
    assert_eq!(
        died,
        Trouble::Died("pre_flush panicked: half-way".to_owned())
    );
    assert!(all(&batches).is_empty());
}

/// What is durable is made anew from its items, whatever the panic left of it.
#[test]
fn what_is_durable_survives_panics_in_every_callback() {
    let mut machine = Machine::new();
    let [init, adding, preparing, flushing, looking, asking] = <[Failing; 6]>::default();
    let half_way = |failing: &Failing| {
        let fails = failing.clone();
        move || fails.now().expect("half-way")
    };
    let fails = [&init, &adding, &preparing, &flushing, &looking, &asking].map(half_way);
    let [
        fails_init,
        fails_add,
        fails_prepare,
        fails_flush,
        fails_look,
        fails_ask,
    ] = fails;
    let (builder, batches) = durable(&mut machine, Options::new().max_items(Setting::Off));
    let builder = builder
        .on_init(move |batcher, config| {
            fails_init();
            batcher.init(config)
        })
        .on_add_item(move |batcher, batch, item| {
            batcher.add_item(batch, item)?;
            fails_add();
            Ok(())
        })
        .on_pre_flush(move |_, batch| {
            let items = std::mem::take(&mut **batch);
            fails_prepare();
            **batch = items;
            Ok(())
        })
        .on_flush(move |batcher, batch| {
            fails_flush();
            batcher.flush(batch)
        })
        .on_post_flush(move |_, _| {
            fails_look();
            Ok(())
        })
        .on_should_flush(move |_, _| {
            fails_ask();
            false
        });
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    server.add_item(2).expect("runs");
    settle(&server);
    adding.times(1);
    let refused = server.sync_add_item(3).expect_err("panics");
    assert_eq!(refused.item, Some(3));
    assert!(matches!(refused.why, Refused::Panicked(why) if why.contains("half-way")));
    asking.times(2);
    server.sync_add_item(4).expect("taken");
    for failing in [&preparing, &flushing] {
        failing.times(1);
        server.sync_flush().expect_err("panics");
    }
    init.times(1);
    looking.times(1);
    let error = server
        .sync_flush()
        .expect_err("flushed, and then it panics");
    assert!(error.to_string().contains("post_flush failed: panicked"));
    assert_eq!(all(&batches), ["[1, 2, 4] flush"]);
    server.sync_add_item(5).expect("taken");
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[5] flush"]);
}

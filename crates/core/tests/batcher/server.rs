//! The life of a server: what it tells, its options, how it starts, stops and dies.

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use batchd_core::batcher::{
    Accepted, AddFailure, BatchServer, Batcher, CallbackResult, Closed, Config, MemoryBatcher,
    NotRunning, Options, Refused, Setting, StartError, Trouble,
};
use batchd_core::policy::{Interval, OnShutdown};

use crate::support::{Failing, Gate, Machine, PATIENCE, Summer, all, lists, next, settle};

#[test]
fn a_batcher_becomes_a_server_of_batches() {
    let (builder, batches) = lists(Options::new().max_items(2));
    let server = builder.start().expect("starts");
    assert!(server.is_running());
    for item in 1..=5 {
        server.add_item(item).expect("runs");
    }
    assert_eq!(next(&batches), "[1, 2] max_items");
    assert_eq!(next(&batches), "[3, 4] max_items");
    server.stop().expect("all is well");
    assert_eq!(all(&batches), ["[5] shutdown"]);
    assert!(!server.is_running());
}

#[test]
fn the_summer_of_the_original_adds_up_to_6_and_15() {
    let (said, hears) = channel();
    let server = BatchServer::of(move || Summer { said: said.clone() });
    let server = server.start().expect("starts");
    for item in 1..=6 {
        server.add_item(item).expect("runs");
    }
    for sum in [6, 15] {
        let said = hears.recv_timeout(PATIENCE).expect("said");
        assert_eq!(said, format!("This batch added up to {sum}"));
    }
}

#[test]
fn options_of_a_start_lie_over_those_of_the_type() {
    let configs = |options: Options| {
        let (said, _hears) = channel();
        let server = BatchServer::of(move || Summer { said: said.clone() }).options(options);
        let server = server.start().expect("starts");
        server.state().expect("runs").config
    };
    let inherited = configs(Options::new());
    assert_eq!(inherited.max_items, Some(3), "as the type says");
    assert_eq!(
        inherited.max_age,
        Some(Duration::from_secs(5)),
        "as for all"
    );
    let set = configs(Options::new().max_items(2).idle(Duration::from_secs(1)));
    assert_eq!(
        (set.max_items, set.idle),
        (Some(2), Some(Duration::from_secs(1)))
    );
    let off = configs(Options::new().max_items(Setting::Off).max_age(Setting::Off));
    assert_eq!((off.max_items, off.max_age), (None, None));
    assert_eq!(off.max_bytes, Some(1 << 20), "the others are inherited");
}

#[test]
fn options_that_cannot_be_are_named() {
    let second = Interval::every(Duration::ZERO);
    for (options, said) in [
        (Options::new().max_items(0), "`max_items` is nothing"),
        (Options::new().max_bytes(0), "`max_bytes` is nothing"),
        (Options::new().max_age(Duration::ZERO), "`max_age` is"),
        (Options::new().idle(Duration::ZERO), "`idle` is nothing"),
        (Options::new().interval(second), "`interval` is nothing"),
        (Options::new().mailbox(0), "`mailbox` is nothing"),
        (Options::new().max_waiting(0), "`max_waiting` is nothing"),
        (Options::new().max_bytes(1 << 31), "more than 1 GiB"),
        (
            Options::new().on_shutdown(OnShutdown::Keep),
            "`on_shutdown` cannot keep what is in memory alone",
        ),
    ] {
        let error = lists(options).0.start().expect_err("no such option");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn counts_and_times_are_told() {
    let mut machine = Machine::new();
    let (builder, _batches) = lists(Options::new().max_items(3).max_age(Setting::Off));
    let builder = builder.on_should_flush(|_, _| false).env(machine.env());
    let server = builder.start().expect("starts");
    machine.clock.advance(Duration::from_secs(7));
    for item in 1..=5 {
        server.sync_add_item(item).expect("taken");
        machine.clock.advance(Duration::from_secs(1));
    }
    let state = server.state().expect("runs");
    let counts = state.counts;
    assert_eq!(
        (counts.batch_items, counts.total_items, counts.flushes),
        (2, 5, 1)
    );
    assert_eq!((counts.items_flushed, counts.waiting), (3, 0));
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    assert_eq!(seconds(state.times.first_item), Some(2));
    assert_eq!(seconds(state.times.newest_item), Some(1));
    assert_eq!(state.times.since_flush.as_secs(), 3);
    assert_eq!(state.last_item, Some(5));
    assert_eq!(state.overrides, ["should_flush"]);
    assert_eq!(state.config.max_items, Some(3));
    assert_eq!(state.last_error, None);
}

#[test]
fn starting_one_that_runs_changes_nothing() {
    let (builder, batches) = lists(Options::new().max_items(2));
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    server.start().expect("runs already");
    server.sync_add_item(2).expect("taken");
    assert_eq!(all(&batches), ["[1, 2] max_items"]);
}

#[test]
fn one_that_was_stopped_is_started_again() {
    let (builder, batches) = lists(Options::new());
    let server = builder.start().expect("starts");
    server.stop().expect("all is well");
    let refused = server.sync_add_item(1).expect_err("stopped");
    assert_eq!(refused.item, Some(1));
    assert!(matches!(
        refused.why,
        Refused::NotRunning(NotRunning::Stopped)
    ));
    server.start().expect("starts again");
    server.sync_add_item(2).expect("taken");
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[2] flush"]);
}

#[test]
fn one_whose_thread_died_is_started_again() {
    let (told, troubles) = channel();
    let (builder, batches) = lists(Options::new());
    let builder = builder.on_add_item(|batcher, batch, item| {
        assert!(*item != 13, "unlucky");
        batcher.add_item(batch, item)
    });
    let server = builder
        .on_trouble(move |trouble| drop(told.send(trouble)))
        .start()
        .expect("starts");
    server.sync_add_item(12).expect("taken");
    let refused = server.sync_add_item(13).expect_err("panics");
    assert_eq!(refused.item, Some(13), "it is given back");
    let trouble = troubles.recv_timeout(PATIENCE).expect("told");
    assert!(matches!(&trouble, Trouble::Died(why) if why.contains("unlucky")));
    let refused = server.sync_add_item(14).expect_err("it is dead");
    assert!(refused.to_string().contains("unlucky"), "{refused}");
    let stopped = server.stop().expect_err("it is dead");
    assert!(matches!(stopped.not_running, Some(NotRunning::Died(_))));
    server.start().expect("starts again");
    server.sync_add_item(15).expect("taken");
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[15] flush"], "12 was in memory alone");
}

#[test]
fn stop_waits_for_a_flush_under_way_and_terminates() {
    let gate = Gate::default();
    let (stands, terminated) = (gate.clone(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&terminated);
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| {
        stands.pass();
        Ok(())
    });
    let server = server.options(Options::new().max_items(1));
    let server = server.on_terminate(move |_, batch| {
        assert_eq!(batch.map(|batch| batch.len()), Some(0));
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let server = server.start().expect("starts");
    server.add_item(1).expect("runs");
    gate.wait_for(1);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| server.stop());
        assert_eq!(terminated.load(Ordering::SeqCst), 0);
        gate.open();
        stopping.join().expect("ends").expect("all is well");
    });
    assert_eq!(terminated.load(Ordering::SeqCst), 1);
}

/// Of the originals, those in Python and Java flush one batch more at a stop, and forget the rest.
#[test]
fn stop_drains_all_that_waits_and_all_that_is_open() {
    let failing = Failing::default();
    let (fails, (told, batches)) = (failing.clone(), channel());
    let server = MemoryBatcher::of(move |batch: &Closed<Vec<u32>>| {
        fails.now()?;
        Ok(told.send(batch.batch().clone())?)
    });
    let server = server.options(Options::new().max_items(5));
    let server = server.start().expect("starts");
    failing.times(1);
    for item in 1..=12 {
        server.sync_add_item(item).expect("taken");
    }
    server.stop().expect("all is well");
    let flushed: Vec<Vec<u32>> = batches.try_iter().collect();
    let expected: [&[u32]; 3] = [&[1, 2, 3, 4, 5], &[6, 7, 8, 9, 10], &[11, 12]];
    assert_eq!(flushed, expected);
}

#[test]
fn a_stop_tells_what_it_could_not_flush() {
    let failing = Failing::default();
    let fails = failing.clone();
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| fails.now());
    let server = server.options(Options::new().max_items(2));
    let server = server.on_terminate(|_, _| Err("no key".into()));
    let server = server.start().expect("starts");
    failing.times(u32::MAX);
    for item in 1..=3 {
        server.sync_add_item(item).expect("taken");
    }
    let error = server.stop().expect_err("it could not");
    assert_eq!((error.batches_left, error.items_left), (2, 3));
    let said = error.to_string();
    assert!(
        said.contains("out of order; not delivered: 3 items in 2 batches"),
        "{said}"
    );
    assert!(said.ends_with("terminate failed: no key"), "{said}");
    assert!(!server.is_running());
}

#[test]
fn abort_neither_flushes_nor_terminates_and_gives_back_what_is_on_its_way() {
    let gate = Gate::default();
    let (stands, (told, batches)) = (gate.clone(), channel());
    let server = MemoryBatcher::of(move |batch: &Closed<Vec<u32>>| {
        stands.pass();
        Ok(told.send(batch.batch().clone())?)
    });
    let server = server.options(Options::new().max_items(1));
    let server = server.on_terminate(|_, _| panic!("called"));
    let server = server.start().expect("starts");
    server.add_item(1).expect("runs");
    gate.wait_for(1);
    let (tell, failures) = channel();
    server.add_item_telling(2, &tell).expect("on its way");
    server.abort();
    let failure = failures.recv_timeout(PATIENCE).expect("told");
    let AddFailure::NotAdded(given_back) = failure else {
        panic!("taken");
    };
    assert_eq!(given_back.item, Some(2));
    assert!(!server.is_running());
    gate.open();
    server.start().expect("waits for the callback, and starts");
    assert_eq!(batches.try_iter().collect::<Vec<_>>(), [[1]]);
    server.sync_add_item(3).expect("taken");
}

#[test]
fn dropping_one_stops_it() {
    let (builder, batches) = lists(Options::new());
    let server = builder.start().expect("starts");
    server.add_item(1).expect("runs");
    drop(server);
    assert_eq!(all(&batches), ["[1] shutdown"]);
}

/// A connection is opened by the thread that uses it: that of the processor of 2006 had to be, too.
#[test]
fn a_batcher_is_made_on_its_thread_and_need_not_be_sent() {
    struct Local(Rc<u32>);
    impl Batcher for Local {
        type Item = u32;
        type Batch = Rc<u32>;
        fn init(&mut self, _: &Config) -> CallbackResult<Rc<u32>> {
            Ok(Rc::clone(&self.0))
        }
        fn add_item(&mut self, _: &mut Rc<u32>, _: &u32) -> CallbackResult {
            Ok(())
        }
        fn flush(&mut self, batch: &Closed<Rc<u32>>) -> CallbackResult {
            assert_eq!(**batch.batch(), 7);
            Ok(())
        }
    }
    let server = BatchServer::of(|| Local(Rc::new(7))).start();
    let server = server.expect("starts");
    server.sync_add_item(1).expect("taken");
    server.sync_flush().expect("flushed");
}

#[test]
fn a_callback_cannot_ask_the_server_that_runs_it() {
    type Slot = Arc<OnceLock<BatchServer<MemoryBatcher<u32>>>>;
    let slot = Slot::default();
    let (own, (told, answers)) = (Arc::clone(&slot), channel());
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| {
        if let Some(server) = own.get() {
            let refused = server.sync_add_item(2).expect_err("its own");
            told.send((refused.why.to_string(), server.sync_flush().is_err()))?;
        }
        Ok(())
    });
    let server = server.start().expect("starts");
    let server = slot.get_or_init(|| server);
    server.sync_add_item(1).expect("taken");
    server.sync_flush().expect("flushed");
    let (said, is_refused) = answers.try_recv().expect("asked");
    assert_eq!(said, "a callback cannot ask the server that runs it");
    assert!(is_refused);
    server.stop().expect("all is well");
}

#[test]
fn one_that_cannot_be_made_does_not_start() {
    let started = BatchServer::of(|| -> Summer { panic!("no database") }).start();
    assert!(matches!(started, Err(StartError::Make(why)) if why == "no database"));
    let (builder, _batches) = lists(Options::new());
    let started = builder.on_init(|_, _| Err("no table".into())).start();
    assert!(matches!(started, Err(StartError::Init(why)) if why == "no table"));
}

/// However slow a flush is: the next one waits for its end, also where several beats have passed meanwhile.
#[test]
fn runs_never_overlap_however_slow() {
    let (gate, mut machine) = (Gate::default(), Machine::new());
    let (running, most) = (AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
    let (stands, highest, (told, batches)) = (gate.clone(), Arc::clone(&most), channel());
    let server = MemoryBatcher::of(move |batch: &Closed<Vec<u32>>| {
        highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        stands.pass();
        running.fetch_sub(1, Ordering::SeqCst);
        Ok(told.send(batch.batch().clone())?)
    });
    let second = Duration::from_secs(1);
    let options = Options::new()
        .without_triggers()
        .interval(Interval::every(second));
    let server = server.options(options).env(machine.env()).start();
    let server = server.expect("starts");
    server.sync_add_item(1).expect("taken");
    machine.clock.advance(second);
    // Wakes it, and does not wait for the flush that follows.
    server.add_item(2).expect("runs");
    gate.wait_for(1);
    machine.clock.advance(second * 5);
    for item in 3..=4 {
        server.add_item(item).expect("runs");
    }
    server.flush().expect("runs");
    gate.open();
    settle(&server);
    let flushed: Vec<Vec<u32>> = batches.try_iter().collect();
    assert_eq!(flushed.concat(), [1, 2, 3, 4]);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(server.sync_add_item(5).expect("taken"), Accepted::Held);
}

//! Servers that are asked at awkward moments, and programs that panic where nobody expects it.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use batchd_core::batcher::{
    Accepted, AddFailure, BatchServer, Batcher, BoxError, Closed, Codec, DirError, MemoryBatcher,
    NotRunning, Options, Refused, StartError, Step, Trouble,
};
use batchd_core::env::sim::{EIO, ENOSPC, Fault, OpKind};
use batchd_core::policy::{Backoff, Interval};

use crate::support::{DIR, Failing, Gate, Machine, PATIENCE, all, durable, lists, settle};

/// A server whose flush stands at a gate, with one that does.
fn standing(gate: &Gate) -> BatchServer<MemoryBatcher<u32>> {
    let stands = gate.clone();
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| {
        stands.pass();
        Ok(())
    });
    let server = server.options(Options::new().max_items(1)).start();
    let server = server.expect("starts");
    server.add_item(1).expect("runs");
    gate.wait_for(1);
    server
}

#[test]
fn nobody_waits_for_a_start_that_waits_for_the_thread_before() {
    let (gate, starting) = (Gate::default(), Gate::default());
    let server = standing(&gate);
    server.abort();
    std::thread::scope(|scope| {
        let starts = scope.spawn(|| {
            starting.open();
            starting.pass();
            server.start()
        });
        starting.wait_for(1);
        let refused = server.try_add_item(2).expect_err("aborted");
        assert!(matches!(
            refused.why,
            Refused::NotRunning(NotRunning::Aborted)
        ));
        gate.open();
        starts.join().expect("ends").expect("starts");
    });
    server.sync_add_item(3).expect("taken");
}

/// What is added and not yet appended when it is aborted is given back.
#[test]
fn an_abort_gives_back_what_is_in_the_group_under_way() {
    let mut machine = Machine::new();
    let gates = [Gate::default(), Gate::default()];
    let [first, third] = gates.clone();
    let (builder, _batches) = durable(&mut machine, Options::new().without_triggers());
    let builder = builder.on_add_item(move |batcher, batch, item| {
        match *item {
            1 => first.pass(),
            3 => third.pass(),
            _ => {}
        }
        batcher.add_item(batch, item)
    });
    let server = builder.start().expect("starts");
    server.add_item(1).expect("runs");
    let [first, third] = gates;
    first.wait_for(1);
    let (tell, failures) = channel();
    for item in 2..=4 {
        server.add_item_telling(item, &tell).expect("runs");
    }
    first.open();
    third.wait_for(1);
    server.abort();
    third.open();
    drop((server, tell));
    let mut given_back: Vec<u32> = failures
        .iter()
        .map(|failure| {
            let AddFailure::NotAdded(refused) = failure else {
                panic!("taken");
            };
            assert!(matches!(
                refused.why,
                Refused::NotRunning(NotRunning::Aborted)
            ));
            refused.item.expect("given back")
        })
        .collect();
    given_back.sort_unstable();
    assert_eq!(given_back, [2, 3, 4]);
}

#[test]
fn nothing_more_is_flushed_after_an_abort() {
    let (gate, failing) = (Gate::default(), Failing::default());
    let (stands, fails, (told, batches)) = (gate.clone(), failing.clone(), channel());
    let server = MemoryBatcher::of(move |batch: &Closed<Vec<u32>>| {
        fails.now()?;
        told.send(batch.batch().clone())?;
        stands.pass();
        Ok(())
    });
    let server = server.options(Options::new().max_items(1)).start();
    let server = server.expect("starts");
    failing.times(1);
    for item in 1..=5 {
        server.sync_add_item(item).expect("taken");
    }
    server.flush().expect("runs");
    gate.wait_for(1);
    server.abort();
    gate.open();
    drop(server);
    assert_eq!(batches.try_iter().collect::<Vec<_>>(), [[1]]);
}

#[test]
fn a_server_that_is_dropped_by_its_own_callback_ends() {
    type Server = BatchServer<MemoryBatcher<u32>>;
    let mut machine = Machine::new();
    let env = machine.env();
    let slot = Arc::new(Mutex::new(None::<Server>));
    let (own, (told, ended)) = (Arc::clone(&slot), channel());
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| {
        drop(own.lock().expect("sound").take());
        Ok(())
    });
    let server = server.options(Options::new().max_items(1));
    let server = server.on_terminate(move |_, _| Ok(told.send(())?));
    let server = server.durable(DIR, Codec::json()).env(env.clone());
    let server = server.start().expect("starts");
    *slot.lock().expect("sound") = Some(server);
    if let Some(server) = &*slot.lock().expect("sound") {
        server.add_item(1).expect("runs");
    }
    ended.recv_timeout(PATIENCE).expect("it ends");
    // The directory is free when the thread has ended, which nobody can wait for.
    let started = (0..10_000).find_map(|_| {
        std::thread::yield_now();
        let (builder, _batches) = lists(Options::new());
        let builder = builder.durable(DIR, Codec::json()).env(env.clone());
        builder.start().ok()
    });
    assert!(started.is_some());
}

#[test]
fn a_codec_that_panics_has_failed() {
    let mut machine = Machine::new();
    let encode = |item: &u32, out: &mut Vec<u8>| {
        assert!(*item != 13, "unlucky");
        out.extend(item.to_le_bytes());
        Ok(())
    };
    let (builder, _batches) = lists(Options::new());
    let codec = Codec::new(encode, |bytes| Ok(u32::from_le_bytes(bytes.try_into()?)));
    let builder = builder.durable(DIR, codec).env(machine.env());
    let server = builder.start().expect("starts");
    server.sync_add_item(12).expect("taken");
    let refused = server.sync_add_item(13).expect_err("not encoded");
    assert_eq!(refused.item, Some(13));
    assert!(refused.to_string().contains("panicked: unlucky"));
    drop(server);
    let (builder, _batches) = lists(Options::new());
    let codec = Codec::new(encode, |_| -> Result<u32, BoxError> {
        panic!("no glasses")
    });
    let builder = builder.durable(DIR, codec).env(machine.env());
    let server = builder.start().expect("what is there waits");
    let error = server.sync_flush().expect_err("it cannot be read");
    assert!(error.to_string().contains("no glasses"), "{error}");
}

#[test]
fn an_error_that_panics_when_it_is_asked_is_an_error() {
    #[derive(Debug)]
    struct Mute;
    impl std::fmt::Display for Mute {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
    }
    impl std::error::Error for Mute {}
    let server = MemoryBatcher::of(|_: &Closed<Vec<u32>>| Err(Box::new(Mute).into()));
    let server = server.options(Options::new().max_items(1)).start();
    let taken = server.expect("starts").sync_add_item(1).expect("taken");
    let Accepted::FlushFailed(error) = taken else {
        panic!("it did not fail");
    };
    assert!(error.why.contains("no words"), "{error}");
}

/// What panics in a callback is its error; what panics beside them is the end of the server, which is told.
#[test]
fn an_item_that_panics_when_it_is_dropped_is_the_end_of_the_server_and_told() {
    #[derive(Clone)]
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0 || std::thread::panicking(), "boom");
        }
    }
    let (told, troubles) = channel();
    let server = MemoryBatcher::of(|_: &Closed<Vec<Bomb>>| Ok(()));
    let server = server
        .on_add_item(|_, _, _| Ok(()))
        .on_trouble(move |trouble| drop(told.send(trouble)));
    let server = server.start().expect("starts");
    for is_armed in [true, false] {
        drop(server.add_item(Bomb(is_armed)));
    }
    let died = troubles.recv_timeout(PATIENCE).expect("told");
    assert_eq!(died, Trouble::Died("panicked: boom".to_owned()));
    server.start().expect("starts again");
}

#[test]
fn attempts_are_counted_also_where_preparing_panics() {
    let mut machine = Machine::new();
    let (told, attempts) = channel();
    let (builder, _batches) = durable(&mut machine, Options::new());
    let builder = builder.on_pre_flush(move |_, batch| {
        told.send(batch.attempt())?;
        panic!("no knife")
    });
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    for _ in 0..3 {
        server.sync_flush().expect_err("it panics");
    }
    assert_eq!(attempts.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn the_longest_times_are_just_long() {
    let long = Duration::MAX;
    let backoff = Backoff {
        first: long,
        max: long,
    };
    let options = Options::new().max_age(long).idle(long);
    let options = options.max_since_flush(long).backoff(backoff);
    let (builder, batches) = lists(options);
    let failing = Failing::default();
    let builder = builder.on_flush(failing.before_flush());
    let server = builder.start().expect("starts");
    failing.times(1);
    server.sync_add_item(1).expect("taken");
    server.sync_flush().expect_err("it fails");
    server.state().expect("runs");
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1] flush"]);
}

/// What was flushed and is not on record is put there at the latest by the stop: the next start does not know of it.
#[test]
fn a_stop_puts_on_record_what_was_flushed() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    let fault = Fault::from_then_on(ENOSPC).only_in("ledger");
    machine.disk.fail_nth(OpKind::Write, 1, fault.clone());
    server.sync_flush().expect_err("not on record");
    let stopped = server.stop().expect_err("nor now");
    assert!(stopped.flush.is_some(), "{stopped}");
    machine.disk.heal();
    server.start().expect("starts");
    server
        .sync_flush()
        .expect("delivered again, after a record that was lost");
    assert_eq!(all(&batches), ["[1] flush", "[1] flush"]);
    server.sync_add_item(2).expect("taken");
    machine.disk.fail_nth(OpKind::Write, 1, fault);
    server.sync_flush().expect_err("not on record");
    machine.disk.heal();
    server.stop().expect("it is on record");
    server.start().expect("starts");
    server.sync_flush().expect("there is nothing to do");
    assert_eq!(all(&batches), ["[2] flush"]);
}

/// A start that would leave acknowledged items behind is none: what came later would overtake them.
#[test]
fn a_start_that_finds_no_room_to_recover_fails_and_a_later_one_has_all() {
    let mut machine = Machine::new();
    let (builder, _batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    server.abort();
    drop(server);
    let fault = Fault::from_then_on(ENOSPC).only_in("/open/");
    machine.disk.fail_nth(OpKind::Write, 1, fault);
    let (builder, _batches) = durable(&mut machine, Options::new());
    let error = builder.start().expect_err("there is no room");
    assert!(matches!(error, StartError::Dir(DirError::NotRecovered(1))));
    machine.disk.heal();
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(2).expect("taken");
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1, 2] flush"]);
}

/// Of a batch whose file is gone, or cannot be read whole, nobody is told that all is well.
#[test]
fn items_that_are_lost_to_damage_are_told() {
    let mut machine = Machine::new();
    let (builder, _batches) = durable(&mut machine, Options::new().max_items(2));
    let failing = Failing::default();
    let fails = failing.clone();
    let (told, troubles) = channel();
    let builder = builder
        .on_flush(move |_, _| fails.now())
        .on_trouble(move |trouble| drop(told.send(trouble)));
    let server = builder.start().expect("starts");
    failing.times(1);
    for item in 1..=2 {
        server.sync_add_item(item).expect("taken");
    }
    let image = machine.disk.live_image();
    let files = image.files();
    let file = files.iter().find(|file| file.contains("/ready/"));
    let env = machine.disk.env(&machine.clock, 9);
    let file = file.expect("a batch").as_ref();
    env.fs.unlink(file).expect("removed by somebody");
    let error = server.sync_flush().expect_err("they are gone");
    let said = error.to_string();
    assert!(said.contains("2 items are lost to damage"), "{said}");
    let told = troubles.try_iter().last().expect("told");
    assert!(matches!(told, Trouble::Flush(error) if error.step == Step::Damage));
    server.sync_add_item(3).expect("it goes on");
    server.sync_flush().expect("flushed");
}

/// A batch that is complete and cannot be sealed for want of room is not flushed, whatever went well beside it.
#[test]
fn a_flush_does_not_pass_over_a_batch_that_cannot_be_sealed() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new().max_items(1));
    let failing = Failing::default();
    let builder = builder.on_flush(failing.before_flush());
    let server = builder.start().expect("starts");
    failing.times(1);
    server.sync_add_item(1).expect("taken");
    // The second is appended, and then there is no room for its seal.
    let fault = Fault::from_then_on(ENOSPC).only_in("/open/");
    machine.disk.fail_nth(OpKind::Write, 2, fault);
    let taken = server.sync_add_item(2).expect("taken");
    assert!(matches!(taken, Accepted::FlushFailed(_)));
    let error = server.sync_flush().expect_err("the second waits");
    assert!(
        error.to_string().contains("no room for its seal"),
        "{error}"
    );
    assert_eq!(all(&batches), ["[1] max_items"]);
    assert_eq!(server.state().expect("runs").counts.waiting, 1);
    machine.disk.heal();
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[2] max_items"]);
}

/// Whatever keeps a medium from being read for a moment, what was acknowledged is not given up for it.
#[test]
fn reads_that_fail_for_a_moment_lose_nothing_however_often_it_is_tried() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new().max_items(2));
    let failing = Failing::default();
    let builder = builder.on_flush(failing.before_flush());
    let server = builder.start().expect("starts");
    failing.times(1);
    for item in 1..=2 {
        server.sync_add_item(item).expect("taken");
    }
    let hiccup = Fault::from_then_on(EIO).only_in(".batch");
    machine.disk.fail_nth(OpKind::Read, 1, hiccup);
    for _ in 0..10 {
        server.sync_flush().expect_err("it cannot be read");
    }
    machine.disk.heal();
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1, 2] max_items"]);
}

#[test]
fn what_post_flush_fails_with_is_told_also_where_the_record_fails() {
    let mut machine = Machine::new();
    let (told, troubles) = channel();
    let (builder, _batches) = durable(&mut machine, Options::new());
    let builder = builder.on_post_flush(|_, _| Err("no stamp".into()));
    let builder = builder.on_trouble(move |trouble| drop(told.send(trouble)));
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    let fault = Fault::from_then_on(ENOSPC).only_in("ledger");
    machine.disk.fail_nth(OpKind::Write, 1, fault);
    server.sync_flush().expect_err("not on record");
    machine.disk.heal();
    server.sync_flush().expect("on record");
    let mut said = troubles.try_iter().map(|trouble| trouble.to_string());
    assert!(said.any(|said| said.ends_with("no stamp")));
}

#[test]
fn a_stop_tells_what_went_wrong_with_a_batch_that_was_delivered() {
    let (builder, batches) = lists(Options::new());
    let builder = builder.on_post_flush(|_, _| Err("no stamp".into()));
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    let error = server.stop().expect_err("told");
    assert!(error.to_string().ends_with("no stamp"), "{error}");
    assert_eq!(error.batches_left, 0);
    assert_eq!(all(&batches), ["[1] shutdown"]);
}

/// What a start finds damaged in the batch that was open is told, and the rest of it goes on.
#[test]
fn damage_to_the_open_batch_is_told_at_the_start() {
    let mut machine = Machine::new();
    let (builder, _batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    for item in 1..=3 {
        server.sync_add_item(item * 1111).expect("taken");
    }
    server.stop().expect("all is well");
    let mut image = machine.disk.live_image();
    let files = image.files();
    let mut open = files.iter().filter(|file| file.contains("/open/"));
    let file = open.find(|file| image.read(file).is_ok_and(|bytes| holds(&bytes)));
    let file = file.expect("a batch");
    let mut bytes = image.read(file).expect("read");
    let at = bytes.windows(4).position(|four| four == b"2222");
    bytes[at.expect("there")] ^= 1;
    image.write(file, bytes).expect("written");
    let mut machine = Machine::with(image.to_disk());
    let (told, troubles) = channel();
    let (builder, batches) = durable(&mut machine, Options::new());
    let builder = builder.on_trouble(move |trouble| drop(told.send(trouble)));
    let server = builder.start().expect("starts");
    assert_eq!(server.recovered().batches_damaged, 1);
    assert_eq!(troubles.try_recv(), Ok(Trouble::Damaged(1)));
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1111, 3333] damaged"]);
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|four| four == b"2222")
}

#[test]
fn an_interval_closes_a_batch_that_was_recovered() {
    let mut machine = Machine::new();
    let second = Duration::from_secs(1);
    let options = Options::new().without_triggers();
    let options = options.interval(Interval::every(second));
    let (builder, _batches) = durable(&mut machine, options);
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    drop(server);
    let (builder, batches) = durable(&mut machine, options);
    let server = builder.start().expect("starts");
    machine.clock.advance(second);
    settle(&server);
    assert_eq!(all(&batches), ["[1] interval"]);
}

/// One thread has many items acknowledged together.
#[test]
fn a_sync_waits_for_all_that_was_added() {
    let mut machine = Machine::new();
    let (builder, _batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    let (tell, failures) = channel();
    for item in 1..=50 {
        server.add_item_telling(item, &tell).expect("runs");
    }
    server.sync().expect("runs");
    assert!(failures.try_recv().is_err(), "none is refused");
    let mut machine = Machine::with(machine.disk.crash(3).to_disk());
    drop(server);
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    assert_eq!(server.recovered().items_open, 50);
    server.sync_flush().expect("flushed");
    assert_eq!(
        all(&batches),
        [format!("{:?} flush", (1..=50).collect::<Vec<_>>())]
    );
}

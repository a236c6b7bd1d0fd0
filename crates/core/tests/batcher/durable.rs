//! Batches on a spool: what a restart finds, and what becomes of disks that fail.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

use batchd_core::batcher::{
    Accepted, AddFailure, BatchServer, Batcher, CallbackResult, Closed, Codec, Config, DirLimits,
    MemoryBatcher, NotRunning, Options, Refused, Setting, StartError, Step,
};
use batchd_core::env::sim::{EIO, ENOSPC, Fault, OpKind};
use batchd_core::policy::OnShutdown;

use crate::support::{DIR, Failing, Machine, all, durable, settle, tell};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_was_taken_is_there_after_a_crash_and_goes_on_being_filled() {
    let mut machine = Machine::new();
    let options = Options::new().max_items(5);
    let (builder, batches) = durable(&mut machine, options);
    let server = builder.start().expect("starts");
    for item in 1..=3 {
        server.sync_add_item(item).expect("taken");
    }
    server.abort();
    drop(server);
    assert!(all(&batches).is_empty());
    let mut machine = Machine::with(machine.disk.crash(7).to_disk());
    let (builder, batches) = durable(&mut machine, options);
    let server = builder.start().expect("starts");
    let recovered = server.state().expect("runs").recovered;
    assert_eq!((recovered.items_open, recovered.batches_waiting), (3, 0));
    assert_eq!(server.state().expect("runs").counts.batch_items, 3);
    for item in 4..=5 {
        server.sync_add_item(item).expect("taken");
    }
    assert_eq!(all(&batches), ["[1, 2, 3, 4, 5] max_items"]);
}

#[test]
fn batches_that_wait_are_flushed_at_the_next_start_in_order_and_under_their_ids() {
    let mut machine = Machine::new();
    let options = Options::new().max_items(2);
    let (told, tried) = channel();
    let (builder, _batches) = durable(&mut machine, options);
    let builder = builder.on_flush(move |_, batch| {
        told.send((batch.id(), tell(batch)))?;
        Err("out of order".into())
    });
    let server = builder.start().expect("starts");
    for item in 1..=5 {
        server.sync_add_item(item).expect("taken");
    }
    server.stop().expect("what waits is on the spool");
    let (first, said) = tried.try_iter().last().expect("tried");
    assert_eq!(said, "[1, 2] max_items");
    let (told, ids) = channel();
    let (builder, batches) = durable(&mut machine, options);
    let builder = builder.on_pre_flush(move |_, batch| Ok(told.send(batch.id())?));
    let server = builder.start().expect("starts");
    let recovered = server.state().expect("runs").recovered;
    assert_eq!((recovered.batches_waiting, recovered.items_waiting), (2, 4));
    assert_eq!(recovered.items_open, 1);
    settle(&server);
    assert_eq!(all(&batches), ["[1, 2] max_items", "[3, 4] max_items"]);
    assert_eq!(ids.try_iter().next(), Some(first), "the same batch");
    assert_eq!(server.state().expect("runs").counts.flushes, 2);
}

/// Counts of words: a state of its own, which no ancestor keeps over a crash.
struct WordCount;

impl Batcher for WordCount {
    type Item = String;
    type Batch = BTreeMap<String, u64>;

    fn init(&mut self, _: &Config) -> CallbackResult<Self::Batch> {
        Ok(BTreeMap::new())
    }

    fn add_item(&mut self, batch: &mut Self::Batch, item: &String) -> CallbackResult {
        *batch.entry(item.clone()).or_default() += 1;
        Ok(())
    }

    fn flush(&mut self, _: &Closed<Self::Batch>) -> CallbackResult {
        Ok(())
    }
}

#[test]
fn a_state_of_its_own_is_made_anew_from_its_items() {
    let mut machine = Machine::new();
    let (told, counts) = channel();
    let mut start = || {
        let told = told.clone();
        let server = BatchServer::of(|| WordCount);
        let server = server.durable(DIR, Codec::text()).env(machine.env());
        let server = server.options(Options::new().without_triggers());
        let server = server.on_flush(move |_, batch| Ok(told.send(batch.batch().clone())?));
        server.start().expect("starts")
    };
    for words in [&["to", "be"][..], &["or", "not"], &["to", "be"]] {
        let server = start();
        for word in words {
            server.sync_add_item((*word).to_owned()).expect("taken");
        }
        server.abort();
    }
    start().sync_flush().expect("flushed");
    let counted = counts.try_recv().expect("one batch");
    let said: Vec<String> = counted.iter().map(|(w, n)| format!("{w} {n}")).collect();
    assert_eq!(said, ["be 2", "not 1", "or 1", "to 2"]);
}

/// What waits behind a batch that fails is not kept in memory, and is the same when its turn comes.
#[test]
fn batches_behind_one_that_fails_are_made_anew_when_their_turn_comes() {
    let mut machine = Machine::new();
    let failing = Failing::default();
    let (told, begun) = channel();
    let (builder, batches) = durable(&mut machine, Options::new().max_items(2));
    let builder = builder.on_flush(failing.before_flush());
    let builder = builder.on_init(move |batcher, config| {
        told.send(())?;
        batcher.init(config)
    });
    let server = builder.start().expect("starts");
    failing.times(1);
    for item in 1..=6 {
        server.sync_add_item(item).expect("taken");
    }
    assert_eq!(begun.try_iter().count(), 4, "one for each, and the next");
    server.sync_flush().expect("flushed");
    assert_eq!(begun.try_iter().count(), 2, "the second and the third");
    let flushed = ["[1, 2] max_items", "[3, 4] max_items", "[5, 6] max_items"];
    assert_eq!(all(&batches), flushed);
}

#[test]
fn an_age_goes_on_over_a_restart() {
    let mut machine = Machine::new();
    let options = Options::new().without_triggers().max_age(SECOND * 10);
    let (builder, _batches) = durable(&mut machine, options);
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    drop(server);
    machine.clock.advance(SECOND * 6);
    let (builder, batches) = durable(&mut machine, options);
    let server = builder.start().expect("starts");
    machine.clock.advance(SECOND * 4 - Duration::from_micros(1));
    settle(&server);
    assert!(all(&batches).is_empty());
    machine.clock.advance(Duration::from_micros(1));
    settle(&server);
    assert_eq!(all(&batches), ["[1] max_age"]);
}

#[test]
fn a_stop_keeps_what_is_open_or_flushes_it_as_it_is_told() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    server.stop().expect("all is well");
    assert!(all(&batches).is_empty());
    let options = Options::new().on_shutdown(OnShutdown::Flush);
    let (builder, batches) = durable(&mut machine, options);
    let server = builder.start().expect("starts");
    server.sync_add_item(2).expect("taken");
    server.stop().expect("all is well");
    assert_eq!(all(&batches), ["[1, 2] shutdown"]);
}

#[test]
fn a_full_disk_refuses_items_and_changes_nothing_else() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new().max_items(4));
    let limits = DirLimits {
        min_free: batchd_core::spool::space::MinFree::Off,
        ..DirLimits::default()
    };
    let builder = builder.limits(limits);
    let server = builder.start().expect("starts");
    for item in 1..=2 {
        server.sync_add_item(item).expect("taken");
    }
    // Writes into batches find no room, from now on.
    let full = Fault::from_then_on(ENOSPC).only_in(".batch");
    machine.disk.fail_nth(OpKind::Write, 1, full);
    for _ in 0..2 {
        let refused = server.sync_add_item(3).expect_err("there is no room");
        assert_eq!(refused.item, Some(3));
        assert!(matches!(refused.why, Refused::NoRoom(_)), "{refused}");
    }
    let counts = server.state().expect("runs").counts;
    assert_eq!((counts.batch_items, counts.total_items), (2, 2));
    machine.disk.heal();
    for item in 4..=5 {
        server.sync_add_item(item).expect("there is room again");
    }
    assert_eq!(all(&batches), ["[1, 2, 4, 5] max_items"]);
}

/// Of a group that finds no room, every item is refused, and given back.
#[test]
fn a_group_that_finds_no_room_is_refused_whole() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    let full = Fault::from_then_on(ENOSPC).only_in(".batch");
    machine.disk.fail_nth(OpKind::Write, 1, full);
    let (tell, failures) = channel();
    for item in 2..=40 {
        server.add_item_telling(item, &tell).expect("runs");
    }
    settle(&server);
    let given_back = failures.try_iter().map(|failure| {
        let AddFailure::NotAdded(refused) = failure else {
            panic!("taken");
        };
        assert!(matches!(refused.why, Refused::NoRoom(_)), "{refused}");
        refused.item.expect("given back")
    });
    assert_eq!(given_back.collect::<Vec<_>>(), (2..=40).collect::<Vec<_>>());
    machine.disk.heal();
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1] flush"]);
}

/// After a sync that failed nothing is known of what was written: the server dies, and its next start recovers.
#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_the_next_start_recovers() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    let lost = Fault::from_then_on(EIO).only_in(".batch").losing_pages(0);
    machine.disk.fail_nth(OpKind::SyncData, 1, lost);
    let refused = server.sync_add_item(2).expect_err("not acknowledged");
    assert!(matches!(refused.why, Refused::Unknown(_)), "{refused}");
    let refused = server.sync_add_item(3).expect_err("it is dead");
    let died = matches!(refused.why, Refused::NotRunning(NotRunning::Died(_)));
    assert!(died, "{refused}");
    machine.disk.heal();
    let recovered = server.start().expect("starts again");
    server.sync_add_item(4).expect("taken");
    server.sync_flush().expect("flushed");
    // The second was not acknowledged, and may be there or not.
    let flushed = match recovered.items_open {
        1 => "[1, 4] flush",
        _ => "[1, 2, 4] flush",
    };
    assert_eq!(all(&batches), [flushed]);
}

/// A batch that was flushed, and whose end cannot be recorded now, is not flushed again: only the record is made.
#[test]
fn what_was_flushed_is_not_flushed_again_for_want_of_a_record() {
    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    let fault = Fault::from_then_on(ENOSPC).only_in("ledger");
    machine.disk.fail_nth(OpKind::Write, 1, fault);
    let error = server.sync_flush().expect_err("not on record");
    assert!(error.to_string().contains("the spool failed"), "{error}");
    assert_eq!(all(&batches), ["[1] flush"]);
    machine.disk.heal();
    machine.clock.advance(SECOND * 60);
    server.sync_flush().expect("on record");
    assert!(all(&batches).is_empty());
    assert_eq!(server.state().expect("runs").counts.flushes, 1);
}

#[test]
fn a_directory_has_one_server_at_a_time() {
    let mut machine = Machine::new();
    let (builder, _batches) = durable(&mut machine, Options::new());
    let first = builder.start().expect("starts");
    first.sync_add_item(1).expect("taken");
    let (builder, _batches) = durable(&mut machine, Options::new());
    let error = builder.start().expect_err("it is taken");
    let said = error.to_string();
    assert!(matches!(error, StartError::Dir(_)), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    drop(first);
    let (builder, _batches) = durable(&mut machine, Options::new());
    let second = builder.start().expect("it is free");
    assert_eq!(second.state().expect("runs").recovered.items_open, 1);
}

/// The original names a file by the millisecond and a random number, and cuts what has that name already.
#[test]
fn a_file_that_has_the_name_of_the_next_one_is_left_alone() {
    // What the first file is called, on a machine of the same clock and the same randomness.
    let files = |machine: &Machine| -> Vec<String> {
        let files = machine.disk.live_image().files();
        let open = files.into_iter().filter(|file| file.contains("/open/"));
        open.collect()
    };
    let mut twin = Machine::new();
    let (builder, _batches) = durable(&mut twin, Options::new());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    let name = files(&twin).into_iter().next().expect("a file");

    let mut machine = Machine::new();
    let (builder, batches) = durable(&mut machine, Options::new());
    let server = builder.start().expect("starts");
    let env = machine.disk.env(&machine.clock, 99);
    let foreign = env.fs.create_new(name.as_ref()).expect("made");
    foreign
        .write_all_at(b"somebody else's", 0)
        .expect("written");
    let refused = server.sync_add_item(1).expect_err("the name is taken");
    assert!(refused.to_string().contains("File exists"), "{refused}");
    // Which it is not by accident: the next start sets the stranger aside.
    server.start().expect("starts again");
    server.sync_add_item(2).expect("taken");
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[2] flush"]);
    let image = machine.disk.live_image();
    let quarantined = image
        .files()
        .into_iter()
        .filter(|file| file.contains("/quarantine/"));
    let kept = quarantined.filter_map(|file| image.read(file).ok());
    let mut kept = kept.filter(|bytes| bytes == b"somebody else's");
    assert!(kept.next().is_some(), "nothing of it was cut");
}

/// What can be read of a damaged batch is flushed in parts, each with an identity of its own.
#[test]
fn of_a_damaged_batch_what_can_be_read_is_flushed() {
    let mut machine = Machine::new();
    let options = Options::new().without_triggers();
    let (builder, _batches) = durable(&mut machine, options);
    let builder = builder.on_flush(|_, _| Err("out of order".into()));
    let server = builder.start().expect("starts");
    for item in 1..=3 {
        server.sync_add_item(item * 1111).expect("taken");
    }
    server.sync_flush().expect_err("out of order");
    drop(server);
    let mut image = machine.disk.live_image();
    let files = image.files();
    let file = files.iter().find(|file| file.contains("/ready/"));
    let file = file.expect("a batch");
    let mut bytes = image.read(file).expect("read");
    let at = bytes
        .windows(4)
        .position(|four| four == b"2222")
        .expect("there");
    bytes[at] ^= 1;
    image.write(file, bytes).expect("written");

    let mut machine = Machine::with(image.to_disk());
    let (told, parts) = channel();
    let (builder, _batches) = durable(&mut machine, options);
    let builder = builder.on_flush(move |_, batch| {
        let part = batch.part().map(|part| (part.first, part.count));
        Ok(told.send((part, batch.batch().clone(), batch.items()))?)
    });
    let server = builder.start().expect("starts");
    settle(&server);
    let parts: Vec<_> = parts.try_iter().collect();
    assert_eq!(
        parts,
        [(Some((0, 1)), vec![1111], 1), (Some((2, 1)), vec![3333], 1)]
    );
    assert_eq!(server.state().expect("runs").counts.waiting, 0);
}

/// A program that cannot read what it wrote before flushes nothing wrong, and loses nothing.
#[test]
fn a_batch_that_cannot_be_decoded_waits_for_a_program_that_can() {
    let mut machine = Machine::new();
    let (builder, _batches) = durable(&mut machine, Options::new().max_items(2));
    let builder = builder.on_flush(|_, _| Err("out of order".into()));
    let server = builder.start().expect("starts");
    for item in 1..=3 {
        server.sync_add_item(item).expect("taken");
    }
    drop(server);
    let stern = Codec::new(
        |item: &u32, out| Ok(serde_json::to_writer(out, item)?),
        |_: &[u8]| Err("an old item".into()),
    );
    let (builder, batches) = durable(&mut machine, Options::new().max_items(2));
    let server = builder.durable(DIR, stern).start().expect("starts");
    server.sync_add_item(4).expect("taken into a new batch");
    let error = server.sync_flush().expect_err("it cannot be made anew");
    let said = error.to_string();
    assert!(
        said.contains("an item cannot be decoded: an old item"),
        "{said}"
    );
    let error = server.state().expect("runs").last_error.expect("told");
    assert!(matches!(error, batchd_core::batcher::Trouble::Flush(e) if e.step == Step::Rebuild));
    drop(server);
    assert!(all(&batches).is_empty());
    let (builder, batches) = durable(&mut machine, Options::new().max_items(2));
    let server = builder.start().expect("starts");
    server.sync_flush().expect("flushed");
    let flushed = ["[1, 2] max_items", "[3] recovery", "[4] flush"];
    assert_eq!(all(&batches), flushed);
}

#[test]
fn an_item_that_cannot_be_encoded_or_is_too_long_is_refused() {
    let mut machine = Machine::new();
    let (told, batches) = channel();
    let server = MemoryBatcher::of(move |batch: &Closed<Vec<String>>| {
        Ok(told.send(batch.iter().map(String::len).collect::<Vec<_>>())?)
    });
    let codec = Codec::new(
        move |item: &String, out: &mut Vec<u8>| match item.as_str() {
            "secret" => {
                out.extend_from_slice(b"sec");
                Err("not for writing".into())
            }
            _ => {
                out.extend_from_slice(item.as_bytes());
                Ok(())
            }
        },
        |bytes: &[u8]| Ok(String::from_utf8(bytes.to_vec())?),
    );
    let options = Options::new().max_bytes(Setting::Off);
    let server = server.durable(DIR, codec).env(machine.env());
    let server = server.options(options).start().expect("starts");
    server.sync_add_item("a".to_owned()).expect("taken");
    let refused = server.sync_add_item("secret".to_owned());
    let refused = refused.expect_err("refused");
    assert!(matches!(refused.why, Refused::NotEncoded(_)), "{refused}");
    let longest = "x".repeat(16 << 20);
    server.sync_add_item(longest.clone()).expect("taken");
    let refused = server.sync_add_item(longest + "x").expect_err("too long");
    assert!(matches!(refused.why, Refused::TooLong { .. }), "{refused}");
    assert_eq!(
        server.sync_add_item(String::new()).expect("taken"),
        Accepted::Held
    );
    server.sync_flush().expect("flushed");
    assert_eq!(batches.try_iter().collect::<Vec<_>>(), [[1, 16 << 20, 0]]);
}

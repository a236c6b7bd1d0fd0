//! Each callback: when it is called, and what its error means.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use batchd_core::batcher::{
    Accepted, BatchServer, Batcher, CallbackResult, Closed, Config, Options, Refused, View,
};

use crate::support::{Failing, Summer, all, lists};

/// Says which callbacks are called.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, call: impl Into<String>) {
        self.0.lock().expect("sound").push(call.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("sound"))
    }
}

struct Traced {
    calls: Calls,
    fails: Option<&'static str>,
}

impl Traced {
    fn call(&self, name: &'static str, what: impl std::fmt::Debug) -> CallbackResult {
        self.calls.note(format!("{name} {what:?}"));
        match self.fails {
            Some(fails) if fails == name => Err("out of order".into()),
            _ => Ok(()),
        }
    }
}

impl Batcher for Traced {
    type Item = u32;
    type Batch = Vec<u32>;

    fn options(&self) -> Options {
        Options::new().max_items(2)
    }
    fn init(&mut self, config: &Config) -> CallbackResult<Vec<u32>> {
        self.call("init", config.max_items)?;
        Ok(Vec::new())
    }
    fn add_item(&mut self, batch: &mut Vec<u32>, item: &u32) -> CallbackResult {
        self.call("add_item", item)?;
        batch.push(*item);
        Ok(())
    }
    fn pre_flush(&mut self, batch: &mut Closed<Vec<u32>>) -> CallbackResult {
        self.call("pre_flush", &**batch)?;
        batch.reverse();
        Ok(())
    }
    fn flush(&mut self, batch: &Closed<Vec<u32>>) -> CallbackResult {
        self.call("flush", &**batch)
    }
    fn post_flush(&mut self, batch: &Closed<Vec<u32>>) -> CallbackResult {
        self.call("post_flush", &**batch)
    }
    fn terminate(&mut self, batch: Option<&mut Vec<u32>>) -> CallbackResult {
        self.call("terminate", batch)
    }
    fn should_flush(&mut self, state: &View<'_, Self>) -> bool {
        state.batch.contains(&99)
    }
}

fn traced(fails: Option<&'static str>) -> (BatchServer<Traced>, Calls) {
    let calls = Calls::default();
    let own = calls.clone();
    let server = BatchServer::of(move || Traced {
        calls: own.clone(),
        fails,
    });
    (server.start().expect("starts"), calls)
}

#[test]
fn the_callbacks_of_a_batch_are_called_in_their_order() {
    let (server, calls) = traced(None);
    for item in 1..=3 {
        server.sync_add_item(item).expect("taken");
    }
    server.stop().expect("all is well");
    insta::assert_snapshot!(calls.take().join("\n"), @r"
    init Some(2)
    add_item 1
    add_item 2
    init Some(2)
    pre_flush [1, 2]
    flush [2, 1]
    post_flush [2, 1]
    add_item 3
    init Some(2)
    pre_flush [3]
    flush [3]
    post_flush [3]
    terminate Some([])
    ");
}

#[test]
fn init_begins_every_batch_and_may_fail() {
    let failing = Failing::default();
    let fails = failing.clone();
    let (builder, batches) = lists(Options::new().max_items(1));
    let builder = builder.on_init(move |batcher, config| {
        fails.now()?;
        batcher.init(config)
    });
    let server = builder.start().expect("starts");
    failing.times(3);
    // The batch is flushed; the next one cannot be begun.
    assert_eq!(server.sync_add_item(1).expect("taken"), Accepted::Flushed);
    for _ in 0..2 {
        let refused = server.sync_add_item(2).expect_err("there is no batch");
        assert_eq!(refused.item, Some(2));
        assert!(matches!(refused.why, Refused::NoBatch(why) if why == "out of order"));
    }
    assert_eq!(server.sync_add_item(2).expect("taken"), Accepted::Flushed);
    assert_eq!(all(&batches), ["[1] max_items", "[2] max_items"]);
}

#[test]
fn an_item_that_is_refused_leaves_the_batch_as_it_was() {
    let (builder, batches) = lists(Options::new().max_items(3));
    let builder = builder.on_add_item(|batcher, batch, item| match item {
        13 => Err("unlucky".into()),
        _ => batcher.add_item(batch, item),
    });
    let server = builder.start().expect("starts");
    server.sync_add_item(12).expect("taken");
    let refused = server.sync_add_item(13).expect_err("refused");
    assert_eq!(refused.item, Some(13), "it is given back");
    let counts = server.state().expect("runs").counts;
    assert_eq!((counts.batch_items, counts.total_items), (1, 1));
    for item in 14..=15 {
        server.sync_add_item(item).expect("taken");
    }
    assert_eq!(all(&batches), ["[12, 14, 15] max_items"]);
}

#[test]
fn only_a_flush_that_succeeds_ends_a_batch() {
    let (server, calls) = traced(Some("flush"));
    for item in 1..=2 {
        server.sync_add_item(item).expect("taken");
    }
    let state = server.state().expect("runs");
    assert_eq!((state.counts.flushes, state.counts.waiting), (0, 1));
    let called = calls.take();
    assert!(called.contains(&"flush [2, 1]".to_owned()), "{called:?}");
    assert!(!called.contains(&"post_flush [2, 1]".to_owned()));
}

#[test]
fn pre_flush_is_called_once_for_a_batch_however_often_the_flush_fails() {
    let failing = Failing::default();
    let (builder, batches) = lists(Options::new());
    let builder = builder.on_pre_flush(|_, batch| {
        batch.push(0);
        Ok(())
    });
    let builder = builder.on_flush(failing.before_flush());
    let server = builder.start().expect("starts");
    server.sync_add_item(1).expect("taken");
    failing.times(2);
    for _ in 0..2 {
        server.sync_flush().expect_err("it fails");
    }
    server.sync_flush().expect("flushed");
    assert_eq!(all(&batches), ["[1, 0] flush"]);
}

#[test]
fn post_flush_is_called_after_a_flush_that_succeeded_alone() {
    let failing = Failing::default();
    let (fails, (told, looked)) = (failing.clone(), channel());
    let (builder, _batches) = lists(Options::new());
    let builder = builder.on_flush(move |_, _| fails.now());
    let builder = builder.on_post_flush(move |_, batch| Ok(told.send(batch.attempt())?));
    let server = builder.start().expect("starts");
    failing.times(1);
    server.sync_add_item(1).expect("taken");
    server.sync_flush().expect_err("it fails");
    assert!(looked.try_recv().is_err());
    server.sync_flush().expect("flushed");
    assert_eq!(looked.try_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_callback_may_be_a_function_instead() {
    let (said, hears) = channel();
    let calls = Calls::default();
    let noted = calls.clone();
    let note = move |call: &'static str| {
        let noted = noted.clone();
        move || noted.note(call)
    };
    let notes = ["init", "add", "pre", "post", "end", "should"].map(note);
    let [init, add, pre, post, end, should] = notes;
    let server = BatchServer::of(move || Summer { said: said.clone() })
        .on_init(move |batcher, config| {
            init();
            batcher.init(config)
        })
        .on_add_item(move |_, batch, item| {
            add();
            batch.sum -= item;
            Ok(())
        })
        .on_pre_flush(move |_, batch| {
            pre();
            batch.sum *= 10;
            Ok(())
        })
        .on_flush(|batcher, batch| batcher.flush(batch))
        .on_post_flush(move |_, _| {
            post();
            Ok(())
        })
        .on_terminate(move |_, _| {
            end();
            Ok(())
        })
        .on_should_flush(move |_, state| {
            should();
            state.last_item == Some(&7)
        })
        .start()
        .expect("starts");
    let overrides = server.state().expect("runs").overrides;
    let all = [
        "init",
        "add_item",
        "pre_flush",
        "flush",
        "post_flush",
        "terminate",
        "should_flush",
    ];
    assert_eq!(overrides, all);
    assert_eq!(server.sync_add_item(7).expect("taken"), Accepted::Flushed);
    server.stop().expect("all is well");
    let said: Vec<String> = hears.try_iter().collect();
    assert_eq!(said, ["This batch added up to -70"]);
    let called = calls.take();
    assert_eq!(
        called,
        ["init", "add", "should", "init", "pre", "post", "end"]
    );
}

#[test]
fn terminate_is_called_where_the_server_ends() {
    let (server, calls) = traced(Some("terminate"));
    server.sync_add_item(1).expect("taken");
    let error = server.stop().expect_err("told");
    assert_eq!(error.terminate.as_deref(), Some("out of order"));
    assert_eq!(
        calls.take().last().map(String::as_str),
        Some("terminate Some([])")
    );
    let (server, calls) = traced(None);
    server.abort();
    drop(server);
    assert!(
        !calls
            .take()
            .iter()
            .any(|call| call.starts_with("terminate"))
    );
}

//! Servers that are aborted while somebody waits for them.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use batchd_core::batcher::{
    Backoff, BatchServer, Closed, MemoryBatcher, NotFlushed, NotRunning, Options, Refused,
};

use crate::support::{Failing, Gate};

type Server = BatchServer<MemoryBatcher<u32>>;

/// A server with five batches that wait after a failure, whose next flush stands at a gate; what it flushes, and how
/// often it terminated.
fn five_waiting(gate: &Gate) -> (Server, Receiver<u32>, Receiver<()>) {
    let (failing, stands) = (Failing::default(), gate.clone());
    let (fails, (told, flushed), (end, ended)) = (failing.clone(), channel(), channel());
    let server = MemoryBatcher::of(move |batch: &Closed<Vec<u32>>| {
        fails.now()?;
        stands.pass();
        Ok(batch.iter().try_for_each(|item| told.send(*item))?)
    });
    let hour = Duration::from_secs(3600);
    let backoff = Backoff {
        first: hour,
        max: hour,
    };
    let options = Options::new().max_items(1).backoff(backoff);
    let server = server.options(options);
    let server = server.on_terminate(move |_, _| Ok(end.send(())?));
    let server = server.start().expect("starts");
    failing.times(1);
    for item in 1..=5 {
        server.sync_add_item(item).expect("taken");
    }
    (server, flushed, ended)
}

#[test]
fn a_flush_that_is_aborted_half_way_is_none() {
    let gate = Gate::default();
    let (server, flushed, _) = five_waiting(&gate);
    std::thread::scope(|scope| {
        let flushes = scope.spawn(|| server.sync_flush());
        gate.wait_for(1);
        server.abort();
        gate.open();
        let answer = flushes.join().expect("ends");
        assert_eq!(answer, Err(NotFlushed::NotRunning(NotRunning::Aborted)));
    });
    drop(server);
    assert_eq!(flushed.try_iter().collect::<Vec<_>>(), [1]);
}

/// Nobody waits for a stop that waits for a flush; and it can be aborted, which it says.
#[test]
fn a_stop_that_hangs_can_be_aborted_and_tells_what_is_left() {
    let gate = Gate::default();
    let (server, flushed, ended) = five_waiting(&gate);
    std::thread::scope(|scope| {
        let stops = scope.spawn(|| server.stop());
        // Only the stop flushes anything within the hour.
        gate.wait_for(1);
        assert!(!server.is_running());
        let refused = server.try_add_item(6).expect_err("it stops");
        assert!(matches!(
            refused.why,
            Refused::NotRunning(NotRunning::Stopped)
        ));
        server.abort();
        gate.open();
        let error = stops.join().expect("ends").expect_err("aborted");
        assert_eq!(error.not_running, Some(NotRunning::Aborted));
        assert_eq!((error.batches_left, error.items_left), (4, 4));
    });
    assert_eq!(flushed.try_iter().collect::<Vec<_>>(), [1]);
    assert!(ended.try_recv().is_err(), "terminate was called");
}

#[test]
fn a_callback_may_abort_its_server_and_do_what_does_not_wait() {
    let slot = Arc::new(OnceLock::<Server>::new());
    let (own, (told, said)) = (Arc::clone(&slot), channel());
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| {
        if let Some(server) = own.get() {
            let was_running = server.is_running();
            server.try_add_item(2).map_err(|refused| refused.why)?;
            server.flush()?;
            server.abort();
            told.send((was_running, server.is_running()))?;
        }
        Ok(())
    });
    let server = server.start().expect("starts");
    let server = slot.get_or_init(|| server);
    server.sync_add_item(1).expect("taken");
    drop(server.sync_flush());
    assert_eq!(said.try_recv(), Ok((true, false)));
    let refused = server.sync_add_item(3).expect_err("aborted");
    assert!(matches!(
        refused.why,
        Refused::NotRunning(NotRunning::Aborted)
    ));
}

/// A producer that waits for room is not left waiting for a server that ends.
#[test]
fn who_waits_for_room_hears_of_the_abort() {
    let (gate, waiting) = (Gate::default(), Gate::default());
    let stands = gate.clone();
    let server = MemoryBatcher::of(move |_: &Closed<Vec<u32>>| {
        stands.pass();
        Ok(())
    });
    let options = Options::new().max_items(1).mailbox(1);
    let server = server.options(options).start().expect("starts");
    server.add_item(1).expect("runs");
    gate.wait_for(1);
    server.add_item(2).expect("there is room for one");
    waiting.open();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            waiting.pass();
            server.add_item(3)
        });
        waiting.wait_for(1);
        server.abort();
        let refused = waits.join().expect("ends").expect_err("aborted");
        assert_eq!(refused.item, Some(3));
        gate.open();
    });
}

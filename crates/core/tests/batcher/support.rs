//! What the tests share: a simulated machine, and servers whose batches can be looked at.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use batchd_core::batcher::{
    BatchServer, Batcher, Builder, CallbackResult, Closed, Codec, Config, MemoryBatcher, Options,
};
use batchd_core::env::Env;
use batchd_core::env::sim::{SimClock, SimDisk};

/// Nothing that is waited for takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Where batches are kept, on a simulated disk.
pub(crate) const DIR: &str = "/spool";

/// A machine whose clock stands still until it is told otherwise.
pub(crate) struct Machine {
    pub(crate) disk: SimDisk,
    pub(crate) clock: SimClock,
    starts: u64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(SimDisk::new())
    }

    pub(crate) fn with(disk: SimDisk) -> Self {
        let clock = SimClock::new(1_700_000_000_000_000, Duration::from_secs(1000));
        Self {
            disk,
            clock,
            starts: 0,
        }
    }

    /// The surroundings of the next start.
    pub(crate) fn env(&mut self) -> Env {
        self.starts += 1;
        self.disk.env(&self.clock, self.starts)
    }
}

/// Lets a server see to what is due by a clock that was moved.
pub(crate) fn settle<B>(server: &BatchServer<B>)
where
    B: Batcher + 'static,
    B::Item: Clone + Send + 'static,
{
    // It looks at the clock behind each message, and answers the second one after that.
    for _ in 0..2 {
        server.state().expect("runs");
    }
}

/// As text, what was flushed and why.
pub(crate) fn tell<T: std::fmt::Debug>(batch: &Closed<Vec<T>>) -> String {
    let reason = batch.reason().map_or("unknown", |reason| reason.name());
    format!("{:?} {reason}", batch.batch())
}

/// A server of lists that tells what it flushes.
pub(crate) fn lists(options: Options) -> (Builder<MemoryBatcher<u32>>, Receiver<String>) {
    let (told, batches) = channel();
    let builder = MemoryBatcher::of(move |batch: &Closed<Vec<u32>>| {
        told.send(tell(batch)).expect("somebody listens");
        Ok(())
    });
    (builder.options(options), batches)
}

/// As [`lists`], on a spool.
pub(crate) fn durable(
    machine: &mut Machine,
    options: Options,
) -> (Builder<MemoryBatcher<u32>>, Receiver<String>) {
    let (builder, batches) = lists(options);
    let env = machine.env();
    (builder.durable(DIR, Codec::json()).env(env), batches)
}

/// What was flushed so far.
pub(crate) fn all(batches: &Receiver<String>) -> Vec<String> {
    batches.try_iter().collect()
}

/// What is flushed next.
#[track_caller]
pub(crate) fn next(batches: &Receiver<String>) -> String {
    batches.recv_timeout(PATIENCE).expect("a batch")
}

/// The batcher of the original's first example.
pub(crate) struct Summer {
    pub(crate) said: Sender<String>,
}

/// A sum.
#[derive(Debug)]
pub(crate) struct Sum {
    pub(crate) sum: i64,
}

impl Batcher for Summer {
    type Item = i64;
    type Batch = Sum;

    fn options(&self) -> Options {
        Options::new().max_items(3)
    }

    fn init(&mut self, _: &Config) -> CallbackResult<Sum> {
        Ok(Sum { sum: 0 })
    }

    fn add_item(&mut self, batch: &mut Sum, item: &i64) -> CallbackResult {
        batch.sum += item;
        Ok(())
    }

    fn flush(&mut self, batch: &Closed<Sum>) -> CallbackResult {
        self.said
            .send(format!("This batch added up to {}", batch.sum))?;
        Ok(())
    }
}

/// Something that fails as often as it is told to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failing(Arc<Mutex<u32>>);

impl Failing {
    /// Fails so often from now on.
    pub(crate) fn times(&self, times: u32) {
        *self.0.lock().expect("sound") = times;
    }

    pub(crate) fn now(&self) -> CallbackResult {
        let mut times = self.0.lock().expect("sound");
        if *times == 0 {
            return Ok(());
        }
        *times -= 1;
        Err("out of order".into())
    }

    /// A flush that fails as often, and is then the batcher's own.
    pub(crate) fn before_flush<B: Batcher>(
        &self,
    ) -> impl FnMut(&mut B, &Closed<B::Batch>) -> CallbackResult + Send + use<B> {
        let failing = self.clone();
        move |batcher, batch| {
            failing.now()?;
            batcher.flush(batch)
        }
    }
}

/// A gate that a callback stands at until it is opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<(bool, u32)>, Condvar)>);

impl Gate {
    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("sound");
        state.1 += 1;
        changed.notify_all();
        let waited = changed.wait_timeout_while(state, PATIENCE, |(is_open, _)| !*is_open);
        let (state, waited) = waited.expect("sound");
        drop(state);
        assert!(!waited.timed_out(), "nobody opens the gate");
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().expect("sound").0 = true;
        self.0.1.notify_all();
    }

    /// Waits until so many have come to it.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: u32) {
        let (state, changed) = &*self.0;
        let state = state.lock().expect("sound");
        let (state, _) = changed
            .wait_timeout_while(state, PATIENCE, |(_, came)| *came < count)
            .expect("sound");
        assert!(state.1 >= count, "nobody came");
    }
}

//! When it looks for batches, and that it never does two things at a time. The clock stands still, and goes on to the
//! next moment that somebody waits for when nobody has anything to do.

use std::path::Path;
use std::sync::mpsc;

use batchd_sinks::{Delivery, ItemSource, SinkError};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout};

use super::*;
use crate::engine::tests::{create, engine};

/// Longer than anything that is waited for, by the clock that stands still.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// A sink that is a function of the batch's number.
struct Scripted<F>(F);

impl<F: FnMut(u64) -> Result<(), SinkError> + Send> Sink for Scripted<F> {
    fn deliver(
        &mut self,
        delivery: &Delivery,
        _items: &mut dyn ItemSource,
    ) -> Result<(), SinkError> {
        (self.0)(delivery.seq)
    }
}

/// A queue whose dispatcher runs, and what its sink tells.
struct Bench {
    queue: Arc<Queue>,
    told: UnboundedReceiver<u64>,
    stop: watch::Sender<bool>,
    dispatcher: JoinHandle<()>,
    began: Instant,
}

impl Bench {
    /// The number of the next batch that the sink was given.
    async fn next(&mut self) -> u64 {
        let told = timeout(LONG, self.told.recv()).await;
        told.expect("in time").expect("a sink")
    }

    /// Waits until so many attempts in a row have failed.
    async fn wait_for_failures(&self, count: u32) {
        let mut changes = self.queue.watch();
        let waited = timeout(LONG, async {
            while self.queue.delivery().attempts_failed != count {
                changes.changed().await.expect("the queue is there");
            }
        });
        waited.await.expect("in time");
    }

    /// How long it has taken, by the clock that stands still.
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Runs the dispatcher of a queue with a sink that tells of each batch and then does what `deliver` says; before it
/// starts there are so many batches. Its own sink, which it makes where it has none, writes to `out`.
fn run_with<F, D>(backlog: usize, deliver: D, test: F)
where
    F: AsyncFnOnce(&mut Bench),
    D: FnMut(u64) -> Result<(), SinkError> + Send + 'static,
{
    let root = tempfile::tempdir().expect("a directory");
    run_in(root.path(), backlog, deliver, test);
}

fn run_in<F, D>(root: &Path, backlog: usize, mut deliver: D, test: F)
where
    F: AsyncFnOnce(&mut Bench),
    D: FnMut(u64) -> Result<(), SinkError> + Send + 'static,
{
    let out = root.join("out");
    let config = format!(
        "min_free = \"off\"\n[queues.default]\nsink = {{ type = \"file\", path = {out:?} }}\n"
    );
    let engine = Arc::new(engine(root, &config));
    let queue = engine.queue("default").expect("there");
    for _ in 0..backlog {
        create(&queue);
    }
    let (tell, told): (UnboundedSender<u64>, _) = unbounded_channel();
    let sink = Scripted(move |seq| {
        // Nobody listens any more where the test is over.
        tell.send(seq).ok();
        deliver(seq)
    });
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let (stop, stopped) = watch::channel(false);
        let mut bench = Bench {
            queue: Arc::clone(&queue),
            told,
            stop,
            dispatcher: tokio::spawn(run(engine, queue, Box::new(sink), stopped)),
            began: Instant::now(),
        };
        test(&mut bench).await;
        bench.stop.send_replace(true);
        let ended = timeout(LONG, bench.dispatcher).await;
        ended.expect("in time").expect("no panic");
    });
}

#[test]
fn a_backlog_goes_out_at_the_start_without_an_event() {
    run_with(
        3,
        |_| Ok(()),
        async |bench| {
            let mut seqs = Vec::new();
            for _ in 0..3 {
                seqs.push(bench.next().await);
            }
            assert!(seqs.is_sorted(), "{seqs:?}");
            assert_eq!(bench.elapsed(), Duration::ZERO);
        },
    );
}

#[test]
fn what_is_rung_during_a_delivery_is_not_lost() {
    let (go_on, held) = mpsc::channel();
    let wait = move |_| {
        held.recv().expect("somebody who lets it go on");
        Ok(())
    };
    run_with(1, wait, async move |bench| {
        let first = bench.next().await;
        create(&bench.queue);
        bench.queue.ready.notify_one();
        go_on.send(()).expect("the sink");
        assert!(bench.next().await > first);
        go_on.send(()).expect("the sink");
        assert_eq!(bench.elapsed(), Duration::ZERO);
    });
}

#[test]
fn what_nobody_announces_is_found_by_the_safety_timer() {
    run_with(
        0,
        |_| Ok(()),
        async |bench| {
            // It has looked by then, and waits.
            tokio::time::sleep(Duration::from_secs(1)).await;
            create(&bench.queue);
            bench.next().await;
            assert_eq!(bench.elapsed(), SAFETY_INTERVAL);
        },
    );
}

#[test]
fn attempts_never_overlap_however_slow_the_sink_is() {
    const BATCHES: usize = 20;
    let root = tempfile::tempdir().expect("a directory");
    let (go_on, held) = mpsc::channel();
    let slow = move |_| {
        held.recv().expect("somebody who lets it go on");
        Ok(())
    };
    run_in(root.path(), 1, slow, async move |bench| {
        let mut seqs = Vec::new();
        for _ in 0..BATCHES {
            seqs.push(bench.next().await);
            // All that can wake it, while it is at it.
            create(&bench.queue);
            bench.queue.ready.notify_one();
            bench.queue.hurry.notify_waiters();
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(bench.told.is_empty());
            go_on.send(()).expect("the sink");
        }
        seqs.push(bench.next().await);
        go_on.send(()).expect("the sink");
        assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    });
    assert!(!root.path().join("out").exists(), "another sink was made");
}

#[test]
fn while_it_backs_off_new_batches_do_not_hurry_it_and_a_flush_does() {
    let fails = |_| Err(SinkError::retryable("on purpose"));
    run_with(1, fails, async |bench| {
        let first = bench.next().await;
        bench.wait_for_failures(1).await;
        for _ in 0..10 {
            create(&bench.queue);
            bench.queue.ready.notify_one();
            yield_now().await;
        }
        assert!(bench.told.is_empty());
        // It waits, so it hears this; and the batch that failed is first.
        bench.queue.hurry.notify_waiters();
        assert_eq!(bench.next().await, first);
        assert_eq!(bench.elapsed(), Duration::ZERO);
        // Left alone, it goes on by itself.
        bench.wait_for_failures(2).await;
        assert_eq!(bench.next().await, first);
        assert!(bench.elapsed() > Duration::ZERO);
    });
}

#[test]
fn pauses_after_failures_double_up_to_a_minute() {
    let env = batchd_core::env::os::env();
    for (failures, bound_ms) in [(1, 100), (2, 200), (3, 400), (9, 25_600), (10, 51_200)]
        .into_iter()
        .chain([11, 12, 100, u32::MAX].map(|failures| (failures, 60_000)))
    {
        let bound = Duration::from_millis(bound_ms);
        let pauses: Vec<_> = (0..200).map(|_| backoff(&env, failures)).collect();
        let (least, most) = (pauses.iter().min(), pauses.iter().max());
        assert!(
            least >= Some(&Duration::from_millis(10)),
            "{failures}: {least:?}"
        );
        assert!(most <= Some(&bound), "{failures}: {most:?}");
        // All of the room is used: once in 2^200 that is not so.
        assert!(most > Some(&(bound / 2)), "{failures}: {most:?}");
    }
}

#[test]
fn a_sink_that_panics_is_replaced_and_its_batch_tried_again() {
    let root = tempfile::tempdir().expect("a directory");
    let panics = |_| panic!("on purpose");
    run_in(root.path(), 2, panics, async |bench| {
        bench.next().await;
        bench.wait_for_failures(1).await;
        let error = bench.queue.delivery().last_error.clone();
        assert_eq!(error.as_deref(), Some("the attempt panicked"));
        // The one that was made instead writes files.
        bench.wait_for_failures(0).await;
    });
    let delivered = std::fs::read_dir(root.path().join("out")).expect("made");
    assert!(delivered.count() >= 1);
}

#[test]
fn a_stop_waits_for_the_attempt_under_way() {
    let (go_on, held) = mpsc::channel();
    let wait = move |_| {
        held.recv().expect("somebody who lets it go on");
        Ok(())
    };
    run_with(2, wait, async move |bench| {
        let first = bench.next().await;
        bench.stop.send_replace(true);
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!bench.dispatcher.is_finished());
        go_on.send(()).expect("the sink");
        // The sink is gone with its dispatcher, without another batch.
        assert_eq!(timeout(LONG, bench.told.recv()).await, Ok(None));
        // That one is on record, and the other one was not begun.
        let next = bench.queue.commit.claim_next().expect("the other batch");
        assert!(next.batch().name.seq > first);
    });
}

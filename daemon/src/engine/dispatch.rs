//! The dispatchers: one a queue, in order, one attempt at a time.
//!
//! A dispatcher is woken by an event, which is set before the first look so that a backlog goes out at once, and by
//! a safety timer. After a failed attempt it waits, unless somebody asks for a flush, and the batch stays first.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use batchd_core::env::Env;
use batchd_core::policy::Backoff;
use batchd_core::queue::Attempted;
use batchd_frame::QueueName;
use batchd_sinks::Sink;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::attempt::attempt;
use super::{Engine, Queue};

#[cfg(test)]
mod tests;

/// It looks around this often even if nobody wakes it.
const SAFETY_INTERVAL: Duration = Duration::from_secs(30);
/// While nothing can be recorded it looks this often whether that is over.
const HELD: Duration = Duration::from_secs(1);

/// Starts dispatchers, also for queues that are created later.
#[derive(Clone)]
pub(crate) struct Spawner {
    handle: Handle,
    tasks: Arc<Mutex<Tasks>>,
    stop: watch::Receiver<bool>,
    engine: std::sync::Weak<Engine>,
}

impl Spawner {
    pub(super) fn spawn(&self, queue: Arc<Queue>) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        let Some(sink) = queue.make_sink() else {
            return;
        };
        let stop = self.stop.clone();
        let name = queue.name.clone();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.queues.insert(name.clone());
        let task = async move {
            run(engine, queue, sink, stop).await;
            name
        };
        tasks.running.spawn_on(task, &self.handle);
    }
}

/// The dispatchers, each of which ends with the name of its queue.
#[derive(Default)]
struct Tasks {
    running: JoinSet<QueueName>,
    /// Those that have not ended.
    queues: BTreeSet<QueueName>,
}

/// The running dispatchers.
pub(crate) struct Dispatchers {
    stop: watch::Sender<bool>,
    tasks: Arc<Mutex<Tasks>>,
}

impl Dispatchers {
    /// Ends them: no new attempt begins; one under way is waited for, at most so long.
    pub(crate) fn stop(self, runtime: &Runtime, at_most: Duration) {
        self.stop.send_replace(true);
        let Tasks {
            mut running,
            mut queues,
        } = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            while let Some(ended) = running.join_next().await {
                if let Ok(queue) = ended {
                    queues.remove(&queue);
                }
            }
        };
        let ended = runtime.block_on(async { tokio::time::timeout(at_most, all).await });
        if ended.is_err() {
            for queue in queues {
                tracing::warn!(
                    %queue,
                    "an attempt is still under way; its batch may be delivered again at the next start"
                );
            }
        }
    }
}

/// Starts a dispatcher for every queue that has a sink.
pub(crate) fn start_all(engine: &Arc<Engine>, handle: &Handle) -> Dispatchers {
    let (stop, stopped) = watch::channel(false);
    let tasks = Arc::default();
    let spawner = Spawner {
        handle: handle.clone(),
        tasks: Arc::clone(&tasks),
        stop: stopped,
        engine: Arc::downgrade(engine),
    };
    for queue in engine.queues() {
        spawner.spawn(queue);
    }
    engine.set_dispatcher(spawner);
    Dispatchers { stop, tasks }
}

async fn run(
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    mut sink: Box<dyn Sink>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let wait = match deliver_all(&engine, &queue, sink, &stop).await {
            Some((returned, wait)) => {
                sink = returned;
                wait
            }
            None => return,
        };
        let timer = tokio::time::sleep(wait.unwrap_or(SAFETY_INTERVAL));
        tokio::select! {
            // While it backs off, new batches do not hurry it.
            () = queue.ready.notified(), if wait.is_none() => {}
            () = queue.hurry.notified(), if wait.is_some() => {}
            () = timer => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Delivers what is ready, in order. Returns the sink and, after a failure, how long to wait; nothing where the
/// daemon ends.
async fn deliver_all(
    engine: &Arc<Engine>,
    queue: &Arc<Queue>,
    mut sink: Box<dyn Sink>,
    stop: &watch::Receiver<bool>,
) -> Option<(Box<dyn Sink>, Option<Duration>)> {
    loop {
        if *stop.borrow() {
            return None;
        }
        if !engine.space.may_deliver() {
            // What cannot be recorded would be delivered again by the next start.
            engine.house.ring();
            return Some((sink, Some(HELD)));
        }
        let Some(claim) = queue.commit.claim_next() else {
            return Some((sink, None));
        };
        let batch = *claim.batch();
        let shared = Arc::clone(queue);
        let attempted = tokio::task::spawn_blocking(move || {
            // Given back however the attempt ends.
            let attempted = attempt(&shared, &claim, &mut *sink);
            (sink, attempted)
        })
        .await;
        if attempted
            .as_ref()
            .is_err_and(tokio::task::JoinError::is_cancelled)
        {
            // The runtime ends.
            return None;
        }
        let Ok((returned, attempted)) = attempted else {
            // The sink went with the panic; a new one is made after a while.
            let failures = fail(queue, &batch, "the attempt panicked".to_owned());
            let sink = queue.make_sink()?;
            return Some((sink, Some(backoff(engine.spool.env(), failures))));
        };
        sink = returned;
        engine.answer(&mut queue.commit.take_answers());
        match attempted {
            Attempted::Done { .. } => {
                queue.note(|state| {
                    state.attempts_failed = 0;
                    state.last_error = None;
                });
                // The end of a flush may be what the next beat counts from.
                if queue.commit.take_keep_due() {
                    engine.house.ring();
                }
                engine.room.notify_waiters();
            }
            Attempted::Failed(error) => {
                let failures = fail(queue, &batch, error);
                return Some((sink, Some(backoff(engine.spool.env(), failures))));
            }
            Attempted::Broken(broken) => {
                engine.break_down(&queue.name, &broken);
                return None;
            }
        }
    }
}

fn fail(queue: &Queue, batch: &batchd_core::spool::ReadyBatch, error: String) -> u32 {
    let mut failures = 0;
    queue.note(|state| {
        state.attempts_failed = state.attempts_failed.saturating_add(1);
        state.failures += 1;
        failures = state.attempts_failed;
        state.last_error = Some(error.clone());
    });
    queue.commit.note_failure(batch, failures, &error);
    tracing::warn!(
        queue = %queue.name, batch = %batch.name.id, attempt = failures, error,
        "not delivered; the batch is kept and tried again"
    );
    failures
}

/// The wait after so many failures in a row.
fn backoff(env: &Env, failures: u32) -> Duration {
    let mut random = [0; 4];
    env.entropy.fill(&mut random);
    Backoff::default().wait(failures, random)
}

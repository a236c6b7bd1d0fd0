//! Flushing more than one queue: all of them at a signal, and those that want it at a clean stop.

use std::sync::Arc;
use std::time::Duration;

use batchd_core::policy::OnShutdown;
use batchd_frame::SealReason;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Engine, Queue};

/// Whoever waits for deliveries asks so often whether there can be any.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// What all queues flushed came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flushed {
    /// Batches that wait for delivery now, the open ones among them.
    pub(crate) batches: usize,
    /// Items in them.
    pub(crate) items: u64,
}

impl Flushed {
    fn add(&mut self, batches: &[(u64, u64)]) {
        self.batches += batches.len();
        self.items += batches.iter().map(|(_, items)| items).sum::<u64>();
    }
}

/// Closes the open batches of all queues. They are sealed and delivered behind this, also where a sink was waiting to
/// be tried again.
pub(crate) fn flush_all(engine: &Engine) -> Flushed {
    let mut flushed = Flushed::default();
    for queue in engine.queues() {
        flushed.add(&queue.commit.flush());
        queue.hurry.notify_waiters();
    }
    engine.house.ring();
    flushed
}

/// Closes the open batches of the queues whose `on_shutdown` says so, and waits until their sinks have all that
/// waits, at most so long. Call it when nothing more comes in, and while batches are still sealed and delivered.
pub(crate) fn drain(engine: &Engine, runtime: &Runtime, at_most: Duration) {
    let mut waiting = Vec::new();
    let mut flushed = Flushed::default();
    for queue in engine.queues() {
        if queue.on_shutdown() == OnShutdown::Flush {
            let batches = queue.commit.flush_because(SealReason::Shutdown);
            flushed.add(&batches);
            // Without a sink there is nothing to wait for but the seals, and those come with the end.
            if queue.has_sink() && !batches.is_empty() {
                queue.hurry.notify_waiters();
                waiting.push(Waiting { queue, batches });
            }
        }
    }
    if waiting.is_empty() {
        return;
    }
    tracing::info!(
        batches = flushed.batches,
        items = flushed.items,
        "flushing, as on_shutdown says"
    );
    engine.house.ring();
    runtime.block_on(async {
        let deadline = Instant::now() + at_most;
        for Waiting { queue, batches } in &waiting {
            wait_for(engine, queue, batches, deadline).await;
        }
    });
}

struct Waiting {
    queue: Arc<Queue>,
    /// Seqs, with the items of each.
    batches: Vec<(u64, u64)>,
}

/// Waits until batches are delivered, or have ended otherwise, or nobody can deliver any more.
pub(crate) async fn delivered(engine: &Engine, queue: &Queue, batches: &[(u64, u64)]) {
    let mut changes = queue.watch();
    loop {
        changes.borrow_and_update();
        // Where the spool cannot be relied on any more, nobody delivers.
        if engine.broken().is_some() || !queue.commit.is_undelivered(batches) {
            return;
        }
        // Nobody tells here that the spool has failed: that is asked for.
        if timeout(ASK_INTERVAL, changes.changed()).await.is_err() {
            // A sink that is waiting to be tried again may be there by now, and this is the last chance.
            queue.hurry.notify_waiters();
        }
    }
}

async fn wait_for(engine: &Engine, queue: &Queue, batches: &[(u64, u64)], deadline: Instant) {
    let delivered = delivered(engine, queue, batches);
    if timeout_at(deadline, delivered).await.is_err() {
        tracing::warn!(
            queue = %queue.name, batches = queue.commit.undelivered(batches),
            last_error = queue.delivery().last_error.as_deref().unwrap_or("none"),
            "not delivered within shutdown_timeout; the batches stay in the spool for the next start"
        );
    }
}

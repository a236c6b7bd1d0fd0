//! Flushes that somebody asked for, and perhaps waits for.

use std::time::Duration;

use batchd_protocol::{ErrorCode, FlushReport};
use tokio::sync::watch;

use super::Engine;
use super::admin::{Failed, find};

/// A stop waits at most so long until all who wait for a flush have been answered.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// Counts the flushes that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Flushes(watch::Sender<usize>);

/// One that is not answered, until it is dropped.
pub(super) struct Unanswered<'a>(&'a Flushes);

impl Flushes {
    pub(super) fn begin(&self) -> Unanswered<'_> {
        self.0.send_modify(|count| *count += 1);
        Unanswered(self)
    }

    /// Waits until all are answered, but not for long.
    pub(super) async fn all_answered(&self) {
        let mut count = self.0.subscribe();
        let none = count.wait_for(|count| *count == 0);
        if tokio::time::timeout(TELL_WITHIN, none).await.is_err() {
            tracing::debug!("somebody who waits for a flush is not told of the stop");
        }
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Closes the open batches and, where it waits, sees them delivered or the first attempt fail.
pub(super) async fn flush(
    engine: &Engine,
    only: Option<&str>,
    wait: bool,
) -> Result<FlushReport, Failed> {
    let queues = match only {
        Some(name) => vec![find(engine, name)?],
        None => engine.queues(),
    };
    let mut report = FlushReport::default();
    let mut waiting = Vec::new();
    for queue in queues {
        // Subscribed before the look, so that no change is missed.
        let changes = queue.watch();
        let failures = queue.delivery().failures;
        let (batches, watch) = queue.commit.flush_watched();
        queue.hurry.notify_waiters();
        report.batches += batches.len() as u64;
        report.items += batches.iter().map(|(_, items)| items).sum::<u64>();
        // Of all queues, those without a sink have nothing to wait for.
        if only.is_some() || queue.has_sink() {
            waiting.push((queue, batches, watch, changes, failures));
        }
    }
    engine.house.ring();
    if !wait {
        return Ok(report);
    }
    for (queue, batches, watch, mut changes, failures) in waiting {
        loop {
            changes.borrow_and_update();
            if !queue.commit.is_undelivered(&batches) {
                report.not_delivered += watch.not_delivered();
                break;
            }
            let state = queue.delivery().clone();
            if state.failures > failures {
                let why = state.last_error.unwrap_or_default();
                let message = format!(
                    "queue {}: {why}; the batch is kept and tried again",
                    queue.name
                );
                return Err((ErrorCode::DeliveryFailed, message));
            }
            if !queue.has_sink() {
                let message = format!("queue {} has no sink; its batches are kept", queue.name);
                return Err((ErrorCode::NoSink, message));
            }
            if engine.is_stopping() {
                let message = format!(
                    "queue {}: not delivered before the daemon stops; it is kept",
                    queue.name
                );
                return Err((ErrorCode::Stopping, message));
            }
            // The queue holds the other end.
            changes.changed().await.ok();
        }
    }
    report.delivered = report.not_delivered == 0;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::runtime;

    use super::*;
    use crate::engine::tests::{create, engine};

    /// A batch that waits for a sink, which nobody brings it to.
    fn waiting(root: &Path) -> Engine {
        let out = root.join("out");
        let engine = engine(
            root,
            &format!("[queues.default]\nsink = {{ type = \"file\", path = {out:?} }}\n"),
        );
        create(&engine.queue("default").expect("there"));
        engine
    }

    #[test]
    fn who_waits_for_a_flush_is_told_of_the_stop() {
        let root = tempfile::tempdir().expect("a directory");
        let engine = waiting(root.path());
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let asked = async {
            let _told = engine.flushes.begin();
            flush(&engine, None, true).await
        };
        let stop = async {
            // The flush waits by now: it was polled first.
            engine.release_flushes().await;
        };
        let (told, ()) = runtime.block_on(async { tokio::join!(asked, stop) });
        let message = "queue default: not delivered before the daemon stops; it is kept";
        assert_eq!(told, Err((ErrorCode::Stopping, message.to_owned())));
        // One that comes later does not begin to wait.
        let told = runtime.block_on(flush(&engine, None, true));
        assert_eq!(told, Err((ErrorCode::Stopping, message.to_owned())));
    }
}

//! The thread that reads after a start which submissions lie in batches that were sealed before it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::Engine;

/// So many seals are read between two looks at whether to stop.
const SEALS_AT_ONCE: usize = 64;

/// The running thread; it ends by itself when all is read.
pub(crate) struct Recall {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Recall {
    /// Ends it where it is.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        if self.thread.join().is_err() {
            tracing::error!("the reading of seals had panicked");
        }
    }
}

/// Starts it.
///
/// # Errors
/// Where there is no thread to be had.
pub(crate) fn start(engine: Arc<Engine>) -> io::Result<Recall> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new()
        .name("recall".into())
        .spawn(move || {
            let _alive = engine.cannot_do_without("the reading of seals");
            for queue in engine.queues() {
                while queue.commit.recall(SEALS_AT_ONCE) {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                }
                // Repeats wait for it.
                engine.room.notify_waiters();
            }
            tracing::debug!("it is known which submissions were kept before the start");
        })?;
    Ok(Recall { stop, thread })
}

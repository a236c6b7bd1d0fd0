//! The housekeeping thread: ages, seals, files made ahead, expired batches, and the late sync of what is only
//! written.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use batchd_core::queue::Led;
use batchd_core::queue::commit::Broken;

use super::{Engine, Queue, space};

/// It looks around this often even if nobody rings.
const SAFETY_INTERVAL: Duration = Duration::from_secs(30);

/// A bell that is heard also by one who listens later. It starts rung, so that a backlog is seen to at once, and
/// is cleared before the look around, so that no ring is lost.
pub(crate) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            rung: Mutex::new(true),
            heard: Condvar::new(),
        }
    }
}

impl Bell {
    /// Rings.
    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    /// Waits for a ring, at most so long.
    fn wait(&self, at_most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, at_most, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// The running thread.
pub(crate) struct House {
    engine: Arc<Engine>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl House {
    /// Ends it behind what it is doing.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.engine.house.ring();
        if self.thread.join().is_err() {
            tracing::error!("housekeeping had panicked");
        }
    }
}

/// Starts it.
///
/// # Errors
/// Where there is no thread to be had.
pub(crate) fn start(engine: Arc<Engine>) -> io::Result<House> {
    let stop = Arc::new(AtomicBool::new(false));
    let (shared, stopped) = (Arc::clone(&engine), Arc::clone(&stop));
    let thread = std::thread::Builder::new()
        .name("house".into())
        .spawn(move || {
            let _alive = shared.cannot_do_without("housekeeping");
            let mut wait = Duration::ZERO;
            loop {
                shared.house.wait(wait);
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let due = shared
                    .queues()
                    .iter()
                    .filter_map(|queue| keep(&shared, queue))
                    .min();
                let due = due.into_iter().chain(space::tend(&shared)).min();
                wait = due.unwrap_or(SAFETY_INTERVAL).min(SAFETY_INTERVAL);
            }
        })?;
    Ok(House {
        engine,
        stop,
        thread,
    })
}

/// Looks after one queue; says when to look again.
fn keep(engine: &Engine, queue: &Queue) -> Option<Duration> {
    let kept = match queue.commit.keep() {
        Ok(kept) => kept,
        Err(broken) => {
            engine.break_down(&queue.name, &broken);
            return None;
        }
    };
    engine.answer(&mut queue.commit.take_answers());
    if kept.ready {
        queue.ready.notify_one();
    }
    if kept.made_room {
        engine.batches_ended(queue);
    }
    let cleaned = match queue.commit.clean() {
        Ok(cleaned) => cleaned,
        Err(broken) => {
            engine.break_down(&queue.name, &broken);
            return None;
        }
    };
    if cleaned.claimed {
        engine.batches_ended(queue);
    }
    if kept.commit_due {
        if let Err(broken) = lead(engine, queue) {
            engine.break_down(&queue.name, &broken);
            return None;
        }
        if queue.commit.take_keep_due() {
            return Some(Duration::ZERO);
        }
    }
    // Never spin: what is due at once and was not done now is not done sooner by asking again.
    let due = kept.next_due.into_iter().chain(cleaned.next_due).min();
    due.map(|due| due.max(Duration::from_millis(1)))
}

/// Leads a commit to its end: whoever else wanted to lead meanwhile has left it to this thread.
fn lead(engine: &Engine, queue: &Queue) -> Result<(), Broken> {
    let mut answers = Vec::new();
    loop {
        let led = queue.commit.lead(&mut answers);
        engine.answer(&mut answers);
        if led? == Led::Idle {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// As good as never.
    const HOUR: Duration = Duration::from_secs(60 * 60);
    /// More than it takes to hear a ring, on a machine that has much else to do.
    const LONG: Duration = Duration::from_secs(60);

    fn is_rung(bell: &Bell) -> bool {
        *bell.rung.lock().expect("no panic")
    }

    /// Begins a wait that only a ring ends; tells when it has ended.
    fn begin_to_wait(bell: &Arc<Bell>) -> mpsc::Receiver<()> {
        let (tell, told) = mpsc::channel();
        let bell = Arc::clone(bell);
        thread::spawn(move || {
            bell.wait(HOUR);
            tell.send(())
        });
        told
    }

    /// Waits for a ring, and says whether one was heard.
    fn hears(bell: &Arc<Bell>) -> bool {
        begin_to_wait(bell).recv_timeout(LONG).is_ok()
    }

    #[test]
    fn it_starts_rung_and_a_wait_clears_it() {
        let bell = Arc::new(Bell::default());
        assert!(is_rung(&bell));
        assert!(hears(&bell));
        assert!(!is_rung(&bell));
    }

    #[test]
    fn a_ring_during_a_look_is_heard_by_the_next_wait() {
        let bell = Arc::new(Bell::default());
        assert!(hears(&bell));
        // Whoever waited looks around now; the bell is clear already.
        bell.ring();
        assert!(hears(&bell));
        assert!(!is_rung(&bell));
    }

    #[test]
    fn rings_do_not_add_up() {
        let bell = Arc::new(Bell::default());
        for _ in 0..3 {
            bell.ring();
        }
        assert!(hears(&bell));
        assert!(!is_rung(&bell));
    }

    #[test]
    fn a_ring_ends_a_wait_that_is_under_way() {
        let bell = Arc::new(Bell::default());
        assert!(hears(&bell));
        let ended = begin_to_wait(&bell);
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        bell.ring();
        assert_eq!(ended.recv_timeout(LONG), Ok(()));
    }

    #[test]
    fn without_a_ring_a_wait_ends_by_itself() {
        let bell = Arc::new(Bell::default());
        assert!(hears(&bell));
        bell.wait(Duration::from_millis(1));
        assert!(!is_rung(&bell));
    }
}

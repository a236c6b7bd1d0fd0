//! The thread that goes the rounds of a shelf.
//!
//! It waits for the next round and for whoever stops it at the same time, so that it stops at once and costs nothing in
//! between. It knows nothing of the shelf but its round.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The shortest interval: one of nothing would keep a processor busy.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

thread_local! {
    /// This is the thread of a cleaner, which never waits for one.
    static GOES_ROUNDS: Cell<bool> = const { Cell::new(false) };
}

/// A cleaner, which runs or not. It stops when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

/// What the thread is told.
#[derive(Debug)]
struct Orders {
    present: Mutex<Order>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// A round every so often.
    Every(Duration),
    Stop,
}

impl Cleaner {
    /// Starts a thread that calls `round` every so often, until it is stopped or `round` says that it is enough by
    /// answering false. One that runs goes on with its own round, and this interval.
    pub(super) fn start(
        &self,
        interval: Duration,
        round: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<()> {
        let order = Order::Every(interval.max(INTERVAL_MIN));
        let Some(mut running) = self.running() else {
            return Ok(());
        };
        if let Some(running) = running.as_ref().filter(|one| !one.thread.is_finished()) {
            running.orders.give(order);
            return Ok(());
        }
        let orders = Arc::new(Orders {
            present: Mutex::new(order),
            changed: Condvar::new(),
        });
        let taken = Arc::clone(&orders);
        let thread = thread::Builder::new()
            .name("shelf-cleaner".to_owned())
            .spawn(move || {
                GOES_ROUNDS.set(true);
                taken.follow(&round);
            })?;
        *running = Some(Running { orders, thread });
        Ok(())
    }

    /// Stops it, if it runs, and waits for the end of the round that is under way.
    pub(super) fn stop(&self) {
        // Held meanwhile: whoever else stops it waits for the same.
        let Some(mut running) = self.running() else {
            return;
        };
        let Some(Running { orders, thread }) = running.take() else {
            return;
        };
        orders.give(Order::Stop);
        // An item that goes in a round may have been the last that had the shelf.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::debug!("the cleaner had ended in a panic");
        }
    }

    /// What runs. Nothing to an item that goes in a round while somebody stops the cleaner: that one waits for the round.
    fn running(&self) -> Option<MutexGuard<'_, Option<Running>>> {
        if !GOES_ROUNDS.get() {
            return Some(self.running.lock().unwrap_or_else(PoisonError::into_inner));
        }
        match self.running.try_lock() {
            Ok(running) => Some(running),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Orders {
    fn give(&self, order: Order) {
        *self.present() = order;
        self.changed.notify_one();
    }

    fn follow(&self, round: &dyn Fn() -> bool) {
        loop {
            let present = self.present();
            let order = *present;
            let Order::Every(interval) = order else {
                return;
            };
            let unchanged = |present: &mut Order| *present == order;
            let waited = self
                .changed
                .wait_timeout_while(present, interval, unchanged);
            let (present, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            drop(present);
            if waited.timed_out() && !round() {
                return;
            }
        }
    }

    fn present(&self) -> MutexGuard<'_, Order> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    const SHORT: Duration = Duration::from_millis(1);
    const HOUR: Duration = Duration::from_secs(3600);
    /// More than anything that works takes.
    const LONG: Duration = Duration::from_secs(60);

    /// A round that tells of itself, until nobody listens.
    fn telling() -> (impl Fn() -> bool + Send + 'static, mpsc::Receiver<()>) {
        let (tell, told) = mpsc::channel();
        (move || tell.send(()).is_ok(), told)
    }

    #[test]
    fn it_goes_its_rounds_until_it_is_stopped_and_can_be_started_again() {
        let cleaner = Cleaner::default();
        for _ in 0..3 {
            let (round, rounds) = telling();
            cleaner.start(SHORT, round).unwrap();
            for _ in 0..3 {
                rounds.recv_timeout(LONG).unwrap();
            }
            cleaner.stop();
            // The thread has ended, and its round is gone with it.
            while rounds.try_recv().is_ok() {}
            assert_eq!(rounds.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        }
    }

    #[test]
    fn it_stops_at_once_in_the_middle_of_an_interval() {
        let cleaner = Cleaner::default();
        let (round, rounds) = telling();
        cleaner.start(HOUR, round).unwrap();
        cleaner.stop();
        assert_eq!(rounds.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        // So it does where it is dropped, and one that does not run stops as well.
        cleaner.stop();
        let (round, rounds) = telling();
        cleaner.start(HOUR, round).unwrap();
        drop(cleaner);
        assert_eq!(rounds.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn one_that_runs_takes_over_the_interval_at_once_and_keeps_its_round() {
        let cleaner = Cleaner::default();
        let (round, rounds) = telling();
        cleaner.start(HOUR, round).unwrap();
        let (other, others) = telling();
        cleaner.start(SHORT, other).unwrap();
        rounds.recv_timeout(LONG).unwrap();
        assert_eq!(others.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        // And back: nothing is left of the short one.
        cleaner.start(HOUR, || true).unwrap();
        cleaner.stop();
    }

    #[test]
    fn stopping_waits_for_the_round_under_way() {
        let cleaner = Cleaner::default();
        let (begun, is_begun) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel::<()>();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let round = move || {
            begun.send(()).unwrap();
            gone_on.recv().unwrap();
            end.store(true, Ordering::SeqCst);
            // However late it is stopped, there is no other.
            false
        };
        cleaner.start(SHORT, round).unwrap();
        is_begun.recv_timeout(LONG).unwrap();
        thread::scope(|scope| {
            let stopped = scope.spawn(|| {
                cleaner.stop();
                ended.load(Ordering::SeqCst)
            });
            // It has no way to end before this.
            assert!(!ended.load(Ordering::SeqCst));
            go_on.send(()).unwrap();
            assert!(stopped.join().unwrap());
        });
    }

    /// An item may use the shelf when it goes: also while somebody stops the cleaner that removes it.
    #[test]
    fn a_round_may_stop_the_cleaner_while_somebody_else_does() {
        let cleaner = Arc::new(Cleaner::default());
        let own = Arc::clone(&cleaner);
        let (begun, is_begun) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel::<()>();
        let round = move || {
            begun.send(()).unwrap();
            gone_on.recv().unwrap();
            own.stop();
            own.start(SHORT, || true).unwrap();
            false
        };
        cleaner.start(SHORT, round).unwrap();
        is_begun.recv_timeout(LONG).unwrap();
        thread::scope(|scope| {
            let stopped = scope.spawn(|| cleaner.stop());
            go_on.send(()).unwrap();
            stopped.join().unwrap();
        });
        cleaner.stop();
    }

    #[test]
    fn a_round_may_say_that_it_is_enough_and_the_next_start_is_a_new_one() {
        let cleaner = Cleaner::default();
        let (tell, told) = mpsc::channel();
        let round = move || {
            tell.send(()).unwrap();
            false
        };
        cleaner.start(SHORT, round).unwrap();
        told.recv_timeout(LONG).unwrap();
        assert_eq!(
            told.recv_timeout(LONG),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        cleaner.stop();
        let (round, rounds) = telling();
        cleaner.start(SHORT, round).unwrap();
        rounds.recv_timeout(LONG).unwrap();
    }
}

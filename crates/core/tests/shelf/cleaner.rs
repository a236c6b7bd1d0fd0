//! The cleaner: what nobody asks for is removed all the same, by a thread or by hand.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::{LIFESPAN, SECOND, Site, both, got, items, put};
use batchd_core::batcher::{Shelf, ShelfOptions};
use batchd_core::policy::expiry::CLEANUP_INTERVAL;

const SHORT: Duration = Duration::from_millis(1);

/// Waits until a shelf is empty, with a bound.
#[expect(
    clippy::disallowed_methods,
    reason = "the cleaner is a thread that waits by the time of the machine"
)]
#[track_caller]
fn wait_until_empty<T: Send + Sync + 'static>(shelf: &Shelf<T>) {
    for _ in 0..60_000 {
        if shelf.is_empty() {
            return;
        }
        std::thread::sleep(SHORT);
    }
    panic!("the shelf still holds {} batches", shelf.len());
}

#[test]
fn the_cleaner_removes_what_nobody_asks_for() {
    both(|clock, shelf| {
        shelf.start_cleaner(SHORT).unwrap();
        put(&shelf, &["item1"], LIFESPAN);
        put(&shelf, &["item2"], LIFESPAN);
        let lasting = put(&shelf, &["item3"], 20 * SECOND);
        clock.advance(LIFESPAN);
        assert_eq!(shelf.len(), 3);
        assert!(got(&shelf, lasting).is_some());
        clock.advance(11 * SECOND);
        wait_until_empty(&shelf);
    });
}

#[test]
fn a_round_by_hand() {
    both(|clock, shelf| {
        for _ in 0..3 {
            put(&shelf, &["item"], LIFESPAN);
        }
        let lasting = put(&shelf, &["lasting"], 20 * SECOND);
        assert_eq!(shelf.clean().unwrap(), 0);
        clock.advance(11 * SECOND);
        assert_eq!(shelf.clean().unwrap(), 3);
        assert_eq!(shelf.clean().unwrap(), 0);
        assert_eq!(shelf.len(), 1);
        assert_eq!(got(&shelf, lasting), Some(items(&["lasting"])));
    });
}

#[test]
fn a_round_removes_all_there_is_however_many() {
    both(|clock, shelf| {
        for _ in 0..1500 {
            put(&shelf, &["item"], LIFESPAN);
        }
        put(&shelf, &["lasting"], 20 * SECOND);
        clock.advance(11 * SECOND);
        assert_eq!(shelf.clean().unwrap(), 1500);
        assert_eq!(shelf.len(), 1);
    });
}

#[test]
fn the_cleaner_can_be_stopped() {
    both(|clock, shelf| {
        shelf.start_cleaner(SHORT).unwrap();
        put(&shelf, &["item"], LIFESPAN);
        shelf.stop_cleaner();
        shelf.stop_cleaner();
        clock.advance(11 * SECOND);
        // Nobody goes a round, and what has expired is expired.
        assert_eq!(shelf.len(), 1);
        shelf.start_cleaner(SHORT).unwrap();
        wait_until_empty(&shelf);
    });
}

#[test]
fn the_interval_of_a_cleaner_that_runs_can_be_changed() {
    both(|clock, shelf| {
        assert_eq!(CLEANUP_INTERVAL, 60 * SECOND);
        shelf.start_cleaner(CLEANUP_INTERVAL).unwrap();
        put(&shelf, &["item"], LIFESPAN);
        clock.advance(11 * SECOND);
        assert_eq!(shelf.len(), 1);
        shelf.start_cleaner(Duration::ZERO).unwrap();
        wait_until_empty(&shelf);
    });
}

#[test]
fn the_cleaner_ends_with_the_shelf_which_can_be_opened_again_at_once() {
    let site = Site::new();
    for _ in 0..20 {
        let shelf = site.open();
        shelf.start_cleaner(SHORT).unwrap();
        put(&shelf, &["item"], LIFESPAN);
        drop(shelf);
    }
    assert_eq!(site.open().len(), 20);
}

/// An item that uses its shelf when it goes.
struct Clingy {
    shelf: Weak<Shelf<Clingy>>,
    seen: Arc<OnceLock<usize>>,
}

impl Drop for Clingy {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.upgrade() {
            self.seen.get_or_init(|| shelf.len());
        }
    }
}

#[test]
fn an_item_may_use_the_shelf_when_it_goes() {
    let site = Site::new();
    let shelf = Arc::new(site.options().in_memory());
    let seen: [Arc<OnceLock<usize>>; 2] = Default::default();
    let ids = [0, 1].map(|n| {
        let item = Clingy {
            shelf: Arc::downgrade(&shelf),
            seen: Arc::clone(&seen[n]),
        };
        shelf.create([item], LIFESPAN).unwrap()
    });
    site.clock.advance(11 * SECOND);
    assert!(shelf.get(ids[0]).unwrap().is_none());
    assert_eq!(seen[0].get(), Some(&1));
    // By the thread of the cleaner, which may then be the last that has the shelf.
    shelf.start_cleaner(SHORT).unwrap();
    wait_until_empty(&shelf);
    drop(shelf);
    assert!(seen[1].get().is_none_or(|len| *len == 0));
}

#[test]
fn a_shelf_has_a_cleaner_from_the_start_on_every_minute_by_default() {
    let default = ShelfOptions::default().cleanup_interval;
    assert_eq!(default, Some(CLEANUP_INTERVAL));
    assert_eq!(CLEANUP_INTERVAL, 60 * SECOND);
    let site = Site::new();
    let options = ShelfOptions {
        cleanup_interval: Some(SHORT),
        ..site.options()
    };
    let shelf = options.in_memory();
    put(&shelf, &["item"], LIFESPAN);
    site.clock.advance(11 * SECOND);
    wait_until_empty(&shelf);
}

//! When a batch is gone: to the microsecond, whoever asks, whatever the wall clock does.

use std::time::Duration;

use super::{LIFESPAN, MICRO, SECOND, Site, both, got, items, put};
use batchd_core::frame::BatchId;

#[test]
fn a_batch_is_there_at_once_and_gone_after_its_lifespan() {
    both(|clock, shelf| {
        let id = put(&shelf, &["item1", "item2"], LIFESPAN);
        assert_eq!(got(&shelf, id), Some(items(&["item1", "item2"])));
        clock.advance(11 * SECOND);
        assert_eq!(got(&shelf, id), None);
        assert_eq!(got(&shelf, id), None);
    });
}

#[test]
fn at_exactly_its_lifespan_a_batch_is_still_there() {
    both(|clock, shelf| {
        let id = put(&shelf, &["item"], LIFESPAN);
        clock.advance(LIFESPAN);
        assert_eq!(shelf.clean().unwrap(), 0);
        assert_eq!(got(&shelf, id), Some(items(&["item"])));
        clock.advance(MICRO);
        assert_eq!(got(&shelf, id), None);
    });
}

#[test]
fn lazy_expiry_before_the_cleaner_runs() {
    both(|clock, shelf| {
        let id = put(&shelf, &["item"], LIFESPAN);
        clock.advance(11 * SECOND);
        // It is counted until somebody meets it, and nobody is given it.
        assert_eq!(shelf.len(), 1);
        assert_eq!(got(&shelf, id), None);
        assert!(shelf.is_empty());
        assert_eq!(shelf.clean().unwrap(), 0);
    });
}

#[test]
fn each_batch_has_its_own_lifespan() {
    both(|clock, shelf| {
        let ids = [3, 1, 2].map(|seconds| put(&shelf, &["item"], seconds * SECOND));
        let there = |shelf| ids.map(|id| got(shelf, id).is_some());
        assert_eq!(there(&shelf), [true, true, true]);
        clock.advance(SECOND + MICRO);
        assert_eq!(there(&shelf), [true, false, true]);
        clock.advance(SECOND);
        assert_eq!(there(&shelf), [true, false, false]);
        clock.advance(SECOND);
        assert_eq!(there(&shelf), [false, false, false]);
    });
}

#[test]
fn a_wall_clock_that_is_set_changes_nothing() {
    both(|clock, shelf| {
        let day = 86_400_000_000;
        let now = 1_800_000_000_000_000;
        let id = put(&shelf, &["before"], LIFESPAN);
        clock.set_wall(now + day);
        assert_eq!(shelf.clean().unwrap(), 0);
        assert_eq!(got(&shelf, id), Some(items(&["before"])));
        let ahead = put(&shelf, &["ahead"], LIFESPAN);
        clock.set_wall(now - day);
        let behind = put(&shelf, &["behind"], LIFESPAN);
        assert!(id < ahead && ahead < behind, "ids ascend all the same");
        clock.advance_boot(LIFESPAN);
        assert_eq!(shelf.clean().unwrap(), 0);
        clock.advance_boot(MICRO);
        assert_eq!(shelf.clean().unwrap(), 3);
    });
}

#[test]
fn the_longest_lifespan_does_not_end() {
    both(|clock, shelf| {
        let ids = [Duration::MAX, Duration::from_micros(u64::MAX)];
        let ids = ids.map(|lifespan| put(&shelf, &["item"], lifespan));
        clock.advance(500 * 366 * Duration::from_secs(86_400));
        assert_eq!(shelf.clean().unwrap(), 0);
        for id in ids {
            assert_eq!(got(&shelf, id), Some(items(&["item"])));
        }
    });
    let site = Site::new();
    let id = put(&site.open(), &["item"], Duration::MAX);
    assert_eq!(got(&site.open(), id), Some(items(&["item"])));
}

#[test]
fn nothing_is_given_for_an_id_that_never_was() {
    both(|_, shelf| {
        put(&shelf, &["item"], LIFESPAN);
        assert_eq!(got(&shelf, BatchId::from_bytes([7; 16])), None);
    });
}

#[test]
fn items_that_were_given_stay_with_whom_they_were_given_to() {
    both(|clock, shelf| {
        let id = put(&shelf, &["item"], LIFESPAN);
        let held = shelf.get(id).unwrap().unwrap();
        clock.advance(11 * SECOND);
        assert_eq!(shelf.clean().unwrap(), 1);
        assert_eq!(*held, items(&["item"]));
    });
}

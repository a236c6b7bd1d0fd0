//! The power is cut at every call, and everything that this may leave is opened again.

use super::{LIFESPAN, MICRO, SECOND, Site, got, items, put};
use batchd_core::env::sim::Limits;
use batchd_core::frame::BatchId;

fn limits() -> Limits {
    Limits {
        random_states: 8,
        states_max: 2000,
        ..Limits::default()
    }
}

/// Walks what a cut now may leave; each state is opened by `check`. Says how many.
fn walk(site: &Site, check: impl Fn(&Site)) -> usize {
    let states = site.disk.crash_states(&limits());
    states.map(|image| check(&site.on(image.to_disk()))).count()
}

#[test]
fn what_was_created_survives_every_crash_and_the_rest_is_whole_or_not_there() {
    let old = &["old 1", "old 2"];
    let new = &["new 1", "new 2", "new 3"];
    // Nothing here is left to chance: the second batch has the same id in every run.
    let created = |cut: Option<u64>| -> (Site, BatchId, Option<BatchId>) {
        let site = Site::new();
        let shelf = site.open();
        let first = put(&shelf, old, LIFESPAN);
        if let Some(cut) = cut {
            site.disk.power_cut_after(cut);
        }
        let second = shelf.create(items(new), LIFESPAN).ok();
        (site, first, second)
    };
    let (_, _, id) = created(None);
    let id = id.unwrap();
    let (mut states, mut unfinished) = (0, 0);
    for cut in 0.. {
        let (site, first, second) = created(Some(cut));
        assert!(second.is_none_or(|second| second == id));
        unfinished += usize::from(second.is_none());
        states += walk(&site, |site| {
            let shelf = site.open();
            assert_eq!(got(&shelf, first), Some(items(old)), "cut {cut}");
            let found = got(&shelf, id);
            if let Some(found) = &found {
                assert_eq!(*found, items(new), "cut {cut}");
            }
            assert!(found.is_some() || second.is_none(), "cut {cut}: lost");
            assert_eq!(shelf.len(), 1 + usize::from(found.is_some()));
            // And it goes on.
            let third = put(&shelf, &["third"], LIFESPAN);
            assert!(third > first && third != id);
        });
        if !site.disk.is_power_cut() {
            break;
        }
    }
    assert!(unfinished > 5 && states > 100, "{unfinished} {states}");
}

#[test]
fn what_has_expired_stays_gone_and_the_rest_stays_there() {
    for cut in 0.. {
        let site = Site::new();
        let shelf = site.open();
        let over = [0, 1].map(|_| put(&shelf, &["over"], LIFESPAN));
        let lasting = put(&shelf, &["lasting"], 60 * SECOND);
        site.clock.advance(11 * SECOND);
        site.disk.power_cut_after(cut);
        // Half of it by whoever asks, half of it by the cleaner; that the power is cut is no answer.
        drop((shelf.get(over[0]), shelf.clean()));
        walk(&site, |site| {
            let shelf = site.open();
            site.clock.advance(MICRO);
            for id in over {
                assert_eq!(got(&shelf, id), None, "cut {cut}");
            }
            assert_eq!(got(&shelf, lasting), Some(items(&["lasting"])), "cut {cut}");
            shelf.clean().unwrap();
            assert_eq!(shelf.len(), 1);
            assert_eq!(site.files_in("ready").len(), 1);
        });
        if !site.disk.is_power_cut() {
            return;
        }
    }
}

#[test]
fn a_directory_that_was_not_made_whole_is_made_again() {
    for cut in 0.. {
        let site = Site::new();
        site.disk.power_cut_after(cut);
        drop(site.try_open());
        walk(&site, |site| {
            let shelf = site.open();
            let id = put(&shelf, &["item"], LIFESPAN);
            drop(shelf);
            // What is acknowledged there survives, directories and all.
            let left = site.on(site.disk.durable_image().to_disk());
            assert_eq!(got(&left.open(), id), Some(items(&["item"])), "cut {cut}");
        });
        if !site.disk.is_power_cut() {
            return;
        }
    }
}

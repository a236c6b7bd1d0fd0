//! A shelf that is opened again: what is there, what has expired meanwhile, and by which clock.

use std::time::Duration;

use super::{LIFESPAN, MICRO, SECOND, Site, got, items, put};
use batchd_core::batcher::DirError;
use batchd_core::spool::survey::{Stage, Survey};
use batchd_core::spool::{Layout, ReadSpool, SpoolError};

/// The machine is started again: the boot-time clock begins anew.
fn reboot(site: &Site) {
    site.clock.set_boot(Duration::from_secs(5));
}

#[test]
fn another_start_finds_what_was_created_by_its_id() {
    let site = Site::new();
    let shelf = site.open();
    let ids = ["a", "b", "c"].map(|name| put(&shelf, &[name, name], LIFESPAN));
    drop(shelf);
    reboot(&site);
    let shelf = site.open();
    for (id, name) in ids.iter().zip(["a", "b", "c"]) {
        assert_eq!(got(&shelf, *id), Some(items(&[name, name])));
    }
    let later = put(&shelf, &["d"], LIFESPAN);
    assert!(ids.iter().all(|id| *id < later));
}

#[test]
fn time_goes_on_while_nobody_has_it_open() {
    let site = Site::new();
    let id = put(&site.open(), &["item"], LIFESPAN);
    site.clock.advance_wall(6 * SECOND);
    reboot(&site);
    let shelf = site.open();
    site.clock.advance(4 * SECOND);
    assert_eq!(got(&shelf, id), Some(items(&["item"])));
    site.clock.advance(MICRO);
    assert_eq!(got(&shelf, id), None);
}

#[test]
fn what_is_over_at_the_start_is_gone_from_the_start_on_without_a_grace() {
    let site = Site::new();
    let shelf = site.open();
    let over = put(&shelf, &["over"], LIFESPAN);
    let lasting = put(&shelf, &["lasting"], 20 * SECOND);
    drop(shelf);
    site.clock.advance_wall(11 * SECOND);
    reboot(&site);
    let shelf = site.open();
    site.clock.advance(MICRO);
    assert_eq!(shelf.len(), 2);
    assert_eq!(shelf.clean().unwrap(), 1);
    assert_eq!(got(&shelf, over), None);
    assert_eq!(got(&shelf, lasting), Some(items(&["lasting"])));
}

#[test]
fn what_was_gone_is_not_there_again() {
    let site = Site::new();
    let shelf = site.open();
    let id = put(&shelf, &["item"], LIFESPAN);
    site.clock.advance(11 * SECOND);
    assert_eq!(got(&shelf, id), None);
    drop(shelf);
    // Also where the wall clock is set back before the next start.
    site.clock.set_wall(1_800_000_000_000_000);
    assert_eq!(got(&site.open(), id), None);
}

#[test]
fn nothing_expires_while_the_wall_clock_is_behind_the_newest_batch() {
    let site = Site::new();
    let shelf = site.open();
    let old = put(&shelf, &["old"], LIFESPAN);
    site.clock.advance(5 * SECOND);
    let new = put(&shelf, &["new"], LIFESPAN);
    drop(shelf);
    // A machine without a clock of its own comes up, and is told the time later.
    let right = 1_800_000_000_000_000 + 3_600_000_000;
    site.clock.set_wall(0);
    reboot(&site);
    let shelf = site.open();
    site.clock.advance(1000 * SECOND);
    assert_eq!(shelf.clean().unwrap(), 0);
    assert!(got(&shelf, old).is_some() && got(&shelf, new).is_some());
    drop(shelf);
    site.clock.set_wall(right);
    let shelf = site.open();
    site.clock.advance(MICRO);
    assert!(got(&shelf, old).is_none() && got(&shelf, new).is_none());
}

#[test]
fn one_process_has_a_directory_at_a_time() {
    let site = Site::new();
    let shelf = site.open();
    let refused = site.try_open().unwrap_err();
    assert!(
        matches!(refused, DirError::Spool(SpoolError::Locked { .. })),
        "{refused}"
    );
    put(&shelf, &["item"], LIFESPAN);
    drop(shelf);
    assert_eq!(site.open().len(), 1);
}

#[test]
fn whoever_reads_spools_finds_the_batches() {
    let site = Site::new();
    let id = put(&site.open(), &["item1", "item2"], LIFESPAN);
    let spool = ReadSpool::open(site.options().env, Layout::new("/srv/shelf")).unwrap();
    let queues = spool.queues().unwrap();
    let found = Survey::new(&spool, &queues[0]).find(id).unwrap().unwrap();
    assert_eq!((found.stage, found.name.items), (Stage::Ready, 2));
}

//! What is not taken, and what is not given: each has a name, and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use super::{LIFESPAN, SECOND, Site, both, got, items, put};
use batchd_core::batcher::{BATCH_BYTES_MAX, Codec, Shelf, ShelfError, ShelfOptions};
use batchd_core::env::sim::{EIO, Fault, OpKind, SimDisk};
use insta::assert_snapshot;

#[track_caller]
fn refused(shelf: &Shelf<String>, names: &[&str], lifespan: Duration) -> ShelfError {
    let before = shelf.len();
    let refused = shelf.create(items(names), lifespan).unwrap_err();
    assert_eq!(shelf.len(), before);
    refused
}

/// In tests that go more than one way, where a snapshot cannot stand.
#[track_caller]
fn check_says(error: &ShelfError, expected: &str) {
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_batch_of_nothing_and_a_lifespan_of_nothing() {
    both(|_, shelf| {
        let none = refused(&shelf, &[], LIFESPAN);
        check_says(&none, "a batch has at least one item");
        for lifespan in [Duration::ZERO, Duration::from_nanos(999)] {
            let none = refused(&shelf, &["item"], lifespan);
            check_says(&none, "a lifespan is at least a microsecond");
        }
        put(&shelf, &["", ""], Duration::from_micros(1));
    });
}

/// A shelf that may hold three items, in memory or on a spool.
fn of_three(test: impl Fn(&Site, Shelf<String>)) {
    for is_in_memory in [true, false] {
        let site = Site {
            max_items: Some(3),
            ..Site::new()
        };
        let shelf = match is_in_memory {
            true => site.in_memory(),
            false => site.open(),
        };
        test(&site, shelf);
    }
}

#[test]
fn more_items_than_it_may_hold() {
    of_three(|_, shelf| {
        let many = refused(&shelf, &["a", "b", "c", "d"], LIFESPAN);
        assert!(!many.is_for_want_of_room());
        check_says(
            &many,
            "4 items are more than `max_items` of the shelf, 3: give less at once, or raise it",
        );
        put(&shelf, &["a", "b"], LIFESPAN);
        let full = refused(&shelf, &["c", "d"], LIFESPAN);
        assert!(full.is_for_want_of_room());
        check_says(
            &full,
            "the shelf holds 2 items, and 3 are allowed (`max_items`): wait until batches expire, or raise it",
        );
        put(&shelf, &["c"], LIFESPAN);
    });
}

#[test]
fn what_has_expired_makes_room_also_without_a_cleaner() {
    of_three(|site, shelf| {
        put(&shelf, &["a", "b", "c"], LIFESPAN);
        let wanted: Arc<[String]> = items(&["d", "e", "f"]).into();
        let full = shelf.create(Arc::clone(&wanted), LIFESPAN).unwrap_err();
        assert!(matches!(full, ShelfError::Full { items: 3, max: 3 }));
        site.clock.advance(11 * SECOND);
        let id = shelf.create(wanted, LIFESPAN).unwrap();
        assert_eq!(got(&shelf, id), Some(items(&["d", "e", "f"])));
        assert_eq!(shelf.len(), 1);
    });
}

#[test]
fn more_bytes_than_its_directory_may_hold() {
    let mut site = Site::new();
    site.limits.max_bytes = Some(100);
    let shelf = site.open();
    let many = refused(&shelf, &[&"x".repeat(101)], LIFESPAN);
    check_says(
        &many,
        "the items come to more than 100 bytes: give less at once",
    );
    put(&shelf, &[&"x".repeat(60)], LIFESPAN);
    let full = refused(&shelf, &[&"x".repeat(60)], LIFESPAN);
    assert!(full.is_for_want_of_room());
    check_says(
        &full,
        "the shelf holds 60 bytes of items, and 100 are allowed (`max_bytes`): wait until batches expire, or raise it",
    );
    site.clock.advance(11 * SECOND);
    put(&shelf, &[&"x".repeat(100)], LIFESPAN);
}

#[test]
fn more_bytes_than_a_batch_may_hold() {
    let site = Site::new();
    let shelf = site.open();
    let max = usize::try_from(BATCH_BYTES_MAX).unwrap();
    for names in [vec!["x".repeat(max)], vec!["x".repeat(max / 4); 4]] {
        let many = shelf.create(names, LIFESPAN).unwrap_err();
        check_says(
            &many,
            "the items come to more than 16777216 bytes: give less at once",
        );
    }
    assert!(site.files_in("ready").is_empty());
    // The longest there is, and the most items, each of which has a length.
    let longest = vec!["x".repeat(max - 16)];
    let id = shelf.create(longest.clone(), LIFESPAN).unwrap();
    assert_eq!(got(&shelf, id), Some(longest));
    let most = vec![String::new(); max - 16];
    let id = shelf.create(most, LIFESPAN).unwrap();
    assert_eq!(shelf.get(id).unwrap().unwrap().len(), max - 16);
    let more = shelf.create(vec![String::new(); max], LIFESPAN);
    assert!(matches!(more, Err(ShelfError::TooManyBytes { .. })));
}

#[test]
fn a_full_disk() {
    let mut refusals = 0;
    for room in (0..2000).step_by(40) {
        let site = Site::new();
        let shelf = site.open();
        let old = put(&shelf, &["old"], LIFESPAN);
        let capacity = site.disk.bytes_used() + room;
        site.disk.set_capacity(Some(capacity));
        let new = shelf.create(items(&["new"]), LIFESPAN);
        site.disk.set_capacity(None);
        if let Err(error) = &new {
            assert!(matches!(error, ShelfError::NoSpace(_)), "{room}: {error}");
            assert!(error.is_for_want_of_room());
            refusals += 1;
        }
        assert_eq!(site.files_in("ready").len(), 1 + usize::from(new.is_ok()));
        // Nothing is left of it, and there is nothing to be done but make room.
        site.clock.advance(SECOND);
        let again = put(&shelf, &["again"], LIFESPAN);
        assert_eq!(got(&shelf, old), Some(items(&["old"])));
        assert_eq!(got(&shelf, again), Some(items(&["again"])));
    }
    assert!((5..50).contains(&refusals), "{refusals}");
}

#[test]
fn a_disk_that_is_read_only_for_a_while() {
    let site = Site::new();
    let shelf = site.open();
    let old = put(&shelf, &["old"], LIFESPAN);
    site.disk.set_read_only(true);
    for _ in 0..2 {
        let refused = refused(&shelf, &["new"], LIFESPAN);
        assert!(matches!(refused, ShelfError::ReadOnly), "{refused}");
        assert!(refused.is_for_want_of_room());
    }
    assert_eq!(got(&shelf, old), Some(items(&["old"])));
    site.clock.advance(11 * SECOND);
    // It has expired, though it cannot be removed now.
    assert_eq!(got(&shelf, old), None);
    assert_eq!(shelf.clean().unwrap(), 0);
    assert_eq!(shelf.len(), 1);
    site.disk.set_read_only(false);
    put(&shelf, &["new"], LIFESPAN);
    assert_eq!(shelf.clean().unwrap(), 1);
}

#[test]
fn items_that_are_no_bytes_and_bytes_that_are_no_items() {
    let site = Site::new();
    let picky = Codec::new(
        |item: &u8, out: &mut Vec<u8>| {
            out.push(*item);
            if *item == 7 {
                return Err("not a seven".into());
            }
            Ok(())
        },
        |bytes| {
            bytes
                .first()
                .copied()
                .ok_or_else(|| "no byte".into())
                .and_then(|byte| {
                    if byte == 8 {
                        Err("an eight".into())
                    } else {
                        Ok(byte)
                    }
                })
        },
    );
    let open = || {
        let options: ShelfOptions = site.options();
        options.on_spool("/srv/shelf", picky.clone()).unwrap()
    };
    let shelf = open();
    let refused = shelf.create([6, 7], LIFESPAN).unwrap_err();
    assert_snapshot!(refused, @"item 1 cannot be encoded: not a seven");
    assert!(shelf.is_empty() && site.files_in("ready").is_empty());
    let id = shelf.create([6, 6, 8, 8], LIFESPAN).unwrap();
    let no_item = shelf.get(id).unwrap_err();
    assert!(
        matches!(no_item, ShelfError::Decode { index: 2, .. }),
        "{no_item}"
    );
    assert!(no_item.to_string().ends_with("cannot be decoded: an eight"));
    // It expires like any other.
    site.clock.advance(11 * SECOND);
    assert_eq!(shelf.get(id).unwrap(), None);
    drop(shelf);
    assert!(open().is_empty());
}

#[test]
fn a_batch_that_was_damaged_on_disk_is_never_other_items() {
    let site = Site::new();
    let id = put(&site.open(), &["item1", "item2"], LIFESPAN);
    let path = site.files_in("ready").remove(0);
    let whole = site.disk.live_image().read(&path).unwrap();
    let (mut damaged, mut given) = (0, 0);
    for at in 0..whole.len() {
        let mut image = site.disk.live_image();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        image.write(&path, bytes).unwrap();
        let site = site.on(image.to_disk());
        let shelf = site.open();
        match shelf.get(id) {
            Ok(found) => {
                let found = found.map(|items| items.to_vec());
                assert_eq!(found, Some(items(&["item1", "item2"])), "byte {at}");
                given += 1;
            }
            Err(ShelfError::Damaged { id: of, .. }) => {
                assert_eq!(of, id);
                damaged += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
        site.clock.advance(11 * SECOND);
        assert_eq!(got(&shelf, id), None, "byte {at}");
        assert!(shelf.is_empty(), "byte {at}");
        site.clock.set_wall(1_800_000_000_000_000);
    }
    assert!(given < 16 && damaged > 500, "{given} {damaged}");
}

#[test]
fn a_file_that_somebody_removed_and_one_that_cannot_be_read() {
    let site = Site::new();
    let shelf = site.open();
    let id = put(&shelf, &["item"], LIFESPAN);
    for kind in [OpKind::Read, OpKind::Open] {
        site.disk.fail_nth(kind, 1, Fault::from_then_on(EIO));
        let error = shelf.get(id).unwrap_err();
        assert!(matches!(error, ShelfError::Unreadable(_)), "{error}");
        site.disk.heal();
        assert_eq!(got(&shelf, id), Some(items(&["item"])));
    }
    let path = site.files_in("ready").remove(0);
    site.options().env.fs.unlink(path.as_ref()).unwrap();
    let error = shelf.get(id).unwrap_err();
    assert!(matches!(error, ShelfError::Unreadable(_)), "{error}");
    site.clock.advance(11 * SECOND);
    assert_eq!(got(&shelf, id), None);
    assert!(shelf.is_empty());
}

/// A sync fails, and nothing is done any more until the shelf is opened again.
#[track_caller]
fn check_broken(kind: OpKind, breaks: impl Fn(&SimDisk, &Shelf<String>) -> ShelfError) {
    let site = Site::new();
    let shelf = site.open();
    let old = put(&shelf, &["old"], 60 * SECOND);
    let over = put(&shelf, &["over"], LIFESPAN);
    site.clock.advance(11 * SECOND);
    site.disk.fail_nth(kind, 1, Fault::once(EIO));
    let broken = [
        breaks(&site.disk, &shelf),
        refused(&shelf, &["new"], LIFESPAN),
        shelf.get(old).unwrap_err(),
        shelf.clean().unwrap_err(),
    ];
    assert_eq!(site.disk.faults_struck(), 1);
    for error in broken {
        assert!(matches!(error, ShelfError::Broken(_)), "{error}");
        assert!(!error.is_for_want_of_room());
    }
    drop(shelf);
    let shelf = site.open();
    assert_eq!(got(&shelf, old), Some(items(&["old"])));
    site.clock.advance(SECOND);
    assert_eq!(got(&shelf, over), None);
    put(&shelf, &["new"], LIFESPAN);
}

#[test]
fn a_sync_that_fails_breaks_it() {
    for kind in [OpKind::SyncData, OpKind::SyncDir] {
        check_broken(kind, |_, shelf| {
            shelf.create(items(&["item"]), LIFESPAN).unwrap_err()
        });
    }
    check_broken(OpKind::SyncData, |_, shelf| shelf.clean().unwrap_err());
}

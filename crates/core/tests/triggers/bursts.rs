//! Many keys at once.

use std::collections::BTreeMap;
use std::time::Duration;

use batchd_core::env::Clock as _;
use batchd_core::policy::Policy;

use super::{delay, off, rate, secs};
use crate::support::world::World;

const KEYS: usize = 200;

/// A world with an open batch of each of many keys.
fn with_many_keys(policy: Policy) -> World {
    let mut world = World::started(policy);
    fill(&mut world);
    world
}

fn fill(world: &mut World) {
    for key in 0..KEYS {
        world.run(&format!("submit key-{key} 1 10")).unwrap();
    }
    world.run("lead").unwrap();
}

/// Lets the time pass as a house does: it looks when something is due. Says when how many were closed.
fn watch(world: &mut World, time: Duration) -> Vec<(Duration, usize)> {
    let start = world.clock.boot();
    let mut closed = Vec::new();
    loop {
        let open = open(world);
        world.run("keep").unwrap();
        let passed = world.clock.boot() - start;
        let closes = open - self::open(world);
        if closes > 0 {
            closed.push((passed, closes));
        }
        let due = world.commit().lock().next_due();
        match due.map(|due| due.max(Duration::from_millis(1))) {
            Some(due) if passed + due <= time => world.clock.advance(due),
            _ => {
                world.clock.advance(time.saturating_sub(passed));
                return closed;
            }
        }
    }
}

fn open(world: &World) -> usize {
    let views = world.commit().lock().open_views();
    views.iter().filter(|view| view.closing.is_none()).count()
}

#[track_caller]
fn check_spread(closed: &[(Duration, usize)]) {
    let mut tenths: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, count) in closed {
        *tenths.entry(at.as_secs()).or_default() += count;
    }
    assert_eq!(tenths.values().sum::<usize>(), KEYS, "{tenths:?}");
    assert!(
        tenths.values().all(|count| *count <= KEYS / 4),
        "{tenths:?}"
    );
    assert_eq!(tenths.len(), 10, "{tenths:?}");
}

#[test]
fn the_beats_of_many_keys_are_spread_over_the_interval() {
    for interval in [rate(10), delay(10)] {
        let mut world = with_many_keys(Policy { interval, ..off() });
        check_spread(&watch(&mut world, Duration::from_nanos(9_999_999_999)));
        world.clock.advance(Duration::from_nanos(1));
        assert_eq!(world.commit().lock().next_due(), None);
        // And so in the next one. What a fixed delay counts from is when each was delivered.
        if interval == rate(10) {
            fill(&mut world);
            check_spread(&watch(&mut world, Duration::from_nanos(9_999_999_999)));
        }
        assert_eq!(world.commit().lock().counters().beats_skipped, 0);
    }
}

#[test]
fn a_burst_leaves_room_for_seals_and_the_oldest_go_first() {
    let mut world = World::started(Policy {
        max_age: secs(5),
        ..off()
    });
    for key in 0..50 {
        world
            .run(&format!("submit key-{key} 1 10; lead; wait 1ms"))
            .unwrap();
    }
    world.run("wait 9s").unwrap();
    let mut looks = Vec::new();
    while open(&world) > 0 {
        world.commit().lock().close_due();
        let waiting = world.commit().lock().seals_waiting();
        assert!(waiting < 32, "the commit would have to help");
        // All that are due are no more than this, until seals are made.
        assert_eq!(world.commit().lock().close_due(), Default::default());
        assert_eq!(world.commit().lock().seals_waiting(), waiting);
        assert_eq!(
            world.commit().lock().next_due(),
            None,
            "the seals come first"
        );
        let closing: Vec<u64> = world
            .commit()
            .lock()
            .open_views()
            .iter()
            .filter(|view| view.closing.is_some())
            .map(|view| view.header.seq)
            .collect();
        looks.push(closing);
        // As `keep` does; but that looks at the clock before.
        let kept = world.commit().keep().unwrap();
        assert!(kept.ready);
        if open(&world) > 0 {
            assert_eq!(
                kept.next_due,
                Some(Duration::ZERO),
                "the rest at the next look"
            );
        }
    }
    let in_order: Vec<u64> = looks.concat();
    assert!(in_order.is_sorted(), "{looks:?}");
    assert!(looks.len() > 1, "{looks:?}");
    world.run("deliver all").unwrap();
    assert_eq!(world.book.sink.len(), 50);
}

#[test]
fn what_is_closed_behind_a_group_under_way_counts_too() {
    let mut world = with_many_keys(Policy {
        max_age: secs(5),
        ..off()
    });
    for key in 0..KEYS {
        world.run(&format!("submit key-{key} 1 10")).unwrap();
    }
    world.run("wait 5s; plan").unwrap();
    for _ in 0..20 {
        world.commit().lock().close_due();
    }
    assert_eq!(
        world.commit().lock().next_due(),
        None,
        "the group comes first"
    );
    world.run("land").unwrap();
    assert!((1..32).contains(&world.commit().lock().seals_waiting()));
    assert!(world.commit().take_keep_due(), "somebody looks again");
}

#[test]
fn max_since_flush_closes_all_that_were_open_though_not_at_one_look() {
    let mut world = with_many_keys(Policy {
        max_since_flush: secs(5),
        ..off()
    });
    world.run("wait 5s").unwrap();
    let mut looks = 0;
    while open(&world) > 0 {
        world.run("keep").unwrap();
        looks += 1;
        assert!(
            looks < 50,
            "the first close is no flush for those that were due with it"
        );
    }
    assert!(looks > 1);
    // One that begins after that has the whole time before it.
    world.run("submit key-0 1 10; lead; keep").unwrap();
    assert_eq!(world.commit().lock().next_due(), secs(5));
}

#[test]
fn a_look_that_is_far_too_late_makes_no_burst_of_beats() {
    let mut world = with_many_keys(Policy {
        interval: rate(10),
        ..off()
    });
    world.run("wait 100s").unwrap();
    let mut looks = 0;
    while open(&world) > 0 {
        world.run("keep").unwrap();
        looks += 1;
    }
    assert!(looks >= KEYS / 32, "{looks} looks");
    // Of the ten beats of each key the first closed its batch.
    assert_eq!(
        world.commit().lock().counters().beats_skipped,
        9 * KEYS as u64
    );
    assert_eq!(world.commit().lock().ready().count(), KEYS);
    fill(&mut world);
    check_spread(&watch(&mut world, Duration::from_nanos(9_999_999_999)));
}

#[test]
fn a_full_disk_makes_nobody_spin() {
    let mut world = with_many_keys(Policy {
        max_age: secs(5),
        ..off()
    });
    world.run("wait 5s").unwrap();
    world.run("full 0").unwrap();
    let mut waits = Vec::new();
    for _ in 0..5 {
        let kept = world.commit().keep().unwrap();
        waits.push(kept.next_due.unwrap());
    }
    assert!(
        waits.iter().all(|wait| *wait >= Duration::from_millis(100)),
        "{waits:?}"
    );
    world.run("heal").unwrap();
    while open(&world) > 0 {
        world.run("keep").unwrap();
    }
    world.run("deliver all").unwrap();
    assert_eq!(world.book.sink.len(), KEYS);
}

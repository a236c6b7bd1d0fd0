//! The index on real directories, damaged in every way between any two operations. It may be away; it must never
//! be wrong, and what is made anew is what was kept in step.

#![expect(
    clippy::disallowed_methods,
    reason = "the index is on the real disk, and so is what harms it"
)]

mod world;

use std::fs;
use std::time::Duration;

use batchd_frame::BatchId;

use self::world::*;
use super::store::faults::{self, Fault};
use super::*;
use crate::spool::layout::ReadyName;

#[test]
fn it_is_kept_in_step_through_rotations() {
    let mut world = World::new(1);
    for _ in 0..30 {
        world.steps(10);
        world.check();
        world.check_answers();
    }
    let numbers = world.queues.iter().map(|queue| queue.ledger.number());
    assert!(numbers.min() > Some(3), "the ledgers were rotated");
}

#[test]
fn a_clean_stop_leaves_it_for_the_next_start() {
    let mut world = World::new(2);
    for _ in 0..8 {
        world.steps(25);
        assert!(world.restart_soundly(), "as it was left");
        world.check();
        world.check_answers();
    }
}

#[test]
fn one_that_was_not_closed_is_not_believed() {
    let mut world = World::new(3);
    world.steps(50);
    assert!(!world.kill());
    world.check();
    // Nor one that was opened once, and not closed again.
    assert!(world.restart_soundly());
    assert!(!world.kill());
    world.check();
}

#[test]
fn whatever_lies_in_its_place_at_a_start_it_is_right() {
    for number in 0..HARMS {
        let mut world = World::new(4);
        world.steps(60);
        let is_root_and_sees_all = number == HARMS - 1;
        let opened = world.restart(|index| harm(number, index));
        assert!(!opened || is_root_and_sees_all, "harm {number}");
        world.check();
        world.steps(20);
        world.check();
        assert!(world.restart_soundly(), "harm {number}: sound again");
    }
}

#[test]
fn every_file_cut_anywhere_and_every_kind_of_noise_is_found() {
    let mut world = World::new(5);
    world.steps(40);
    assert!(world.restart_soundly());
    let mut times_harmed = 0;
    let names = files(&world.layout().index()).len() + 1;
    for file in 0..names {
        for tenth in 0..10 {
            for is_cut in [true, false] {
                let mut len = None;
                let opened = world.restart(|index| {
                    let Some(path) = files(index).get(file).cloned() else {
                        return;
                    };
                    let mut bytes = fs::read(&path).expect("readable");
                    len = Some(bytes.len());
                    let at = bytes.len() * tenth / 10;
                    if is_cut {
                        bytes.truncate(at);
                    } else {
                        let end = bytes.len().min(at + 64);
                        bytes[at..end].copy_from_slice(&noise(tenth as u64, end - at));
                    }
                    fs::write(&path, bytes).expect("writable");
                });
                let is_harmed = len.is_some_and(|len| len > 0);
                assert!(
                    !opened || !is_harmed,
                    "file {file}, {tenth} tenths of {len:?}"
                );
                times_harmed += u32::from(is_harmed);
                world.check();
            }
        }
    }
    assert!(times_harmed >= 40, "{times_harmed}");
    assert!(world.restart_soundly());
}

#[test]
fn whatever_happens_to_it_while_it_is_open_it_gives_no_wrong_answer() {
    for number in 0..HARMS {
        for restart in [true, false] {
            let mut world = World::new(6 + number);
            world.steps(200);
            // So that not all of it is in memory.
            assert!(world.restart_soundly());
            world.steps(5);
            harm(number, &world.layout().index());
            world.check_answers();
            world.steps(50);
            world.check_answers();
            if restart {
                world.restart(|_| {});
            } else {
                world.recover();
            }
            world.check_answers();
            world.steps(20);
            world.recover();
            world.check();
        }
    }
}

#[test]
fn a_fault_of_the_store_at_any_call_costs_the_index_and_nothing_else() {
    for fault in [Fault::Panic, Fault::Error] {
        let mut happened = 0;
        for calls in (0..60).step_by(3).chain((60..2000).step_by(149)) {
            let mut world = World::new(7);
            world.steps(30);
            faults::after(calls, fault);
            world.steps(30);
            world.check_answers();
            world.restart(|_| {});
            happened += u32::from(!faults::clear());
            world.recover();
            world.check();
            world.check_answers();
        }
        assert!(happened > 20, "{fault:?}: {happened}");
    }
}

#[test]
fn a_fault_in_a_rebuild_is_made_up_for_later() {
    for calls in (0..40).step_by(3) {
        let mut world = World::new(8);
        world.steps(30);
        world.kill();
        faults::after(calls, Fault::Panic);
        let mut index = world.another(world.root.path());
        assert!(!index.rebuild(&world.sources(), &|| true), "call {calls}");
        assert!(!faults::clear());
        assert!(index.rebuild_due() > Some(Duration::ZERO), "not at once");
        world.index = index;
        world.recover();
        world.check();
    }
}

#[test]
fn what_changed_behind_its_back_is_found_at_the_start() {
    let mut world = World::new(9);
    world.steps(40);
    // Each of these changes what the daemon finds at its start.
    let changes: [&dyn Fn(&mut World); 4] = [
        &|world| {
            let queue = &mut world.queues[0];
            let batch = queue.ready.pop().expect("a batch");
            fs::remove_file(queue.layout.sealed(&batch)).expect("there");
        },
        &|world| {
            let queue = &mut world.queues[1];
            let mut batch = queue.ready[0];
            batch.name.seq += 1000;
            batch.name.id = BatchId::new(7, [1; 10]);
            fs::write(queue.layout.sealed(&batch), "").expect("a file");
            queue.ready.push(batch);
        },
        &|world| {
            let path = world.queues[0].layout.ledger();
            let text = fs::read_to_string(&path).expect("readable");
            fs::write(&path, text.replacen("\"items\":3", "\"items\":4", 1)).expect("writable");
        },
        &|world| fs::remove_file(world.queues[1].layout.ledger_previous()).expect("there"),
    ];
    for (number, change) in changes.iter().enumerate() {
        while !world.queues[1].layout.ledger_previous().exists()
            || fs::read(world.queues[0].layout.ledger()).is_ok_and(|text| text.is_empty())
        {
            world.steps(5);
        }
        let index = world.another(world.root.path());
        std::mem::replace(&mut world.index, index).close(&world.prints());
        change(&mut world);
        assert!(!world.start(), "change {number}");
        world.check();
    }
}

#[test]
fn one_that_cannot_be_made_is_given_up_after_a_while() {
    let mut world = World::new(10);
    let file = world.root.path().join("file");
    fs::write(&file, "").expect("a file");
    let mut index = world.another(&file);
    let mut waits = Vec::new();
    while let Some(wait) = index.rebuild_due() {
        waits.push(wait.as_secs());
        world.clock.advance(wait);
        assert!(!index.rebuild(&world.sources(), &|| true));
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(index.find(BatchId::new(1, [9; 10])), Err(IndexError));
    world.steps(3);
    world.check();
}

#[test]
fn one_that_is_too_large_is_given_up_at_once() {
    let mut world = World::new(13);
    world.steps(60);
    let mut index = world.another(world.root.path());
    index.hold_at_most(20);
    assert!(!index.rebuild(&world.sources(), &|| true));
    assert_eq!(index.rebuild_due(), None);
    assert!(!world.layout().index().exists(), "it takes no space");
    // And so is one that grows past it.
    world.rebuild();
    let entries = world.index.dump().len() as u64;
    world.index.hold_at_most(entries + 10);
    world.steps(100);
    assert!(!world.index.is_open());
    assert_eq!(world.index.rebuild_due(), None);
}

#[test]
fn a_rebuild_can_be_broken_off() {
    let mut world = World::new(11);
    for seq in 1000..1300 {
        let name = ReadyName {
            seq,
            items: 1,
            bytes: 1,
            expires_at: 0,
            id: BatchId::new(seq, [3; 10]),
        };
        let path = world.queues[0].layout.ready().join(name.to_string());
        fs::write(path, "").expect("a file");
    }
    let mut index = world.another(world.root.path());
    assert!(!index.rebuild(&world.sources(), &|| false));
    assert_eq!(index.rebuild_due(), Some(Duration::ZERO));
    assert!(index.rebuild(&world.sources(), &|| true));
    world.index = index;
    world.check();
}

#[test]
fn queries_are_answered_as_from_the_ledgers() {
    let mut world = World::new(12);
    world.steps(120);
    let queues: Vec<_> = world
        .queues
        .iter()
        .map(|queue| (queue.name.clone(), queue.layout.clone()))
        .collect();
    let all = Query {
        limit: usize::MAX,
        ..Query::default()
    };
    let all = world.index.history(&all).expect("open").ended;
    assert!(all.is_sorted_by(|a, b| a.cursor() > b.cursor()));
    let middle = all[all.len() / 2].clone();
    for queue in [None, Some(world.queues[1].name.clone())] {
        for batch in [None, Some(middle.end.id)] {
            for since in [0, middle.end.at, u64::MAX] {
                for before in [None, Some(middle.cursor())] {
                    for limit in [0, 1, 5, 1000] {
                        let query = Query {
                            queue: queue.clone(),
                            batch,
                            since,
                            before,
                            limit,
                        };
                        let files = queues.iter().map(|(name, layout)| (name, layout));
                        let truth = ledgers::history(&world.env, files, &query);
                        let page = world.index.history(&query).expect("open");
                        assert_eq!(page, truth.expect("readable"), "{query:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn random_histories_with_kills_and_harm() {
    for seed in 0..8 {
        let mut world = World::new(100 + seed);
        for _ in 0..25 {
            let count = world.draw(30);
            world.steps(count);
            match world.draw(8) {
                0 => drop(world.restart(|_| {})),
                1 => drop(world.kill()),
                2 => {
                    let number = world.draw(usize::try_from(HARMS).expect("small"));
                    harm(number as u64, &world.layout().index());
                    world.recover_now();
                }
                3 => faults::after(world.draw(50) as u64, Fault::Panic),
                4 => world.recover(),
                _ => world.check_answers(),
            }
        }
        faults::clear();
        world.recover_now();
        world.check();
    }
}

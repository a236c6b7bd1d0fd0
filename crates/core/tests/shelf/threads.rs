//! A shelf that many threads use at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{LIFESPAN, SECOND, both, got, items, put};
use batchd_core::frame::BatchId;

#[test]
fn a_thousand_ids_in_a_millisecond_from_8_threads() {
    both(|_, shelf| {
        let made: Mutex<HashMap<BatchId, Vec<String>>> = Mutex::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (shelf, made) = (&shelf, &made);
                scope.spawn(move || {
                    for n in 0..125 {
                        let own = items(&[&format!("{thread}"), &format!("{n}")]);
                        let id = shelf.create(own.clone(), LIFESPAN).unwrap();
                        assert_eq!(got(shelf, id).as_ref(), Some(&own));
                        made.lock().unwrap().insert(id, own);
                    }
                });
            }
        });
        let made = made.into_inner().unwrap();
        assert_eq!(made.len(), 1000);
        assert_eq!(shelf.len(), 1000);
        for (id, own) in made {
            assert_eq!(got(&shelf, id), Some(own));
        }
    });
}

#[test]
fn a_batch_that_is_gone_for_one_is_gone_for_all_whoever_removes_it() {
    both(|clock, shelf| {
        for _ in 0..20 {
            let ids: Vec<_> = (0..8)
                .map(|n| put(&shelf, &[&n.to_string()], LIFESPAN))
                .collect();
            let lasting = put(&shelf, &["lasting"], 1000 * SECOND);
            clock.advance(11 * SECOND);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| ids.iter().for_each(|id| assert_eq!(got(&shelf, *id), None)));
                }
                scope.spawn(|| shelf.clean().unwrap());
            });
            assert_eq!(got(&shelf, lasting), Some(items(&["lasting"])));
        }
        assert_eq!(shelf.clean().unwrap(), 0);
        assert_eq!(shelf.len(), 20);
    });
}

#[test]
fn batches_come_and_go_at_once() {
    both(|clock, shelf| {
        let left = AtomicUsize::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..100 {
                        let own = n.to_string();
                        let id = put(&shelf, &[&own], LIFESPAN);
                        // All of it, or expired, and never a part or another's.
                        if let Some(found) = got(&shelf, id) {
                            assert_eq!(found, [own]);
                        }
                    }
                    left.fetch_sub(1, Ordering::SeqCst);
                });
            }
            scope.spawn(|| {
                while left.load(Ordering::SeqCst) > 0 {
                    clock.advance(4 * SECOND);
                    shelf.clean().unwrap();
                    std::thread::yield_now();
                }
            });
        });
        clock.advance(11 * SECOND);
        shelf.clean().unwrap();
        assert!(shelf.is_empty());
    });
}

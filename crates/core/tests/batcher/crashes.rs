//! The power is cut at every call of a durable server, and every state that this may leave is started again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use batchd_core::batcher::{BatchServer, Codec, MemoryBatcher, Options};
use batchd_core::env::sim::Limits;
use batchd_core::frame::BatchId;
use batchd_core::frame::planted::{Planted, plant_for_thread};

use crate::support::{DIR, Machine};

/// What a target has: each batch by its id. It recognises a repeat, and finds out if that is another.
#[derive(Clone, Default)]
struct Target(Arc<Mutex<BTreeMap<BatchId, Vec<u32>>>>);

impl Target {
    /// A target that has what this one has by now.
    fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().expect("sound").clone())))
    }

    fn items(&self) -> Vec<u32> {
        let batches = self.0.lock().expect("sound");
        batches.values().flatten().copied().collect()
    }
}

fn start(
    machine: &mut Machine,
    target: &Target,
    bug: Option<Planted>,
) -> Option<BatchServer<MemoryBatcher<u32>>> {
    let target = target.clone();
    let server = MemoryBatcher::of(move |batch: &batchd_core::batcher::Closed<Vec<u32>>| {
        assert_eq!(batch.part(), None, "a whole batch");
        let mut batches = target.0.lock().expect("sound");
        let first = batches
            .entry(batch.id())
            .or_insert_with(|| batch.batch().clone());
        assert_eq!(first, batch.batch(), "one id, two contents");
        Ok(())
    });
    let server = server.on_init(move |batcher, config| {
        // On the thread of the server.
        plant_for_thread(bug);
        batchd_core::batcher::Batcher::init(batcher, config)
    });
    let options = Options::new().max_items(3);
    let server = server.options(options).durable(DIR, Codec::json());
    server.env(machine.env()).start().ok()
}

/// Adds seven items, with a stop and a start after the fourth; the power is cut at a call. Then every state that this
/// may leave is started, gets an eighth item, and flushes. Says in how many states something was wrong, of how many.
fn walk(bug: Option<Planted>) -> (usize, usize, Vec<String>) {
    let limits = Limits {
        random_states: 4,
        states_max: 300,
        ..Limits::default()
    };
    let (mut states, mut wrong, mut said) = (0, 0, Vec::new());
    for cut in 0.. {
        let mut machine = Machine::new();
        let target = Target::default();
        machine.disk.power_cut_after(cut);
        let mut acknowledged = Vec::new();
        for items in [1..=4, 5..=7] {
            let Some(server) = start(&mut machine, &target, bug) else {
                break;
            };
            for item in items {
                if server.sync_add_item(item).is_ok() {
                    acknowledged.push(item);
                }
            }
            drop(server.stop());
        }
        for image in machine.disk.crash_states(&limits) {
            states += 1;
            let target = target.copy();
            let mut machine = Machine::with(image.to_disk());
            let server = start(&mut machine, &target, None).expect("starts");
            server.sync_add_item(8).expect("taken");
            server.sync_flush().expect("flushed");
            let found = target.items();
            // In order, each at most once, nothing that was not submitted, and all that was acknowledged.
            let is_well = found.is_sorted_by(|a, b| a < b)
                && found.iter().all(|item| (1..=8).contains(item))
                && acknowledged.iter().all(|item| found.contains(item))
                && found.contains(&8);
            if !is_well {
                wrong += 1;
                said.push(format!(
                    "cut {cut}: {acknowledged:?} acknowledged, {found:?} found"
                ));
            }
        }
        if !machine.disk.is_power_cut() {
            break;
        }
    }
    (states, wrong, said)
}

#[test]
fn what_was_acknowledged_is_flushed_once_whatever_a_power_cut_leaves() {
    let (states, wrong, said) = walk(None);
    assert_eq!(wrong, 0, "{said:#?}");
    assert!(states > 200, "{states}");
}

/// The walk is worth something: it finds a server that acknowledges what is not on the medium.
#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    let (_, wrong, _) = walk(Some(Planted::AckBeforeSync));
    assert!(wrong > 0);
}

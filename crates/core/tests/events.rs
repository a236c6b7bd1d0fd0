//! Who watches a queue is told what is durable, in the order in which it happened; and a queue's print tells what
//! it holds from anything else.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::{Arc, Mutex};

use batchd_core::env::sim::SimDisk;
use batchd_core::frame::QueueName;
use batchd_core::queue::{BatchEvents, QueuePrint};
use batchd_core::spool::ledger::LedgerLine;
use batchd_core::spool::{Place, ReadyBatch};
use support::world::{QUEUE, World, small};

/// Notes what it is told, and that a power cut at that moment would leave it.
struct Witness {
    disk: SimDisk,
    told: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl BatchEvents for Witness {
    fn placed(&self, queue: &QueueName, batch: &ReadyBatch) {
        let dir = match batch.place {
            Place::Ready => "ready",
            Place::Dead => "dead",
            Place::Open => "open",
        };
        let file = match batch.place {
            Place::Open => batch.name.open_name().to_string(),
            _ => batch.name.to_string(),
        };
        let durable = self.disk.durable_image();
        let path = format!("{QUEUE}/{dir}/{file}");
        assert!(durable.read(&path).is_ok(), "{path}");
        let told = format!("{queue} {} {dir}", batch.name.seq);
        self.told.lock().unwrap().push(told);
    }

    fn recorded(&self, queue: &QueueName, line: &LedgerLine, ledger_number: u64) {
        let durable = self.disk.durable_image();
        let ledger = durable.read(format!("{QUEUE}/ledger")).unwrap();
        let ledger = String::from_utf8(ledger.to_vec()).unwrap();
        assert!(ledger.contains(&line.id.to_string()), "{ledger}");
        assert_eq!(ledger_number, 1);
        let told = format!("{queue} {} {}", line.seq, line.outcome.name());
        self.told.lock().unwrap().push(told);
    }
}

fn watched() -> (World, Arc<Witness>) {
    let mut world = World::new(small());
    let witness = Arc::new(Witness {
        disk: world.disk.clone(),
        told: Mutex::default(),
    });
    world.events = Some(Arc::clone(&witness) as Arc<dyn BatchEvents>);
    world.start().unwrap();
    (world, witness)
}

#[track_caller]
fn check(script: &str, expected: &[&str]) {
    let (mut world, witness) = watched();
    world.run(script).unwrap();
    assert_eq!(*witness.told.lock().unwrap(), expected, "{script}");
}

#[test]
fn what_becomes_of_a_batch_is_told_in_order_and_when_it_is_durable() {
    check("submit a 3 20; lead; keep", &[]);
    let whole = "submit a 4 20; lead; keep";
    check(whole, &["q 1 ready"]);
    check(&format!("{whole}; attempt"), &["q 1 ready"]);
    check(
        &format!("{whole}; deliver"),
        &["q 1 ready", "q 1 delivered"],
    );
    check(
        &format!("{whole}; bury"),
        &["q 1 ready", "q 1 dead", "q 1 expired"],
    );
    check("submit a 3 20; lead; flush; stop", &["q 1 ready"]);
}

#[test]
fn a_seal_that_finds_no_room_to_be_renamed_is_told_where_it_lies() {
    check(
        "submit a 4 20; lead; fail rename 1; keep; deliver",
        &["q 1 open", "q 1 delivered"],
    );
}

#[test]
fn what_could_not_be_recorded_is_not_told() {
    let (mut world, witness) = watched();
    world
        .run("submit a 4 20; lead; keep; readonly; deliver")
        .unwrap();
    assert_eq!(*witness.told.lock().unwrap(), ["q 1 ready"]);
    world.run("heal; deliver").unwrap();
    assert_eq!(
        *witness.told.lock().unwrap(),
        ["q 1 ready", "q 1 delivered"]
    );
}

#[test]
fn a_print_is_the_same_after_a_restart_and_differs_after_every_change() {
    let mut world = World::started(small());
    let mut prints: Vec<QueuePrint> = Vec::new();
    for step in [
        "",
        "submit a 4 20; lead; keep",
        "submit b 4 20; lead; keep",
        "deliver",
        "bury",
    ] {
        world.run(step).unwrap();
        let print = world.commit().print();
        assert!(!prints.contains(&print), "{step}");
        for restart in ["stop; reopen", "crash"] {
            world.run(restart).unwrap();
            assert_eq!(world.commit().print(), print, "{step}; {restart}");
        }
        prints.push(print);
    }
    assert_eq!(prints[0].queue().as_str(), "q");
}

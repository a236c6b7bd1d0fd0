//! Every crash of small scenarios: the power is cut at each mutating call, every state that this may leave is
//! recovered, drained and compared with a plain model. Then the same checks are shown to find planted bugs.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::book::Kind;
use support::crash::{Scenario, thorough};
use support::world::small;

use std::time::Duration;

use batchd_core::frame::OnExpire;
use batchd_core::frame::planted::Planted;
use batchd_core::policy::{ExpiryRules, Policy};

fn check(scenario: &Scenario) {
    if let Err(violation) = scenario.walk() {
        panic!("{violation}");
    }
}

#[test]
fn one_batch_from_begin_to_end() {
    check(&Scenario {
        name: "one batch",
        policy: small(),
        script: "submit a 2 300; lead; submit a 2 300; lead; keep; deliver all",
        limits: thorough(),
        planted: None,
        again_every: 1,
    });
}

#[test]
fn parts_over_two_keys_and_files_made_ahead() {
    check(&Scenario {
        name: "parts, two keys, files made ahead",
        policy: small(),
        script: "submit a 3 200; submit b 1 100; lead; keep; submit a 6 300; lead; keep; deliver; \
                 submit b 2 900; submit a 1 10 end; lead; keep; deliver all; submit a 1 600; lead",
        limits: thorough(),
        planted: None,
        again_every: 60,
    });
}

#[test]
fn stops_and_restarts() {
    check(&Scenario {
        name: "stops and restarts",
        policy: small(),
        script: "submit a 1 700; lead; stop; reopen; submit a 1 300; lead; reopen; submit a 5 100; \
                 lead; flush; keep; attempt; reopen; attempt; deliver all",
        limits: thorough(),
        planted: None,
        again_every: 20,
    });
}

#[test]
fn weaker_acknowledgements() {
    check(&Scenario {
        name: "weaker acknowledgements",
        policy: small(),
        script: "submit a 1 600 written; lead; submit a 2 200 none; lead; repeat 0; lead; wait 500; \
                 submit a 3 200 written; lead; repeat 2; lead; keep; wait 500; lead; deliver; \
                 submit a 1 700 written; lead; stop",
        limits: thorough(),
        planted: None,
        again_every: 15,
    });
}

#[test]
fn groups_of_several_submissions() {
    check(&Scenario {
        name: "groups of several submissions",
        policy: small(),
        script: "submit a 1 700; submit a 1 40; submit a 1 900; lead; submit a 2 500; submit a 1 60; \
                 lead; keep; deliver all",
        limits: thorough(),
        planted: None,
        again_every: 5,
    });
}

#[test]
fn batches_that_expire() {
    check(&Scenario {
        name: "batches that expire",
        policy: small(),
        script: "submit a 5 200; lead; keep; bury; close; keep; deliver; submit a 4 200; lead; keep; \
                 attempt; bury; submit a 1 10; lead; reopen; submit a 4 100; lead; keep; deliver",
        limits: thorough(),
        again_every: 5,
        planted: None,
    });
}

/// Batches live a second, and the cleaner is quick.
fn mortal(on_expire: OnExpire) -> Policy {
    Policy {
        lifespan: Some(Duration::from_secs(1)),
        on_expire,
        expiry: ExpiryRules {
            cleanup_interval: Some(Duration::from_millis(100)),
            is_parked: false,
        },
        ..small()
    }
}

#[test]
fn batches_that_the_cleaner_sets_aside() {
    check(&Scenario {
        name: "set aside by the cleaner",
        policy: mortal(OnExpire::Dead),
        script: "submit a 4 100; lead; submit a 4 200; lead; keep; attempt; wait 1001; submit a 4 10; lead; \
                 keep; clean; deliver all; submit a 1 10; lead; wait 1001; keep; touch; submit a 1 10; lead",
        limits: thorough(),
        again_every: 5,
        planted: None,
    });
}

#[test]
fn batches_that_are_dropped() {
    check(&Scenario {
        name: "dropped",
        policy: mortal(OnExpire::Drop),
        script: "submit a 4 100; lead; submit a 4 200; lead; keep; wait 1001; submit a 4 10; lead; keep; clean; \
                 deliver; submit a 5 10; lead; wait 1001; keep; deliver; submit a 1 10; lead; wait 1001; keep; \
                 touch",
        limits: thorough(),
        again_every: 5,
        planted: None,
    });
}

#[test]
fn batches_that_are_created() {
    check(&Scenario {
        name: "created",
        policy: small(),
        script: "create a 3 200; submit a 1 300; lead; keep; create a 2 900; submit a 1 100; lead; create b 1 10; \
                 submit b 1 20; lead; deliver; submit a 3 10; lead; keep; deliver all",
        limits: thorough(),
        again_every: 10,
        planted: None,
    });
}

#[test]
fn a_full_disk_and_batches_that_are_created_and_expire() {
    check(&Scenario {
        name: "created on a full disk",
        policy: mortal(OnExpire::Dead),
        script: "submit a 1 100; lead; full 700; create a 3 200; create a 1 20; heal; create a 1 20; wait 1001; \
                 full 20; clean; heal; wait 100; clean; submit a 1 10; lead; keep; deliver all",
        limits: thorough(),
        again_every: 10,
        planted: None,
    });
}

#[test]
fn a_full_disk() {
    check(&Scenario {
        name: "a full disk",
        policy: small(),
        script: "submit a 1 300; lead; full 500; submit a 1 700; submit b 1 100; lead; heal; \
                 submit b 1 600; lead; repeat 1; repeat 2; lead; keep; full 300; submit a 3 200; \
                 lead; heal; repeat 4; lead; deliver all",
        limits: thorough(),
        again_every: 15,
        planted: None,
    });
}

#[test]
fn a_batch_that_is_delivered_from_where_it_was_filled() {
    check(&Scenario {
        name: "no room for a rename",
        policy: small(),
        script: "submit a 4 100 written; lead; fail rename 1; keep; repeat 0; lead; submit a 1 10; lead; \
                 deliver; submit a 1 10; lead",
        limits: thorough(),
        again_every: 10,
        planted: None,
    });
}

#[test]
fn a_full_disk_that_takes_files_made_ahead_back() {
    check(&Scenario {
        name: "files made ahead taken back",
        policy: small(),
        script: "submit c 1 10; submit d 1 10; lead; keep; submit a 1 10; submit b 1 100; submit b 1 900; \
                 fail write 2 800; lead; repeat 3; lead; repeat 4; lead",
        limits: thorough(),
        again_every: 0,
        planted: None,
    });
}

#[test]
fn a_full_disk_that_takes_a_new_file_back() {
    check(&Scenario {
        name: "a new file taken back",
        policy: small(),
        script: "submit c 1 10; lead; keep; submit a 1 10; submit b 1 200; submit b 1 1500; full 1100; \
                 lead; heal; repeat 2; lead; repeat 3; lead",
        limits: thorough(),
        again_every: 15,
        planted: None,
    });
}

/// The bug is found, and as one of these.
#[track_caller]
fn check_found(bug: Planted, script: &'static str, kinds: &[Kind]) {
    let scenario = Scenario {
        name: "planted",
        policy: small(),
        script,
        limits: thorough(),
        again_every: 0,
        planted: None,
    };
    check(&scenario);
    match (Scenario {
        planted: Some(bug),
        ..scenario
    })
    .walk()
    {
        Ok(stats) => panic!("{bug:?} was not found: {stats:?}"),
        Err(violation) => {
            assert!(kinds.contains(&violation.kind), "{bug:?}: {violation}");
        }
    }
}

#[test]
fn an_acknowledgement_before_the_append_is_found() {
    check_found(
        Planted::AckBeforeAppend,
        "submit a 1 100; lead",
        &[Kind::Lost],
    );
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    check_found(
        Planted::AckBeforeSync,
        "submit a 1 100; lead",
        &[Kind::Lost],
    );
}

#[test]
fn a_directory_that_is_not_synced_is_found() {
    check_found(
        Planted::NoDirectorySync,
        "submit a 1 100; lead",
        &[Kind::Lost],
    );
}

#[test]
fn a_seal_that_is_not_synced_is_found() {
    let script = "submit a 1 100; lead; flush; keep; attempt; submit a 1 100; lead; deliver all";
    check_found(
        Planted::SealWithoutSync,
        script,
        &[Kind::TakenForDamaged, Kind::TwoContents],
    );
}

#[test]
fn a_file_that_goes_before_its_record_is_found() {
    let script = "submit a 1 100; lead; flush; keep; deliver all";
    check_found(Planted::UnlinkBeforeRecord, script, &[Kind::Repeat]);
}

#[test]
fn frames_that_fit_any_file_are_found() {
    // The second batch of this key is begun on a file made ahead; the other key's on blocks that the first
    // batch has just left.
    let script = "submit a 1 200; lead; submit a 1 200 end; lead; keep; deliver; \
                  submit a 1 50; submit b 4 400; lead";
    check_found(Planted::SaltLeftOut, script, &[Kind::Duplicate]);
}

#[test]
fn a_group_over_two_batches_is_found() {
    let script = "submit a 4 100; submit a 2 100; lead";
    check_found(Planted::GroupSpansBatches, script, &[Kind::Lost]);
}

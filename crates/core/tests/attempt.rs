//! Attempts to deliver: what is handed over, how often, and what is on record of it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use batchd_core::env::sim::{EIO, ENOSPC, EROFS, Fault, OpKind};
use batchd_core::frame::SealReason;
use batchd_core::policy::{ExpiryRules, Policy};
use batchd_core::queue::{AttemptState, Attempted, Parcel};
use batchd_core::spool::items::Items;
use insta::assert_snapshot;
use support::world::{World, small};

/// A world whose batches are handed to somebody who says what he was handed.
struct Line {
    world: World,
    state: AttemptState,
    /// He takes nothing.
    refuses: bool,
    told: String,
}

impl Line {
    /// After this script.
    #[track_caller]
    fn after(policy: Policy, script: &str) -> Self {
        let mut world = World::started(policy);
        world.run(script).unwrap();
        Self {
            world,
            state: AttemptState::default(),
            refuses: false,
            told: String::new(),
        }
    }

    /// A batch of five items, of which the third cannot be read.
    fn damaged() -> Self {
        let policy = Policy {
            max_items: Some(5),
            ..small()
        };
        let script = "submit a 2 20; lead; submit a 1 20; lead; submit a 2 20; lead; keep";
        let line = Self::after(policy, script);
        let commit = line.world.commit();
        let path = commit.layout().sealed(&line.world.next_ready().unwrap());
        let bytes = line.world.disk.live_image().read(&path).unwrap();
        let third = bytes.windows(4).position(|four| four == b"1.0:").unwrap();
        let file = commit.env().fs.open(&path).unwrap();
        file.write_all_at(b"x", third as u64).unwrap();
        line
    }

    /// So many attempts, while such calls find no room from the n-th on.
    fn attempt_without_room(&mut self, attempts: usize, (kind, nth): (OpKind, u64), what: &str) {
        let full = Fault::from_then_on(ENOSPC).only_in(what);
        self.world.disk.fail_nth(kind, nth, full);
        self.attempt(attempts);
        self.world.disk.heal();
    }

    /// So many attempts, each with the batch that is next.
    fn attempt(&mut self, attempts: usize) {
        for _ in 0..attempts {
            let Some(claim) = self.world.commit().claim_next() else {
                self.told.push_str("nothing is ready\n");
                return;
            };
            let (told, refuses) = (&mut self.told, self.refuses);
            let mut deliver = |parcel: &Parcel<'_>, items: &mut Items| {
                told.push_str(&describe(parcel, items)?);
                if refuses {
                    return Err("no".to_owned());
                }
                Ok(())
            };
            let commit = self.world.commit();
            let attempted = commit.attempt(&claim, &mut self.state, &mut deliver);
            self.told.push_str(&match attempted {
                Attempted::Done { .. } => "done\n".to_owned(),
                Attempted::Failed(why) => {
                    let id = claim.name.id.to_string();
                    format!("failed: {}\n", why.replace(&id, "ID"))
                }
                Attempted::Broken(broken) => format!("broken: {broken}\n"),
            });
        }
    }

    /// All that was said, and what is on record.
    fn end(mut self) -> String {
        self.attempt(1);
        assert_eq!(
            format!("{:?}", self.state),
            format!("{:?}", AttemptState::default()),
            "nothing is remembered for ever"
        );
        self.world.out.clear();
        self.world.run("ledger").unwrap();
        self.told + &self.world.out
    }
}

fn describe(parcel: &Parcel<'_>, items: &mut Items) -> Result<String, String> {
    let (mut count, mut bytes) = (0, 0);
    while let Some(item) = items.next_item().map_err(|bad| bad.to_string())? {
        count += 1;
        bytes += item.len() as u64;
    }
    assert_eq!((count, bytes), (parcel.items, parcel.bytes));
    assert_eq!(parcel.digest.is_some(), parcel.part.is_none());
    let which = parcel.part.map_or("all".to_owned(), |part| {
        format!("{} from {}", part.count, part.first)
    });
    let (queue, seq, key) = (parcel.queue, parcel.seq, parcel.key);
    let reason = parcel.reason.map_or("?", SealReason::name);
    Ok(format!("{which} of {queue} {seq}, key {key}, {reason}\n"))
}

/// One batch.
const ONE: &str = "submit a 4 20; lead; keep";
/// The first write.
const WRITE: (OpKind, u64) = (OpKind::Write, 1);

#[test]
fn a_batch_is_handed_over_until_it_is_taken() {
    let mut line = Line::after(small(), "submit a 1 20; submit a 3 30; lead; keep");
    line.refuses = true;
    line.attempt(2);
    line.refuses = false;
    line.attempt(1);
    assert_snapshot!(line.end(), @r"
    all of q 1, key a, max_items
    failed: no
    all of q 1, key a, max_items
    failed: no
    all of q 1, key a, max_items
    done
    nothing is ready
    ledger 1: delivered
    ");
}

#[test]
fn what_was_taken_and_not_recorded_is_recorded_and_not_handed_over_again() {
    let mut line = Line::after(small(), ONE);
    line.attempt_without_room(3, WRITE, "/ledger");
    line.attempt(1);
    assert_snapshot!(line.end(), @r"
    all of q 1, key a, max_items
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    done
    nothing is ready
    ledger 1: delivered
    ");
}

#[test]
fn it_is_the_same_for_whatever_reason_it_cannot_be_recorded() {
    for errno in [EIO, EROFS] {
        let mut line = Line::after(small(), ONE);
        let fault = Fault::once(errno).only_in("/ledger");
        line.world.disk.fail_nth(OpKind::Write, 1, fault);
        line.attempt(2);
        let told = line.end();
        assert_eq!(told.matches("all of q 1").count(), 1, "{told}");
        assert!(
            told.contains("failed: write /spool/queues/q/ledger"),
            "{told}"
        );
        assert!(told.ends_with("ledger 1: delivered\n"), "{told}");
    }
}

#[test]
fn a_lifespan_that_ends_before_the_record_is_made_up_for_takes_nothing_back() {
    let policy = Policy {
        lifespan: Some(Duration::from_secs(10)),
        expiry: ExpiryRules {
            cleanup_interval: Some(Duration::from_secs(1)),
            is_parked: false,
        },
        ..small()
    };
    let mut line = Line::after(policy, &format!("wait 1000; {ONE}; {ONE}"));
    line.attempt_without_room(1, WRITE, "/ledger");
    line.world.run("wait 10001").unwrap();
    line.attempt(2);
    assert_snapshot!(line.end(), @r"
    all of q 1, key a, max_items
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    done
    done
    nothing is ready
    ledger 1: delivered
    ledger 2: expired
    ");
}

#[test]
fn a_batch_that_comes_in_front_makes_nobody_forget_what_was_taken() {
    let mut line = Line::after(small(), "submit a 3 20; lead; submit b 4 20; lead; keep");
    line.attempt_without_room(1, WRITE, "/ledger");
    line.world.run("submit a 1 20; lead; keep").unwrap();
    line.attempt(2);
    assert_snapshot!(line.end(), @r"
    all of q 2, key b, max_items
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    all of q 1, key a, max_items
    done
    done
    nothing is ready
    ledger 1: delivered
    ledger 2: delivered
    ");
}

#[test]
fn what_others_have_ended_is_forgotten() {
    let mut line = Line::after(small(), &format!("{ONE}; {ONE}"));
    line.attempt_without_room(1, WRITE, "/ledger");
    line.world.run("bury").unwrap();
    line.attempt(1);
    assert_snapshot!(line.end(), @r"
    all of q 1, key a, max_items
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    all of q 2, key a, max_items
    done
    nothing is ready
    ledger 1: expired
    ledger 2: delivered
    ");
}

#[test]
fn what_can_be_read_of_a_damaged_batch_goes_out_in_parts() {
    let mut line = Line::damaged();
    line.attempt(1);
    assert_snapshot!(line.end(), @r"
    2 from 0 of q 1, key a, max_items
    2 from 3 of q 1, key a, max_items
    done
    nothing is ready
    ledger 1: delivered_damaged
    ");
}

#[test]
fn a_part_that_was_taken_and_not_recorded_is_not_handed_over_again() {
    let mut line = Line::damaged();
    line.attempt_without_room(1, WRITE, ".progress");
    line.attempt_without_room(1, (OpKind::Rename, 1), ".progress");
    // The record of the first part is made up for, and that of the second finds no room.
    line.attempt_without_room(1, (OpKind::Write, 2), ".progress");
    line.attempt_without_room(2, WRITE, "/ledger");
    line.attempt(1);
    assert_snapshot!(line.end(), @r"
    2 from 0 of q 1, key a, max_items
    failed: write /spool/queues/q/ready/ID.progress.tmp: No space left on device (os error 28)
    failed: rename /spool/queues/q/ready/ID.progress: No space left on device (os error 28)
    2 from 3 of q 1, key a, max_items
    failed: write /spool/queues/q/ready/ID.progress.tmp: No space left on device (os error 28)
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    failed: write /spool/queues/q/ledger: No space left on device (os error 28)
    done
    nothing is ready
    ledger 1: delivered_damaged
    ");
}

#[test]
fn a_part_on_record_is_not_handed_over_again_by_who_knows_nothing_of_it() {
    let mut line = Line::damaged();
    line.attempt_without_room(1, (OpKind::Write, 2), ".progress");
    line.state = AttemptState::default();
    line.attempt(1);
    assert_snapshot!(line.end(), @r"
    2 from 0 of q 1, key a, max_items
    2 from 3 of q 1, key a, max_items
    failed: write /spool/queues/q/ready/ID.progress.tmp: No space left on device (os error 28)
    2 from 3 of q 1, key a, max_items
    done
    nothing is ready
    ledger 1: delivered_damaged
    ");
}

#[test]
fn a_batch_whose_file_is_gone_is_given_up() {
    let mut line = Line::after(small(), &format!("{ONE}; {ONE}"));
    let commit = line.world.commit();
    let path = commit.layout().sealed(&line.world.next_ready().unwrap());
    commit.env().fs.unlink(&path).unwrap();
    line.attempt(2);
    assert_snapshot!(line.end(), @r"
    done
    all of q 2, key a, max_items
    done
    nothing is ready
    ledger 1: removed
    ledger 2: delivered
    ");
}

#[test]
fn a_read_that_fails_for_once_damages_no_batch() {
    for nth in 1.. {
        let mut line = Line::after(small(), ONE);
        let fault = Fault::once(EIO).only_in("/ready/");
        line.world.disk.fail_nth(OpKind::Read, nth, fault);
        line.attempt(1);
        if line.world.disk.faults_struck() == 0 {
            assert!(nth > 4);
            return;
        }
        if line.told.contains("failed") {
            line.attempt(1);
        }
        let parcels = line.told.lines().filter(|said| said.contains(" of q"));
        assert_eq!(
            parcels.collect::<Vec<_>>(),
            ["all of q 1, key a, max_items"]
        );
        assert!(line.told.ends_with("done\n"), "{nth}: {}", line.told);
    }
}

#[test]
fn a_batch_that_can_never_be_read_does_not_hold_up_the_queue() {
    let mut line = Line::after(small(), ONE);
    let fault = Fault::from_then_on(EIO).only_in("/ready/");
    line.world.disk.fail_nth(OpKind::Read, 1, fault);
    // However often it is tried at once, that is one attempt.
    line.attempt(2);
    for _ in 0..2 {
        line.world.clock.advance(Duration::from_secs(10));
        line.attempt(2);
    }
    line.world.clock.advance(Duration::from_secs(10));
    line.attempt(1);
    assert_snapshot!(line.end(), @r"
    failed: the batch cannot be read now
    failed: the batch cannot be read now
    failed: the batch cannot be read now
    failed: the batch cannot be read now
    failed: the batch cannot be read now
    failed: the batch cannot be read now
    done
    nothing is ready
    ledger 1: delivered_damaged
    ");
}

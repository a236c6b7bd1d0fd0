//! The check, on recordings that are right and on such that are not.

use super::check::check;
use super::places::Places;
use super::report::{Report, Rule};
use super::script::{OUT, SPOOL, record};

const AN_ACKNOWLEDGED_SUBMISSION: &str = "
    accept
    make open/1
    read 1 a 3
    write open/1 a 0..3
    sync open/1
    sync open/
    answer 1 synced
";

const ITS_DELIVERY: &str = "
    seal open/1
    sync open/1
    rename open/1 ready/1
    sync ready/
    make out/tmp
    text out/tmp a0a1a2
    sync out/tmp
    rename out/tmp out/1
    sync out/
    make ledger.tmp
    sync ledger.tmp
    rename ledger.tmp ledger
    sync q/
    line ledger.tmp 1
    sync ledger.tmp
    unlink ready/1
";

fn run(script: &str) -> Report {
    let places = Places {
        spool: SPOOL.into(),
        out: OUT.into(),
    };
    check(record(script).as_bytes(), places).unwrap()
}

/// The rules a script breaks.
#[track_caller]
fn check_broken(script: &str, expected: &[Rule]) {
    let report = run(script);
    let broken: Vec<_> = report.broken().into_keys().collect();
    assert_eq!(broken, expected, "{report}");
}

/// A script without one of its lines.
fn without(script: &str, line: &str) -> String {
    let kept: Vec<_> = script
        .lines()
        .filter(|other| other.trim() != line)
        .collect();
    assert!(kept.len() < script.lines().count(), "no {line}");
    kept.join("\n")
}

/// A script with one of its lines moved behind another.
fn moved(script: &str, line: &str, behind: &str) -> String {
    let mut moved = String::new();
    for other in without(script, line).lines() {
        moved += &format!("{other}\n");
        if other.trim() == behind {
            moved += &format!("{line}\n");
        }
    }
    moved
}

fn whole() -> String {
    format!("{AN_ACKNOWLEDGED_SUBMISSION}{ITS_DELIVERY}")
}

#[test]
fn what_is_done_in_order_is_right() {
    let report = run(&whole());
    assert_eq!(report.violations, []);
    assert_eq!(
        report.to_string(),
        "31 calls; 1 submissions in 1 frames; 1 answered as synced, 0 as written; \
         9 syncs (0 failed), 1 of items: 1.0 submissions a sync\n\
         batches: 1 sealed, 1 delivered, 1 recorded, 1 removed\n"
    );
}

#[test]
fn an_answer_comes_after_the_write_and_the_sync_and_that_of_the_name() {
    let good = AN_ACKNOWLEDGED_SUBMISSION;
    check_broken(&without(good, "sync open/1"), &[Rule::AckSynced]);
    check_broken(&without(good, "sync open/"), &[Rule::AckNamed]);
    check_broken(&without(good, "write open/1 a 0..3"), &[Rule::AckWritten]);
    check_broken(
        &moved(good, "sync open/1", "answer 1 synced"),
        &[Rule::AckSynced],
    );
    check_broken(
        &moved(good, "write open/1 a 0..3", "sync open/1"),
        &[Rule::AckSynced],
    );
}

#[test]
fn all_items_are_needed_wherever_they_are() {
    let good = "
        accept
        make open/1
        make open/2
        sync open/
        read 1 a 3
        write open/1 a 0..2
        sync open/1
        write open/2 a 2..3
        sync open/2
        answer 1 synced
    ";
    check_broken(good, &[]);
    check_broken(&without(good, "sync open/1"), &[Rule::AckSynced]);
    check_broken(&without(good, "write open/2 a 2..3"), &[Rule::AckWritten]);
    check_broken(&good.replace("2..3", "1..3"), &[]);
    check_broken(
        &good.replace("open/1 a 0..2", "open/1 b 0..3"),
        &[Rule::AckWritten],
    );
}

#[test]
fn a_written_acknowledgement_asks_for_no_sync() {
    let good = without(AN_ACKNOWLEDGED_SUBMISSION, "sync open/1");
    let good = good.replace("answer 1 synced", "answer 1 written");
    check_broken(&good, &[]);
    check_broken(&without(&good, "write open/1 a 0..3"), &[Rule::AckWritten]);
}

#[test]
fn a_sync_counts_from_its_entry_to_its_return() {
    let script = |steps: &str| {
        format!("accept\nmake open/1\nsync open/\nread 1 a 3\n{steps}\nanswer 1 synced\n")
    };
    check_broken(
        &script("write open/1 a 0..3\n2: sync open/1 ...\n2: returns"),
        &[],
    );
    // It has not returned; it failed; it may have begun before the write was done.
    check_broken(
        &script("write open/1 a 0..3\n2: sync open/1 ..."),
        &[Rule::AckSynced],
    );
    check_broken(
        &script("write open/1 a 0..3\n2: sync open/1 ...\n2: fails"),
        &[Rule::AckSynced],
    );
    check_broken(
        &script("2: sync open/1 ...\nwrite open/1 a 0..3\n2: returns"),
        &[Rule::AckSynced, Rule::GroupAfterSync],
    );
    check_broken(
        &script("write open/1 a 0..3\n2: sync open/1 ...\n2: fails\nsync open/1"),
        &[Rule::SyncFailedOnce],
    );
}

#[test]
fn a_directory_is_synced_after_the_name_is_made() {
    check_broken(
        "accept\n2: sync open/ ...\nmake open/1\n2: returns\nread 1 a 1\nwrite open/1 a 0..1\n\
         sync open/1\nanswer 1 synced",
        &[Rule::AckNamed],
    );
    // The directories above count, too.
    let good = "mkdir q/\nmkdir open/\nsync q/\nsync queues/\n";
    let good = format!("{good}{AN_ACKNOWLEDGED_SUBMISSION}");
    check_broken(&good, &[]);
    check_broken(&without(&good, "sync queues/"), &[Rule::AckNamed]);
    check_broken(&without(&good, "sync q/"), &[Rule::AckNamed]);
}

#[test]
fn files_made_ahead_are_written_later() {
    let good = "
        make open/1
        zeros open/1 4096
        sync open/1
        sync open/
        accept
        read 1 a 1
        write open/1 a 0..1
        sync open/1
        answer 1 synced
        read 2 b 1
        claim open/1 600
        write open/1 b 0..1
        sync open/1
        answer 2 synced
    ";
    check_broken(good, &[]);
    check_broken(&without(good, "sync open/"), &[Rule::AckNamed]);
    // Of the first group nothing is synced yet.
    let early = moved(good, "claim open/1 600", "accept");
    check_broken(&early, &[Rule::SyncedTo]);
}

#[test]
fn an_answer_is_to_what_was_submitted() {
    let good = AN_ACKNOWLEDGED_SUBMISSION;
    check_broken(
        &good.replace("answer 1 synced", "answer 2 synced"),
        &[Rule::AckKnown],
    );
    // Under the same id, since ids here are made of letters whatever their order.
    let other = good.replace("read 1 a 3", "read 1 ab 3");
    check_broken(
        &other.replace("open/1 a 0..3", "open/1 ba 0..3"),
        &[Rule::AckSame],
    );
}

#[test]
fn what_is_acknowledged_stays() {
    let good = AN_ACKNOWLEDGED_SUBMISSION;
    check_broken(&format!("{good}cut open/1 512"), &[Rule::AckedKept]);
    check_broken(&format!("{good}cut open/1 4096"), &[]);
    check_broken(&format!("{good}unlink open/1"), &[Rule::RemovedRecorded]);
    let repeat = "\nread 2 a 3\nanswer 2 synced\n";
    check_broken(&format!("{}{repeat}", whole()), &[]);
    check_broken(
        &format!("{good}unlink open/1{repeat}"),
        &[Rule::AckNamed, Rule::RemovedRecorded],
    );
}

#[test]
fn a_batch_is_sealed_and_in_its_place_before_it_is_delivered() {
    let good = whole();
    let seal_unsynced = good.replacen("seal open/1\n    sync open/1", "seal open/1", 1);
    check_broken(&seal_unsynced, &[Rule::SealSynced, Rule::AttemptSealed]);
    check_broken(
        &without(&good, "seal open/1"),
        &[Rule::SealSynced, Rule::AttemptSealed],
    );
    check_broken(&without(&good, "sync ready/"), &[Rule::AttemptReady]);
    check_broken(
        &moved(&good, "sync ready/", "make out/tmp"),
        &[Rule::AttemptReady],
    );
}

#[test]
fn a_delivery_is_durable_before_it_is_on_record_and_that_before_the_batch_goes() {
    let good = whole();
    check_broken(&without(&good, "sync out/tmp"), &[Rule::DeliverySynced]);
    check_broken(&without(&good, "sync out/"), &[Rule::RecordDelivered]);
    check_broken(
        &without(&good, "rename out/tmp out/1"),
        &[Rule::RecordDelivered],
    );
    check_broken(
        &without(&good, "line ledger.tmp 1"),
        &[Rule::RemovedRecorded],
    );
    check_broken(&without(&good, "sync q/"), &[Rule::RemovedRecorded]);
    let unsynced = good.replace(
        "line ledger.tmp 1\n    sync ledger.tmp",
        "line ledger.tmp 1",
    );
    check_broken(&unsynced, &[Rule::RemovedRecorded]);
    check_broken(
        &moved(&good, "unlink ready/1", "sync out/"),
        &[Rule::RemovedRecorded],
    );
}

#[test]
fn a_copy_by_recovery_is_synced_before_it_takes_its_place() {
    let good = "
        make open/tmp
        claim open/tmp 592
        write open/tmp a 0..3
        sync open/tmp
        rename open/tmp open/1
        sync open/
        accept
        read 1 b 1
        write open/1 b 0..1
        sync open/tmp
        answer 1 synced
    ";
    check_broken(&good.replace("write open/1", "write open/tmp"), &[]);
    let bad = good
        .replacen("        sync open/tmp\n", "", 1)
        .replace("write open/1", "write open/tmp");
    check_broken(&bad, &[Rule::SyncedTo]);
}

#[test]
fn what_a_former_daemon_left_is_recorded_before_it_goes() {
    let start = ITS_DELIVERY.find("make out/tmp").unwrap();
    let good = format!("open ready/1\n{}", &ITS_DELIVERY[start..]);
    check_broken(&good, &[]);
    check_broken(&without(&good, "sync out/"), &[Rule::RecordDelivered]);
    check_broken(
        &without(&good, "line ledger.tmp 1"),
        &[Rule::RemovedRecorded],
    );
    check_broken(
        &without(&good, "open ready/1"),
        &[Rule::AttemptSealed, Rule::AttemptReady],
    );
}

#[test]
fn what_is_not_followed_is_reported() {
    check_broken("raw open/1 77", &[Rule::Accounted]);
    check_broken("make open/1\nlink open/1 open/2", &[Rule::Accounted]);
}

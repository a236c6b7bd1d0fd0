//! Reading a spool that nobody writes: nothing is changed by it, it shows what the next start would have, every
//! damage is found, and what a crash leaves is none.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use batchd_core::env::sim::{Image, Limits, SimClock, SimDisk};
use batchd_core::env::{Env, Fs};
use batchd_core::frame::checksum::crc32c;
use batchd_core::frame::{FileHeader, QueueName};
use batchd_core::spool::reader::FormatState;
use batchd_core::spool::survey::{Stage, Survey, Surveyed};
use batchd_core::spool::verify::{Finding, Severity, Totals, verify};
use batchd_core::spool::{Layout, LockedSpool, ReadSpool, SpoolError};
use support::world::{QUEUE, SPOOL, World, small};

fn env(disk: &SimDisk) -> Env {
    disk.env(&SimClock::default(), 7)
}

fn open(disk: &SimDisk) -> Result<ReadSpool, SpoolError> {
    ReadSpool::open(env(disk), Layout::new(SPOOL))
}

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

fn verified(image: &Image) -> (Totals, Vec<Finding>) {
    let disk = image.to_disk();
    let mut findings = Vec::new();
    let totals = verify(&open(&disk).unwrap(), None, &mut |finding| {
        findings.push(finding);
        true
    })
    .unwrap();
    assert_eq!(disk.op_count(), 0, "{}", disk.op_log());
    (totals, findings)
}

/// A finding in one line.
fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Damage => "damage",
        Severity::Note => "note",
    };
    let path = finding.path.replace("queues/q/", "");
    let offset = finding
        .offset
        .map_or(String::new(), |at| format!(" at {at}"));
    let missing = finding.items_missing;
    format!(
        "{severity} {path}{offset}: {} ({missing} items)",
        finding.what
    )
}

/// The findings, without the ids in names.
fn report(image: &Image) -> String {
    let (_, findings) = verified(image);
    let lines = findings.iter().map(|finding| {
        let line = line(finding);
        let id = finding.batch.map(|id| id.to_string()).unwrap_or_default();
        line.replace(&format!("-{id}.batch"), "-ID.batch")
    });
    lines.map(|line| line + "\n").collect()
}

/// Two batches ready, one of them of several frames; two open ones; one dead; one on record as delivered.
fn spool(script: &str) -> Image {
    let mut world = World::new(small());
    let all = "submit a 3 20; lead; submit a 1 20; lead; keep; deliver; submit d 1 30; submit d 3 10; lead; keep; \
               bury; submit a 1 40; lead; submit a 2 30; submit a 3 25; lead; submit a 2 200 end; submit b 1 500; \
               lead; submit a 1 300; lead; submit a 1 700; submit b 1 10; lead; submit b 1 400; lead; keep";
    world.start().and_then(|()| world.run(all)).unwrap();
    world.run(script).unwrap();
    world.commit = None;
    world.disk.sync_all();
    world.disk.live_image()
}

fn paths(image: &Image, dir: &str) -> Vec<String> {
    let prefix = format!("{QUEUE}/{dir}/");
    let mut paths = image.files();
    // Files made ahead hold nothing.
    paths.retain(|path| {
        path.starts_with(&prefix) && image.read(path).unwrap().iter().any(|b| *b != 0)
    });
    paths
}

fn batches(image: &Image, page_names: Option<usize>) -> Vec<Surveyed> {
    let disk = image.to_disk();
    let mut survey = Survey::new(&open(&disk).unwrap(), &queue());
    if let Some(page_names) = page_names {
        survey = survey.with_page_names(page_names);
    }
    let mut found = Vec::new();
    survey
        .each_batch(|batch| {
            found.push(batch);
            true
        })
        .unwrap();
    for batch in &found {
        assert_eq!(
            survey.find(batch.name.id).unwrap().as_ref(),
            Some(batch),
            "{image}"
        );
    }
    assert_eq!(disk.op_count(), 0, "{}", disk.op_log());
    found
}

/// What is listed is what the next start has.
fn check_survey(image: &Image) {
    let mut listed: Vec<_> = batches(image, None)
        .iter()
        .map(|batch| {
            let place = match batch.stage {
                Stage::Open => "open",
                Stage::Closed | Stage::Ready => "ready",
                Stage::Dead => "dead",
            };
            let name = batch.name;
            (place, name.seq, name.id, name.items)
        })
        .collect();
    let mut world = World::after(image, small(), support::book::Book::default(), 100);
    world.start().unwrap();
    let mut started: Vec<_> = world
        .contents()
        .unwrap()
        .into_iter()
        .map(|(place, seq, id, items)| (place, seq, id, items.len() as u64))
        .collect();
    listed.sort();
    started.sort();
    assert_eq!(listed, started, "{image:?}");
}

#[test]
fn reading_changes_nothing() {
    let good = spool("");
    let mut images = vec![good.clone(), spool("stop")];
    for change in [
        "FORMAT",
        "LOCK",
        "quarantine",
        "queues/q/ledger",
        "queues/q/ready",
    ] {
        let mut image = good.clone();
        image.remove(format!("spool/{change}")).unwrap();
        images.push(image);
    }
    let mut image = good;
    image.write("spool/FORMAT", b"nonsense".to_vec()).unwrap();
    images.push(image);
    for image in images {
        let disk = image.to_disk();
        let spool = open(&disk).unwrap();
        let survey = Survey::new(&spool, &queue());
        survey.each_batch(|_| true).unwrap();
        verify(&spool, None, &mut |_| true).unwrap();
        drop((survey, spool));
        assert_eq!(disk.live_image(), image);
        assert_eq!(disk.op_log(), "");
    }
}

#[test]
fn a_whole_spool_is_clean_and_counted() {
    for script in ["", "stop"] {
        let (totals, findings) = verified(&spool(script));
        assert_eq!(findings, [], "{script}");
        assert_eq!((totals.batches, totals.items), (5, 17), "{script}");
        check_survey(&spool(script));
    }
}

#[test]
fn pages_of_any_size_show_the_same() {
    let image = spool("flush; keep; submit c 9 10; lead; keep");
    let all = batches(&image, None);
    assert!(all.len() > 6, "{all:?}");
    for page_names in 1..5 {
        assert_eq!(batches(&image, Some(page_names)), all, "{page_names}");
    }
}

#[test]
fn readers_share_and_the_daemon_is_alone() {
    let image = spool("stop");
    let disk = image.to_disk();
    let one = open(&disk).unwrap();
    let other = open(&disk).unwrap();
    let daemon = || LockedSpool::open(env(&disk), Layout::new(SPOOL), "batchd, pid 5");
    insta::assert_snapshot!(daemon().unwrap_err(), @"spool /spool is in use by another process (a program that only reads it, such as batchctl with --spool; readers do not note who they are)");
    drop(one);
    assert!(daemon().is_err());
    drop(other);
    let daemon = daemon().unwrap();
    insta::assert_snapshot!(open(&disk).unwrap_err(), @"spool /spool is in use by another process (batchd, pid 5)");
    drop(daemon);
    assert!(open(&disk).is_ok());
}

#[test]
fn what_is_no_spool_is_refused() {
    let disk = SimDisk::new();
    insta::assert_snapshot!(open(&disk).unwrap_err(), @"/spool is not a spool: there is no such directory");
    disk.mkdir_durable("/spool/other").unwrap();
    insta::assert_snapshot!(open(&disk).unwrap_err(), @"/spool is not a spool: it has neither FORMAT nor queues/");
    let disk = SimDisk::new();
    disk.create_new("/spool".as_ref()).unwrap();
    insta::assert_snapshot!(open(&disk).unwrap_err(), @"/spool is not a spool: it is no directory");

    let mut image = spool("stop");
    image
        .write("spool/FORMAT", b"batchd-spool 2\n".to_vec())
        .unwrap();
    insta::assert_snapshot!(open(&image.to_disk()).unwrap_err(), @"spool /spool has format 'batchd-spool 2', this program knows 'batchd-spool 1'");
    image.remove("spool/FORMAT").unwrap();
    assert_eq!(
        open(&image.to_disk()).unwrap().format(),
        FormatState::Missing
    );
}

#[test]
fn every_flipped_byte_of_a_sealed_batch_is_found() {
    let image = spool("stop");
    for path in [paths(&image, "ready"), paths(&image, "dead")].concat() {
        let good = image.read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            let mut image = image.clone();
            image.write(&path, bytes).unwrap();
            let (totals, findings) = verified(&image);
            assert!(
                totals.damages > 0 && findings.iter().all(|f| path.ends_with(&f.path)),
                "{path} at {at}: {findings:?}"
            );
            let offset = findings[0].offset.unwrap_or(0);
            assert!(
                offset <= at as u64,
                "{path} at {at}: said to be at {offset}"
            );
        }
    }
}

#[test]
fn every_cut_of_a_sealed_batch_is_found_and_its_cost_is_exact() {
    let image = spool("stop");
    let whole = verified(&image).0.items;
    for path in [paths(&image, "ready"), paths(&image, "dead")].concat() {
        let good = image.read(&path).unwrap();
        for len in 0..good.len() {
            let mut image = image.clone();
            image.write(&path, good[..len].to_vec()).unwrap();
            let (totals, findings) = verified(&image);
            // The zeros that fill the last frame up are missed by nobody.
            let is_missed = good[len..].iter().any(|byte| *byte != 0);
            assert!(totals.damages > 0 || !is_missed, "{path} cut to {len}");
            assert_eq!(
                totals.items + totals.items_missing,
                whole,
                "{path} cut to {len}: {findings:?}"
            );
        }
    }
}

#[test]
fn zeroed_and_swapped_blocks_are_found() {
    let image = spool("stop");
    let sealed = [paths(&image, "ready"), paths(&image, "dead")].concat();
    for path in &sealed {
        let good = image.read(path).unwrap();
        for start in (0..good.len()).step_by(512) {
            let end = (start + 512).min(good.len());
            let mut others: Vec<Vec<u8>> = vec![vec![0; end - start]];
            for other in sealed.iter().filter(|other| *other != path) {
                let block = image.read(other).unwrap();
                others.extend(block.get(start..end).map(<[u8]>::to_vec));
            }
            for other in others {
                let mut bytes = good.clone();
                bytes[start..end].copy_from_slice(&other);
                let mut image = image.clone();
                image.write(path, bytes).unwrap();
                let (totals, _) = verified(&image);
                assert!(totals.damages > 0, "{path} from {start}");
            }
        }
    }
}

#[test]
fn damage_of_open_files_is_told_from_torn_tails() {
    for (script, marked) in [("stop", true), ("", false)] {
        let image = spool(script);
        for path in paths(&image, "open") {
            let good = image.read(&path).unwrap();
            let end = good.iter().rposition(|b| *b != 0).unwrap();
            for at in (0..=end).step_by(3) {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << (at % 8);
                let mut image = image.clone();
                image.write(&path, bytes).unwrap();
                let (totals, findings) = verified(&image);
                assert!(
                    totals.damages + totals.notes > 0,
                    "{path} at {at}: {findings:?}"
                );
                // A mark says that all before it was synced.
                let before_mark = at < end.saturating_sub(56);
                assert!(
                    totals.damages > 0 || !marked || !before_mark,
                    "{path} at {at}: {findings:?}"
                );
                check_survey(&image);
            }
        }
    }
}

#[test]
fn a_torn_tail_is_a_note() {
    let mut image = spool("stop; reopen; submit e 2 50; lead; submit e 1 60; lead");
    let path = paths(&image, "open").pop().unwrap();
    let mut bytes = image.read(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    bytes[end - 20] ^= 1;
    image.write(&path, bytes).unwrap();
    insta::assert_snapshot!(report(&image), @"note open/000000000011-ID.batch at 688: a torn tail: nothing of it is known to have been synced; the next start cuts it off (0 items)");
    check_survey(&image);
}

#[test]
fn what_does_not_belong_is_named() {
    let mut image = spool("stop");
    let ready = paths(&image, "ready");
    let open = paths(&image, "open");
    let copy = image.read(&ready[0]).unwrap();
    let id = FileHeader::decode(&copy).unwrap().id;
    for (path, bytes) in [
        ("open/foo", vec![1]),
        ("open/x.tmp", vec![1]),
        ("ready/foo.batch", vec![1]),
        ("ready/x.tmp", vec![1]),
        (
            "ready/019806cd-b000-7707-8707-070707070707.progress",
            vec![1],
        ),
        ("dead/0", Vec::new()),
    ] {
        image.write(format!("{QUEUE}/{path}"), bytes).unwrap();
    }
    let progress = format!("{QUEUE}/ready/{id}.progress");
    image.write(progress, Vec::new()).unwrap();
    image
        .write("spool/queues/stray", b"nobody's".to_vec())
        .unwrap();
    image.write("spool/quarantine/x", b"bad".to_vec()).unwrap();
    image
        .write("spool/quarantine/x.reason", b"why".to_vec())
        .unwrap();
    image.mkdir(format!("{QUEUE}/dead/dir")).unwrap();
    image
        .write("spool/FORMAT", b"batchd-spool".to_vec())
        .unwrap();
    assert!(!open.is_empty());
    insta::assert_snapshot!(report(&image), @r"
    damage FORMAT: is damaged; the next start writes it anew (0 items)
    note queues/stray: not the directory of a queue; batchd leaves it alone (0 items)
    damage open/foo: not the file of an open batch (0 items)
    note open/x.tmp: was being written; the next start removes it (0 items)
    damage ready/foo.batch: not the file of a sealed batch (0 items)
    note ready/x.tmp: was being written; the next start removes it (0 items)
    note ready/019806cd-b000-7707-8707-070707070707.progress: of a batch that is gone; the next start removes it (0 items)
    damage dead/0: not the file of a sealed batch (0 items)
    damage dead/dir: not the file of a sealed batch (0 items)
    note quarantine: 1 file lies in quarantine (0 items)
    ");
}

#[test]
fn directories_in_the_place_of_files_and_files_in_that_of_directories_are_named() {
    let image = spool("deliver; stop");
    let mut places = vec!["FORMAT".to_owned()];
    for name in ["ledger", "ledger.1", "open", "ready", "dead"] {
        places.push(format!("queues/q/{name}"));
    }
    let batches = [paths(&image, "open"), paths(&image, "ready")].concat();
    let batches = batches
        .iter()
        .filter_map(|path| path.strip_prefix("spool/"));
    places.extend(batches.map(str::to_owned));
    for place in places {
        let mut image = image.clone();
        let path = format!("spool/{place}");
        let was_dir = image.dirs().contains(&path);
        if image.exists(&path) {
            image.remove(&path).unwrap();
        }
        if was_dir {
            image.write(&path, b"in the way".to_vec()).unwrap();
        } else {
            image.mkdir(&path).unwrap();
        }
        let (totals, findings) = verified(&image);
        assert!(totals.damages > 0, "{place}");
        assert!(findings.iter().any(|f| f.path == place), "{findings:?}");
    }
}

#[test]
fn names_are_held_against_headers() {
    let image = spool("stop");
    let ready = paths(&image, "ready");
    let name = ready[0].rsplit('/').next().unwrap().to_owned();
    let fields: Vec<&str> = name.splitn(5, '-').collect();
    let renamed = |fields: [&str; 5]| {
        let mut image = image.clone();
        let to = format!("{QUEUE}/ready/{}", fields.join("-"));
        image.rename(&ready[0], to).unwrap();
        report(&image)
    };
    let [seq, items, bytes, expiry, id] = fields[..] else {
        panic!("{name}")
    };
    insta::assert_snapshot!(renamed(["000000000077", items, bytes, expiry, id]), @"damage ready/000000000077-4-125-0-ID.batch at 0: seq 3, where its name says 77 (0 items)");
    insta::assert_snapshot!(renamed([seq, "9", bytes, expiry, id]), @"damage ready/000000000003-9-125-0-ID.batch: its seal says 4 items of 125 bytes, where its name says 9 of 125 (0 items)");
    insta::assert_snapshot!(renamed([seq, items, "1", expiry, id]), @"damage ready/000000000003-4-1-0-ID.batch: its seal says 4 items of 125 bytes, where its name says 4 of 1 (0 items)");

    // Under the name of another.
    let mut swapped = image.clone();
    let (one, two) = (
        image.read(&ready[0]).unwrap(),
        image.read(&ready[1]).unwrap(),
    );
    swapped.write(&ready[0], two).unwrap();
    swapped.write(&ready[1], one).unwrap();
    insta::assert_snapshot!(report(&swapped), @r"
    damage ready/000000000003-4-125-0-ID.batch at 0: the file header is damaged, or that of another batch (0 items)
    damage ready/000000000003-4-125-0-ID.batch at 512: bad bytes: items 0 to 3 are missing (4 items)
    damage ready/000000000004-4-450-0-ID.batch at 0: the file header is damaged, or that of another batch (0 items)
    damage ready/000000000004-4-450-0-ID.batch at 512: bad bytes: items 0 to 3 are missing (4 items)
    ");

    // In the directory of another queue.
    let mut moved = image.clone();
    for dir in ["", "/open", "/ready", "/dead"] {
        moved.mkdir(format!("spool/queues/other{dir}")).unwrap();
    }
    moved
        .rename(&ready[0], format!("spool/queues/other/ready/{name}"))
        .unwrap();
    insta::assert_snapshot!(report(&moved), @"damage queues/other/ready/000000000003-4-125-0-ID.batch at 0: belongs to queue q (0 items)");
}

#[test]
fn an_id_that_exists_twice_is_named() {
    let image = spool("stop");
    let ready = paths(&image, "ready");
    let dead = paths(&image, "dead");
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let file = |path: &str| image.read(path).unwrap();

    // As a crash in the middle of a rename leaves it, and otherwise.
    let mut both = image.clone();
    both.write(format!("{QUEUE}/ready/{}", name(&dead[0])), file(&dead[0]))
        .unwrap();
    insta::assert_snapshot!(report(&both), @"note ready/000000000002-4-60-0-ID.batch: lies in dead/ too; the next start removes it here (0 items)");
    check_survey(&both);
    let mut other = file(&dead[0]);
    other.push(1);
    both.write(format!("{QUEUE}/ready/{}", name(&dead[0])), other)
        .unwrap();
    insta::assert_snapshot!(report(&both), @"damage ready/000000000002-4-60-0-ID.batch: the same batch exists twice; the next start sets this one aside (0 items)");

    let header = FileHeader::decode(&file(&ready[0])).unwrap();
    let mut both = image.clone();
    let open_name = format!("{QUEUE}/open/{:012}-{}.batch", header.seq, header.id);
    both.write(&open_name, file(&ready[0])).unwrap();
    insta::assert_snapshot!(report(&both), @"note open/000000000003-ID.batch: lies sealed elsewhere too; the next start removes it here (0 items)");
    check_survey(&both);
    let cut = file(&ready[0])[..700].to_vec();
    both.write(&open_name, cut).unwrap();
    insta::assert_snapshot!(report(&both), @"damage open/000000000003-ID.batch: the same batch exists twice, with other bytes (0 items)");

    let mut twice = image.clone();
    let later = name(&ready[0]).replacen("00000000000", "00000000009", 1);
    twice
        .write(format!("{QUEUE}/ready/{later}"), file(&ready[0]))
        .unwrap();
    insta::assert_snapshot!(report(&twice), @"damage ready/000000000093-4-125-0-ID.batch: the same batch exists twice; the next start sets this one aside (0 items)");

    // Numbers, not letters, say which comes first.
    let mut twice = image.clone();
    let later = name(&ready[0]).replacen("-4-", "-10-", 1);
    twice
        .write(format!("{QUEUE}/ready/{later}"), file(&ready[0]))
        .unwrap();
    insta::assert_snapshot!(report(&twice), @"damage ready/000000000003-10-125-0-ID.batch: the same batch exists twice; the next start sets this one aside (0 items)");
    let mut world = World::after(&twice, small(), support::book::Book::default(), 2);
    world.start().unwrap();
    assert!(world.files_in("spool/quarantine").contains(&later));
}

#[test]
fn a_ledger_is_checked_line_by_line() {
    let image = spool("deliver all; stop");
    let path = format!("{QUEUE}/ledger");
    let good = image.read(&path).unwrap();
    let lines = good.split_inclusive(|b| *b == b'\n').count();
    assert!(lines > 2, "{}", good.escape_ascii());
    let with = |bytes: &[u8], previous: bool| {
        let mut image = image.clone();
        let path = format!("{path}{}", if previous { ".1" } else { "" });
        image.write(path, bytes.to_vec()).unwrap();
        report(&image)
    };
    assert_eq!(with(&good, true), "");
    let cut = &good[..good.len() - 9];
    insta::assert_snapshot!(with(cut, false), @"note ledger at 589: a torn last line, on which nothing depends (0 items)");
    insta::assert_snapshot!(with(cut, true), @"damage ledger.1 at 589: ends within a line (0 items)");
    let mut flipped = good.clone();
    flipped[1] ^= 1;
    insta::assert_snapshot!(with(&flipped, false), @"damage ledger at 0: does not parse: what became of a batch is not on record any more (0 items)");
    let mut last = good.clone();
    let at = last.len() - 3;
    last[at] = b'!';
    insta::assert_snapshot!(with(&last, false), @"note ledger at 848: a torn last line, on which nothing depends (0 items)");
}

#[test]
fn a_batch_on_record_is_not_listed() {
    let before = spool("stop");
    let after = spool("deliver all; stop");
    let mut image = before.clone();
    let ledger = format!("{QUEUE}/ledger");
    image.write(&ledger, after.read(&ledger).unwrap()).unwrap();
    insta::assert_snapshot!(report(&image), @r"
    note ready/000000000003-4-125-0-ID.batch: is on record as finished; the next start removes it (0 items)
    note ready/000000000004-4-450-0-ID.batch: is on record as finished; the next start removes it (0 items)
    ");
    check_survey(&image);
}

#[test]
fn what_a_newer_program_wrote_is_a_note() {
    let image = spool("stop");
    for path in [
        paths(&image, "open").remove(0),
        paths(&image, "ready").remove(0),
    ] {
        let mut bytes = image.read(&path).unwrap();
        bytes[8] = 2;
        let crc = crc32c(&bytes[..508]);
        bytes[508..512].copy_from_slice(&crc.to_le_bytes());
        let mut image = image.clone();
        image.write(&path, bytes).unwrap();
        let (totals, findings) = verified(&image);
        assert_eq!((totals.damages, totals.notes), (0, 1), "{findings:?}");
        assert!(line(&findings[0]).contains("written by a newer program"));
    }
}

#[test]
fn one_that_wants_no_more_is_told_no_more() {
    let mut image = spool("stop");
    for path in paths(&image, "ready") {
        image.write(path, vec![7; 2000]).unwrap();
    }
    let mut told = 0;
    let disk = image.to_disk();
    verify(&open(&disk).unwrap(), None, &mut |_| {
        told += 1;
        false
    })
    .unwrap();
    assert_eq!(told, 1);
}

/// Whatever a crash leaves has no damage, and the listing is that of the next start.
fn check_crashes(script: &str) {
    let mut seen = HashSet::new();
    let few = Limits {
        random_states: 4,
        cuts_per_write: 3,
        states_max: 60,
        ..Limits::default()
    };
    for cut in 0.. {
        let mut world = World::new(small());
        world.disk.power_cut_after(cut);
        let ran = world.start().and_then(|()| world.run(script));
        world.commit = None;
        for image in world.disk.crash_states(&few) {
            if !seen.insert(image.fingerprint()) {
                continue;
            }
            match open(&image.to_disk()) {
                // The first start did not come far.
                Err(SpoolError::NotASpool { .. }) => continue,
                result => drop(result.unwrap()),
            }
            let (totals, findings) = verified(&image);
            assert_eq!(totals.damages, 0, "{findings:#?}\n{image:?}");
            check_survey(&image);
        }
        if ran.is_ok() {
            break;
        }
    }
    assert!(seen.len() > 100, "{}", seen.len());
}

#[test]
fn what_a_crash_leaves_is_no_damage() {
    check_crashes(
        "submit a 2 300; lead; submit b 1 700; submit a 2 300; lead; keep; submit a 6 100; lead; keep; bury; \
         deliver; submit b 2 900; lead",
    );
}

#[test]
fn what_a_crash_leaves_of_weaker_acknowledgements_is_no_damage() {
    check_crashes(
        "submit a 1 600 written; lead; submit a 2 200 none; lead; wait 500; submit a 3 200 written; lead; keep; \
         wait 500; lead; deliver; submit a 1 700 written; lead; stop; reopen; submit a 1 20; lead",
    );
}

#[test]
fn what_a_crash_left_of_a_verdict_is_no_damage_once_there_is_another() {
    let mut policy = small();
    policy.lifespan = Some(Duration::from_secs(10));
    let mut world = World::started(policy.clone());
    world.run("wait 60000; create a 1 20").unwrap();
    let batch = world.next_ready().unwrap();
    // Long enough for several sectors.
    world.commit().note_failure(&batch, 1, &"no ".repeat(700));
    world.disk.sync_all();
    world.disk.power_cut_after(1);
    world.run("wait 10001").unwrap();
    world.commit().clean().unwrap_err();
    world.commit = None;
    let mut torn = 0;
    for left in world.disk.crash_states(&Limits::default()) {
        torn += usize::from(report(&left).contains("a verdict that was not finished"));
        let mut world = World::after(&left, policy.clone(), world.book.clone(), 7);
        world.start().unwrap();
        world.run("wait 200000; clean; wait 60000; clean").unwrap();
        assert_eq!(world.commit().lock().dead().count(), 1);
        world.commit = None;
        assert_eq!(report(&world.disk.live_image()), "", "{left:?}");
    }
    assert!(torn > 3);
}

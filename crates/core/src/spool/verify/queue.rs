//! Checks all that lies in a queue's directory.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use batchd_frame::QueueName;

use super::batch::{Checked, check_sealed};
use super::{FINDINGS_PER_FILE_MAX, Report, Severity, finding, ledger, open};
use crate::error::{At, FsError};
use crate::spool::layout::{Place, ReadyBatch, ReadyName, is_temporary, parse_progress};
use crate::spool::ledger::Outcome;
use crate::spool::reader::ReadSpool;
use crate::spool::recovery::standing::same_bytes;
use crate::spool::survey::Survey;

/// Checks a queue: ledgers, `open/`, `ready/`, `dead/`.
pub(super) fn verify(
    spool: &ReadSpool,
    queue: &QueueName,
    report: &mut Report<'_>,
) -> Result<(), FsError> {
    let survey = Survey::new(spool, queue);
    let layout = survey.layout();
    ledger::verify(spool.env(), &layout.ledger_previous(), false, report)?;
    ledger::verify(spool.env(), &layout.ledger(), true, report)?;
    for place in [Place::Open, Place::Ready, Place::Dead] {
        directory(&survey, place, report)?;
    }
    open::verify(&survey, report)?;
    for place in [Place::Ready, Place::Dead] {
        strangers(&survey, place, report)?;
        sealed(&survey, place, report)?;
    }
    Ok(())
}

/// Something else in the place of a directory hides all that was in it.
fn directory(survey: &Survey, place: Place, report: &mut Report<'_>) -> Result<(), FsError> {
    let dir = survey.dir(place);
    match survey
        .env()
        .fs
        .visit_dir(&dir, &mut |_| ())
        .at("list", &dir)
    {
        Err(error) if error.is_not_found() => {
            report.note(&dir, "is not there; the next start makes it".to_owned());
            Ok(())
        }
        Err(error) if error.source.kind() == std::io::ErrorKind::NotADirectory => {
            report.damage(&dir, "in the place of a directory".to_owned());
            Ok(())
        }
        result => result,
    }
}

/// Whatever lies among sealed batches and is none.
fn strangers(survey: &Survey, place: Place, report: &mut Report<'_>) -> Result<(), FsError> {
    let dir = survey.dir(place);
    let (mut progress, mut names, mut untold) = (HashSet::new(), BTreeSet::new(), 0u64);
    survey.each_name(place, |entry| {
        if entry.is_dir || entry.name.parse::<ReadyName>().is_err() {
            match parse_progress(&entry.name).filter(|_| place == Place::Ready && !entry.is_dir) {
                Some(id) => {
                    progress.insert(id);
                }
                None => {
                    names.insert(entry);
                    if names.len() > FINDINGS_PER_FILE_MAX {
                        names.pop_last();
                        untold += 1;
                    }
                }
            }
        }
    })?;
    survey.each_sealed(place, |name| {
        progress.remove(&name.id);
    })?;
    for entry in names {
        let path = dir.join(&entry.name);
        if is_temporary(&entry.name) && !entry.is_dir {
            let what = "was being written; the next start removes it";
            report.note(&path, what.to_owned());
        } else {
            report.damage(&path, "not the file of a sealed batch".to_owned());
        }
    }
    if untold > 0 {
        report.damage(
            &dir,
            format!("{untold} more names are not of sealed batches"),
        );
    }
    let mut orphans: Vec<_> = progress.into_iter().collect();
    orphans.sort();
    for id in orphans {
        let what = "of a batch that is gone; the next start removes it";
        report.note(&survey.layout().progress(id), what.to_owned());
    }
    Ok(())
}

/// The sealed batches in that place, page by page.
fn sealed(survey: &Survey, place: Place, report: &mut Report<'_>) -> Result<(), FsError> {
    let mut after = None;
    loop {
        let page = survey.sealed_page(place, after)?;
        for name in &page.names {
            if !report.is_wanted {
                return Ok(());
            }
            let batch = ReadyBatch { name: *name, place };
            if let Some(outcome) = page.finished.get(&name.id) {
                on_record(survey, &batch, *outcome, report);
            } else if let Some(other) = page.twice.get(name) {
                exists_twice(survey, &batch, other, report);
            } else {
                check(survey, &batch, report);
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn check(survey: &Survey, batch: &ReadyBatch, report: &mut Report<'_>) {
    let checked = check_sealed(
        survey.env(),
        report.root,
        survey.layout(),
        survey.queue(),
        batch,
    );
    let Some(Checked {
        items,
        bytes,
        findings,
    }) = checked
    else {
        // Nobody moves files while the spool is locked for reading.
        let path = survey.layout().sealed(batch);
        report.damage(&path, "is gone since it was listed".to_owned());
        return;
    };
    report.totals.batches += 1;
    report.totals.items += items;
    report.totals.bytes += bytes;
    findings.into_iter().for_each(|found| report.add(found));
}

fn on_record(survey: &Survey, batch: &ReadyBatch, outcome: Outcome, report: &mut Report<'_>) {
    let what = match outcome {
        Outcome::DeliveredDamaged => {
            "what could be read of it is on record as delivered; the next start sets it aside"
        }
        _ => "is on record as finished; the next start removes it",
    };
    about(survey, batch, Severity::Note, what, report);
}

fn exists_twice(survey: &Survey, batch: &ReadyBatch, other: &ReadyBatch, report: &mut Report<'_>) {
    let paths = [batch, other].map(|batch| survey.layout().sealed(batch));
    let [one, two]: &[PathBuf; 2] = &paths;
    // The rename to `dead/` may be durable there and not yet in `ready/`.
    if other.place != batch.place && same_bytes(survey.env(), one, two) {
        let what = "lies in dead/ too; the next start removes it here";
        about(survey, batch, Severity::Note, what, report);
    } else {
        let what = "the same batch exists twice; the next start sets this one aside";
        about(survey, batch, Severity::Damage, what, report);
    }
}

fn about(
    survey: &Survey,
    batch: &ReadyBatch,
    severity: Severity,
    what: &str,
    report: &mut Report<'_>,
) {
    let path = survey.layout().sealed(batch);
    let mut found = finding(severity, report.root, &path, what.to_owned());
    found.batch = Some(batch.name.id);
    report.add(found);
}

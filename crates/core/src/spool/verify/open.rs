//! Checks the files in `open/`: what the next start would find wrong, and what it would only tidy up.

use std::path::Path;

use batchd_frame::{BatchId, BodyLimits, BodyView, FrameKind};

use super::batch::{Checked, Findings, Gaps, bad_padding, cannot_open};
use super::{Report, Severity};
use crate::error::FsError;
use crate::spool::recovery::facts::{Header, Name, Tail};
use crate::spool::recovery::standing::{Twin, twin};
use crate::spool::recovery::table::{Frames, Original};
use crate::spool::sealed::GoodRange;
use crate::spool::survey::{OpenFile, OpenFiles, Survey};

/// Checks all of them.
pub(super) fn verify(survey: &Survey, report: &mut Report<'_>) -> Result<(), FsError> {
    let open = survey.open_files()?;
    for error in &open.unreadable {
        report.damage(&error.path, cannot_open(error));
    }
    for file in &open.files {
        if report.is_wanted {
            verify_file(survey, &open, file, report)?;
        }
    }
    Ok(())
}

fn verify_file(
    survey: &Survey,
    open: &OpenFiles,
    file: &OpenFile,
    report: &mut Report<'_>,
) -> Result<(), FsError> {
    let facts = &file.examined.facts;
    let id = match (facts.name, file.examined.identity) {
        (Name::Temporary, _) => {
            let what = "was being written; the next start removes it";
            report.note(&file.path, what.to_owned());
            return Ok(());
        }
        (Name::Other, _) | (Name::Batch, None) => {
            report.damage(&file.path, "not the file of an open batch".to_owned());
            return Ok(());
        }
        (Name::Batch, Some(identity)) => identity.id,
    };
    let root = report.root.to_path_buf();
    let mut findings = Findings::new(&root, &file.path, id);
    if facts.elsewhere {
        elsewhere(survey, open, file, id, &mut findings);
    } else if file.decision.original == Original::Park {
        let what = "written by a newer program; it is left as it is";
        findings.add(Severity::Note, None, 0, what);
    } else if facts.header == Header::Foreign {
        findings.damage(Some(0), 0, file.examined.describe_damage());
    } else {
        let items = bytes(survey, file, &mut findings)?;
        if file.decision.frames != Frames::None {
            report.totals.batches += 1;
            report.totals.items += items;
            report.totals.bytes += file.examined.len;
        }
    }
    if !file.examined.has_its_name() && facts.header == Header::Good && facts.items {
        findings.damage(Some(0), 0, "its name is not the one its header asks for");
    }
    findings
        .finish()
        .into_iter()
        .for_each(|finding| report.add(finding));
    Ok(())
}

/// The same batch exists sealed, or is on record: a crash may leave that too.
fn elsewhere(
    survey: &Survey,
    open: &OpenFiles,
    file: &OpenFile,
    id: BatchId,
    findings: &mut Findings<'_>,
) {
    let (sealed, is_finished) = (open.sealed.get(&id), open.finished.contains_key(&id));
    let twin = twin(
        survey.env(),
        &file.examined,
        &file.path,
        sealed,
        is_finished,
    );
    let what = match twin {
        Twin::SameBytes => "lies sealed elsewhere too; the next start removes it here",
        Twin::Finished => "is on record as finished; the next start removes it",
        Twin::Differs => {
            findings.damage(None, 0, "the same batch exists twice, with other bytes");
            return;
        }
    };
    findings.add(Severity::Note, None, 0, what);
}

/// Reads what the next start keeps of a file in `open/`, and says what it is less than it was. `root` is the spool's
/// directory, for the paths of findings.
///
/// # Errors
/// [`FsError`] where it cannot be opened any more.
pub fn check_kept(survey: &Survey, root: &Path, file: &OpenFile) -> Result<Checked, FsError> {
    let id = file.examined.identity.map(|identity| identity.id);
    let Some(id) = id else {
        return Ok(Checked::default());
    };
    let mut findings = Findings::new(root, &file.path, id);
    let items = bytes(survey, file, &mut findings)?;
    Ok(Checked {
        items,
        bytes: file.examined.len,
        findings: findings.finish(),
    })
}

/// What is wrong with the bytes themselves; the number of items that are kept.
fn bytes(survey: &Survey, file: &OpenFile, findings: &mut Findings<'_>) -> Result<u64, FsError> {
    let (facts, examined) = (&file.examined.facts, &file.examined);
    if facts.header == Header::Zero {
        // Made ahead.
        return Ok(0);
    }
    let original = survey.env().fs.open_read(&file.path);
    let mut items = 0;
    let mut gaps = Gaps::default();
    survey.each_kept_frame(file, |frame| {
        let first = u64::from(frame.header.items_before);
        let end = frame.offset + frame.header.frame_bytes();
        match BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE) {
            Ok(view) => {
                let count = u64::from(view.count());
                items += count;
                let range = GoodRange {
                    first,
                    count,
                    bytes: view.item_bytes(),
                    start: frame.offset,
                    end,
                };
                gaps.before(findings, &range);
            }
            Err(error) => {
                let missing = frame.header.items.into();
                findings.damage(Some(frame.offset), missing, error.to_string());
            }
        }
        if let Ok(original) = &original
            && frame.header.kind == FrameKind::Items
            && let Some(offset) = bad_padding(&**original, frame)
        {
            findings.damage(Some(offset), 0, "bytes between frames are not zero");
        }
    })?;
    if let (Some(seal), Tail::Damaged) = (&examined.seal, facts.tail) {
        gaps.to(findings, seal.items);
    }
    match facts.tail {
        Tail::Clean => {}
        Tail::Torn if facts.header == Header::Bad => {
            let what = "the first write is torn: nothing in it is known to have been synced; the \
                        next start sets it aside";
            findings.add(Severity::Note, Some(0), 0, what);
        }
        Tail::Torn => {
            let what = "a torn tail: nothing of it is known to have been synced; the next start cuts it off";
            findings.add(Severity::Note, examined.first_bad, 0, what);
        }
        Tail::Damaged if facts.header == Header::Bad => {
            findings.damage(Some(0), 0, examined.describe_damage());
        }
        Tail::Damaged if findings.is_empty() => {
            let what = "bad bytes below what was synced: how many items were in them is not known";
            findings.damage(examined.first_bad, 0, what);
        }
        Tail::Damaged => {}
    }
    Ok(items)
}

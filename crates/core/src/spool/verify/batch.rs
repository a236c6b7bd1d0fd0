//! Checks the file of one batch.

use std::path::Path;

use batchd_frame::{BatchId, FRAME_HEADER_BYTES, FileHeader, QueueName};

use super::{FINDINGS_PER_FILE_MAX, Finding, Severity, relative};
use crate::env::{Env, File};
use crate::error::FsError;
use crate::spool::frames::{FRAMES_START, FoundFrame};
use crate::spool::layout::{Place, QueueLayout, ReadyBatch};
use crate::spool::sealed::{GoodRange, Inspection, SealedFile};

/// What came of reading a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Items that can be read.
    pub items: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// What was found, in order of offset as far as possible; at most [`FINDINGS_PER_FILE_MAX`] and one that sums up
    /// the rest.
    pub findings: Vec<Finding>,
}

/// Findings of one file, which are told up to a bound.
pub(super) struct Findings<'a> {
    root: &'a Path,
    path: &'a Path,
    batch: BatchId,
    told: Vec<Finding>,
    untold: u64,
    untold_items: u64,
}

impl<'a> Findings<'a> {
    pub(super) fn new(root: &'a Path, path: &'a Path, batch: BatchId) -> Self {
        Self {
            root,
            path,
            batch,
            told: Vec::new(),
            untold: 0,
            untold_items: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(super) fn add(
        &mut self,
        severity: Severity,
        offset: Option<u64>,
        items_missing: u64,
        what: impl Into<String>,
    ) {
        if self.told.len() >= FINDINGS_PER_FILE_MAX {
            self.untold += 1;
            self.untold_items = self.untold_items.saturating_add(items_missing);
            return;
        }
        self.told.push(Finding {
            severity,
            path: relative(self.root, self.path),
            offset,
            batch: Some(self.batch),
            items_missing,
            what: what.into(),
        });
    }

    pub(super) fn damage(
        &mut self,
        offset: Option<u64>,
        items_missing: u64,
        what: impl Into<String>,
    ) {
        self.add(Severity::Damage, offset, items_missing, what);
    }

    pub(super) fn finish(mut self) -> Vec<Finding> {
        if self.untold > 0 {
            let more = Finding {
                severity: Severity::Damage,
                path: relative(self.root, self.path),
                offset: None,
                batch: Some(self.batch),
                items_missing: self.untold_items,
                what: format!("{} more places are bad", self.untold),
            };
            self.told.push(more);
        }
        self.told
    }
}

/// Reads a sealed batch whole: every frame, what the seal says of them, and what its name says. Nothing where the
/// file is gone, which is for the caller to judge. `root` is the spool's directory, for the paths of findings.
#[must_use]
pub fn check_sealed(
    env: &Env,
    root: &Path,
    layout: &QueueLayout,
    queue: &QueueName,
    batch: &ReadyBatch,
) -> Option<Checked> {
    let path = layout.sealed(batch);
    let mut findings = Findings::new(root, &path, batch.name.id);
    let file = match SealedFile::open(env, &path, batch.name.id) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return None,
        Err(error) => {
            findings.damage(None, batch.name.items, cannot_open(&error));
            return Some(Checked {
                findings: findings.finish(),
                ..Checked::default()
            });
        }
    };
    let mut padding = Vec::new();
    let inspection = file.inspect_with(|frame| padding.extend(bad_padding(file.file(), frame)));
    if inspection.newer {
        let what = "written by a newer program; it is left as it is";
        findings.add(Severity::Note, None, 0, what);
        // How far the known part goes is for the newer program to say; what is missing within it is not.
        let mut gaps = Gaps::default();
        for range in inspection.ranges.iter().filter(|_| inspection.head_is_good) {
            gaps.before(&mut findings, range);
        }
    } else {
        check_names(&mut findings, &inspection, queue, batch);
        check_items(&mut findings, &inspection, batch.name.items);
        for offset in padding {
            findings.damage(Some(offset), 0, "bytes between frames are not zero");
        }
        check_end(&mut findings, &inspection, batch.place);
    }
    Some(Checked {
        items: inspection.ranges.iter().map(|range| range.count).sum(),
        bytes: file.len(),
        findings: findings.finish(),
    })
}

/// Reads an open batch as far as it is known synced: what is behind that may be under way. Nothing where the file is
/// not there any more.
#[must_use]
pub fn check_synced(
    env: &Env,
    root: &Path,
    path: &Path,
    header: &FileHeader,
    synced_to: u64,
) -> Option<Checked> {
    let mut findings = Findings::new(root, path, header.id);
    let file = match SealedFile::open(env, path, header.id) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return None,
        Err(error) => {
            findings.damage(None, 0, cannot_open(&error));
            return Some(Checked {
                findings: findings.finish(),
                ..Checked::default()
            });
        }
    };
    if synced_to == 0 {
        return Some(Checked::default());
    }
    if file.len() < synced_to {
        let what = format!("ends before what was synced, at offset {synced_to}");
        findings.damage(Some(file.len()), 0, what);
    }
    let file = file.up_to(synced_to);
    let mut padding = Vec::new();
    let inspection = file.inspect_with(|frame| padding.extend(bad_padding(file.file(), frame)));
    if !inspection.head_is_good {
        findings.damage(Some(0), 0, "the file header is damaged");
    }
    let mut gaps = Gaps::default();
    for range in &inspection.ranges {
        gaps.before(&mut findings, range);
    }
    if let Some(offset) = inspection.first_bad.filter(|_| gaps.items_missing == 0) {
        findings.damage(Some(offset), 0, "bad bytes below what was synced");
    }
    for offset in padding {
        findings.damage(Some(offset), 0, "bytes between frames are not zero");
    }
    Some(Checked {
        items: inspection.ranges.iter().map(|range| range.count).sum(),
        bytes: file.len(),
        findings: findings.finish(),
    })
}

/// Why a file counts as damaged that cannot be opened.
pub(super) fn cannot_open(error: &FsError) -> String {
    format!("cannot be opened: {}", error.source)
}

/// Header and seal against name and place.
fn check_names(
    findings: &mut Findings<'_>,
    inspection: &Inspection,
    queue: &QueueName,
    batch: &ReadyBatch,
) {
    if !inspection.head_is_good {
        let what = "the file header is damaged, or that of another batch";
        findings.damage(Some(0), 0, what);
    }
    if let Some(header) = &inspection.header {
        if header.queue != *queue {
            let what = format!("belongs to queue {}", header.queue);
            findings.damage(Some(0), 0, what);
        }
        if header.seq != batch.name.seq {
            let (name, head) = (batch.name.seq, header.seq);
            findings.damage(
                Some(0),
                0,
                format!("seq {head}, where its name says {name}"),
            );
        }
    }
    if let Some(seal) = &inspection.seal {
        let (sealed, named) = (
            (seal.items, seal.bytes),
            (batch.name.items, batch.name.bytes),
        );
        if sealed != named {
            let what = format!(
                "its seal says {} items of {} bytes, where its name says {} of {}",
                sealed.0, sealed.1, named.0, named.1
            );
            findings.damage(None, 0, what);
        }
        let repeated = FileHeader::decode(&seal.header).ok();
        if inspection.head_is_good && repeated != inspection.header {
            findings.damage(None, 0, "the header in its seal is another one");
        }
    }
}

/// The items against what the seal says or, where that is gone, the name.
fn check_items(findings: &mut Findings<'_>, inspection: &Inspection, named: u64) {
    let total = inspection.seal.as_ref().map_or(named, |seal| seal.items);
    let mut gaps = Gaps::default();
    for range in &inspection.ranges {
        gaps.before(findings, range);
    }
    gaps.to(findings, total);
    if gaps.items_missing == 0
        && inspection.head_is_good
        && let Some(damage) = &inspection.damage
    {
        findings.damage(inspection.first_bad, 0, damage.as_str());
    }
}

/// What is behind the seal: verdicts, and nothing else.
fn check_end(findings: &mut Findings<'_>, inspection: &Inspection, place: Place) {
    if inspection.damage.is_none()
        && let Some(offset) = inspection.first_bad
    {
        let what = "bad bytes behind the seal: a verdict that was not finished";
        // In `dead/` a verdict is synced before the file gets there.
        let severity = if place == Place::Dead {
            Severity::Damage
        } else {
            Severity::Note
        };
        findings.add(severity, Some(offset), 0, what);
    }
    if place == Place::Dead && inspection.verdict.is_none() {
        findings.damage(None, 0, "nothing says why it is dead");
    }
}

/// Follows the numbers of the items and finds what is missing.
#[derive(Default)]
pub(super) struct Gaps {
    next: u64,
    at: Option<u64>,
    /// How many are missing so far.
    pub(super) items_missing: u64,
}

impl Gaps {
    /// Takes a run of items; what is missing before it is damage.
    pub(super) fn before(&mut self, findings: &mut Findings<'_>, range: &GoodRange) {
        self.to(findings, range.first);
        self.next = self.next.max(range.first + range.count);
        self.at = Some(range.end);
    }

    /// Says what is missing before item `first`.
    pub(super) fn to(&mut self, findings: &mut Findings<'_>, first: u64) {
        if first <= self.next {
            return;
        }
        let missing = first - self.next;
        let (from, to) = (self.next, first - 1);
        let what = if from == to {
            format!("bad bytes: item {from} is missing")
        } else {
            format!("bad bytes: items {from} to {to} are missing")
        };
        findings.damage(Some(self.at.unwrap_or(FRAMES_START)), missing, what);
        self.items_missing += missing;
        self.next = first;
    }
}

/// Where the bytes that fill a frame up are not zero.
pub(super) fn bad_padding(file: &dyn File, frame: &FoundFrame<'_>) -> Option<u64> {
    let start = frame.offset + (FRAME_HEADER_BYTES + frame.body.len()) as u64;
    let bytes = usize::try_from(frame.offset + frame.header.frame_bytes() - start).ok()?;
    let mut padding = [0; 8];
    let padding = padding.get_mut(..bytes)?;
    if padding.is_empty() {
        return None;
    }
    let read = file.read_at(padding, start).unwrap_or(0);
    let bad = padding.get(..read)?.iter().position(|byte| *byte != 0)?;
    Some(start + bad as u64)
}

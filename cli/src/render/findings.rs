//! What a verification found.

use batchd_client::{Finding, FindingKind, VerifiedPage};
use serde::Serialize;

use super::table::{Align, pairs};
use super::text::{NONE, size};
use crate::failure::escape_controls;

/// Columns of a listing of findings.
pub(crate) const FINDING_COLUMNS: [(&str, Align); 5] = [
    ("KIND", Align::Left),
    ("PATH", Align::Left),
    ("OFFSET", Align::Right),
    ("MISSING", Align::Right),
    ("WHAT", Align::Left),
];

/// A number of things that were read, and what is wrong with them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) batches: u64,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) damages: u64,
    pub(crate) notes: u64,
    pub(crate) items_missing: u64,
}

impl Summary {
    /// Adds what came of reading some batches.
    pub(crate) fn add(&mut self, page: &VerifiedPage) {
        self.batches = self.batches.saturating_add(page.batches);
        self.items = self.items.saturating_add(page.items);
        self.bytes = self.bytes.saturating_add(page.bytes);
        for finding in &page.findings {
            match finding.kind {
                FindingKind::Damage => self.damages += 1,
                FindingKind::Note => self.notes += 1,
            }
            self.items_missing = self.items_missing.saturating_add(finding.items_missing);
        }
    }
}

/// A row for people.
pub(crate) fn row(finding: &Finding) -> [String; 5] {
    [
        kind(finding.kind).to_owned(),
        escape_controls(&finding.path),
        finding
            .offset
            .map_or(NONE.to_owned(), |offset| offset.to_string()),
        finding.items_missing.to_string(),
        escape_controls(&finding.what),
    ]
}

/// The end, for people.
pub(crate) fn summary(summary: &Summary) -> String {
    pairs(&[
        ("batches", summary.batches.to_string()),
        ("items", summary.items.to_string()),
        ("bytes", size(summary.bytes)),
        ("damages", summary.damages.to_string()),
        ("notes", summary.notes.to_string()),
        ("items missing", summary.items_missing.to_string()),
    ])
}

/// A finding for programs.
#[derive(Debug, Serialize)]
pub(crate) struct FindingLine<'a> {
    kind: &'static str,
    path: &'a str,
    offset: Option<u64>,
    batch: Option<String>,
    items_missing: u64,
    what: &'a str,
}

pub(crate) fn finding_json(finding: &Finding) -> FindingLine<'_> {
    FindingLine {
        kind: kind(finding.kind),
        path: &finding.path,
        offset: finding.offset,
        batch: finding.batch.map(|id| id.to_string()),
        items_missing: finding.items_missing,
        what: &finding.what,
    }
}

/// The end, for programs: the last line.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryLine {
    kind: &'static str,
    batches: u64,
    items: u64,
    bytes: u64,
    damages: u64,
    notes: u64,
    items_missing: u64,
}

pub(crate) fn summary_json(summary: &Summary) -> SummaryLine {
    SummaryLine {
        kind: "summary",
        batches: summary.batches,
        items: summary.items,
        bytes: summary.bytes,
        damages: summary.damages,
        notes: summary.notes,
        items_missing: summary.items_missing,
    }
}

fn kind(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Damage => "damage",
        FindingKind::Note => "note",
    }
}

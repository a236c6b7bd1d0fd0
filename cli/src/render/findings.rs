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

/// A number of things that were read, and what is wrong with them. For programs it is the last line, told from the
/// findings by its kind.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(tag = "kind", rename = "summary")]
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
        finding.kind.name().to_owned(),
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

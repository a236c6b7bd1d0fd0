//! What became of batches, for people and for programs.

use batchd_client::HistoryEntry;
use serde::Serialize;

use super::table::{Align, pairs};
use super::text::{NONE, size, time};
use crate::failure::escape_controls;

/// Columns of the history.
pub(crate) const COLUMNS: [(&str, Align); 8] = [
    ("WHEN", Align::Left),
    ("QUEUE", Align::Left),
    ("BATCH", Align::Left),
    ("SEQ", Align::Right),
    ("OUTCOME", Align::Left),
    ("ITEMS", Align::Right),
    ("BYTES", Align::Right),
    ("WHY", Align::Left),
];

/// A row of the history.
pub(crate) fn row(entry: &HistoryEntry) -> [String; 8] {
    [
        time(entry.at),
        entry.queue.to_string(),
        entry.id.to_string(),
        entry.seq.to_string(),
        escape_controls(&entry.outcome),
        entry.items.to_string(),
        size(entry.bytes),
        why(entry),
    ]
}

/// A batch that is not in the spool any more.
pub(crate) fn ended(entry: &HistoryEntry) -> String {
    pairs(&[
        ("id", entry.id.to_string()),
        ("queue", entry.queue.to_string()),
        ("seq", entry.seq.to_string()),
        ("state", escape_controls(&entry.outcome)),
        ("items", entry.items.to_string()),
        ("bytes", size(entry.bytes)),
        ("ended", time(entry.at)),
        ("why", why(entry)),
    ])
}

fn why(entry: &HistoryEntry) -> String {
    match entry.why.as_str() {
        "" => NONE.to_owned(),
        why => escape_controls(why),
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    at: u64,
    queue: &'a str,
    id: String,
    seq: u64,
    outcome: &'a str,
    items: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
}

/// For programs.
pub(crate) fn json(entry: &HistoryEntry) -> Entry<'_> {
    Entry {
        at: entry.at,
        queue: entry.queue.as_str(),
        id: entry.id.to_string(),
        seq: entry.seq,
        outcome: &entry.outcome,
        items: entry.items,
        bytes: entry.bytes,
        why: &entry.why,
    }
}

//! For programs: exact numbers, times in microseconds since 1970, ids as text. What the daemon tells is printed as it
//! comes, by its own names; here is what is not.

use batchd_client::{BatchId, BatchInfo, Totals};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Batch<'a> {
    id: String,
    queue: &'a str,
    seq: u64,
    /// The key where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// The key where it is not, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_escaped: Option<String>,
    state: &'static str,
    items: u64,
    bytes: u64,
    created_at: u64,
    expires_at: Option<u64>,
    reason: Option<&'static str>,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a str>,
}

pub(crate) fn batch(batch: &BatchInfo) -> Batch<'_> {
    let key = batch.key.as_deref();
    let text = key.and_then(|key| std::str::from_utf8(key).ok());
    Batch {
        id: batch.id.to_string(),
        queue: batch.queue.as_str(),
        seq: batch.seq,
        key: text,
        key_escaped: key
            .filter(|_| text.is_none())
            .map(|key| key.escape_ascii().to_string()),
        state: batch.state.name(),
        items: batch.items,
        bytes: batch.bytes,
        created_at: batch.created_at,
        expires_at: batch.expires_at,
        reason: batch.reason.map(|reason| reason.name()),
        path: &batch.path,
        verdict: batch.verdict.as_deref(),
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Created {
    id: String,
}

pub(crate) fn created(id: BatchId) -> Created {
    Created { id: id.to_string() }
}

#[derive(Debug, Serialize)]
pub(crate) struct Submitted {
    submissions: u64,
    items: u64,
    bytes: u64,
    ack: String,
    repeats: u64,
}

pub(crate) fn submitted(totals: &Totals, ack: String) -> Submitted {
    Submitted {
        submissions: totals.kept.submissions,
        items: totals.kept.items,
        bytes: totals.kept.bytes,
        ack,
        repeats: totals.repeats,
    }
}

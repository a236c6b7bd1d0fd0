//! For programs: exact numbers, times in microseconds since 1970, ids as text.

use batchd_client::{
    BatchId, BatchInfo, FlushReport, QueueStatus, ServerStatus, SpaceStatus, Tally, Totals,
};
use serde::Serialize;

use super::text::state;

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
        state: state(batch.state),
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
pub(crate) struct Flush {
    batches: u64,
    items: u64,
    delivered: bool,
    not_delivered: u64,
}

pub(crate) fn flush(report: &FlushReport) -> Flush {
    Flush {
        batches: report.batches,
        items: report.items,
        delivered: report.delivered,
        not_delivered: report.not_delivered,
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    server: &'a str,
    pid: u32,
    started_at: u64,
    spool: &'a str,
    quarantined: u64,
    queues: Vec<Queue<'a>>,
    space: Space<'a>,
}

#[derive(Debug, Serialize)]
struct Space<'a> {
    used_bytes: u64,
    max_bytes: u64,
    free_bytes: u64,
    min_free_bytes: u64,
    shortage: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Queue<'a> {
    queue: &'a str,
    sink: Option<&'a str>,
    open: Held,
    ready: Held,
    dead: Held,
    submissions_accepted: u64,
    items_accepted: u64,
    groups: u64,
    batches_delivered: u64,
    items_delivered: u64,
    attempts_failed: u32,
    last_error: Option<&'a str>,
    beats_skipped: u64,
    batches_dropped: u64,
    items_dropped: u64,
    batches_expired: u64,
}

#[derive(Debug, Serialize)]
struct Held {
    batches: u64,
    items: u64,
    bytes: u64,
}

pub(crate) fn status(status: &ServerStatus) -> Status<'_> {
    Status {
        server: &status.server,
        pid: status.pid,
        started_at: status.started_at,
        spool: &status.spool,
        quarantined: status.quarantined,
        queues: status.queues.iter().map(queue).collect(),
        space: space(&status.space),
    }
}

fn space(space: &SpaceStatus) -> Space<'_> {
    Space {
        used_bytes: space.used_bytes,
        max_bytes: space.max_bytes,
        free_bytes: space.free_bytes,
        min_free_bytes: space.min_free_bytes,
        shortage: space.shortage.as_deref(),
    }
}

fn queue(queue: &QueueStatus) -> Queue<'_> {
    Queue {
        queue: queue.queue.as_str(),
        sink: queue.sink.as_deref(),
        open: held(queue.open),
        ready: held(queue.ready),
        dead: held(queue.dead),
        submissions_accepted: queue.submissions_accepted,
        items_accepted: queue.items_accepted,
        groups: queue.groups,
        batches_delivered: queue.batches_delivered,
        items_delivered: queue.items_delivered,
        attempts_failed: queue.attempts_failed,
        last_error: queue.last_error.as_deref(),
        beats_skipped: queue.beats_skipped,
        batches_dropped: queue.batches_dropped,
        items_dropped: queue.items_dropped,
        batches_expired: queue.batches_expired,
    }
}

fn held(tally: Tally) -> Held {
    Held {
        batches: tally.batches,
        items: tally.items,
        bytes: tally.bytes,
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Submitted {
    submissions: u64,
    items: u64,
    bytes: u64,
    ack: &'static str,
    repeats: u64,
}

pub(crate) fn submitted(totals: &Totals, ack: &'static str) -> Submitted {
    Submitted {
        submissions: totals.kept.submissions,
        items: totals.kept.items,
        bytes: totals.kept.bytes,
        ack,
        repeats: totals.repeats,
    }
}

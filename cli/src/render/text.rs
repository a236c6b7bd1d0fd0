//! For people: sizes in binary units, times in RFC 3339, nothing that could move a terminal's cursor.

use std::time::{Duration, SystemTime};

use batchd_client::{BatchInfo, FlushReport, ServerStatus, SpaceStatus, Tally};
use bytesize::ByteSize;

use super::table::{Align, Table, pairs};
use crate::failure::escape_controls;

/// Columns of a listing of batches.
pub(crate) const BATCH_COLUMNS: [(&str, Align); 9] = [
    ("ID", Align::Left),
    ("QUEUE", Align::Left),
    ("SEQ", Align::Right),
    ("STATE", Align::Left),
    ("ITEMS", Align::Right),
    ("BYTES", Align::Right),
    ("CREATED", Align::Left),
    ("EXPIRES", Align::Left),
    ("REASON", Align::Left),
];

const QUEUE_COLUMNS: [(&str, Align); 12] = [
    ("QUEUE", Align::Left),
    ("SINK", Align::Left),
    ("OPEN", Align::Right),
    ("READY", Align::Right),
    ("DEAD", Align::Right),
    ("ITEMS", Align::Right),
    ("BYTES", Align::Right),
    ("ACCEPTED", Align::Right),
    ("DELIVERED", Align::Right),
    ("DROPPED", Align::Right),
    ("FAILED", Align::Right),
    ("LAST ERROR", Align::Left),
];

/// Stands for nothing.
pub(super) const NONE: &str = "-";

/// A row of a listing.
pub(crate) fn batch_row(batch: &BatchInfo) -> [String; 9] {
    [
        batch.id.to_string(),
        batch.queue.to_string(),
        batch.seq.to_string(),
        batch.state.name().to_owned(),
        batch.items.to_string(),
        size(batch.bytes),
        time(batch.created_at),
        batch.expires_at.map_or(NONE.to_owned(), time),
        reason(batch).to_owned(),
    ]
}

/// One batch.
pub(crate) fn batch(batch: &BatchInfo) -> String {
    let mut lines = vec![
        ("id", batch.id.to_string()),
        ("queue", batch.queue.to_string()),
        ("seq", batch.seq.to_string()),
    ];
    if let Some(key) = &batch.key {
        lines.push(("key", key_text(key)));
    }
    lines.extend([
        ("state", batch.state.name().to_owned()),
        ("items", batch.items.to_string()),
        ("bytes", size(batch.bytes)),
        ("created", time(batch.created_at)),
        ("expires", batch.expires_at.map_or(NONE.to_owned(), time)),
        ("reason", reason(batch).to_owned()),
        ("path", escape_controls(&batch.path)),
    ]);
    if let Some(verdict) = &batch.verdict {
        lines.push(("verdict", escape_controls(verdict)));
    }
    pairs(&lines)
}

/// What a flush did.
pub(crate) fn flush(report: &FlushReport) -> String {
    let delivered = match (report.delivered, report.not_delivered) {
        (true, _) => "yes".to_owned(),
        (false, 0) => "not yet".to_owned(),
        (false, batches) => format!("all but {batches}"),
    };
    pairs(&[
        ("batches", report.batches.to_string()),
        ("items", report.items.to_string()),
        ("delivered", delivered),
    ])
}

/// The daemon and its queues.
pub(crate) fn status(status: &ServerStatus) -> String {
    let mut text = pairs(&[
        ("server", escape_controls(&status.server)),
        ("pid", status.pid.to_string()),
        ("started", time(status.started_at)),
        ("spool", escape_controls(&status.spool)),
        ("quarantined", status.quarantined.to_string()),
        ("room", room(&status.space)),
    ]);
    if let Some(shortage) = &status.space.shortage {
        text.push_str(&format!(
            "\nnothing is taken: {}\n",
            escape_controls(shortage)
        ));
    }
    text.push('\n');
    let mut table = Table::new(&QUEUE_COLUMNS);
    for queue in &status.queues {
        let waiting = sum(queue.open, queue.ready);
        let optional =
            |text: &Option<String>| text.as_deref().map_or(NONE.to_owned(), escape_controls);
        table.row([
            queue.queue.to_string(),
            optional(&queue.sink),
            queue.open.batches.to_string(),
            queue.ready.batches.to_string(),
            queue.dead.batches.to_string(),
            waiting.items.to_string(),
            size(waiting.bytes),
            queue.items_accepted.to_string(),
            queue.items_delivered.to_string(),
            queue.items_dropped.to_string(),
            queue.attempts_failed.to_string(),
            optional(&queue.last_error),
        ]);
    }
    text.push_str(&table.take());
    for queue in status
        .queues
        .iter()
        .filter(|queue| queue.attempts_failed > 0)
    {
        let line = format!(
            "queue {name}: its batches are kept, and tried again by themselves; once what LAST ERROR says is mended, \
             'batchctl flush --queue {name}' tries at once\n",
            name = queue.queue
        );
        text.push_str(&line);
    }
    for queue in status.queues.iter().filter(|queue| queue.beats_skipped > 0) {
        let line = format!(
            "queue {}: {} beats of the interval were skipped, because they came too late\n",
            queue.queue, queue.beats_skipped
        );
        text.push_str(&line);
    }
    text
}

fn room(space: &SpaceStatus) -> String {
    let mut text = format!(
        "{} of {} used; {} free on the file system",
        size(space.used_bytes),
        size(space.max_bytes),
        size(space.free_bytes)
    );
    if space.min_free_bytes > 0 {
        text.push_str(&format!(", {} must be", size(space.min_free_bytes)));
    }
    text
}

fn reason(batch: &BatchInfo) -> &'static str {
    batch.reason.map_or(NONE, |reason| reason.name())
}

fn key_text(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok("") => NONE.to_owned(),
        Ok(text) => escape_controls(text),
        Err(_) => key.escape_ascii().to_string(),
    }
}

pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A time in microseconds since 1970; the bare number where no calendar has it.
pub(super) fn time(unix_micros: u64) -> String {
    /// The end of the year 9999.
    const CALENDAR_END_SECS: u64 = 253_402_300_800;
    match SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(unix_micros)) {
        Some(time) if unix_micros / 1_000_000 < CALENDAR_END_SECS => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => format!("{unix_micros}us"),
    }
}

fn sum(a: Tally, b: Tally) -> Tally {
    Tally {
        batches: a.batches.saturating_add(b.batches),
        items: a.items.saturating_add(b.items),
        bytes: a.bytes.saturating_add(b.bytes),
    }
}

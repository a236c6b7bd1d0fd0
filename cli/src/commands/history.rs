//! `batchctl history`

use std::time::SystemTime;

use batchd_client::blocking::Client;
use batchd_client::{BatchId, Error, HistoryEntry, HistoryQuery, QueueName};
use clap::Args;

use super::Context;
use super::listing::Listing;
use crate::render::history;

/// Shows what became of batches, newest first
#[derive(Debug, Args)]
#[command(
    after_help = "The daemon knows as much as the ledgers of its queues hold: of each, the last 8 to 16 MiB.

Examples:
  batchctl history --queue logs --since 1h
  batchctl history --batch 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11 --output json"
)]
pub(crate) struct HistoryArgs {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<QueueName>,
    /// Only this batch, by its whole id
    #[arg(long, value_name = "ID")]
    batch: Option<BatchId>,
    /// Nothing older: so long ago, as in 90s, 1h or 2days, or a time as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<SystemTime>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub(crate) fn run(args: &HistoryArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let query = HistoryQuery {
        queue: args.queue.clone(),
        batch: args.batch,
        since: args.since.map_or(0, unix_micros),
    };
    let mut client = context.client()?;
    let mut list = Listing::new(&history::COLUMNS);
    let mut entries = client.history(&query).take(args.limit);
    let listed = entries.try_for_each(|entry| {
        let entry = entry?;
        list.add(history::row(&entry), &history::json(&entry), context)
    });
    list.end(listed, context)
}

/// What became of a batch last.
pub(super) fn last_of(client: &mut Client, batch: BatchId) -> Result<Option<HistoryEntry>, Error> {
    let query = HistoryQuery {
        batch: Some(batch),
        ..HistoryQuery::default()
    };
    client.history(&query).next().transpose()
}

fn unix_micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

fn since(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).map_err(
        |_| "neither a time ago, as in 90s, 1h or 2days, nor one as in 2026-01-31T12:00:00Z",
    )?;
    let now = SystemTime::now();
    // Longer ago than time goes back is all there is.
    Ok(now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH))
}

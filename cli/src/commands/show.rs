//! `batchctl show`

use batchd_client::{BatchId, BatchInfo, Error, ErrorCode, HistoryEntry};
use clap::Args;

use super::Context;
use super::history::last_of;
use crate::args::{Output, PlaceArgs};
use crate::offline::Offline;
use crate::render::{history, json, text};

/// Shows one batch, or what became of it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl show 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11")]
pub(crate) struct ShowArgs {
    /// Its id, whole
    #[arg(value_name = "ID")]
    batch: BatchId,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

pub(crate) fn run(args: &ShowArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut client = match &args.place.spool {
        Some(spool) => return print(&Offline::open(spool)?.show(args.batch)?, context),
        None => context.client()?,
    };
    match client.show(args.batch) {
        Err(error) if has_ended(&error) => match last_of(&mut client, args.batch)? {
            Some(entry) => print_ended(&entry, context),
            None => Err(error.into()),
        },
        batch => print(&batch?, context),
    }
}

fn print(batch: &BatchInfo, context: &mut Context<'_>) -> anyhow::Result<()> {
    match context.output {
        Output::Table => context.print(&text::batch(batch)),
        Output::Json => context.print_json(&json::batch(batch)),
    }
}

/// Whether it is not in the spool any more, or never was.
fn has_ended(error: &Error) -> bool {
    let Error::Refused { code, .. } = error else {
        return false;
    };
    matches!(
        code,
        ErrorCode::NoSuchBatch | ErrorCode::Expired | ErrorCode::Dropped
    )
}

fn print_ended(entry: &HistoryEntry, context: &mut Context<'_>) -> anyhow::Result<()> {
    match context.output {
        Output::Table => context.print(&history::ended(entry)),
        Output::Json => context.print_json(&history::json(entry)),
    }
}

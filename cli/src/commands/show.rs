//! `batchctl show`

use batchd_client::BatchId;
use clap::Args;

use super::Context;
use crate::args::{Output, PlaceArgs};
use crate::offline::Offline;
use crate::render::{json, text};

/// Shows one batch
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
    let batch = match &args.place.spool {
        Some(spool) => Offline::open(spool)?.show(args.batch)?,
        None => context.client()?.show(args.batch)?,
    };
    match context.output {
        Output::Table => context.print(&text::batch(&batch)),
        Output::Json => context.print_json(&json::batch(&batch)),
    }
}

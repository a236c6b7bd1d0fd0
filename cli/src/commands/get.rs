//! `batchctl get`

use batchd_client::BatchId;
use clap::Args;

use super::{Context, cat};

/// Writes the items of a batch to standard output, as long as its lifespan lasts
///
/// Of a batch that has expired it says so, as long as that is on record. --output does not apply.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl get 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11")]
pub(crate) struct GetArgs {
    /// Its id, whole
    #[arg(value_name = "ID")]
    batch: BatchId,
    /// End each item with a NUL byte instead of a newline
    #[arg(long)]
    null: bool,
    /// End items with nothing
    #[arg(long, conflicts_with = "null")]
    raw: bool,
}

pub(crate) fn run(args: &GetArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let end = cat::end_of_item(args.raw, args.null);
    let mut client = context.client()?;
    cat::print_items(context, client.get(args.batch), end)
}

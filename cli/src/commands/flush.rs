//! `batchctl flush`

use batchd_client::QueueName;
use clap::Args;

use super::Context;
use crate::args::Output;
use crate::render::{json, text};

/// Closes open batches and has them delivered
///
/// Without --wait it returns when the batches are closed; with it, when the sinks have taken them. Where there
/// is nothing to flush, that is success.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl flush --queue logs --wait --timeout 5min")]
pub(crate) struct FlushArgs {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<QueueName>,
    /// Wait until the sinks have answered, at most for --timeout
    #[arg(long)]
    wait: bool,
}

pub(crate) fn run(args: &FlushArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let wait = args.wait.then_some(context.timeout);
    let report = context.client()?.flush(args.queue.as_ref(), wait)?;
    match context.output {
        Output::Table => context.print(&text::flush(&report)),
        Output::Json => context.print_json(&json::flush(&report)),
    }
}

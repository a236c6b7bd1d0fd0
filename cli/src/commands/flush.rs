//! `batchctl flush`

use batchd_client::QueueName;
use clap::Args;

use super::Context;
use crate::args::Output;
use crate::failure::Failure;
use crate::render::text;

/// Closes open batches and has them delivered
///
/// Without --wait it returns when the batches are closed; with it, when the sinks have taken them, or an attempt has
/// failed (exit code 75: the batch is kept and tried again). Batches that meanwhile expired, were dropped or are
/// damaged are counted, and the exit code is 1. Where there is nothing to flush, that is success.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl flush --queue logs --wait --timeout 5min")]
pub(crate) struct FlushArgs {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<QueueName>,
    /// Wait until the sinks have answered, at most for --timeout
    #[arg(long)]
    wait: bool,
}

pub(crate) fn run(args: &FlushArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let wait = args.wait.then_some(context.timeout);
    let report = context.client()?.flush(args.queue.as_ref(), wait)?;
    match context.output {
        Output::Table => context.print(&text::flush(&report))?,
        Output::Json => context.print_json(&report)?,
    }
    match report.not_delivered {
        0 => Ok(()),
        batches => Err(Failure::NotDelivered { batches }.into()),
    }
}

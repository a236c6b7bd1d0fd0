//! `batchctl status`

use clap::Args;

use super::Context;
use crate::args::Output;
use crate::render::text;

/// Shows the state of the daemon and of its queues
///
/// OPEN, READY and DEAD count batches; ITEMS and BYTES are what waits in open and ready ones. ACCEPTED and
/// DELIVERED count items since the daemon started, FAILED the attempts since the last that did not fail.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl status --output json")]
pub(crate) struct StatusArgs {}

pub(crate) fn run(_: &StatusArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let status = context.client()?.status()?;
    match context.output {
        Output::Table => context.print(&text::status(&status)),
        Output::Json => context.print_json(&status),
    }
}

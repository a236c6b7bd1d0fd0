//! `batchctl ls`

use batchd_client::QueueName;
use clap::Args;

use super::Context;
use crate::args::Output;
use crate::render::json;
use crate::render::table::Table;
use crate::render::text;

/// Rows that are aligned together: a longer listing is printed as it comes.
const ROWS_ALIGNED: usize = 1000;

/// Lists batches, by queue and seq
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl ls --queue logs")]
pub(crate) struct LsArgs {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<QueueName>,
}

pub(crate) fn run(args: &LsArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut client = context.client()?;
    let mut table = Table::new(&text::BATCH_COLUMNS);
    for batch in client.list(args.queue.as_ref()) {
        let batch = batch?;
        match context.output {
            Output::Table => table.row(text::batch_row(&batch)),
            Output::Json => context.print_json(&json::batch(&batch))?,
        }
        if table.pending() >= ROWS_ALIGNED {
            context.print(&table.take())?;
        }
    }
    match context.output {
        Output::Table => context.print(&table.take()),
        Output::Json => Ok(()),
    }
}

//! `batchctl ls`

use batchd_client::{BatchInfo, QueueName};
use clap::Args;

use super::Context;
use crate::args::{Output, PlaceArgs};
use crate::offline::Offline;
use crate::render::json;
use crate::render::table::Table;
use crate::render::text;

/// Rows that are aligned together: a longer listing is printed as it comes.
const ROWS_ALIGNED: usize = 1000;

/// Lists batches, by queue and seq
///
/// A closed batch is not opened for it: CREATED is then from its id, which may be older than its first item, and REASON
/// is not known. 'batchctl show' tells both.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl ls --queue logs")]
pub(crate) struct LsArgs {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<QueueName>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

pub(crate) fn run(args: &LsArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut table = Table::new(&text::BATCH_COLUMNS);
    let queue = args.queue.as_ref();
    if let Some(spool) = &args.place.spool {
        let spool = Offline::open(spool)?;
        spool.each_batch(queue, &mut |batch| row(&batch, &mut table, context))?;
    } else {
        for batch in context.client()?.list(queue) {
            row(&batch?, &mut table, context)?;
        }
    }
    match context.output {
        Output::Table => context.print(&table.take()),
        Output::Json => Ok(()),
    }
}

fn row(batch: &BatchInfo, table: &mut Table<9>, context: &mut Context<'_>) -> anyhow::Result<()> {
    match context.output {
        Output::Table => table.row(text::batch_row(batch)),
        Output::Json => context.print_json(&json::batch(batch))?,
    }
    if table.pending() >= ROWS_ALIGNED {
        context.print(&table.take())?;
    }
    Ok(())
}

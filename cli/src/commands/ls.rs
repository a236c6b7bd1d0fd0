//! `batchctl ls`

use batchd_client::{BatchInfo, QueueName};
use clap::Args;

use super::Context;
use super::listing::Listing;
use crate::args::PlaceArgs;
use crate::offline::Offline;
use crate::render::{json, text};

/// Lists batches, by queue and seq
///
/// A closed batch is not opened for it: CREATED is then from its id, which may be older than its first item, and REASON
/// is not known. 'batchctl show' tells both.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl ls --queue logs")]
pub(crate) struct LsArgs {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<QueueName>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

pub(crate) fn run(args: &LsArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut list = Listing::new(&text::BATCH_COLUMNS);
    let queue = args.queue.as_ref();
    let mut add = |batch: &BatchInfo, context: &mut Context<'_>| {
        list.add(text::batch_row(batch), &json::batch(batch), context)
    };
    let listed = match &args.place.spool {
        Some(spool) => Offline::open(spool)?.each_batch(queue, &mut |batch| add(&batch, context)),
        None => {
            let mut client = context.client()?;
            let mut batches = client.list(queue);
            batches.try_for_each(|batch| add(&batch?, context))
        }
    };
    list.end(listed, context)
}

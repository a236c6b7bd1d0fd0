//! `batchctl verify`

use batchd_client::{Finding, QueueName};
use clap::Args;

use super::Context;
use super::listing::Listing;
use crate::args::{Output, PlaceArgs};
use crate::failure::Failure;
use crate::offline::Offline;
use crate::render::findings::{self, Summary};

/// Reads every byte of the batches and says what is wrong: where, and which items it costs
///
/// Damage ends with exit code 2. Notes do not: they are what a crash may leave, of which nothing is lost, and files
/// in quarantine. With --spool also names, ledgers and FORMAT are checked. A running daemon reads sealed batches, and
/// open ones as far as they are synced.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl verify --queue logs\n  \
                        batchctl verify --spool /var/spool/batchd --output json")]
pub(crate) struct VerifyArgs {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<QueueName>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

pub(crate) fn run(args: &VerifyArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut list = Listing::new(&findings::FINDING_COLUMNS);
    let queue = args.queue.as_ref();
    let mut add = |finding: &Finding, context: &mut Context<'_>| {
        list.add(findings::row(finding), finding, context)
    };
    let read = match &args.place.spool {
        Some(spool) => Offline::open(spool)?.verify(queue, &mut |finding| add(&finding, context)),
        None => ask(queue, &mut add, context),
    };
    // Where nothing was found there is nothing to print, not even a head.
    let (summary, gap) = match list.is_empty() {
        true => (read?, ""),
        false => (list.end(read, context)?, "\n"),
    };
    match context.output {
        Output::Table => context.print(&format!("{gap}{}", findings::summary(&summary)))?,
        Output::Json => context.print_json(&summary)?,
    }
    if summary.damages == 0 {
        return Ok(());
    }
    Err(Failure::Damaged {
        places: summary.damages,
        items_missing: summary.items_missing,
    }
    .into())
}

/// Has the daemon read its batches, page by page.
fn ask(
    queue: Option<&QueueName>,
    add: &mut impl FnMut(&Finding, &mut Context<'_>) -> anyhow::Result<()>,
    context: &mut Context<'_>,
) -> anyhow::Result<Summary> {
    let mut client = context.client()?;
    let mut summary = Summary::default();
    let mut after = None;
    loop {
        let page = client.verify_page(queue, after)?;
        summary.add(&page);
        for finding in &page.findings {
            add(finding, context)?;
        }
        if page.next.is_none() {
            return Ok(summary);
        }
        after = page.next;
    }
}

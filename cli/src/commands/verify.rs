//! `batchctl verify`

use batchd_client::{Finding, QueueName};
use clap::Args;

use super::Context;
use crate::args::{Output, PlaceArgs};
use crate::failure::Failure;
use crate::offline::Offline;
use crate::render::findings::{self, Summary};
use crate::render::table::Table;

/// Rows that are aligned together: a longer list is printed as it comes.
const ROWS_ALIGNED: usize = 1000;

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
    queue: Option<QueueName>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

pub(crate) fn run(args: &VerifyArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut list = List {
        table: Table::new(&findings::FINDING_COLUMNS),
        is_empty: true,
    };
    let queue = args.queue.as_ref();
    let summary = match &args.place.spool {
        Some(spool) => {
            Offline::open(spool)?.verify(queue, &mut |finding| list.add(&finding, context))?
        }
        None => ask(queue, &mut list, context)?,
    };
    list.end(context)?;
    match context.output {
        Output::Table => context.print(&findings::summary(&summary))?,
        Output::Json => context.print_json(&findings::summary_json(&summary))?,
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
    list: &mut List,
    context: &mut Context<'_>,
) -> anyhow::Result<Summary> {
    let mut client = context.client()?;
    let mut summary = Summary::default();
    let mut after = None;
    loop {
        let page = client.verify_page(queue, after)?;
        summary.add(&page);
        for finding in &page.findings {
            list.add(finding, context)?;
        }
        if page.next.is_none() {
            return Ok(summary);
        }
        after = page.next;
    }
}

/// The findings, printed as they come.
struct List {
    table: Table<5>,
    is_empty: bool,
}

impl List {
    fn add(&mut self, finding: &Finding, context: &mut Context<'_>) -> anyhow::Result<()> {
        self.is_empty = false;
        match context.output {
            Output::Table => self.table.row(findings::row(finding)),
            Output::Json => context.print_json(&findings::finding_json(finding))?,
        }
        if self.table.pending() >= ROWS_ALIGNED {
            context.print(&self.table.take())?;
        }
        Ok(())
    }

    /// Prints what is left; nothing, not even a head, where nothing was found.
    fn end(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.is_empty || context.output == Output::Json {
            return Ok(());
        }
        let mut text = self.table.take();
        text.push('\n');
        context.print(&text)
    }
}

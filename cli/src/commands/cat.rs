//! `batchctl cat`

use batchd_client::{BatchId, Finding};
use clap::Args;

use super::Context;
use crate::args::PlaceArgs;
use crate::failure::{Failure, escape_controls};
use crate::offline::Offline;

/// Writes the items of batches to standard output, as they are
///
/// --output does not apply. With --spool, what is damaged is told on standard error, what can be read is written all
/// the same, and the exit code is 2.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl cat 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11 > items.txt")]
pub(crate) struct CatArgs {
    /// Their ids, whole
    #[arg(value_name = "ID", required = true)]
    batches: Vec<BatchId>,
    /// End each item with a NUL byte instead of a newline
    #[arg(long)]
    null: bool,
    /// End items with nothing
    #[arg(long, conflicts_with = "null")]
    raw: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Written at once, in bytes.
const WRITE_BYTES: usize = 64 << 10;

pub(crate) fn run(args: &CatArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut out = Items {
        buffer: Vec::new(),
        end: end_of_item(args.raw, args.null),
    };
    match &args.place.spool {
        Some(spool) => read(&Offline::open(spool)?, args, &mut out, context),
        None => ask(args, &mut out, context),
    }
}

/// Writes what the daemon has.
fn ask(args: &CatArgs, out: &mut Items, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut client = context.client()?;
    for &batch in &args.batches {
        out.put_all(client.items(batch), context)?;
    }
    Ok(())
}

/// Writes what can be read in a spool; what cannot is told.
fn read(
    spool: &Offline,
    args: &CatArgs,
    out: &mut Items,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let (mut places, mut items_missing) = (0, 0u64);
    for &batch in &args.batches {
        let damages = spool.items(batch, &mut |item| out.put(item, context));
        out.write(context)?;
        for Finding {
            path,
            offset,
            what,
            items_missing: missing,
            ..
        } in damages?
        {
            places += 1;
            items_missing = items_missing.saturating_add(missing);
            let at = offset.map_or(String::new(), |offset| format!(" at {offset}"));
            let line = escape_controls(&format!("{path}{at}: {what}"));
            context.world.tell(format_args!("batchctl: {line}"));
        }
    }
    if places == 0 {
        return Ok(());
    }
    let damaged = Failure::Damaged {
        places,
        items_missing,
    };
    Err(damaged.into())
}

/// What is written behind each item.
pub(super) fn end_of_item(raw: bool, null: bool) -> &'static [u8] {
    match (raw, null) {
        (true, _) => b"",
        (false, true) => b"\0",
        (false, false) => b"\n",
    }
}

/// Writes items to standard output, as they are.
pub(super) fn print_items(
    context: &mut Context<'_>,
    items: impl Iterator<Item = Result<Vec<u8>, batchd_client::Error>>,
    end: &'static [u8],
) -> anyhow::Result<()> {
    let mut out = Items {
        buffer: Vec::new(),
        end,
    };
    out.put_all(items, context)
}

/// Items on their way out.
struct Items {
    buffer: Vec<u8>,
    /// What ends each.
    end: &'static [u8],
}

impl Items {
    fn put_all(
        &mut self,
        mut items: impl Iterator<Item = Result<Vec<u8>, batchd_client::Error>>,
        context: &mut Context<'_>,
    ) -> anyhow::Result<()> {
        let written = items.try_for_each(|item| self.put(&item?, context));
        // What was read goes out, whatever came after it.
        self.write(context)?;
        written
    }

    fn put(&mut self, item: &[u8], context: &mut Context<'_>) -> anyhow::Result<()> {
        self.buffer.extend_from_slice(item);
        self.buffer.extend_from_slice(self.end);
        if self.buffer.len() >= WRITE_BYTES {
            self.write(context)?;
        }
        Ok(())
    }

    fn write(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        context.print_bytes(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

//! `batchctl cat`

use batchd_client::BatchId;
use clap::Args;

use super::Context;

/// Writes the items of batches to standard output, as they are
///
/// --output does not apply.
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
}

/// Written at once, in bytes.
const WRITE_BYTES: usize = 64 << 10;

pub(crate) fn run(args: &CatArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let end: &[u8] = match (args.raw, args.null) {
        (true, _) => b"",
        (false, true) => b"\0",
        (false, false) => b"\n",
    };
    let mut client = context.client()?;
    let mut buffer = Vec::new();
    for &batch in &args.batches {
        let written = client.items(batch).try_for_each(|item| {
            buffer.extend_from_slice(&item?);
            buffer.extend_from_slice(end);
            if buffer.len() >= WRITE_BYTES {
                context.print_bytes(&buffer)?;
                buffer.clear();
            }
            anyhow::Ok(())
        });
        // What was read goes out, whatever came after it.
        context.print_bytes(&buffer)?;
        buffer.clear();
        written?;
    }
    Ok(())
}

//! `batchctl create`

use std::time::Duration;

use batchd_client::split::Cut;
use batchd_client::{
    Error as ClientError, ItemBuffer, Key, NewBatch, PackLimits, Packer, QueueName,
};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::{Context, submit};
use crate::args::{self, ItemsArgs, Output};
use crate::failure::Failure;
use crate::input::Input;
use crate::render::json;
use crate::split::Cutter;

/// Makes a batch of its own: the lines of files or of standard input, whole or not at all
///
/// It prints the id of the batch, which is then on the medium. A batch that is created has a lifespan of its own;
/// 'batchctl get' reads it until then. All of it must fit one batch of the queue.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  batchctl create --queue shelf --lifespan 10m < report.txt")]
pub(crate) struct CreateArgs {
    /// Queue that takes the batch
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) queue: QueueName,
    /// Key of the batch
    #[arg(long, value_name = "KEY", value_parser = OsStringValueParser::new().try_map(submit::key))]
    key: Option<Key>,
    /// How long the batch may live undelivered, as in 30s, 10m or 1day; by default what the queue's configuration says
    #[arg(long, value_name = "DURATION", value_parser = lifespan)]
    lifespan: Option<Duration>,
    #[command(flatten)]
    items: ItemsArgs,
}

pub(crate) fn run(args: &CreateArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let input = Input::start(&args.items.files, context.world.stdin.take())?;
    let mut client = context.client()?;
    let limits = PackLimits::of(&client.limits()?);
    context.invite(&args.items);
    let items = read_items(args.items.cut(), &input, limits)?;
    let mut batch = NewBatch::new(args.queue.clone(), &items);
    batch.key = args.key.clone().unwrap_or_default();
    batch.lifespan = args.lifespan;
    let created = client.create(batch);
    if created.as_ref().is_err_and(ClientError::may_have_created) {
        let note =
            "there may be a batch, which 'batchctl ls' shows; the same command may make another";
        context.note = Some(note.to_owned());
    }
    let id = created?;
    match context.output {
        Output::Table => context.print(&format!("{id}\n")),
        Output::Json => context.print_json(&json::created(id)),
    }
}

/// All items of the inputs. No more is read than the daemon takes.
fn read_items(cut: Cut, input: &Input, limits: PackLimits) -> anyhow::Result<ItemBuffer> {
    let mut cutter = Cutter::new(cut, limits.item_bytes_max);
    let mut packer = Packer::new(limits);
    while let Some(event) = input.next() {
        cutter.take(event, |item| match packer.push(item) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Failure::BatchTooLarge {
                items_max: limits.items_max,
                bytes_max: limits.bytes_max,
            }
            .into()),
            Err(error) => Err(ClientError::from(error).into()),
        })?;
    }
    Ok(packer.take().unwrap_or_default())
}

fn lifespan(text: &str) -> Result<Duration, String> {
    match args::time(text)? {
        lifespan if lifespan < Duration::from_micros(1) => {
            Err("a lifespan is at least a microsecond".to_owned())
        }
        lifespan => Ok(lifespan),
    }
}

//! `batchctl submit`

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant};

use batchd_client::blocking::Client;
use batchd_client::{
    Ack, Error as ClientError, Identity, ItemBuffer, Key, NameError, PackLimits, Packer, QueueName,
    Target, Totals,
};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::Context;
use crate::args::{ItemsArgs, Output};
use crate::failure::{Failure, count};
use crate::input::{Event, Input, Next};
use crate::render::json;
use crate::split::Cutter;

/// A submission has at most that many items.
const SUBMISSION_ITEMS_MAX: u64 = 512;
/// A submission of more than one item has at most that many bytes.
const SUBMISSION_BYTES_MAX: u64 = 256 << 10;
/// Once no input has come for that long, what is there is submitted.
const QUIET: Duration = Duration::from_millis(20);
/// It is submitted after that long in any case.
const LINGER_MAX: Duration = Duration::from_millis(100);

/// Submits items: the lines of files or of standard input
///
/// A line is an item without its newline; nothing else about it is changed. It returns when the daemon has
/// everything, as safe as --ack says. --timeout is the longest that any one submission may go without an
/// answer; waiting for input does not count.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  journalctl -f -o json | batchctl submit --queue logs")]
pub(crate) struct SubmitArgs {
    /// Queue that takes the items
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) queue: QueueName,
    /// Key of the items: each key of a queue fills a batch of its own
    #[arg(long, value_name = "KEY", value_parser = OsStringValueParser::new().try_map(key))]
    key: Option<Key>,
    /// What to wait for; by default what the queue's configuration says, which is synced unless it says otherwise
    #[arg(long, value_enum, value_name = "WHAT")]
    ack: Option<AckArg>,
    /// Makes a repeat of the command harmless: under the same id the same items are taken once
    #[arg(long, value_name = "ID", value_parser = OsStringValueParser::new().try_map(id))]
    id: Option<OsString>,
    #[command(flatten)]
    items: ItemsArgs,
    /// Where no daemon listens yet, keep trying for --timeout
    #[arg(long)]
    wait_for_daemon: bool,
    /// Print a summary to standard error even if that is no terminal
    #[arg(long, short)]
    verbose: bool,
}

/// What a submission waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AckArg {
    /// Nothing while it goes on; at the end, that the daemon took everything
    None,
    /// The items survive the daemon's death, not the machine's
    Written,
    /// The items survive a power cut
    Synced,
    /// The sink has the items
    Delivered,
}

impl AckArg {
    fn ack(self) -> Ack {
        match self {
            Self::None => Ack::None,
            Self::Written => Ack::Written,
            Self::Synced => Ack::Synced,
            Self::Delivered => Ack::Delivered,
        }
    }

    /// The name on the command line.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

pub(crate) fn run(args: &SubmitArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut options = context.options();
    options.wait_for_daemon = args.wait_for_daemon;
    if let Some(id) = &args.id {
        options.identity = Identity::ExternalKey(id.as_bytes().to_vec());
    }
    let input = Input::start(&args.items.files, context.world.stdin.take())?;
    let mut client = Client::new(options)?;
    let limits = PackLimits::of(&client.limits()?);
    context.invite(&args.items);
    let mut target = Target::new(args.queue.clone());
    target.key = args.key.clone().unwrap_or_default();
    target.ack = args.ack.map(AckArg::ack);
    let mut submitter = Submitter {
        client,
        target,
        packer: Packer::new(limits.at_most(SUBMISSION_ITEMS_MAX, SUBMISSION_BYTES_MAX)),
        is_repeatable: args.id.is_some(),
        last_sent: Instant::now(),
    };
    let cutter = Cutter::new(args.items.cut(), limits.item_bytes_max);
    let submitted = submitter.submit_all(&input, cutter);
    let totals = submitter.client.totals();
    if let Err(error) = &submitted {
        context.note = Some(what_is_kept(&totals, args, has_ended(error)));
    }
    submitted?;
    if args.verbose || context.world.stderr_is_terminal {
        let summary = summary(&totals, args.ack);
        context.world.tell(format_args!("batchctl: {summary}"));
    }
    match context.output {
        Output::Table => Ok(()),
        Output::Json => {
            let ack = args.ack.map_or("default".to_owned(), AckArg::name);
            context.print_json(&json::submitted(&totals, ack))
        }
    }
}

struct Submitter {
    client: Client,
    target: Target,
    packer: Packer,
    /// Whether the same input must be cut at the same places again, whenever it comes.
    is_repeatable: bool,
    last_sent: Instant,
}

impl Submitter {
    fn submit_all(&mut self, input: &Input, cutter: Cutter) -> anyhow::Result<()> {
        let fed = self.feed(input, cutter);
        let sends_rest = match &fed {
            Ok(()) => true,
            // What came before an input that failed is submitted, unless that would cut it elsewhere than a
            // repeat with a better input will. Behind a submission that failed nothing is: it would leave a gap.
            Err(error) => error.is::<Failure>() && !self.is_repeatable,
        };
        let sent = if sends_rest {
            self.send_packed()
        } else {
            Ok(())
        };
        fed.and(sent.and_then(|()| self.settle()))
    }

    fn feed(&mut self, input: &Input, mut cutter: Cutter) -> anyhow::Result<()> {
        while let Some(event) = self.next_event(input)? {
            cutter.take(event, |item| self.pack(item))?;
        }
        Ok(())
    }

    /// The next event. While none comes, what was packed goes out, and nothing is left in flight.
    fn next_event(&mut self, input: &Input) -> anyhow::Result<Option<Event>> {
        if self.last_sent.elapsed() > LINGER_MAX {
            self.catch_up()?;
        }
        match input.next_within(QUIET) {
            Next::Event(event) => Ok(Some(event)),
            Next::Nothing => {
                self.catch_up()?;
                Ok(input.next())
            }
            Next::Done => Ok(None),
        }
    }

    fn catch_up(&mut self) -> anyhow::Result<()> {
        if !self.is_repeatable {
            self.send_packed()?;
        }
        self.settle()
    }

    fn pack(&mut self, item: &[u8]) -> anyhow::Result<()> {
        match self.packer.push(item).map_err(ClientError::from)? {
            Some(full) => self.send(&full),
            None => Ok(()),
        }
    }

    fn send_packed(&mut self) -> anyhow::Result<()> {
        match self.packer.take() {
            Some(items) => self.send(&items),
            None => Ok(()),
        }
    }

    fn send(&mut self, items: &ItemBuffer) -> anyhow::Result<()> {
        let submission = self.client.prepare(&self.target, items);
        self.last_sent = Instant::now();
        Ok(self.client.send(submission)?)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.client.settle()?;
        self.last_sent = Instant::now();
        Ok(())
    }
}

fn summary(totals: &Totals, ack: Option<AckArg>) -> String {
    if totals.kept.items == 0 {
        return "no items: the input was empty".to_owned();
    }
    let mut text = format!(
        "{} ({}) in {}: {}",
        count(totals.kept.items, "item"),
        count(totals.kept.bytes, "byte"),
        count(totals.kept.submissions, "submission"),
        match ack {
            None => "kept".to_owned(),
            Some(AckArg::None) => "taken".to_owned(),
            Some(ack) => ack.name(),
        }
    );
    if totals.repeats > 0 {
        text.push_str(&format!(", {} of them kept before", totals.repeats));
    }
    text
}

/// Whether items were kept and then, since it waited for the sink, not delivered.
fn has_ended(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ClientError::Refused { code, .. }) if code.is_end_of_batch()
    )
}

/// What a person must know to go on after a failure. Only of what the sink took, or will not take, it speaks as
/// delivered or not: what was not answered may have been kept all the same.
fn what_is_kept(totals: &Totals, args: &SubmitArgs, has_ended: bool) -> String {
    let after = totals.kept.items - totals.prefix.items;
    let waited_for_sink = args.ack == Some(AckArg::Delivered) || has_ended;
    let kept = if waited_for_sink { "delivered" } else { "kept" };
    let mut text = match totals.prefix.items {
        0 if has_ended => "no item is known to be delivered".to_owned(),
        0 => "no item is known to be kept".to_owned(),
        1 => format!("the first item is {kept}"),
        items => format!("the first {items} items are {kept}"),
    };
    if after > 0 {
        text.push_str(&format!(", and {} after a gap", count(after, "item")));
    }
    if totals.unknown.items > 0 {
        let unknown = count(totals.unknown.items, "item");
        text.push_str(&format!("; {unknown} more may be kept or not"));
    }
    if args.id.is_some() {
        text.push_str("; the same command with the same --id takes only what is missing");
    }
    text
}

pub(super) fn key(key: OsString) -> Result<Key, NameError> {
    Key::new(key.into_vec())
}

fn id(id: OsString) -> Result<OsString, &'static str> {
    if id.is_empty() {
        return Err("an id has at least one character: leave --id away to have none");
    }
    Ok(id)
}

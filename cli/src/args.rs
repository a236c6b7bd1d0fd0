//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use batchd_client::QueueName;
use batchd_client::split::Cut;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{cat, create, flush, get, history, ls, show, status, submit, verify};
use crate::input::is_stdin;

const EXIT_CODES: &str = "\
Exit codes:
   0  success, also where nobody reads standard output any more
   1  a batch has expired, was set aside or was dropped, or a flush that waited did not deliver all
   2  damage was found: what can be read was read
  64  the command line is wrong
  65  the input can never be taken: do not repeat it
  66  no such input file, queue, batch or spool
  69  no daemon answers
  70  a fault of batchctl or the daemon
  74  reading or writing failed
  75  not now, or not known: try again; a daemon has the spool
  76  the daemon does not speak this protocol
  77  not permitted
  78  the queue has no sink to wait for, or the spool is of a newer program

Example:
  echo hello | batchctl submit --queue logs";

/// Submits items to batchd and shows what it holds.
#[derive(Debug, Parser)]
#[command(name = "batchctl", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// For every command.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Socket of the daemon [default: $BATCHD_SOCKET, else /run/batchd/batchd.sock as root or where it
    /// exists, else $XDG_RUNTIME_DIR/batchd/batchd.sock, else ~/.local/state/batchd/batchd.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Form of what goes to standard output; json is one document, or one a line for lists
    #[arg(long, global = true, value_enum, default_value_t = Output::Table, value_name = "FORM")]
    pub(crate) output: Output,
    /// Longest wait for any one answer of the daemon, as in 500ms, 30s or 5min
    #[arg(long, global = true, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// For commands that can also do without a daemon.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Read this spool while no daemon runs, instead of asking one; nothing is written
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    pub(crate) spool: Option<PathBuf>,
}

/// Inputs, and how they are cut into items.
#[derive(Debug, Args)]
pub(crate) struct ItemsArgs {
    /// Items end with a NUL byte instead of a newline
    #[arg(long)]
    null: bool,
    /// Each input is one item
    #[arg(long, conflicts_with = "null")]
    whole: bool,
    /// Inputs, in order; - is standard input, as is none
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

impl ItemsArgs {
    pub(crate) fn cut(&self) -> Cut {
        match (self.null, self.whole) {
            (true, _) => Cut::Null,
            (false, true) => Cut::Whole,
            (false, false) => Cut::Lines,
        }
    }

    /// Whether standard input is among the inputs.
    pub(crate) fn read_stdin(&self) -> bool {
        self.files.is_empty() || self.files.iter().any(|path| is_stdin(path))
    }
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns for people.
    Table,
    /// JSON for programs.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Submit(submit::SubmitArgs),
    Flush(flush::FlushArgs),
    Status(status::StatusArgs),
    Ls(ls::LsArgs),
    Show(show::ShowArgs),
    Cat(cat::CatArgs),
    Verify(verify::VerifyArgs),
    Create(create::CreateArgs),
    Get(get::GetArgs),
    History(history::HistoryArgs),
}

impl Command {
    /// The spool that is read instead of asking a daemon.
    pub(crate) fn spool(&self) -> Option<&Path> {
        let place = match self {
            Self::Submit(_)
            | Self::Flush(_)
            | Self::Status(_)
            | Self::Create(_)
            | Self::Get(_)
            | Self::History(_) => return None,
            Self::Ls(args) => &args.place,
            Self::Show(args) => &args.place,
            Self::Cat(args) => &args.place,
            Self::Verify(args) => &args.place,
        };
        place.spool.as_deref()
    }

    /// The queue that it is about, where it names one.
    pub(crate) fn queue(&self) -> Option<&QueueName> {
        match self {
            Self::Submit(args) => Some(&args.queue),
            Self::Create(args) => Some(&args.queue),
            Self::Flush(args) => args.queue.as_ref(),
            Self::Ls(args) => args.queue.as_ref(),
            Self::Verify(args) => args.queue.as_ref(),
            Self::History(args) => args.queue.as_ref(),
            Self::Status(_) | Self::Show(_) | Self::Cat(_) | Self::Get(_) => None,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("a timeout is longer than nothing, as in 500ms or 30s".to_owned()),
        duration => Ok(duration),
    }
}

/// Numbers and units.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "not a time: numbers with units, as in 500ms, 30s or 1h 30min".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_of_the_reference() {
        let page = include_str!("../../docs/operating.md");
        let (_, section) = page.split_once("\n## Exit codes\n").expect("a section");
        let rows = section.lines().filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, code, _, batchctl, _] = cells.as_slice() else {
                return None;
            };
            Some((code.parse::<u8>().ok()?, *batchctl))
        });
        let help = EXIT_CODES.lines().filter_map(|line| {
            let (code, text) = line.trim_start().split_once("  ")?;
            Some((code.parse::<u8>().ok()?, text))
        });
        assert_eq!(rows.collect::<Vec<_>>(), help.collect::<Vec<_>>());
    }
}

//! The command line of `batchd pipe`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use batchd_frame::Key;
use batchd_frame::split::Cut;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::Given;

/// Batch the lines of standard input: spool them durably, and hand them on in batches
///
/// It is the whole of batchd in one process, without a socket. Settings come from options, and from a file only where
/// --config names one. Input is read, synced to the spool, and delivered to
/// the sink in batches. It ends when the input has ended and everything is delivered. What it has taken it never
/// loses: where it is killed, or the sink fails for longer than --shutdown-timeout, the next start delivers it.
///
/// From a file (batchd pipe < FILE) each item is taken once, however often it is killed and started again: it goes on
/// behind what the spool has had of the file. From a pipe it says on standard error how many items are durable.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  \
    tail -F access.log | batchd pipe --max-items 500 --max-age 2s --sink file:/var/tmp/batches")]
pub(crate) struct PipeArgs {
    /// Where the batches go: file:DIR, one file for each batch; with --sink-option append=true file:FILE
    #[arg(long, value_name = "TYPE:TARGET")]
    sink: Option<Target>,
    /// A further key of the sink's configuration, such as encoding=ndjson
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, requires = "sink")]
    sink_option: Vec<(String, String)>,
    /// The spool; without it, one of this queue and sink below the state directory
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Queue, whose settings are those of --config where that names it
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Key of the items
    #[arg(long, value_name = "KEY", value_parser = OsStringValueParser::new().try_map(to_key))]
    pub(crate) key: Option<Key>,
    /// Items end with a NUL byte, not with a newline
    #[arg(long, short = '0')]
    null: bool,
    /// All of the input is one item
    #[arg(long, conflicts_with = "null")]
    whole: bool,
    /// How often to say how many items are durable; 0s: whenever more are
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) report: std::time::Duration,
    /// Say nothing but what is wrong
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// How long the end waits for a sink that fails
    #[arg(long, value_name = "TIME")]
    shutdown_timeout: Option<String>,
    #[command(flatten, next_help_heading = "Settings of the queue")]
    queue_options: QueueOptions,
}

impl PipeArgs {
    /// How the input is cut.
    pub(crate) const fn cut(&self) -> Cut {
        match (self.null, self.whole) {
            (true, _) => Cut::Null,
            (false, true) => Cut::Whole,
            (false, false) => Cut::Lines,
        }
    }

    /// What there is for the configuration. `file` is that of `--config`.
    pub(crate) fn given(&self, file: Option<PathBuf>) -> Given {
        Given {
            file,
            queue: self.queue.clone(),
            spool: self.spool.as_deref().map(from_the_root),
            sink: self
                .sink
                .as_ref()
                .map(|sink| (sink.kind.clone(), from_the_root(&sink.target))),
            sink_options: self.sink_option.clone(),
            queue_options: self.queue_options.0.clone(),
            shutdown_timeout: self.shutdown_timeout.clone(),
        }
    }
}

/// A sink in one word.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    kind: String,
    target: PathBuf,
}

impl std::str::FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((kind, target)) if !target.is_empty() => Ok(Self {
                kind: kind.to_owned(),
                target: target.into(),
            }),
            _ => Err("a type and where it goes, as in file:DIR"),
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("a key and a value, as in encoding=ndjson")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn to_key(key: OsString) -> Result<Key, batchd_frame::NameError> {
    use std::os::unix::ffi::OsStringExt as _;
    Key::new(key.into_vec())
}

/// The same path, from the root, without `..` or symbolic links in what is there of it.
fn from_the_root(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path.ancestors().find_map(|there| {
        let missing = path.strip_prefix(there).ok()?;
        Some(fs::canonicalize(there).ok()?.join(missing))
    });
    match found {
        // Joined with nothing, it would end in a slash.
        Some(found) => found.components().collect(),
        None => path,
    }
}

/// The keys of a queue that mean something here, each an option of the same name: that, its value, and what it does.
const OPTIONS: [(&str, &str, &str); 15] = [
    ("max-items", "N", "Close a batch at so many items"),
    (
        "max-bytes",
        "SIZE",
        "Close a batch at so many bytes of items",
    ),
    (
        "max-age",
        "TIME",
        "Close a batch when its first item is so old",
    ),
    (
        "max-since-flush",
        "TIME",
        "Close a batch when the last flush is so long ago",
    ),
    ("interval", "TIME", "Close a batch every so often"),
    (
        "interval-mode",
        "MODE",
        "fixed-rate: on a grid; fixed-delay: so long after the last flush ended",
    ),
    (
        "interval-jitter",
        "PERCENT",
        "Close up to so much of an interval later, at random",
    ),
    (
        "idle",
        "TIME",
        "Close a batch when nothing came for so long",
    ),
    (
        "on-shutdown",
        "WHAT",
        "keep, or flush, what is open when a signal ends it",
    ),
    ("lifespan", "TIME", "How long a batch may wait undelivered"),
    (
        "on-expire",
        "WHAT",
        "What becomes of it then: dead keeps it for a person, drop drops it",
    ),
    ("quota-items", "N", "How many items the spool may hold"),
    (
        "quota-bytes",
        "SIZE",
        "How many bytes of items the spool may hold",
    ),
    (
        "overflow",
        "WHAT",
        "Past that: block reads no more, drop-oldest drops batches, reject ends with an error",
    ),
    (
        "producer-window",
        "TIME",
        "How long it is remembered what was taken of a file",
    ),
];

/// What was given of [`OPTIONS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct QueueOptions(Vec<(String, String)>);

impl FromArgMatches for QueueOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let wrong = |_| clap::Error::new(ErrorKind::InvalidValue);
        for (name, ..) in OPTIONS {
            if let Some(value) = matches.try_get_one::<String>(name).map_err(wrong)? {
                self.0.push((name.replace('-', "_"), value.clone()));
            }
        }
        Ok(())
    }
}

impl Args for QueueOptions {
    fn augment_args(command: Command) -> Command {
        command.args(OPTIONS.map(|(name, value, help)| {
            let option = Arg::new(name).long(name);
            option.value_name(value).help(help)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use insta::assert_snapshot;

    use super::*;
    use crate::config::{Config, Surroundings};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        pipe: PipeArgs,
    }

    /// The configuration that comes of a line, in lines; what is wrong with it otherwise.
    fn read(line: &str) -> Vec<String> {
        let line = Line::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        let user = Surroundings::new(1000, crate::config::variables(&[("HOME", "/home/a")]));
        match Config::of_pipe(&line.pipe.given(None), &user) {
            Ok((config, _)) => config.render().lines().map(str::to_owned).collect(),
            Err(errors) => vec![errors.to_string()],
        }
    }

    #[test]
    fn the_options_are_keys_of_the_configuration() {
        let all = "pipe --sink file:/out --sink-option name={seq}-{id} --queue logs --spool /spool \
            --max-items 7 --max-bytes 7KiB --max-age 7s --max-since-flush 8s --interval 9s --interval-mode \
            fixed-delay --interval-jitter 7% --idle 6s --on-shutdown flush --lifespan 7days --on-expire drop \
            --quota-items 77 --quota-bytes 7MiB --overflow drop-oldest --producer-window 7h --shutdown-timeout 7s";
        let all: Vec<_> = all.split_whitespace().collect();
        let (set, built_in) = (read(&all.join(" ")), read("pipe --sink file:/out"));
        let changed: Vec<_> = set.iter().filter(|line| !built_in.contains(line)).collect();
        let changed: Vec<_> = changed.into_iter().map(String::as_str).collect();
        assert_snapshot!(changed.join("\n"), @r#"
        path = "/spool"
        shutdown_timeout = "7s"
        on_expire = "drop"
        sink = "off"
        [queues.logs]
        max_items = 7
        max_bytes = "7KiB"
        max_age = "7s"
        max_since_flush = "8s"
        interval = "9s"
        interval_mode = "fixed-delay"
        interval_jitter = "7%"
        idle = "6s"
        on_shutdown = "flush"
        lifespan = "7days"
        on_expire = "drop"
        producer_window = "7h"
        quota_bytes = "7MiB"
        quota_items = 77
        overflow = "drop-oldest"
        [queues.logs.sink]
        name = "{seq}-{id}"
        "#);
        // What is not among them has no meaning here.
        let queue = set
            .iter()
            .skip_while(|line| *line != "[queues.logs]")
            .skip(1);
        let queue = queue.take_while(|line| !line.is_empty());
        let keys = queue.filter_map(|line| Some(line.split_once(" = ")?.0.replace('_', "-")));
        let others = keys.filter(|key| !OPTIONS.iter().any(|(name, ..)| name == key));
        assert_eq!(others.collect::<Vec<_>>(), ["ack", "max-open-batches"]);
    }

    #[test]
    fn where_the_spool_is_depends_on_the_sink() {
        let spool = |line: &str| read(line).get(1).cloned().unwrap_or_default();
        assert_snapshot!(spool("pipe --sink file:/out"), @r#"path = "/home/a/.local/state/batchd/pipe/default-out-525080d3""#);
        assert_snapshot!(spool("pipe --sink file:/x/out"), @r#"path = "/home/a/.local/state/batchd/pipe/default-out-03a092a1""#);
        assert_snapshot!(spool("pipe --sink file:/x/out --queue logs --max-items 3"), @r#"path = "/home/a/.local/state/batchd/pipe/logs-out-03a092a1""#);
        assert_snapshot!(spool("pipe --sink file:/x/out --spool /s"), @r#"path = "/s""#);
    }

    #[test]
    fn values_are_toml_where_they_can_be() {
        let name = |line: &str| {
            let said = read(&format!("pipe --sink file:/out --sink-option {line}"));
            said.last().cloned().unwrap_or_default()
        };
        assert_snapshot!(name("append=true"), @"append = true");
        assert_snapshot!(name("append=\"true\""), @"--sink-option append: found a string, expected true or false");
        assert_snapshot!(name("name={seq}-{id}\nappend=true"), @r"
        --sink: `name` '{seq}-{id}
        append=true': control character '\n' in a file name
        ");
    }
}

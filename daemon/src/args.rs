//! The command line.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;

use batchd_protocol::exit;
use clap::Parser;
use clap::error::{ContextKind, ErrorKind};

use crate::demo::DemoArgs;
use crate::pipe::PipeArgs;

/// The variable that stands for `--log`.
pub(crate) const LOG_VARIABLE: &str = "BATCHD_LOG";

/// For who looks for "start", or mixes up the two programs.
const ALONE: &str =
    "'batchd' alone runs the daemon; 'submit', 'status' and the like are commands of batchctl";

/// A durable, file-backed batching daemon.
///
/// Takes small items over a Unix socket, keeps them on disk and hands them on in batches. Without arguments it
/// runs with the configuration of the system, or of the user, or the one that is built in.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "batchd", version)]
pub(crate) struct Args {
    /// The configuration; without it the daemon reads /etc/batchd/batchd.toml as root or as a service,
    /// $XDG_CONFIG_HOME/batchd/batchd.toml otherwise, if there is one
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// What to log, such as "info" or "batchd=debug" [env: BATCHD_LOG]
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<OsString>,

    /// What to do; to run the daemon where there is none.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do other than to run the daemon.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub(crate) enum Command {
    /// Print the configuration in force, or everything that is wrong with it
    CheckConfig,
    /// Show what it does: with a daemon of its own that is killed half-way, and a comparison of every byte
    Demo(DemoArgs),
    Pipe(Box<PipeArgs>),
}

impl Args {
    /// Reads the command line, the program's name first; `log` is the value of [`LOG_VARIABLE`].
    ///
    /// # Errors
    /// The exit code, where that was all: the help, the version or the complaint is then printed.
    pub(crate) fn read(
        args: impl IntoIterator<Item = OsString>,
        log: Option<OsString>,
    ) -> Result<Self, u8> {
        Self::try_read(args, log).map_err(|answer| {
            // Where not even the complaint can be printed, the exit code is all there is to say.
            answer.print().ok();
            let is_near = answer.get(ContextKind::SuggestedSubcommand).is_some();
            if answer.kind() == ErrorKind::InvalidSubcommand && !is_near {
                writeln!(io::stderr(), "hint: {ALONE}").ok();
            }
            exit_code(&answer)
        })
    }

    fn try_read(
        args: impl IntoIterator<Item = OsString>,
        log: Option<OsString>,
    ) -> Result<Self, clap::Error> {
        let mut args = Self::try_parse_from(args)?;
        // The demo's daemon has an environment of its own.
        let log =
            log.filter(|log| !log.is_empty() && !matches!(args.command, Some(Command::Demo(_))));
        args.log = args.log.or(log);
        Ok(args)
    }
}

/// The exit code after what clap has to say: it calls help and version errors too.
fn exit_code(answer: &clap::Error) -> u8 {
    if answer.use_stderr() {
        exit::USAGE
    } else {
        exit::OK
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use insta::assert_snapshot;

    use super::*;

    fn read(line: &str, log: Option<&str>) -> Result<Args, u8> {
        let args = line.split_whitespace().map(OsString::from);
        Args::try_read(args, log.map(OsString::from)).map_err(|answer| exit_code(&answer))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        assert_snapshot!(Args::command().term_width(80).render_help(), @r#"
        A durable, file-backed batching daemon

        Usage: batchd [OPTIONS] [COMMAND]

        Commands:
          check-config  Print the configuration in force, or everything that is wrong
                        with it
          demo          Show what it does: with a daemon of its own that is killed
                        half-way, and a comparison of every byte
          pipe          Batch the lines of standard input: spool them durably, and hand
                        them on in batches
          help          Print this message or the help of the given subcommand(s)

        Options:
              --config <FILE>  The configuration; without it the daemon reads
                               /etc/batchd/batchd.toml as root or as a service,
                               $XDG_CONFIG_HOME/batchd/batchd.toml otherwise, if there
                               is one
              --log <FILTER>   What to log, such as "info" or "batchd=debug" [env:
                               BATCHD_LOG]
          -h, --help           Print help (see more with '--help')
          -V, --version        Print version
        "#);
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        let args = Args {
            config: Some("/c".into()),
            log: None,
            command: Some(Command::CheckConfig),
        };
        assert_eq!(
            read("batchd --config /c check-config", None),
            Ok(args.clone())
        );
        assert_eq!(read("batchd check-config --config /c", None), Ok(args));
        assert_eq!(
            read("batchd", None),
            Ok(Args {
                config: None,
                log: None,
                command: None
            })
        );
    }

    #[test]
    fn the_option_goes_before_the_variable() {
        let log = |line, variable| read(line, variable).unwrap().log;
        assert_eq!(log("batchd", Some("debug")), Some("debug".into()));
        assert_eq!(log("batchd --log warn", Some("debug")), Some("warn".into()));
        assert_eq!(log("batchd", Some("")), None);
    }

    #[test]
    fn a_wrong_command_line_ends_with_its_own_code() {
        for line in [
            "batchd --confg x",
            "batchd start",
            "batchd --config",
            "batchd --log",
        ] {
            assert_eq!(read(line, None), Err(exit::USAGE), "{line}");
        }
        for line in ["batchd --help", "batchd --version", "batchd help"] {
            assert_eq!(read(line, None), Err(exit::OK), "{line}");
        }
    }
}

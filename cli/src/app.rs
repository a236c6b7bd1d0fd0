//! From the command line to the exit code.

use std::ffi::OsString;

use batchd_protocol::exit;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::args::Cli;
use crate::commands::{self, Context};
use crate::failure;
use crate::world::World;

/// Does what the arguments say; returns the exit code.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>, mut world: World<'_>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &mut world),
    };
    // One before the command and one behind it are not compared by the parser.
    if cli.global.socket.is_some() && cli.command.spool().is_some() {
        let text = "the argument '--socket <PATH>' cannot be used with '--spool <DIR>'";
        let error = Cli::command().error(ErrorKind::ArgumentConflict, text);
        return usage(&error, &mut world);
    }
    let socket = world.surroundings.socket(cli.global.socket.as_deref());
    let mut context = Context {
        socket,
        queue: cli.command.queue().cloned(),
        output: cli.global.output,
        timeout: cli.global.timeout,
        note: None,
        world,
    };
    let done = commands::run(cli.command, &mut context);
    let flushed = context.world.stdout.flush();
    match done.and_then(|()| flushed.map_err(failure::output)) {
        Ok(()) => exit::OK,
        Err(error) => failure::report(&error, &mut context),
    }
}

/// Help and version are data; all else is about the command line.
fn usage(error: &clap::Error, world: &mut World<'_>) -> u8 {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match write!(world.stdout, "{text}").and_then(|()| world.stdout.flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => exit::IOERR,
                _ => exit::OK,
            }
        }
        kind => {
            write!(world.stderr, "{text}").unwrap_or_default();
            if kind == ErrorKind::InvalidSubcommand {
                world.tell(format_args!(
                    "hint: 'batchctl --help' lists the commands; the daemon itself is started with 'batchd'"
                ));
            }
            exit::USAGE
        }
    }
}

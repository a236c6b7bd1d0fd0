//! The commands, one file each.

pub(crate) mod cat;
pub(crate) mod create;
pub(crate) mod flush;
pub(crate) mod get;
pub(crate) mod history;
mod listing;
pub(crate) mod ls;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod verify;

use std::time::Duration;

use batchd_client::blocking::Client;
use batchd_client::split::Cut;
use batchd_client::{Options, QueueName};
use serde::Serialize;

use crate::args::{Command, ItemsArgs, Output};
use crate::failure;
use crate::world::{Socket, World};

/// What every command is given.
pub(crate) struct Context<'a> {
    /// The daemon's socket.
    pub(crate) socket: Socket,
    /// The queue that the command is about, where it names one.
    pub(crate) queue: Option<QueueName>,
    /// Form of the output.
    pub(crate) output: Output,
    /// Longest wait for an answer.
    pub(crate) timeout: Duration,
    /// What else a person must know if it fails.
    pub(crate) note: Option<String>,
    /// Streams and surroundings.
    pub(crate) world: World<'a>,
}

impl Context<'_> {
    /// Settings of a client that does not wait for a daemon that is not there.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(&self.socket.path);
        options.client_name = concat!("batchctl/", env!("CARGO_PKG_VERSION")).to_owned();
        options.deadline = self.timeout;
        options.wait_for_daemon = false;
        options
    }

    fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.options())?)
    }

    /// Tells the person who is about to type items that they are waited for.
    fn invite(&mut self, items: &ItemsArgs) {
        if !self.world.stdin_is_terminal || !items.read_stdin() {
            return;
        }
        let how = match items.cut() {
            Cut::Lines => "one a line",
            Cut::Null => "each ended by a NUL byte",
            Cut::Whole => "all of it as one",
        };
        self.world.tell(format_args!(
            "batchctl: reading items from the terminal, {how}; Ctrl-D ends them"
        ));
    }

    fn print(&mut self, text: &str) -> anyhow::Result<()> {
        self.print_bytes(text.as_bytes())
    }

    fn print_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.world.stdout.write_all(bytes).map_err(failure::output)
    }

    /// Prints a JSON document in a line of its own.
    fn print_json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.print_bytes(&line)
    }
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Submit(args) => submit::run(&args, context),
        Command::Flush(args) => flush::run(&args, context),
        Command::Status(args) => status::run(&args, context),
        Command::Ls(args) => ls::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Cat(args) => cat::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Create(args) => create::run(&args, context),
        Command::Get(args) => get::run(&args, context),
        Command::History(args) => history::run(&args, context),
    }
}

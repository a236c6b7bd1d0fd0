//! batchctl: submits to batchd and shows what it holds.
//!
//! `main` is the only place that knows the process: its arguments, its streams and its environment. All else
//! is given them as a [`world::World`].

mod app;
mod args;
mod commands;
mod failure;
mod hint;
mod input;
mod offline;
mod render;
mod similar;
mod split;
#[cfg(test)]
mod tests;
mod unreachable;
mod world;

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::process::ExitCode;

use world::{Surroundings, World};

fn main() -> ExitCode {
    let mut stdout = stdout().lock();
    let mut stderr = stderr().lock();
    let world = World {
        stdin: Some(Box::new(stdin())),
        stdin_is_terminal: stdin().is_terminal(),
        stderr_is_terminal: stderr.is_terminal(),
        stdout: &mut stdout,
        stderr: &mut stderr,
        surroundings: Surroundings::new(rustix::process::geteuid().is_root(), |name| {
            std::env::var_os(name)
        }),
    };
    ExitCode::from(app::run(std::env::args_os(), world))
}

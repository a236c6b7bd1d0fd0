//! What a person sees meanwhile, all of it on standard error: a bar on a terminal, lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const OF_A_FILE: &str = "{bar:20} {bytes}/{total_bytes}  {msg}";
const OF_A_STREAM: &str = "{spinner} {bytes}, {bytes_per_sec}  {msg}";
/// A bar is drawn at most so often in a second.
const DRAWS_PER_SECOND: u8 = 10;

/// How much of the input is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Done {
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// Items that became durable.
    pub(super) durable: u64,
    /// Items that were delivered, those of earlier runs among them.
    pub(super) delivered: u64,
}

/// Tells a person.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    is_quiet: bool,
}

impl Progress {
    /// On a terminal with a bar, unless it is to be quiet.
    pub(crate) fn new(is_quiet: bool) -> Self {
        let is_drawn = io::stderr().is_terminal() && !is_quiet;
        let target = match is_drawn {
            true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
            false => ProgressDrawTarget::hidden(),
        };
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            is_quiet,
        }
    }

    /// Whether there is a bar to be looked at.
    pub(super) fn is_drawn(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Begins: a file of so many bytes, of which some were done before, or an input without an end.
    pub(super) fn begin(&self, file: Option<(u64, u64)>) {
        let template = file.map_or(OF_A_STREAM, |_| OF_A_FILE);
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        if let Some((done, length)) = file {
            self.bar.set_length(length);
            self.bar.set_position(done);
        }
    }

    /// Shows how far it is.
    pub(super) fn show(&self, done: Done) {
        let Done {
            bytes,
            durable,
            delivered,
        } = done;
        self.bar.set_position(bytes);
        let message = format!("{durable} durable, {delivered} delivered");
        self.bar.set_message(message);
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Says something that is not wrong.
    pub(super) fn say(&self, text: &str) {
        if !self.is_quiet {
            self.write(format!("batchd pipe: {text}\n").as_bytes());
        }
    }

    /// Writes past the bar.
    pub(crate) fn write(&self, text: &[u8]) {
        // One call: lines of several threads do not mix. Where it cannot be written there is nobody to tell.
        self.bar
            .suspend(|| io::stderr().lock().write_all(text).ok());
    }
}

//! The log: on stderr, where systemd takes it from. A full disk behind stderr costs log lines, never the daemon.

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

/// What is logged unless somebody says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Starts logging. `filter` is as in `--log`.
///
/// # Errors
/// Where the filter is none.
pub(crate) fn start(filter: Option<&str>) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER))?;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Stderr)
        .with_ansi(terminal)
        .with_target(false)
        .log_internal_errors(false);
    // journald stamps lines itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
    Ok(())
}

/// Stderr, with every error swallowed: there is nowhere left to report one.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // One call a line: lines of several threads do not mix.
        io::stderr().lock().write_all(buf).ok();
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The log: on stderr, where systemd takes it from. A full disk behind stderr costs log lines, never the daemon.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::LOG_VARIABLE;
use crate::pipe::Progress;

/// What was given as a filter is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log (or {LOG_VARIABLE}) {filter:?}: {why}: write a level such as \"info\", or \"batchd=debug\""
)]
pub(crate) struct NoFilter {
    filter: OsString,
    why: String,
}

/// Starts logging, past a bar where there is one. `filter` is as in `--log`.
///
/// # Errors
/// Where the filter is none.
pub(crate) fn start(filter: &OsStr, progress: Option<Progress>) -> Result<(), NoFilter> {
    let filter = read(filter)?;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Stderr(progress))
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

/// A filter that lets errors through wherever nothing else is said: what names no level, or a part of the program
/// alone, must not hide why the daemon does nothing.
fn read(filter: &OsStr) -> Result<EnvFilter, NoFilter> {
    let none = |why: &str| NoFilter {
        filter: filter.to_owned(),
        why: why.to_owned(),
    };
    let text = filter.to_str().ok_or_else(|| none("not UTF-8"))?;
    // Of two that say something of the same, the later one counts.
    EnvFilter::try_new(format!("error,{text}")).map_err(|error| none(&error.to_string()))
}

/// Stderr, with every error swallowed: there is nowhere left to report one.
#[derive(Clone)]
struct Stderr(Option<Progress>);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Stderr {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(progress) => progress.write(buf),
            // One call a line: lines of several threads do not mix.
            None => drop(io::stderr().lock().write_all(buf)),
        }
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use insta::assert_snapshot;

    use super::*;

    fn said(filter: &[u8]) -> String {
        match read(OsStr::from_bytes(filter)) {
            Ok(filter) => filter.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn errors_are_hidden_on_purpose_only() {
        assert_snapshot!(said(b"info"), @"info");
        assert_snapshot!(said(b"inof"), @"inof=trace,error");
        assert_snapshot!(said(b"batchd_core=debug"), @"batchd_core=debug,error");
        assert_snapshot!(said(b"warn,batchd=debug"), @"batchd=debug,warn");
        assert_snapshot!(said(b"off"), @"off");
    }

    #[test]
    fn what_is_no_filter() {
        assert_snapshot!(said(b"batchd=debgu"), @r#"--log (or BATCHD_LOG) "batchd=debgu": error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5: write a level such as "info", or "batchd=debug""#);
        assert_snapshot!(said(b"\xff=info"), @r#"--log (or BATCHD_LOG) "\xFF=info": not UTF-8: write a level such as "info", or "batchd=debug""#);
    }
}

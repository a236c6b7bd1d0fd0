//! Sockets that somebody listened on before the daemon was started, as in sd_listen_fds(3).

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// Whom the sockets are for.
const PID_VARIABLE: &str = "LISTEN_PID";
/// How many there are.
const COUNT_VARIABLE: &str = "LISTEN_FDS";
/// What they are called, separated by colons.
const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";
/// The descriptor of the first.
const FIRST_DESCRIPTOR: usize = 3;
/// Nobody passes more on purpose.
const SOCKETS_MAX: usize = 64;

/// Why what was passed on cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InheritedError {
    /// The count is none.
    #[error(
        "{COUNT_VARIABLE} is \"{found}\": it must be a number of sockets, at most {SOCKETS_MAX}; \
         unset it where no sockets are passed"
    )]
    Count {
        /// What it is.
        found: String,
    },
    /// What was passed on is something else.
    #[error(
        "{socket} is no stream socket of Unix ({source}): pass one of ListenStream= with a path; \
         where nothing is passed on purpose, unset {COUNT_VARIABLE}"
    )]
    NoUnixStream {
        /// Which.
        socket: String,
        /// What was found.
        source: io::Error,
    },
    /// A connection was passed on.
    #[error("{socket} is a connection: pass the socket that listens (Accept=no)")]
    NotListening {
        /// Which.
        socket: String,
    },
    /// The system does not tell what it is.
    #[error("{socket} cannot be used: {source}")]
    Unusable {
        /// Which.
        socket: String,
        /// Why.
        source: io::Error,
    },
}

/// Takes the sockets that were passed to this process, not blocking; `var` looks up a variable of the
/// environment. To be called once, before there is a second thread and before anything is opened: the first two
/// variables are removed, so that no child takes the sockets for its own, and the descriptors are believed to be
/// nobody else's.
///
/// # Errors
/// [`InheritedError`] where one of them is nothing that can be listened on.
pub(crate) fn take_inherited(
    var: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<UnixListener>, InheritedError> {
    let count = count(&var, std::process::id())?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let names = var(NAMES_VARIABLE).unwrap_or_default();
    let names = names.to_string_lossy();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    (0..count)
        .map(|index| take(&mut passed, index, names.next().unwrap_or_default()))
        .collect()
}

fn take(passed: &mut ListenFd, index: usize, name: &str) -> Result<UnixListener, InheritedError> {
    let socket = || {
        let descriptor = FIRST_DESCRIPTOR + index;
        match name {
            "" => format!("the inherited descriptor {descriptor}"),
            name => format!("the inherited descriptor {descriptor} ({name:?})"),
        }
    };
    let unusable = |source| InheritedError::Unusable {
        socket: socket(),
        source,
    };
    let listener = match passed.take_unix_listener(index) {
        Ok(Some(listener)) => listener,
        Ok(None) => return Err(unusable(io::ErrorKind::NotFound.into())),
        Err(source) => {
            return Err(InheritedError::NoUnixStream {
                socket: socket(),
                source,
            });
        }
    };
    // Accepting from a connection would fail for ever, and say nothing of why.
    if !socket_acceptconn(&listener).map_err(|error| unusable(error.into()))? {
        return Err(InheritedError::NotListening { socket: socket() });
    }
    listener.set_nonblocking(true).map_err(unusable)?;
    Ok(listener)
}

/// How many sockets were passed to the process `pid`.
fn count(var: impl Fn(&str) -> Option<OsString>, pid: u32) -> Result<usize, InheritedError> {
    let text = |name: &str| var(name).map(|value| value.to_string_lossy().into_owned());
    // Without it they are for somebody else, further up, who forgot to remove the variables.
    if text(PID_VARIABLE).and_then(|id| id.parse().ok()) != Some(pid) {
        return Ok(0);
    }
    let Some(found) = text(COUNT_VARIABLE) else {
        return Ok(0);
    };
    match found.parse() {
        Ok(count) if count <= SOCKETS_MAX => Ok(count),
        _ => Err(InheritedError::Count {
            found: found.escape_debug().to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables;

    fn counted(vars: &[(&str, &str)]) -> String {
        match count(variables(vars), 42) {
            Ok(count) => count.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_what_was_passed_to_this_process_counts() {
        assert_eq!(counted(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "2")]), "2");
        assert_eq!(counted(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "0")]), "0");
        assert_eq!(counted(&[("LISTEN_PID", "42")]), "0");
        for other in ["41", "", "x", "-42"] {
            assert_eq!(counted(&[("LISTEN_PID", other), ("LISTEN_FDS", "2")]), "0");
        }
        assert_eq!(counted(&[("LISTEN_FDS", "2")]), "0");
        assert_eq!(counted(&[]), "0");
    }

    #[test]
    fn a_count_that_nobody_means_is_refused() {
        for wrong in [
            "65",
            "4000000000",
            "99999999999999999999999",
            "-1",
            "two",
            "",
        ] {
            assert_eq!(
                counted(&[("LISTEN_PID", "42"), ("LISTEN_FDS", wrong)]),
                format!(
                    "LISTEN_FDS is \"{wrong}\": it must be a number of sockets, at most 64; unset it where no sockets are passed"
                )
            );
        }
    }
}

//! How a client behaves: where the daemon is, how long to wait, how much to have in flight.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::Identity;

/// Socket of the daemon that runs as a service.
pub const SYSTEM_SOCKET: &str = "/run/batchd/batchd.sock";

/// Where the daemon's socket is unless something says otherwise: [`SYSTEM_SOCKET`] for root, or where it
/// exists; else that of a daemon of the user's own ([`user_socket_path`]), if the user has a place for one.
#[must_use]
pub fn default_socket_path(
    is_root: bool,
    system_socket_exists: bool,
    runtime_dir: Option<&Path>,
    state_home: Option<&Path>,
) -> PathBuf {
    let own = user_socket_path(runtime_dir, state_home);
    own.filter(|_| !is_root && !system_socket_exists)
        .unwrap_or_else(|| PathBuf::from(SYSTEM_SOCKET))
}

/// Where a daemon listens that a user started without a configuration: at `batchd/batchd.sock` in the user's runtime
/// directory (`XDG_RUNTIME_DIR`) or, without one, as after `su`, in the one for state (`XDG_STATE_HOME`, or
/// `~/.local/state`). What is no absolute path counts as not there.
#[must_use]
pub fn user_socket_path(runtime_dir: Option<&Path>, state_home: Option<&Path>) -> Option<PathBuf> {
    let mut homes = [runtime_dir, state_home].into_iter().flatten();
    let home = homes.find(|dir| dir.is_absolute())?;
    Some(home.join("batchd/batchd.sock"))
}

/// What a client needs to know. [`Options::new`] fills in everything but the socket.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Name of the program, for the daemon's log.
    pub client_name: String,
    /// Longest time without an answer to any one submission or request.
    pub deadline: Duration,
    /// Whether to keep trying where there is no daemon to begin with. A client that was once welcomed always
    /// keeps trying until the deadline.
    pub wait_for_daemon: bool,
    /// Pauses between tries.
    pub retry: RetryDelays,
    /// How much may be in flight.
    pub window: WindowBounds,
    /// Under which producer id submissions are numbered.
    pub identity: Identity,
}

impl Options {
    /// 30 seconds of patience, also for a daemon that has not started yet; a random producer id.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            client_name: concat!("batchd-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            deadline: Duration::from_secs(30),
            wait_for_daemon: true,
            retry: RetryDelays::default(),
            window: WindowBounds::default(),
            identity: Identity::Random,
        }
    }
}

/// Pauses between tries: drawn evenly from zero to a bound that doubles with every failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelays {
    /// First bound.
    pub start: Duration,
    /// Highest bound.
    pub max: Duration,
}

impl Default for RetryDelays {
    fn default() -> Self {
        Self {
            start: Duration::from_millis(50),
            max: Duration::from_secs(2),
        }
    }
}

/// How much may be in flight on one connection. A single submission is always let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowBounds {
    /// Submissions not yet answered.
    pub submissions_max: usize,
    /// Their bodies, in bytes.
    pub bytes_max: u64,
}

impl Default for WindowBounds {
    fn default() -> Self {
        Self {
            submissions_max: 64,
            bytes_max: 8 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_the_systems_or_the_users() {
        let run = Some(Path::new("/run/user/7"));
        let state = Some(Path::new("/home/a/.local/state"));
        let relative = Some(Path::new("relative"));
        let own = Path::new("/run/user/7/batchd/batchd.sock");
        assert_eq!(default_socket_path(false, false, run, state), own);
        let own = Path::new("/home/a/.local/state/batchd/batchd.sock");
        assert_eq!(default_socket_path(false, false, None, state), own);
        assert_eq!(default_socket_path(false, false, relative, state), own);
        for system in [
            default_socket_path(true, false, run, state),
            default_socket_path(false, true, run, state),
            default_socket_path(false, false, None, None),
            default_socket_path(false, false, relative, relative),
        ] {
            assert_eq!(system, Path::new(SYSTEM_SOCKET));
        }
    }
}

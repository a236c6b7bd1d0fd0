//! What the process has and the program uses.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use batchd_client::options::SYSTEM_SOCKET;
use batchd_client::{default_socket_path, user_socket_path};

/// Streams and surroundings.
pub(crate) struct World<'a> {
    /// Standard input, until somebody takes it.
    pub(crate) stdin: Option<Box<dyn Read + Send>>,
    /// Whether a person types it.
    pub(crate) stdin_is_terminal: bool,
    /// For data.
    pub(crate) stdout: &'a mut dyn Write,
    /// For everything else.
    pub(crate) stderr: &'a mut dyn Write,
    /// Whether a person reads `stderr`.
    pub(crate) stderr_is_terminal: bool,
    /// The rest.
    pub(crate) surroundings: Surroundings,
}

/// What says where the socket is, and a service. What is no absolute path counts as not set, as with the daemon.
pub(crate) struct Surroundings {
    /// `BATCHD_SOCKET`.
    pub(crate) socket: Option<OsString>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// `XDG_STATE_HOME`, or `~/.local/state`.
    pub(crate) state_home: Option<PathBuf>,
    /// Whether the user is root.
    pub(crate) is_root: bool,
    /// Below which the system's own files are looked for.
    pub(crate) root: PathBuf,
}

/// The daemon's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) path: PathBuf,
    pub(crate) origin: Origin,
}

/// Who says that it is that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--socket`.
    Option,
    /// `BATCHD_SOCKET`.
    Variable,
    /// Nobody: it is the usual one.
    Usual,
}

impl Surroundings {
    /// Takes what matters from the variables that `var` looks up.
    pub(crate) fn new(is_root: bool, var: impl Fn(&str) -> Option<OsString>) -> Self {
        let dir = |name: &str| {
            let dir = var(name).map(PathBuf::from);
            dir.filter(|dir| dir.is_absolute())
        };
        let below_home = || dir("HOME").map(|home| home.join(".local/state"));
        Self {
            socket: var("BATCHD_SOCKET"),
            runtime_dir: dir("XDG_RUNTIME_DIR"),
            state_home: dir("XDG_STATE_HOME").or_else(below_home),
            is_root,
            root: PathBuf::from("/"),
        }
    }

    /// The socket: as the command line says, or the environment, or where it is by default.
    pub(crate) fn socket(&self, argument: Option<&Path>) -> Socket {
        let from_environment = self.socket.as_ref().filter(|path| !path.is_empty());
        let (path, origin) = match (argument, from_environment) {
            (Some(path), _) => (path.to_owned(), Origin::Option),
            (None, Some(path)) => (PathBuf::from(path), Origin::Variable),
            (None, None) => {
                let path = default_socket_path(
                    self.is_root,
                    Path::new(SYSTEM_SOCKET).exists(),
                    self.runtime_dir.as_deref(),
                    self.state_home.as_deref(),
                );
                (path, Origin::Usual)
            }
        };
        Socket { path, origin }
    }

    /// All places where a daemon listens that was started without a configuration, by this user or for the system.
    pub(crate) fn usual_sockets(&self) -> Vec<PathBuf> {
        let (run, state) = (self.runtime_dir.as_deref(), self.state_home.as_deref());
        let own = [user_socket_path(run, None), user_socket_path(None, state)];
        let system = Some(PathBuf::from(SYSTEM_SOCKET));
        own.into_iter().chain([system]).flatten().collect()
    }
}

impl World<'_> {
    /// Tells the person something. Where nobody reads, there is nobody to tell that.
    pub(crate) fn tell(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.stderr, "{line}").unwrap_or_default();
    }
}

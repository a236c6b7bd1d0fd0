//! What the process has and the program uses.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use batchd_client::default_socket_path;
use batchd_client::options::SYSTEM_SOCKET;

/// Streams and surroundings.
pub(crate) struct World<'a> {
    /// Standard input, until somebody takes it.
    pub(crate) stdin: Option<Box<dyn Read + Send>>,
    /// For data.
    pub(crate) stdout: &'a mut dyn Write,
    /// For everything else.
    pub(crate) stderr: &'a mut dyn Write,
    /// Whether a person reads `stderr`.
    pub(crate) stderr_is_terminal: bool,
    /// The rest.
    pub(crate) surroundings: Surroundings,
}

/// What says where the socket is.
pub(crate) struct Surroundings {
    /// `BATCHD_SOCKET`.
    pub(crate) socket: Option<OsString>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime_dir: Option<OsString>,
    /// Whether the user is root.
    pub(crate) is_root: bool,
}

impl Surroundings {
    /// The socket: as the command line says, or the environment, or where it is by default.
    pub(crate) fn socket(&self, argument: Option<&Path>) -> PathBuf {
        let from_environment = self.socket.as_ref().filter(|path| !path.is_empty());
        match (argument, from_environment) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) => PathBuf::from(path),
            (None, None) => default_socket_path(
                self.is_root,
                Path::new(SYSTEM_SOCKET).exists(),
                self.runtime_dir.as_deref().map(Path::new),
            ),
        }
    }
}

impl World<'_> {
    /// Tells the person something. Where nobody reads, there is nobody to tell that.
    pub(crate) fn tell(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.stderr, "{line}").unwrap_or_default();
    }
}

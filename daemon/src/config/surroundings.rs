//! Who runs the daemon and where its files go when nobody says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The configuration file of the system.
const SYSTEM_CONFIG: &str = "/etc/batchd/batchd.toml";
const SYSTEM_SPOOL: &str = "/var/spool/batchd";
const SYSTEM_STATE: &str = "/var/lib/batchd";
const SYSTEM_RUNTIME: &str = "/run/batchd";

/// What of the user and of the environment decides where files go.
///
/// | | a directory from systemd | root, or a service of the system | anybody else |
/// |---|---|---|---|
/// | configuration | | `/etc/batchd/batchd.toml` | `$XDG_CONFIG_HOME/batchd/batchd.toml` |
/// | spool | `$STATE_DIRECTORY/spool` | `/var/spool/batchd` | `$XDG_STATE_HOME/batchd/spool` |
/// | delivered | `$STATE_DIRECTORY/delivered` | `/var/lib/batchd/delivered` | `$XDG_STATE_HOME/batchd/delivered` |
/// | spools of pipes | `$STATE_DIRECTORY/pipe` | `/var/lib/batchd/pipe` | `$XDG_STATE_HOME/batchd/pipe` |
/// | socket | `$RUNTIME_DIRECTORY/batchd.sock` | `/run/batchd/batchd.sock` | `$XDG_RUNTIME_DIR/batchd/batchd.sock` |
///
/// The first column wins, since a sandboxed service can write nowhere else. Without `XDG_RUNTIME_DIR` the
/// socket is in `$XDG_STATE_HOME/batchd`. A service of the system is told from one of a user's own by the
/// `XDG_RUNTIME_DIR` that only the latter has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The effective user id.
    pub(crate) uid: u32,
    /// `STATE_DIRECTORY`, the first of them.
    pub(crate) state_directory: Option<PathBuf>,
    /// `RUNTIME_DIRECTORY`, the first of them.
    pub(crate) runtime_directory: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, or `~/.config`.
    pub(crate) xdg_config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, or `~/.local/state`.
    pub(crate) xdg_state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) xdg_runtime_dir: Option<PathBuf>,
    /// Whether sockets are there already, passed by whoever started the process: no other is made then
    /// unless the file says so.
    pub(crate) inherits_sockets: bool,
}

impl Surroundings {
    /// Takes what matters from the variables that `var` looks up. What is no absolute path counts as not set,
    /// as the XDG base directory specification asks.
    pub(crate) fn new(uid: u32, var: impl Fn(&str) -> Option<OsString>) -> Self {
        let dir = |name: &str| var(name).and_then(absolute);
        let home = dir("HOME");
        let below_home = |below: &str| home.as_ref().map(|home| home.join(below));
        Self {
            uid,
            state_directory: var("STATE_DIRECTORY").and_then(first_absolute),
            runtime_directory: var("RUNTIME_DIRECTORY").and_then(first_absolute),
            xdg_config_home: dir("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            xdg_state_home: dir("XDG_STATE_HOME").or_else(|| below_home(".local/state")),
            xdg_runtime_dir: dir("XDG_RUNTIME_DIR"),
            inherits_sockets: false,
        }
    }

    /// Where the configuration file is looked for when none is named.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        if self.is_system() {
            Some(PathBuf::from(SYSTEM_CONFIG))
        } else {
            self.xdg_config_home
                .as_deref()
                .map(|dir| dir.join("batchd/batchd.toml"))
        }
    }

    /// Where the spool is when the configuration does not say.
    pub(crate) fn spool(&self) -> Option<PathBuf> {
        self.state_path("spool", || PathBuf::from(SYSTEM_SPOOL))
    }

    /// Where pipes have their spools when nobody says: one directory for each.
    pub(crate) fn pipe_spools(&self) -> Option<PathBuf> {
        self.state_path("pipe", || Path::new(SYSTEM_STATE).join("pipe"))
    }

    /// Where batches go when the configuration does not say.
    pub(crate) fn delivered(&self) -> Option<PathBuf> {
        self.state_path("delivered", || Path::new(SYSTEM_STATE).join("delivered"))
    }

    /// Where the socket is when the configuration does not say.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let dir = if let Some(dir) = &self.runtime_directory {
            Some(dir.clone())
        } else if self.is_system() {
            Some(PathBuf::from(SYSTEM_RUNTIME))
        } else {
            let base = self
                .xdg_runtime_dir
                .as_ref()
                .or(self.xdg_state_home.as_ref());
            base.map(|base| base.join("batchd"))
        };
        dir.map(|dir| dir.join("batchd.sock"))
    }

    fn state_path(&self, name: &str, system: impl Fn() -> PathBuf) -> Option<PathBuf> {
        if let Some(dir) = &self.state_directory {
            Some(dir.join(name))
        } else if self.is_system() {
            Some(system())
        } else {
            self.xdg_state_home
                .as_ref()
                .map(|base| base.join("batchd").join(name))
        }
    }

    fn is_system(&self) -> bool {
        let is_service = self.state_directory.is_some() || self.runtime_directory.is_some();
        self.uid == 0 || (is_service && self.xdg_runtime_dir.is_none())
    }
}

fn absolute(value: OsString) -> Option<PathBuf> {
    Some(PathBuf::from(value)).filter(|path| path.is_absolute())
}

/// The first of several directories, which systemd separates by colons.
fn first_absolute(value: OsString) -> Option<PathBuf> {
    std::env::split_paths(&value)
        .next()
        .filter(|path| path.is_absolute())
}

/// Looks up variables of the environment in a list.
#[cfg(test)]
pub(crate) fn variables(vars: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
    |name| {
        let found = vars.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uid: u32, vars: &[(&str, &str)], expected: [&str; 4]) {
        let surroundings = Surroundings::new(uid, variables(vars));
        let found = [
            surroundings.config_file(),
            surroundings.spool(),
            surroundings.delivered(),
            surroundings.socket(),
        ];
        let text = |path: Option<PathBuf>| path.map_or("-".into(), |p| p.display().to_string());
        assert_eq!(found.map(text), expected);
    }

    const SYSTEM: [&str; 4] = [
        "/etc/batchd/batchd.toml",
        "/var/spool/batchd",
        "/var/lib/batchd/delivered",
        "/run/batchd/batchd.sock",
    ];

    #[test]
    fn root_has_the_paths_of_the_system() {
        check(0, &[], SYSTEM);
        check(
            0,
            &[("HOME", "/root"), ("XDG_RUNTIME_DIR", "/run/user/0")],
            SYSTEM,
        );
    }

    #[test]
    fn a_service_writes_where_systemd_lets_it() {
        check(
            990,
            &[
                ("STATE_DIRECTORY", "/var/lib/batchd:/var/lib/b"),
                ("RUNTIME_DIRECTORY", "/run/b"),
            ],
            [
                "/etc/batchd/batchd.toml",
                "/var/lib/batchd/spool",
                "/var/lib/batchd/delivered",
                "/run/b/batchd.sock",
            ],
        );
        check(
            990,
            &[("RUNTIME_DIRECTORY", "/run/b")],
            [
                "/etc/batchd/batchd.toml",
                SYSTEM[1],
                SYSTEM[2],
                "/run/b/batchd.sock",
            ],
        );
    }

    #[test]
    fn a_service_of_a_user_is_no_service_of_the_system() {
        check(
            1000,
            &[
                ("HOME", "/home/a"),
                ("XDG_RUNTIME_DIR", "/run/user/1000"),
                ("RUNTIME_DIRECTORY", "/run/user/1000/b"),
            ],
            [
                "/home/a/.config/batchd/batchd.toml",
                "/home/a/.local/state/batchd/spool",
                "/home/a/.local/state/batchd/delivered",
                "/run/user/1000/b/batchd.sock",
            ],
        );
    }

    #[test]
    fn a_user_has_directories_of_their_own() {
        check(
            1000,
            &[
                ("HOME", "/home/a"),
                ("XDG_CONFIG_HOME", "/c"),
                ("XDG_STATE_HOME", "/s"),
                ("XDG_RUNTIME_DIR", "/run/user/1000"),
            ],
            [
                "/c/batchd/batchd.toml",
                "/s/batchd/spool",
                "/s/batchd/delivered",
                "/run/user/1000/batchd/batchd.sock",
            ],
        );
        check(
            1000,
            &[
                ("HOME", "/home/a"),
                ("XDG_STATE_HOME", "relative"),
                ("XDG_CONFIG_HOME", ""),
            ],
            [
                "/home/a/.config/batchd/batchd.toml",
                "/home/a/.local/state/batchd/spool",
                "/home/a/.local/state/batchd/delivered",
                "/home/a/.local/state/batchd/batchd.sock",
            ],
        );
    }

    #[test]
    fn without_a_home_there_is_no_place() {
        check(1000, &[], ["-", "-", "-", "-"]);
    }
}

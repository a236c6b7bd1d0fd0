//! Where everything is: the names below the directory, and the configuration that says them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::model::SOCKET_PATH_BYTES_MAX;

/// A batch is closed at so many items: few enough that the sample makes several.
pub(super) const BATCH_ITEMS: usize = 100;

/// The directory, and what is in it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    /// Below an absolute path.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What was sent.
    pub(super) fn sample(&self) -> PathBuf {
        self.root.join("access.log")
    }

    /// The configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.root.join("batchd.toml")
    }

    /// The daemon's log.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.root.join("batchd.sock")
    }

    /// The spool.
    pub(super) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// What is missing while the target is away.
    pub(super) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Where batches are delivered. The sink makes it, but not what is missing above it.
    pub(super) fn delivered(&self) -> PathBuf {
        self.target().join("delivered")
    }

    /// The text of the configuration.
    ///
    /// # Errors
    /// Where a daemon could not use this directory.
    pub(super) fn configuration(&self) -> anyhow::Result<String> {
        let socket_bytes = self.socket().as_os_str().len();
        anyhow::ensure!(
            socket_bytes <= SOCKET_PATH_BYTES_MAX,
            "{} has {socket_bytes} bytes; the path of a socket has at most {SOCKET_PATH_BYTES_MAX}",
            self.socket().display()
        );
        let [spool, socket, delivered] =
            [self.spool(), self.socket(), self.delivered()].map(quoted);
        Ok(format!(
            "# Written by `batchd demo`.\n\
             \n\
             [spool]\n\
             path = {}\n\
             max_bytes = \"1MiB\"\n\
             ballast = \"off\"  # nothing is kept in reserve for a full disk,\n\
             min_free = \"off\" # nor is room left to others: it is over soon\n\
             \n\
             [[listen]]\n\
             path = {}\n\
             \n\
             [queues.default]\n\
             max_items = {BATCH_ITEMS}\n\
             max_age = \"off\"\n\
             \n\
             [queues.default.sink]\n\
             type = \"file\"\n\
             path = {}\n",
            spool?, socket?, delivered?
        ))
    }
}

/// As TOML has it.
fn quoted(path: PathBuf) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(toml::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use insta::assert_snapshot;

    use super::*;

    fn configuration(root: impl Into<PathBuf>) -> String {
        match Place::new(root.into()).configuration() {
            Ok(text) => text,
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn everything_is_below_one_directory() {
        assert_snapshot!(configuration(r#"/tmp/a "b" \c"#), @r#"
        # Written by `batchd demo`.

        [spool]
        path = '/tmp/a "b" \c/spool'
        max_bytes = "1MiB"
        ballast = "off"  # nothing is kept in reserve for a full disk,
        min_free = "off" # nor is room left to others: it is over soon

        [[listen]]
        path = '/tmp/a "b" \c/batchd.sock'

        [queues.default]
        max_items = 100
        max_age = "off"

        [queues.default.sink]
        type = "file"
        path = '/tmp/a "b" \c/target/delivered'
        "#);
    }

    #[test]
    fn what_no_daemon_could_use_is_said_before_one_is_started() {
        assert_snapshot!(configuration("/".to_owned() + &"x".repeat(92)), @"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/batchd.sock has 105 bytes; the path of a socket has at most 103");
        assert_snapshot!(configuration(OsStr::from_bytes(b"/tmp/\xff")), @"/tmp/�/spool is not UTF-8");
    }
}

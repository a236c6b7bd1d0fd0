//! One shell for all commands of a page, on a machine of its own as far as they can tell.
//!
//! They run as root, in namespaces for mounts and processes: `/home`, `/root`, `/run`, `/srv`, `/tmp` and `/var` are
//! empty and theirs, the rest of the root file system is read-only, and what they leave running dies with the shell.
//! Root makes such namespaces, and so does anybody who may be root in a user namespace.
//!
//! They begin in `/home/reader/batchd`, which looks like a checkout. The reader of the README has built nothing yet; those
//! of other pages have the programs in their `PATH`. `cargo` builds nothing: see `lay_out_cargo`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use batchd_tests::{lay_out_cargo, run, service, skip, workspace};
use tempfile::TempDir;

/// Where a session finds the programs that were compiled for it.
pub(crate) const PROGRAMS: &str = "/mnt/programs";

const ENTER: &str = include_str!("enter.sh");
/// What there is before it: see there.
const DIRECTORIES: [&str; 10] = [
    "root",
    "nothing",
    "output",
    "programs",
    "home/reader/batchd",
    "run",
    "srv",
    "tmp",
    "var/lib",
    "var/spool",
];
/// What a session has of the checkout.
const CHECKOUT: [&str; 5] = ["Cargo.toml", "README.md", "docs", "samples", "systemd"];
/// Exit code of `timeout`.
const TOO_LONG: i32 = 124;

/// Whether there can be sessions here. Where not, the test is skipped.
pub(crate) fn is_possible() -> bool {
    if service("unshare").is_none() {
        return false;
    }
    let is_possible = run(unshare().arg("true"), b"").code == Some(0);
    if !is_possible {
        skip("there can be no namespaces here: it takes root, or user namespaces");
    }
    is_possible
}

/// Runs a command in namespaces of its own.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--mount-proc", "--kill-child"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// What a session works with: a directory, removed on drop.
#[derive(Debug)]
pub(crate) struct Session {
    dir: TempDir,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Success,
    /// With that exit code, or by a signal.
    Failure(Option<i32>),
    TooLong,
}

impl Session {
    /// Lays out all that the session needs, but for its script.
    pub(crate) fn new() -> Self {
        let dir = TempDir::with_prefix("batchd-").expect("a directory");
        let session = Self { dir };
        for name in DIRECTORIES {
            fs::create_dir_all(session.path(name)).expect("a directory");
        }
        for name in CHECKOUT {
            let to = session.path("home/reader/batchd").join(name);
            copy(&workspace().join(name), &to);
        }
        lay_out_cargo(&session.path("cargo"));
        session
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the program of the block at that line goes.
    pub(crate) fn program(&self, line: usize) -> PathBuf {
        self.path("programs").join(line.to_string())
    }

    /// Runs a script to its end, and no longer than that. Nothing of it runs any more when this returns.
    pub(crate) fn run(&self, script: &str, has_batchd: bool, limit: Duration) -> Ending {
        fs::write(self.path("page"), script).expect("a script");
        let built = if has_batchd { "/mnt/cargo/built:" } else { "" };
        let path = env::var("PATH").unwrap_or_default();
        let path = format!("/home/reader/.cargo/bin:/mnt/cargo/bin:{built}{path}");
        let mut command = unshare();
        // The namespaces end with their first process.
        command.args(["timeout", "--kill-after=5", &limit.as_secs().to_string()]);
        command.args(["bash", "-c", ENTER, "enter.sh"]);
        command
            .arg(self.dir.path())
            .env_clear()
            .envs([("PATH", path.as_str()), ("HOME", "/home/reader")])
            .envs([("USER", "root"), ("LANG", "C.UTF-8")]);
        let said = run(&mut command, b"");
        match said.code {
            Some(0) => Ending::Success,
            Some(TOO_LONG) => Ending::TooLong,
            // Nothing else says anything outside of a block.
            code if !said.stderr.is_empty() => panic!("the session cannot begin: {code:?} {said}"),
            code => Ending::Failure(code),
        }
    }

    /// What the block at that line printed; nothing where it did not begin.
    pub(crate) fn output(&self, line: usize) -> Option<String> {
        let bytes = fs::read(self.path("output").join(line.to_string())).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the block at that line was run to its end.
    pub(crate) fn is_complete(&self, line: usize) -> bool {
        let mark = self.path("output").join(format!("{line}.complete"));
        mark.exists()
    }
}

/// Copies a file, or a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("a file");
    }
}

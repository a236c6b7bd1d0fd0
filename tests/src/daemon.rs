//! A running daemon.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::binaries::binaries;
use crate::poll::{LONG, poll, wait_until};
use crate::site::Site;

/// How to start a daemon.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The daemon, where it is not the usual one.
    pub batchd: Option<PathBuf>,
    /// A command that runs the daemon, such as strace with its options.
    pub wrapper: Vec<OsString>,
    /// Variables of the environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where standard error goes instead of the log.
    pub stderr: Option<PathBuf>,
}

impl Launch {
    /// Under a command, such as strace with its options.
    #[must_use]
    pub fn under<A: Into<OsString>>(wrapper: impl IntoIterator<Item = A>) -> Self {
        Self {
            wrapper: wrapper.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// A daemon that runs, with whatever runs it; killed on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    batchd: PathBuf,
}

impl Daemon {
    #[track_caller]
    pub(crate) fn start(site: &Site, launch: &Launch) -> Result<Self, Exit> {
        let batchd = launch
            .batchd
            .clone()
            .unwrap_or_else(|| binaries().batchd.clone());
        let mut words = launch.wrapper.clone();
        words.push(batchd.clone().into());
        let (program, args) = words.split_first().expect("at least the daemon");
        let stderr = match &launch.stderr {
            Some(path) => OpenOptions::new().write(true).open(path),
            None => File::options().create(true).append(true).open(site.log()),
        };
        let child = Command::new(program)
            .args(args)
            .arg("--config")
            .arg(site.config())
            .env_remove("BATCHD_LOG")
            .env_remove("JOURNAL_STREAM")
            // What no configuration names is not to go to the machine's own directories.
            .env("STATE_DIRECTORY", site.root())
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.expect("stderr"))
            // So that all of them can be killed, whoever runs whom.
            .process_group(0)
            .spawn()
            .expect("start the daemon");
        let mut daemon = Self { child, batchd };
        let socket = site.socket();
        wait_until("the daemon to answer or end", LONG, || {
            match daemon.ended() {
                Some(exit) => Some(Err(exit)),
                None => UnixStream::connect(&socket).is_ok().then_some(Ok(())),
            }
        })?;
        Ok(daemon)
    }

    /// The daemon's process, below whatever runs it.
    ///
    /// # Panics
    /// Where there is none any more.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        find_daemon(self.child.id(), &self.batchd).expect("the daemon's process")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.pid()), signal).expect("the daemon's process");
    }

    /// Sends it a signal, if it is still there.
    pub fn try_signal(&self, signal: Signal) {
        if let Some(id) = find_daemon(self.child.id(), &self.batchd) {
            // It may go just now.
            kill_process(pid(id), signal).ok();
        }
    }

    /// Kills it, with whatever runs it.
    pub fn kill9(mut self) {
        self.kill();
    }

    /// Asks it to stop.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    #[track_caller]
    pub fn term(self) -> Exit {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end.
    #[must_use]
    #[track_caller]
    pub fn wait(mut self) -> Exit {
        wait_until("the daemon to end", LONG, || self.ended())
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<Exit> {
        self.child.try_wait().expect("wait").map(Exit::from)
    }

    /// A value of `/proc/<pid>/status` in KiB, such as `VmRSS`.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    #[track_caller]
    pub fn memory_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = line.and_then(|line| line.split_whitespace().next());
        value
            .and_then(|value| value.parse().ok())
            .expect("a field in KiB")
    }

    /// Open file descriptors.
    ///
    /// # Panics
    /// Where the daemon is gone.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("a process")
            .count()
    }

    fn kill(&mut self) {
        let daemon = find_daemon(self.child.id(), &self.batchd);
        // What it started may outlive it; a group that is gone was killed before.
        kill_process_group(pid(self.child.id()), Signal::KILL).ok();
        self.child.wait().expect("wait");
        // Nothing of it may still write, nor hold the lock of the spool, when this returns.
        let is_gone = |id: &u32| fs::read_link(format!("/proc/{id}/exe")).is_err();
        poll(LONG, || daemon.as_ref().is_none_or(is_gone).then_some(()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid(id: u32) -> Pid {
    i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id")
}

fn find_daemon(process: u32, batchd: &Path) -> Option<u32> {
    let found = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
    // A binary that was built anew meanwhile is another file.
    let found = found.to_string_lossy();
    if Path::new(found.strip_suffix(" (deleted)").unwrap_or(&found)) == batchd {
        return Some(process);
    }
    children(process)
        .into_iter()
        .find_map(|child| find_daemon(child, batchd))
}

fn children(process: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

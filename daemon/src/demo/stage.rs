//! What must not be left behind: the directory, and the daemon that runs in it.
//!
//! Both are cleared away when the tour is over, and when a signal ends the process. Only a SIGKILL of the demo itself
//! leaves them.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::TempDir;

use super::place::Place;
use super::sample::SAMPLE;

/// Short, since it begins the path of a socket.
const PREFIX: &str = "batchd-demo-";

/// The directory and the daemon, as far as they are there.
#[derive(Debug, Default)]
pub(super) struct Stage {
    dir: Option<TempDir>,
    daemon: Option<Child>,
}

/// A stage that is cleared when this is dropped, and at a signal.
#[derive(Debug)]
pub(super) struct Guarded(Arc<Mutex<Stage>>);

impl Guarded {
    /// An empty stage.
    ///
    /// # Errors
    /// Where there cannot be a thread that waits for signals.
    pub(super) fn new() -> io::Result<Self> {
        let stage: Arc<Mutex<Stage>> = Arc::default();
        let shared = Arc::clone(&stage);
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        let wait = move || {
            for signal in signals.forever() {
                // Not given back before the process ends: nothing more is made or started.
                let mut stage = lock(&shared);
                stage.clear();
                emulate_default_handler(signal).ok();
            }
        };
        thread::Builder::new().name("signals".into()).spawn(wait)?;
        Ok(Self(stage))
    }

    /// The stage. A signal waits for it: to be held for short.
    pub(super) fn lock(&self) -> MutexGuard<'_, Stage> {
        lock(&self.0)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.lock().clear();
    }
}

/// Whoever panicked with it, what is there must go.
fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// Makes the directory, with the configuration and the sample in it.
    ///
    /// # Errors
    /// Where that fails, or no daemon could use it.
    pub(super) fn make_directory(&mut self) -> anyhow::Result<Place> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let parent = env::temp_dir();
        let dir = dir.with_context(|| format!("make a directory in {}", parent.display()))?;
        let path = dir.path().canonicalize();
        self.dir = Some(dir);
        let place = Place::new(path.context("find the directory")?);
        write(&place.config(), place.configuration()?.as_bytes())?;
        write(&place.sample(), SAMPLE)?;
        Ok(place)
    }

    /// From here on the directory is kept.
    pub(super) fn keep_directory(&mut self) {
        if let Some(dir) = &mut self.dir {
            dir.disable_cleanup(true);
        }
    }

    /// Removes the directory.
    ///
    /// # Errors
    /// Where something of it stays.
    pub(super) fn remove_directory(&mut self) -> io::Result<()> {
        self.dir.take().map_or(Ok(()), TempDir::close)
    }

    /// Starts a daemon. The environment is not passed on: nothing in it is to make a difference.
    ///
    /// # Errors
    /// Where that fails.
    pub(super) fn start_daemon(&mut self, place: &Place) -> anyhow::Result<()> {
        let program = env::current_exe().context("find this program")?;
        let log = File::options().create(true).append(true).open(place.log());
        let log = log.with_context(|| format!("open {}", place.log().display()))?;
        let daemon = Command::new(&program)
            .arg("--config")
            .arg(place.config())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A key at the terminal is for the demo, which ends the daemon itself.
            .process_group(0)
            .spawn();
        let daemon = daemon.with_context(|| format!("start {}", program.display()))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Asks the daemon to stop.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn signal_daemon(&self) -> io::Result<()> {
        match &self.daemon {
            Some(daemon) => Ok(kill_process(Pid::from_child(daemon), Signal::TERM)?),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// How the daemon ended, if it did and was not killed.
    pub(super) fn daemon_ended(&mut self) -> Option<ExitStatus> {
        self.daemon.as_mut()?.try_wait().ok().flatten()
    }

    /// Kills the daemon with SIGKILL, unless it has ended. It is gone, and so are its ends of sockets, when this
    /// returns.
    ///
    /// # Errors
    /// Where the system does not do that.
    pub(super) fn kill_daemon(&mut self) -> io::Result<()> {
        let Some(mut daemon) = self.daemon.take() else {
            return Ok(());
        };
        daemon.kill()?;
        daemon.wait().map(drop)
    }

    /// Kills the daemon and removes the directory, unless it is kept.
    fn clear(&mut self) {
        // Nothing more can be done where either fails, and nobody is left to be told.
        self.kill_daemon().ok();
        self.dir = None;
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

//! Where the tour takes place: a directory, and daemons in it, one after another.

use std::fs;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use batchd_client::blocking::Client;
use batchd_client::{Error as ClientError, Identity, Options, RetryDelays};

use super::ended::{Ended, daemon_ended, unusable};
use super::place::Place;
use super::poll::{LONG, poll};
use super::stage::Guarded;
use crate::failure::Failure;

/// So long a daemon that starts is waited for before it is looked at whether it has ended instead.
const START_LOOK: Duration = Duration::from_millis(100);

/// A directory that is removed in the end, unless it is kept, and the daemon that runs in it.
#[derive(Debug)]
pub(super) struct Scene {
    place: Place,
    stage: Guarded,
    is_kept: bool,
}

impl Scene {
    /// Makes the directory. No daemon runs.
    ///
    /// # Errors
    /// [`Failure`], where no daemon could use it.
    pub(super) fn new(keep: bool) -> Result<Self, Failure> {
        let stage = Guarded::new().context("wait for signals");
        let stage = stage.map_err(unusable)?;
        let place = stage.lock().make_directory().map_err(unusable)?;
        let mut scene = Self {
            place,
            stage,
            is_kept: false,
        };
        if keep {
            scene.keep();
        }
        Ok(scene)
    }

    /// The names in the directory.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// From here on the directory is kept.
    pub(super) fn keep(&mut self) {
        self.stage.lock().keep_directory();
        self.is_kept = true;
    }

    /// Whether the directory is kept.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Makes the directory without which nothing can be delivered.
    pub(super) fn make_target(&self) -> anyhow::Result<()> {
        let _guard = self.stage.lock();
        let target = self.place.target();
        fs::create_dir(&target).with_context(|| format!("make {}", target.display()))
    }

    /// Starts a daemon and waits until it answers.
    pub(super) fn start_daemon(&self) -> Result<(), Ended> {
        self.stage.lock().start_daemon(&self.place)?;
        let start = Instant::now();
        loop {
            // The client waits for a daemon by itself, but would not notice that it has ended.
            match Client::new(self.options(START_LOOK))?.limits() {
                Ok(_) => return Ok(()),
                Err(error) if !error.is_retryable() || start.elapsed() >= LONG => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
            if let Some(status) = self.daemon_ended() {
                return Err(daemon_ended(status).into());
            }
        }
    }

    /// A client of whatever daemon runs.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Client::new(self.options(LONG))
    }

    /// A client whose submissions have the ids that belong to this key: the same whenever the same is submitted.
    pub(super) fn client_for(&self, key: &str) -> Result<Client, ClientError> {
        let mut options = self.options(LONG);
        options.identity = Identity::ExternalKey(key.into());
        Client::new(options)
    }

    /// How the daemon ended, if it did and was not killed.
    pub(super) fn daemon_ended(&self) -> Option<ExitStatus> {
        self.stage.lock().daemon_ended()
    }

    /// Kills the daemon with SIGKILL; it is gone when this returns.
    pub(super) fn kill_daemon(&self) -> anyhow::Result<()> {
        self.stage.lock().kill_daemon().context("kill the daemon")
    }

    /// Asks the daemon to stop, and waits for its clean end.
    pub(super) fn stop_daemon(&self) -> Result<(), Ended> {
        let signalled = self.stage.lock().signal_daemon();
        signalled.context("signal the daemon")?;
        let status = poll(|| self.daemon_ended()).context("the daemon does not stop")?;
        if !status.success() {
            return Err(daemon_ended(status).into());
        }
        Ok(self.kill_daemon()?)
    }

    /// Removes the directory.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let removed = self.stage.lock().remove_directory();
        removed.with_context(|| format!("remove {}", self.place.root().display()))
    }

    /// The last lines of the daemon's log.
    pub(super) fn log_end(&self, lines: usize) -> Vec<String> {
        let log = fs::read(self.place.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut end: Vec<_> = log.lines().rev().take(lines).map(str::to_owned).collect();
        end.reverse();
        end
    }

    fn options(&self, deadline: Duration) -> Options {
        let mut options = Options::new(self.place.socket());
        options.client_name = concat!("batchd-demo/", env!("CARGO_PKG_VERSION")).to_owned();
        options.deadline = deadline;
        options.retry = RetryDelays {
            start: Duration::from_millis(2),
            max: Duration::from_millis(50),
        };
        options
    }
}

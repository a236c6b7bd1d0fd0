//! A place for one daemon: its configuration, spool, socket, output and log.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use batchd_client::blocking::Client;
use batchd_client::{Error, Identity, ItemBuffer, Options, QueueName, Receipt, Target};
use tempfile::TempDir;

use crate::binaries::binaries;
use crate::daemon::{Daemon, Launch};
use crate::delivered;
use crate::run::{Output, run};

/// So much of the log is shown where a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// A directory of its own, removed on drop, with all that one daemon after another uses.
#[derive(Debug)]
pub struct Site {
    root: TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log_text();
            let tail: Vec<_> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
            let tail = tail
                .into_iter()
                .rev()
                .fold(String::new(), |text, line| text + line + "\n");
            // Nobody to tell where even that fails.
            write!(io::stderr(), "the end of the daemon's log:\n{tail}").ok();
        }
    }
}

impl Site {
    /// Makes the directory. In `config`, a template, `{root}` stands for it, `{out}` for where delivered batches go;
    /// spool and socket are added.
    ///
    /// # Panics
    /// Where that fails.
    #[must_use]
    pub fn new(config: &str) -> Self {
        // Short, since it begins the path of a socket.
        let root = tempfile::Builder::new()
            .prefix("batchd-")
            .tempdir()
            .expect("a directory");
        let site = Self { root };
        fs::create_dir(site.out()).expect("output directory");
        site.configure(config);
        site
    }

    /// A queue `default` of batches of so many items, delivered as lines to one file each.
    #[must_use]
    pub fn lines(max_items: u32) -> Self {
        Self::new(&format!(
            "[queues.default]\nmax_items = {max_items}\nmax_bytes = \"off\"\nmax_age = \"off\"\n{}",
            Self::lines_sink("default")
        ))
    }

    /// The sink of a queue: lines, one file for each batch.
    #[must_use]
    pub fn lines_sink(queue: &str) -> String {
        format!(
            "[queues.{queue}.sink]\ntype = \"file\"\npath = \"{{out}}\"\nencoding = \"lines\"\n"
        )
    }

    /// Replaces the configuration, for the next start.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn configure(&self, config: &str) {
        // Some hundred daemons need not make some hundred ballasts, nor care how full the machine is.
        self.configure_spool("ballast = \"off\"\nmin_free = \"off\"", config);
    }

    /// The same, with other settings of the spool than are usual here.
    ///
    /// # Panics
    /// As [`Site::configure`].
    pub fn configure_spool(&self, spool_settings: &str, config: &str) {
        let place = |path: PathBuf| path.to_str().expect("a temporary path in UTF-8").to_owned();
        let config = config
            .replace("{root}", &place(self.root().to_owned()))
            .replace("{out}", &place(self.out()));
        let (spool, socket) = (place(self.spool()), place(self.socket()));
        let head = format!(
            "[spool]\npath = \"{spool}\"\n{spool_settings}\n[[listen]]\npath = \"{socket}\"\n"
        );
        fs::write(self.config(), format!("{head}{config}")).expect("configuration");
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where delivered batches go.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.root().join("out")
    }

    /// The spool.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.root().join("spool")
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root().join("sock")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root().join("batchd.toml")
    }

    /// Where the daemons log to, one after another.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root().join("log")
    }

    /// What the daemons logged.
    #[must_use]
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// Starts the daemon and waits until its socket answers.
    ///
    /// # Panics
    /// Where it ends instead.
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Daemon {
        self.start_with(&Launch::default())
    }

    /// As [`Site::start`], in another way than the usual.
    ///
    /// # Panics
    /// As [`Site::start`].
    #[must_use]
    #[track_caller]
    pub fn start_with(&self, launch: &Launch) -> Daemon {
        match self.try_start(launch) {
            Ok(daemon) => daemon,
            Err(exit) => panic!(
                "the daemon ended with {exit:?}; its log:\n{}",
                self.log_text()
            ),
        }
    }

    /// Starts the daemon and waits until its socket answers.
    ///
    /// # Errors
    /// How it ended, where it did instead.
    #[track_caller]
    pub fn try_start(&self, launch: &Launch) -> Result<Daemon, crate::Exit> {
        Daemon::start(self, launch)
    }

    /// Runs `batchctl` with the socket of this place.
    pub fn batchctl<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        stdin: &[u8],
    ) -> Output {
        let mut command = Command::new(&binaries().batchctl);
        command.arg("--socket").arg(self.socket()).args(args);
        command.env_remove("BATCHD_SOCKET");
        run(&mut command, stdin)
    }

    /// Options of a client that does not wait for a daemon.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut options = Options::new(self.socket());
        options.wait_for_daemon = false;
        options
    }

    /// A client under the identity of a key, or a random one.
    ///
    /// # Panics
    /// Where the system has no random bytes.
    #[must_use]
    pub fn client(&self, identity: Option<&str>, deadline: Duration) -> Client {
        let mut options = self.options();
        options.deadline = deadline;
        if let Some(key) = identity {
            options.identity = Identity::ExternalKey(key.as_bytes().to_vec());
        }
        Client::new(options).expect("random bytes")
    }

    /// Submits the submissions to a queue, one after another, each waited for until it is synced.
    ///
    /// # Errors
    /// [`Error`], the first.
    ///
    /// # Panics
    /// Where the name is no queue's.
    pub fn submit<I: AsRef<[u8]>>(
        &self,
        queue: &str,
        submissions: &[Vec<I>],
    ) -> Result<Vec<Receipt>, Error> {
        let mut client = self.client(None, crate::LONG);
        let target = Target::new(QueueName::new(queue).expect("name of a queue"));
        let submit = |items: &Vec<I>| {
            let submission = client.prepare(&target, &ItemBuffer::from_iter(items));
            client.submit(submission)
        };
        submissions.iter().map(submit).collect()
    }

    /// What was delivered, one file after another in the order of their names.
    #[must_use]
    pub fn delivered(&self) -> Vec<u8> {
        delivered::delivered(&self.out())
    }

    /// The delivered files, in the order of their names.
    #[must_use]
    pub fn delivered_files(&self) -> Vec<delivered::DeliveredFile> {
        delivered::delivered_files(&self.out())
    }
}

//! Whole commands against a daemon that follows a script: what goes where, and with which exit code.

mod explicit;
mod failing;
mod history;
mod listing;
mod offline;
mod showing;
mod submitting;

use std::ffi::OsString;
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;

use batchd_client::fake::{FakeDaemon, Peer, Script};
use batchd_client::{BatchId, QueueName, QueueStatus, ServerStatus, SpaceStatus, Tally};
use batchd_protocol::{Request, Response};
use tempfile::TempDir;

use crate::app;
use crate::world::{Surroundings, World};

/// 2025-07-14T02:40:00Z in microseconds.
const TIME: u64 = 1_752_460_800_000_000;

/// What a command did.
struct Ran {
    code: u8,
    stdout: String,
    stderr: String,
}

/// A place with a socket and files.
struct Bench {
    dir: TempDir,
    stdin: Vec<u8>,
    stdin_is_terminal: bool,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            stdin: Vec::new(),
            stdin_is_terminal: false,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).expect("a file");
    }

    /// Runs a command without a daemon. `@name` is a path in the bench's directory.
    fn run(&self, command: &str) -> Ran {
        let mut stdout = Vec::new();
        let mut ran = self.run_into(command, &mut stdout);
        ran.stdout = String::from_utf8(stdout).expect("text");
        ran
    }

    fn run_into(&self, command: &str, stdout: &mut dyn Write) -> Ran {
        self.run_streams(command, Box::new(Cursor::new(self.stdin.clone())), stdout)
    }

    fn run_streams(
        &self,
        command: &str,
        stdin: Box<dyn Read + Send>,
        stdout: &mut dyn Write,
    ) -> Ran {
        let dir = self.dir.path().display().to_string();
        let words = command
            .split_whitespace()
            .map(|word| match word.strip_prefix('@') {
                Some(name) => self.path(name).into_os_string(),
                None => OsString::from(word),
            });
        let mut stderr = Vec::new();
        let world = World {
            stdin: Some(stdin),
            stdin_is_terminal: self.stdin_is_terminal,
            stdout,
            stderr: &mut stderr,
            stderr_is_terminal: false,
            surroundings: Surroundings {
                socket: Some(self.path("socket").into_os_string()),
                runtime_dir: None,
                state_home: None,
                is_root: false,
                root: PathBuf::from("/"),
            },
        };
        let arguments = std::iter::once(OsString::from("batchctl")).chain(words);
        let code = app::run(arguments, world);
        let stderr = String::from_utf8(stderr).expect("text");
        Ran {
            code,
            stdout: String::new(),
            stderr: stderr.replace(&dir, "DIR"),
        }
    }

    /// Runs a command with a daemon that welcomes it and does what the script says.
    fn run_with(&self, command: &str, script: impl FnOnce(&mut Peer) + Send + 'static) -> Ran {
        let script: Script = Box::new(move |peer| {
            peer.welcome();
            script(peer);
        });
        let daemon = FakeDaemon::start(&self.path("socket"), vec![script]);
        let ran = self.run(command);
        daemon.finish();
        ran
    }
}

fn id() -> BatchId {
    BatchId::new(TIME / 1000, [7; 10])
}

fn answer_status(peer: &mut Peer) {
    answer_status_with(peer, 0);
}

fn answer_status_with(peer: &mut Peer, beats_skipped: u64) {
    let tally = |batches| Tally {
        batches,
        items: 10 * batches,
        bytes: 5000 * batches,
    };
    peer.answer(|request| match request {
        Request::Status { request } => Response::Status {
            request,
            status: ServerStatus {
                server: "batchd 0.1.0".to_owned(),
                pid: 42,
                started_at: TIME,
                spool: "/var/spool/batchd".to_owned(),
                quarantined: 0,
                queues: vec![QueueStatus {
                    queue: QueueName::new("logs").expect("a name"),
                    sink: Some("file".to_owned()),
                    open: tally(1),
                    ready: tally(2),
                    dead: tally(0),
                    submissions_accepted: 7,
                    items_accepted: 70,
                    groups: 3,
                    batches_delivered: 4,
                    items_delivered: 40,
                    attempts_failed: 1,
                    last_error: Some("no\troom".to_owned()),
                    beats_skipped,
                    batches_dropped: 1,
                    items_dropped: 12,
                    batches_expired: 6,
                }],
                space: SpaceStatus {
                    used_bytes: 15_000,
                    max_bytes: 10 << 30,
                    free_bytes: 20 << 30,
                    min_free_bytes: 1 << 30,
                    shortage: Some("the\tdisk is full".to_owned()),
                },
            },
        },
        other => panic!("{other:?}"),
    });
}

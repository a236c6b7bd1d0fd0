//! The configuration in force: all of it resolved, nothing left to inherit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use batchd_core::policy::Policy;
use batchd_core::spool::space::MinFree;
use batchd_frame::QueueName;
use batchd_protocol::Ack;
use batchd_sinks::FileSinkConfig;

/// The queue that exists without configuration and that the others inherit from.
pub(crate) const DEFAULT_QUEUE: &str = "default";
/// `ballast` of the spool, where the file does not say.
pub(crate) const BALLAST_BYTES: u64 = 16 << 20;
/// `mode` of a socket, where the file does not say.
pub(crate) const SOCKET_MODE: u32 = 0o660;
/// A socket is bound under its path with this behind it, and then renamed.
pub(crate) const UNREADY_SUFFIX: &str = ".new";
/// The longest path of a socket: what `sockaddr_un` holds without the zero at its end, and without the suffix.
pub(crate) const SOCKET_PATH_BYTES_MAX: usize = 107 - UNREADY_SUFFIX.len();

/// `shutdown_timeout`, where the file does not say.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// What the daemon runs by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// The spool.
    pub(crate) spool: SpoolConfig,
    /// The sockets to listen on; at least one, unless others are inherited.
    pub(crate) listen: Vec<Listen>,
    /// What a client may ask for.
    pub(crate) limits: LimitsConfig,
    /// Ingest threads; at least 1.
    pub(crate) ingest_threads: u32,
    /// How long a clean stop waits for deliveries.
    pub(crate) shutdown_timeout: Duration,
    /// How often expired batches are looked for; nothing for never.
    pub(crate) cleanup_interval: Option<Duration>,
    /// The queues; `default` is always among them.
    pub(crate) queues: BTreeMap<QueueName, QueueConfig>,
    /// What a queue gets that is created on demand: the same as the queue `default`.
    pub(crate) template: QueueConfig,
    /// What a submission to a queue does that is not in `queues`.
    pub(crate) unknown_queues: UnknownQueues,
}

/// Where the spool is and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpoolConfig {
    /// Its directory; absolute, without `..`.
    pub(crate) path: PathBuf,
    /// Most bytes in it; where nobody says, what its file system's size allows.
    pub(crate) max_bytes: Option<u64>,
    /// What must stay free on its file system.
    pub(crate) min_free: MinFree,
    /// Bytes that are kept for what must be written to a full disk; 0 for none.
    pub(crate) ballast_bytes: u64,
    /// Whether it has an index.
    pub(crate) index: bool,
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Where; absolute, without `..`, short enough for a socket address.
    pub(crate) path: PathBuf,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// What a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitsConfig {
    /// Longest item in bytes; at most `submission_bytes_max`.
    pub(crate) item_bytes_max: u64,
    /// Longest submission in bytes; at most 16 MiB.
    pub(crate) submission_bytes_max: u64,
    /// Most connections at a time.
    pub(crate) connections: u32,
    /// How long one may be silent; nothing for as long as it likes.
    pub(crate) idle_timeout: Option<Duration>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            item_bytes_max: 1 << 20,
            submission_bytes_max: 16 << 20,
            connections: 1024,
            idle_timeout: None,
        }
    }
}

/// One queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueueConfig {
    /// When its batches are closed and when they expire.
    pub(crate) policy: Policy,
    /// What a submission waits for that does not say.
    pub(crate) ack: Ack,
    /// Most batches open at a time.
    pub(crate) open_batches_max: usize,
    /// How long submissions are recognised after a start.
    pub(crate) producer_window: Duration,
    /// Where its batches go. Without one they stay in the spool.
    pub(crate) sink: Option<SinkConfig>,
}

/// A sink, by type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SinkConfig {
    /// Files.
    File(FileSinkConfig),
}

/// What a submission to a queue does that no configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum UnknownQueues {
    /// It is refused.
    #[default]
    Reject,
    /// It creates the queue, by the template.
    Create,
}

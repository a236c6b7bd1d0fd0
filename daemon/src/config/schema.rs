//! What a configuration file may say, and the reading of it. Nothing is resolved here: what the file leaves
//! out is left out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use batchd_core::policy::{BYTES_MAX_MAX, OnShutdown, Overflow};
use batchd_core::spool::space::MinFree;
use batchd_frame::{OnExpire, QueueName};
use batchd_protocol::Ack;
use batchd_sinks::file::ConfigError;
use batchd_sinks::{Encoding, FileSinkConfig, Unencodable};
use toml::de::DeTable;

use super::interval::IntervalKeys;
use super::model::{DEFAULT_QUEUE, Listen, SOCKET_MODE, SinkConfig, UnknownQueues};
use super::problem::{Faults, Problem};
use super::section::{Located, Section};
use super::values::{self, Setting, or_off};

/// The largest submission the protocol can carry.
const SUBMISSION_BYTES_MAX: u64 = 16 << 20;
const SPOOL_BYTES_MAX_MAX: u64 = 1 << 50;
const BALLAST_BYTES_MAX: u64 = 1 << 30;
const QUOTA_ITEMS_MAX: u64 = 1 << 50;
const CONNECTIONS_MAX: u32 = 65_536;
const OPEN_BATCHES_MAX_MAX: u32 = 65_536;
const INGEST_THREADS_MAX: u32 = 64;
const CLEANUP_INTERVAL_MIN: Duration = Duration::from_millis(10);

pub(super) const ACKS: [(&str, Ack); 4] = [
    ("none", Ack::None),
    ("written", Ack::Written),
    ("synced", Ack::Synced),
    ("delivered", Ack::Delivered),
];
pub(super) const ON_EXPIRE: [(&str, OnExpire); 2] =
    [("dead", OnExpire::Dead), ("drop", OnExpire::Drop)];
pub(super) const ON_SHUTDOWN: [(&str, OnShutdown); 2] =
    [("keep", OnShutdown::Keep), ("flush", OnShutdown::Flush)];
pub(super) const OVERFLOWS: [(&str, Overflow); 3] = [
    ("reject", Overflow::Reject),
    ("block", Overflow::Block),
    ("drop-oldest", Overflow::DropOldest),
];
pub(super) const UNKNOWN_QUEUES: [(&str, UnknownQueues); 2] = [
    ("reject", UnknownQueues::Reject),
    ("create", UnknownQueues::Create),
];

/// A file, as it is written.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) spool_path: Option<Located<PathBuf>>,
    pub(super) spool_bytes_max: Option<u64>,
    pub(super) min_free: Setting<MinFree>,
    pub(super) ballast: Setting<u64>,
    pub(super) spool_index: Option<bool>,
    pub(super) listen: Option<Vec<ListenEntry>>,
    pub(super) limits: LimitsTable,
    pub(super) ingest_threads: Option<u32>,
    pub(super) shutdown_timeout: Option<Duration>,
    pub(super) cleanup_interval: Setting<Duration>,
    pub(super) unknown_queues: Option<UnknownQueues>,
    pub(super) template: QueueTable,
    pub(super) queues: BTreeMap<QueueName, QueueTable>,
}

/// A `[[listen]]`.
#[derive(Debug)]
pub(super) struct ListenEntry {
    pub(super) listen: Listen,
    /// The key of its path.
    pub(super) key: String,
    /// Where its path is.
    pub(super) span: Option<Range<usize>>,
}

/// `[limits]`.
#[derive(Debug, Default)]
pub(super) struct LimitsTable {
    pub(super) item_bytes_max: Option<Located<u64>>,
    pub(super) submission_bytes_max: Option<u64>,
    pub(super) connections: Option<u32>,
    pub(super) idle_timeout: Setting<Duration>,
}

/// A `[queues.NAME]`.
#[derive(Debug, Default)]
pub(super) struct QueueTable {
    /// Where it begins.
    pub(super) span: Option<Range<usize>>,
    pub(super) max_items: Setting<u32>,
    pub(super) max_bytes: Setting<u64>,
    pub(super) max_age: Setting<Duration>,
    pub(super) max_since_flush: Setting<Duration>,
    pub(super) interval: IntervalKeys,
    pub(super) idle: Setting<Duration>,
    pub(super) on_shutdown: Option<OnShutdown>,
    pub(super) lifespan: Setting<Duration>,
    pub(super) on_expire: Option<OnExpire>,
    pub(super) ack: Option<Ack>,
    pub(super) max_open_batches: Option<u32>,
    pub(super) producer_window: Option<Duration>,
    pub(super) quota_bytes: Setting<u64>,
    pub(super) quota_items: Setting<u64>,
    pub(super) overflow: Option<Overflow>,
    /// Located at its path.
    pub(super) sink: Setting<Located<SinkConfig>>,
}

impl ConfigFile {
    /// Reads the file; every mistake goes to `faults`, and what is mistaken counts as left out.
    pub(super) fn read(table: &DeTable<'_>, faults: &mut Faults<'_>) -> Self {
        let mut top = Section::top(table);
        let mut file = Self::default();
        if let Some(spool) = top.section("spool", faults) {
            file.read_spool(spool, faults);
        }
        file.listen = read_listen(&mut top, faults);
        if let Some(limits) = top.section("limits", faults) {
            file.limits = LimitsTable::read(limits, faults);
        }
        if let Some(mut engine) = top.section("engine", faults) {
            let threads = values::integer(1..=INGEST_THREADS_MAX);
            file.ingest_threads = value(engine.read("ingest_threads", faults, threads));
            file.shutdown_timeout = value(engine.read("shutdown_timeout", faults, values::time));
            let interval = or_off(values::time_of_at_least(CLEANUP_INTERVAL_MIN));
            file.cleanup_interval = setting(engine.read("cleanup_interval", faults, interval));
            engine.finish(faults);
        }
        if let Some(queues) = top.section("queues", faults) {
            file.read_queues(queues, faults);
        }
        top.finish(faults);
        file
    }

    fn read_spool(&mut self, mut spool: Section<'_>, faults: &mut Faults<'_>) {
        self.spool_path = spool.read("path", faults, values::path);
        let max_bytes = values::or_auto(values::size(1..=SPOOL_BYTES_MAX_MAX));
        self.spool_bytes_max = value(spool.read("max_bytes", faults, max_bytes)).flatten();
        self.min_free = setting(spool.read("min_free", faults, or_off(values::min_free)));
        let ballast = or_off(values::size(1..=BALLAST_BYTES_MAX));
        self.ballast = setting(spool.read("ballast", faults, ballast));
        self.spool_index = value(spool.read("index", faults, values::boolean));
        spool.finish(faults);
    }

    fn read_queues(&mut self, queues: Section<'_>, faults: &mut Faults<'_>) {
        for (name, mut section) in queues.named_sections(faults) {
            let is_template = name.value == DEFAULT_QUEUE;
            if is_template {
                let choice = values::choice(UNKNOWN_QUEUES);
                self.unknown_queues = value(section.read("unknown_queues", faults, choice));
            } else {
                section.misplaced("unknown_queues", "queues.default", faults);
            }
            let queue = QueueTable::read(section, faults);
            match QueueName::new(name.value) {
                Ok(_) if is_template => self.template = queue,
                Ok(name) => drop(self.queues.insert(name, queue)),
                Err(error) => {
                    faults.add(Some(name.span), None, Problem::QueueName(error.to_string()));
                }
            }
        }
    }
}

fn read_listen(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Vec<ListenEntry>> {
    let sections = top.sections(
        "listen",
        "an array of tables, each under [[listen]]",
        faults,
    )?;
    if sections.value.is_empty() {
        faults.add(
            Some(sections.span),
            Some("listen".to_owned()),
            Problem::NoListener,
        );
    }
    let entries = sections
        .value
        .into_iter()
        .filter_map(|section| ListenEntry::read(section, faults));
    Some(entries.collect())
}

impl ListenEntry {
    fn read(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<Self> {
        let path = section.require("path", "the path of a socket", faults, values::socket_path);
        let mode = section.read("mode", faults, values::mode);
        let key = format!("{}.path", section.path());
        section.finish(faults);
        let Located { value: path, span } = path?;
        let mode = value(mode).unwrap_or(SOCKET_MODE);
        Some(Self {
            listen: Listen { path, mode },
            key,
            span: Some(span),
        })
    }
}

impl LimitsTable {
    fn read(mut limits: Section<'_>, faults: &mut Faults<'_>) -> Self {
        let bytes = || values::size(1..=SUBMISSION_BYTES_MAX);
        let connections = values::integer(1..=CONNECTIONS_MAX);
        let table = Self {
            item_bytes_max: limits.read("item_bytes_max", faults, bytes()),
            submission_bytes_max: value(limits.read("submission_bytes_max", faults, bytes())),
            connections: value(limits.read("connections", faults, connections)),
            idle_timeout: setting(limits.read("idle_timeout", faults, or_off(values::time))),
        };
        limits.finish(faults);
        table
    }
}

impl QueueTable {
    fn read(mut queue: Section<'_>, faults: &mut Faults<'_>) -> Self {
        let items = or_off(values::integer(1..=u32::MAX));
        let bytes = or_off(values::size(1..=BYTES_MAX_MAX));
        let quota_bytes = or_off(values::size(1..=SPOOL_BYTES_MAX_MAX));
        let quota_items = or_off(values::integer(1..=QUOTA_ITEMS_MAX));
        let table = Self {
            span: Some(queue.span.clone()),
            max_items: setting(queue.read("max_items", faults, items)),
            max_bytes: setting(queue.read("max_bytes", faults, bytes)),
            max_age: setting(queue.read("max_age", faults, or_off(values::time))),
            max_since_flush: setting(queue.read("max_since_flush", faults, or_off(values::time))),
            interval: IntervalKeys::read(&mut queue, faults),
            idle: setting(queue.read("idle", faults, or_off(values::time))),
            on_shutdown: value(queue.read("on_shutdown", faults, values::choice(ON_SHUTDOWN))),
            lifespan: setting(queue.read("lifespan", faults, or_off(values::time))),
            on_expire: value(queue.read("on_expire", faults, values::choice(ON_EXPIRE))),
            ack: value(queue.read("ack", faults, values::choice(ACKS))),
            max_open_batches: value(queue.read(
                "max_open_batches",
                faults,
                values::integer(1..=OPEN_BATCHES_MAX_MAX),
            )),
            producer_window: value(queue.read("producer_window", faults, values::time)),
            quota_bytes: setting(queue.read("quota_bytes", faults, quota_bytes)),
            quota_items: setting(queue.read("quota_items", faults, quota_items)),
            overflow: value(queue.read("overflow", faults, values::choice(OVERFLOWS))),
            sink: match queue.section_or_off("sink", faults) {
                Setting::Inherit => Setting::Inherit,
                Setting::Off => Setting::Off,
                // A sink that cannot be read must not become the inherited one.
                Setting::Set(sink) => read_sink(sink, faults).map_or(Setting::Off, Setting::Set),
            },
        };
        queue.finish(faults);
        table
    }
}

fn read_sink(mut sink: Section<'_>, faults: &mut Faults<'_>) -> Option<Located<SinkConfig>> {
    let kind = values::choice([("file", read_file_sink as ReadSink)]);
    let read = sink.require("type", "\"file\"", faults, kind)?;
    let config = (read.value)(&mut sink, faults);
    sink.finish(faults);
    config
}

type ReadSink = fn(&mut Section<'_>, &mut Faults<'_>) -> Option<Located<SinkConfig>>;

fn read_file_sink(sink: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Located<SinkConfig>> {
    let encodings = values::choice(Encoding::ALL.map(|encoding| (encoding.as_str(), encoding)));
    let ways = values::choice(Unencodable::ALL.map(|way| (way.as_str(), way)));
    let path = sink.require("path", "where the batches go", faults, values::path);
    let encoding = sink.read("encoding", faults, encodings);
    let unencodable = sink.read("unencodable", faults, ways);
    let name = sink.read("name", faults, values::string("a string"));
    let append = sink.read("append", faults, values::boolean);
    let name_span = name.as_ref().map(|name| name.span.clone());
    let Located { value: path, span } = path?;
    let config = FileSinkConfig {
        path,
        encoding: value(encoding).unwrap_or_default(),
        unencodable: value(unencodable).unwrap_or_default(),
        name: value(name),
        append: value(append).unwrap_or_default(),
    };
    if let Err(error) = config.check() {
        let at_name = matches!(
            error,
            ConfigError::Name { .. } | ConfigError::NameWithAppend
        );
        let at = name_span
            .filter(|_| at_name)
            .unwrap_or_else(|| span.clone());
        faults.add(
            Some(at),
            Some(sink.path().to_owned()),
            Problem::Refused(error.to_string()),
        );
    }
    Some(Located {
        value: SinkConfig::File(config),
        span,
    })
}

fn value<T>(located: Option<Located<T>>) -> Option<T> {
    located.map(|located| located.value)
}

fn setting<T>(located: Option<Located<Setting<T>>>) -> Setting<T> {
    value(located).unwrap_or(Setting::Inherit)
}

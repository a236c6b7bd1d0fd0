//! From what the file says to what is in force: defaults, inheritance, and what must not be said together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use batchd_core::policy::expiry::CLEANUP_INTERVAL;
use batchd_core::policy::{Policy, Quota};
use batchd_core::queue::{OPEN_BATCHES_MAX, PRODUCER_WINDOW};
use batchd_core::spool::space::MinFree;
use batchd_frame::{OnExpire, QueueName};
use batchd_protocol::Ack;
use batchd_sinks::FileSinkConfig;

use super::interval;
use super::model::{
    BALLAST_BYTES, Config, DEFAULT_QUEUE, LimitsConfig, Listen, QueueConfig, SHUTDOWN_TIMEOUT,
    SOCKET_MODE, SinkConfig, SpoolConfig, UnknownQueues,
};
use super::problem::{Faults, Problem};
use super::schema::{ConfigFile, LimitsTable, ListenEntry, QueueTable};
use super::section::join;
use super::surroundings::Surroundings;
use super::units::render_size;
use super::values::{Setting, check_socket_path};

/// Resolves a file. Nothing where something is missing; that, and all else that is wrong, is in `faults`.
pub(super) fn resolve(
    file: ConfigFile,
    surroundings: &Surroundings,
    faults: &mut Faults<'_>,
) -> Option<Config> {
    let default = QueueName::new(DEFAULT_QUEUE).ok()?;
    let spool = resolve_spool(&file, surroundings, faults);
    let spool_span = file.spool_path.map(|path| path.span);
    let listen = resolve_listen(file.listen, surroundings, faults);
    let limits = resolve_limits(file.limits, faults);
    let unknown_queues = file.unknown_queues.unwrap_or_default();

    interval::check(&file.template, &file.queues, faults);
    let cleanup_interval = file.cleanup_interval.resolve(Some(CLEANUP_INTERVAL));
    let mut built_in = built_in_queue(&file.template.sink, surroundings, faults);
    built_in.config.policy.expiry.cleanup_interval = cleanup_interval;
    let template = inherit(file.template, &built_in);
    let others = file.queues.into_iter();
    let others = others.map(|(name, table)| (name, inherit(table, &template)));
    // The template comes first, so that a queue is told of it and not the other way round.
    let queues: Vec<(QueueName, Resolved)> = std::iter::once((default, template.clone()))
        .chain(others)
        .collect();

    if let Some(spool) = &spool {
        check_outside_spool(&spool.path, spool_span, &listen, &queues, faults);
    }
    check_shared_files(&queues, unknown_queues, faults);
    check_acks(&queues, faults);
    Some(Config {
        spool: spool?,
        listen: listen.into_iter().map(|entry| entry.listen).collect(),
        limits,
        ingest_threads: file.ingest_threads.unwrap_or(1),
        shutdown_timeout: file.shutdown_timeout.unwrap_or(SHUTDOWN_TIMEOUT),
        cleanup_interval,
        queues: queues
            .into_iter()
            .map(|(name, queue)| (name, queue.config))
            .collect(),
        template: template.config,
        unknown_queues,
    })
}

fn resolve_spool(
    file: &ConfigFile,
    surroundings: &Surroundings,
    faults: &mut Faults<'_>,
) -> Option<SpoolConfig> {
    let said = file.spool_path.as_ref().map(|path| path.value.clone());
    let Some(path) = said.or_else(|| surroundings.spool()) else {
        no_place("the spool", "spool.path", "XDG_STATE_HOME", faults);
        return None;
    };
    Some(SpoolConfig {
        path,
        max_bytes: file.spool_bytes_max,
        min_free: match file.min_free {
            Setting::Inherit => MinFree::Default,
            Setting::Off => MinFree::Off,
            Setting::Set(min_free) => min_free,
        },
        ballast_bytes: file
            .ballast
            .clone()
            .resolve(Some(BALLAST_BYTES))
            .unwrap_or(0),
        index: file.spool_index.unwrap_or(true),
    })
}

fn resolve_listen(
    said: Option<Vec<ListenEntry>>,
    surroundings: &Surroundings,
    faults: &mut Faults<'_>,
) -> Vec<ListenEntry> {
    let Some(entries) = said else {
        if surroundings.inherits_sockets {
            return Vec::new();
        }
        return built_in_socket(surroundings, faults).into_iter().collect();
    };
    for (index, entry) in entries.iter().enumerate() {
        let mut before = entries.iter().take(index);
        if before.any(|other| other.listen.path == entry.listen.path) {
            let problem = Problem::ListenedTwice(entry.listen.path.clone());
            faults.add(entry.span.clone(), Some(entry.key.clone()), problem);
        }
    }
    entries
}

fn built_in_socket(surroundings: &Surroundings, faults: &mut Faults<'_>) -> Option<ListenEntry> {
    let Some(path) = surroundings.socket() else {
        no_place(
            "the socket",
            "path in [[listen]]",
            "XDG_RUNTIME_DIR",
            faults,
        );
        return None;
    };
    let key = "listen.path".to_owned();
    if let Err(problem) = check_socket_path(&path) {
        faults.add(None, Some(key.clone()), problem);
    }
    Some(ListenEntry {
        listen: Listen {
            path,
            mode: SOCKET_MODE,
        },
        key,
        span: None,
    })
}

fn no_place(
    what: &'static str,
    key: &'static str,
    variable: &'static str,
    faults: &mut Faults<'_>,
) {
    faults.add(
        None,
        None,
        Problem::NoPlace {
            what,
            key,
            variable,
        },
    );
}

fn resolve_limits(said: LimitsTable, faults: &mut Faults<'_>) -> LimitsConfig {
    let default = LimitsConfig::default();
    let submission_bytes_max = said
        .submission_bytes_max
        .unwrap_or(default.submission_bytes_max);
    if let Some(item) = said.item_bytes_max.as_ref()
        && item.value > submission_bytes_max
    {
        let problem = Problem::OutOfRange {
            found: render_size(item.value),
            min: render_size(1),
            max: format!(
                "{} (submission_bytes_max)",
                render_size(submission_bytes_max)
            ),
        };
        faults.add(
            Some(item.span.clone()),
            Some("limits.item_bytes_max".to_owned()),
            problem,
        );
    }
    LimitsConfig {
        item_bytes_max: said
            .item_bytes_max
            .map_or(default.item_bytes_max.min(submission_bytes_max), |item| {
                item.value
            }),
        submission_bytes_max,
        connections: said.connections.unwrap_or(default.connections),
        idle_timeout: said.idle_timeout.resolve(default.idle_timeout),
    }
}

/// A queue with all that it inherits.
#[derive(Debug, Clone)]
struct Resolved {
    config: QueueConfig,
    /// Where to point when its sink is wrong.
    span: Option<Range<usize>>,
    inherits_sink: bool,
    /// What somebody said, for it or for what it inherits from. Otherwise its sink decides.
    on_expire: Option<OnExpire>,
}

/// What the queue `default` is where the file does not say.
fn built_in_queue<T>(
    said: &Setting<T>,
    surroundings: &Surroundings,
    faults: &mut Faults<'_>,
) -> Resolved {
    let needed = matches!(said, Setting::Inherit);
    let path = surroundings.delivered().filter(|_| needed);
    if needed && path.is_none() {
        no_place(
            "delivered batches",
            "queues.default.sink",
            "XDG_STATE_HOME",
            faults,
        );
    }
    let sink = path.map(|path| SinkConfig::File(FileSinkConfig::new(path)));
    let config = QueueConfig {
        policy: Policy::default(),
        ack: Ack::default(),
        open_batches_max: OPEN_BATCHES_MAX,
        producer_window: PRODUCER_WINDOW,
        sink,
    };
    Resolved {
        config,
        span: None,
        inherits_sink: false,
        on_expire: None,
    }
}

fn inherit(table: QueueTable, from: &Resolved) -> Resolved {
    let template = &from.config;
    let inherited = &template.policy;
    let (span, inherits_sink) = match &table.sink {
        Setting::Set(sink) => (Some(sink.span.clone()), false),
        Setting::Inherit | Setting::Off => (table.span, true),
    };
    let sink = match table.sink {
        Setting::Inherit => Setting::Inherit,
        Setting::Off => Setting::Off,
        Setting::Set(sink) => Setting::Set(sink.value),
    };
    let sink = sink.resolve(template.sink.clone());
    let on_expire = table.on_expire.or(from.on_expire);
    // What no sink ever misses is not kept for a person.
    let on_expire_by_sink = match sink {
        Some(_) => OnExpire::Dead,
        None => OnExpire::Drop,
    };
    let policy = Policy {
        max_items: table.max_items.resolve(inherited.max_items),
        max_bytes: table.max_bytes.resolve(inherited.max_bytes),
        max_age: table.max_age.resolve(inherited.max_age),
        max_since_flush: table.max_since_flush.resolve(inherited.max_since_flush),
        interval: table.interval.resolve(inherited.interval),
        idle: table.idle.resolve(inherited.idle),
        on_shutdown: table.on_shutdown.unwrap_or(inherited.on_shutdown),
        lifespan: table.lifespan.resolve(inherited.lifespan),
        on_expire: on_expire.unwrap_or(on_expire_by_sink),
        expiry: inherited.expiry,
        quota: Quota {
            bytes: table.quota_bytes.resolve(inherited.quota.bytes),
            items: table.quota_items.resolve(inherited.quota.items),
        },
        overflow: table.overflow.unwrap_or(inherited.overflow),
    };
    let config = QueueConfig {
        policy,
        ack: table.ack.unwrap_or(template.ack),
        open_batches_max: table
            .max_open_batches
            .map_or(template.open_batches_max, |max| max as usize),
        producer_window: table.producer_window.unwrap_or(template.producer_window),
        sink,
    };
    Resolved {
        config,
        span,
        inherits_sink,
        on_expire,
    }
}

/// Nothing may lie in the spool that the spool does not know: it would be set aside as damage, or worse,
/// taken for a batch.
fn check_outside_spool(
    spool: &Path,
    spool_span: Option<Range<usize>>,
    listen: &[ListenEntry],
    queues: &[(QueueName, Resolved)],
    faults: &mut Faults<'_>,
) {
    let mut check = |path: &Path, span: Option<Range<usize>>, key: String| {
        if path.starts_with(spool) {
            let (path, spool) = (path.to_path_buf(), spool.to_path_buf());
            faults.add(
                span.or(spool_span.clone()),
                Some(key),
                Problem::InsideSpool { path, spool },
            );
        }
    };
    for entry in listen {
        check(&entry.listen.path, entry.span.clone(), entry.key.clone());
    }
    for (name, queue) in queues {
        // An inherited sink is reported where it comes from.
        let is_own = !queue.inherits_sink || name.as_str() == DEFAULT_QUEUE;
        if let Some(SinkConfig::File(file)) = queue.config.sink.as_ref().filter(|_| is_own) {
            check(&file.path, queue.span.clone(), sink_key(name));
        }
    }
}

/// Two sinks that append to one file would each take the other's bytes for a torn end and cut them off.
fn check_shared_files(
    queues: &[(QueueName, Resolved)],
    unknown_queues: UnknownQueues,
    faults: &mut Faults<'_>,
) {
    let mut owners: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (name, queue) in queues {
        let Some(SinkConfig::File(file)) = &queue.config.sink else {
            continue;
        };
        if !file.append {
            continue;
        }
        let is_default = name.as_str() == DEFAULT_QUEUE;
        let other = if is_default && unknown_queues == UnknownQueues::Create {
            Some("every queue that is created on demand".to_owned())
        } else {
            owners.get(&file.path).cloned()
        };
        owners
            .entry(file.path.clone())
            .or_insert_with(|| join("queues", name.as_str()));
        if let Some(other) = other {
            let inherited = queue.inherits_sink;
            let problem = Problem::SharedFile {
                path: file.path.clone(),
                other,
                inherited,
            };
            faults.add(queue.span.clone(), Some(sink_key(name)), problem);
        }
    }
}

/// Nobody is to wait for a delivery that never comes.
fn check_acks(queues: &[(QueueName, Resolved)], faults: &mut Faults<'_>) {
    for (name, queue) in queues {
        if queue.config.ack == Ack::Delivered && queue.config.sink.is_none() {
            let key = format!("{}.ack", join("queues", name.as_str()));
            let problem = "\"delivered\" needs a sink, and this queue has none";
            faults.add(
                queue.span.clone(),
                Some(key),
                Problem::Refused(problem.to_owned()),
            );
        }
    }
}

fn sink_key(name: &QueueName) -> String {
    format!("{}.sink", join("queues", name.as_str()))
}

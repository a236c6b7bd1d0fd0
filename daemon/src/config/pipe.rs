//! The configuration of `batchd pipe`: one queue, from the command line and, where one is named, a file.
//!
//! An option of the command line is the key of the same name, with the same values, and goes before the file: it is
//! put into the file's tables before they are read.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use batchd_core::policy::Overflow;
use batchd_frame::{Digester, QueueName};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load;
use super::model::{Config, DEFAULT_QUEUE, SinkConfig, UnknownQueues};
use super::problem::{COMMAND_LINE, ConfigErrors, Faults, Problem, nearest};
use super::resolve::resolve;
use super::schema::ConfigFile;
use super::section::{Located, find, join, key_text};
use super::surroundings::Surroundings;
use super::values::Setting;

/// A file that is taken in part may be given again much later, with others in between.
const PRODUCER_WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// So much of a sink's name is part of its spool's.
const NAME_CHARS_MAX: usize = 40;

/// What the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// The file.
    pub(crate) file: Option<PathBuf>,
    /// Name of the queue; `default` where none is given.
    pub(crate) queue: Option<String>,
    /// The spool; a path from the root.
    pub(crate) spool: Option<PathBuf>,
    /// Type of the sink, and where it goes to.
    pub(crate) sink: Option<(String, PathBuf)>,
    /// Further keys of the sink, with their values.
    pub(crate) sink_options: Vec<(String, String)>,
    /// Keys of the queue, with their values.
    pub(crate) queue_options: Vec<(String, String)>,
    /// `shutdown_timeout` of the engine.
    pub(crate) shutdown_timeout: Option<String>,
}

impl Config {
    /// The configuration of a pipe: its one queue, without sockets.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong with it.
    pub(crate) fn of_pipe(
        given: &Given,
        surroundings: &Surroundings,
    ) -> Result<(Self, QueueName), ConfigErrors> {
        let Some(path) = &given.file else {
            return read("", Faults::of_built_in(), given, surroundings);
        };
        let bytes = load::read(path, surroundings)?;
        let text = load::text_of(&bytes, path)?;
        read(text, Faults::of_file(path, text), given, surroundings)
    }
}

fn read(
    text: &str,
    mut faults: Faults<'_>,
    given: &Given,
    surroundings: &Surroundings,
) -> Result<(Config, QueueName), ConfigErrors> {
    let (table, errors) = DeTable::parse_recoverable(text);
    faults.add_syntax(&errors);
    let name = given.queue.as_deref().unwrap_or(DEFAULT_QUEUE);
    let queue = QueueName::new(name).map_err(|error| Problem::QueueName(error.to_string()));
    let queue = match queue {
        Ok(queue) if errors.is_empty() => queue,
        Ok(_) => return faults.into_result(None),
        Err(problem) => {
            faults.add(COMMAND_LINE, Some("queue".to_owned()), problem);
            return faults.into_result(None);
        }
    };
    let mut table = table.into_inner();
    if given.file.is_some() {
        check_known(&table, &queue, &mut faults);
    }
    let options = given.to_toml(&queue);
    let (said, errors) = DeTable::parse_recoverable(&options);
    for error in errors {
        let problem = Problem::Syntax(error.message().to_owned());
        faults.add(COMMAND_LINE, None, problem);
    }
    put(&mut table, said.into_inner());

    let mut file = ConfigFile::read(&table, &mut faults);
    let config = settle(&mut file, given, &queue, surroundings, &mut faults)
        .and_then(|()| resolve(file, &without_sockets(surroundings), &mut faults));
    let config = config.map(|config| alone(config, &queue));
    if let Some(config) = &config
        && faults.is_empty()
        && config.queues.values().all(|queue| queue.sink.is_none())
    {
        faults.add(COMMAND_LINE, Some("sink".to_owned()), Problem::NoSink);
    }
    faults.into_result(config.map(|config| (config, queue)))
}

/// Reports a queue that the file does not name, where it has to.
fn check_known(table: &DeTable<'_>, queue: &QueueName, faults: &mut Faults<'_>) {
    let queues = value_of(table, "queues").and_then(DeValue::as_table);
    let default = queues.and_then(|queues| value_of(queues, DEFAULT_QUEUE)?.as_table());
    let unknown = default.and_then(|default| value_of(default, "unknown_queues")?.as_str());
    let named = queues.into_iter().flat_map(DeTable::keys).map(key_text);
    let others = named.filter(|name| *name != DEFAULT_QUEUE);
    let known: Vec<&str> = [DEFAULT_QUEUE].into_iter().chain(others).collect();
    if unknown == Some("create") || known.contains(&queue.as_str()) {
        return;
    }
    let problem = Problem::UnknownQueue {
        name: queue.to_string(),
        nearest: nearest(queue.as_str(), &known),
        known: known.into_iter().map(str::to_owned).collect(),
    };
    faults.add(COMMAND_LINE, Some("queue".to_owned()), problem);
}

fn value_of<'t>(table: &'t DeTable<'t>, key: &str) -> Option<&'t DeValue<'t>> {
    find(table, key).map(|(_, value)| value.get_ref())
}

/// Sets what is otherwise than a daemon's. Nothing where there is no place for the spool, which is then reported.
fn settle(
    file: &mut ConfigFile,
    given: &Given,
    queue: &QueueName,
    surroundings: &Surroundings,
    faults: &mut Faults<'_>,
) -> Option<()> {
    // A daemon's sink, where nobody names one, is none of ours.
    if matches!(file.template.sink, Setting::Inherit) {
        file.template.sink = Setting::Off;
    }
    // A producer that waits loses nothing; one that is refused has nowhere to go.
    file.template.overflow.get_or_insert(Overflow::Block);
    file.template.producer_window.get_or_insert(PRODUCER_WINDOW);
    // There is nobody to ask it.
    file.spool_index = Some(false);
    file.listen = None;
    let table = match queue.as_str() {
        DEFAULT_QUEUE => &file.template,
        _ => &*file.queues.entry(queue.clone()).or_default(),
    };
    let sink = match (&table.sink, &file.template.sink) {
        (Setting::Set(sink), _) | (Setting::Inherit, Setting::Set(sink)) => Some(&sink.value),
        _ => None,
    };
    let place = || {
        let place = surroundings.pipe_spools()?;
        Some(place.join(spool_name(queue, sink)))
    };
    let Some(path) = given.spool.clone().or_else(place) else {
        let problem = Problem::NoPlace {
            what: "the spool",
            key: "--spool",
            variable: "XDG_STATE_HOME",
        };
        faults.add(None, None, problem);
        return None;
    };
    file.spool_path = Some(Located {
        value: path,
        span: COMMAND_LINE,
    });
    Some(())
}

/// A spool's name, where none is given: what waits for one sink never goes to another.
fn spool_name(queue: &QueueName, sink: Option<&SinkConfig>) -> String {
    let path = match sink {
        Some(SinkConfig::File(file)) => file.path.as_path(),
        None => Path::new(""),
    };
    let mut digester = Digester::new();
    digester.update(path.as_os_str().as_encoded_bytes());
    let digest: String = digester.finish().0[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = path.file_name().map(OsStr::to_string_lossy);
    let name: String = name
        .unwrap_or_default()
        .chars()
        .filter(|c| plain(*c))
        .take(NAME_CHARS_MAX)
        .collect();
    format!("{queue}-{name}-{digest}")
}

/// Nobody listens.
fn without_sockets(surroundings: &Surroundings) -> Surroundings {
    Surroundings {
        inherits_sockets: true,
        ..surroundings.clone()
    }
}

/// What the other queues of the file are is of no concern.
fn alone(config: Config, queue: &QueueName) -> Config {
    let mut queues = config.queues;
    queues.retain(|name, _| name == queue);
    Config {
        queues,
        unknown_queues: UnknownQueues::Reject,
        ..config
    }
}

impl Given {
    /// The options as a file would have them.
    fn to_toml(&self, queue: &QueueName) -> String {
        let path = join("queues", queue.as_str());
        let mut text = format!("[{path}]\n");
        for (key, value) in &self.queue_options {
            line(&mut text, key, value);
        }
        if let Some((kind, target)) = &self.sink {
            text += &format!("[{path}.sink]\n");
            quoted(&mut text, "type", kind);
            quoted(&mut text, "path", &target.to_string_lossy());
            for (key, value) in &self.sink_options {
                line(&mut text, key, value);
            }
        }
        if let Some(timeout) = &self.shutdown_timeout {
            text += "[engine]\n";
            line(&mut text, "shutdown_timeout", timeout);
        }
        text
    }
}

/// A value that is one of TOML's is taken as such; any other is text, so that nothing need be quoted twice.
fn line(text: &mut String, key: &str, value: &str) {
    let bare = format!("{} = {value}\n", join("", key));
    let is_toml = |line: &str| {
        let (table, errors) = DeTable::parse_recoverable(line);
        errors.is_empty() && table.get_ref().len() == 1
    };
    if value.lines().count() == 1 && is_toml(&bare) {
        *text += &bare;
    } else {
        quoted(text, key, value);
    }
}

fn quoted(text: &mut String, key: &str, value: &str) {
    let value = toml::Value::String(value.to_owned());
    *text += &format!("{} = {value}\n", join("", key));
}

/// Puts tables over others: what is in both is a table in both, or that of `over`. A sink is taken whole.
fn put<'t>(under: &mut DeTable<'t>, over: DeTable<'t>) {
    for (name, value) in over {
        let key = key_text(&name).to_owned();
        let is_whole = key == "sink";
        let below = under.iter_mut().find(|(name, _)| key_text(name) == key);
        match (below, value.into_inner()) {
            (None, value) => {
                under.insert(said(name.into_inner()), said(respan(value)));
            }
            (Some((_, below)), DeValue::Table(table)) if !is_whole => {
                // What is no table is reported when it is read.
                if let DeValue::Table(below) = below.get_mut() {
                    put(below, table);
                }
            }
            (Some((_, below)), value) => *below = said(respan(value)),
        }
    }
}

/// The same, from the command line all through.
fn respan(value: DeValue<'_>) -> DeValue<'_> {
    let DeValue::Table(table) = value else {
        return value;
    };
    let entries = table.into_iter();
    let entries =
        entries.map(|(name, value)| (said(name.into_inner()), said(respan(value.into_inner()))));
    DeValue::Table(entries.collect())
}

fn said<T>(value: T) -> Spanned<T> {
    Spanned::new(COMMAND_LINE, value)
}

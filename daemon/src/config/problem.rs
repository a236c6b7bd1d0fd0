//! What can be wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use batchd_protocol::shell_word;

use super::units::{SizeError, TimeError};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigErrors {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Who wants to read it.
        uid: u32,
        /// The system's words.
        source: io::Error,
    },
    /// Every mistake that was found, in the order of the file; displayed a line each.
    #[error("{}", Lines(.0))]
    Invalid(Vec<ConfigError>),
}

impl ConfigErrors {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { path, uid, source } => hint_of_unreadable(path, *uid, source),
            Self::Invalid(errors) => {
                let mistakes = match errors.len() {
                    1 => "this mistake".to_owned(),
                    count => format!("these {count} mistakes"),
                };
                let first = errors.first()?;
                let file = match &first.origin {
                    Origin::BuiltIn => return Some(first.problem.hint_of_built_in()),
                    Origin::CommandLine => return Some(OPTIONS.to_owned()),
                    Origin::File(file, _) => file,
                };
                let file = shell_word(file);
                Some(format!(
                    "mend {mistakes}, and look again with 'batchd check-config --config {file}'"
                ))
            }
        }
    }
}

const OPTIONS: &str = "'batchd pipe --help' shows the options";

/// How to get a configuration to begin with: in an empty file nothing is said otherwise.
const BUILT_IN: &str =
    "'batchd check-config --config /dev/null' prints the one that is built in, to begin with";

fn hint_of_unreadable(path: &Path, uid: u32, error: &io::Error) -> Option<String> {
    let shown = shell_word(path);
    match error.kind() {
        io::ErrorKind::NotFound => {
            Some(format!("give a file that is there to --config; {BUILT_IN}"))
        }
        io::ErrorKind::PermissionDenied => Some(format!(
            "user {uid} must be able to read it: 'ls -l {shown}' shows who may"
        )),
        io::ErrorKind::IsADirectory => Some("give the file in it to --config".to_owned()),
        _ => None,
    }
}

/// Where a value is that no file has: on the command line.
pub(super) const COMMAND_LINE: Range<usize> = usize::MAX..usize::MAX;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    origin: Origin,
    /// The key the value belongs to, with its tables, such as `queues.logs.max_items`.
    key: Option<String>,
    problem: Problem,
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// The built-in defaults do not suffice.
    BuiltIn,
    /// In a file; with line and column, from 1, where the column counts characters.
    File(PathBuf, Option<(usize, usize)>),
    /// In an option.
    CommandLine,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_deref();
        match &self.origin {
            Origin::BuiltIn => f.write_str("built-in configuration:")?,
            Origin::File(file, None) => write!(f, "{}:", file.display())?,
            Origin::File(file, Some((line, column))) => {
                write!(f, "{}:{line}:{column}:", file.display())?;
            }
            Origin::CommandLine => {
                let option = key.map_or_else(|| "command line".to_owned(), option);
                return write!(f, "{option}: {}", self.problem);
            }
        }
        if let Some(key) = key {
            write!(f, " {key}:")?;
        }
        write!(f, " {}", self.problem)
    }
}

/// The option that sets a key.
fn option(key: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    match key.split_once(".sink.") {
        Some((_, "type" | "path")) => "--sink".to_owned(),
        Some((_, name)) => format!("--sink-option {name}"),
        None => format!("--{}", name.replace('_', "-")),
    }
}

struct Lines<'a>(&'a [ConfigError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// What is wrong. Each text says what was found and then, where it is not plain from that, what would be
/// right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Problem {
    /// No TOML.
    #[error("{0}")]
    Syntax(String),
    /// No text.
    #[error("the file is not UTF-8: save it as UTF-8")]
    NotUtf8,
    /// A key or table that means nothing here.
    #[error("unknown {} `{name}` {table}: {}", if *.is_table { "table" } else { "key" }, Hint(nearest.as_deref(), known))]
    UnknownKey {
        /// As written.
        name: String,
        /// Whether its value is a table.
        is_table: bool,
        /// Where, such as `in [queues.logs]`.
        table: String,
        /// The most similar known key.
        nearest: Option<String>,
        /// All that are known there.
        known: Vec<String>,
    },
    /// A table that is most likely the second half of a name with a dot.
    #[error("unknown table `{name}` {table}: a name with a dot is quoted, as in [{quoted}]")]
    UnquotedName {
        /// As written.
        name: String,
        /// Where.
        table: String,
        /// The table that was meant.
        quoted: String,
    },
    /// A key that has a meaning, but not here.
    #[error("`{key}` may only be set in [{only}]")]
    Misplaced {
        /// The key.
        key: &'static str,
        /// The table it belongs to.
        only: &'static str,
    },
    /// A key that must be there.
    #[error("missing key `{key}` {table}: set it to {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Where, such as `in [[listen]]`.
        table: String,
        /// What its value would be.
        expected: &'static str,
    },
    /// A value of another type.
    #[error("found {found}, expected {expected}")]
    WrongType {
        /// What it is.
        found: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A number without a unit, and not even text.
    #[error("{number} has no unit: write {kind} such as {example:?}")]
    BareNumber {
        /// The number.
        number: String,
        /// A size or a time.
        kind: &'static str,
        /// The same with a unit.
        example: String,
    },
    /// No size.
    #[error("{0:?} {1}")]
    Size(String, SizeError),
    /// No time.
    #[error("{0:?} {1}")]
    Time(String, TimeError),
    /// No share.
    #[error("{0:?} is not a share: write whole percents, such as \"10%\"")]
    Percent(String),
    /// A queue that the file does not have.
    #[error("the configuration has no queue `{name}`: {}", Hint(nearest.as_deref(), known))]
    UnknownQueue {
        /// As given.
        name: String,
        /// The most similar one it has.
        nearest: Option<String>,
        /// All it has.
        known: Vec<String>,
    },
    /// Nowhere to deliver to.
    #[error(
        "where the batches go is not known: give `--sink file:DIR`, or a configuration whose queue has a sink"
    )]
    NoSink,
    /// What only an interval has.
    #[error("there is no `interval` for it here: set one, or leave this out")]
    NoInterval,
    /// A number, size or time that is too small or too large.
    #[error("{found} is out of range: {min} to {max}")]
    OutOfRange {
        /// What it is.
        found: String,
        /// The least that is allowed.
        min: String,
        /// The most that is allowed.
        max: String,
    },
    /// Not one of a few words.
    #[error("unknown value {found:?}: {}", Hint(nearest.as_deref(), allowed))]
    UnknownValue {
        /// As written.
        found: String,
        /// The most similar of those that are allowed.
        nearest: Option<String>,
        /// Those that are allowed.
        allowed: Vec<String>,
    },
    /// No permission bits.
    #[error("{0:?} is no mode: an octal number from \"0000\" to \"0777\"")]
    Mode(String),
    /// A path that depends on where the daemon is started, or on what `..` is.
    #[error("{0:?} is not a path from the root: write it from / on, without `..`")]
    Path(String),
    /// A path too long for a socket.
    #[error("path of {bytes} bytes is too long for a socket: at most {max}; choose a shorter one")]
    SocketPath {
        /// Its length.
        bytes: usize,
        /// The longest.
        max: usize,
    },
    /// Not a queue name.
    #[error("{0}")]
    QueueName(String),
    /// A value refused by the part of the program it is for.
    #[error("{0}")]
    Refused(String),
    /// What would be right if the setting were not to be switched off.
    #[error("{0}; or \"off\"")]
    OrOff(Box<Problem>),
    /// `listen = []`.
    #[error("no socket: give at least one [[listen]], or leave `listen` out for the usual one")]
    NoListener,
    /// The same socket twice.
    #[error("{} is listened on twice: each socket needs a path of its own", .0.display())]
    ListenedTwice(PathBuf),
    /// Something in the spool that the spool does not know.
    #[error("{} is inside the spool {}: nothing else may be kept there", path.display(), spool.display())]
    InsideSpool {
        /// What.
        path: PathBuf,
        /// The spool.
        spool: PathBuf,
    },
    /// Two queues that append to one file.
    #[error("appends to {}, as does {other}: each queue needs a file of its own{}", path.display(), if *.inherited { " (the sink is inherited from [queues.default])" } else { "" })]
    SharedFile {
        /// The file.
        path: PathBuf,
        /// The other queue, or what stands for it.
        other: String,
        /// Whether the sink is not the queue's own.
        inherited: bool,
    },
    /// No directory to put something in.
    #[error("where to put {what} is not known: set {key}, or the variable {variable} or HOME")]
    NoPlace {
        /// What.
        what: &'static str,
        /// The key that says where.
        key: &'static str,
        /// The variable that says where.
        variable: &'static str,
    },
}

impl Problem {
    /// What to do where it is what is built in that does not suffice.
    fn hint_of_built_in(&self) -> String {
        match self {
            Self::NoPlace { .. } => {
                "'HOME=DIR batchd' puts all of it below a directory; or name the places in a file, with --config FILE"
                    .to_owned()
            }
            _ => format!("name another place in a file, with --config FILE; {BUILT_IN}"),
        }
    }
}

/// What to write instead: the most similar, or all there is.
struct Hint<'a>(Option<&'a str>, &'a [String]);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(nearest), _) => write!(f, "did you mean `{nearest}`?"),
            (None, []) => f.write_str("nothing may be set there"),
            (None, [one]) => write!(f, "expected `{one}`"),
            (None, many) => write!(f, "expected one of `{}`", many.join("`, `")),
        }
    }
}

/// The most similar of `known`, if it is similar enough to have been meant.
pub(super) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(name, candidate);
    let best = known.iter().copied().min_by_key(distance)?;
    let tolerated = best.chars().count().max(3) / 3;
    (distance(&best) <= tolerated).then(|| best.to_owned())
}

/// The mistakes found in a text so far.
pub(super) struct Faults<'t> {
    source: Option<(&'t Path, &'t str)>,
    found: Vec<(usize, ConfigError)>,
}

impl<'t> Faults<'t> {
    /// Starts with none.
    pub(super) fn of_file(file: &'t Path, text: &'t str) -> Self {
        Self {
            source: Some((file, text)),
            found: Vec::new(),
        }
    }

    /// For a configuration that is in no file.
    pub(super) fn of_built_in() -> Self {
        Self {
            source: None,
            found: Vec::new(),
        }
    }

    /// Notes a mistake at `span`; the whole file's where there is none.
    pub(super) fn add(
        &mut self,
        span: impl Into<Option<Range<usize>>>,
        key: Option<String>,
        problem: Problem,
    ) {
        let span = span.into();
        let origin = match (self.source, &span) {
            (_, Some(span)) if *span == COMMAND_LINE => Origin::CommandLine,
            (None, _) => Origin::BuiltIn,
            (Some((file, text)), span) => {
                let position = span.as_ref().map(|span| position(text, span.start));
                Origin::File(file.to_path_buf(), position)
            }
        };
        let order = span.map_or(usize::MAX, |span| span.start);
        self.found.push((
            order,
            ConfigError {
                origin,
                key,
                problem,
            },
        ));
    }

    /// Notes what is no TOML.
    pub(super) fn add_syntax(&mut self, errors: &[toml::de::Error]) {
        for error in errors {
            let problem = Problem::Syntax(error.message().to_owned());
            self.add(error.span(), None, problem);
        }
    }

    /// Whether nothing was found.
    pub(super) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Gives `value` if nothing was found.
    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.into_errors()),
        }
    }

    /// What was found, in the order of the file.
    pub(super) fn into_errors(mut self) -> ConfigErrors {
        // Stable, so that mistakes at one place stay in the order in which they were found.
        self.found.sort_by_key(|(order, _)| *order);
        ConfigErrors::Invalid(self.found.into_iter().map(|(_, error)| error).collect())
    }
}

/// Line and column, from 1, of the byte at `offset`.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

//! Reading a configuration: from a file, or the one that is built in.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::model::{Config, SinkConfig};
use super::problem::{ConfigErrors, Faults, Problem};
use super::resolve::resolve;
use super::schema::ConfigFile;
use super::surroundings::Surroundings;

/// A configuration and where it is from.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What it says.
    pub(crate) config: Config,
    /// The file; nothing where it is the built-in one.
    pub(crate) file: Option<PathBuf>,
    /// The directory above the one where batches go when nobody says where, if some go there: made at the start, since
    /// a sink makes no more than one level.
    pub(crate) state: Option<PathBuf>,
}

impl Config {
    /// The configuration without a file.
    ///
    /// # Errors
    /// [`ConfigErrors::Invalid`] where a user has no home to put files in.
    pub(crate) fn built_in(surroundings: &Surroundings) -> Result<Self, ConfigErrors> {
        let mut faults = Faults::of_built_in();
        let config = resolve(ConfigFile::default(), surroundings, &mut faults);
        faults.into_result(config)
    }

    /// The configuration in a file.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong with it.
    pub(crate) fn load(path: &Path, surroundings: &Surroundings) -> Result<Self, ConfigErrors> {
        Self::parse(&read(path, surroundings)?, path, surroundings)
    }

    /// The configuration to run by: that of the file that is named; without one, that of the file of the
    /// system or of the user, if it exists; or else the built-in one.
    ///
    /// # Errors
    /// As [`Config::load`] and [`Config::built_in`].
    pub(crate) fn find(
        named: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Found, ConfigErrors> {
        // A file that cannot be looked at counts as existing, so that it is not passed over in silence.
        let exists = |path: &PathBuf| path.try_exists().unwrap_or(true);
        let usual = || surroundings.config_file().filter(exists);
        let file = named.map(Path::to_path_buf).or_else(usual);
        let config = match &file {
            Some(file) => Self::load(file, surroundings)?,
            None => Self::built_in(surroundings)?,
        };
        let usual = surroundings.delivered().filter(|usual| {
            let mut queues = config.queues.values();
            queues.any(
                |queue| matches!(&queue.sink, Some(SinkConfig::File(sink)) if sink.path == *usual),
            )
        });
        let state = usual.and_then(|usual| usual.parent().map(Path::to_path_buf));
        Ok(Found {
            config,
            file,
            state,
        })
    }

    /// The configuration in the contents of the file `path`.
    pub(super) fn parse(
        bytes: &[u8],
        path: &Path,
        surroundings: &Surroundings,
    ) -> Result<Self, ConfigErrors> {
        let text = text_of(bytes, path)?;
        let mut faults = Faults::of_file(path, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let file = ConfigFile::read(table.get_ref(), &mut faults);
            let config = resolve(file, surroundings, &mut faults);
            return faults.into_result(config);
        }
        // What is made of a broken file would be guesswork: its syntax comes first.
        faults.add_syntax(&errors);
        faults.into_result(None)
    }
}

/// The bytes of a file.
pub(super) fn read(path: &Path, surroundings: &Surroundings) -> Result<Vec<u8>, ConfigErrors> {
    fs::read(path).map_err(|source| ConfigErrors::Unreadable {
        path: path.to_path_buf(),
        uid: surroundings.uid,
        source,
    })
}

/// Its text.
pub(super) fn text_of<'t>(bytes: &'t [u8], path: &Path) -> Result<&'t str, ConfigErrors> {
    str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to(), path))
}

fn not_utf8(bytes: &[u8], valid_bytes: usize, path: &Path) -> ConfigErrors {
    let valid = bytes.get(..valid_bytes).unwrap_or_default();
    let valid = String::from_utf8_lossy(valid);
    let mut faults = Faults::of_file(path, &valid);
    faults.add(Some(valid.len()..valid.len()), None, Problem::NotUtf8);
    faults.into_errors()
}

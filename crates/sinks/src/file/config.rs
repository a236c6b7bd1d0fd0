//! What an operator says about a file sink.

use std::path::{Path, PathBuf};

use super::record;
use super::template::{FILE_NAME_BYTES_MAX, NameTemplate, TemplateError};
use crate::encode::{Encoding, Unencodable};

/// Configuration of a sink of type `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSinkConfig {
    /// The directory that gets one file for each batch; with `append`, the file.
    pub path: PathBuf,
    /// How items are written.
    pub encoding: Encoding,
    /// What becomes of an item that the encoding cannot carry.
    pub unencodable: Unencodable,
    /// Template of the files' names; default `{queue}-{seq}-{id}.{ext}`. Not with `append`.
    ///
    /// `{queue}`; `{seq}`, the batch's number in its queue in 20 digits; `{id}`; `{key}`, where all but
    /// letters, digits and `._-` becomes `%XX` and a long one is shortened; `{ext}`, by the encoding. `{seq}`
    /// and `{id}` must occur. Where `{seq}` is the first that differs, names sort in the order of delivery. A
    /// part of a batch has `-<first>+<count>` before the first dot after the last of these.
    pub name: Option<String>,
    /// Whether all batches are appended to one file.
    pub append: bool,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No path.
    #[error("`path` is empty")]
    NoPath,
    /// A template that cannot name files.
    #[error("`name` '{template}': {error}")]
    Name {
        /// The template.
        template: String,
        /// What is wrong with it.
        error: TemplateError,
    },
    /// A template for a sink that has one file.
    #[error("`name` is for one file per batch: with `append`, `path` is the file and names it")]
    NameWithAppend,
    /// Arrays appended to arrays.
    #[error("a file of appended JSON arrays is no JSON: use encoding \"ndjson\" with `append`")]
    ArrayWithAppend,
    /// A path to append to that names no file.
    #[error("`path` '{}' names no file to append to", .0.display())]
    NoFileName(PathBuf),
    /// A file's name that leaves no room for that of its record.
    #[error("the file name in `path` has {0} bytes: at most {max} with `append`", max = APPEND_NAME_BYTES_MAX)]
    FileNameTooLong(usize),
}

/// The longest name of a file that is appended to: that of its record must fit as well.
const APPEND_NAME_BYTES_MAX: usize = FILE_NAME_BYTES_MAX - record::NAME_BYTES_MORE;

/// What a configuration that passed its checks says about names.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Directory(NameTemplate),
    File,
}

impl FileSinkConfig {
    /// One file for each batch in a directory, all else as by default.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            encoding: Encoding::default(),
            unencodable: Unencodable::default(),
            name: None,
            append: false,
        }
    }

    /// Checks all that can be checked without touching the disk.
    ///
    /// # Errors
    /// [`ConfigError`], the first one found.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.target().map(|_| ())
    }

    pub(super) fn target(&self) -> Result<Target, ConfigError> {
        if self.path.as_os_str().is_empty() {
            return Err(ConfigError::NoPath);
        }
        match (self.append, &self.name) {
            (true, Some(_)) => Err(ConfigError::NameWithAppend),
            (true, None) if self.encoding == Encoding::JsonArray => {
                Err(ConfigError::ArrayWithAppend)
            }
            (true, None) => check_appendable(&self.path).map(|()| Target::File),
            (false, name) => {
                let template = name.as_deref().unwrap_or(NameTemplate::DEFAULT);
                NameTemplate::parse(template, self.encoding.extension())
                    .map(Target::Directory)
                    .map_err(|error| ConfigError::Name {
                        template: template.to_owned(),
                        error,
                    })
            }
        }
    }
}

fn check_appendable(path: &Path) -> Result<(), ConfigError> {
    // `file_name` overlooks a final slash, which says that a directory is meant.
    let slashed = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let name = path.file_name().filter(|_| !slashed);
    match name.map(|name| name.len()) {
        None => Err(ConfigError::NoFileName(path.to_owned())),
        Some(bytes) if bytes > APPEND_NAME_BYTES_MAX => Err(ConfigError::FileNameTooLong(bytes)),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn faults_are_named() {
        let fault = |config: FileSinkConfig| config.check().unwrap_err().to_string();
        let appended = |path: &str| FileSinkConfig {
            append: true,
            ..FileSinkConfig::new(path)
        };
        let named = |name: &str, config| FileSinkConfig {
            name: Some(name.to_owned()),
            ..config
        };
        assert_eq!(FileSinkConfig::new("/a").check(), Ok(()));
        assert_eq!(appended("a.log").check(), Ok(()));
        assert_snapshot!(fault(FileSinkConfig::new("")), @"`path` is empty");
        assert_snapshot!(
            fault(named("{queue}.log", FileSinkConfig::new("/a"))),
            @"`name` '{queue}.log': needs {seq}, so that names tell the order"
        );
        assert_snapshot!(
            fault(named("x", appended("/a"))),
            @"`name` is for one file per batch: with `append`, `path` is the file and names it"
        );
        assert_snapshot!(
            fault(FileSinkConfig { encoding: Encoding::JsonArray, ..appended("/a") }),
            @r#"a file of appended JSON arrays is no JSON: use encoding "ndjson" with `append`"#
        );
        assert_snapshot!(
            fault(appended("/logs/")),
            @"`path` '/logs/' names no file to append to"
        );
        assert_snapshot!(
            fault(appended("/logs/..")),
            @"`path` '/logs/..' names no file to append to"
        );
        assert_snapshot!(
            fault(appended(&format!("/logs/{}", "x".repeat(250)))),
            @"the file name in `path` has 250 bytes: at most 243 with `append`"
        );
    }
}

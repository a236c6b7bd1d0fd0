//! Real input.

use crate::binaries::workspace;
use std::fs;
use std::path::{Path, PathBuf};

/// A file to submit.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The files of `samples/`, and those of `shared/data` beside the workspace, where somebody has put some there.
///
/// # Panics
/// Where one cannot be read.
#[must_use]
pub fn samples() -> Vec<Sample> {
    let workspace = workspace();
    let mut samples = read(&workspace.join("samples"));
    assert!(!samples.is_empty(), "samples/ is empty");
    samples.extend(read(&workspace.join("../shared/data")));
    samples
}

fn read(directory: &Path) -> Vec<Sample> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let sample = |path: PathBuf| Sample {
        name: path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned(),
        bytes: fs::read(&path).expect("sample"),
        path,
    };
    paths.into_iter().map(sample).collect()
}

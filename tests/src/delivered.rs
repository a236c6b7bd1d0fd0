//! What the file sink delivered.

use std::fs;
use std::path::Path;

/// One delivered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl DeliveredFile {
    /// Its items, where it holds lines.
    #[must_use]
    pub fn lines(&self) -> Vec<&[u8]> {
        let whole = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        if self.bytes.is_empty() {
            Vec::new()
        } else {
            whole.split(|byte| *byte == b'\n').collect()
        }
    }

    /// The batch's id, from a name as the sink gives it by default: `<queue>-<seq>-<id>.<ext>`.
    #[must_use]
    pub fn batch(&self) -> &str {
        const ID_BYTES: usize = 36;
        let stem = self
            .name
            .rsplit_once('.')
            .map_or(self.name.as_str(), |(stem, _)| stem);
        // A part of a batch has its range behind the id.
        let stem = stem
            .split_once('+')
            .and_then(|(head, _)| head.rsplit_once('-'))
            .map_or(stem, |(id, _)| id);
        stem.get(stem.len().saturating_sub(ID_BYTES)..)
            .unwrap_or(stem)
    }
}

/// The delivered files of a directory, in the order of their names; none where there is no directory.
///
/// # Panics
/// Where one cannot be read.
#[must_use]
pub fn delivered_files(directory: &Path) -> Vec<DeliveredFile> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("entry"))
        // As a glob sees them: what is on its way has a hidden name.
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| DeliveredFile {
            name: entry.file_name().to_string_lossy().into_owned(),
            bytes: fs::read(entry.path()).expect("delivered file"),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// The same, one after another, as `cat *` prints them.
#[must_use]
pub fn delivered(directory: &Path) -> Vec<u8> {
    delivered_files(directory)
        .into_iter()
        .flat_map(|file| file.bytes)
        .collect()
}

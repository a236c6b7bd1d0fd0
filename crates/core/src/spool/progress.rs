//! Which parts of a batch were delivered, where it cannot go out whole: `<id>.progress`, one JSON line a part.
//!
//! The record is written anew for each part, by rename: recovery never appends to what it did not write, and
//! neither does this.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::env::Env;
use crate::error::FsError;
use crate::spool::replace::replace;

/// A run of a batch's items that is delivered by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Index in the batch of its first item.
    pub first: u64,
    /// How many items.
    pub count: u64,
}

/// Reads the parts on record. What cannot be read counts as not delivered: it goes out again, under the same
/// identity.
#[must_use]
pub fn read(env: &Env, path: &Path) -> Vec<Part> {
    let Ok(file) = env.fs.open_read(path) else {
        return Vec::new();
    };
    let len = file.len().unwrap_or(0).min(PROGRESS_BYTES_MAX);
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = file.read_at(&mut text, 0).unwrap_or(0);
    let lines = text.get(..read).unwrap_or_default().split(|b| *b == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// Records the parts that were delivered. Durable on return.
///
/// # Errors
/// [`FsError`]; the record is then as it was, or as it was to be.
pub fn write(env: &Env, path: &Path, parts: &[Part]) -> Result<(), FsError> {
    let mut text = Vec::new();
    for part in parts {
        // A part of plain fields always serializes.
        text.extend(serde_json::to_vec(part).unwrap_or_default());
        text.push(b'\n');
    }
    replace(env, path, &text).map(drop)
}

const PROGRESS_BYTES_MAX: u64 = 16 << 20;

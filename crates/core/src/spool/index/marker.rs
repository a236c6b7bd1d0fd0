//! The marker of a clean stop: it says over which files of the spool the index was, and what its own files are.
//! It is removed before the index is opened, so that one that was not closed is never believed; and nothing but
//! what is as it was closed is handed to the store at all.

use std::path::Path;

use batchd_frame::checksum::{crc32c, crc32c_append};
use batchd_frame::codec::{decode, encode};
use serde::{Deserialize, Serialize};

use super::records::VERSION;
use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::queue::QueuePrint;
use crate::spool::layout::Layout;
use crate::spool::replace::replace;

/// A longer file is no marker: 1024 queues come to less.
const MARKER_BYTES_MAX: u64 = 1 << 20;
/// The store makes few files, and no directories in directories.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 4;
const READ_BYTES: usize = 256 << 10;

/// Sum over the entries of a store that does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Sum {
    pub count: u64,
    pub sum: u64,
}

impl Sum {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(entry(key, value));
    }

    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(entry(key, value));
    }
}

fn entry(key: &[u8], value: &[u8]) -> u64 {
    let head = crc32c(key);
    (u64::from(head) << 32) | u64::from(crc32c_append(head, value))
}

/// What is said of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoreMark {
    pub number: u32,
    /// What is in it.
    pub sum: Sum,
    /// Whether that was found in the files, after they were closed.
    pub is_verified: bool,
}

/// What a clean stop leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    version: u32,
    /// The program, since what it writes may differ.
    program: String,
    pub store: StoreMark,
    /// The files of the store.
    files: Vec<StoreFile>,
    /// The queues, in order of their names.
    queues: Vec<QueuePrint>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct StoreFile {
    /// Below the store's directory.
    name: String,
    bytes: u64,
    crc: u32,
}

impl Marker {
    /// Of a store that was just closed.
    ///
    /// # Errors
    /// [`FsError`] where its files cannot be read.
    pub(super) fn new(
        env: &Env,
        layout: &Layout,
        store: StoreMark,
        queues: &[QueuePrint],
    ) -> Result<Self, FsError> {
        Ok(Self {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            store,
            files: files_of(env, &layout.index_store(store.number))?,
            queues: sorted(queues),
        })
    }

    /// Writes it. Durable on return.
    ///
    /// # Errors
    /// [`FsError`]
    pub(super) fn write(&self, env: &Env, layout: &Layout) -> Result<(), FsError> {
        let mut bytes = encode(self);
        bytes.extend(crc32c(&bytes).to_le_bytes());
        replace(env, &layout.index_marker(), &bytes).map(drop)
    }

    /// Reads it, and says why it is of no use where it is not.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn read(env: &Env, layout: &Layout) -> Result<Self, String> {
        let path = layout.index_marker();
        let file = env.fs.open_read(&path).at("open", &path);
        let file = file.map_err(|error| error.to_string())?;
        let bytes = read_all(&*file, &path)?;
        let bad = || "the marker of a clean stop is damaged".to_owned();
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(bad)?;
        if crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(bad());
        }
        let marker: Self = decode(body).map_err(|_| bad())?;
        if (marker.version, marker.program.as_str()) != (VERSION, env!("CARGO_PKG_VERSION")) {
            return Err(format!("it was made by batchd {}", marker.program));
        }
        Ok(marker)
    }

    /// Whether it was made over these queues, and the store's files are as they were.
    ///
    /// # Errors
    /// What differs, for people.
    pub(super) fn check(
        &self,
        env: &Env,
        layout: &Layout,
        queues: &[QueuePrint],
    ) -> Result<(), String> {
        let queues = sorted(queues);
        if self.queues != queues {
            let differs = |print: &&QueuePrint| !self.queues.contains(print);
            let which = queues.iter().find(differs).map(QueuePrint::queue);
            return Err(match which {
                Some(queue) => format!("queue {queue} is not as it was"),
                None => "a queue is gone".to_owned(),
            });
        }
        let files = files_of(env, &layout.index_store(self.store.number));
        if files.map_err(|error| error.to_string())? != self.files {
            return Err("its files are not as they were".to_owned());
        }
        Ok(())
    }
}

fn sorted(queues: &[QueuePrint]) -> Vec<QueuePrint> {
    let mut queues = queues.to_vec();
    queues.sort_by(|a, b| a.queue().cmp(b.queue()));
    queues
}

fn read_all(file: &dyn File, path: &Path) -> Result<Vec<u8>, String> {
    let len = file.len().at("measure", path).map_err(|e| e.to_string())?;
    if len > MARKER_BYTES_MAX {
        return Err("the marker of a clean stop is too long".to_owned());
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0).at("read", path);
    bytes.truncate(read.map_err(|error| error.to_string())?);
    Ok(bytes)
}

fn files_of(env: &Env, dir: &Path) -> Result<Vec<StoreFile>, FsError> {
    let mut files = Vec::new();
    collect(env, dir, "", DEPTH_MAX, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(
    env: &Env,
    dir: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<StoreFile>,
) -> Result<(), FsError> {
    for entry in env.fs.read_dir(dir).at("list", dir)? {
        let path = dir.join(&entry.name);
        let name = format!("{prefix}{}", entry.name);
        if files.len() >= FILES_MAX || depth == 0 {
            let many = std::io::Error::other("more files than any store has");
            return Err(many).at("list", dir);
        }
        if entry.is_dir {
            collect(env, &path, &format!("{name}/"), depth - 1, files)?;
        } else {
            let file = env.fs.open_read(&path).at("open", &path)?;
            let (bytes, crc) = checksum(&*file).at("read", &path)?;
            files.push(StoreFile { name, bytes, crc });
        }
    }
    Ok(())
}

fn checksum(file: &dyn File) -> std::io::Result<(u64, u32)> {
    let mut window = vec![0; READ_BYTES];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let n = file.read_at(&mut window, bytes)?;
        if n == 0 {
            return Ok((bytes, crc));
        }
        bytes += n as u64;
        crc = crc32c_append(crc, window.get(..n).unwrap_or_default());
    }
}

//! Deliveries for the tests.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use batchd_frame::{BatchId, Key, QueueName};

use super::{FileSink, FileSinkConfig};
use crate::sink::{Delivery, ItemSource, Range, Sink, SinkError, SourceError};

/// A whole batch of queue `logs` whose id is made from its number.
pub(super) fn delivery(seq: u64, items: &[&[u8]]) -> Delivery {
    let mut id = [0; 16];
    id[4..6].copy_from_slice(&seq.to_be_bytes()[6..]);
    id[6] = 0x70;
    id[8] = 0x80;
    Delivery {
        batch: BatchId::from_bytes(id),
        queue: QueueName::new("logs").unwrap(),
        key: Key::default(),
        seq,
        part: None,
        items: items.len() as u64,
        bytes: items.iter().map(|item| item.len() as u64).sum(),
        digest: None,
        created_at: 0,
    }
}

/// Part of such a batch.
pub(super) fn part(seq: u64, first: u64, items: &[&[u8]]) -> Delivery {
    Delivery {
        part: Some(Range {
            first,
            count: items.len() as u64,
        }),
        ..delivery(seq, items)
    }
}

/// Gives items, then fails or ends.
pub(super) struct Items<'a> {
    items: VecDeque<&'a [u8]>,
    fails: bool,
}

impl<'a> Items<'a> {
    pub(super) fn of(items: &[&'a [u8]]) -> Self {
        Self {
            items: items.iter().copied().collect(),
            fails: false,
        }
    }

    pub(super) fn then_fail(items: &[&'a [u8]]) -> Self {
        Self {
            fails: true,
            ..Self::of(items)
        }
    }
}

impl ItemSource for Items<'_> {
    fn next_item(&mut self) -> Result<Option<&[u8]>, SourceError> {
        match self.items.pop_front() {
            None if self.fails => Err(SourceError("checksum".to_owned())),
            item => Ok(item),
        }
    }
}

pub(super) fn sink(config: FileSinkConfig) -> FileSink {
    FileSink::new(config).unwrap()
}

/// Delivers with a sink that has just been made, as after a restart.
pub(super) fn deliver_afresh(
    config: &FileSinkConfig,
    delivery: &Delivery,
    items: &[&[u8]],
) -> Result<(), SinkError> {
    sink(config.clone()).deliver(delivery, &mut Items::of(items))
}

/// What changes when a file is replaced, written to, renamed or otherwise touched.
pub(super) fn identity(path: &Path) -> (u64, (i64, i64), (i64, i64)) {
    let found = fs::metadata(path).unwrap();
    (
        found.ino(),
        (found.mtime(), found.mtime_nsec()),
        (found.ctime(), found.ctime_nsec()),
    )
}

/// The names in a directory, sorted.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// So many bytes, of every value and in no short period.
pub(super) fn every_byte(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|index| (index ^ (index >> 8) ^ (index >> 16)).to_le_bytes()[0])
        .collect()
}

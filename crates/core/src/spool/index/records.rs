//! What is in the index, as keys and values, and what it is asked.
//!
//! | key | value |
//! |---|---|
//! | `b` id | [`Batch`]: where it is, and when it ended |
//! | `t` time, id | [`Ended`]: a line of the ledger |
//! | `q` queue, 0, time, id | in which ledger that line is: its generation |
//! | `g` queue | the generation of the queue's ledger |
//!
//! Times are eight bytes, the highest first, so that the order of keys is that of time. Values are bincode.
//! [`VERSION`] goes up with every change; an index of another version is made anew.

use batchd_frame::codec::{decode, encode};
use batchd_frame::{BatchId, QueueName};
use serde::{Deserialize, Serialize};

use crate::spool::ledger::End;

/// Of keys, values and the marker.
pub(super) const VERSION: u32 = 2;
/// So much is kept of the reason of an end, in characters.
const WHY_CHARS_MAX: usize = 500;

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// In `ready/`.
    Ready,
    /// In `dead/`.
    Dead,
    /// Not in the spool any more.
    Gone,
}

/// A batch that ended, or was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its queue.
    pub queue: QueueName,
    /// What the ledger says of it; of a long reason, the beginning.
    pub end: End,
}

impl Ended {
    /// What the ledger of a queue says.
    #[must_use]
    pub fn new(queue: &QueueName, mut end: End) -> Self {
        if let Some((long, _)) = end.why.char_indices().nth(WHY_CHARS_MAX) {
            end.why.truncate(long);
        }
        Self {
            queue: queue.clone(),
            end,
        }
    }

    /// Place in the history.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.end.at,
            id: self.end.id,
        }
    }
}

/// Where the index knows a batch to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its queue.
    pub queue: QueueName,
    /// Its number.
    pub seq: u64,
    /// Items in it.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// Where it is.
    pub state: State,
    /// What became of it last, if anything.
    pub ended: Option<Ended>,
}

/// A place in the history, which is in order of time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Unix time in microseconds.
    pub at: u64,
    /// The batch.
    pub id: BatchId,
}

/// A part of the history, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only of this batch.
    pub batch: Option<BatchId>,
    /// Nothing that ended before this, unix time in microseconds.
    pub since: u64,
    /// Only what is older than this: where the page before ended.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
}

impl Query {
    /// Whether a line is asked for.
    #[must_use]
    pub fn takes(&self, ended: &Ended) -> bool {
        self.queue
            .as_ref()
            .is_none_or(|queue| *queue == ended.queue)
            && self.batch.is_none_or(|batch| batch == ended.end.id)
            && ended.end.at >= self.since
            && self.before.is_none_or(|before| ended.cursor() < before)
    }
}

/// A page of the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Newest first.
    pub ended: Vec<Ended>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// What is known of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub queue: QueueName,
    pub seq: u64,
    pub items: u64,
    pub bytes: u64,
    pub state: State,
    /// When its lines are, in the order in which they were written.
    pub lines: Vec<u64>,
}

/// Bytes of a time and an id.
const CURSOR_BYTES: usize = 24;
const ZERO_ID: BatchId = BatchId::from_bytes([0; 16]);

pub(super) fn batch_key(id: BatchId) -> Vec<u8> {
    [&b"b"[..], id.as_bytes()].concat()
}

pub(super) fn line_key(cursor: Cursor) -> Vec<u8> {
    [&b"t"[..], &cursor_bytes(cursor)].concat()
}

pub(super) fn queue_line_key(queue: &QueueName, cursor: Cursor) -> Vec<u8> {
    [&queue_prefix(queue)[..], &cursor_bytes(cursor)].concat()
}

pub(super) fn generation_key(queue: &QueueName) -> Vec<u8> {
    [b"g", queue.as_str().as_bytes()].concat()
}

/// The keys of all lines from a time to before a cursor; of one queue, where that is wanted.
pub(super) fn line_keys(query: &Query) -> (Vec<u8>, Vec<u8>) {
    let prefix = match &query.queue {
        Some(queue) => queue_prefix(queue),
        None => b"t".to_vec(),
    };
    let from = Cursor {
        at: query.since,
        id: ZERO_ID,
    };
    let from = [&prefix[..], &cursor_bytes(from)].concat();
    let to = match query.before {
        Some(before) => [&prefix[..], &cursor_bytes(before)].concat(),
        None => end_of(prefix),
    };
    (from, to)
}

/// The keys of all lines of a queue.
pub(super) fn queue_keys(queue: &QueueName) -> (Vec<u8>, Vec<u8>) {
    let prefix = queue_prefix(queue);
    (prefix.clone(), end_of(prefix))
}

/// Before every key, and behind every key.
pub(super) const ALL_KEYS: (&[u8], &[u8]) = (b"", b"\xff");

/// The time and id at the end of a key.
pub(super) fn cursor_of(key: &[u8]) -> Option<Cursor> {
    let (_, tail) = key.split_at_checked(key.len().checked_sub(CURSOR_BYTES)?)?;
    let (at, id) = tail.split_first_chunk::<8>()?;
    Some(Cursor {
        at: u64::from_be_bytes(*at),
        id: BatchId::from_bytes(*id.first_chunk::<16>()?),
    })
}

fn cursor_bytes(cursor: Cursor) -> Vec<u8> {
    [&cursor.at.to_be_bytes()[..], cursor.id.as_bytes()].concat()
}

fn queue_prefix(queue: &QueueName) -> Vec<u8> {
    [&b"q"[..], queue.as_str().as_bytes(), b"\0"].concat()
}

/// What comes behind every key that begins like this, and before all others. No prefix ends in 255.
fn end_of(mut prefix: Vec<u8>) -> Vec<u8> {
    if let Some(last) = prefix.last_mut() {
        *last = last.saturating_add(1);
    }
    prefix
}

/// A value as it is stored.
pub(super) fn to_value<T: Serialize>(value: &T) -> Vec<u8> {
    encode(value)
}

/// A value as it was stored; nothing where it is none.
pub(super) fn from_value<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_that_of_time() {
        let cursor = |at, id| Cursor {
            at,
            id: BatchId::from_bytes([id; 16]),
        };
        let cursors = [cursor(0, 9), cursor(255, 1), cursor(256, 0), cursor(256, 1)];
        let keys = cursors.map(line_key);
        assert!(keys.is_sorted());
        for (key, cursor) in keys.iter().zip(cursors) {
            assert_eq!(cursor_of(key), Some(cursor));
        }
        assert_eq!(cursor_of(b"t"), None);
    }

    #[test]
    fn a_queue_has_only_its_own_keys() {
        let name = |name: &str| QueueName::new(name).expect("a name");
        let cursor = Cursor {
            at: u64::MAX,
            id: BatchId::from_bytes([0xff; 16]),
        };
        let (from, to) = queue_keys(&name("a"));
        let inside = |queue: &str| {
            let key = queue_line_key(&name(queue), cursor);
            from <= key && key < to
        };
        assert!(inside("a"));
        assert!(!inside("a.b") && !inside("aa") && !inside("b"));
    }
}

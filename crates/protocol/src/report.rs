//! What the daemon tells of itself. `batchctl --output json` prints most of it as it is: the names of fields and
//! variants, and their order, are part of what it promises.

use batchd_frame::{BatchId, QueueName, SealReason};
use serde::{Deserialize, Serialize};

/// A number of batches with what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Batches.
    pub batches: u64,
    /// Items in them.
    pub items: u64,
    /// Sum of the items' lengths in bytes.
    pub bytes: u64,
}

/// State of a queue. Counters count from the daemon's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Its name.
    pub queue: QueueName,
    /// Where its batches go, as configured; nothing for a queue that configuration no longer names.
    pub sink: Option<String>,
    /// Batches being filled or closed.
    pub open: Tally,
    /// Closed batches that wait for delivery.
    pub ready: Tally,
    /// Batches set aside for a person.
    pub dead: Tally,
    /// Submissions accepted.
    pub submissions_accepted: u64,
    /// Items accepted.
    pub items_accepted: u64,
    /// Commit groups written: each is one sync for all the submissions in it.
    pub groups: u64,
    /// Batches delivered.
    pub batches_delivered: u64,
    /// Items delivered.
    pub items_delivered: u64,
    /// Attempts that failed since the last that did not.
    pub attempts_failed: u32,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// Beats of `interval` that were skipped because they came too late, of all keys.
    pub beats_skipped: u64,
    /// Batches dropped: to make room, or because they expired and are not kept then.
    pub batches_dropped: u64,
    /// Items in them.
    pub items_dropped: u64,
    /// Batches that outlived their lifespan, whatever became of them.
    pub batches_expired: u64,
}

/// State of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Name and version.
    pub server: String,
    /// Process id.
    pub pid: u32,
    /// When it started, unix time in microseconds.
    pub started_at: u64,
    /// The spool's directory.
    pub spool: String,
    /// Files in quarantine.
    pub quarantined: u64,
    /// The queues, by name.
    pub queues: Vec<QueueStatus>,
    /// How much room there is.
    pub space: SpaceStatus,
}

/// How much room the spool has, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpaceStatus {
    /// Items in it.
    pub used_bytes: u64,
    /// What they may come to.
    pub max_bytes: u64,
    /// What its file system has left.
    pub free_bytes: u64,
    /// What that must have left.
    pub min_free_bytes: u64,
    /// Why no submission is taken now, if that is so, for people. A spool that holds as much as it may still takes
    /// what is small enough.
    pub shortage: Option<String>,
}

/// Where a batch is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Being filled.
    Open,
    /// Closed, on its way to `ready`.
    Sealing,
    /// Waiting for delivery, or being delivered.
    Ready,
    /// Set aside for a person.
    Dead,
}

impl BatchState {
    /// The name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sealing => "sealing",
            Self::Ready => "ready",
            Self::Dead => "dead",
        }
    }
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchInfo {
    /// Its id.
    pub id: BatchId,
    /// Its queue.
    pub queue: QueueName,
    /// Its number in the queue.
    pub seq: u64,
    /// Its key, empty for none; only where the file was opened, as in the answer to `Show`, or is open.
    pub key: Option<Vec<u8>>,
    /// Where it is.
    pub state: BatchState,
    /// Items in it.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// When it was begun, unix time in microseconds; taken from the id.
    pub created_at: u64,
    /// When it expires, unix time in microseconds.
    pub expires_at: Option<u64>,
    /// Why it was closed, where known.
    pub reason: Option<SealReason>,
    /// Its file, relative to the spool.
    pub path: String,
    /// Why it was set aside, for people; only where the file was opened.
    pub verdict: Option<String>,
}

/// Where a page of a listing ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCursor {
    /// Queue of the last batch.
    pub queue: QueueName,
    /// State of the last batch.
    pub state: BatchState,
    /// Seq of the last batch.
    pub seq: u64,
}

/// What a flush did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlushReport {
    /// Batches it closed or found closed.
    pub batches: u64,
    /// Items in them.
    pub items: u64,
    /// Whether the sinks have all of them. Only a request that waited can know.
    pub delivered: bool,
    /// Where the request waited: batches among them that will not be delivered, or not whole, because they expired,
    /// were dropped, are damaged or were removed.
    pub not_delivered: u64,
}

/// A page of a batch's items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemsPage {
    /// The items, in order.
    pub items: Vec<serde_bytes::ByteBuf>,
    /// Cursor of the next page; nothing at the end.
    pub next: Option<u64>,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Bytes or names are not what they were.
    Damage,
    /// Worth knowing; nothing is lost.
    Note,
}

impl FindingKind {
    /// The name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Note => "note",
        }
    }
}

/// One thing that was found in a spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it means.
    pub kind: FindingKind,
    /// The file, relative to the spool.
    pub path: String,
    /// Where in the file, in bytes, if it is about one place.
    pub offset: Option<u64>,
    /// The batch, if it is about one.
    pub batch: Option<BatchId>,
    /// Items that it costs, as far as that is known.
    pub items_missing: u64,
    /// What is wrong, for people.
    pub what: String,
}

/// What came of reading some batches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifiedPage {
    /// Batches read.
    pub batches: u64,
    /// Items in them that can be read.
    pub items: u64,
    /// Bytes of their files that were read.
    pub bytes: u64,
    /// What was found, in order of the batches.
    pub findings: Vec<Finding>,
    /// Where the next page begins, if there is one.
    pub next: Option<ListCursor>,
}

/// What became of a batch that ended, or was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, unix time in microseconds.
    pub at: u64,
    /// Its queue.
    pub queue: QueueName,
    /// The batch.
    pub id: BatchId,
    /// Its number in the queue.
    pub seq: u64,
    /// What became of it, by the name that the ledger has for it. There may be new ones.
    pub outcome: String,
    /// Items in it.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// Why, where there is more to say.
    pub why: String,
}

/// Where a page of the history ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCursor {
    /// Time of the last entry.
    pub at: u64,
    /// Batch of the last entry.
    pub id: BatchId,
}

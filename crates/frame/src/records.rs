//! Bodies of the frames that end a batch, as bincode of the types here.

use serde::{Deserialize, Serialize};

use crate::checksum::Digest;
use crate::ids::ProducerId;

/// Why a batch was closed. New reasons go to the end: the place in the list is the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealReason {
    /// It held `max_items`.
    MaxItems,
    /// It held `max_bytes`, or the next item would have crossed it.
    MaxBytes,
    /// Its first item was `max_age` old.
    MaxAge,
    /// Somebody asked.
    Flush,
    /// An item was marked as the last of its batch.
    EndOfBatch,
    /// Found after a restart, and not the last of its key.
    Recovery,
    /// Found damaged after a restart: it holds what could be read.
    Damaged,
    /// The queue's last flush was `max_since_flush` ago.
    MaxSinceFlush,
    /// A beat of `interval`.
    Interval,
    /// Nothing came for `idle`.
    Idle,
    /// The daemon stopped, and `on_shutdown` says to flush.
    Shutdown,
    /// It was made whole, with items given at once.
    Created,
    /// Too many batches of the queue were open, and it was used longest ago.
    OpenBatches,
    /// Its lifespan ended while it was open.
    Lifespan,
    /// The queue was full, and room is made for what is newer.
    Overflow,
}

impl SealReason {
    /// The name in logs, listings and the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxItems => "max_items",
            Self::MaxBytes => "max_bytes",
            Self::MaxAge => "max_age",
            Self::Flush => "flush",
            Self::EndOfBatch => "end_of_batch",
            Self::Recovery => "recovery",
            Self::Damaged => "damaged",
            Self::MaxSinceFlush => "max_since_flush",
            Self::Interval => "interval",
            Self::Idle => "idle",
            Self::Shutdown => "shutdown",
            Self::Created => "created",
            Self::OpenBatches => "open_batches",
            Self::Lifespan => "lifespan",
            Self::Overflow => "overflow",
        }
    }
}

/// A part of a submission, kept in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPart {
    /// The producer's number of the submission.
    pub sequence: u64,
    /// Index in the submission of its first item here.
    pub first: u32,
    /// How many of its items are here.
    pub count: u32,
    /// Whether the submission ends here.
    pub last: bool,
}

/// What a batch holds of one producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerRecord {
    /// Who.
    pub producer: ProducerId,
    /// Sequences that are whole in this batch, as inclusive ranges, ascending.
    pub whole: Vec<(u64, u64)>,
    /// Parts of submissions that are spread over batches.
    pub parts: Vec<KeptPart>,
}

/// Body of a seal: the batch is complete and immutable from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The file header again, as it stands at the head.
    pub header: Vec<u8>,
    /// Items in the batch.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// Digest of the bodies.
    pub digest: Digest,
    /// Why the batch was closed.
    pub reason: SealReason,
    /// When, unix time in microseconds.
    pub sealed_at: u64,
    /// Whose submissions it holds.
    pub producers: Vec<ProducerRecord>,
}

/// What became of a batch that will not be tried again on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictOutcome {
    /// Its lifespan ended before it was delivered.
    Expired,
    /// Its header was lost and with it the key: a person must say where it belongs.
    Orphaned,
}

/// Body of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What.
    pub outcome: VerdictOutcome,
    /// First item it speaks of.
    pub first: u64,
    /// How many items it speaks of.
    pub count: u64,
    /// Attempts made.
    pub attempts: u32,
    /// What the last of them said, or why none was made.
    pub last_error: String,
    /// When, unix time in microseconds.
    pub at: u64,
}

impl std::fmt::Display for Verdict {
    /// In words, for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.outcome {
            VerdictOutcome::Expired => "expired before it was delivered",
            VerdictOutcome::Orphaned => "its header is lost, and with it the key",
        })?;
        match (self.attempts, self.last_error.as_str()) {
            (0, "") => Ok(()),
            (attempts, error) => write!(f, "; attempts: {attempts}, the last error: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    #[test]
    fn records_read_back() {
        let seal = Seal {
            header: vec![1; 512],
            items: 3,
            bytes: 300,
            digest: Digest([5; 16]),
            reason: SealReason::Recovery,
            sealed_at: 7,
            producers: vec![ProducerRecord {
                producer: ProducerId::from_bytes([1; 16]),
                whole: vec![(1, 9)],
                parts: vec![KeptPart {
                    sequence: 10,
                    first: 0,
                    count: 2,
                    last: false,
                }],
            }],
        };
        assert_eq!(decode::<Seal>(&encode(&seal)), Ok(seal));
        let verdict = Verdict {
            outcome: VerdictOutcome::Expired,
            first: 0,
            count: 3,
            attempts: 2,
            last_error: "no route".into(),
            at: 9,
        };
        assert_eq!(decode::<Verdict>(&encode(&verdict)), Ok(verdict));
    }
}

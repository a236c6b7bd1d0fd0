//! What a ledger says of a batch.

use batchd_frame::{BatchId, ProducerRecord};
use serde::{Deserialize, Serialize};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The sink has it.
    Delivered,
    /// What could be read of it was delivered; the file is in quarantine.
    DeliveredDamaged,
    /// It outlived its lifespan and was set aside in `dead/`.
    Expired,
    /// It was dropped: it outlived its lifespan, or made room for what is newer, which `why` says.
    Dropped,
    /// Its file was gone, or no file any more: somebody else had been at it.
    Removed,
}

impl Outcome {
    /// Its name, as it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::DeliveredDamaged => "delivered_damaged",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
            Self::Removed => "removed",
        }
    }

    /// Whether the batch is gone from the spool with it; otherwise it lies in `dead/`.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Expired
    }

    /// Whether the file of a batch with it on record has no place in `ready/`: a crash came before it went.
    #[must_use]
    pub fn leaves_ready(self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::DeliveredDamaged | Self::Dropped
        )
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// When, unix time in microseconds.
    pub at: u64,
    /// The batch.
    pub id: BatchId,
    /// Its number.
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Items in it.
    pub items: u64,
    /// Sum of their lengths.
    pub bytes: u64,
    /// Why, where there is more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The submissions it held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub producers: Vec<ProducerRecord>,
}

/// What became of a batch: a line without the submissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When, unix time in microseconds.
    pub at: u64,
    /// The batch.
    pub id: BatchId,
    /// Its number.
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Items in it.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// Why, where there is more to say.
    #[serde(default)]
    pub why: String,
}

impl LedgerLine {
    /// What it says but for the submissions.
    #[must_use]
    pub fn end(&self) -> End {
        End {
            at: self.at,
            id: self.id,
            seq: self.seq,
            outcome: self.outcome,
            items: self.items,
            bytes: self.bytes,
            why: self.why.clone(),
        }
    }
}

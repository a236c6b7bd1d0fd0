//! What came out: how much was checked, and what was wrong.

use std::collections::BTreeMap;
use std::fmt;

/// A rule that was broken. What is said of bytes and names is said of the moment at which somebody was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// All items of an accepted submission are written.
    AckWritten,
    /// They are synced.
    AckSynced,
    /// The names of their files are durable, and no file is removed that is not on record.
    AckNamed,
    /// They are the items that were submitted.
    AckSame,
    /// An answer is to a submission that was read.
    AckKnown,
    /// What is acknowledged is not cut off.
    AckedKept,
    /// A group is not written to a file while a sync of it is under way.
    GroupAfterSync,
    /// A frame does not say that more is synced than is; in a copy that recovery makes, when it takes its place.
    SyncedTo,
    /// No file is synced again after a sync of it failed.
    SyncFailedOnce,
    /// A batch becomes ready when its seal is synced.
    SealSynced,
    /// An attempt begins when the seal is synced.
    AttemptSealed,
    /// An attempt begins when the name in `ready/` is durable.
    AttemptReady,
    /// What a sink delivers is synced before it is renamed.
    DeliverySynced,
    /// The ledger says that a batch is delivered when the name of what was delivered is durable.
    RecordDelivered,
    /// A batch is removed when its line in the ledger is synced.
    RemovedRecorded,
    /// Every call that changes the spool is one that is checked.
    Accounted,
}

/// A broken rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The line of the call that broke it.
    pub line: u64,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, line {}: {}", self.rule, self.line, self.what)
    }
}

/// What was checked, and what was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Calls read.
    pub calls: u64,
    /// Submissions read from connections.
    pub submissions: usize,
    /// Answers that a submission is synced.
    pub acks_synced: usize,
    /// Answers that it is written.
    pub acks_written: usize,
    /// Frames of items.
    pub item_frames: usize,
    /// Calls of fsync and fdatasync that succeeded.
    pub syncs: usize,
    /// Those of them that made items durable which were not.
    pub item_syncs: usize,
    /// Such calls that failed.
    pub failed_syncs: usize,
    /// Renames to `ready/`.
    pub sealed: usize,
    /// Files that a sink delivered.
    pub delivered: usize,
    /// Lines of ledgers that say so.
    pub recorded: usize,
    /// Batches removed.
    pub removed: usize,
    /// Broken rules, in order.
    pub violations: Vec<Violation>,
}

/// So many violations of a rule are shown.
const SHOWN: usize = 3;

impl Report {
    /// The rules that were broken, with how often.
    #[must_use]
    pub fn broken(&self) -> BTreeMap<Rule, usize> {
        let mut broken = BTreeMap::new();
        for violation in &self.violations {
            *broken.entry(violation.rule).or_default() += 1;
        }
        broken
    }

    /// How many submissions a sync answered, in tenths.
    #[must_use]
    pub fn submissions_a_sync_tenths(&self) -> usize {
        10 * self.acks_synced / self.item_syncs.max(1)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.submissions_a_sync_tenths();
        writeln!(
            f,
            "{} calls; {} submissions in {} frames; {} answered as synced, {} as written; \
             {} syncs ({} failed), {} of items: {}.{} submissions a sync",
            self.calls,
            self.submissions,
            self.item_frames,
            self.acks_synced,
            self.acks_written,
            self.syncs,
            self.failed_syncs,
            self.item_syncs,
            tenths / 10,
            tenths % 10,
        )?;
        writeln!(
            f,
            "batches: {} sealed, {} delivered, {} recorded, {} removed",
            self.sealed, self.delivered, self.recorded, self.removed
        )?;
        for (rule, count) in self.broken() {
            writeln!(f, "broken {count} times: {rule:?}")?;
            let of_rule = self
                .violations
                .iter()
                .filter(|violation| violation.rule == rule);
            for violation in of_rule.take(SHOWN) {
                writeln!(f, "  line {}: {}", violation.line, violation.what)?;
            }
        }
        Ok(())
    }
}

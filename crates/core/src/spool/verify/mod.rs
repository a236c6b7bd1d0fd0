//! Reads every byte of a spool and names what is wrong: where, and what it costs.
//!
//! *Damage* is what never is there unless a disk, or somebody, changed bytes or names. A *note* is what a crash may
//! leave or a newer program may write, of which nothing is lost: a torn tail of an open file, what the next start
//! removes or sets aside, files in quarantine. Nothing is written; memory is that of one batch and a page of names.
//! The daemon checks its batches with the same functions, one by one: [`batch`].

pub mod batch;
mod ledger;
pub mod open;
mod queue;

use std::path::Path;

use batchd_frame::{BatchId, QueueName};

use crate::error::FsError;
use crate::spool::reader::{FormatState, ReadSpool};

/// So many findings are told one by one of any one file.
pub const FINDINGS_PER_FILE_MAX: usize = 100;

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Bytes or names are not what they were.
    Damage,
    /// Worth knowing; nothing is lost.
    Note,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// The file or directory, relative to the spool.
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

/// What was read, and how much is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Batches read.
    pub batches: u64,
    /// Items in them that can be read.
    pub items: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Findings that are damage.
    pub damages: u64,
    /// Findings that are notes.
    pub notes: u64,
    /// Items that cannot be read, as far as that is known.
    pub items_missing: u64,
}

impl Totals {
    /// Counts a finding.
    pub fn count(&mut self, finding: &Finding) {
        match finding.severity {
            Severity::Damage => self.damages += 1,
            Severity::Note => self.notes += 1,
        }
        self.items_missing = self.items_missing.saturating_add(finding.items_missing);
    }
}

/// Verifies a spool, or one queue of it: everything but what lies in quarantine, of which the number is told. Every
/// finding is given to `tell` as it is found; false from it ends the reading.
///
/// # Errors
/// [`FsError`] where a directory or a ledger cannot be read. What is wrong with files is no error.
pub fn verify(
    spool: &ReadSpool,
    only: Option<&QueueName>,
    tell: &mut dyn FnMut(Finding) -> bool,
) -> Result<Totals, FsError> {
    let mut report = Report {
        root: spool.layout().root(),
        totals: Totals::default(),
        is_wanted: true,
        tell,
    };
    if only.is_none() {
        report.format(spool);
        report.strangers(spool)?;
    }
    for queue in spool.queues()? {
        if report.is_wanted && only.is_none_or(|only| *only == queue) {
            queue::verify(spool, &queue, &mut report)?;
        }
    }
    let quarantined = spool.quarantined()?;
    if only.is_none() && quarantined > 0 {
        report.note(&spool.layout().quarantine(), self::quarantined(quarantined));
    }
    Ok(report.totals)
}

/// What is said of files in quarantine.
#[must_use]
pub fn quarantined(count: u64) -> String {
    let files = if count == 1 { "file lies" } else { "files lie" };
    format!("{count} {files} in quarantine")
}

/// Where findings go.
struct Report<'a> {
    root: &'a Path,
    totals: Totals,
    is_wanted: bool,
    tell: &'a mut dyn FnMut(Finding) -> bool,
}

impl Report<'_> {
    fn add(&mut self, finding: Finding) {
        self.totals.count(&finding);
        self.is_wanted = self.is_wanted && (self.tell)(finding);
    }

    fn note(&mut self, path: &Path, what: String) {
        self.add(finding(Severity::Note, self.root, path, what));
    }

    fn damage(&mut self, path: &Path, what: String) {
        self.add(finding(Severity::Damage, self.root, path, what));
    }

    fn format(&mut self, spool: &ReadSpool) {
        let what = match spool.format() {
            FormatState::Good => return,
            FormatState::Missing => "is missing; the next start writes it anew",
            FormatState::Damaged => "is damaged; the next start writes it anew",
        };
        self.damage(&spool.layout().format(), what.to_owned());
    }

    /// What lies beside the queues' directories.
    fn strangers(&mut self, spool: &ReadSpool) -> Result<(), FsError> {
        let dir = spool.layout().queues();
        let mut names = Vec::new();
        let listed = spool.env().fs.visit_dir(&dir, &mut |entry| {
            if (!entry.is_dir || QueueName::new(entry.name.as_str()).is_err())
                && names.len() < FINDINGS_PER_FILE_MAX
            {
                names.push(entry.name);
            }
        });
        // Without the directory there are no queues, which is what is then said.
        if listed.is_err() {
            return Ok(());
        }
        names.sort();
        for name in names {
            let what = "not the directory of a queue; batchd leaves it alone".to_owned();
            self.note(&dir.join(name), what);
        }
        Ok(())
    }
}

/// A finding about a file as a whole.
fn finding(severity: Severity, root: &Path, path: &Path, what: String) -> Finding {
    Finding {
        severity,
        path: relative(root, path),
        offset: None,
        batch: None,
        items_missing: 0,
        what,
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

//! Checks a ledger: every line, but for the torn end that a crash may leave.

use std::path::Path;

use super::{FINDINGS_PER_FILE_MAX, Report, Severity, finding};
use crate::env::Env;
use crate::error::{At, FsError};
use crate::spool::ledger::{LedgerLine, each_line};

/// What is lost with a line: a batch may be delivered again under its id, or a repeat kept that was known.
const COST: &str = "does not parse: what became of a batch is not on record any more";

/// Checks a ledger. One that `is_present` is appended to, and may end in a line that a crash has torn.
pub(super) fn verify(
    env: &Env,
    path: &Path,
    is_present: bool,
    report: &mut Report<'_>,
) -> Result<(), FsError> {
    let file = match env.fs.open_read(path).at("open", path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) if error.is_no_file() => {
            report.damage(path, "in the place of a ledger".to_owned());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let len = file.len().at("measure", path)?;
    let (mut start, mut bad, mut bad_count) = (0, Vec::new(), 0u64);
    let mut bad_at_the_end = 0u64;
    let read = each_line(&*file, path, |text, end| {
        if serde_json::from_slice::<LedgerLine>(text).is_ok() {
            bad_at_the_end = 0;
        } else {
            bad_at_the_end += 1;
            bad_count += 1;
            if bad.len() < FINDINGS_PER_FILE_MAX {
                bad.push(start);
            }
        }
        start = end;
    });
    let torn_lines = if is_present { bad_at_the_end } else { 0 };
    let damaged = bad_count - torn_lines;
    for offset in bad
        .iter()
        .take(usize::try_from(damaged).unwrap_or(usize::MAX))
    {
        let mut found = finding(Severity::Damage, report.root, path, COST.to_owned());
        found.offset = Some(*offset);
        report.add(found);
    }
    let untold = damaged.saturating_sub(bad.len() as u64);
    if untold > 0 {
        report.damage(path, format!("{untold} more lines do not parse"));
    }
    if torn_lines > 0 || start < len || read.is_err() {
        let (severity, what) = match (read.is_ok(), is_present) {
            (false, _) => (Severity::Damage, "cannot be read from here on"),
            (true, true) => (Severity::Note, "a torn last line, on which nothing depends"),
            (true, false) => (Severity::Damage, "ends within a line"),
        };
        let mut found = finding(severity, report.root, path, what.to_owned());
        found.offset = Some(start.min(len));
        report.add(found);
    }
    Ok(())
}

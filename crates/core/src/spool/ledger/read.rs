//! The lines of a ledger that lies there, whatever became of it.

use std::path::Path;

use super::line::LedgerLine;
use crate::env::{Env, File};
use crate::error::{At, FsError};

/// Visits the good lines of a ledger, if there is one, and says how it is damaged.
pub(super) fn read_lines(
    env: &Env,
    path: &Path,
    mut visit: impl FnMut(&[u8], LedgerLine),
) -> Result<Option<String>, FsError> {
    let file = match env.fs.open_read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", path)?,
    };
    let (mut start, mut bad, mut good_follows) = (0, None, false);
    let read = each_line(&*file, path, |text, end| {
        if let Ok(line) = serde_json::from_slice(text) {
            good_follows |= bad.is_some();
            visit(text, line);
        } else {
            bad.get_or_insert(start);
        }
        start = end;
    });
    if let Err(error) = read {
        return Ok(Some(format!("cannot be read from {start} on: {error}")));
    }
    let Some(bad) = bad else { return Ok(None) };
    if good_follows {
        return Ok(Some(format!(
            "what begins at {bad} does not parse, and good lines follow"
        )));
    }
    tracing::warn!(path = %path.display(), offset = bad, "the end of a ledger does not parse; left out");
    Ok(None)
}

/// Visits what ends in a newline, with the offset behind that.
///
/// # Errors
/// [`FsError`] where a read fails, and fails again; what comes before that place was visited.
pub(in crate::spool) fn each_line(
    file: &dyn File,
    path: &Path,
    mut visit: impl FnMut(&[u8], u64),
) -> Result<(), FsError> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut pending: Vec<u8> = Vec::new();
    let mut offset = 0;
    loop {
        let n = match file.read_at(&mut window, offset) {
            // A read that fails tells nothing of the bytes before the place that it failed at.
            Err(_) if window.len() > PAGE_BYTES => {
                window.truncate(PAGE_BYTES);
                continue;
            }
            read => read.at("read", path)?,
        };
        let mut line_end = offset;
        offset += n as u64;
        let mut rest = window.get(..n).unwrap_or_default();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (head, tail) = rest.split_at(end);
            pending.extend_from_slice(head);
            rest = tail.get(1..).unwrap_or_default();
            line_end += head.len() as u64 + 1;
            visit(&pending, line_end);
            pending.clear();
        }
        pending.extend_from_slice(rest);
        // A line is short; what is longer is none.
        if n == 0 {
            return Ok(());
        }
        if pending.len() > LINE_BYTES_MAX {
            pending.clear();
        }
    }
}

/// So much of a ledger is read at a time and, once a read has failed, so much.
const WINDOW_BYTES: usize = 256 << 10;
pub(super) const PAGE_BYTES: usize = 4 << 10;
const LINE_BYTES_MAX: usize = 16 << 20;

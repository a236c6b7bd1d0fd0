//! How the files in `open/` stand to each other and to what lies elsewhere: the facts that no file tells alone.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use batchd_frame::{BatchId, Key, QueueName};

use super::facts::{Examined, Name, examine};
use crate::env::{DirEntry, Env};
use crate::error::{At, FsError};
use crate::spool::layout::OpenName;

/// Examines what a name in `open/` leads to. `dir` is that directory, `queue` the one it is of.
///
/// # Errors
/// [`FsError`] where a batch file cannot be opened.
pub(in crate::spool) fn examine_entry(
    env: &Env,
    dir: &Path,
    entry: &DirEntry,
    queue: &QueueName,
) -> Result<Examined, FsError> {
    let is_batch = !entry.is_dir && entry.name.parse::<OpenName>().is_ok();
    let mut examined = if is_batch {
        let path = dir.join(&entry.name);
        let file = env.fs.open_read(&path).at("open", &path)?;
        examine(&*file, &entry.name, queue)
    } else {
        Examined::unreadable(&entry.name)
    };
    if entry.is_dir {
        examined.facts.name = Name::Other;
    }
    Ok(examined)
}

/// Marks the files whose batch is `taken`, which is that it lies in `ready/` or `dead/` or is on record as finished,
/// or that come second under one id. Sorts by seq.
pub(in crate::spool) fn mark_elsewhere(files: &mut [Examined], taken: impl Fn(&BatchId) -> bool) {
    // Of two files with one id, that which bears its name is kept.
    files.sort_by_key(|e| (!e.has_its_name(), e.identity.map(|n| n.seq)));
    let mut seen = HashSet::new();
    for examined in files.iter_mut() {
        if let Some(OpenName { id, .. }) = examined.identity
            && examined.facts.items
        {
            let twice = !seen.insert(id);
            examined.facts.elsewhere = twice || taken(&id);
        }
    }
    files.sort_by_key(|e| e.identity.map(|n| n.seq));
}

/// Of each key, the batch with the highest seq may be filled further; one under a wrong name may not.
pub(in crate::spool) fn mark_highest(files: &mut [Examined]) {
    let mut highest: HashMap<Key, u64> = HashMap::new();
    for examined in files.iter() {
        if let Some(header) = &examined.header
            && examined.facts.items
            && !examined.facts.elsewhere
        {
            let seq = highest.entry(header.key.clone()).or_insert(header.seq);
            *seq = header.seq.max(*seq);
        }
    }
    for examined in files {
        let is_highest = examined
            .header
            .as_ref()
            .is_some_and(|header| highest.get(&header.key) == Some(&header.seq));
        examined.facts.highest = is_highest && examined.has_its_name();
    }
}

/// How a file in `open/` stands to the same batch elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spool) enum Twin {
    /// It lies there with the same bytes: a rename was made durable in one directory and not yet in the other.
    SameBytes,
    /// So it was, and the batch is on record as finished since.
    Finished,
    /// Something in it may be missed.
    Differs,
}

/// Compares a file in `open/` whose batch lies `sealed` elsewhere, or is on record as finished.
pub(in crate::spool) fn twin(
    env: &Env,
    examined: &Examined,
    path: &Path,
    sealed: Option<&PathBuf>,
    is_finished: bool,
) -> Twin {
    let is_whole = examined.facts.seal && examined.first_bad.is_none();
    if sealed.is_some_and(|sealed| same_bytes(env, path, sealed)) {
        Twin::SameBytes
    } else if is_finished && is_whole {
        Twin::Finished
    } else {
        Twin::Differs
    }
}

/// Whether two files can be read and are equal.
pub(in crate::spool) fn same_bytes(env: &Env, one: &Path, other: &Path) -> bool {
    let open = |path| env.fs.open_read(path);
    let (Ok(one), Ok(other)) = (open(one), open(other)) else {
        return false;
    };
    let (mut a, mut b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut offset = 0;
    loop {
        let read = (one.read_at(&mut a, offset), other.read_at(&mut b, offset));
        let (Ok(n), Ok(m)) = read else { return false };
        if n != m || a.get(..n) != b.get(..m) {
            return false;
        }
        if n == 0 {
            return true;
        }
        offset += n as u64;
    }
}

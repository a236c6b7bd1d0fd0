//! Replaces a small file whole, so that a crash leaves the old contents or the new.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::layout::temporary;

/// Writes `content` beside `path`, under a temporary name; what an earlier attempt left there goes. The contents are
/// durable on return, the name is not.
///
/// # Errors
/// [`FsError`]; `path` is untouched, and nothing lies beside it.
pub(super) fn write_beside(
    env: &Env,
    path: &Path,
    content: &[u8],
) -> Result<(PathBuf, Arc<dyn File>), FsError> {
    let new = temporary(path);
    match env.fs.unlink(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).at("remove", &new);
        }
        _ => {}
    }
    let file = env.fs.create_new(&new).at("create", &new)?;
    let written = file.write_all_at(content, 0).at("write", &new);
    match written.and_then(|()| file.sync_data().at("sync", &new)) {
        Ok(()) => Ok((new, file)),
        Err(error) => {
            discard(env, &new);
            Err(error)
        }
    }
}

/// Gives `path` these contents. Durable on return.
///
/// # Errors
/// [`FsError`]; `path` is then as it was, or as it was to be.
pub(super) fn replace(env: &Env, path: &Path, content: &[u8]) -> Result<Arc<dyn File>, FsError> {
    let (new, file) = write_beside(env, path, content)?;
    put_in_place(env, &new, path)?;
    Ok(file)
}

/// Gives what was written beside `path` its name. Durable on return.
///
/// # Errors
/// As [`replace`].
pub(super) fn put_in_place(env: &Env, new: &Path, path: &Path) -> Result<(), FsError> {
    if let Err(error) = env.fs.rename(new, path).at("rename", path) {
        discard(env, new);
        return Err(error);
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    env.fs.sync_dir(dir).at("sync", dir)
}

/// Removes a file that could not be finished. Where that was for want of space, it holds the last of it.
pub(super) fn discard(env: &Env, path: &Path) {
    if let Err(error) = env.fs.unlink(path) {
        tracing::debug!(path = %path.display(), %error, "an unfinished file cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::{ENOSPC, Fault, OpKind, SimClock, SimDisk};

    #[test]
    fn what_cannot_be_finished_leaves_nothing_behind() {
        for kind in [OpKind::Write, OpKind::SyncData, OpKind::Rename] {
            let disk = SimDisk::new();
            disk.mkdir_durable("/d").expect("fresh disk");
            let env = disk.env(&SimClock::default(), 1);
            let path = Path::new("/d/a");
            replace(&env, path, b"old").expect("replaced");
            disk.fail_nth(kind, 1, Fault::once(ENOSPC).after_bytes(2));
            assert!(replace(&env, path, b"newer").is_err(), "{kind:?}");
            let image = disk.live_image();
            assert_eq!(image.files(), ["d/a"], "{kind:?}");
            assert_eq!(image.read(path).expect("there"), b"old", "{kind:?}");
            assert_eq!(disk.bytes_used(), 3, "{kind:?}");
        }
    }
}

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
/// [`FsError`]; `path` is untouched.
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
    file.write_all_at(content, 0).at("write", &new)?;
    file.sync_data().at("sync", &new)?;
    Ok((new, file))
}

/// Gives `path` these contents. Durable on return.
///
/// # Errors
/// [`FsError`]; `path` is then as it was, or as it was to be.
pub(super) fn replace(env: &Env, path: &Path, content: &[u8]) -> Result<Arc<dyn File>, FsError> {
    let (new, file) = write_beside(env, path, content)?;
    env.fs.rename(&new, path).at("rename", path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    env.fs.sync_dir(dir).at("sync", dir)?;
    Ok(file)
}

//! The spool as a whole: who holds it, which format it has, which queues are in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use batchd_frame::QueueName;

use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::layout::{Layout, QueueLayout, temporary};
use crate::spool::quarantine::Quarantine;
use crate::spool::replace::replace;

/// Who holds a lock that is shared: a reader writes nothing, not even its name.
const READERS: &str =
    "a program that only reads it, such as batchctl with --spool; readers do not note who they are";

/// What `FORMAT` says.
pub const FORMAT: &str = "batchd-spool 1\n";

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// An I/O call failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Somebody else has it.
    #[error("spool {} is in use by another process ({holder})", path.display())]
    Locked {
        /// The spool.
        path: PathBuf,
        /// What the holder wrote into the lock file.
        holder: String,
    },
    /// Written by a newer program, and therefore not touched.
    #[error("spool {} has format '{found}', this program knows '{}': use the newer program", path.display(), FORMAT.trim_end())]
    Newer {
        /// The spool.
        path: PathBuf,
        /// What its `FORMAT` says.
        found: String,
    },
    /// There is nothing to read here.
    #[error("{} is not a spool: {why}", path.display())]
    NotASpool {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
}

/// A spool that this process alone may write.
#[derive(Clone)]
pub struct LockedSpool {
    env: Env,
    layout: Layout,
    _lock: Arc<dyn File>,
}

impl std::fmt::Debug for LockedSpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LockedSpool({})", self.layout.root().display())
    }
}

impl LockedSpool {
    /// Locks a spool, making it where there is none. The directory itself must exist. `holder` is what another
    /// process is told that finds it locked.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] and [`SpoolError::Newer`] leave it untouched.
    pub fn open(env: Env, layout: Layout, holder: &str) -> Result<Self, SpoolError> {
        let lock = lock(&env, &layout, holder)?;
        let dir = layout.quarantine();
        if let Some(text) = read_format(&env, &layout) {
            check_format(&env, &layout, &text)?;
            env.fs.mkdir(&dir).at("create", &dir)?;
        } else {
            env.fs.mkdir(&dir).at("create", &dir)?;
            clear_place(&env, &layout, &layout.format(), false)?;
            write_format(&env, &layout.format())?;
        }
        let dir = layout.queues();
        env.fs.mkdir(&dir).at("create", &dir)?;
        env.fs.sync_dir(layout.root()).at("sync", layout.root())?;
        Ok(Self {
            env,
            layout,
            _lock: lock,
        })
    }

    /// Its surroundings.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Its places.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its quarantine.
    #[must_use]
    pub fn quarantine(&self) -> Quarantine {
        Quarantine::new(self.env.clone(), &self.layout)
    }

    /// Names of the queues that have a directory, sorted.
    ///
    /// # Errors
    /// [`FsError`] where the directory cannot be listed.
    pub fn queues(&self) -> Result<Vec<QueueName>, FsError> {
        queue_names(&self.env, &self.layout)
    }

    /// Makes a queue's directories. Durable on return.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn make_queue(&self, name: &QueueName) -> Result<QueueLayout, FsError> {
        let queue = self.layout.queue(name);
        let clear = |path: &Path, is_dir| clear_place(&self.env, &self.layout, path, is_dir);
        for dir in [
            queue.dir().to_path_buf(),
            queue.open(),
            queue.ready(),
            queue.dead(),
        ] {
            clear(&dir, true)?;
            self.env.fs.mkdir(&dir).at("create", &dir)?;
        }
        for file in [
            queue.ledger(),
            queue.ledger_previous(),
            temporary(&queue.ledger()),
        ] {
            clear(&file, false)?;
        }
        self.env.fs.sync_dir(queue.dir()).at("sync", queue.dir())?;
        let queues = self.layout.queues();
        self.env.fs.sync_dir(&queues).at("sync", &queues)?;
        Ok(queue)
    }
}

fn lock(env: &Env, layout: &Layout, holder: &str) -> Result<Arc<dyn File>, SpoolError> {
    let path = layout.lock();
    let lock = match env.fs.try_lock(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            // What the file says is of the last daemon, where readers hold it.
            return Err(if env.fs.try_lock_shared(&path).is_ok() {
                locked(layout, READERS)
            } else {
                locked(layout, &read_text(env, &path).unwrap_or_default())
            });
        }
        other => other.at("lock", &path)?,
    };
    // Who holds it is for people; a full disk must not keep the daemon from starting.
    let noted = lock
        .set_len(0)
        .and_then(|()| lock.write_all_at(holder.as_bytes(), 0));
    if let Err(error) = noted {
        tracing::warn!(path = %path.display(), %error, "holder was not noted");
    }
    Ok(lock)
}

/// The error of a spool that `holder` has.
pub(super) fn locked(layout: &Layout, holder: &str) -> SpoolError {
    SpoolError::Locked {
        path: layout.root().to_path_buf(),
        holder: holder.trim_end().to_owned(),
    }
}

/// Names of the queues that have a directory, sorted.
pub(super) fn queue_names(env: &Env, layout: &Layout) -> Result<Vec<QueueName>, FsError> {
    let dir = layout.queues();
    let entries = env.fs.read_dir(&dir).at("list", &dir)?;
    let mut names: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| QueueName::new(entry.name).ok())
        .collect();
    names.sort();
    Ok(names)
}

/// What `FORMAT` says, if there is such a file.
fn read_format(env: &Env, layout: &Layout) -> Option<String> {
    read_text(env, &layout.format()).ok()
}

fn check_format(env: &Env, layout: &Layout, text: &str) -> Result<(), SpoolError> {
    let path = layout.format();
    if text == FORMAT {
        return Ok(());
    }
    if is_newer(text) {
        return Err(SpoolError::Newer {
            path: layout.root().to_path_buf(),
            found: text.trim_end().to_owned(),
        });
    }
    // The files below say for themselves what they are.
    tracing::warn!(path = %path.display(), "FORMAT is damaged; written anew");
    write_format(env, &path).map_err(Into::into)
}

/// Moves what is in the place of a file, or of a directory, to quarantine, where it is not what is to be there.
fn clear_place(env: &Env, layout: &Layout, path: &Path, is_dir: bool) -> Result<(), FsError> {
    let dir = path.parent().unwrap_or(layout.root());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let entries = env.fs.read_dir(dir).at("list", dir)?;
    if entries
        .iter()
        .any(|entry| *entry.name == *name && entry.is_dir != is_dir)
    {
        let kept =
            Quarantine::new(env.clone(), layout).take(path, "in the place of something else")?;
        tracing::error!(
            path = %path.display(), kept = %kept.display(),
            "in the place of something else; set aside in quarantine"
        );
    }
    Ok(())
}

pub(super) fn is_newer(text: &str) -> bool {
    let number = text
        .strip_prefix("batchd-spool ")
        .and_then(|rest| rest.trim_end().parse::<u64>().ok());
    number.is_some_and(|version| version > 1)
}

fn write_format(env: &Env, path: &Path) -> Result<(), FsError> {
    replace(env, path, FORMAT.as_bytes()).map(drop)
}

pub(super) fn read_text(env: &Env, path: &Path) -> std::io::Result<String> {
    let mut buf = [0; 256];
    let n = env.fs.open_read(path)?.read_at(&mut buf, 0)?;
    Ok(String::from_utf8_lossy(buf.get(..n).unwrap_or_default()).into_owned())
}

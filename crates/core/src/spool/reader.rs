//! A spool that is only read, while no daemon runs.
//!
//! Nothing is written here, not even who reads: `FORMAT` is not mended, no directory is made, and `LOCK` is opened
//! for reading. So it works on a read-only file system, and on a copy of a spool.

use std::io;
use std::sync::Arc;

use batchd_frame::QueueName;

use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::layout::Layout;
use crate::spool::quarantine::Quarantine;
use crate::spool::root::{SpoolError, locked, queue_names, read_format, writer};

pub use crate::spool::root::FormatState;

/// A spool that nobody writes while this lives, as far as it has a `LOCK`. Any number may read it at a time.
#[derive(Clone)]
pub struct ReadSpool {
    env: Env,
    layout: Layout,
    format: FormatState,
    _lock: Option<Arc<dyn File>>,
}

impl std::fmt::Debug for ReadSpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadSpool({})", self.layout.root().display())
    }
}

impl ReadSpool {
    /// Opens a spool for reading. Where it has no `LOCK`, no daemon ever held it, or it is a copy without one; it is
    /// then read without a lock, and a daemon that starts meanwhile may move files away under the reader.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] where a daemon has it, [`SpoolError::Newer`], [`SpoolError::NotASpool`], or
    /// [`SpoolError::Fs`] where `LOCK` or `FORMAT` may not be read.
    pub fn open(env: Env, layout: Layout) -> Result<Self, SpoolError> {
        let not_a_spool = |why| SpoolError::NotASpool {
            path: layout.root().to_path_buf(),
            why,
        };
        match env.fs.visit_dir(layout.root(), &mut |_| ()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not_a_spool("there is no such directory"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(not_a_spool("it is no directory"));
            }
            result => result.at("list", layout.root())?,
        }
        let lock = share_lock(&env, &layout)?;
        let format = read_format(&env, &layout)?;
        let queues = layout.queues();
        let has_queues = match env.fs.visit_dir(&queues, &mut |_| ()).at("list", &queues) {
            Ok(()) => true,
            Err(error) if is_no_dir(&error) => false,
            Err(error) => return Err(error.into()),
        };
        if format != FormatState::Good && !has_queues {
            return Err(not_a_spool("it has neither FORMAT nor queues/"));
        }
        Ok(Self {
            env,
            layout,
            format,
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

    /// What its `FORMAT` says.
    #[must_use]
    pub fn format(&self) -> FormatState {
        self.format
    }

    /// Names of the queues that have a directory, sorted.
    ///
    /// # Errors
    /// [`FsError`] where the directory cannot be listed.
    pub fn queues(&self) -> Result<Vec<QueueName>, FsError> {
        match queue_names(&self.env, &self.layout) {
            // The first start ended before it made the directory.
            Err(error) if is_no_dir(&error) => Ok(Vec::new()),
            result => result,
        }
    }

    /// How many files lie in quarantine.
    ///
    /// # Errors
    /// [`FsError`] where the directory cannot be listed.
    pub fn quarantined(&self) -> Result<u64, FsError> {
        match Quarantine::new(self.env.clone(), &self.layout).count() {
            Err(error) if is_no_dir(&error) => Ok(0),
            result => result,
        }
    }
}

/// Whether there is no directory to be listed.
pub(super) fn is_no_dir(error: &FsError) -> bool {
    error.is_not_found() || error.source.kind() == io::ErrorKind::NotADirectory
}

fn share_lock(env: &Env, layout: &Layout) -> Result<Option<Arc<dyn File>>, SpoolError> {
    let path = layout.lock();
    match env.fs.try_lock_shared(&path) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(locked(layout, writer(env, &path)))
        }
        Err(error) => match Err(error).at("lock", &path) {
            Err(error) if error.is_no_file() => Ok(None),
            result => result.map_err(SpoolError::from),
        },
    }
}

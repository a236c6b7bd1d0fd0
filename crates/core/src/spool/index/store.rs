//! An ordered map on disk, as far as the index needs one. The only module that names sled, which is no longer
//! developed: every call into it may panic, and is caught; what it read is believed only as far as the caller
//! can check it.
//!
//! Nothing is durable before [`Store::close`]. One thread uses a store at a time.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Bytes of pages kept in memory, as sled counts them.
const CACHE_BYTES: u64 = 1 << 20;
/// sled writes so much at a time, and holds a few of these in memory.
const SEGMENT_BYTES: usize = 512 << 10;

/// The store cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the index's store: {0}")]
pub(super) struct StoreError(String);

impl StoreError {
    /// What was read is not what can have been written.
    pub(super) fn unsound() -> Self {
        Self("it disagrees with itself".to_owned())
    }
}

/// An open store.
pub(super) struct Store {
    /// Taken out to be closed.
    db: Option<sled::Db>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            tracing::debug!(%error, "not closed");
        }
    }
}

impl Store {
    /// Opens the store in a directory, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let config = sled::Config::default()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None);
        let db = guarded(|| config.open())?;
        Ok(Self { db: Some(db) })
    }

    /// Sets a value. Returns the one before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let db = self.db()?;
        guarded(|| Ok(db.insert(key, value)?.map(|before| before.to_vec())))
    }

    /// A value.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let db = self.db()?;
        guarded(|| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    /// Removes a value. Returns it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn remove(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let db = self.db()?;
        guarded(|| Ok(db.remove(key)?.map(|before| before.to_vec())))
    }

    /// Visits the entries from `from` to before `to`, in descending order where that is wanted, until `visit` breaks.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn range(
        &self,
        from: &[u8],
        to: &[u8],
        descending: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let db = self.db()?;
        guarded(|| {
            // What is empty, or the wrong way round, is nothing; sled would panic.
            if from >= to {
                return Ok(());
            }
            let mut entries = db.range(from..to);
            loop {
                let entry = if descending {
                    entries.next_back()
                } else {
                    entries.next()
                };
                let Some(entry) = entry else { return Ok(()) };
                let (key, value) = entry?;
                if visit(&key, &value).is_break() {
                    return Ok(());
                }
            }
        })
    }

    /// Writes everything and closes. Durable on return.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        let db = self.db()?;
        guarded(|| db.flush().map(drop))?;
        self.take_down()
    }

    fn db(&self) -> Result<&sled::Db, StoreError> {
        let closed = || StoreError("closed".to_owned());
        self.db.as_ref().ok_or_else(closed)
    }

    fn take_down(&mut self) -> Result<(), StoreError> {
        let db = self.db.take();
        guarded(move || {
            drop(db);
            Ok(())
        })
    }
}

/// So often a directory is emptied that fills again.
const DESTROY_TRIES: u32 = 10;

/// Removes whatever lies in a place: a directory with all that is in it, or a file. Nothing there is success.
///
/// # Errors
/// Whatever the system answers.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no index but on a real disk, and no other directory is ever removed whole"
)]
pub(super) fn destroy(path: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
    let mut tries = 0;
    loop {
        let removed = match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(error) => Err(error),
        };
        tries += 1;
        match removed {
            Err(error) if error.kind() == NotFound => return Ok(()),
            // A thread of a store that was closed may still have written a file.
            Err(error) if error.kind() == DirectoryNotEmpty && tries < DESTROY_TRIES => {}
            other => return other,
        }
    }
}

/// Calls sled. A panic is an error like any other; the store is not used after one.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let result = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        faults::trip()?;
        call()
    }));
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(StoreError(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreError(format!("a panic: {}", text.unwrap_or("?"))))
        }
    }
}

/// Faults of the store, for tests of what is above it.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::Cell;

    /// What goes wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Fault {
        Panic,
        Error,
    }

    thread_local! {
        static NEXT: Cell<Option<(u64, Fault)>> = const { Cell::new(None) };
    }

    /// Makes the call after so many more of this thread go wrong, once.
    pub(crate) fn after(calls: u64, fault: Fault) {
        NEXT.set(Some((calls, fault)));
    }

    /// Takes it back. Returns whether it had not happened yet.
    pub(crate) fn clear() -> bool {
        NEXT.take().is_some()
    }

    /// Whether one is still to come.
    pub(crate) fn is_set() -> bool {
        NEXT.get().is_some()
    }

    pub(super) fn trip() -> sled::Result<()> {
        match NEXT.take() {
            None => Ok(()),
            Some((0, Fault::Panic)) => panic!("injected"),
            Some((0, Fault::Error)) => Err(sled::Error::Unsupported("injected".to_owned())),
            Some((calls, fault)) => {
                NEXT.set(Some((calls - 1, fault)));
                Ok(())
            }
        }
    }
}

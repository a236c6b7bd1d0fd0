//! Items in files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::callbacks::{Batcher, CallbackResult, Closed, ItemsFile};
use super::codec::{BoxError, Codec};
use super::options::Config;
use crate::error::FsError;
use crate::spool::items::Items;
use crate::spool::sealed::{GoneBad, SealedFile};

type Process<T> = dyn FnMut(&BatchFile<'_, T>) -> CallbackResult + Send;

/// A batcher that keeps its items in files alone, one for each batch, and gives each file that is complete to a
/// function. Memory does not grow with them.
///
/// After `FileBatcher` of BatchPlease. Its files are in the batch directory from the first item until the batch is
/// delivered; what a crash leaves is recovered at the next start, and filled further.
pub struct FileBatcher<T> {
    process: Arc<Mutex<Process<T>>>,
    codec: Codec<T>,
}

impl<T> fmt::Debug for FileBatcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileBatcher")
    }
}

impl<T: Send + 'static> FileBatcher<T> {
    /// A server that keeps its batches in a directory, each item as JSON, and gives each batch to `process`.
    pub fn of(
        path: impl Into<PathBuf>,
        process: impl FnMut(&BatchFile<'_, T>) -> CallbackResult + Send + 'static,
    ) -> Builder<Self>
    where
        T: Serialize + DeserializeOwned,
    {
        Self::with(path, Codec::json(), process)
    }

    /// As [`of`](Self::of), with functions that encode and decode the items.
    pub fn with(
        path: impl Into<PathBuf>,
        codec: Codec<T>,
        process: impl FnMut(&BatchFile<'_, T>) -> CallbackResult + Send + 'static,
    ) -> Builder<Self> {
        let process: Arc<Mutex<Process<T>>> = Arc::new(Mutex::new(process));
        let of_batcher = codec.clone();
        let make = move || Self {
            process: Arc::clone(&process),
            codec: of_batcher.clone(),
        };
        Builder::new(make).durable(path, codec)
    }
}

impl<T> Batcher for FileBatcher<T> {
    type Item = T;
    type Batch = ();

    const IS_REBUILT: bool = false;

    fn init(&mut self, _: &Config) -> CallbackResult {
        Ok(())
    }

    /// The item is in the file.
    fn add_item(&mut self, (): &mut (), _: &T) -> CallbackResult {
        Ok(())
    }

    fn flush(&mut self, batch: &Closed<()>) -> CallbackResult {
        let Some(file) = &batch.file else {
            return Err("the batch is in no file: a file batcher is durable".into());
        };
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process(&BatchFile {
            batch,
            file,
            codec: &self.codec,
        })
    }
}

/// A batch in a file, complete and checked.
pub struct BatchFile<'a, T> {
    batch: &'a Closed<()>,
    file: &'a ItemsFile,
    codec: &'a Codec<T>,
}

impl<T> fmt::Debug for BatchFile<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchFile({})", self.file.path.display())
    }
}

impl<T> BatchFile<'_, T> {
    /// Where it is, until it is delivered. `docs/format.md` says how it is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The batch: its id, its number of items, why it was closed.
    #[must_use]
    pub fn batch(&self) -> &Closed<()> {
        self.batch
    }

    /// Its items, one after another; each is checked again as it is read.
    ///
    /// # Errors
    /// [`FsError`] where the file cannot be opened.
    pub fn read(&self) -> Result<FileItems<T>, FsError> {
        let ItemsFile { env, path, ranges } = self.file;
        let file = SealedFile::open(env, path, self.batch.id())?;
        Ok(FileItems {
            items: Items::new(&file, ranges.clone()),
            has_ended: false,
            codec: self.codec.clone(),
        })
    }
}

/// The items of a batch file.
#[derive(Debug)]
pub struct FileItems<T> {
    items: Items,
    /// There is nothing more behind what could not be read.
    has_ended: bool,
    codec: Codec<T>,
}

/// An item that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file is not what it was when it was checked.
    #[error("cannot read the batch: {0}")]
    GoneBad(#[from] GoneBad),
    /// It cannot be decoded.
    #[error("an item cannot be decoded: {0}")]
    NotDecoded(BoxError),
}

impl<T> std::iter::FusedIterator for FileItems<T> {}

impl<T> Iterator for FileItems<T> {
    type Item = Result<T, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        match self.items.next_item() {
            Ok(Some(bytes)) => Some(self.codec.decode(bytes).map_err(ReadError::NotDecoded)),
            Ok(None) => {
                self.has_ended = true;
                None
            }
            Err(bad) => {
                self.has_ended = true;
                Some(Err(bad.into()))
            }
        }
    }
}

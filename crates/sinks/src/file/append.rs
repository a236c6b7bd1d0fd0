//! All batches appended to one file. The steps, and what a crash between them leaves, are in the module
//! above; what the next attempt does about it is [`start`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::copy::{Format, copy_items};
use super::directory;
use super::fault::At;
use super::record::{Identity, Record, RecordFile};
use crate::sink::{Delivery, ItemSource, SinkError};

/// One growing file.
#[derive(Debug)]
pub(super) struct Append {
    path: PathBuf,
    record_file: RecordFile,
    format: Format,
    /// Whether what an earlier process or a failed attempt renamed is known to be durable: a record that is
    /// believed now must not give way to the former one in a power loss.
    prepared: bool,
}

/// Where an append begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At the end, which is where the record says.
    AsRecorded,
    /// Where the record says, once what is past that is cut: an attempt whose record was lost left it.
    CutBack,
    /// At the end, once that is recorded: there is no record, or it is about what has been rotated away.
    Anew(u64),
}

/// Decides where to begin, from the record and the file's inode and length.
///
/// Bytes are cut only where the record is about this very file.
fn start(record: Option<&Record>, inode: u64, length: u64) -> Start {
    match record {
        Some(record) if record.inode == inode && record.length == length => Start::AsRecorded,
        Some(record) if record.inode == inode && record.length < length => Start::CutBack,
        _ => Start::Anew(length),
    }
}

impl Append {
    pub(super) fn new(path: PathBuf, format: Format) -> Self {
        Self {
            record_file: RecordFile::beside(&path),
            path,
            format,
            prepared: false,
        }
    }

    pub(super) fn deliver(
        &mut self,
        delivery: &Delivery,
        items: &mut dyn ItemSource,
    ) -> Result<(), SinkError> {
        self.prepare()?;
        let outcome = self.attempt(delivery, items);
        self.prepared = outcome.is_ok();
        outcome
    }

    pub(super) fn look(&self) -> Result<(), SinkError> {
        directory::look(directory::parent_of(&self.path))?;
        self.expect_file()?;
        match directory::may_write(&self.path) {
            // The first delivery makes it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            may => may.at("write to", &self.path),
        }
    }

    fn attempt(&self, delivery: &Delivery, items: &mut dyn ItemSource) -> Result<(), SinkError> {
        let file = self.open_locked()?;
        let recorded = self.record_file.read()?;
        if let Some(record) = &recorded
            && record.has(Identity::of(delivery))
        {
            // The attempt that wrote it may have failed after the rename, before the name was durable.
            return self.record_file.write(record);
        }
        let found = file.metadata().at("look at", &self.path)?;
        let start = start(recorded.as_ref(), found.ino(), found.len());
        let mut record = recorded.unwrap_or_default();
        record.inode = found.ino();
        self.make_ready(&file, start, &mut record)?;
        let length_before = record.length;
        if let Err(error) = self.append(delivery, items, &file, record) {
            // What cannot be cut now is past the record: the next attempt cuts it. A file that was truncated
            // meanwhile, to rotate it, must not be made as long again.
            if file
                .metadata()
                .is_ok_and(|found| found.len() > length_before)
            {
                file.set_len(length_before).ok();
            }
            return Err(error);
        }
        // From here on nothing is cut: the new record may hold.
        self.record_file.commit()
    }

    fn prepare(&self) -> Result<(), SinkError> {
        let directory = directory::parent_of(&self.path);
        directory::ensure(directory)?;
        if !self.prepared {
            directory::sync_name_of(directory)?;
            directory::sync(directory)?;
        }
        Ok(())
    }

    /// The lock is for the attempt. Without it a second queue or daemon with the same `path` would cut back
    /// what this one is writing.
    fn open_locked(&self) -> Result<File, SinkError> {
        // Before it is opened: to open a pipe for writing waits for a reader.
        self.expect_file()?;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(directory::FILE_MODE)
            .open(&self.path)
            .at("open", &self.path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(SinkError::retryable(format!(
                "{} is being appended to by another queue or daemon: give each a `path` of its own",
                self.path.display()
            ))),
            // Some network file systems have no locks. A second writer is then the operator's to avoid.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(file)
            }
            Err(TryLockError::Error(error)) => Err(error).at("lock", &self.path),
        }
    }

    /// Makes sure that nothing else than a file is there.
    fn expect_file(&self) -> Result<(), SinkError> {
        if fs::metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            return Err(SinkError::retryable(format!(
                "{} is not a regular file, so nothing can be appended to it safely: change `path`",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// Brings file and record into step, so that they agree on where the append begins.
    fn make_ready(&self, file: &File, start: Start, record: &mut Record) -> Result<(), SinkError> {
        match start {
            Start::AsRecorded => Ok(()),
            Start::CutBack => file.set_len(record.length).at("cut back", &self.path),
            Start::Anew(length) => {
                record.length = length;
                // Before anything is appended: otherwise the next attempt could not tell it from what was
                // there, or would cut where the former file ended.
                file.sync_all().at("sync", &self.path)?;
                self.record_file.write(record)
            }
        }
    }

    /// All that can still be taken back.
    fn append(
        &self,
        delivery: &Delivery,
        items: &mut dyn ItemSource,
        file: &File,
        mut record: Record,
    ) -> Result<(), SinkError> {
        copy_items(self.format, delivery, items, file, &self.path)?;
        file.sync_data().at("sync", &self.path)?;
        record.length = file.metadata().at("look at", &self.path)?.len();
        record.push(Identity::of(delivery));
        self.record_file.stage(&record)
    }
}

#[cfg(test)]
mod tests;

//! What a file that is appended to has, durably: the record beside it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use batchd_frame::BatchId;
use serde::{Deserialize, Serialize};

use super::directory;
use super::fault::At;
use crate::sink::{Delivery, SinkError};

/// How much longer than the file's the longest name made from it is: `.<name>.batchd.tmp`.
pub(super) const NAME_BYTES_MORE: usize = 12;

/// How many deliveries are remembered. After a crash the daemon may repeat all that it had not yet entered in
/// its ledger, not only the last.
const DELIVERED_COUNT_MAX: usize = 64;
/// Many times what a record can have.
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Which file this is about: after a rotation another one has its name.
    pub(super) inode: u64,
    /// Its length in bytes, all of them synced. What is past it is of an attempt without a record.
    pub(super) length: u64,
    /// The last deliveries, newest last.
    delivered: VecDeque<Identity>,
}

/// Identity of a delivery: one identity, one content, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    batch: BatchId,
    /// First item and count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<(u64, u64)>,
}

impl Identity {
    pub(super) fn of(delivery: &Delivery) -> Self {
        Self {
            batch: delivery.batch,
            part: delivery.part.map(|part| (part.first, part.count)),
        }
    }
}

impl Record {
    pub(super) fn has(&self, identity: Identity) -> bool {
        self.delivered.contains(&identity)
    }

    pub(super) fn push(&mut self, identity: Identity) {
        while self.delivered.len() >= DELIVERED_COUNT_MAX {
            self.delivered.pop_front();
        }
        self.delivered.push_back(identity);
    }
}

/// Where the record of one file is.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl RecordFile {
    pub(super) fn beside(file: &Path) -> Self {
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(".batchd");
        let path = file.with_file_name(&name);
        name.push(".tmp");
        Self {
            path,
            temporary: file.with_file_name(name),
        }
    }

    /// The record, or nothing where there is none. One that cannot be understood is none, too: then the
    /// file is taken as it is, and no byte of it is cut.
    ///
    /// # Errors
    /// Where the system refuses: there may be a record.
    pub(super) fn read(&self) -> Result<Option<Record>, SinkError> {
        let mut bytes = Vec::new();
        match File::open(&self.path)
            .and_then(|file| file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes))
        {
            Ok(_) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("read", &self.path),
        }
    }

    /// Replaces the record. Durable when it returns, and so is the name of the file beside it.
    pub(super) fn write(&self, record: &Record) -> Result<(), SinkError> {
        self.stage(record)?;
        self.commit()
    }

    /// Writes the record to come, synced, under another name. Where this fails the former one holds.
    pub(super) fn stage(&self, record: &Record) -> Result<(), SinkError> {
        self.write_temporary(record)
            .inspect_err(|_| {
                fs::remove_file(&self.temporary).ok();
            })
            .at("write", &self.temporary)
    }

    /// Puts the staged record in the place of the former. Where this fails either may hold.
    pub(super) fn commit(&self) -> Result<(), SinkError> {
        fs::rename(&self.temporary, &self.path).at("replace", &self.path)?;
        directory::sync(directory::parent_of(&self.path))
    }

    /// One name, so that crashes leave one file at most; made anew, so that it is no link to elsewhere.
    fn write_temporary(&self, record: &Record) -> io::Result<()> {
        match fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut bytes = serde_json::to_vec(record)?;
        bytes.push(b'\n');
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(directory::FILE_MODE)
            .open(&self.temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::super::testing::{delivery, names, part};
    use super::*;

    #[test]
    fn a_record_is_one_readable_line_and_reads_back() {
        let root = tempdir().unwrap();
        let file = RecordFile::beside(&root.path().join("out.log"));
        assert_eq!(file.read().unwrap(), None);
        let mut record = Record {
            inode: 5,
            length: 12,
            ..Record::default()
        };
        record.push(Identity::of(&delivery(1, &[])));
        record.push(Identity::of(&part(2, 3, &[b"a"])));
        file.write(&record).unwrap();
        file.write(&record).unwrap();
        assert_eq!(file.read().unwrap(), Some(record));
        assert_eq!(names(root.path()), [".out.log.batchd"]);
        insta::assert_snapshot!(
            fs::read_to_string(root.path().join(".out.log.batchd")).unwrap(),
            @r#"{"inode":5,"length":12,"delivered":[{"batch":"00000000-0001-7000-8000-000000000000"},{"batch":"00000000-0002-7000-8000-000000000000","part":[3,1]}]}"#
        );
    }

    #[test]
    fn the_longest_name_made_is_as_long_as_said() {
        let file = RecordFile::beside(Path::new("/a/x"));
        let bytes = file.temporary.file_name().unwrap().len();
        assert_eq!(bytes, "x".len() + NAME_BYTES_MORE);
    }

    #[test]
    fn the_oldest_deliveries_are_forgotten() {
        let mut record = Record::default();
        for seq in 0..100 {
            record.push(Identity::of(&delivery(seq, &[])));
        }
        assert!(!record.has(Identity::of(&delivery(35, &[]))));
        assert!(record.has(Identity::of(&delivery(36, &[]))));
        assert!(record.has(Identity::of(&delivery(99, &[]))));
        assert!(!record.has(Identity::of(&part(99, 0, &[b"a"]))));
        let bytes = serde_json::to_vec(&record).unwrap().len();
        assert!((bytes as u64) * 4 < RECORD_BYTES_MAX);
    }
}

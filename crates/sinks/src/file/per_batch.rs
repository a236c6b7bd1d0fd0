//! One file for each batch. The steps, and what a crash between them leaves, are in the module above.

use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use batchd_frame::QueueName;
use tempfile::NamedTempFile;

use super::copy::{Format, copy_items, same_bytes};
use super::directory;
use super::fault::At;
use super::template::NameTemplate;
use crate::sink::{Delivery, ItemSource, SinkError};

/// One file for each batch, in one directory.
#[derive(Debug)]
pub(super) struct PerBatch {
    directory: PathBuf,
    template: NameTemplate,
    format: Format,
    /// The queue whose leftovers are gone.
    prepared_for: Option<QueueName>,
    /// A sync after a rename failed once. What the kernel then shows need not be on the medium, nor does a
    /// second sync that succeeds say so: from then on a repeat writes anew.
    sync_failed: bool,
}

impl PerBatch {
    pub(super) const fn new(directory: PathBuf, template: NameTemplate, format: Format) -> Self {
        Self {
            directory,
            template,
            format,
            prepared_for: None,
            sync_failed: false,
        }
    }

    pub(super) fn deliver(
        &mut self,
        delivery: &Delivery,
        items: &mut dyn ItemSource,
    ) -> Result<(), SinkError> {
        self.prepare(&delivery.queue)?;
        let target = self.directory.join(self.template.name(delivery));
        // Dropped on any error, and then removed. Messages call it by the name that it is to have: its own says
        // nothing to anybody.
        let temporary = self.create_temporary(&delivery.queue)?;
        copy_items(self.format, delivery, items, temporary.as_file(), &target)?;
        if !self.sync_failed && holds_the_same(&target, temporary.path())? {
            return self
                .note_sync(sync_file(&target).and_then(|()| directory::sync(&self.directory)));
        }
        temporary.as_file().sync_all().at("sync", &target)?;
        temporary
            .persist(&target)
            .map_err(|error| error.error)
            .at("rename a file to", &target)?;
        self.note_sync(directory::sync(&self.directory))
    }

    pub(super) fn look(&self) -> Result<(), SinkError> {
        directory::look(&self.directory)
    }

    fn prepare(&mut self, queue: &QueueName) -> Result<(), SinkError> {
        directory::ensure(&self.directory)?;
        if self.prepared_for.as_ref() != Some(queue) {
            directory::sync_name_of(&self.directory)?;
            remove_leftovers(&self.directory, queue)?;
            self.prepared_for = Some(queue.clone());
        }
        Ok(())
    }

    fn create_temporary(&self, queue: &QueueName) -> Result<NamedTempFile, SinkError> {
        tempfile::Builder::new()
            .prefix(&format!("{}{}-", temporary_prefix(queue), process_token()))
            .suffix(TEMPORARY_SUFFIX)
            .permissions(Permissions::from_mode(directory::FILE_MODE))
            .tempfile_in(&self.directory)
            // The message of `tempfile` has the path already, by a name that nobody will ever see.
            .map_err(|error| io::Error::from(error.kind()))
            .at("create a file in", &self.directory)
    }

    const fn note_sync(&mut self, outcome: Result<(), SinkError>) -> Result<(), SinkError> {
        if outcome.is_err() {
            self.sync_failed = true;
        }
        outcome
    }
}

fn sync_file(path: &Path) -> Result<(), SinkError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .at("sync", path)
}

/// Whether the file is there with the contents of the other.
fn holds_the_same(target: &Path, other: &Path) -> Result<bool, SinkError> {
    let found = match fs::symlink_metadata(target) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).at("look at", target),
    };
    let other_bytes = fs::metadata(other).at("look at", other)?.len();
    if !found.is_file() || found.len() != other_bytes {
        return Ok(false);
    }
    let target_file = match File::open(target) {
        // Whoever took it over may have closed it to us; renaming over it is still ours to do.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        opened => opened.at("read", target)?,
    };
    let other_file = File::open(other).at("read", other)?;
    same_bytes(BufReader::new(target_file), BufReader::new(other_file)).at("read", target)
}

const TEMPORARY_SUFFIX: &str = ".tmp";
const PROCESS_TOKEN_BYTES: usize = 16;

fn temporary_prefix(queue: &QueueName) -> String {
    format!(".batchd-{queue}-")
}

/// Tells this process from those before it, also where each has the same process id, as in a container.
fn process_token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    // The hasher's keys are the one source of randomness that the standard library has.
    TOKEN.get_or_init(|| format!("{:016x}", RandomState::new().hash_one(())))
}

/// Removes the temporary files that an earlier process left for this queue, and nothing else.
fn remove_leftovers(directory: &Path, queue: &QueueName) -> Result<(), SinkError> {
    let prefix = temporary_prefix(queue);
    for entry in fs::read_dir(directory).at("list", directory)? {
        let entry = entry.at("list", directory)?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| is_leftover(name, &prefix))
        {
            // One that cannot be removed is in nobody's way.
            fs::remove_file(entry.path()).ok();
        }
    }
    Ok(())
}

/// The whole name is matched: `.batchd-a-` also begins the files of a queue `a-b`.
fn is_leftover(name: &str, prefix: &str) -> bool {
    let Some((token, random)) = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
        .and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    token.len() == PROCESS_TOKEN_BYTES
        && token.bytes().all(|byte| byte.is_ascii_hexdigit())
        && token != process_token()
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use insta::assert_snapshot;
    use tempfile::tempdir;

    use super::super::testing::{Items, deliver_afresh, delivery, identity, names, part, sink};
    use super::super::{FileSinkConfig, testing};
    use super::*;
    use crate::encode::Encoding;
    use crate::sink::{ErrorClass, Sink};

    const ITEMS: &[&[u8]] = &[b"one", b"two"];

    /// What a failed delivery says, without the directory that differs from run to run.
    fn failure(config: &FileSinkConfig, root: &Path) -> String {
        let error = deliver_afresh(config, &delivery(1, ITEMS), ITEMS).unwrap_err();
        assert_eq!(error.class, ErrorClass::Retryable);
        error.to_string().replace(root.to_str().unwrap(), "ROOT")
    }

    #[test]
    fn names_sort_in_the_order_of_delivery_and_parts_in_theirs() {
        let root = tempdir().unwrap();
        let config = FileSinkConfig::new(root.path());
        let mut sink = sink(config);
        let deliveries = [
            delivery(9, ITEMS),
            delivery(10, ITEMS),
            part(11, 0, ITEMS),
            part(11, 9, ITEMS),
            part(11, 10, ITEMS),
            delivery(100, ITEMS),
        ];
        let mut in_order = Vec::new();
        for delivery in &deliveries {
            sink.deliver(delivery, &mut Items::of(ITEMS)).unwrap();
            let new = names(root.path())
                .into_iter()
                .find(|name| !in_order.contains(name))
                .unwrap();
            assert_eq!(fs::read(root.path().join(&new)).unwrap(), b"one\ntwo\n");
            in_order.push(new);
        }
        assert_eq!(in_order, names(root.path()));
    }

    #[test]
    fn files_are_for_the_group_and_hidden_from_others() {
        let root = tempdir().unwrap();
        deliver_afresh(
            &FileSinkConfig::new(root.path()),
            &delivery(1, ITEMS),
            ITEMS,
        )
        .unwrap();
        let path = root.path().join(names(root.path()).first().unwrap());
        // The umask of whoever runs the test can only take bits away.
        assert_eq!(
            fs::metadata(path).unwrap().mode() & 0o7777 & !directory::FILE_MODE,
            0
        );
    }

    #[test]
    fn a_repeat_changes_nothing() {
        let root = tempdir().unwrap();
        let config = FileSinkConfig::new(root.path());
        deliver_afresh(&config, &delivery(1, ITEMS), ITEMS).unwrap();
        let before = names(root.path());
        let path = root.path().join(before.first().unwrap());
        let found = identity(&path);
        deliver_afresh(&config, &delivery(1, ITEMS), ITEMS).unwrap();
        assert_eq!(identity(&path), found);
        assert_eq!(names(root.path()), before);
    }

    #[test]
    fn a_repeat_mends_what_is_torn_or_edited_and_brings_back_what_is_gone() {
        let root = tempdir().unwrap();
        let config = FileSinkConfig::new(root.path());
        deliver_afresh(&config, &delivery(1, ITEMS), ITEMS).unwrap();
        let path = root.path().join(names(root.path()).first().unwrap());
        for contents in [&b""[..], b"one", b"one\ntwO\n", b"one\ntwo\nthree\n"] {
            fs::write(&path, contents).unwrap();
            deliver_afresh(&config, &delivery(1, ITEMS), ITEMS).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        }
        fs::remove_file(&path).unwrap();
        deliver_afresh(&config, &delivery(1, ITEMS), ITEMS).unwrap();
        assert_eq!(names(root.path()).len(), 1);
    }

    #[test]
    fn after_a_failed_sync_a_repeat_writes_anew() {
        let root = tempdir().unwrap();
        let Ok(template) = NameTemplate::parse(NameTemplate::DEFAULT, "txt") else {
            panic!()
        };
        let format = Format {
            encoding: Encoding::Lines,
            unencodable: crate::Unencodable::Escape,
        };
        let mut per_batch = PerBatch::new(root.path().to_owned(), template, format);
        per_batch
            .deliver(&delivery(1, ITEMS), &mut Items::of(ITEMS))
            .unwrap();
        let path = root.path().join(names(root.path()).first().unwrap());
        let inode = fs::metadata(&path).unwrap().ino();
        per_batch
            .note_sync(Err(SinkError::retryable("cannot sync")))
            .unwrap_err();
        per_batch
            .deliver(&delivery(1, ITEMS), &mut Items::of(ITEMS))
            .unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
    }

    #[test]
    fn a_batch_that_cannot_be_read_leaves_nothing() {
        let root = tempdir().unwrap();
        let mut sink = sink(FileSinkConfig::new(root.path()));
        let error = sink
            .deliver(&delivery(1, ITEMS), &mut Items::then_fail(ITEMS))
            .unwrap_err();
        assert_eq!(error.class, ErrorClass::Source);
        assert_snapshot!(error, @"cannot read the batch: checksum");
        let error = sink
            .deliver(&delivery(1, ITEMS), &mut Items::of(&[b"one"]))
            .unwrap_err();
        assert_eq!(error.class, ErrorClass::Source);
        assert_snapshot!(error, @"cannot read the batch: 1 items instead of 2");
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[test]
    fn the_directory_is_created_where_its_parent_is_there() {
        let root = tempdir().unwrap();
        let config = FileSinkConfig::new(root.path().join("new"));
        let mut sink = sink(config);
        assert_eq!(names(root.path()), [""; 0]);
        sink.deliver(&delivery(1, ITEMS), &mut Items::of(ITEMS))
            .unwrap();
        fs::remove_dir_all(root.path().join("new")).unwrap();
        sink.deliver(&delivery(2, ITEMS), &mut Items::of(ITEMS))
            .unwrap();
        assert_eq!(names(&root.path().join("new")).len(), 1);
        assert_snapshot!(
            failure(&FileSinkConfig::new(root.path().join("a/b")), root.path()),
            @"directory ROOT/a/b does not exist, nor does ROOT/a: mount it if it is a disk of its own, or make it, or change `path`"
        );
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let root = tempdir().unwrap();
        fs::write(root.path().join("file"), b"").unwrap();
        assert_snapshot!(
            failure(&FileSinkConfig::new(root.path().join("file")), root.path()),
            @"ROOT/file is not a directory: move it away or change `path`"
        );
        assert_snapshot!(
            failure(&FileSinkConfig::new(root.path().join("file/a")), root.path()),
            @"cannot look into ROOT/file/a: Not a directory (os error 20): ROOT/file is a file: move it away or change `path`"
        );
    }

    #[test]
    fn a_directory_in_the_place_of_the_file_is_named_and_kept() {
        let root = tempdir().unwrap();
        let config = FileSinkConfig::new(root.path());
        deliver_afresh(&config, &delivery(1, ITEMS), ITEMS).unwrap();
        let path = root.path().join(names(root.path()).first().unwrap());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_snapshot!(
            failure(&config, root.path()),
            @"cannot rename a file to ROOT/logs-00000000000000000001-00000000-0001-7000-8000-000000000000.txt: Is a directory (os error 21)"
        );
        assert_eq!(names(root.path()).len(), 1);
    }

    #[test]
    fn leftovers_of_an_earlier_process_go_and_nothing_else() {
        let root = tempdir().unwrap();
        let leftover = ".batchd-logs-0123456789abcdef-AbC123.tmp";
        let own = format!(".batchd-logs-{}-AbC123.tmp", process_token());
        let mut kept = vec![
            own.as_str(),
            ".batchd-logs-2-0123456789abcdef-AbC123.tmp",
            ".batchd-logs-0123456789abcdef-0123456789abcdef-AbC123.tmp",
            ".batchd-logs-0123456789abcde-AbC123.tmp",
            ".batchd-logs-0123456789abcdef-AbC123",
            ".batchd-other-0123456789abcdef-AbC123.tmp",
            "batchd-logs-0123456789abcdef-AbC123.tmp",
        ];
        for name in kept.iter().chain([&leftover]) {
            fs::write(root.path().join(name), b"").unwrap();
        }
        let mut sink = sink(FileSinkConfig::new(root.path()));
        sink.deliver(&delivery(1, ITEMS), &mut Items::of(ITEMS))
            .unwrap();
        let left = names(root.path());
        kept.push("logs-00000000000000000001-00000000-0001-7000-8000-000000000000.txt");
        kept.sort_unstable();
        assert_eq!(left, kept);
    }

    #[test]
    fn bytes_arrive_as_they_are() {
        let root = tempdir().unwrap();
        let large = testing::every_byte(900 * 1024);
        let items: &[&[u8]] = &[b"", b"\r", b"a\0b", b"\xff\xfe", b"\n", &large, b""];
        let mut expected = Vec::new();
        for item in items {
            expected.extend(u32::try_from(item.len()).unwrap().to_le_bytes());
            expected.extend(*item);
        }
        let config = FileSinkConfig {
            encoding: Encoding::LengthPrefixed,
            ..FileSinkConfig::new(root.path())
        };
        deliver_afresh(&config, &delivery(1, items), items).unwrap();
        let path = root.path().join(names(root.path()).first().unwrap());
        assert!(fs::read(path).unwrap() == expected);
        // An empty batch is an empty file.
        deliver_afresh(&FileSinkConfig::new(root.path()), &delivery(2, &[]), &[]).unwrap();
        assert_eq!(names(root.path()).len(), 2);
    }
}

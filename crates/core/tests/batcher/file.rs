//! Items in files, on the disk of the machine.
#![expect(clippy::disallowed_methods, reason = "looks at the disk from outside")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use batchd_core::batcher::{BatchFile, Codec, FileBatcher, Options};
use serde::{Deserialize, Serialize};

use crate::support::Failing;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Event {
    user: String,
    count: u32,
}

fn event(user: &str, count: u32) -> Event {
    let user = user.to_owned();
    Event { user, count }
}

/// The batch files below a directory.
fn batch_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for state in ["open", "ready"] {
        let dir = dir.join("queues/batcher").join(state);
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            // One that was made ahead is empty.
            let bytes = fs::read(entry.path()).expect("read");
            if bytes.iter().any(|byte| *byte != 0) {
                found.push(entry.path());
            }
        }
    }
    found
}

fn holds(file: &Path, text: &str) -> bool {
    let bytes = fs::read(file).expect("read");
    bytes
        .windows(text.len())
        .any(|some| some == text.as_bytes())
}

#[test]
fn items_are_in_the_file_of_their_batch_which_is_gone_after_the_flush_and_the_next_has_another_name()
 {
    let dir = tempfile::tempdir().expect("a directory");
    let (told, batches) = channel();
    let server = FileBatcher::of(dir.path(), move |file: &BatchFile<'_, Event>| {
        let items: Vec<Event> = file.read()?.collect::<Result<_, _>>()?;
        assert!(holds(file.path(), r#"{"user":"ada","count":1}"#));
        Ok(told.send((items, file.path().to_owned(), file.batch().items()))?)
    });
    let server = server.options(Options::new().max_items(2)).start();
    let server = server.expect("starts");
    let mut names = Vec::new();
    for _ in 0..2 {
        server.sync_add_item(event("ada", 1)).expect("taken");
        let open = batch_files(dir.path());
        assert_eq!(open.len(), 1, "{open:?}");
        assert!(holds(&open[0], r#"{"user":"ada","count":1}"#));
        server.sync_add_item(event("bob", 2)).expect("taken");
        let (items, path, count) = batches.try_recv().expect("flushed");
        assert_eq!(items, [event("ada", 1), event("bob", 2)]);
        assert_eq!(count, 2);
        assert!(!path.exists() && !open[0].exists(), "it is gone");
        assert!(batch_files(dir.path()).is_empty());
        names.push(open[0].file_name().expect("a name").to_owned());
    }
    assert_ne!(names[0], names[1]);
}

/// Of the original, nothing ever reads again what was left.
#[test]
fn what_was_left_is_recovered_and_filled_further() {
    let dir = tempfile::tempdir().expect("a directory");
    let failing = Failing::default();
    let start = || {
        let (told, batches) = channel();
        let fails = failing.clone();
        let server = FileBatcher::of(dir.path(), move |file: &BatchFile<'_, Event>| {
            fails.now()?;
            let items: Vec<Event> = file.read()?.collect::<Result<_, _>>()?;
            let users: Vec<String> = items.into_iter().map(|event| event.user).collect();
            Ok(told.send(users.join(" "))?)
        });
        let server = server.options(Options::new().max_items(2)).start();
        (server.expect("starts"), batches)
    };
    failing.times(u32::MAX);
    let (server, _batches) = start();
    for user in ["ada", "bob", "cyd"] {
        server.sync_add_item(event(user, 0)).expect("taken");
    }
    server.abort();
    drop(server);
    failing.times(0);
    let (server, batches) = start();
    let recovered = server.state().expect("runs").recovered;
    assert_eq!((recovered.batches_waiting, recovered.items_open), (1, 1));
    server.sync_add_item(event("dan", 0)).expect("taken");
    assert_eq!(
        batches.try_iter().collect::<Vec<_>>(),
        ["ada bob", "cyd dan"]
    );
}

#[test]
fn items_are_encoded_and_decoded_by_functions_that_are_given() {
    let dir = tempfile::tempdir().expect("a directory");
    let codec = Codec::new(
        |item: &(u8, u8), out| {
            out.extend_from_slice(format!("{}/{}", item.0, item.1).as_bytes());
            Ok(())
        },
        |bytes| {
            let text = std::str::from_utf8(bytes)?;
            let (first, second) = text.split_once('/').ok_or("no slash")?;
            Ok((first.parse()?, second.parse()?))
        },
    );
    let (told, batches) = channel();
    let server = FileBatcher::with(dir.path(), codec, move |file| {
        assert!(holds(file.path(), "3/4"));
        Ok(told.send(file.read()?.collect::<Result<Vec<_>, _>>()?)?)
    });
    let server = server.start().expect("starts");
    for item in [(1, 2), (3, 4)] {
        server.sync_add_item(item).expect("taken");
    }
    server.sync_flush().expect("flushed");
    assert_eq!(batches.try_iter().collect::<Vec<_>>(), [[(1, 2), (3, 4)]]);
}

#[test]
fn a_file_can_be_read_more_than_once_and_stays_while_its_flush_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let failing = Failing::default();
    let fails = failing.clone();
    let server = FileBatcher::of(dir.path(), move |file: &BatchFile<'_, u32>| {
        for _ in 0..2 {
            let items: Vec<u32> = file.read()?.collect::<Result<_, _>>()?;
            assert_eq!(items, [7]);
        }
        fails.now()
    });
    let server = server.start().expect("starts");
    failing.times(1);
    server.sync_add_item(7).expect("taken");
    server.sync_flush().expect_err("it fails");
    assert_eq!(batch_files(dir.path()).len(), 1);
    server.sync_flush().expect("flushed");
    assert!(batch_files(dir.path()).is_empty());
}

/// What is not what it was when it was checked is an error, once, and the end.
#[test]
fn a_file_that_goes_bad_while_it_is_read_is_an_error_and_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let (told, read) = channel();
    let server = FileBatcher::of(dir.path(), move |file: &BatchFile<'_, String>| {
        let mut bytes = fs::read(file.path())?;
        let at = bytes.windows(3).position(|three| three == b"ada");
        bytes[at.ok_or("not there")?] ^= 1;
        fs::write(file.path(), bytes)?;
        let items: Vec<_> = file.read()?.take(5).map(|item| item.is_ok()).collect();
        Ok(told.send(items)?)
    });
    let server = server.start().expect("starts");
    server.sync_add_item("ada".to_owned()).expect("taken");
    server.sync_flush().expect("the function takes it so");
    assert_eq!(read.try_recv(), Ok(vec![false]));
}

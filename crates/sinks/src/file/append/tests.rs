//! What an append finds, and what it leaves.

use std::path::Path;

use insta::assert_snapshot;
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::super::FileSinkConfig;
use super::super::testing::{
    Items, deliver_afresh, delivery, every_byte, identity, names, part, sink,
};
use super::*;
use crate::encode::Encoding;
use crate::sink::{ErrorClass, Sink, SourceError};

const ITEMS: &[&[u8]] = &[b"one", b"two"];

/// A target, and the hands of an operator and of a crash.
struct Bench {
    root: TempDir,
    config: FileSinkConfig,
}

impl Bench {
    fn new() -> Self {
        let root = tempdir().unwrap();
        let config = FileSinkConfig {
            append: true,
            ..FileSinkConfig::new(root.path().join("out.log"))
        };
        Self { root, config }
    }

    fn file(&self) -> &Path {
        &self.config.path
    }

    fn record(&self) -> PathBuf {
        self.root.path().join(".out.log.batchd")
    }

    #[track_caller]
    fn deliver(&self, delivery: &Delivery, items: &[&[u8]]) {
        deliver_afresh(&self.config, delivery, items).unwrap();
    }

    /// Delivers, and then loses the record, as a crash right before its rename does.
    fn deliver_and_lose_the_record(&self, delivery: &Delivery, items: &[&[u8]]) {
        let record = fs::read(self.record()).unwrap();
        self.deliver(delivery, items);
        fs::write(self.record(), record).unwrap();
    }

    fn write(&self, contents: &[u8]) {
        fs::write(self.file(), contents).unwrap();
    }

    /// Adds to the file as it is.
    fn add(&self, contents: &[u8]) {
        self.write(&[&fs::read(self.file()).unwrap(), contents].concat());
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        assert_eq!(fs::read_to_string(self.file()).unwrap(), expected);
    }
}

#[test]
fn where_an_append_begins() {
    let about = |inode, length| {
        let mut record = Record::default();
        (record.inode, record.length) = (inode, length);
        record
    };
    for (record, inode, length, expected) in [
        (None, 1, 0, Start::Anew(0)),
        (None, 1, 9, Start::Anew(9)),
        (Some(about(1, 9)), 1, 9, Start::AsRecorded),
        (Some(about(1, 9)), 1, 12, Start::CutBack),
        (Some(about(1, 0)), 1, 12, Start::CutBack),
        (Some(about(1, 9)), 1, 5, Start::Anew(5)),
        (Some(about(1, 9)), 2, 9, Start::Anew(9)),
        (Some(about(1, 9)), 2, 12, Start::Anew(12)),
        (Some(about(1, 9)), 2, 5, Start::Anew(5)),
    ] {
        assert_eq!(
            start(record.as_ref(), inode, length),
            expected,
            "{record:?} {length}"
        );
    }
}

#[test]
fn batches_and_parts_follow_each_other() {
    let bench = Bench::new();
    let mut sink = sink(bench.config.clone());
    sink.deliver(&delivery(1, ITEMS), &mut Items::of(ITEMS))
        .unwrap();
    sink.deliver(&part(2, 0, &[b"a"]), &mut Items::of(&[b"a"]))
        .unwrap();
    sink.deliver(&part(2, 5, &[b"b"]), &mut Items::of(&[b"b"]))
        .unwrap();
    bench.check("one\ntwo\na\nb\n");
    assert_eq!(names(bench.root.path()), [".out.log.batchd", "out.log"]);
}

#[test]
fn what_was_there_stays() {
    let bench = Bench::new();
    bench.write(b"before\n");
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    bench.check("before\none\ntwo\n");
}

#[test]
fn a_repeat_changes_nothing() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
    bench.deliver(&part(3, 0, &[b"y"]), &[b"y"]);
    let found = identity(bench.file());
    bench.deliver(&part(3, 0, &[b"y"]), &[b"y"]);
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    assert_eq!(identity(bench.file()), found);
    bench.check("one\ntwo\nx\ny\n");
}

#[test]
fn crash_after_the_append_before_the_record() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    bench.deliver_and_lose_the_record(&delivery(2, &[b"x"]), &[b"x"]);
    bench.check("one\ntwo\nx\n");
    bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
    bench.check("one\ntwo\nx\n");
    bench.deliver(&delivery(3, &[b"y"]), &[b"y"]);
    bench.check("one\ntwo\nx\ny\n");
}

#[test]
fn crash_in_the_middle_of_the_append() {
    for torn in [&b"t"[..], b"x\nx", b"\0\0\0\0\0\0\0\0"] {
        let bench = Bench::new();
        bench.deliver(&delivery(1, ITEMS), ITEMS);
        bench.add(torn);
        // A repeat of what is recorded must not be confused by it.
        bench.deliver(&delivery(1, ITEMS), ITEMS);
        bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
        bench.check("one\ntwo\nx\n");
    }
}

#[test]
fn crash_in_the_first_append_of_all() {
    let bench = Bench::new();
    bench.write(b"before\n");
    let mut sink = sink(bench.config.clone());
    sink.deliver(&delivery(1, ITEMS), &mut Items::then_fail(&[]))
        .unwrap_err();
    bench.check("before\n");
    bench.add(b"on");
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    bench.check("before\none\ntwo\n");
}

#[test]
fn crash_while_the_record_was_replaced() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    fs::write(bench.root.path().join(".out.log.batchd.tmp"), b"{\"len").unwrap();
    bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
    bench.check("one\ntwo\nx\n");
    assert_eq!(names(bench.root.path()), [".out.log.batchd", "out.log"]);
}

#[test]
fn rotated_by_renaming() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    fs::rename(bench.file(), bench.root.path().join("out.log.1")).unwrap();
    // A crash in the first append to the new file must not be cut where the former one ended.
    bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
    bench.check("x\n");
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    bench.check("x\n");
    assert_eq!(
        fs::read(bench.root.path().join("out.log.1")).unwrap(),
        b"one\ntwo\n"
    );
}

#[test]
fn rotated_by_truncating_and_then_torn() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    bench.write(b"");
    let mut sink = sink(bench.config.clone());
    sink.deliver(&delivery(2, ITEMS), &mut Items::then_fail(ITEMS))
        .unwrap_err();
    bench.check("");
    // The failed attempt recorded the new length: what is past it is torn, although it is longer than
    // the file was before the rotation.
    bench.add(b"one\ntwo\nthr");
    bench.deliver(&delivery(2, ITEMS), ITEMS);
    bench.check("one\ntwo\n");
}

#[test]
fn another_file_under_the_name_is_never_cut() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    let other = bench.root.path().join("other");
    fs::write(&other, b"a file that an editor put in its place\n").unwrap();
    fs::rename(other, bench.file()).unwrap();
    bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
    bench.check("a file that an editor put in its place\nx\n");
}

#[test]
fn a_damaged_record_is_none() {
    for damage in [
        &b""[..],
        b"{}",
        b"{\"inode\":1,\"length\":-1,\"delivered\":[]}",
        b"\xff\0",
    ] {
        let bench = Bench::new();
        bench.deliver(&delivery(1, ITEMS), ITEMS);
        fs::write(bench.record(), damage).unwrap();
        bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
        bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
        bench.check("one\ntwo\nx\n");
    }
}

#[test]
fn a_batch_that_cannot_be_read_leaves_nothing() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    let mut sink = sink(bench.config.clone());
    // Longer than the buffer, so that some of it has been written when it fails.
    let large = every_byte(900 * 1024);
    let items: &[&[u8]] = &[&large];
    let error = sink
        .deliver(&delivery(2, items), &mut Items::then_fail(items))
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Source);
    bench.check("one\ntwo\n");
    let error = sink
        .deliver(&delivery(2, ITEMS), &mut Items::of(&[b"one"]))
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Source);
    bench.check("one\ntwo\n");
}

#[test]
fn a_file_that_is_truncated_during_an_attempt_that_fails_is_not_made_long_again() {
    /// Rotates as `copytruncate` does, and then fails.
    struct Truncating<'a>(&'a Path);
    impl ItemSource for Truncating<'_> {
        fn next_item(&mut self) -> Result<Option<&[u8]>, SourceError> {
            fs::write(self.0, b"").unwrap();
            Err(SourceError("checksum".to_owned()))
        }
    }
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    let mut sink = sink(bench.config.clone());
    sink.deliver(&delivery(2, &[b"x"]), &mut Truncating(bench.file()))
        .unwrap_err();
    bench.check("");
    sink.deliver(&delivery(2, &[b"x"]), &mut Items::of(&[b"x"]))
        .unwrap();
    bench.check("x\n");
}

#[test]
fn a_record_that_cannot_be_written_leaves_nothing() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    let in_the_way = bench.root.path().join(".out.log.batchd.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let error = deliver_afresh(&bench.config, &delivery(2, ITEMS), ITEMS).unwrap_err();
    assert_snapshot!(
        error.to_string().replace(bench.root.path().to_str().unwrap(), "ROOT"),
        @"cannot write ROOT/.out.log.batchd.tmp: Is a directory (os error 21)"
    );
    bench.check("one\ntwo\n");
    fs::remove_dir(in_the_way).unwrap();
    bench.deliver(&delivery(2, &[b"x"]), &[b"x"]);
    bench.check("one\ntwo\nx\n");
}

#[test]
fn a_second_writer_is_kept_out() {
    let bench = Bench::new();
    bench.deliver(&delivery(1, ITEMS), ITEMS);
    let other = File::open(bench.file()).unwrap();
    other.lock().unwrap();
    let error = deliver_afresh(&bench.config, &delivery(2, ITEMS), ITEMS).unwrap_err();
    assert_snapshot!(
        error.to_string().replace(bench.root.path().to_str().unwrap(), "ROOT"),
        @"ROOT/out.log is being appended to by another queue or daemon: give each a `path` of its own"
    );
    drop(other);
    bench.deliver(&delivery(2, ITEMS), ITEMS);
    bench.check("one\ntwo\none\ntwo\n");
}

#[test]
fn a_path_that_cannot_be_used_is_named() {
    let root = tempdir().unwrap();
    let failure = |path: &str| {
        let config = FileSinkConfig {
            append: true,
            ..FileSinkConfig::new(root.path().join(path))
        };
        let error = deliver_afresh(&config, &delivery(1, ITEMS), ITEMS).unwrap_err();
        assert_eq!(error.class, ErrorClass::Retryable);
        error
            .to_string()
            .replace(root.path().to_str().unwrap(), "ROOT")
    };
    fs::create_dir(root.path().join("directory")).unwrap();
    fs::write(root.path().join("file"), b"").unwrap();
    assert_snapshot!(
        failure("directory"),
        @"ROOT/directory is not a regular file, so nothing can be appended to it safely: change `path`"
    );
    assert_snapshot!(
        failure("a/b/out.log"),
        @"directory ROOT/a/b does not exist, nor does ROOT/a: mount it if it is a disk of its own, or make it, or change `path`"
    );
    assert_snapshot!(
        failure("file/out.log"),
        @"ROOT/file is not a directory: move it away or change `path`"
    );
}

#[test]
fn bytes_arrive_as_they_are() {
    let bench = Bench::new();
    let config = FileSinkConfig {
        encoding: Encoding::Raw,
        ..bench.config.clone()
    };
    let large = every_byte(900 * 1024);
    let items: &[&[u8]] = &[b"", b"\r", b"a\0b", b"\xff\xfe", b"\n", &large, b""];
    for seq in [1, 2] {
        deliver_afresh(&config, &delivery(seq, items), items).unwrap();
    }
    assert!(fs::read(bench.file()).unwrap() == [items.concat(), items.concat()].concat());
}

/// What can happen to the target.
#[derive(Debug, Clone)]
enum Event {
    Deliver,
    /// The append is on the disk in so many bytes, the record is not; then the repeat.
    CrashAndRepeat(usize),
    /// The spool fails in the middle; then the repeat.
    FailAndRepeat,
    /// The delivery so many before the last, once more.
    Repeat(u64),
    Rename,
    Truncate,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Deliver),
        3 => (0usize..12).prop_map(Event::CrashAndRepeat),
        1 => Just(Event::FailAndRepeat),
        2 => (0u64..4).prop_map(Event::Repeat),
        1 => Just(Event::Rename),
        1 => Just(Event::Truncate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn every_batch_is_there_once(events in prop::collection::vec(event(), 1..12)) {
        let bench = Bench::new();
        bench.deliver(&delivery(1, &[b"1"]), &[b"1"]);
        let mut expected = "1\n".to_owned();
        let mut seq = 1;
        for event in events {
            match event {
                Event::Repeat(back) => {
                    let seq = (seq - back.min(seq - 1)).to_string();
                    let item = seq.as_bytes();
                    bench.deliver(&delivery(seq.parse().unwrap(), &[item]), &[item]);
                }
                Event::Rename => {
                    fs::rename(bench.file(), bench.root.path().join("out.log.1")).unwrap();
                    bench.write(b"");
                    expected.clear();
                }
                Event::Truncate => {
                    bench.write(b"");
                    expected.clear();
                }
                Event::Deliver | Event::CrashAndRepeat(_) | Event::FailAndRepeat => {
                    seq += 1;
                    let text = seq.to_string();
                    let (delivery, items) = (delivery(seq, &[text.as_bytes()]), [text.as_bytes()]);
                    if let Event::FailAndRepeat = event {
                        let mut sink = sink(bench.config.clone());
                        sink.deliver(&delivery, &mut Items::then_fail(&items)).unwrap_err();
                        bench.check(&expected);
                    }
                    if let Event::CrashAndRepeat(bytes) = event {
                        // Before it appends, an attempt brings the record into step.
                        let mut sink = sink(bench.config.clone());
                        sink.deliver(&delivery, &mut Items::then_fail(&[])).unwrap_err();
                        bench.add(&every_byte(bytes));
                    }
                    bench.deliver(&delivery, &items);
                    expected.push_str(&format!("{text}\n"));
                }
            }
            bench.check(&expected);
        }
    }
}

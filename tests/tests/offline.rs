//! A spool is looked into and verified while no daemon runs, with the programs as they are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use batchd_client::{ItemBuffer, Key, QueueName, Target};
use batchd_tests::{Exit, LONG, Launch, Output, Site, binaries, run, service, wait_until};
use serde_json::Value;

/// Nothing leaves the spool.
const KEEPS: &str =
    "[queues.default]\nmax_items = 5\nmax_age = \"off\"\nsink = \"off\"\n[queues.old]\n";

const DAMAGED: i32 = 2;
const NO_PERMISSION: i32 = 77;
const TRY_AGAIN: i32 = 75;

/// A spool with open, ready and dead batches, and a daemon that holds it.
struct Filled {
    site: Site,
    /// The items of each batch, as the daemon gives them.
    batches: BTreeMap<String, Vec<u8>>,
    /// As the daemon lists them.
    listed: Vec<Value>,
}

impl Filled {
    fn new() -> (Self, batchd_tests::Daemon) {
        let site = Site::new(KEEPS);
        let daemon = site.start();
        submit(&site, "old", "", 2);
        submit(&site, "old", "", 2);
        let open = ls(site.batchctl(["ls", "--output", "json"], b""));
        daemon.kill9();
        // Without its header nobody knows whose batch it is: it is set aside, and the original kept in quarantine.
        flip(
            &site
                .spool()
                .join(text(open.first().expect("a batch"), "path")),
            20,
        );
        let daemon = site.start();
        for _ in 0..3 {
            submit(&site, "default", "", 3);
            submit(&site, "default", "k\u{e9}", 4);
        }
        let listed = wait_until("seals", LONG, || {
            let listed = ls(site.batchctl(["ls", "--output", "json"], b""));
            let is_sealing = |batch: &Value| text(batch, "state") == "sealing";
            (!listed.iter().any(is_sealing)).then_some(listed)
        });
        assert!(listed.iter().any(|batch| text(batch, "state") == "dead"));
        let batches = listed
            .iter()
            .map(|batch| {
                let id = text(batch, "id");
                let items = site.batchctl(["cat", id], b"").success().stdout;
                (id.to_owned(), items)
            })
            .collect();
        let filled = Self {
            site,
            batches,
            listed,
        };
        (filled, daemon)
    }

    /// The files of batches in that state.
    fn files(&self, state: &str) -> Vec<PathBuf> {
        let batches = self.listed.iter();
        batches
            .filter(|batch| text(batch, "state") == state)
            .map(|batch| self.site.spool().join(text(batch, "path")))
            .collect()
    }

    #[track_caller]
    fn check_items(&self) {
        for (id, items) in &self.batches {
            let read = offline(&self.site, ["cat", id]).success();
            assert_eq!(&read.stdout, items, "{id}");
        }
    }
}

fn submit(site: &Site, queue: &str, key: &str, count: usize) {
    let mut client = site.client(None, LONG);
    let mut target = Target::new(QueueName::new(queue).expect("a name"));
    target.key = Key::new(key).expect("a key");
    let items: Vec<String> = (0..count)
        .map(|item| format!("{queue} {key} {item} {}", "-".repeat(40)))
        .collect();
    let submission = client.prepare(&target, &ItemBuffer::from_iter(items));
    client.submit(submission).expect("submitted");
}

/// Runs `batchctl` without a daemon.
fn offline<A: AsRef<OsStr>>(site: &Site, args: impl IntoIterator<Item = A>) -> Output {
    run(&mut offline_command(site, args), b"")
}

fn offline_command<A: AsRef<OsStr>>(site: &Site, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(&binaries().batchctl);
    command.args(args).arg("--spool").arg(site.spool());
    command.env_remove("BATCHD_SOCKET");
    command
}

#[track_caller]
fn ls(output: Output) -> Vec<Value> {
    output.success().json()
}

#[track_caller]
fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    let text = value.get(field).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("{field} in {value}"))
}

#[track_caller]
fn number(value: &Value, field: &str) -> u64 {
    let number = value.get(field).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("{field} in {value}"))
}

/// The findings of a verification, and its summary.
#[track_caller]
fn findings(output: &Output) -> (Vec<Value>, Value) {
    let mut lines = output.json();
    let summary = lines.pop().expect("a summary");
    assert_eq!(text(&summary, "kind"), "summary");
    // That there is a file in quarantine is always said.
    let in_quarantine = |line: &Value| text(line, "path") == "quarantine";
    assert!(lines.iter().any(in_quarantine), "{output}");
    lines.retain(|line| !in_quarantine(line));
    (lines, summary)
}

fn flip(path: &Path, at: u64) {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 4], at).expect("a byte");
}

/// Names and contents of all that is below, with the times of their last change.
fn contents(dir: &Path, into: &mut BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        let changed = entry.metadata().and_then(|data| data.modified());
        let changed = changed.expect("a time");
        if path.is_dir() {
            into.insert(path.clone(), (Vec::new(), changed));
            contents(&path, into);
        } else {
            let bytes = fs::read(&path).expect("a file");
            into.insert(path, (bytes, changed));
        }
    }
}

#[test]
fn after_a_clean_stop_the_spool_shows_what_the_daemon_showed() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    let shown: Vec<Value> = filled
        .batches
        .keys()
        .flat_map(|id| ls(site.batchctl(["show", id, "--output", "json"], b"")))
        .collect();
    let verified = site.batchctl(["verify", "--output", "json"], b"").success();
    let (none, online) = findings(&verified);
    assert_eq!(none, Vec::<Value>::new());
    assert_eq!(daemon.term(), Exit::Code(0));

    let mut before = BTreeMap::new();
    contents(&site.spool(), &mut before);
    assert_eq!(ls(offline(site, ["ls", "--output", "json"])), filled.listed);
    let table = offline(site, ["ls", "--queue", "old"]).success().text();
    assert_eq!(table.lines().count(), 2, "{table}");
    for expected in shown {
        let id = text(&expected, "id");
        let shown = ls(offline(site, ["show", id, "--output", "json"]));
        assert_eq!(shown, [expected]);
    }
    filled.check_items();
    let (none, summary) = findings(&offline(site, ["verify", "--output", "json"]).success());
    assert_eq!(none, Vec::<Value>::new());
    // A clean stop adds a mark to open files, and zeros made ahead are read as well.
    for field in ["batches", "items", "damages", "items_missing"] {
        assert_eq!(number(&summary, field), number(&online, field), "{field}");
    }
    assert_eq!(number(&summary, "items"), 25);
    let mut after = BTreeMap::new();
    contents(&site.spool(), &mut after);
    assert_eq!(before, after);
}

#[test]
fn after_a_kill_the_spool_shows_what_the_next_start_has() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    daemon.kill9();
    offline(site, ["verify"]).success();
    filled.check_items();
    let listed = ls(offline(site, ["ls", "--output", "json"]));
    let daemon = site.start();
    let started = wait_until("seals", LONG, || {
        let started = ls(site.batchctl(["ls", "--output", "json"], b""));
        let sealing = started
            .iter()
            .any(|batch| text(batch, "state") == "sealing");
        (!sealing).then_some(started)
    });
    assert_eq!(listed, started);
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn damage_is_named_with_its_cost_and_the_rest_is_read() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    assert_eq!(daemon.term(), Exit::Code(0));
    let path = filled.files("ready").remove(0);
    // In the body of the first frame, which has three items of the five.
    flip(&path, 512 + 48 + 60);
    let verified = offline(site, ["verify", "--output", "json"]).expect_code(DAMAGED);
    let (found, summary) = findings(&verified);
    let [finding] = &found[..] else {
        panic!("{verified}")
    };
    assert_eq!(text(finding, "kind"), "damage");
    assert!(path.ends_with(text(finding, "path")), "{finding}");
    assert_eq!(
        (number(finding, "offset"), number(finding, "items_missing")),
        (512, 3)
    );
    assert_eq!(number(&summary, "items"), 22);
    assert!(verified.stderr.contains("1 place"), "{verified}");

    let id = text(finding, "batch");
    let read = offline(site, ["cat", id]).expect_code(DAMAGED);
    let whole = filled.batches.get(id).expect("a batch");
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(read.stdout, lines[3..].concat(), "{read}");
    assert!(read.stderr.contains("items 0 to 2 are missing"), "{read}");
    // Others are not affected, nor is the daemon.
    let other = filled.batches.keys().find(|other| *other != id);
    offline(site, ["cat", other.expect("another")]).success();
    assert_eq!(site.start().term(), Exit::Code(0));
}

#[test]
fn damage_of_an_open_file_is_told_from_its_torn_end() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    let path = filled.files("open").remove(0);
    daemon.kill9();
    // Bytes behind the last frame: a write that was under way.
    let bytes = fs::read(&path).expect("a file");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("frames");
    let file = File::options().write(true).open(&path).expect("a file");
    let torn = (end as u64 + 64).next_multiple_of(8);
    file.write_all_at(&[4], torn).expect("a byte");
    let (found, _) = findings(&offline(site, ["verify", "--output", "json"]).success());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(text(&found[0], "kind"), "note");
    filled.check_items();
    // Once the file was closed, that is known to be damage.
    assert_eq!(site.start().term(), Exit::Code(0));
    flip(&path, 512 + 48 + 30);
    let verified = offline(site, ["verify"]).expect_code(DAMAGED);
    let name = path.file_name().expect("a name").to_string_lossy();
    assert!(verified.text().contains(&*name), "{verified}");
}

#[test]
fn a_running_daemon_is_to_be_asked() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    let id = filled.batches.keys().next().expect("a batch").as_str();
    for args in [&["ls"][..], &["show", id], &["cat", id], &["verify"]] {
        let refused = offline(site, args).expect_code(TRY_AGAIN);
        let holder = format!("batchd, pid {}", daemon.pid());
        assert!(refused.stderr.contains(&holder), "{refused}");
        assert!(refused.stderr.contains("leave --spool away"), "{refused}");
        assert!(refused.stdout.is_empty(), "{refused}");
    }
    assert_eq!(daemon.term(), Exit::Code(0));
    offline(site, ["ls"]).success();
}

#[test]
fn a_daemon_does_not_start_while_somebody_reads() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    assert_eq!(daemon.term(), Exit::Code(0));
    // As batchctl does while it reads.
    let reader = File::open(site.spool().join("LOCK")).expect("LOCK");
    reader.try_lock_shared().expect("nobody holds it");
    offline(site, ["verify"]).success();
    let refused = site.try_start(&Launch::default()).map(drop);
    assert_eq!(refused, Err(Exit::Code(TRY_AGAIN)));
    let log = site.log_text();
    assert!(log.contains("a program that only reads it"), "{log}");
    drop(reader);
    assert_eq!(site.start().term(), Exit::Code(0));
}

#[test]
fn a_running_daemon_finds_a_flipped_byte() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    let (found, summary) = findings(&site.batchctl(["verify", "--output", "json"], b"").success());
    assert_eq!(found, Vec::<Value>::new());
    assert_eq!(number(&summary, "items"), 25);
    for (state, at) in [("ready", 512 + 70), ("dead", 512 + 10), ("open", 512 + 60)] {
        let path = filled.files(state).pop().expect("a file");
        flip(&path, at);
        let verified = site
            .batchctl(["verify", "--output", "json"], b"")
            .expect_code(DAMAGED);
        let (found, _) = findings(&verified);
        let [finding] = &found[..] else {
            panic!("{state}: {verified}")
        };
        assert!(path.ends_with(text(finding, "path")), "{finding}");
        // The other queue is not read.
        let queue = if state == "dead" { "default" } else { "old" };
        site.batchctl(["verify", "--queue", queue], b"").success();
        flip(&path, at);
    }
    site.batchctl(["verify"], b"").success();
    let refused = site.batchctl(["verify", "--queue", "nobody"], b"");
    refused.expect_code(66);
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_running_daemon_verifies_page_by_page() {
    // More batches than one answer tells of.
    const BATCHES: u64 = 1030;
    let site = Site::new(
        "[queues.default]\nmax_items = 1\nmax_age = \"off\"\nsink = \"off\"\n[queues.last]\nsink = \"off\"\n",
    );
    let daemon = site.start();
    submit(
        &site,
        "default",
        "",
        usize::try_from(BATCHES).expect("a number"),
    );
    submit(&site, "last", "", 3);
    // One that moves from one state to the next meanwhile may be read in both.
    wait_until("seals", LONG, || {
        let listed = ls(site.batchctl(["ls", "--output", "json"], b""));
        let is_ready = |batch: &Value| text(batch, "state") == "ready";
        listed.iter().all(is_ready).then_some(())
    });
    let verified = site.batchctl(["verify", "--output", "json"], b"").success();
    let lines = verified.json();
    let summary = lines.last().expect("a summary");
    let expected = BATCHES + 3;
    assert_eq!(
        (number(summary, "batches"), number(summary, "items")),
        (expected, expected)
    );
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn what_is_delivered_meanwhile_is_no_damage() {
    let site = Site::lines(3);
    let daemon = site.start();
    for _ in 0..25 {
        // Sealed and delivered while the batches are read.
        submit(&site, "default", "", 50);
        let verified = site.batchctl(["verify", "--output", "json"], b"").success();
        assert_eq!(verified.json().len(), 1, "{verified}");
    }
    assert_eq!(daemon.term(), Exit::Code(0));
    offline(&site, ["verify"]).success();
}

/// Says that a test cannot be made here.
fn skipped(why: &str) {
    writeln!(io::stderr(), "SKIPPED: {why}").expect("stderr");
}

#[test]
fn a_read_only_file_system_is_read() {
    let Some(unshare) = service("unshare") else {
        return;
    };
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    daemon.kill9();
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" || exit 99\n\
                  touch \"$1/x\" 2>/dev/null && exit 98\n\
                  shift; exec \"$@\"";
    let inner = offline_command(site, ["verify", "--output", "json"]);
    let mut command = Command::new(unshare);
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(site.spool()).arg(inner.get_program());
    command.args(inner.get_args());
    let ran = run(&mut command, b"");
    // Not permitted, which is for root alone.
    if ran.code == Some(99) || ran.stderr.contains("unshare failed") {
        skipped(&format!("no mount: {}", ran.stderr));
        return;
    }
    let (found, summary) = findings(&ran.success());
    assert_eq!(found, Vec::<Value>::new());
    assert_eq!(number(&summary, "items"), 25);
}

#[test]
fn somebody_elses_spool_is_refused_with_a_hint() {
    let (filled, daemon) = Filled::new();
    let site = &filled.site;
    assert_eq!(daemon.term(), Exit::Code(0));
    let mut command = if rustix::process::geteuid().is_root() {
        let Some(setpriv) = service("setpriv") else {
            return;
        };
        let inner = offline_command(site, ["ls"]);
        let mut command = Command::new(setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(inner.get_program()).args(inner.get_args());
        // The program itself may lie where nobody else may go.
        let mut probe = Command::new("setpriv");
        probe.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        probe.arg(inner.get_program()).arg("--version");
        let probed = run(&mut probe, b"");
        if probed.code != Some(0) {
            skipped(&format!(
                "another user cannot run batchctl: {}",
                probed.stderr
            ));
            return;
        }
        command
    } else {
        let lock = site.spool().join("LOCK");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs::set_permissions(lock, mode).expect("own file");
        offline_command(site, ["ls"])
    };
    let refused = run(&mut command, b"").expect_code(NO_PERMISSION);
    assert!(
        refused.stderr.contains("the user of the daemon"),
        "{refused}"
    );
}

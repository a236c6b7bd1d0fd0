//! `batchd demo`: what it says, that it is true, and that nothing is left behind whatever ends it.

use std::fs;
use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use batchd_tests::{
    Block, Exit, LONG, Output, Signal, binaries, blocks, delivered_files, run, wait_until,
    workspace,
};
use insta::assert_snapshot;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

/// What a pipe holds, unless somebody says otherwise.
const PIPE_BYTES: usize = 64 << 10;

/// Where the demo makes its directory. Short, since it begins the path of a socket.
fn temporary() -> TempDir {
    let builder = &mut tempfile::Builder::new();
    builder.prefix("bd-").tempdir().expect("a directory")
}

fn demo(temporary: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(&binaries().batchd);
    command.arg("demo").args(args);
    command.env("TMPDIR", temporary.path());
    command
}

/// The demo's own directory, if there is one.
fn directory(temporary: &TempDir) -> Option<PathBuf> {
    let entries = fs::read_dir(temporary.path()).expect("a directory");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(paths.len() <= 1, "{paths:?}");
    paths.pop()
}

/// Processes with that path in their command line.
fn processes(path: &Path) -> Vec<String> {
    let path = path.to_str().expect("UTF-8");
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(path)).collect()
}

#[track_caller]
fn check_nothing_is_left(temporary: &TempDir) {
    assert_eq!(directory(temporary), None);
    assert_eq!(processes(temporary.path()), Vec::<String>::new());
}

/// A demo that cannot say more than so many bytes before somebody reads them.
struct Held {
    child: Child,
    said: PipeReader,
}

fn start(temporary: &TempDir, room: usize) -> Held {
    let (said, mut filled) = pipe().expect("a pipe");
    filled
        .write_all(&vec![b' '; PIPE_BYTES - room])
        .expect("filled");
    let child = demo(temporary, &[])
        .stdin(Stdio::null())
        .stdout(filled)
        .stderr(Stdio::piped())
        .spawn();
    Held {
        child: child.expect("the demo"),
        said,
    }
}

impl Held {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the demo");
    }

    /// Lets it go on to its end.
    fn finish(mut self) -> Output {
        let mut said = String::new();
        self.said.read_to_string(&mut said).expect("said");
        let done = self.child.wait_with_output().expect("the demo");
        Output {
            code: done.status.code(),
            stdout: said.trim_start().into(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    fn ended(mut self) -> Exit {
        wait_until("the demo to end", LONG, || {
            self.child.try_wait().expect("wait")
        })
        .into()
    }
}

/// What it said, with what differs from run to run replaced.
fn masked(text: &str, root: &Path) -> String {
    let root = root.to_str().expect("UTF-8");
    let lines = text.lines();
    lines
        .map(|line| mask(&line.replace(root, "DIR")) + "\n")
        .collect()
}

fn mask(line: &str) -> String {
    const ID_CHARS: usize = 36;
    let mut line = line.to_owned();
    if let Some(end) = line.find(".batch").or_else(|| line.find(".txt")) {
        line.replace_range(end - ID_CHARS..end, "ID");
    }
    // Batches are numbered upwards, with gaps.
    for before in ["ready/", "delivered/default-"] {
        if let Some((head, tail)) = line.split_once(before) {
            let (_, tail) = tail.split_once('-').expect("behind the number");
            line = format!("{head}{before}N-{tail}");
        }
    }
    let content = line.trim_start();
    if content.ends_with(" KiB") {
        let (number, _) = content.split_once(' ').expect("columns");
        return line.replacen(number, "N", 1);
    }
    let varies = [
        "81 items went out",
        "open ",
        "It recovered",
        "The client connected",
    ];
    if varies.iter().any(|start| content.starts_with(start)) {
        return mask_numbers(&line);
    }
    line
}

fn mask_numbers(line: &str) -> String {
    let mut masked = String::new();
    for char in line.chars() {
        if !char.is_ascii_digit() {
            masked.push(char);
        } else if !masked.ends_with('N') {
            masked.push('N');
        }
    }
    masked
}

/// The numbers in the line that begins with that.
fn numbers<const COUNT: usize>(text: &str, start: &str) -> [usize; COUNT] {
    let mut lines = text.lines().map(str::trim_start);
    let line = lines
        .find(|line| line.starts_with(start))
        .expect("the line");
    let numbers = line.split(|char: char| !char.is_ascii_digit());
    let numbers: Vec<usize> = numbers.filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().expect("so many numbers")
}

/// The directory that it says it is in.
fn told_directory(text: &str) -> &Path {
    let mut lines = text.lines();
    let enter = lines.find_map(|line| line.strip_prefix("   $ cd "));
    Path::new(enter.expect("a directory"))
}

/// What the README says that it says.
fn shown_in_the_readme() -> String {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("README.md");
    let blocks = blocks(&readme).expect("a page");
    let is_it = |block: &&Block| block.comment.as_deref() == Some("demo");
    blocks.iter().find(is_it).expect("a block").text()
}

#[test]
fn it_shows_that_nothing_is_lost_and_nothing_doubled() {
    let temporary = temporary();
    let mut command = demo(&temporary, &[]);
    // None of this is for the daemon that it runs.
    for (name, value) in [
        ("BATCHD_LOG", "batchd=nonsense"),
        ("BATCHD_SOCKET", "/nowhere"),
        ("NOTIFY_SOCKET", "/nowhere"),
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("STATE_DIRECTORY", "/nowhere"),
        ("RUNTIME_DIRECTORY", "/nowhere"),
    ] {
        command.env(name, value);
    }
    let done = run(&mut command, b"").success();
    assert_eq!(done.stderr, "");
    check_nothing_is_left(&temporary);

    let text = done.text();
    let [given, acknowledged, unanswered] = numbers(&text, "81 items went out");
    assert!(acknowledged > 0 && unanswered > 0, "{text}");
    assert_eq!(acknowledged + unanswered, given);
    let [recovered, acknowledged_ever] = numbers(&text, "It recovered");
    assert_eq!(acknowledged_ever, 210 + acknowledged);
    assert!(
        (acknowledged_ever..210 + given).contains(&recovered),
        "{text}"
    );
    assert_eq!(numbers(&text, "The client connected"), [unanswered]);

    let shown = shown_in_the_readme();
    assert_eq!(
        masked(&text, told_directory(&text)),
        masked(&shown, told_directory(&shown))
    );
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?}");
}

/// What it prints behind `$`, with the patience of somebody who types it.
fn script(text: &str) -> String {
    let mut script = String::from("set -eux\n");
    for line in text.lines().filter_map(|line| line.strip_prefix("   $ ")) {
        script += line;
        script += "\n";
        if line.starts_with("batchd ") {
            script += "daemon=$!\nbatchctl submit --wait-for-daemon </dev/null\n";
        } else if line.starts_with("kill ") {
            script += "wait $daemon || true\n";
        }
    }
    script
}

#[test]
fn what_it_prints_can_be_typed() {
    let temporary = temporary();
    let done = run(&mut demo(&temporary, &["--keep"]), b"").success();
    let root = directory(&temporary).expect("kept");
    assert_eq!(processes(&root), Vec::<String>::new());
    let text = done.text();
    let (_, end) = text.split_once("\n10. ").expect("a last step");
    assert_snapshot!(masked(end, &root), @r#"
    Stop
       $ kill %batchd
       The daemon stopped cleanly. DIR is kept. To look around, and to remove it
       ('rm -r spool target' instead, and all of the above can be typed):
       $ cd DIR
       $ export BATCHD_SOCKET="$PWD/batchd.sock"
       $ batchctl ls --spool spool
       $ batchd --config batchd.toml 2>>log &
       $ batchctl history
       $ kill %batchd
       $ rm -r DIR
    "#);
    assert_eq!(delivered_files(&root.join("target/delivered")).len(), 5);

    // From the start, as if the demo had not done it.
    for done in ["spool", "target"] {
        fs::remove_dir_all(root.join(done)).expect("removed");
    }
    let binaries = binaries().batchd.parent().expect("a directory");
    let path = std::env::var("PATH").expect("a path");
    let mut bash = Command::new("bash");
    bash.env("PATH", format!("{}:{path}", binaries.display()));
    let typed = run(&mut bash, script(&text).as_bytes()).success();
    assert!(typed.text().contains("420 total"), "{typed}");
    // Its last command removes the directory.
    check_nothing_is_left(&temporary);
}

#[test]
fn a_signal_leaves_nothing_behind() {
    // How much it can say before it is held up, and what is there by then.
    let places = [(0, "access.log"), (600, "spool/LOCK"), (2400, "target")];
    for (room, there) in places {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let temporary = temporary();
            let held = start(&temporary, room);
            wait_until("the demo to get there", LONG, || {
                directory(&temporary)?.join(there).exists().then_some(())
            });
            held.signal(signal);
            assert_eq!(held.ended(), Exit::Signal(signal.as_raw()), "{room}");
            check_nothing_is_left(&temporary);
        }
    }
}

#[test]
fn nobody_needs_to_read_it_to_the_end() {
    let temporary = temporary();
    let Held { mut child, said } = start(&temporary, 500);
    drop(said);
    let ended = wait_until("the demo to end", LONG, || child.try_wait().expect("wait"));
    assert_eq!(Exit::from(ended), Exit::Code(0));
    check_nothing_is_left(&temporary);
}

#[test]
fn what_is_delivered_wrong_is_found() {
    let temporary = temporary();
    // Held up when it has said what was delivered, and has not compared it.
    let held = start(&temporary, 2400);
    let file = wait_until("the last batch to be delivered", LONG, || {
        let delivered = directory(&temporary)?.join("target/delivered");
        let files = delivered_files(&delivered);
        let fifth = files.get(4)?;
        Some(delivered.join(&fifth.name))
    });
    let text = fs::read_to_string(&file).expect("delivered");
    let (_, without_first) = text.split_once('\n').expect("lines");
    fs::write(&file, without_first).expect("written");
    let done = held.finish().expect_code(1);
    let root = directory(&temporary).expect("kept");
    let text = done.text();
    let (_, end) = text.split_once("\n9. ").expect("a step");
    assert_snapshot!(masked(end, &root), @r#"
    Compare what was delivered with what was sent
       $ cat target/delivered/* | cmp - access.log
       420 lines went in, 419 came out: 1 missing.
       Line 401 is the first that differs:
         in:  198.51.100.88 - - [20/Nov/2026:08:20:43 +0000] "GET /feed.xml HTTP/1.1" 304 - "-...
         out: 198.51.100.67 - - [20/Nov/2026:08:20:43 +0000] "GET /feed.xml HTTP/1.1" 200 3472...
    "#);
    let (log, end) = done.stderr.split_once("\n\n").expect("the log");
    assert!(log.contains("ready socket="), "{log}");
    assert_snapshot!(masked(end, &root), @r"
    DIR is kept.
    batchd: what came out is not what went in
    batchd: hint: this must never be; the directory holds the spool, the log and what was delivered
    ");
    assert_eq!(processes(&root), Vec::<String>::new());
}

#[test]
fn where_there_can_be_no_directory_it_says_what_to_do() {
    let temporary = temporary();
    let mut nowhere = demo(&temporary, &[]);
    nowhere.env("TMPDIR", temporary.path().join("nowhere"));
    let done = run(&mut nowhere, b"").expect_code(74);
    let complaint = format!(
        "batchd: make a directory in {}/",
        temporary.path().display()
    );
    assert!(done.stderr.starts_with(&complaint), "{done}");
    assert!(done.stderr.contains("\nbatchd: hint: "), "{done}");

    let long = temporary.path().join("x".repeat(80));
    fs::create_dir(&long).expect("made");
    let mut too_long = demo(&temporary, &[]);
    too_long.env("TMPDIR", &long);
    let done = run(&mut too_long, b"").expect_code(74);
    assert!(
        done.stderr.contains("the path of a socket has at most 103"),
        "{done}"
    );
    assert_eq!(fs::read_dir(&long).expect("there").count(), 0);

    let mut configured = demo(&temporary, &["--config", "/etc/batchd/batchd.toml"]);
    let done = run(&mut configured, b"").expect_code(64);
    assert_snapshot!(done.stderr, @"batchd: the demo has a configuration and a log of its own: leave --config and --log away");
}

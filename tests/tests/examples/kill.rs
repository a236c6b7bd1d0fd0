//! The word count is killed, and run again with the same input: it has to count each word once.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchd_tests::{CALLS_MAX, DISK_CALLS, run, service};

use crate::words::{Said, WordCount, lines};

const WORKERS: usize = 2;

#[test]
fn killed_behind_any_line_it_counts_each_word_once() {
    let lines = lines(20);
    for told in 0..lines.len() {
        let count = WordCount::new();
        let told = kill_behind(told, &count, &lines);
        count.check(&lines, Some(told), &format!("behind line {told}"));
    }
}

/// Kills a run that has told of so many lines, while it has another one. Returns how many it has told of at last.
fn kill_behind(told: usize, count: &WordCount, lines: &[String]) -> usize {
    let mut command = count.command(&[]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut input: ChildStdin = child.stdin.take().expect("piped");
    let given: String = lines.iter().take(told + 1).map(String::as_str).collect();
    input.write_all(given.as_bytes()).expect("written");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    while Said::of(&text).taken != Some(told) {
        assert_ne!(output.read_line(&mut text).expect("read"), 0, "{text}");
    }
    child.kill().expect("killed");
    output.read_to_string(&mut text).expect("read");
    child.wait().expect("ended");
    Said::of(&text).taken.expect("it has told of some")
}

#[test]
fn killed_at_any_call_it_counts_each_word_once() {
    let Some(strace) = service("strace") else {
        return;
    };
    let (next, killed) = (AtomicUsize::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(call) = DISK_CALLS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let kills = kill_at_each(&strace, call);
                    *killed.lock().expect("no worker panicked") += kills;
                }
            });
        }
    });
    let killed = killed.into_inner().expect("no worker panicked");
    assert!(killed > 100, "killed at {killed} calls");
}

/// Kills at one call after another, until a run gets through. Says how many those were.
fn kill_at_each(strace: &Path, call: &str) -> u32 {
    let lines = lines(8);
    for number in 1..CALLS_MAX {
        let kill = format!("inject=?{call}:signal=KILL:when={number}");
        let trace = format!("trace=?{call}");
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &kill];
        let mut traced = vec![OsString::from(strace)];
        traced.extend(options.map(OsString::from));
        let point = format!("{call} {number}");

        let count = WordCount::new();
        let mut told = None;
        let mut kills = 0;
        // The second begins with what the first has left.
        for _ in 0..2 {
            let done = run(&mut count.command(&traced), lines.concat().as_bytes());
            assert!(matches!(done.code, None | Some(0 | 137)), "{point}: {done}");
            kills += u32::from(done.code != Some(0));
            told = Said::of(&done.text()).taken.or(told);
        }
        count.check(&lines, told, &point);
        if kills == 0 {
            return number - 1;
        }
    }
    panic!("more than {CALLS_MAX} calls of {call}");
}

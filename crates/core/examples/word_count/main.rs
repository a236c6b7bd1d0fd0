//! A word count that is killed, and goes on: each word is counted once.
//!
//! ```text
//! cargo run -p batchd-core --example word_count
//! cargo run -p batchd-core --example word_count -- DIR 50 <samples/access.log
//! ```
//!
//! The second counts the words of its input, in batches of 50 lines. It says how many lines are taken, first those of
//! earlier runs, and at the end how often there is each word. Killed at whatever moment and run again with the same
//! directory and input, it goes on where it was. The first shows that.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "an example is a program")]
#![expect(clippy::disallowed_types, reason = "an example is a program")]

mod counter;

use std::env;
use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::counter::{Counts, count, count_input, listed};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const SAMPLE: &str = include_str!("../../../../samples/access.log");
const MAX_ITEMS: &str = "50";
const KILLED_AT: usize = 210;

fn main() -> Result {
    let args: Vec<_> = env::args().skip(1).collect();
    match args.as_slice() {
        [] => show(),
        [dir, max_items] => count_input(Path::new(dir), max_items.parse()?),
        _ => Err("usage: word_count [DIR MAX_ITEMS <INPUT]".into()),
    }
}

/// Has a log counted by a process that is killed in the middle, and by another one behind that.
fn show() -> Result {
    let dir = tempfile::tempdir()?;
    let (mut child, mut input, mut said) = start(dir.path())?;
    // One more than it will have told of. Then it waits for another.
    for line in SAMPLE.lines().take(KILLED_AT + 1) {
        writeln!(input, "{line}")?;
    }
    while said.next().ok_or("it has ended")??.parse() != Ok(KILLED_AT) {}
    child.kill()?;
    let ended = child.wait()?;
    println!("It says that {KILLED_AT} lines are taken, and is killed: {ended}.");

    let (mut child, mut input, mut said) = start(dir.path())?;
    input.write_all(SAMPLE.as_bytes())?;
    drop(input);
    let found = said.next().ok_or("it has ended")??.parse()?;
    if !(KILLED_AT..=KILLED_AT + 1).contains(&found) {
        return Err(format!("it finds {found} lines").into());
    }
    println!("Started again, it finds those, perhaps the next, and takes what is missing.");
    let said = said.skip(SAMPLE.lines().count() - found);
    let counted: Vec<_> = said.collect::<io::Result<_>>()?;
    let ended = child.wait()?;

    let mut at_once = Counts::new();
    SAMPLE.lines().for_each(|line| count(&mut at_once, line));
    if !ended.success() || counted != listed(&at_once) {
        return Err(format!("{ended}: {counted:?}").into());
    }
    let words = counted.len();
    println!("It has counted {words} words, each as often as it is there:");
    counted.iter().take(5).for_each(|line| println!("{line}"));
    Ok(())
}

type Said = io::Lines<BufReader<ChildStdout>>;

/// Starts a word count. Returns what it reads, and the lines that it says.
fn start(dir: &Path) -> Result<(Child, ChildStdin, Said)> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(dir).arg(MAX_ITEMS);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let input = child.stdin.take().ok_or("it has no input")?;
    let output = child.stdout.take().ok_or("it has no output")?;
    Ok((child, input, BufReader::new(output).lines()))
}

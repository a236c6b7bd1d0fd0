//! Word counts in a directory of their own, and what they say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use batchd_tests::{examples, run};
use tempfile::TempDir;

/// Small batches.
const MAX_ITEMS: &str = "3";

/// A directory in which words are counted, removed on drop.
pub(crate) struct WordCount {
    dir: TempDir,
}

/// What a run says.
#[derive(Debug)]
pub(crate) struct Said {
    /// How many lines were taken before; nothing where it ended before that was known.
    pub(crate) found: Option<usize>,
    /// How many are taken, as it says last.
    pub(crate) taken: Option<usize>,
    /// How often there is each word; nothing where it did not come to that.
    pub(crate) counts: BTreeMap<String, usize>,
}

impl WordCount {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir }
    }

    /// A run, below another program where that is given.
    pub(crate) fn command(&self, wrapper: &[OsString]) -> Command {
        let mut words = wrapper.to_vec();
        words.push(examples().join("word_count").into());
        let (program, args) = words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(args).arg(self.dir.path()).arg(MAX_ITEMS);
        command
    }

    /// Counts to the end, and again. Checks that it goes on behind what was taken: whatever an earlier run told of,
    /// which is given, and at most one line more; and that each word of these lines is counted once.
    #[track_caller]
    pub(crate) fn check(&self, lines: &[String], told: Option<usize>, point: &str) {
        let again = self.count(lines, point);
        let told = told.unwrap_or_default();
        assert!(
            (told..=told + 1).contains(&again),
            "{point}: {again} after {told}"
        );
        assert_eq!(self.count(lines, point), lines.len(), "{point}");
    }

    /// Counts to the end. Says how many lines were taken before.
    #[track_caller]
    fn count(&self, lines: &[String], point: &str) -> usize {
        let done = run(&mut self.command(&[]), lines.concat().as_bytes());
        assert_eq!(done.code, Some(0), "{point}: {done}");
        let said = Said::of(&done.text());
        assert_eq!(said.taken, Some(lines.len()), "{point}: {done}");
        assert_eq!(said.counts, counted(lines), "{point}: {done}");
        said.found.expect("it is said first")
    }
}

impl Said {
    pub(crate) fn of(text: &str) -> Self {
        let mut numbers = text.lines().map_while(|line| line.parse().ok());
        let found = numbers.next();
        let words = text.lines().filter_map(|line| line.trim().split_once(' '));
        let count =
            |(count, word): (&str, &str)| (word.to_owned(), count.parse().expect("a count"));
        Self {
            found,
            taken: numbers.last().or(found),
            counts: words.map(count).collect(),
        }
    }
}

/// Lines with two words each: one that they share, and one of their own.
pub(crate) fn lines(count: usize) -> Vec<String> {
    let own = |number| "x".repeat(number);
    (1..=count)
        .map(|number| format!("word {}\n", own(number)))
        .collect()
}

fn counted(lines: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in lines.iter().flat_map(|line| line.split_whitespace()) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

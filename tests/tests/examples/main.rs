//! The examples of the library: what they say, and what becomes of the word count when it is killed.

mod kill;
mod words;

use std::fs;
use std::process::Command;

use batchd_tests::{examples, run, workspace};
use insta::assert_snapshot;

/// What an example says.
#[track_caller]
fn said(name: &str) -> String {
    let said = run(&mut Command::new(examples().join(name)), b"").success();
    assert_eq!(said.stderr, "", "{said}");
    said.text()
}

#[test]
fn sums() {
    assert_snapshot!(said("summing"), @"
    batches of 3, as the type says
      This batch added up to 6
      This batch added up to 15
    batches of 4, as this start says; what is left at the end is flushed then
      This batch added up to 10
      This batch added up to 11
    a flush of its own, and else as the type says
      3 items make 6
      3 items make 15
    ");
}

#[test]
fn a_word_count_is_killed_and_goes_on() {
    assert_snapshot!(said("word_count"), @"
    It says that 210 lines are taken, and is killed: signal: 9 (SIGKILL).
    Started again, it finds those, perhaps the next, and takes what is missing.
    It has counted 81 words, each as often as it is there:
      420 Nov
      419 HTTP
      382 example
      349 GET
      319 https
    ");
}

#[test]
fn a_log_is_shipped_in_few_calls() {
    assert_snapshot!(said("log_shipper"), @"
    call 1: 125 lines, 503 Service Unavailable: the batch is kept, and tried again
    call 2: 125 lines, 200 OK
    call 3: 125 lines, 200 OK
    call 4: 125 lines, 200 OK
    call 5:  45 lines, 200 OK
    5 calls for 420 lines, instead of 420
    the API has taken every line once, in order
    ");
}

#[test]
fn batches_disappear() {
    assert_snapshot!(said("disappearing"), @"
    in memory
      batch items: item1, item2
      batch items: expired
    on a spool
      batch items: item1, item2
      batch items: expired
    opened again
      batch items: item1, item2
    ");
}

#[test]
fn the_page_of_the_library_names_every_example() {
    let page = fs::read_to_string(workspace().join("docs/library.md")).expect("a page");
    let sources = fs::read_dir(workspace().join("crates/core/examples")).expect("examples");
    for source in sources.flatten() {
        let path = source.path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        assert!(page.contains(&format!("\n| `{name}` |")), "{name}");
    }
}

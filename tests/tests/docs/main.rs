//! The commands in the documentation do what it says: every block of commands in every page of the workspace is run,
//! with the real programs, or marked as run by another test.
//!
//! The blocks of a page are one session of one shell, in order, in namespaces of their own ([`session`]). What else a
//! page has that this looks at, and the comments which steer it, are in [`plan`]; for authors it is told in
//! `docs/README.md`.

mod made_up;
mod output;
mod pages;
mod plan;
mod program;
mod promises;
mod script;
mod session;
mod verdict;

use std::fs;
use std::thread;

use batchd_tests::{Problem, blocks, workspace};

use crate::pages::{Page, pages};
use crate::plan::{Step, plan};
use crate::verdict::check;

/// Where, and what.
fn lines(page: &str, problems: Vec<Problem>) -> String {
    let line = |problem| format!("{page}:{problem}\n");
    problems.into_iter().map(line).collect()
}

#[test]
fn every_block_is_accounted_for() {
    let problems = |page: &Page| match plan(page) {
        Ok(_) => String::new(),
        Err(problems) => lines(&page.name, problems),
    };
    let found: String = pages().iter().map(problems).collect();
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn every_command_does_what_its_page_says() {
    if !session::is_possible() {
        return;
    }
    let pages: Vec<_> = pages()
        .into_iter()
        .filter_map(|page| Some((plan(&page).ok()?, page)))
        .filter(|(steps, _)| steps.iter().any(Step::is_run))
        .collect();
    assert!(pages.len() > 3, "so few pages have commands: {pages:?}");
    let found: String = thread::scope(|scope| {
        let checks: Vec<_> = pages
            .iter()
            .map(|(steps, page)| scope.spawn(|| lines(&page.name, check(page, steps))))
            .collect();
        let found = checks
            .into_iter()
            .map(|check| check.join().expect("a check"));
        found.collect()
    });
    assert!(found.is_empty(), "\n{found}");
}

/// The block with the comment `<!-- test -->` is not run here: it would run this test.
#[test]
fn the_command_that_runs_all_tests_is_run_by_the_ci() {
    let script = fs::read_to_string(workspace().join(".ci/run")).expect("the script of the CI");
    assert!(script.contains("$(readme_block test)"));
    // It takes the first.
    let readme = fs::read_to_string(workspace().join("README.md")).expect("README.md");
    let blocks = blocks(&readme).expect("a page");
    let marked = blocks
        .iter()
        .filter(|block| block.comment.as_deref() == Some("test"));
    assert_eq!(marked.count(), 1);
}

//! Runs the session of a page, and says what did not go as the page says.

use std::time::Duration;

use batchd_tests::{LONG, Problem};

use crate::output::is_as_shown;
use crate::pages::Page;
use crate::plan::{Step, What};
use crate::program::compile;
use crate::script::script;
use crate::session::{Ending, Session};

/// Runs the steps of a page.
pub(crate) fn check(page: &Page, steps: &[Step]) -> Vec<Problem> {
    check_within(LONG, page, steps)
}

/// The same, with another limit to the whole session.
pub(crate) fn check_within(limit: Duration, page: &Page, steps: &[Step]) -> Vec<Problem> {
    let session = Session::new();
    let programs = steps.iter().filter(|step| step.what == What::Program);
    let refused: Vec<_> = programs
        .filter_map(|Step { block, .. }| {
            let compiled = compile(block, &session.program(block.line));
            let what = format!("the program cannot be compiled:\n{}", compiled.err()?);
            Some(problem(block.line, what))
        })
        .collect();
    if !refused.is_empty() {
        return refused;
    }
    let has_batchd = page.name != "README.md";
    let ending = session.run(&script(steps), has_batchd, limit);
    let ran = steps.iter().filter(|step| step.is_run());
    if let Some(stopped) = ran
        .map(|step| step.block.line)
        .find(|line| !session.is_complete(*line))
    {
        return vec![not_complete(&session, stopped, ending)];
    }
    let mut problems = wrong_output(&session, steps);
    if ending != Ending::Success {
        let last = steps.last().map_or(0, |step| step.block.line);
        problems.push(problem(last, format!("the shell {}", say(ending))));
    }
    problems
}

/// What is said of the first block that was not run to its end.
fn not_complete(session: &Session, line: usize, ending: Ending) -> Problem {
    match session.output(line) {
        Some(output) => problem(line, format!("the shell {} here:\n{output}", say(ending))),
        None => problem(
            line,
            format!("this was not run: the shell {} before", say(ending)),
        ),
    }
}

fn say(ending: Ending) -> String {
    match ending {
        Ending::Success => "ended with success".to_owned(),
        Ending::Failure(Some(code)) => format!("ended with {code}"),
        Ending::Failure(None) => "was killed".to_owned(),
        Ending::TooLong => "took too long".to_owned(),
    }
}

/// Where the page shows something else than was printed.
fn wrong_output(session: &Session, steps: &[Step]) -> Vec<Problem> {
    let followed = steps.iter().zip(steps.iter().skip(1));
    let shown = followed.filter(|(_, step)| step.what == What::Output);
    let wrong = shown.filter_map(|(run, Step { block, .. })| {
        let output = session.output(run.block.line).unwrap_or_default();
        let what = format!("this was printed instead:\n{output}");
        (!is_as_shown(&block.lines, &output)).then(|| problem(block.line, what))
    });
    wrong.collect()
}

fn problem(line: usize, what: String) -> Problem {
    Problem { line, what }
}

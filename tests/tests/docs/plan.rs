//! What is done with each block of a page.
//!
//! | block | is |
//! |---|---|
//! | `sh`, or a comment that begins with the line `<!-- sh` | run |
//! | `rust` | a program, compiled and run |
//! | `text`, where the block before it is run | what that must print |
//! | any with `<!-- file: NAME -->` | written to that file |
//! | `sh` with `<!-- test -->`, in the README | the command that runs all tests: run by `.ci/run` |
//! | `sh` with `<!-- booted: NAME -->`, in the page of systemd | run by `tests/systemd` |
//! | `text` with `<!-- wire: NAME -->`, in the page of the protocol | compared by the tests of `batchd-protocol` |
//! | other `text`, `toml`, `json` | only shown, as far as this goes |
//!
//! Everything else is a problem: a new language or comment takes a line here that says who looks at it.

use batchd_tests::{BOOTED_PAGE, Block, Problem, blocks, booted};

use crate::pages::Page;

/// The page of the protocol.
const WIRE_PAGE: &str = "docs/protocol.md";

/// What is done with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// The shell of the page runs it.
    Commands,
    /// It is compiled before, and run where it stands.
    Program,
    /// It is written to the file of that name.
    File(String),
    /// What the block before it must have printed.
    Output,
    /// Another test runs it.
    Elsewhere,
    /// Nothing here.
    Shown,
}

/// A block, and what is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) block: Block,
    pub(crate) what: What,
}

impl Step {
    /// Whether the shell of the page has something to do for it.
    pub(crate) fn is_run(&self) -> bool {
        matches!(self.what, What::Commands | What::Program | What::File(_))
    }
}

/// The steps of a page, or everything in it for which there is no rule.
pub(crate) fn plan(page: &Page) -> Result<Vec<Step>, Vec<Problem>> {
    let (mut steps, mut problems) = (Vec::<Step>::new(), Vec::new());
    for block in blocks(&page.text)? {
        let before = steps.last().map_or(&What::Shown, |step| &step.what);
        match what(page, &block, before) {
            Ok(what) => steps.push(Step { block, what }),
            Err(what) => problems.push(Problem {
                line: block.line,
                what,
            }),
        }
    }
    if problems.is_empty() {
        Ok(steps)
    } else {
        Err(problems)
    }
}

fn what(page: &Page, block: &Block, before: &What) -> Result<What, String> {
    let language = block.language.as_str();
    let comment = block.comment.as_deref();
    if let Some(name) = comment.and_then(|comment| comment.strip_prefix("file: ")) {
        return file(name);
    }
    match (language, comment) {
        ("sh", None) => Ok(What::Commands),
        ("sh", Some("test")) if page.name == "README.md" => Ok(What::Elsewhere),
        ("sh", Some(_)) if page.name == BOOTED_PAGE && booted(block).is_some() => {
            Ok(What::Elsewhere)
        }
        ("rust", None) => Ok(What::Program),
        ("text", None) => match before {
            What::Commands | What::Program => Ok(What::Output),
            What::Output => Err("nobody compares it: the block before is the output".to_owned()),
            What::Elsewhere => Err("nobody compares what the block before this prints".to_owned()),
            _ => Ok(What::Shown),
        },
        // `tests/tests/demo.rs` compares it.
        ("text", Some("demo")) if page.name == "README.md" => Ok(What::Shown),
        ("text", Some(comment)) if page.name == WIRE_PAGE && comment.starts_with("wire: ") => {
            Ok(What::Shown)
        }
        ("toml" | "json", None) => Ok(What::Shown),
        ("sh" | "rust" | "text" | "toml" | "json", Some(comment)) => {
            Err(format!("`{comment}` means nothing before this block"))
        }
        ("", _) => Err("the block has no language: commands are `sh`, output is `text`".to_owned()),
        _ => Err(format!(
            "nobody looks at blocks of `{language}`: commands are `sh`, output is `text`"
        )),
    }
}

/// A file in the directory of the session, or below it.
fn file(name: &str) -> Result<What, String> {
    let is_plain = |part: &str| {
        let is_plain =
            |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        !part.is_empty() && part != ".." && part.bytes().all(is_plain)
    };
    if name.split('/').all(is_plain) {
        Ok(What::File(name.to_owned()))
    } else {
        Err(format!("`{name}` is no plain name of a file"))
    }
}

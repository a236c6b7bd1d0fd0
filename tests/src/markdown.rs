//! The code blocks of a page of Markdown.
//!
//! Strict, so that no code can be shown which nobody finds here: what looks like code and is not a block between
//! fences is a [`Problem`], and so is a comment that does not stand before a block.

use std::fmt;
use std::iter::Zip;
use std::ops::RangeFrom;
use std::str::Lines;

/// A code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of the fence that begins it, counted from 1.
    pub line: usize,
    /// What stands behind that fence, such as `sh`.
    pub language: String,
    /// What is in the comment on the line before it.
    pub comment: Option<String>,
    /// Its lines, without the indentation of the fence.
    pub lines: Vec<String>,
}

impl Block {
    /// Its lines, each with its end.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// What is wrong with a page, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// The blocks of a page, in their order. A comment that begins with the line `<!-- sh` is one too: commands that
/// only those see who read the source.
///
/// # Errors
/// Everything that is wrong with the page.
pub fn blocks(page: &str) -> Result<Vec<Block>, Vec<Problem>> {
    let mut reader = Reader::new(page);
    while let Some((line, text)) = reader.lines.next() {
        reader.read(line, text);
    }
    reader.give_up_comment();
    if reader.problems.is_empty() {
        Ok(reader.blocks)
    } else {
        Err(reader.problems)
    }
}

/// The beginning of a block between fences.
struct Fence<'p> {
    indent: usize,
    /// Such as three backticks.
    marks: &'p str,
    /// What stands behind them.
    language: &'p str,
}

impl<'p> Fence<'p> {
    fn parse(text: &'p str) -> Option<Self> {
        let inner = text.trim_start();
        let mark = inner.chars().next().filter(|mark| "`~".contains(*mark))?;
        let language = inner.trim_start_matches(mark);
        let marks = inner.strip_suffix(language)?;
        (marks.len() >= 3 && !language.contains('`')).then_some(Self {
            indent: text.len() - inner.len(),
            marks,
            language: language.trim(),
        })
    }

    fn is_closed_by(&self, text: &str) -> bool {
        let behind = text.trim().strip_prefix(self.marks);
        behind.is_some_and(|behind| behind.chars().all(|mark| self.marks.contains(mark)))
    }

    /// A line of the block, without the indentation of the fence.
    fn outdent<'t>(&self, text: &'t str) -> &'t str {
        let blanks = text.len() - text.trim_start_matches(' ').len();
        text.get(blanks.min(self.indent)..).unwrap_or(text)
    }
}

struct Reader<'p> {
    lines: Zip<RangeFrom<usize>, Lines<'p>>,
    /// A comment that was read, for the block that begins in the next line.
    comment: Option<(usize, String)>,
    is_behind_blank: bool,
    blocks: Vec<Block>,
    problems: Vec<Problem>,
}

impl<'p> Reader<'p> {
    fn new(page: &'p str) -> Self {
        Self {
            lines: (1..).zip(page.lines()),
            comment: None,
            is_behind_blank: true,
            blocks: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Reads what begins in a line.
    fn read(&mut self, line: usize, text: &str) {
        if let Some(fence) = Fence::parse(text) {
            self.read_block(line, &fence);
        } else {
            self.give_up_comment();
            if let Some(comment) = text.trim_start().strip_prefix("<!--") {
                self.read_comment(line, comment.trim());
            } else if ["```", "~~~", "<pre"]
                .iter()
                .any(|sign| text.contains(sign))
            {
                self.problem(line, "this is not read as code: begin a line with a fence");
            } else if self.is_behind_blank && (text.starts_with("    ") || text.starts_with('\t')) {
                self.problem(line, "indented code is not read: put it between fences");
            }
        }
        self.is_behind_blank = text.trim().is_empty();
    }

    fn read_block(&mut self, line: usize, fence: &Fence<'_>) {
        let comment = self.comment.take().map(|(_, comment)| comment);
        let is_end = |text: &str| fence.is_closed_by(text);
        let Some(lines) = self.read_to(is_end) else {
            self.problem(line, "the block has no end");
            return;
        };
        self.blocks.push(Block {
            line,
            language: fence.language.to_owned(),
            comment,
            lines: lines
                .into_iter()
                .map(|text| fence.outdent(text).to_owned())
                .collect(),
        });
    }

    fn read_comment(&mut self, line: usize, comment: &str) {
        if let Some(comment) = comment.strip_suffix("-->") {
            self.comment = Some((line, comment.trim().to_owned()));
        } else if comment != "sh" {
            self.problem(
                line,
                "a comment of several lines is one of commands, or none",
            );
        } else if let Some(lines) = self.read_to(|text| text.trim() == "-->") {
            self.blocks.push(Block {
                line,
                language: comment.to_owned(),
                comment: None,
                lines: lines.into_iter().map(str::to_owned).collect(),
            });
        } else {
            self.problem(line, "the comment has no end");
        }
    }

    /// The lines up to the one that is the end.
    fn read_to(&mut self, is_end: impl Fn(&str) -> bool) -> Option<Vec<&'p str>> {
        let mut found = Vec::new();
        for (_, text) in self.lines.by_ref() {
            if is_end(text) {
                return Some(found);
            }
            found.push(text);
        }
        None
    }

    fn give_up_comment(&mut self) {
        if let Some((line, comment)) = self.comment.take() {
            let what = format!("no block begins in the line behind the comment `{comment}`");
            self.problem(line, &what);
        }
    }

    fn problem(&mut self, line: usize, what: &str) {
        let what = what.to_owned();
        self.problems.push(Problem { line, what });
    }
}

#[cfg(test)]
mod tests {
    use super::blocks;

    /// The blocks of a page, each with its line, language and comment.
    #[track_caller]
    fn check(page: &str, expected: &str) {
        let shown = match blocks(page) {
            Ok(blocks) => blocks
                .into_iter()
                .map(|block| {
                    let comment = block.comment.map(|text| format!(" <{text}>"));
                    let comment = comment.unwrap_or_default();
                    let (line, language) = (block.line, block.language);
                    format!("{line} {language}{comment}: {}\n", block.lines.join("|"))
                })
                .collect(),
            Err(problems) => problems
                .into_iter()
                .map(|problem| format!("{problem}\n"))
                .collect::<String>(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn blocks_are_found_with_their_lines_and_comments() {
        check(
            "# Title\n\n```sh\na\n\n  b\n```\ntext\n\n<!-- file: x -->\n~~~ toml\nc\n```\n~~~\n",
            "3 sh: a||  b\n11 toml <file: x>: c|```\n",
        );
        check(
            "- list\n\n  ````sh\n  a\n    b\n  ```\n  ````\n",
            "3 sh: a|  b|```\n",
        );
        check("```\n```\nOf `code` and ``more``.\n", "1 : \n");
    }

    #[test]
    fn commands_may_stand_in_a_comment() {
        check(
            "<!-- sh\na\nb\n-->\n```text\n```\n",
            "1 sh: a|b\n5 text: \n",
        );
    }

    #[test]
    fn what_cannot_be_found_is_a_problem() {
        check("a\n\n```sh\nb\n", "3: the block has no end\n");
        check("<!-- sh\nb\n", "1: the comment has no end\n");
        check(
            "<!-- note\nb\n-->\n",
            "1: a comment of several lines is one of commands, or none\n",
        );
        for quoted in ["> ```sh\n", "1. ```sh\n", "```sh a```\n", "<pre>a</pre>\n"] {
            check(
                quoted,
                "1: this is not read as code: begin a line with a fence\n",
            );
        }
        check(
            "text\n\n    cargo run\n",
            "3: indented code is not read: put it between fences\n",
        );
    }

    #[test]
    fn a_comment_stands_directly_before_its_block() {
        let lost = "1: no block begins in the line behind the comment `test`\n";
        check("<!-- test -->\n\n```sh\n```\n", lost);
        check("<!-- test -->\n", lost);
        check("<!-- test -->\n<!-- file: a -->\n```sh\n```\n", lost);
    }
}

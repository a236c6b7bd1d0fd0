//! The script of a page: what is run and what is written, each line where it stands in the page, so that what the
//! shell says of a line is true of the page.

use crate::plan::{Step, What};
use crate::session::PROGRAMS;

/// No line of a file in a page is this.
const END_OF_FILE: &str = "--- end of file ---";

/// The script. Each block tells the shell where it begins and ends: see `enter.sh`.
pub(crate) fn script(steps: &[Step]) -> String {
    let mut lines = Vec::new();
    for Step { block, what } in steps {
        let line = block.line;
        let (begins, body, ends) = match what {
            What::Commands => (
                format!("block_begins {line}"),
                block.lines.as_slice(),
                format!("block_ends {line}"),
            ),
            What::Program => (
                format!("block_begins {line}; {PROGRAMS}/{line}; block_ends {line}"),
                &[][..],
                String::new(),
            ),
            What::File(name) => (
                format!("block_begins {line}; cat >{name} <<'{END_OF_FILE}'; block_ends {line}"),
                block.lines.as_slice(),
                END_OF_FILE.to_owned(),
            ),
            What::Output | What::Elsewhere | What::Shown => continue,
        };
        // Up to the line before this one, which is counted from 1.
        lines.resize(line.saturating_sub(1), String::new());
        lines.push(begins);
        lines.extend_from_slice(body);
        lines.push(ends);
    }
    lines.join("\n") + "\n"
}

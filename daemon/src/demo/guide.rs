//! What the tour says: plain text of at most 100 columns, for a terminal and for a page.

use std::io::Write;

use batchd_client::BatchInfo;
pub(super) use batchd_protocol::shell_word;
use bytesize::ByteSize;

use super::ended::{Ended, unsaid};
use super::listing::BatchFile;

/// Stands before everything that belongs to a step.
const INDENT: &str = "   ";

/// Says what happens, step by step.
pub(super) struct Guide<'a> {
    out: &'a mut dyn Write,
    steps: u32,
}

impl<'a> Guide<'a> {
    /// Says it to `out`.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, steps: 0 }
    }

    /// Says something before the first step.
    pub(super) fn open(&mut self, text: &str) -> Result<(), Ended> {
        self.say(&format!("{text}\n"))
    }

    /// Begins the next step, with the commands that do the same.
    pub(super) fn step(&mut self, title: &str, commands: &[&str]) -> Result<(), Ended> {
        self.steps += 1;
        self.say(&format!("\n{}. {title}\n", self.steps))?;
        self.commands(commands)
    }

    /// Gives commands to be typed.
    pub(super) fn commands(&mut self, commands: &[&str]) -> Result<(), Ended> {
        let lines = commands.iter();
        let lines: String = lines.map(|line| format!("{INDENT}$ {line}\n")).collect();
        self.say(&lines)
    }

    /// Says what came of it, in one line or several.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), Ended> {
        let lines = text.lines();
        let lines: String = lines.map(|line| format!("{INDENT}{line}\n")).collect();
        self.say(&lines)
    }

    fn say(&mut self, text: &str) -> Result<(), Ended> {
        let said = self.out.write_all(text.as_bytes());
        said.and_then(|()| self.out.flush()).map_err(unsaid)
    }
}

/// Batches as `batchctl ls` has them, without some columns.
pub(super) fn batch_table(batches: &[BatchInfo]) -> String {
    let mut text = "SEQ  STATE    ITEMS     BYTES\n".to_owned();
    for batch in batches {
        let state = batch.state.name();
        let bytes = ByteSize(batch.bytes).display().iec().to_string();
        text += &format!(
            "{:>3}  {state:<7}  {:>5}  {bytes:>8}\n",
            batch.seq, batch.items
        );
    }
    text
}

/// The files of batches, with what they hold.
pub(super) fn file_table(files: &[BatchFile]) -> String {
    let mut text = "STATE    ITEMS  FILE, in spool/queues/default\n".to_owned();
    for BatchFile { state, items, path } in files {
        text += &format!("{:<7}  {items:>5}  {path}\n", state.name());
    }
    text
}

/// Files with their lines, as `wc -l` counts them.
pub(super) fn line_table(files: &[(String, usize)]) -> String {
    let total = files.iter().map(|(_, lines)| lines).sum();
    let rows = files.iter().map(|(path, lines)| (path.as_str(), *lines));
    let rows = rows.chain([("total", total)]);
    rows.map(|(path, lines)| format!("{lines:>5} {path}\n"))
        .collect()
}

/// A number of things.
pub(super) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use batchd_client::{BatchId, BatchState, QueueName};
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_step_has_commands_and_what_came_of_them() {
        let mut said = Vec::new();
        let mut guide = Guide::new(&mut said);
        guide.open("First of all.").expect("said");
        guide.step("Do it", &["do", "look"]).expect("said");
        guide.tell("Done,\nall of it.").expect("said");
        guide.step("Do more", &["do --more"]).expect("said");
        assert_snapshot!(String::from_utf8_lossy(&said), @r"
        First of all.

        1. Do it
           $ do
           $ look
           Done,
           all of it.

        2. Do more
           $ do --more
        ");
    }

    #[test]
    fn nobody_reads_it_any_more() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut broken = Broken;
        let said = Guide::new(&mut broken).tell("anything");
        assert!(matches!(said, Err(Ended::Unread)), "{said:?}");
    }

    #[test]
    fn batches_are_aligned() {
        let batch = |seq, state, items, bytes| BatchInfo {
            id: BatchId::from_bytes([0; 16]),
            queue: QueueName::new("default").expect("a name"),
            seq,
            key: None,
            state,
            items,
            bytes,
            created_at: 0,
            expires_at: None,
            reason: None,
            path: String::new(),
            verdict: None,
        };
        let batches = [
            batch(3, BatchState::Open, 1, 99),
            batch(1, BatchState::Ready, 100, 15_381),
            batch(120, BatchState::Sealing, 10_000, 1 << 20),
        ];
        assert_snapshot!(batch_table(&batches), @r"
        SEQ  STATE    ITEMS     BYTES
          3  open         1      99 B
          1  ready      100  15.0 KiB
        120  sealing  10000   1.0 MiB
        ");
    }

    #[test]
    fn files_are_aligned() {
        let file = |state, items, path: &str| BatchFile {
            state,
            items,
            path: path.to_owned(),
        };
        let files = [
            file(BatchState::Open, 7, "open/3.batch"),
            file(BatchState::Ready, 100, "ready/1.batch"),
        ];
        assert_snapshot!(file_table(&files), @r"
        STATE    ITEMS  FILE, in spool/queues/default
        open         7  open/3.batch
        ready      100  ready/1.batch
        ");
        let lines = [("a".to_owned(), 100), ("b".to_owned(), 1)];
        assert_snapshot!(line_table(&lines), @r"
        100 a
          1 b
        101 total
        ");
    }
}

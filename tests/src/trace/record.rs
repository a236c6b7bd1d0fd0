//! Ledgers: which batch is on record in which bytes.

use batchd_frame::BatchId;
use serde_json::Value;

/// A line of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The batch.
    pub batch: BatchId,
    /// Whether it says that the sink has the batch.
    pub is_delivered: bool,
    /// Where it ends in what was read.
    pub end: usize,
}

/// The whole lines in `bytes`.
#[must_use]
pub fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut found = Vec::new();
    let mut end = 0;
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += text.len();
        if text.ends_with(b"\n")
            && let Some((batch, is_delivered)) = parse(text)
        {
            found.push(Line {
                batch,
                is_delivered,
                end,
            });
        }
    }
    found
}

fn parse(text: &[u8]) -> Option<(BatchId, bool)> {
    let line: Value = serde_json::from_slice(text).ok()?;
    let batch = line.get("id")?.as_str()?.parse().ok()?;
    Some((batch, line.get("outcome")?.as_str()? == "delivered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_with_their_ends() {
        let id = "01a1f9bc-f6dd-7e11-92c2-6599d7511129";
        let one = format!("{{\"at\":1,\"id\":\"{id}\",\"seq\":2,\"outcome\":\"delivered\"}}\n");
        let text = format!("{one}garbage\n{}{one}", one.replace("delivered", "expired"));
        let torn = text.trim_end();
        let ends: Vec<_> = lines(torn.as_bytes())
            .iter()
            .map(|line| (line.batch.to_string(), line.is_delivered, line.end))
            .collect();
        let second = one.len() + "garbage\n".len() + one.len() - 2;
        assert_eq!(
            ends,
            [
                (id.to_owned(), true, one.len()),
                (id.to_owned(), false, second)
            ]
        );
    }
}

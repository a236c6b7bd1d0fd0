//! What became of a batch, from the ledger: the record that outlives its file.
//!
//! The ledger is read as it lies there, while it may be appended to: a line that is half written has no end yet and
//! is not seen. It is read piece by piece, and bounded by its rotation.

use batchd_frame::BatchId;

use super::layout::QueueLayout;
use super::ledger::{LedgerLine, each_line};
use crate::env::Env;
use crate::error::{At, FsError};

/// The last line about a batch, if there is one still. Memory is that of one line.
///
/// # Errors
/// [`FsError`] where a ledger that is there cannot be opened.
pub fn what_became_of(
    env: &Env,
    layout: &QueueLayout,
    id: BatchId,
) -> Result<Option<LedgerLine>, FsError> {
    let text = id.to_string();
    // The newer one first: a rotation in between moves what was not seen yet to where it will be looked for.
    for path in [layout.ledger(), layout.ledger_previous()] {
        let file = match env.fs.open_read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.at("open", &path)?,
        };
        let mut last = None;
        each_line(&*file, &path, |line, _| {
            // Few lines are worth parsing.
            let names_it = std::str::from_utf8(line).is_ok_and(|line| line.contains(&text));
            if names_it && let Ok(line) = serde_json::from_slice::<LedgerLine>(line) {
                last = Some(line).filter(|line| line.id == id).or(last.take());
            }
        });
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::{SimClock, SimDisk};
    use crate::spool::Layout;
    use crate::spool::ledger::{Ledger, Outcome};
    use batchd_frame::QueueName;

    fn line(id: u8, outcome: Outcome) -> LedgerLine {
        LedgerLine {
            at: 1,
            id: BatchId::from_bytes([id; 16]),
            seq: 1,
            outcome,
            items: 1,
            bytes: 2,
            why: String::new(),
            producers: Vec::new(),
        }
    }

    #[test]
    fn the_last_line_about_a_batch_is_found_in_either_ledger() {
        let disk = SimDisk::new();
        let layout = Layout::new("/s").queue(&QueueName::new("q").expect("a name"));
        for dir in [layout.open(), layout.ready()] {
            disk.mkdir_durable(dir).expect("fresh disk");
        }
        let env = disk.env(&SimClock::default(), 1);
        let find = |id: u8| {
            let found = what_became_of(&env, &layout, BatchId::from_bytes([id; 16]));
            found.expect("readable").map(|line| line.outcome)
        };
        assert_eq!(find(1), None);
        let mut ledger = Ledger::open(&env, &layout, |_| {}).expect("opens");
        let lines = [
            line(1, Outcome::Expired),
            line(2, Outcome::Delivered),
            line(1, Outcome::Delivered),
        ];
        ledger.append(&lines).expect("appends");
        assert_eq!(find(1), Some(Outcome::Delivered));
        env.fs
            .rename(&layout.ledger(), &layout.ledger_previous())
            .expect("renames");
        assert_eq!(find(2), Some(Outcome::Delivered));
        assert_eq!(find(3), None);
        // Half a line is none.
        let file = env.fs.create_new(&layout.ledger()).expect("creates");
        let half = serde_json::to_vec(&line(3, Outcome::Dropped)).expect("serializes");
        file.write_all_at(&half, 0).expect("writes");
        assert_eq!(find(3), None);
    }
}

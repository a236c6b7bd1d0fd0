//! The history from the ledgers themselves: what the index is made from, and what answers while there is none.
//! Files are streamed; memory is that of a line and of the page that is asked for.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use batchd_frame::{BatchId, QueueName};
use serde::Deserialize;

use super::records::{Cursor, Ended, Page, Query, shorten};
use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::layout::QueueLayout;
use crate::spool::ledger::{Outcome, each_line};

/// Which of a queue's ledgers a line is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one before the last rotation.
    Previous,
    /// The one that is appended to.
    Present,
}

/// As much of a line as the history needs.
#[derive(Deserialize)]
struct ShortLine {
    at: u64,
    id: BatchId,
    seq: u64,
    outcome: Outcome,
    items: u64,
    bytes: u64,
    #[serde(default)]
    why: String,
}

/// A queue's ledgers, open for reading.
pub struct Ledgers {
    queue: QueueName,
    files: Vec<OpenLedger>,
}

struct OpenLedger {
    which: Which,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl std::fmt::Debug for Ledgers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledgers({})", self.queue)
    }
}

impl Ledgers {
    /// Opens them. One that is rotated meanwhile, or later, is read as it was; no line is missed.
    ///
    /// # Errors
    /// [`FsError`]
    pub fn open(env: &Env, queue: &QueueName, layout: &QueueLayout) -> Result<Self, FsError> {
        // The present one first: if it becomes the previous one before that is opened, it is read twice.
        let present = open(env, Which::Present, layout.ledger())?;
        let previous = open(env, Which::Previous, layout.ledger_previous())?;
        Ok(Self {
            queue: queue.clone(),
            files: previous.into_iter().chain(present).collect(),
        })
    }

    /// Visits the lines, oldest first, until `visit` says that it is enough by answering false. What is no line
    /// is passed over; it was reported at the start.
    pub fn visit(&self, mut visit: impl FnMut(Which, Ended) -> bool) {
        let mut go_on = true;
        for OpenLedger { which, path, file } in &self.files {
            let read = each_line(&**file, path, |text, _| {
                if go_on && let Ok(line) = serde_json::from_slice::<ShortLine>(text) {
                    go_on = visit(*which, line.ended(&self.queue));
                }
            });
            if let Err(error) = read {
                tracing::error!(%error, "the rest of a ledger cannot be read");
            }
        }
    }
}

impl ShortLine {
    fn ended(self, queue: &QueueName) -> Ended {
        Ended {
            queue: queue.clone(),
            at: self.at,
            id: self.id,
            seq: self.seq,
            outcome: self.outcome,
            items: self.items,
            bytes: self.bytes,
            why: shorten(&self.why),
        }
    }
}

fn open(env: &Env, which: Which, path: PathBuf) -> Result<Option<OpenLedger>, FsError> {
    match env.fs.open_read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => {
            let file = other.at("open", &path)?;
            Ok(Some(OpenLedger { which, path, file }))
        }
    }
}

/// A queue with its places.
pub type Place<'a> = (&'a QueueName, &'a QueueLayout);

/// A page of the history of some queues.
///
/// # Errors
/// [`FsError`]
pub fn history<'a>(
    env: &Env,
    queues: impl IntoIterator<Item = Place<'a>>,
    query: &Query,
) -> Result<Page, FsError> {
    let mut newest: BTreeMap<Cursor, Ended> = BTreeMap::new();
    let mut more = false;
    for (queue, layout) in queues {
        if query.queue.as_ref().is_some_and(|only| only != queue) {
            continue;
        }
        Ledgers::open(env, queue, layout)?.visit(|_, ended| {
            if query.takes(&ended) {
                newest.insert(ended.cursor(), ended);
            }
            if newest.len() > query.limit {
                newest.pop_first();
                more = true;
            }
            true
        });
    }
    let ended = newest.into_values().rev().collect();
    Ok(Page { ended, more })
}

/// What became of a batch last.
///
/// # Errors
/// [`FsError`]
pub fn what_became_of<'a>(
    env: &Env,
    queues: impl IntoIterator<Item = Place<'a>>,
    id: BatchId,
) -> Result<Option<Ended>, FsError> {
    let mut last = None;
    for (queue, layout) in queues {
        Ledgers::open(env, queue, layout)?.visit(|_, ended| {
            if ended.id == id {
                last = Some(ended);
            }
            true
        });
        if last.is_some() {
            break;
        }
    }
    Ok(last)
}

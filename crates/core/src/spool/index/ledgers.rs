//! The history from the ledgers themselves: what the index is made from, and what answers while there is none.
//! Files are streamed; memory is that of a line and of the page that is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use batchd_frame::{BatchId, QueueName};

use super::records::{Cursor, Ended, Page, Query};
use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::layout::QueueLayout;
use crate::spool::ledger::{End, each_line};

/// Which of a queue's ledgers a line is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one before the last rotation.
    Previous,
    /// The one that is appended to.
    Present,
}

/// A queue's ledgers, open for reading.
pub struct Ledgers {
    files: Vec<OpenLedger>,
}

struct OpenLedger {
    which: Which,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl std::fmt::Debug for Ledgers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.files.iter().map(|ledger| &ledger.path))
            .finish()
    }
}

impl Ledgers {
    /// Opens them. One that is rotated meanwhile, or later, is read as it was; no line is missed.
    ///
    /// # Errors
    /// [`FsError`]
    pub fn open(env: &Env, layout: &QueueLayout) -> Result<Self, FsError> {
        // The present one first: if it becomes the previous one before that is opened, it is read twice.
        let present = open(env, Which::Present, layout.ledger())?;
        let previous = open(env, Which::Previous, layout.ledger_previous())?;
        Ok(Self {
            files: previous.into_iter().chain(present).collect(),
        })
    }

    /// Visits the lines, oldest first, until `visit` says that it is enough by answering false. What is no line
    /// is passed over; it was reported at the start. So is what cannot be read, with an error in the log.
    pub fn visit(&self, mut visit: impl FnMut(Which, End) -> bool) {
        let mut go_on = true;
        for OpenLedger { which, path, file } in &self.files {
            let read = each_line(&**file, path, |text, _| {
                if go_on && let Ok(end) = serde_json::from_slice(text) {
                    go_on = visit(*which, end);
                }
            });
            if let Err(error) = read {
                tracing::error!(%error, "the rest of a ledger cannot be read");
            }
        }
    }
}

fn open(env: &Env, which: Which, path: PathBuf) -> Result<Option<OpenLedger>, FsError> {
    match env.fs.open_read(&path).at("open", &path) {
        Err(error) if error.is_no_file() => Ok(None),
        opened => opened.map(|file| Some(OpenLedger { which, path, file })),
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
        Ledgers::open(env, layout)?.visit(|_, end| {
            let ended = Ended::new(queue, end);
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
        Ledgers::open(env, layout)?.visit(|_, end| {
            if end.id == id {
                last = Some(Ended::new(queue, end));
            }
            true
        });
        if last.is_some() {
            break;
        }
    }
    Ok(last)
}

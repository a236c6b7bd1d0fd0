//! Sealed batches, by their names, a page at a time.

use std::collections::{BTreeSet, HashMap};

use batchd_frame::BatchId;

use super::Survey;
use crate::error::FsError;
use crate::spool::layout::{Place, ReadyBatch, ReadyName};
use crate::spool::ledger::Outcome;

/// Names of sealed batches, in order of seq.
#[derive(Debug, Default)]
pub struct SealedPage {
    /// The names.
    pub names: Vec<ReadyName>,
    /// What the ledger says of those that it has as gone from `ready/`: a crash came before the file went.
    pub finished: HashMap<BatchId, Outcome>,
    /// Those that come second under one id, with the first: behind one in the same directory, or in `ready/` beside one
    /// in `dead/`. The next start removes them or sets them aside.
    pub twice: HashMap<ReadyName, ReadyBatch>,
    /// Where the next page begins, if there is one.
    pub next: Option<ReadyName>,
}

impl Survey {
    /// A page of the sealed batches in that place, those behind `after`.
    ///
    /// # Errors
    /// [`FsError`] where the directory or the ledger cannot be read.
    pub fn sealed_page(
        &self,
        place: Place,
        after: Option<ReadyName>,
    ) -> Result<SealedPage, FsError> {
        let mut lowest = BTreeSet::new();
        let mut more = false;
        self.each_sealed(place, |name| {
            if after.is_none_or(|after| name > after) {
                lowest.insert(name);
                if lowest.len() > self.page_names {
                    lowest.pop_last();
                    more = true;
                }
            }
        })?;
        let next = lowest.last().copied().filter(|_| more);
        let mut finished = HashMap::new();
        for ReadyName { id, .. } in &lowest {
            finished.extend(self.gone(place, *id)?.map(|outcome| (*id, outcome)));
        }
        Ok(SealedPage {
            twice: self.twice(place, &lowest)?,
            names: lowest.into_iter().collect(),
            finished,
            next,
        })
    }

    fn twice(
        &self,
        place: Place,
        names: &BTreeSet<ReadyName>,
    ) -> Result<HashMap<ReadyName, ReadyBatch>, FsError> {
        let mut by_id: HashMap<BatchId, Vec<ReadyName>> = HashMap::new();
        for name in names {
            by_id.entry(name.id).or_default().push(*name);
        }
        let mut found = HashMap::new();
        // Last the one in `dead/`, which is where the batch then is.
        for other_place in [place, Place::Dead] {
            self.each_sealed(other_place, |other| {
                for name in by_id.get(&other.id).into_iter().flatten() {
                    if other_place != place || other < *name {
                        let first = ReadyBatch {
                            name: other,
                            place: other_place,
                        };
                        found.insert(*name, first);
                    }
                }
            })?;
        }
        Ok(found)
    }
}

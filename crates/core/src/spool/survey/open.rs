//! The files in `open/`: examined as a start examines them, and decided on by its table.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use batchd_frame::BatchId;

use super::{Stage, Survey, Surveyed};
use crate::error::{At, FsError};
use crate::policy::expires_at;
use crate::spool::frames::FoundFrame;
use crate::spool::layout::{OpenName, Place, ReadyBatch, ReadyName};
use crate::spool::ledger::Outcome;
use crate::spool::recovery::each_kept;
use crate::spool::recovery::facts::Examined;
use crate::spool::recovery::standing::{examine_entry, mark_elsewhere, mark_highest};
use crate::spool::recovery::table::{Decision, Frames, decide};

/// A file in `open/`, and what the next start would do with it.
#[derive(Debug)]
pub struct OpenFile {
    /// What it holds.
    pub examined: Examined,
    /// What would be decided.
    pub decision: Decision,
    /// Where it is.
    pub path: PathBuf,
}

/// The files in `open/`.
#[derive(Debug, Default)]
pub struct OpenFiles {
    /// Those that can be opened, and what else has a name there, by seq.
    pub files: Vec<OpenFile>,
    /// Those that cannot be opened.
    pub unreadable: Vec<FsError>,
    /// Where the same batches lie sealed.
    pub sealed: HashMap<BatchId, PathBuf>,
    /// What the ledger says of them.
    pub finished: HashMap<BatchId, Outcome>,
}

impl OpenFile {
    /// The batch that it holds, unless there is none that would be kept.
    pub(super) fn surveyed(&self) -> Option<Surveyed> {
        let examined = &self.examined;
        let is_kept = self.decision.frames != Frames::None;
        let identity = examined.identity.filter(|_| is_kept)?;
        let kept = examined.kept;
        let lifespan = examined.header.as_ref().and_then(|header| header.lifespan);
        let first_item_at = kept.first_item_at;
        let expires_at = first_item_at.and_then(|first| expires_at(first, lifespan));
        Some(Surveyed {
            name: ReadyName {
                seq: identity.seq,
                items: kept.items,
                bytes: kept.bytes,
                expires_at: expires_at.unwrap_or(0),
                id: identity.id,
            },
            stage: stage(self.decision.frames),
            reason: self.decision.frames.seal_reason(examined.seal.as_ref()),
            header: examined.header.clone(),
            path: self.path.clone(),
        })
    }
}

impl Survey {
    /// Reads the files in `open/` and says what the next start would do with each. Memory grows with their number, as
    /// at a start.
    ///
    /// # Errors
    /// [`FsError`] where a directory or the ledger cannot be read.
    pub fn open_files(&self) -> Result<OpenFiles, FsError> {
        let dir = self.layout.open();
        let mut entries = Vec::new();
        self.each_name(Place::Open, |entry| entries.push(entry))?;
        entries.sort();
        let ids: HashSet<BatchId> = entries
            .iter()
            .filter_map(|entry| entry.name.parse::<OpenName>().ok())
            .map(|name| name.id)
            .collect();
        let on_record = self.on_record()?.iter();
        let finished = on_record.filter(|(id, _)| ids.contains(id));
        let mut found = OpenFiles {
            finished: finished.map(|(id, outcome)| (*id, *outcome)).collect(),
            ..OpenFiles::default()
        };
        // One in `dead/` counts for more, as at a start.
        for place in [Place::Ready, Place::Dead] {
            self.each_sealed(place, |name| {
                if ids.contains(&name.id) {
                    let path = self.layout.sealed(&ReadyBatch { name, place });
                    found.sealed.insert(name.id, path);
                }
            })?;
        }
        let mut files = Vec::new();
        for entry in &entries {
            match examine_entry(&self.env, &dir, entry, &self.queue) {
                Ok(examined) => files.push(examined),
                Err(error) => found.unreadable.push(error),
            }
        }
        mark_elsewhere(&mut files, |id| {
            found.sealed.contains_key(id) || found.finished.contains_key(id)
        });
        mark_highest(&mut files);
        found.files = files
            .into_iter()
            .map(|examined| OpenFile {
                decision: decide(&examined.facts),
                path: dir.join(&examined.name),
                examined,
            })
            .collect();
        Ok(found)
    }

    /// Shows the frames of a file in `open/` that the next start would keep, each checked.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be opened any more.
    pub fn each_kept_frame(
        &self,
        file: &OpenFile,
        visit: impl FnMut(&FoundFrame<'_>),
    ) -> Result<(), FsError> {
        let original = self.env.fs.open_read(&file.path).at("open", &file.path)?;
        if let Some(identity) = file.examined.identity {
            each_kept(&file.examined, &*original, identity.id, visit);
        }
        Ok(())
    }
}

fn stage(frames: Frames) -> Stage {
    match frames {
        Frames::None | Frames::Reopen => Stage::Open,
        Frames::Seal | Frames::KeepSeal | Frames::SealDamaged => Stage::Closed,
        Frames::Dead => Stage::Dead,
    }
}

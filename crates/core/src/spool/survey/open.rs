//! The files in `open/`: examined as a start examines them, and decided on by its table.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use batchd_frame::{BatchId, BodyLimits, BodyView, SealReason};

use super::{Stage, Survey, Surveyed};
use crate::error::{At, FsError};
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

/// What is kept of a file in `open/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptItems {
    /// Items.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// When the first was received, unix time in microseconds.
    pub first_item_at: Option<u64>,
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
        let mut found = OpenFiles {
            finished: self.on_record(&ids)?,
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

    /// The batch that a file in `open/` holds, unless there is none that would be kept.
    pub(super) fn surveyed(&self, file: &OpenFile) -> Result<Option<Surveyed>, FsError> {
        let examined = &file.examined;
        let is_kept = file.decision.frames != Frames::None;
        let Some(identity) = examined.identity.filter(|_| is_kept) else {
            return Ok(None);
        };
        let kept = self.kept_items(file)?;
        let lifespan = examined.header.as_ref().and_then(|header| header.lifespan);
        let expires_at = lifespan.zip(kept.first_item_at).map(|(lifespan, first)| {
            first.saturating_add(u64::try_from(lifespan.as_micros()).unwrap_or(u64::MAX))
        });
        Ok(Some(Surveyed {
            name: ReadyName {
                seq: identity.seq,
                items: kept.items,
                bytes: kept.bytes,
                expires_at: expires_at.unwrap_or(0),
                id: identity.id,
            },
            stage: stage(file.decision.frames),
            reason: reason(file),
            header: examined.header.clone(),
            path: file.path.clone(),
        }))
    }

    /// What is kept of a file in `open/`.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be opened any more.
    pub fn kept_items(&self, file: &OpenFile) -> Result<KeptItems, FsError> {
        let mut kept = KeptItems::default();
        self.each_kept_frame(file, |frame| {
            let view = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE);
            if let Ok(view) = view {
                kept.first_item_at.get_or_insert(frame.header.received_at);
                kept.items += u64::from(view.count());
                kept.bytes += view.item_bytes();
            }
        })?;
        Ok(kept)
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

/// Why the next start would close it, or it was closed before.
fn reason(file: &OpenFile) -> Option<SealReason> {
    match file.decision.frames {
        Frames::None | Frames::Reopen => None,
        Frames::Seal => Some(SealReason::Recovery),
        Frames::KeepSeal => file.examined.seal.as_ref().map(|seal| seal.reason),
        Frames::SealDamaged | Frames::Dead => Some(SealReason::Damaged),
    }
}

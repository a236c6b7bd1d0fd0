//! Batches on a spool: each is made whole by the queue, and read back whole.
//!
//! The queue ends what has expired, whoever meets it, and keeps the record of it. It has neither a sink nor open
//! batches here, so that nobody needs to keep its house.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use batchd_frame::{BatchId, BodyLimits, BodyView, FrameKind, OnExpire};

use super::error::ShelfError;
use super::shelf::ShelfOptions;
use crate::batcher::dir::{BatchDir, Body, ITEMS_BYTES_MAX};
use crate::batcher::{Codec, DirError};
use crate::error::At;
use crate::policy::{ExpiryRules, Policy, Quota};
use crate::queue::{CreateError, Creation, Refusal};

use crate::spool::layout::{Place, ReadyBatch};
use crate::spool::sealed::SealedFile;
use crate::spool::space::Shortage;

/// The name of its queue.
const QUEUE: &str = "shelf";

/// Most bytes of a batch on a spool: of its items as the codec writes them, with 1 to 5 bytes more for the length of
/// each.
pub const BATCH_BYTES_MAX: u64 = ITEMS_BYTES_MAX;

/// A shelf in a directory.
pub(super) struct Kept<T> {
    dir: BatchDir,
    codec: Codec<T>,
}

impl<T> Kept<T> {
    pub(super) fn open(
        options: ShelfOptions,
        path: &Path,
        codec: Codec<T>,
    ) -> Result<Self, DirError> {
        let policy = Policy {
            max_items: None,
            max_bytes: None,
            max_age: None,
            on_expire: OnExpire::Drop,
            expiry: ExpiryRules {
                // A round of the queue's cleaner is always due: whoever goes it says when. And there is no grace.
                cleanup_interval: Some(Duration::ZERO),
                is_parked: false,
            },
            quota: Quota {
                bytes: None,
                items: options.max_items,
            },
            ..Policy::default()
        };
        let dir = BatchDir::open(&options.env, path, QUEUE, options.limits, policy, false)?;
        Ok(Self { dir, codec })
    }

    pub(super) fn create(&self, items: &[T], lifespan: Duration) -> Result<BatchId, ShelfError> {
        self.demand_sound()?;
        let body = self.encode(items)?;
        self.look_after_disk();
        match self.put(&body, lifespan) {
            Err(error) if error.is_for_want_of_room() && self.clean()? > 0 => {
                self.put(&body, lifespan)
            }
            put => put,
        }
    }

    pub(super) fn get(&self, id: BatchId) -> Result<Option<Arc<[T]>>, ShelfError> {
        self.demand_sound()?;
        let commit = &self.dir.commit;
        let Some(batch) = self.find(id) else {
            return Ok(None);
        };
        if commit.is_expired(&batch) {
            let ended = commit.expire_at_access(id);
            ended.map_err(|broken| ShelfError::Broken(broken.0))?;
            return Ok(None);
        }
        match commit.open_sealed(&batch) {
            // Its lifespan was over just after that look, and somebody has met it.
            Err(error) if error.is_not_found() && self.find(id).is_none() => Ok(None),
            Err(error) => Err(ShelfError::Unreadable(error)),
            Ok(file) => self.read(&batch, &file).map(Some),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.dir.commit.lock().ready_sum().0
    }

    pub(super) fn clean(&self) -> Result<u64, ShelfError> {
        self.look_after_disk();
        let mut removed = 0;
        loop {
            // A group of batches at a time; the last look of a round finds none.
            let cleaned = self.dir.commit.clean();
            let cleaned = cleaned.map_err(|broken| ShelfError::Broken(broken.0))?;
            removed += cleaned.expired;
            if cleaned.expired == 0 {
                break;
            }
        }
        if removed > 0 {
            self.dir.commit.space().refresh();
        }
        Ok(removed)
    }

    /// One that waits. What lies in `dead/` has expired, and could not be read when it did.
    fn find(&self, id: BatchId) -> Option<ReadyBatch> {
        let found = self.dir.commit.find_sealed(id);
        found.filter(|batch| batch.place != Place::Dead)
    }

    fn encode(&self, items: &[T]) -> Result<Body, ShelfError> {
        let too_long = ShelfError::TooManyBytes {
            max: BATCH_BYTES_MAX,
        };
        let mut encoded = Vec::new();
        let mut ends = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let appended = self.codec.encode(item, &mut encoded);
            appended.map_err(|source| ShelfError::Encode { index, source })?;
            ends.push(encoded.len());
            // The length of an item takes a byte at least.
            if (encoded.len() + ends.len()) as u64 > BATCH_BYTES_MAX {
                return Err(too_long);
            }
        }
        let body = Body::of(&encoded, &ends);
        if body.bytes().len() as u64 > BATCH_BYTES_MAX {
            return Err(too_long);
        }
        Ok(body)
    }

    fn put(&self, body: &Body, lifespan: Duration) -> Result<BatchId, ShelfError> {
        let Some(view) = body.view() else {
            let max = BATCH_BYTES_MAX;
            return Err(ShelfError::TooManyBytes { max });
        };
        let creation = Creation {
            key: b"",
            body: body.bytes(),
            body_crc: body.crc,
            view,
            lifespan: Some(lifespan),
        };
        let created = self.dir.commit.create(&creation);
        created.map_err(|error| self.refused(error))
    }

    fn read(&self, batch: &ReadyBatch, file: &SealedFile) -> Result<Arc<[T]>, ShelfError> {
        let id = batch.name.id;
        let (mut items, mut bad) = (Vec::new(), None);
        let found = file.inspect_with(|frame| {
            if frame.header.kind != FrameKind::Items || bad.is_some() {
                return;
            }
            // A body that does not parse is damage, which the inspection finds as well.
            let view = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE);
            for bytes in view.iter().flat_map(BodyView::items) {
                match self.codec.decode(bytes) {
                    Ok(item) => items.push(item),
                    Err(source) => {
                        let index = items.len();
                        bad = Some(ShelfError::Decode { id, index, source });
                        return;
                    }
                }
            }
        });
        if found.newer {
            return Err(ShelfError::Newer(id));
        }
        if found.read_failed {
            let failed = Err(io::Error::other("a part of it cannot be read"));
            let path = self.dir.commit.layout().sealed(batch);
            return failed.at("read", &path).map_err(ShelfError::Unreadable);
        }
        // Before what the codec says, which was given bytes that are not its own then.
        if let Some(why) = found.damage {
            return Err(ShelfError::Damaged { id, why });
        }
        match bad {
            Some(bad) => Err(bad),
            None => Ok(items.into()),
        }
    }

    /// Finds out whether a disk that could not be written can be written again: nobody else does.
    fn look_after_disk(&self) {
        let space = self.dir.commit.space();
        if space.is_read_only() {
            space.tend();
        }
    }

    fn demand_sound(&self) -> Result<(), ShelfError> {
        match self.dir.commit.lock().broken() {
            Some(why) => Err(ShelfError::Broken(why.to_owned())),
            None => Ok(()),
        }
    }

    fn refused(&self, error: CreateError) -> ShelfError {
        match error {
            CreateError::Refused(Refusal::QueueItems { held, max }) => ShelfError::Full {
                items: held.items,
                max,
            },
            CreateError::Refused(Refusal::OverQuota { max, .. }) => {
                ShelfError::TooManyBytes { max }
            }
            CreateError::Refused(Refusal::Shortage(shortage)) => match shortage {
                Shortage::SpoolFull { used, max } => ShelfError::FullDir { bytes: used, max },
                Shortage::ReadOnly => ShelfError::ReadOnly,
                other => ShelfError::NoSpace(other.to_string()),
            },
            CreateError::NoSpace(why) => ShelfError::NoSpace(why),
            CreateError::ReadOnly => ShelfError::ReadOnly,
            CreateError::Empty => ShelfError::Empty,
            CreateError::NoLifespan => ShelfError::NoLifespan,
            CreateError::OverMaxBytes { max, .. } => ShelfError::TooManyBytes { max },
            CreateError::Broken(broken) => ShelfError::Broken(broken.0),
            // Nothing else is refused here, but where another thread found meanwhile that the disk fails.
            other => match self.demand_sound() {
                Err(broken) => broken,
                Ok(()) => ShelfError::Broken(other.to_string()),
            },
        }
    }
}

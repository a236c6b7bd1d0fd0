//! Explicit batches: `create` and `get`. Both block, and run on the blocking pool of the main runtime.

use std::sync::Arc;
use std::time::Duration;

use batchd_core::queue::{CreateError, Creation};
use batchd_frame::checksum::crc32c;
use batchd_frame::{BatchId, BodyError, BodyLimits, BodyView, VerdictOutcome};
use batchd_protocol::{BatchState, Create, ErrorCode, ItemsPage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admin::{self, Failed};
use super::history::expired;
use super::{Engine, Queue};
use crate::ingest::refusal_code;

/// Bytes of bodies that may be on their way from the ingest threads into batches.
const BYTES_ON_THE_WAY: usize = 64 << 20;

/// Bounds the memory for batches that are being made.
pub(super) fn budget() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(BYTES_ON_THE_WAY))
}

/// A batch to be made, with a body of its own.
#[derive(Debug)]
pub(crate) struct NewBatch {
    queue: String,
    key: Vec<u8>,
    lifespan: Option<Duration>,
    items: u32,
    body_crc: u32,
    body: Vec<u8>,
    /// Given back when the body is.
    _budget: OwnedSemaphorePermit,
}

impl NewBatch {
    /// Copies a request out of the ingest thread's buffer, where there is room for it.
    ///
    /// # Errors
    /// The refusal: too long for this daemon, or too much on its way already.
    pub(crate) fn take(engine: &Engine, create: &Create<'_>) -> Result<Self, Failed> {
        let bytes = create.body.len();
        engine.check_body_length(bytes)?;
        let budget = reserve(&engine.creations, bytes)?;
        Ok(Self {
            queue: create.queue.to_owned(),
            key: create.key.to_vec(),
            lifespan: create.lifespan.map(Duration::from_micros),
            items: create.items,
            body_crc: create.body_crc,
            body: create.body.to_vec(),
            _budget: budget,
        })
    }

    /// Makes it. Durable on return.
    pub(super) fn make(&self, engine: &Engine) -> Result<BatchId, Failed> {
        let found = engine.queue(&self.queue);
        let queue = found.map_err(|none| none.answer())?;
        let view = engine.check_body(&self.body, self.items, self.body_crc)?;
        let creation = Creation {
            key: &self.key,
            body: &self.body,
            body_crc: self.body_crc,
            view,
            lifespan: self.lifespan,
        };
        let created = queue.commit.create(&creation);
        // Also where it failed: the open batch of the key may have been sealed for it.
        queue.ready.notify_one();
        created.map_err(|error| refused(engine, &queue, error))
    }
}

impl Engine {
    /// Checks what a body holds, of a submission or of a batch.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn check_body<'a>(
        &self,
        body: &'a [u8],
        items: u32,
        crc: u32,
    ) -> Result<BodyView<'a>, Failed> {
        self.check_body_length(body.len())?;
        if crc32c(body) != crc {
            let message = "the body's checksum does not match: it was changed on the way";
            return Err((ErrorCode::ChecksumMismatch, message.to_owned()));
        }
        let allowed = BodyLimits {
            item_bytes_max: self.limits.item_bytes_max,
            items_max: self.limits.submission_items_max,
        };
        BodyView::parse(body, items, allowed)
            .map_err(|error| (body_code(&error), error.to_string()))
    }

    fn check_body_length(&self, bytes: usize) -> Result<(), Failed> {
        let max = self.limits.submission_bytes_max;
        if bytes as u64 > max {
            let message = format!("a body of {bytes} bytes is longer than the {max} allowed");
            return Err((ErrorCode::SubmissionTooLarge, message));
        }
        Ok(())
    }
}

fn body_code(error: &BodyError) -> ErrorCode {
    match error {
        BodyError::ItemTooLarge { .. } => ErrorCode::ItemTooLarge,
        BodyError::TooManyItems { .. } => ErrorCode::SubmissionTooLarge,
        _ => ErrorCode::BadBody,
    }
}

/// Room for a body, before it is copied.
fn reserve(budget: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Failed> {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    let reserved = Arc::clone(budget).try_acquire_many_owned(permits);
    reserved.map_err(|_| {
        let message = format!(
            "{} MiB of batches to be created are under way already: try again",
            BYTES_ON_THE_WAY >> 20
        );
        (ErrorCode::TooManyWaiting, message)
    })
}

fn refused(engine: &Engine, queue: &Queue, error: CreateError) -> Failed {
    let code = match &error {
        CreateError::Refused(refusal) => refusal_code(refusal),
        CreateError::OverMaxItems { .. } | CreateError::OverMaxBytes { .. } => {
            ErrorCode::SubmissionTooLarge
        }
        CreateError::NoSpace(_) => ErrorCode::NoSpace,
        CreateError::ReadOnly => ErrorCode::ReadOnly,
        CreateError::Broken(broken) => {
            engine.break_down(&queue.name, broken);
            let message = "the disk failed; whether the batch is kept is not known";
            return (ErrorCode::Unknown, message.to_owned());
        }
        _ => ErrorCode::BadBody,
    };
    (code, error.to_string())
}

/// A page of a batch's items, as long as its lifespan lasts.
pub(super) fn get(engine: &Engine, id: BatchId, cursor: u64) -> Result<ItemsPage, Failed> {
    if expire_at_access(engine, id)? {
        return Err(expired(id));
    }
    let (info, file) = admin::open_batch(engine, id)?;
    if info.state == BatchState::Dead {
        let verdict = file.inspect().verdict;
        return Err(match verdict.map(|verdict| verdict.outcome) {
            Some(VerdictOutcome::Expired) => expired(id),
            _ => {
                let message = format!("batch {id} was set aside as dead");
                (ErrorCode::Dead, message)
            }
        });
    }
    Ok(admin::page(&file, cursor))
}

/// Whoever asks for a batch finds it expired exactly when it is, whether or not the cleaner has been there.
pub(super) fn expire_at_access(engine: &Engine, id: BatchId) -> Result<bool, Failed> {
    for queue in engine.queues() {
        match queue.commit.expire_at_access(id) {
            Ok(false) => {}
            Ok(true) => {
                engine.batches_ended(&queue);
                return Ok(true);
            }
            Err(broken) => {
                engine.break_down(&queue.name, &broken);
                return Err((ErrorCode::Internal, broken.to_string()));
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_on_their_way_are_bounded_and_make_room_again() {
        let budget = budget();
        let longest = 16 << 20;
        let held: Vec<_> = (0..BYTES_ON_THE_WAY / longest)
            .map(|_| reserve(&budget, longest).expect("room"))
            .collect();
        let refused = reserve(&budget, 1).expect_err("none left");
        assert_eq!(refused.0, ErrorCode::TooManyWaiting);
        drop(held);
        assert!(reserve(&budget, longest).is_ok());
    }
}

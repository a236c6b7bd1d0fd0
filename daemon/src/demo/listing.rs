//! The batches there are: as the daemon tells it, and as the files do while none runs.

use std::path::Path;

use anyhow::Context as _;
use batchd_client::blocking::Client;
use batchd_client::{BatchInfo, BatchState, Error as ClientError};
use batchd_core::env::os;
use batchd_core::spool::survey::{Stage, Survey, Surveyed};
use batchd_core::spool::{Layout, ReadSpool};

use super::ended::Ended;
use super::poll::poll;

/// A file with a batch in it.
#[derive(Debug)]
pub(super) struct BatchFile {
    /// Where it is in its life.
    pub(super) state: BatchState,
    /// Items in it.
    pub(super) items: u64,
    /// Its path, relative to the queue's directory.
    pub(super) path: String,
}

/// The batches, as the daemon lists them, once all that is full is closed.
pub(super) fn settled(client: &mut Client) -> Result<Vec<BatchInfo>, ClientError> {
    let settled = poll(|| {
        let listed: Result<Vec<BatchInfo>, ClientError> = client.list(None).collect();
        let is_done = listed.as_ref().map_or(true, |batches| {
            batches
                .iter()
                .all(|batch| batch.state != BatchState::Sealing)
        });
        is_done.then_some(listed)
    });
    // Where closing takes that long, it is shown as it is.
    settled.unwrap_or_else(|| client.list(None).collect())
}

/// All items, in the order in which they will be delivered.
pub(super) fn items(
    client: &mut Client,
    batches: &[BatchInfo],
) -> Result<Vec<Vec<u8>>, ClientError> {
    let mut batches: Vec<&BatchInfo> = batches.iter().collect();
    batches.sort_by_key(|batch| batch.seq);
    let mut items = Vec::new();
    for batch in batches {
        for item in client.items(batch.id) {
            items.push(item?);
        }
    }
    Ok(items)
}

/// The batches in the files of a spool, in order of state and seq. Nothing is written, and no daemon is asked.
pub(super) fn on_disk(dir: &Path) -> Result<Vec<BatchFile>, Ended> {
    let spool = ReadSpool::open(os::env(), Layout::new(dir))?;
    let mut files = Vec::new();
    for queue in spool.queues().context("read the spool")? {
        let survey = Survey::new(&spool, &queue);
        let visited = survey.each_batch(|batch| {
            files.push(batch_file(survey.layout().dir(), &batch));
            true
        });
        visited.context("read the spool")?;
    }
    Ok(files)
}

fn batch_file(queue: &Path, batch: &Surveyed) -> BatchFile {
    let path = batch.path.strip_prefix(queue).unwrap_or(&batch.path);
    BatchFile {
        state: match batch.stage {
            Stage::Open => BatchState::Open,
            Stage::Closed => BatchState::Sealing,
            Stage::Ready => BatchState::Ready,
            Stage::Dead => BatchState::Dead,
        },
        items: batch.name.items,
        path: path.display().to_string(),
    }
}

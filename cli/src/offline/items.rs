//! The items of a batch, as far as they can be read.

use std::io;

use batchd_client::{BatchId, Finding, FindingKind};
use batchd_core::frame::{BodyLimits, BodyView, QueueName};
use batchd_core::spool::layout::{Place, ReadyBatch};
use batchd_core::spool::sealed::SealedFile;
use batchd_core::spool::survey::{Stage, Survey, Surveyed};
use batchd_core::spool::verify::batch::{Checked, check_sealed};
use batchd_core::spool::verify::open::check_kept;

use super::{Offline, OfflineError, finding};
use crate::failure::Failure;

/// Takes items; an error ends the reading.
pub(crate) type TakeItem<'a> = dyn FnMut(&[u8]) -> anyhow::Result<()> + 'a;

impl Offline {
    /// Shows the items of a batch, in order. Returns the damage that it comes by; what is behind it was shown all the
    /// same.
    pub(crate) fn items(
        &self,
        id: BatchId,
        take: &mut TakeItem<'_>,
    ) -> anyhow::Result<Vec<Finding>> {
        let (queue, batch) = self.find(id)?;
        let survey = Survey::new(&self.spool, &queue);
        // Whatever its stage, a file in `open/` is read as the next start reads it.
        if batch.path.starts_with(survey.layout().open()) {
            self.open_items(&survey, &batch, take)
        } else {
            self.sealed_items(&queue, &survey, &batch, take)
        }
    }

    fn sealed_items(
        &self,
        queue: &QueueName,
        survey: &Survey,
        batch: &Surveyed,
        take: &mut TakeItem<'_>,
    ) -> anyhow::Result<Vec<Finding>> {
        let env = self.spool.env();
        let file = SealedFile::open(env, &batch.path, batch.name.id).map_err(OfflineError::from)?;
        let inspection = file.inspect();
        for range in &inspection.ranges {
            let mut reader = file.items(*range);
            loop {
                match reader.next_item() {
                    Ok(Some(item)) => take(item)?,
                    Ok(None) => break,
                    Err(error) => {
                        // Good a moment ago: the disk reads differently each time.
                        let text = error.to_string();
                        return Err(Failure::Read(
                            batch.path.display().to_string(),
                            io::Error::other(text),
                        )
                        .into());
                    }
                }
            }
        }
        let sealed = ReadyBatch {
            name: batch.name,
            place: match batch.stage {
                Stage::Dead => Place::Dead,
                Stage::Open | Stage::Closed | Stage::Ready => Place::Ready,
            },
        };
        let root = self.spool.layout().root();
        let checked = inspection
            .damage
            .and_then(|_| check_sealed(env, root, survey.layout(), queue, &sealed));
        Ok(checked.map(damages).unwrap_or_default())
    }

    fn open_items(
        &self,
        survey: &Survey,
        batch: &Surveyed,
        take: &mut TakeItem<'_>,
    ) -> anyhow::Result<Vec<Finding>> {
        let open = survey.open_files().map_err(OfflineError::from)?;
        let file = open
            .files
            .iter()
            .find(|file| file.path == batch.path)
            .ok_or_else(|| self.no_such_batch(batch.name.id))?;
        let mut taken = Ok(());
        survey
            .each_kept_frame(file, |frame| {
                let view = BodyView::parse(frame.body, frame.header.items, BodyLimits::NONE);
                if taken.is_ok()
                    && let Ok(view) = view
                {
                    taken = view.items().try_for_each(&mut *take);
                }
            })
            .map_err(OfflineError::from)?;
        taken?;
        let root = self.spool.layout().root();
        let checked = check_kept(survey, root, file).map_err(OfflineError::from)?;
        Ok(damages(checked))
    }
}

fn damages(checked: Checked) -> Vec<Finding> {
    let found = checked.findings.into_iter().map(finding);
    found
        .filter(|finding| finding.kind == FindingKind::Damage)
        .collect()
}

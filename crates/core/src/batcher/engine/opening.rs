//! Batches that begin, and those that are made anew from their items.

use std::time::Duration;

use batchd_frame::SealReason;

use super::state::{Aged, End, Engine, Open, Store};
use crate::batcher::callbacks::Batcher;
use crate::batcher::error::Trouble;
use crate::batcher::status::Recovered;
use crate::policy::Fill;

impl<B: Batcher> Engine<'_, B> {
    /// Begins with what is there.
    pub(super) fn recover(&mut self) -> Result<(), String> {
        self.go_on()?;
        self.note_waiting();
        self.recovered = Recovered {
            batches_waiting: self.counts.waiting,
            items_waiting: self.counts.items_waiting,
            items_open: self.open.as_ref().map_or(0, |open| open.fill.items),
            batches_damaged: match &self.store {
                Store::Memory(_) => 0,
                Store::Spool { spool, .. } => spool.damaged_at_start(),
            },
        };
        match self.recovered.batches_damaged {
            0 => {}
            damaged => self.report(Trouble::Damaged(damaged)),
        }
        Ok(())
    }

    /// Goes on with the batch that is open, where there is one.
    fn go_on(&mut self) -> Result<(), String> {
        self.begin()?;
        let Store::Spool { spool, .. } = &self.store else {
            return Ok(());
        };
        let Some(found) = spool.open_batch() else {
            return Ok(());
        };
        let (wall, now) = (self.env.clock.wall_micros(), self.env.clock.boot());
        let aged = |at| Aged {
            age: Duration::from_micros(wall.saturating_sub(at)),
            at: now,
        };
        let (first, newest) = (aged(found.first_item_at), aged(found.newest_item_at));
        self.kept = Some((first, newest));
        // Where it cannot be made anew now, it is when it is flushed, which is reported if it fails.
        let rebuilt = self.rebuild_or_close();
        rebuilt.map_err(|end| end.heard().to_string())?;
        if self.filled().is_some() {
            self.plan_beat();
        }
        Ok(())
    }

    /// Begins a batch, where none is open.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        if self.open.is_none() {
            let state = self.callbacks.init(&self.config);
            let state = state.map_err(|error| error.said())?;
            self.open = Some(Open::empty(state, self.now()));
        }
        Ok(())
    }

    /// Makes the open batch anew from the items that are on the spool.
    pub(super) fn rebuild_open(&mut self) -> Result<(), String> {
        self.open.take_if(|open| open.fill.items > 0);
        self.begin()?;
        let Self {
            callbacks,
            store: Store::Spool { spool, .. },
            open: Some(open),
            kept,
            ..
        } = self
        else {
            return Ok(());
        };
        if let Some((first, newest)) = *kept {
            (open.first_item, open.newest_item) = (first, newest);
        }
        if B::IS_REBUILT {
            let rebuilt = spool.each_open_item(|item| {
                let added = callbacks.add_item(&mut open.state, item);
                added.map_err(|error| error.said())
            });
            if let Err(why) = rebuilt {
                self.open = None;
                return Err(why);
            }
        }
        open.fill = spool.open_batch().map_or(Fill::default(), |open| open.fill);
        Ok(())
    }

    /// Closes the open batch on the spool, which is not in memory, and begins another.
    pub(super) fn close_unread(&mut self) -> Result<(), End> {
        if let Store::Spool { spool, .. } = &self.store {
            spool.close(SealReason::Recovery)?;
        }
        (self.flushed, self.kept) = (self.now(), None);
        self.note_waiting();
        self.begin_or_report();
        Ok(())
    }

    pub(super) fn begin_or_report(&mut self) {
        if let Err(why) = self.begin() {
            self.report(Trouble::Init(why));
        }
    }

    /// The open batch may be half-changed, by a callback that panicked. On the spool are the items it is made of.
    pub(super) fn mend_open(&mut self, what: &str) -> Result<(), End> {
        if let Store::Memory(_) = self.store {
            return Err(End::Died(format!("add_item panicked: {what}")));
        }
        if self.append()? {
            self.answer();
            self.open = None;
            self.rebuild_or_close()?;
        }
        Ok(())
    }

    pub(super) fn rebuild_or_close(&mut self) -> Result<(), End> {
        self.rebuild_open().or_else(|why| {
            tracing::warn!(
                why,
                "the open batch cannot be filled further, and is closed"
            );
            self.close_unread()
        })
    }
}

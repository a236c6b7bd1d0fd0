//! The rhythm of one stream of batches: when its next beat is, and what it waits for.

use std::time::Duration;

use super::{Interval, IntervalMode, When};

/// What is known of the beats of one stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rhythm {
    /// Where its grid begins, once the end of a flush has moved it.
    origin: Option<Duration>,
    /// The next one; of no meaning while there is no batch.
    planned: Option<Beat>,
    /// What the last one closed has not ended yet.
    is_under_way: bool,
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    /// Its place on the grid.
    place: Duration,
    /// That, and what jitter adds.
    at: Duration,
}

impl Rhythm {
    /// Plans the next beat for a new batch, unless one is planned still, or one is under way. `started` is where the
    /// grid begins if nothing has moved it, `random` decides the jitter.
    pub fn plan(&mut self, interval: &Interval, started: Duration, now: Duration, random: [u8; 4]) {
        let is_planned = self.planned.is_some_and(|beat| beat.at > now);
        if is_planned || self.is_under_way {
            return;
        }
        let place = interval.next_place(self.origin.unwrap_or(started), now);
        let at = place.saturating_add(interval.delay(random));
        self.planned = Some(Beat { place, at });
    }

    /// When the next beat is; nothing while one is under way.
    #[must_use]
    pub fn next(&self, now: Duration) -> Option<When> {
        let beat = self.planned.filter(|_| !self.is_under_way)?;
        Some(When::reached(now, beat.at))
    }

    /// A beat closes a batch. Returns how many were skipped. At a fixed delay there is no other until
    /// [`ended`](Self::ended).
    pub fn strike(&mut self, interval: &Interval, now: Duration) -> u64 {
        let place = self.planned.take().map_or(now, |beat| beat.place);
        match interval.mode {
            IntervalMode::FixedRate => interval.skipped(place, now),
            IntervalMode::FixedDelay => {
                self.is_under_way = true;
                0
            }
        }
    }

    /// What the last beat closed has gone as far as it goes: the next one counts from now.
    pub fn ended(&mut self, now: Duration) {
        self.is_under_way = false;
        self.origin = Some(now);
    }

    /// Whether what the last beat closed has not ended.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.is_under_way
    }
}

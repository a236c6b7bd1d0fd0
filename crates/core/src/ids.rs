//! Ids of batches: UUIDv7, each higher than all that were given before, whatever the clock does.

use batchd_frame::BatchId;

use crate::env::Env;

/// Gives ids. Every one is higher than the last, also where many are given in one millisecond, and where the wall
/// clock is set back.
#[derive(Debug)]
pub(crate) struct BatchIds {
    newest_millis: u64,
    last: BatchId,
}

impl BatchIds {
    /// Ids that are higher than all of that time, unix time in microseconds, and before.
    pub(crate) fn after(newest_micros: u64) -> Self {
        let newest_millis = newest_micros / 1000;
        Self {
            newest_millis,
            // Those that exist may be of the same millisecond.
            last: BatchId::new(newest_millis, [0xff; 10]),
        }
    }

    /// The next one.
    pub(crate) fn next(&mut self, env: &Env) -> BatchId {
        self.newest_millis = self.newest_millis.max(env.clock.wall_micros() / 1000);
        let mut random = [0; 10];
        env.entropy.fill(&mut random);
        let mut id = BatchId::new(self.newest_millis, random);
        if id <= self.last {
            let [a, b, c, d, ..] = random;
            id = self.last.next(u32::from_be_bytes([a, b, c, d]));
        }
        self.last = id;
        id
    }
}

//! When a batch is closed, and when it expires: pure functions of counts and times.
//!
//! Nothing here knows a clock, a file or a thread: whoever keeps batches tells what a batch holds and how old it is,
//! and is told why it must be closed, or when to ask again. [`counts`] is asked at every item, [`ages`] at every
//! look at the clock; [`interval`] is the arithmetic of beats, of which each stream of batches has a [`Rhythm`], and
//! [`expiry`] that of lifespans. [`Backoff`] is how long to wait after a failure.

pub mod ages;
mod backoff;
pub mod counts;
pub mod expiry;
pub mod interval;

mod overflow;
mod rhythm;

use std::time::Duration;

use batchd_frame::OnExpire;

pub use ages::{Ages, Due, When};
pub use backoff::Backoff;
pub use counts::{BYTES_MAX_MAX, FALLBACK_BYTES_MAX, Fill};
pub use expiry::{Deadline, ExpiryGate, ExpiryRules, expires_at};
pub use interval::{Interval, IntervalMode, JITTER_PERCENT_MAX};
pub use overflow::{Exceeded, Load, Overflow, Quota};
pub use rhythm::Rhythm;

/// A queue's rules. A trigger that is `None` is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Most items of a batch; at least 1.
    pub max_items: Option<u32>,
    /// Most bytes of a batch's items; 1 to 1 GiB. An item longer than this is refused.
    pub max_bytes: Option<u64>,
    /// How old a batch's first item may become.
    pub max_age: Option<Duration>,
    /// How long ago the queue's last flush may be while something is open.
    pub max_since_flush: Option<Duration>,
    /// Closes batches every so often.
    pub interval: Option<Interval>,
    /// How long nothing may come into a batch.
    pub idle: Option<Duration>,
    /// What becomes of open batches at a clean stop.
    pub on_shutdown: OnShutdown,
    /// How long a batch may live undelivered.
    pub lifespan: Option<Duration>,
    /// What happens after that.
    pub on_expire: OnExpire,
    /// How what has expired is looked for.
    pub expiry: ExpiryRules,
    /// What its batches may hold together.
    pub quota: Quota,
    /// What becomes of a submission for which there is no room.
    pub overflow: Overflow,
}

/// What becomes of open batches at a clean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnShutdown {
    /// They stay open on disk, and are filled further after the next start.
    #[default]
    Keep,
    /// They are closed and, within a time limit, delivered.
    Flush,
}

impl Default for Policy {
    /// That of the queue `default` without configuration.
    fn default() -> Self {
        Self {
            max_items: Some(1000),
            max_bytes: Some(1 << 20),
            max_age: Some(Duration::from_secs(5)),
            max_since_flush: None,
            interval: None,
            idle: None,
            on_shutdown: OnShutdown::Keep,
            lifespan: None,
            on_expire: OnExpire::Dead,
            expiry: ExpiryRules::default(),
            quota: Quota::default(),
            overflow: Overflow::default(),
        }
    }
}

impl Policy {
    /// Whether any trigger goes by time.
    #[must_use]
    pub fn goes_by_time(&self) -> bool {
        self.max_age.is_some()
            || self.max_since_flush.is_some()
            || self.interval.is_some()
            || self.idle.is_some()
    }
}

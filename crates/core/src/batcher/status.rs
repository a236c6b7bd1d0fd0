//! What a server tells of itself.

use super::callbacks::{Counts, Times};
use super::error::Trouble;
use super::options::Config;

/// What was there at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Batches that wait for their flush.
    pub batches_waiting: usize,
    /// Items in them.
    pub items_waiting: u64,
    /// Items of the batch that goes on being filled.
    pub items_open: u32,
    /// Files of open batches that were damaged, or that somebody else put there. They are in quarantine, and the log
    /// says what is missing; what can be read of them waits for its flush.
    pub batches_damaged: usize,
}

/// The state of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerState<I> {
    /// What was counted.
    pub counts: Counts,
    /// Ages.
    pub times: Times,
    /// The item that was added last, to whatever batch.
    pub last_item: Option<I>,
    /// The options in force.
    pub config: Config,
    /// The names of the callbacks that are not the type's.
    pub overrides: Vec<&'static str>,
    /// What was there at the start.
    pub recovered: Recovered,
    /// What went wrong last.
    pub last_error: Option<Trouble>,
}

impl ServerState<()> {
    pub(super) fn with<I>(self, last_item: Option<I>) -> ServerState<I> {
        ServerState {
            counts: self.counts,
            times: self.times,
            last_item,
            config: self.config,
            overrides: self.overrides,
            recovered: self.recovered,
            last_error: self.last_error,
        }
    }
}

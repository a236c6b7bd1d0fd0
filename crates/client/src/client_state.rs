//! What both clients hold besides the socket.

use std::sync::Arc;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::ids::Numbering;
use crate::items::ItemBuffer;
use crate::options::Options;
use crate::submission::{Submission, Target};

/// Received at once, in bytes.
pub(crate) const RECEIVE_BYTES: usize = 64 << 10;
/// Receptions in a row before the deadline is looked at again: a daemon that never stops sending must not
/// keep a call from ending.
pub(crate) const RECEIVES_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) exchange: Exchange,
    numbering: Numbering,
    /// Target of the last submission, which most often is that of the next.
    target: Option<Arc<Target>>,
}

impl ClientState {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        let mut producer = [0; 16];
        getrandom::fill(&mut producer)?;
        let jitter_seed = getrandom::u64()?;
        Ok(Self {
            numbering: Numbering::new(&options.identity, producer),
            exchange: Exchange::new(options, jitter_seed),
            target: None,
        })
    }

    pub(crate) fn prepare(&mut self, target: &Target, items: &ItemBuffer) -> Submission {
        let shared = match &self.target {
            Some(last) if **last == *target => Arc::clone(last),
            _ => Arc::new(target.clone()),
        };
        self.target = Some(Arc::clone(&shared));
        let (id, may_be_known) = self.numbering.next();
        Submission::new(id, may_be_known, shared, items)
    }
}

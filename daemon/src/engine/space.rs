//! The room of the spool: what the configuration says of it, and what its file system is.

use std::sync::Arc;
use std::time::Duration;

use batchd_core::spool::LockedSpool;
use batchd_core::spool::space::{SpaceLimits, SpoolSpace};
use batchd_protocol::SpaceStatus;

use super::Engine;
use crate::config::Config;

/// Looks at the spool's file system, and warns of one that keeps no promises.
pub(super) fn open(config: &Config, spool: &LockedSpool) -> Arc<SpoolSpace> {
    let limits = SpaceLimits {
        max_bytes: config.spool.max_bytes,
        min_free: config.spool.min_free,
        ballast_bytes: config.spool.ballast_bytes,
    };
    let space = SpoolSpace::new(spool, limits);
    space.warn_of_medium(spool.layout().root());
    space
}

/// Looks after the room; says when to look again.
pub(super) fn tend(engine: &Engine) -> Option<Duration> {
    if !engine.is_serving() {
        return None;
    }
    let could_deliver = engine.space.may_deliver();
    let again = engine.space.tend();
    if !could_deliver && engine.space.may_deliver() {
        // They were held.
        for queue in engine.queues() {
            queue.ready.notify_one();
        }
    }
    again
}

/// The same for people.
pub(super) fn status(engine: &Engine) -> SpaceStatus {
    let view = engine.space.view();
    SpaceStatus {
        used_bytes: view.used_bytes,
        max_bytes: view.max_bytes,
        free_bytes: view.free_bytes,
        min_free_bytes: view.min_free_bytes,
        shortage: view.shortage.map(|shortage| shortage.to_string()),
    }
}

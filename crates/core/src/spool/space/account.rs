//! The account of the room of a spool, and what the file system says of it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ballast::{Ballast, ballast_bytes, is_gone};
use super::limits::{MinFree, SPOOL_BYTES_MAX, Shortage, SpaceLimits, SpaceView};
use crate::env::{Env, FsKind, Space};
use crate::spool::layout::Layout;
use crate::spool::root::LockedSpool;

/// An answer of the file system is this long good for,
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// and for so much that is taken, or a part of what must stay free where that is less: somebody else may fill the
/// disk as well, and a fast one is full in no time.
const LOOK_BYTES: u64 = 1 << 20;
const LOOK_SHARE: u64 = 16;
/// What a submission takes besides its items, about.
const SUBMISSION_BYTES: u64 = 64;
/// While something is amiss that no submission finds out about, it is looked at this often.
pub(super) const TEND_INTERVAL: Duration = Duration::from_secs(1);
/// Two warnings of the same kind are at least so far apart.
const WARN_INTERVAL: Duration = Duration::from_secs(10);
/// So many files must be left to be made, or a twentieth of those there are where that is less.
const MIN_FREE_INODES: u64 = 64;
/// Where a record found no room, there must be so much before another is tried.
const RECORD_BYTES: u64 = 64 << 10;

/// The room of a spool.
pub struct SpoolSpace {
    pub(super) env: Env,
    pub(super) layout: Layout,
    pub(super) limits: SpaceLimits,
    /// What the ballast comes to on this file system.
    pub(super) ballast_bytes: u64,
    state: Mutex<State>,
}

impl std::fmt::Debug for SpoolSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpoolSpace({:?})", self.state())
    }
}

#[derive(Debug)]
pub(super) struct State {
    /// Bytes of items in the spool, those under way included.
    used: u64,
    pub(super) seen: Space,
    looked_at: Duration,
    /// Bytes taken since then.
    taken: u64,
    /// A write found no room though there seemed to be: so much must be free before another is tried.
    needed: u64,
    /// The same of files.
    needed_inodes: u64,
    low: Option<Shortage>,
    /// A write was told that nothing can be written, or the file system says so; until a write succeeds.
    read_only: bool,
    /// What became of a batch could not be recorded for want of room.
    unrecorded: bool,
    pub(super) ballast: Ballast,
    /// Not before this is the ballast made, after it could not be.
    pub(super) ballast_not_before: Duration,
    /// When the log was last told that something is low, and whether that is what it says last.
    warned_low_at: Option<Duration>,
    told_low: bool,
    /// The same of a disk that cannot be written.
    warned_read_only_at: Option<Duration>,
    told_read_only: bool,
}

impl SpoolSpace {
    /// Looks at a spool's file system. What its queues hold is [`found`](Self::found) by them.
    #[must_use]
    pub fn new(spool: &LockedSpool, limits: SpaceLimits) -> Arc<Self> {
        let (env, layout) = (spool.env().clone(), spool.layout().clone());
        let seen = look(&env, &layout).unwrap_or_else(|error| {
            tracing::warn!(%error, "the file system does not say how much room it has");
            UNKNOWN
        });
        let space = Self {
            state: Mutex::new(State {
                used: 0,
                seen,
                looked_at: env.clock.boot(),
                taken: 0,
                needed: 0,
                needed_inodes: 0,
                low: None,
                read_only: false,
                unrecorded: false,
                ballast: Ballast::Off,
                ballast_not_before: Duration::ZERO,
                warned_low_at: None,
                told_low: false,
                warned_read_only_at: None,
                told_read_only: false,
            }),
            env,
            layout,
            limits,
            ballast_bytes: ballast_bytes(limits, seen.total_bytes),
        };
        let ballast = space.find_ballast();
        let mut state = space.state();
        state.ballast = ballast;
        space.judge(&mut state);
        drop(state);
        Arc::new(space)
    }

    /// What the file system said when it was asked last.
    #[must_use]
    pub fn seen(&self) -> Space {
        self.state().seen
    }

    /// Counts what a queue holds already, whatever the bounds are now.
    pub fn found(&self, bytes: u64) {
        let mut state = self.state();
        state.used = state.used.saturating_add(bytes);
    }

    /// Takes room for so many bytes of items.
    ///
    /// # Errors
    /// What is short. Nothing is taken then.
    pub fn take(&self, bytes: u64) -> Result<(), Shortage> {
        let mut state = self.state();
        self.check(&mut state, bytes)?;
        state.used = state.used.saturating_add(bytes);
        state.taken = state.taken.saturating_add(bytes + SUBMISSION_BYTES);
        Ok(())
    }

    /// Asks whether so many bytes could be taken now.
    ///
    /// # Errors
    /// What is short.
    pub fn could_take(&self, bytes: u64) -> Result<(), Shortage> {
        self.check(&mut self.state(), bytes)
    }

    /// Gives room back: of a submission that was not kept, or a batch that is gone.
    pub fn give_back(&self, bytes: u64) {
        let mut state = self.state();
        state.used = state.used.saturating_sub(bytes);
    }

    /// Asks the file system now: files were removed.
    pub fn refresh(&self) {
        self.look(&mut self.state());
    }

    /// What the spool may hold in bytes of items.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes_of(&self.state())
    }

    /// Whether so many bytes may be used for what need not be there: files made ahead.
    #[must_use]
    pub fn has_room_to_spare(&self, bytes: u64) -> bool {
        let mut state = self.state();
        if self.is_stale(&state) {
            self.look(&mut state);
        }
        let (required, _) = self.required(&state);
        state.low.is_none()
            && !state.read_only
            && state.seen.free_bytes >= required.saturating_add(bytes)
    }

    /// A write of so many bytes found no room.
    pub fn note_no_space(&self, bytes: u64) {
        let mut state = self.state();
        state.needed = state.needed.max(bytes);
        state.needed_inodes = 1;
        // Where the file system claims to have room all the same, a quota stands in the way: that is found out by
        // trying.
        self.look(&mut state);
    }

    /// A write was told that the file system is read-only.
    pub fn note_read_only(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.read_only, true) {
            self.warn_read_only(&mut state);
        }
    }

    /// Whether a write was told so, and none has succeeded since.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.state().read_only
    }

    /// What became of a batch could not be recorded for want of room, ballast and all.
    pub fn note_unrecorded(&self) {
        let mut state = self.state();
        self.look(&mut state);
        state.unrecorded = state.seen.free_bytes < RECORD_BYTES;
    }

    /// Whether what is delivered could be recorded. Where not, it would be delivered again by the next start.
    #[must_use]
    pub fn may_deliver(&self) -> bool {
        let mut state = self.state();
        if state.unrecorded && self.is_stale(&state) {
            self.look(&mut state);
        }
        !state.read_only && !state.unrecorded
    }

    /// Says in the log where the file system is of a kind that keeps no promises.
    pub fn warn_of_medium(&self, path: &Path) {
        let path = path.display();
        match self.seen().kind {
            FsKind::Memory(name) => tracing::warn!(
                "the spool {path} is on {name}, which is gone with the power: no acknowledgement outlives a restart \
                 of the machine"
            ),
            FsKind::Network(name) => tracing::warn!(
                "the spool {path} is on {name}, a network file system: what survives a crash is up to the server"
            ),
            FsKind::Other => {}
        }
    }

    /// Looks after all this, off every path: makes the ballast, a piece at a time, and finds out whether a disk
    /// that was read-only can be written again. Says when to look again, where that should be soon.
    pub fn tend(&self) -> Option<Duration> {
        let mut state = self.state();
        if self.is_stale(&state) {
            self.look(&mut state);
        }
        let mut read_only = state.read_only;
        drop(state);
        if read_only {
            read_only = self.probe();
        }
        if !read_only && let Some(again) = self.tend_ballast() {
            return Some(again);
        }
        let state = self.state();
        let waits = state.read_only || state.unrecorded;
        (waits || is_gone(&state)).then_some(TEND_INTERVAL)
    }

    /// How the spool stands.
    #[must_use]
    pub fn view(&self) -> SpaceView {
        let mut state = self.state();
        if self.is_stale(&state) {
            self.look(&mut state);
        }
        SpaceView {
            used_bytes: state.used,
            max_bytes: self.max_bytes_of(&state),
            free_bytes: state.seen.free_bytes,
            min_free_bytes: self.limits.min_free.bytes(state.seen.total_bytes),
            shortage: if state.read_only {
                Some(Shortage::ReadOnly)
            } else {
                state.low
            },
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn max_bytes_of(&self, state: &State) -> u64 {
        self.limits
            .max_bytes
            .unwrap_or_else(|| match state.seen.total_bytes {
                0 => SPOOL_BYTES_MAX,
                total => SPOOL_BYTES_MAX.min(total / 10),
            })
    }

    fn check(&self, state: &mut State, bytes: u64) -> Result<(), Shortage> {
        let (used, max) = (state.used, self.max_bytes_of(state));
        if used.saturating_add(bytes) > max {
            return Err(Shortage::SpoolFull { used, max });
        }
        let (required, _) = self.required(state);
        let taken = state.taken.saturating_add(bytes);
        let after = required.saturating_add(taken);
        let is_much = required > 0 && taken >= LOOK_BYTES.min(required / LOOK_SHARE);
        let may_be_short = state.low.is_none() && (is_much || state.seen.free_bytes < after);
        if may_be_short || self.is_stale(state) {
            self.look(state);
        }
        if state.read_only {
            return Err(Shortage::ReadOnly);
        }
        if let Some(low) = state.low {
            return Err(low);
        }
        // One that would itself use up what must stay is refused; a smaller one is not.
        let free = state.seen.free_bytes;
        if free < required.saturating_add(bytes) {
            let min = required.saturating_add(bytes);
            return Err(Shortage::LowSpace { free, min });
        }
        Ok(())
    }

    fn is_stale(&self, state: &State) -> bool {
        self.env.clock.boot().saturating_sub(state.looked_at) >= LOOK_INTERVAL
    }

    /// Asks the file system.
    pub(super) fn look(&self, state: &mut State) {
        match look(&self.env, &self.layout) {
            Ok(seen) => state.seen = seen,
            Err(error) => {
                tracing::debug!(%error, "the file system does not say how much room it has")
            }
        }
        state.looked_at = self.env.clock.boot();
        state.taken = 0;
        self.judge(state);
    }

    /// What must be free: bytes, and files to be made.
    fn required(&self, state: &State) -> (u64, u64) {
        let total = state.seen.total_bytes;
        let mut bytes = self.limits.min_free.bytes(total).max(state.needed);
        if is_gone(state) {
            bytes = bytes.saturating_add(2 * self.ballast_bytes);
        }
        let inodes = match (self.limits.min_free, state.seen.free_inodes) {
            (_, None) => 0,
            (MinFree::Off, _) => state.needed_inodes,
            _ => MIN_FREE_INODES
                .min(state.seen.total_inodes / 20)
                .max(state.needed_inodes),
        };
        (bytes, inodes)
    }

    /// Decides from what was seen whether anything new is taken.
    fn judge(&self, state: &mut State) {
        if state.seen.read_only && !state.read_only {
            state.read_only = true;
            self.warn_read_only(state);
        }
        let (min, min_inodes) = self.required(state);
        let free = state.seen.free_bytes;
        // Once low, it is over only when there is a little more, so that it does not come and go.
        let over = if state.low.is_some() { min / 16 } else { 0 };
        let free_inodes = state.seen.free_inodes.unwrap_or(u64::MAX);
        let low = if is_gone(state) {
            Some(Shortage::NoBallast { free, min })
        } else if free < min.saturating_add(over) {
            let min = min.saturating_add(over);
            Some(Shortage::LowSpace { free, min })
        } else if free_inodes < min_inodes {
            Some(Shortage::LowInodes {
                free: free_inodes,
                min: min_inodes,
            })
        } else {
            None
        };
        if low.is_none() {
            (state.needed, state.needed_inodes) = (0, 0);
        }
        state.unrecorded &= free < RECORD_BYTES;
        let before = std::mem::replace(&mut state.low, low);
        match (before, low) {
            // Of that it was said already.
            (_, Some(Shortage::NoBallast { .. })) => state.told_low = true,
            (None, Some(low)) => {
                state.told_low = self.may_warn(&mut state.warned_low_at);
                if state.told_low {
                    tracing::warn!(
                        "nothing new is taken: {low}; nothing that was accepted is lost, delivery goes on"
                    );
                }
            }
            (Some(_), None) if std::mem::take(&mut state.told_low) => tracing::info!(
                free_bytes = free,
                "the file system of the spool has room again"
            ),
            _ => {}
        }
    }

    fn may_warn(&self, warned_at: &mut Option<Duration>) -> bool {
        let now = self.env.clock.boot();
        let may = warned_at.is_none_or(|at| now.saturating_sub(at) >= WARN_INTERVAL);
        if may {
            *warned_at = Some(now);
        }
        may
    }

    fn warn_read_only(&self, state: &mut State) {
        state.told_read_only = self.may_warn(&mut state.warned_read_only_at);
        if state.told_read_only {
            tracing::error!(
                "the file system of the spool is read-only: submissions are refused and deliveries held until \
                 it can be written again; nothing that was accepted is lost"
            );
        }
    }

    /// Finds out whether a disk that was read-only still is: by writing, while nobody waits for the account.
    fn probe(&self) -> bool {
        let written = self.write_probe();
        let refused = written.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem);
        let mut state = self.state();
        self.look(&mut state);
        if state.seen.read_only || refused {
            return true;
        }
        state.read_only = false;
        if std::mem::take(&mut state.told_read_only) {
            tracing::info!("the file system of the spool can be written again");
        }
        false
    }

    fn write_probe(&self) -> io::Result<()> {
        let (fs, path) = (&self.env.fs, self.layout.probe());
        match fs.unlink(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = fs.create_new(&path)?.write_all_at(b"?", 0);
        fs.unlink(&path)?;
        written
    }
}

/// What is assumed of a file system that does not answer: writing to it will tell.
const UNKNOWN: Space = Space {
    free_bytes: u64::MAX,
    total_bytes: 0,
    free_inodes: None,
    total_inodes: 0,
    read_only: false,
    kind: FsKind::Other,
};

fn look(env: &Env, layout: &Layout) -> io::Result<Space> {
    env.fs.space(layout.root())
}

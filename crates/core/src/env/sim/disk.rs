//! The simulated disk as tests see it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::{SimClock, SimEntropy, SplitMix};
use super::crash::{CrashStates, Limits, random_state};
use super::faults::{Fault, OpKind};
use super::image::Image;
use super::state::State;
use super::tree::Tree;
use crate::env::Env;

/// A simulated disk. Clones are the same disk.
///
/// Paths with and without a leading slash mean the same. The module's head says what is simulated.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SimDisk with {} pending of {} calls",
            self.pending_count(),
            self.op_count()
        )
    }
}

impl SimDisk {
    /// Makes an empty disk: a top directory and nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::from_state(State::new(Tree::new(), Vec::new()))
    }

    pub(super) fn from_state(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The surroundings with this disk, the given clock, and random bytes from the seed.
    #[must_use]
    pub fn env(&self, clock: &SimClock, seed: u64) -> Env {
        Env {
            fs: Arc::new(self.clone()),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SimEntropy::new(seed)),
        }
    }

    /// Creates a directory and its missing parents, durable at once. Not a call: neither counted nor logged.
    ///
    /// # Errors
    /// Where a file is in the way.
    pub fn mkdir_durable(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.lock().mkdir_durable(path.as_ref())
    }

    /// Makes everything durable, as `sync` does. Not a call.
    pub fn sync_all(&self) {
        self.lock().sync_all();
    }

    /// Makes reads show what a failed sync has lost, as when the kernel needs the memory of clean pages.
    pub fn evict_clean_pages(&self) {
        self.lock().evict_clean_pages();
    }

    /// What programs see now.
    #[must_use]
    pub fn live_image(&self) -> Image {
        let state = self.lock();
        state.image(&state.live)
    }

    /// What a power cut leaves for certain: the state in which everything pending is lost.
    #[must_use]
    pub fn durable_image(&self) -> Image {
        let state = self.lock();
        state.image(&state.durable)
    }

    /// Walks what a power cut now may leave. The disk goes on unharmed; the walk is of this moment.
    #[must_use]
    pub fn crash_states(&self, limits: &Limits) -> CrashStates {
        let state = self.lock();
        CrashStates::new(&state.durable, &state.pending, &state.freed, limits)
    }

    /// One thing that a power cut now may leave, by a seed: any subset of what is pending, any of it torn.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Image {
        let state = self.lock();
        random_state(
            &state.durable,
            &state.pending,
            &state.freed,
            &mut SplitMix(seed),
        )
    }

    /// How many operations are pending. A rename across directories counts twice.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.lock().pending.len()
    }

    /// The pending operations, one a line.
    #[must_use]
    pub fn pending_log(&self) -> String {
        self.lock()
            .pending
            .iter()
            .map(|item| format!("{item}\n"))
            .collect()
    }

    /// Makes the `nth` call of a kind fail, counted from 1 and from now, over all files. Several faults may
    /// be set; each counts on its own.
    pub fn fail_nth(&self, kind: OpKind, nth: u64, fault: Fault) {
        self.lock().gate.arm(kind, nth, fault);
    }

    /// Takes all faults away. A cut power and a set capacity stay.
    pub fn heal(&self) {
        self.lock().gate.heal();
    }

    /// How many calls faults have failed so far: whether a fault that was set has come due.
    #[must_use]
    pub fn faults_struck(&self) -> u64 {
        self.lock().gate.struck_count()
    }

    /// Limits the sum of all files' lengths, those unlinked but open included, or takes the limit away. A
    /// write past it writes what fits and fails with ENOSPC; `set_len` to a longer length fails; nothing is
    /// created, linked or made while no byte is free.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// Makes every change fail with EROFS, and what is written already stay: a file system that was remounted
    /// read-only. Syncs succeed: they have nothing to do.
    pub fn set_read_only(&self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    /// What the disk says of the files that can still be made. It makes them all the same.
    pub fn set_free_inodes(&self, count: Option<u64>) {
        self.lock().free_inodes = count;
    }

    /// The sum of all files' lengths, those unlinked but open included.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.lock().live.bytes_used()
    }

    /// Cuts the power after so many more mutating calls: then every call, reads too, does nothing and
    /// fails with [`io::ErrorKind::Other`], "power cut".
    pub fn power_cut_after(&self, count: u64) {
        self.lock().gate.cut_after(count);
    }

    /// Whether the power is cut.
    #[must_use]
    pub fn is_power_cut(&self) -> bool {
        self.lock().gate.is_cut()
    }

    /// How many mutating calls were made so far, failed ones included.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.lock().gate.mutating_count()
    }

    /// The mutating calls so far, one a line; a failed one with its error.
    #[must_use]
    pub fn op_log(&self) -> String {
        self.lock().gate.log()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

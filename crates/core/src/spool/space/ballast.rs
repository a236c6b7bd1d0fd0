//! Blocks that are kept for what must be written to a full disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::account::{SpoolSpace, State, TEND_INTERVAL};
use super::limits::SpaceLimits;
use crate::env::File;

/// The ballast is at most the so-manieth part of the file system.
const BALLAST_SHARE: u64 = 64;
/// So much of the ballast is written and synced at a time, so that no other sync has much to wait for.
const BALLAST_AT_ONCE: u64 = 1 << 20;
/// After it could not be made, it is tried again this much later.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Between two pieces.
const BALLAST_PAUSE: Duration = Duration::from_millis(10);

/// What became of it.
pub(super) enum Ballast {
    /// None is wanted.
    Off,
    /// It is not there and was not yet.
    Wanted,
    /// It is being made; anew, after it was given up.
    Making {
        file: Arc<dyn File>,
        written: u64,
        anew: bool,
    },
    /// It is there.
    Present,
    /// It was given up.
    Gone,
}

impl std::fmt::Debug for Ballast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Wanted => "Wanted",
            Self::Making { .. } => "Making",
            Self::Present => "Present",
            Self::Gone => "Gone",
        })
    }
}

impl SpoolSpace {
    /// What the ballast comes to where it is whole.
    #[must_use]
    pub fn ballast_bytes(&self) -> u64 {
        self.ballast_bytes
    }

    /// Gives the ballast up, for something that must be written and found no room. Says whether there was one.
    pub fn give_up_ballast(&self) -> bool {
        let mut state = self.state();
        if !matches!(state.ballast, Ballast::Present | Ballast::Making { .. }) {
            return false;
        }
        // A handle would keep the blocks.
        state.ballast = Ballast::Gone;
        let path = self.layout.ballast();
        if let Err(error) = self.env.fs.unlink(&path) {
            tracing::warn!(%error, path = %path.display(), "the ballast cannot be removed");
        }
        // Blocks may become free only when their release is on the medium. Nothing rests on this sync.
        if let Err(error) = self.env.fs.sync_dir(self.layout.root()) {
            tracing::debug!(%error, "the release of the ballast was not synced");
        }
        self.look(&mut state);
        tracing::warn!(
            free_bytes = state.seen.free_bytes,
            "the disk is full: the ballast is given up for what must be written; new submissions are refused \
             until it can be made again"
        );
        true
    }

    /// The ballast an earlier process left, where it is whole.
    pub(super) fn find_ballast(&self) -> Ballast {
        let (size, path) = (self.ballast_bytes, self.layout.ballast());
        let len = self.env.fs.open_read(&path).and_then(|file| file.len());
        match len {
            Ok(len) if len == size && size > 0 => return Ballast::Present,
            Ok(_) => self.remove_ballast(&path),
            Err(_) => {}
        }
        if size == 0 {
            Ballast::Off
        } else {
            Ballast::Wanted
        }
    }

    fn remove_ballast(&self, path: &Path) {
        if let Err(error) = self.env.fs.unlink(path) {
            tracing::debug!(%error, path = %path.display(), "not removed");
        }
    }

    /// Makes a piece of the ballast, where there is room to spare. Says when to make the next. Writes without the
    /// lock: submissions wait for that.
    pub(super) fn tend_ballast(&self) -> Option<Duration> {
        let mut state = self.state();
        let size = self.ballast_bytes;
        let anew = match state.ballast {
            Ballast::Off | Ballast::Present => return None,
            Ballast::Wanted => false,
            Ballast::Gone => true,
            Ballast::Making { anew, .. } => anew,
        };
        let (file, written) = match &state.ballast {
            Ballast::Making { file, written, .. } => (Arc::clone(file), *written),
            _ => {
                // Comfortably above what must stay free: that, the ballast, and as much again.
                let min = self.limits.min_free.bytes(state.seen.total_bytes);
                if state.seen.free_bytes < min.saturating_add(2 * size)
                    || self.env.clock.boot() < state.ballast_not_before
                {
                    return None;
                }
                let path = self.layout.ballast();
                self.remove_ballast(&path);
                match self.env.fs.create_new(&path) {
                    Ok(file) => (file, 0),
                    Err(error) => {
                        tracing::debug!(%error, "no ballast is made now");
                        return None;
                    }
                }
            }
        };
        state.ballast = Ballast::Making {
            file: Arc::clone(&file),
            written,
            anew,
        };
        drop(state);
        let made = self.write_piece(&*file, written, size);
        drop(file);
        let mut state = self.state();
        let Ballast::Making { written, .. } = &mut state.ballast else {
            // Given up meanwhile.
            return Some(TEND_INTERVAL);
        };
        *written = written.saturating_add(BALLAST_AT_ONCE);
        match made {
            Ok(()) if *written < size => return Some(BALLAST_PAUSE),
            Ok(()) => state.ballast = Ballast::Present,
            Err(error) => {
                tracing::debug!(%error, "the ballast could not be made");
                state.ballast_not_before = self.env.clock.boot() + RETRY_INTERVAL;
                state.ballast = if anew { Ballast::Gone } else { Ballast::Wanted };
                self.remove_ballast(&self.layout.ballast());
            }
        }
        self.look(&mut state);
        None
    }

    /// Random bytes, so that no file system makes less of them than they are.
    fn write_piece(&self, file: &dyn File, at: u64, size: u64) -> io::Result<()> {
        let len = BALLAST_AT_ONCE.min(size.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        self.env.entropy.fill(&mut bytes);
        file.write_all_at(&bytes, at)?;
        file.sync_data()
    }
}

/// What the ballast comes to on a file system of that size.
pub(super) fn ballast_bytes(limits: SpaceLimits, total: u64) -> u64 {
    limits.ballast_bytes.min(total / BALLAST_SHARE)
}

/// Whether it was given up, and is not there again.
pub(super) fn is_gone(state: &State) -> bool {
    matches!(
        state.ballast,
        Ballast::Gone | Ballast::Making { anew: true, .. }
    )
}

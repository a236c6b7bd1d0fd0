//! A batch directory: a spool with one queue, in a program of its own. Everything that reads a spool reads it, such as
//! `batchctl ls --spool DIR`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use batchd_frame::checksum::crc32c;
use batchd_frame::{BodyLimits, BodyView, encode_body};

use crate::env::Env;
use crate::error::FsError;
use crate::policy::{BYTES_MAX_MAX, Policy};
use crate::queue::{Commit, OPEN_BATCHES_MAX, QueueOptions};
use crate::spool::directory::make_durable;
use crate::spool::frames::BODY_BYTES_MAX;
use crate::spool::space::{MinFree, SpaceLimits, SpoolSpace};
use crate::spool::{Layout, LockedSpool, SpoolError};

/// So much of what is not items is in a body: the number of items, and the length of each.
const LIMITS: BodyLimits = BodyLimits {
    item_bytes_max: BYTES_MAX_MAX,
    items_max: u32::MAX as u64,
};

/// The longest item; also the most that the items of a group come to, each with its length.
pub(super) const ITEMS_BYTES_MAX: u64 = 16 << 20;
const _: () = assert!(ITEMS_BYTES_MAX < BODY_BYTES_MAX);

/// What a batch directory may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DirLimits {
    /// Most bytes of items; where it is left out, the smaller of 10 GiB and a tenth of the file system. Past it
    /// nothing is taken.
    pub max_bytes: Option<u64>,
    /// What must stay free on the file system.
    pub min_free: MinFree,
}

/// Why a batch directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirError {
    /// An I/O call failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It is in use, or of a newer program, or cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Batches that were open cannot be recovered: there is no room for copies of them, or a newer program wrote them.
    /// Nothing is begun that would come before them.
    #[error(
        "{0} batches of the run before cannot be recovered now: make room, or use the program that wrote them; the \
         log says which"
    )]
    NotRecovered(usize),
}

/// A batch directory, which this process alone may write.
#[derive(Debug)]
pub(super) struct BatchDir {
    pub(super) commit: Commit<usize>,
}

impl BatchDir {
    /// Opens a batch directory, and recovers what is in it; one that is not there is made, mode 0700, with what is
    /// missing above it. `queue` is the name of its only queue, `has_sink` whether its batches are delivered.
    ///
    /// # Errors
    /// [`DirError`].
    pub(super) fn open(
        env: &Env,
        path: &Path,
        queue: &'static str,
        limits: DirLimits,
        policy: Policy,
        has_sink: bool,
    ) -> Result<Self, DirError> {
        make_durable(&*env.fs, path)?;
        let holder = format!("a program that batches, pid {}\n", std::process::id());
        let spool = LockedSpool::open(env.clone(), Layout::new(path), &holder)?;
        let space = SpaceLimits {
            max_bytes: limits.max_bytes,
            min_free: limits.min_free,
            ballast_bytes: 0,
        };
        let options = QueueOptions {
            // A name that is one.
            name: queue.parse().unwrap_or_default(),
            policy,
            space: SpoolSpace::new(&spool, space),
            open_batches_max: OPEN_BATCHES_MAX,
            has_sink,
            // Its items carry no submission ids.
            producer_window: Duration::ZERO,
            pending_bytes: Arc::default(),
            events: None,
        };
        options.space.warn_of_medium(path);
        let commit = Commit::open(&spool, options)?;
        match commit.left_behind() {
            0 => Ok(Self { commit }),
            left => Err(DirError::NotRecovered(left)),
        }
    }
}

/// The body of some encoded items, with its checksum, as the spool takes it.
pub(super) struct Body {
    bytes: Vec<u8>,
    items: u32,
    pub(super) crc: u32,
}

impl Body {
    /// Of items one after another in `encoded`, which end at `ends`.
    pub(super) fn of(encoded: &[u8], ends: &[usize]) -> Self {
        let mut bytes = Vec::with_capacity(encoded.len() + 5 * ends.len() + 16);
        let mut start = 0;
        let items = ends.iter().map(|end| {
            let item = encoded.get(start..*end).unwrap_or_default();
            start = *end;
            item
        });
        encode_body(None, items, &mut bytes);
        Self {
            crc: crc32c(&bytes),
            items: u32::try_from(ends.len()).unwrap_or(u32::MAX),
            bytes,
        }
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, walked; nothing where it holds more than a body can, or is longer than what is read back.
    pub(super) fn view(&self) -> Option<BodyView<'_>> {
        let fits = self.bytes.len() as u64 <= BODY_BYTES_MAX;
        fits.then(|| BodyView::parse(&self.bytes, self.items, LIMITS).ok())?
    }
}

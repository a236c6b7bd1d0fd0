//! What bounds a spool, and what can be short.

/// `max_bytes` where nobody says: this, or a tenth of the file system.
pub const SPOOL_BYTES_MAX: u64 = 10 << 30;
/// `min_free` where nobody says: this, or a twentieth of the file system.
const MIN_FREE_BYTES: u64 = 1 << 30;

/// How much must stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinFree {
    /// The smaller of 1 GiB and 5 % of the file system.
    #[default]
    Default,
    /// Nothing.
    Off,
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the file system.
    Percent(u8),
}

impl MinFree {
    /// The same in bytes, on a file system of that size.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Default => MIN_FREE_BYTES.min(total / 20),
            Self::Off => 0,
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (total / 100).saturating_mul(percent.into()),
        }
    }
}

/// What bounds a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceLimits {
    /// Most bytes of items; where it is left out, the smaller of 10 GiB and a tenth of the file system.
    pub max_bytes: Option<u64>,
    /// What must stay free on the file system.
    pub min_free: MinFree,
    /// Bytes of the ballast; 0 for none. It is never more than a 64th of the file system.
    pub ballast_bytes: u64,
}

/// Why the spool takes nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortage {
    /// It holds as much as it may.
    #[error(
        "the spool holds {used} bytes of items, of the {max} it may (`max_bytes` of [spool]): \
         wait for deliveries, or raise it"
    )]
    SpoolFull {
        /// What it holds.
        used: u64,
        /// What it may hold.
        max: u64,
    },
    /// The file system has too little left.
    #[error(
        "the file system of the spool is full: {free} bytes are free, and {min} must be (see `min_free`): \
         make room, or wait for deliveries"
    )]
    LowSpace {
        /// What is free.
        free: u64,
        /// What must be.
        min: u64,
    },
    /// The file system can hold hardly any more files.
    #[error(
        "the file system of the spool is full: {free} more files can be made, and {min} must be: \
         remove some"
    )]
    LowInodes {
        /// How many can still be made.
        free: u64,
        /// How many must be.
        min: u64,
    },
    /// The ballast is gone and was not made again.
    #[error(
        "the file system of the spool was full: {free} bytes are free, and {min} must be before anything \
         new is taken: make room, or wait for deliveries"
    )]
    NoBallast {
        /// What is free.
        free: u64,
        /// What must be.
        min: u64,
    },
    /// Nothing can be written.
    #[error("the file system of the spool is read-only")]
    ReadOnly,
}

/// How the spool stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceView {
    /// Bytes of items in it.
    pub used_bytes: u64,
    /// What they may come to.
    pub max_bytes: u64,
    /// What the file system has left.
    pub free_bytes: u64,
    /// What must be left.
    pub min_free_bytes: u64,
    /// Why nothing is taken now, if that is so. A spool that is full takes what is small enough.
    pub shortage: Option<Shortage>,
}

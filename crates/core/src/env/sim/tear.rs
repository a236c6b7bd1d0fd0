//! Torn writes: which sectors reached the disk, and what is in the place of the others.

use std::fmt;
use std::sync::Arc;

use super::clock::mix;
use super::content::{Content, SECTOR_BYTES};

/// What of a torn write reached the disk.
#[derive(Debug, Clone)]
pub(super) struct Tear {
    pub(super) kept: Kept,
    pub(super) fill: Fill,
}

/// Which sectors of a torn write are there. Sectors are those of the file, numbered from the write's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The first so many.
    First(usize),
    /// All from this one on.
    From(usize),
    /// All but this one.
    AllBut(usize),
    /// Any, by a seed.
    Random(u64),
}

/// What is in the place of a missing sector that was not durable before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Nothing: the file ends with the last sector that is there.
    Short,
    /// The length is that of the whole write, and there are zeros.
    Zeros,
    /// The length is that of the whole write, and there are the bytes of this freed file.
    Stale(usize),
}

impl Tear {
    /// Applies what a torn write left. `durable_len` is how long the file was for certain: stale bytes are never
    /// below it.
    pub(super) fn apply(
        &self,
        content: &mut Content,
        offset: usize,
        bytes: &[u8],
        durable_len: usize,
        freed: &[Arc<Content>],
    ) {
        let end = offset + bytes.len();
        if self.fill != Fill::Short && content.len() < end {
            content.set_len(end);
        }
        for sector in 0..sector_count(offset, bytes.len()) {
            let sector_start = (offset / SECTOR_BYTES + sector) * SECTOR_BYTES;
            let from = sector_start.max(offset);
            let to = (sector_start + SECTOR_BYTES).min(end);
            if self.kept.keeps(sector) {
                content.write(
                    from,
                    bytes.get(from - offset..to - offset).unwrap_or_default(),
                );
            } else if let Fill::Stale(file) = self.fill {
                let from = from.max(durable_len).min(to);
                content.write(
                    from,
                    freed
                        .get(file)
                        .map(|old| overlap(old, from, to))
                        .unwrap_or_default(),
                );
            }
        }
    }
}

impl Kept {
    pub(super) fn keeps(self, sector: usize) -> bool {
        match self {
            Self::First(count) => sector < count,
            Self::From(first) => sector >= first,
            Self::AllBut(missing) => sector != missing,
            Self::Random(seed) => mix(seed ^ mix(sector as u64)) & 1 == 1,
        }
    }
}

impl fmt::Display for Tear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kept {
            Kept::First(count) => write!(f, "first {count} sectors")?,
            Kept::From(first) => write!(f, "sectors from {first} on")?,
            Kept::AllBut(missing) => write!(f, "all but sector {missing}")?,
            Kept::Random(seed) => write!(f, "sectors by seed {seed:#x}")?,
        }
        match self.fill {
            Fill::Short => write!(f, ", cut there"),
            Fill::Zeros => write!(f, ", else zeros"),
            Fill::Stale(file) => write!(f, ", else stale bytes {file}"),
        }
    }
}

/// How many sectors of the file a write touches.
pub(super) fn sector_count(offset: usize, len: usize) -> usize {
    if len == 0 {
        0
    } else {
        (offset + len - 1) / SECTOR_BYTES - offset / SECTOR_BYTES + 1
    }
}

/// The bytes of a freed file in this range, as far as it went.
pub(super) fn overlap(old: &Content, from: usize, to: usize) -> &[u8] {
    old.bytes().get(from..to.min(old.len())).unwrap_or_default()
}

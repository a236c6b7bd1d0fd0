//! The decision, as a table: exactly one row fits any facts, and a test walks them all.

use batchd_frame::{Seal, SealReason};

use super::facts::{Facts, Header, Name, Tail};

/// What is done with the file as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original {
    /// It is replaced by the copy, or deleted; nothing in it is missed.
    Forget,
    /// As above, but the non-zero bytes past the good frames are kept in quarantine.
    KeepTorn,
    /// It is linked into quarantine first.
    Link,
    /// It is moved to quarantine.
    Quarantine,
    /// It stays where it is, untouched.
    Park,
}

/// What becomes of the good frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// There are none, or they stay in the original.
    None,
    /// Copied; the batch is filled further.
    Reopen,
    /// Copied and sealed: it was not the last of its key, or said that it ends.
    Seal,
    /// Copied with their seal.
    KeepSeal,
    /// Copied and sealed as damaged.
    SealDamaged,
    /// Copied, sealed as damaged and set aside: the key is lost.
    Dead,
}

impl Frames {
    /// Why their copy is sealed, where it is. `found` is the seal of the original.
    #[must_use]
    pub fn seal_reason(self, found: Option<&Seal>) -> Option<SealReason> {
        match self {
            Self::None | Self::Reopen => None,
            Self::Seal => Some(SealReason::Recovery),
            Self::KeepSeal => Some(found.map_or(SealReason::Recovery, |seal| seal.reason)),
            Self::SealDamaged | Self::Dead => Some(SealReason::Damaged),
        }
    }
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The file.
    pub original: Original,
    /// Its frames.
    pub frames: Frames,
}

/// One row: what is found, and what is decided.
pub struct Row {
    /// What is found, as in `docs/durability.md`.
    pub found: &'static str,
    fits: fn(&Facts) -> bool,
    decision: Decision,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Row({:?} -> {:?})", self.found, self.decision)
    }
}

const fn row(
    found: &'static str,
    fits: fn(&Facts) -> bool,
    original: Original,
    frames: Frames,
) -> Row {
    Row {
        found,
        fits,
        decision: Decision { original, frames },
    }
}

/// A batch file of this program and queue, not in `ready/` or `dead/` too.
fn ours(f: &Facts) -> bool {
    f.name == Name::Batch
        && !f.elsewhere
        && !f.newer_frame
        && !matches!(f.header, Header::Newer | Header::Foreign)
}

/// One of ours with frames to keep under a good header, or damaged past it.
fn good(f: &Facts, tail: Tail) -> bool {
    ours(f) && f.header == Header::Good && f.items && f.tail == tail
}

fn closed(f: &Facts) -> bool {
    f.end_of_batch || !f.highest
}

/// The table.
pub const TABLE: [Row; 18] = [
    row(
        "a file that was being written",
        |f| f.name == Name::Temporary,
        Original::Forget,
        Frames::None,
    ),
    row(
        "not a batch file, or not readable",
        |f| f.name == Name::Other,
        Original::Quarantine,
        Frames::None,
    ),
    row(
        "the same batch in ready/ or dead/",
        |f| f.name == Name::Batch && f.elsewhere,
        Original::Quarantine,
        Frames::None,
    ),
    row(
        "a header or frame of a newer program",
        |f| f.name == Name::Batch && !f.elsewhere && (f.newer_frame || f.header == Header::Newer),
        Original::Park,
        Frames::None,
    ),
    row(
        "a good header of another queue",
        |f| f.name == Name::Batch && !f.elsewhere && !f.newer_frame && f.header == Header::Foreign,
        Original::Quarantine,
        Frames::None,
    ),
    row(
        "empty or zeros, or a header and no items",
        |f| {
            ours(f)
                && (f.header == Header::Zero
                    || (f.header == Header::Good && !f.items && f.tail == Tail::Clean))
        },
        Original::Forget,
        Frames::None,
    ),
    row(
        "a header and torn bytes, no good items before them",
        |f| ours(f) && f.header == Header::Good && !f.items && f.tail == Tail::Torn,
        Original::KeepTorn,
        Frames::None,
    ),
    row(
        "a header and damage, no good items",
        |f| ours(f) && f.header == Header::Good && !f.items && f.tail == Tail::Damaged,
        Original::Quarantine,
        Frames::None,
    ),
    row(
        "a good seal at the end",
        |f| good(f, Tail::Clean) && f.seal,
        Original::Forget,
        Frames::KeepSeal,
    ),
    row(
        "a good seal and torn bytes behind it",
        |f| good(f, Tail::Torn) && f.seal,
        Original::KeepTorn,
        Frames::KeepSeal,
    ),
    row(
        "good frames to the end",
        |f| good(f, Tail::Clean) && !f.seal && !closed(f),
        Original::Forget,
        Frames::Reopen,
    ),
    row(
        "good frames to the end of a batch that takes no more",
        |f| good(f, Tail::Clean) && !f.seal && closed(f),
        Original::Forget,
        Frames::Seal,
    ),
    row(
        "good frames and a torn tail",
        |f| good(f, Tail::Torn) && !f.seal && !closed(f),
        Original::KeepTorn,
        Frames::Reopen,
    ),
    row(
        "good frames and a torn tail of a batch that takes no more",
        |f| good(f, Tail::Torn) && !f.seal && closed(f),
        Original::KeepTorn,
        Frames::Seal,
    ),
    row(
        "damage below what was synced",
        |f| good(f, Tail::Damaged),
        Original::Link,
        Frames::SealDamaged,
    ),
    row(
        "a bad header, good frames and their seal",
        |f| synced_without_header(f) && f.seal,
        Original::Link,
        Frames::SealDamaged,
    ),
    row(
        "a bad header and good frames, but no seal: the key is lost",
        |f| synced_without_header(f) && !f.seal,
        Original::Link,
        Frames::Dead,
    ),
    row(
        "a bad header, and no good items that were known synced",
        |f| ours(f) && f.header == Header::Bad && !synced_without_header(f),
        Original::Quarantine,
        Frames::None,
    ),
];

fn synced_without_header(f: &Facts) -> bool {
    ours(f) && f.header == Header::Bad && f.tail == Tail::Damaged && f.items
}

/// The decision for these facts.
#[must_use]
pub fn decide(facts: &Facts) -> Decision {
    let row = TABLE.iter().find(|row| (row.fits)(facts));
    // The test below shows that there is always one; what fits none is set aside rather than lost.
    row.map_or(
        Decision {
            original: Original::Quarantine,
            frames: Frames::None,
        },
        |r| r.decision,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Facts> {
        let flags = || [false, true].into_iter();
        let mut all = Vec::new();
        for name in [Name::Batch, Name::Temporary, Name::Other] {
            for header in [
                Header::Zero,
                Header::Good,
                Header::Foreign,
                Header::Bad,
                Header::Newer,
            ] {
                for tail in [Tail::Clean, Tail::Torn, Tail::Damaged] {
                    for items in flags() {
                        for seal in flags() {
                            for end_of_batch in flags() {
                                for newer_frame in flags() {
                                    for highest in flags() {
                                        for elsewhere in flags() {
                                            all.push(Facts {
                                                name,
                                                header,
                                                items,
                                                tail,
                                                seal,
                                                end_of_batch,
                                                newer_frame,
                                                highest,
                                                elsewhere,
                                            });
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn exactly_one_row_fits_any_facts() {
        let all = all();
        assert_eq!(all.len(), 3 * 5 * 3 * 64);
        for facts in all {
            let fitting: Vec<_> = TABLE.iter().filter(|row| (row.fits)(&facts)).collect();
            assert_eq!(fitting.len(), 1, "{facts:?}: {fitting:?}");
        }
    }

    #[test]
    fn nothing_with_acknowledged_items_is_forgotten() {
        for facts in all() {
            let decision = decide(&facts);
            if facts.name == Name::Batch && facts.items && facts.header != Header::Zero {
                assert!(
                    decision.original != Original::Forget || decision.frames != Frames::None,
                    "{facts:?}"
                );
            }
        }
    }
}

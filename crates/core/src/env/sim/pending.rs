//! Operations that a power cut may undo, and how a subset of them is applied.

use std::fmt;
use std::sync::Arc;

use super::content::Content;
use super::tear::Tear;
use super::tree::{InodeId, Tree};

pub(super) type OpId = u64;

/// One operation that is not durable yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) id: OpId,
    pub(super) op: Op,
    /// Operations without which this one must not take effect.
    pub(super) needs: Vec<OpId>,
    /// The path it was made by, for messages.
    pub(super) path: Arc<str>,
}

/// What an operation changes. Names are given with the inode they lead to, so that each can tell whether it
/// still makes sense.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Bytes of a file.
    Write {
        inode: InodeId,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    /// The length of a file.
    SetLen { inode: InodeId, len: usize },
    /// A new name: create, link, mkdir.
    Add {
        verb: &'static str,
        dir: InodeId,
        name: Arc<str>,
        inode: InodeId,
    },
    /// A name gone.
    Remove {
        dir: InodeId,
        name: Arc<str>,
        inode: InodeId,
    },
    /// A rename inside one directory.
    Rename {
        dir: InodeId,
        from: Arc<str>,
        to: Arc<str>,
        inode: InodeId,
    },
    /// The new name of a rename across directories.
    Arrive {
        dir: InodeId,
        name: Arc<str>,
        inode: InodeId,
    },
    /// The end of the old name of a rename across directories.
    Leave {
        dir: InodeId,
        name: Arc<str>,
        inode: InodeId,
    },
}

impl Op {
    /// The file whose contents this changes.
    pub(super) fn data_of(&self) -> Option<InodeId> {
        match self {
            Self::Write { inode, .. } | Self::SetLen { inode, .. } => Some(*inode),
            _ => None,
        }
    }

    /// The directory whose names this changes.
    pub(super) fn names_of(&self) -> Option<InodeId> {
        self.named().map(|(dir, _)| dir)
    }

    /// The directory and inode of a name, where this changes one.
    pub(super) fn named(&self) -> Option<(InodeId, InodeId)> {
        match self {
            Self::Write { .. } | Self::SetLen { .. } => None,
            Self::Add { dir, inode, .. }
            | Self::Remove { dir, inode, .. }
            | Self::Rename { dir, inode, .. }
            | Self::Arrive { dir, inode, .. }
            | Self::Leave { dir, inode, .. } => Some((*dir, *inode)),
        }
    }

    /// The names this changes, each with its directory.
    fn keys(&self) -> [Option<(InodeId, &str)>; 2] {
        match self {
            Self::Write { .. } | Self::SetLen { .. } => [None, None],
            Self::Add { dir, name, .. }
            | Self::Remove { dir, name, .. }
            | Self::Arrive { dir, name, .. }
            | Self::Leave { dir, name, .. } => [Some((*dir, name)), None],
            Self::Rename { dir, from, to, .. } => [Some((*dir, from)), Some((*dir, to))],
        }
    }

    /// The name that a rename takes away, and the inode it moves.
    fn moves(&self) -> Option<(InodeId, &str, InodeId)> {
        match self {
            Self::Rename {
                dir, from, inode, ..
            } => Some((*dir, from, *inode)),
            Self::Leave { dir, name, inode } => Some((*dir, name, *inode)),
            _ => None,
        }
    }

    /// What a rename would replace on this tree: the name and its inode, given as [`Self::moves`] gives them.
    fn replaces(&self, tree: &Tree) -> Option<(InodeId, &str, InodeId)> {
        let (dir, name) = match self {
            Self::Rename { dir, to, .. } => (*dir, to),
            Self::Arrive { dir, name, .. } => (*dir, name),
            _ => return None,
        };
        Some((dir, name, tree.child(dir, name)?))
    }

    fn shares_name(&self, other: &Self) -> bool {
        let others = other.keys();
        self.keys()
            .into_iter()
            .flatten()
            .any(|key| others.contains(&Some(key)))
    }

    fn changes_name(&self, dir: InodeId, name: &str) -> bool {
        self.keys().contains(&Some((dir, name)))
    }

    /// Applies the operation. False where it makes no sense on this tree, which is then as it was.
    pub(super) fn apply(&self, tree: &mut Tree) -> bool {
        match self {
            Self::Write {
                inode,
                offset,
                bytes,
            } => tree
                .content_mut(*inode)
                .map(|content| content.write(*offset, bytes))
                .is_some(),
            Self::SetLen { inode, len } => tree
                .content_mut(*inode)
                .map(|content| content.set_len(*len))
                .is_some(),
            Self::Add {
                dir, name, inode, ..
            } => tree.child(*dir, name).is_none() && tree.set_name(*dir, name, *inode),
            Self::Remove { dir, name, inode } | Self::Leave { dir, name, inode } => {
                tree.remove_name(*dir, name, *inode)
            }
            Self::Rename {
                dir,
                from,
                to,
                inode,
            } => tree.remove_name(*dir, from, *inode) && tree.set_name(*dir, to, *inode),
            Self::Arrive { dir, name, inode } => tree.set_name(*dir, name, *inode),
        }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.op {
            Op::Write { offset, bytes, .. } => write!(f, "write {path} {offset}+{}", bytes.len()),
            Op::SetLen { len, .. } => write!(f, "set_len {path} {len}"),
            Op::Add { verb, .. } => write!(f, "{verb} {path}"),
            Op::Remove { .. } => write!(f, "unlink {path}"),
            Op::Rename { to, .. } => write!(f, "rename {path} -> {to}"),
            Op::Arrive { .. } => write!(f, "rename to {path}"),
            Op::Leave { .. } => write!(f, "rename from {path}"),
        }
    }
}

/// Takes out of `pending` what `wanted` picks and what must become durable before it: what it needs, and
/// earlier operations on the same names.
pub(super) fn take_closed(
    pending: &mut Vec<Pending>,
    mut wanted: impl FnMut(&Pending) -> bool,
) -> Vec<Pending> {
    let mut taken: Vec<Pending> = Vec::new();
    let mut left: Vec<Pending> = Vec::new();
    // Whatever must come first has a lower index, so one pass from the end finds all.
    for candidate in std::mem::take(pending).into_iter().rev() {
        let is_before = |later: &Pending| {
            later.needs.contains(&candidate.id) || later.op.shares_name(&candidate.op)
        };
        if wanted(&candidate) || taken.iter().any(is_before) {
            taken.push(candidate);
        } else {
            left.push(candidate);
        }
    }
    taken.reverse();
    left.reverse();
    *pending = left;
    taken
}

/// The same for all operations on one name.
pub(super) fn take_name(pending: &mut Vec<Pending>, dir: InodeId, name: &str) -> Vec<Pending> {
    take_closed(pending, |candidate| candidate.op.changes_name(dir, name))
}

/// What a power cut left: the durable tree, the chosen operations in order, some of them torn, and nothing
/// that no name leads to.
pub(super) fn apply_subset(
    durable: &Tree,
    pending: &[Pending],
    chosen: &[bool],
    tears: &[(usize, Tear)],
    freed: &[Arc<Content>],
) -> Tree {
    let mut tree = durable.clone();
    let mut undone: Vec<&Pending> = Vec::new();
    for (index, (item, chosen)) in pending.iter().zip(chosen).enumerate() {
        let tear = tears
            .iter()
            .find(|(torn, _)| *torn == index)
            .map(|(_, tear)| tear);
        // A file that a lost rename has not moved away must not be replaced by a later one.
        let replaced = item.op.replaces(&tree);
        let is_barred = |before: &&Pending| {
            item.needs.contains(&before.id) || (replaced.is_some() && before.op.moves() == replaced)
        };
        let applies = *chosen && !undone.iter().any(is_barred);
        let done = applies
            && match (&item.op, tear) {
                (
                    Op::Write {
                        inode,
                        offset,
                        bytes,
                    },
                    Some(tear),
                ) => {
                    let durable_len = durable.content(*inode).map_or(0, |content| content.len());
                    tree.content_mut(*inode).is_some_and(|content| {
                        tear.apply(content, *offset, bytes, durable_len, freed);
                        true
                    })
                }
                (op, _) => op.apply(&mut tree),
            };
        if !done {
            undone.push(item);
        }
    }
    tree.prune();
    tree
}

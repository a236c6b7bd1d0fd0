//! The disk as data: what is live, what is durable, and what lies between.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::content::Content;
use super::faults::{
    Call, EBADF, EEXIST, EFBIG, EISDIR, ENOSPC, ENOTDIR, EROFS, Gate, Leaves, errno,
};
use super::image::Image;
use super::pending::{Op, OpId, Pending, take_closed, take_name};
use super::tree::{InodeId, Node, ROOT, Tree, label};

/// How many freed contents are remembered, to appear as stale bytes.
const FREED_COUNT_MAX: usize = 4;
/// The longest file, in bytes: a slip of a test must not eat the machine's memory.
const FILE_BYTES_MAX: usize = 1 << 30;

/// How a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Exclusive,
    Shared,
}

/// Everything a disk knows. Methods do what the call of the same name does, and are not gated.
#[derive(Debug)]
pub(super) struct State {
    pub(super) live: Tree,
    pub(super) durable: Tree,
    pub(super) pending: Vec<Pending>,
    /// Contents of freed inodes and of ends cut off, the latest first.
    pub(super) freed: Vec<Arc<Content>>,
    pub(super) gate: Gate,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) free_inodes: Option<u64>,
    pub(super) read_only: bool,
    handle_counts: BTreeMap<InodeId, usize>,
    /// How many share the lock of a file; none where it is held exclusively.
    locks: BTreeMap<InodeId, usize>,
    next_inode: InodeId,
    next_op: OpId,
}

impl State {
    pub(super) fn new(tree: Tree, freed: Vec<Arc<Content>>) -> Self {
        let next_inode = tree.inodes().max().unwrap_or(ROOT) + 1;
        Self {
            live: tree.clone(),
            durable: tree,
            pending: Vec::new(),
            freed,
            gate: Gate::default(),
            capacity_bytes: None,
            free_inodes: None,
            read_only: false,
            handle_counts: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_inode,
            next_op: 0,
        }
    }

    /// Makes one call: through the gate, then `run`. Where the gate refuses, `leaves` does what the failed
    /// call does all the same.
    pub(super) fn call<T>(
        &mut self,
        call: Call,
        leaves: impl FnOnce(&mut Self, Leaves),
        run: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let is_logged = call.kind.is_mutating() && !self.gate.is_cut();
        let is_barred = self.read_only && call.kind.is_change();
        let result = match self.gate.begin(call) {
            Ok(()) if is_barred => Err(errno(EROFS)),
            Ok(()) => run(self),
            Err(refusal) => {
                leaves(self, refusal.leaves);
                Err(refusal.error)
            }
        };
        if let Err(error) = &result
            && is_logged
        {
            self.gate.note_failure(error);
        }
        result
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<InodeId> {
        let (dir, name) = self.free_name(path)?;
        self.add(dir, name, Node::File(Arc::default()), "create", path)
    }

    pub(super) fn mkdir(&mut self, path: &Path) -> io::Result<()> {
        if self
            .live
            .find(path)
            .is_ok_and(|inode| self.live.names(inode).is_some())
        {
            return Ok(());
        }
        let (dir, name) = self.free_name(path)?;
        self.add(dir, name, Node::Dir(Arc::default()), "mkdir", path)
            .map(|_| ())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find_file(from)?;
        let (dir, name) = self.free_name(to)?;
        self.live.set_name(dir, &name, inode);
        self.record(
            Op::Add {
                verb: "link",
                dir,
                name,
                inode,
            },
            Vec::new(),
            to,
        );
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find_file(path)?;
        let (dir, name) = self.live.locate(path)?;
        self.live.remove_name(dir, &name, inode);
        self.record(Op::Remove { dir, name, inode }, Vec::new(), path);
        self.free_if_unused(inode);
        Ok(())
    }

    /// Renames. As POSIX has it, nothing happens where both names lead to the same file.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.live.find(from)?;
        let (from_dir, from_name) = self.live.locate(from)?;
        let (to_dir, to_name) = self.live.locate(to)?;
        let replaced = self.live.child(to_dir, &to_name);
        if replaced == Some(inode) {
            return Ok(());
        }
        if replaced.is_some() && self.live.names(inode).is_some() {
            return Err(errno(ENOTDIR));
        }
        if replaced.is_some_and(|replaced| self.live.names(replaced).is_some()) {
            return Err(errno(EISDIR));
        }
        self.live.remove_name(from_dir, &from_name, inode);
        self.live.set_name(to_dir, &to_name, inode);
        if from_dir == to_dir {
            let op = Op::Rename {
                dir: from_dir,
                from: from_name,
                to: to_name,
                inode,
            };
            self.record(op, Vec::new(), from);
        } else {
            let mut needs = self.pending_mkdirs(to_dir);
            needs.push(self.record(
                Op::Arrive {
                    dir: to_dir,
                    name: to_name,
                    inode,
                },
                Vec::new(),
                to,
            ));
            self.record(
                Op::Leave {
                    dir: from_dir,
                    name: from_name,
                    inode,
                },
                needs,
                from,
            );
        }
        if let Some(replaced) = replaced {
            self.free_if_unused(replaced);
        }
        Ok(())
    }

    /// Writes what there is room for; an error where that is not all.
    pub(super) fn write(
        &mut self,
        inode: InodeId,
        bytes: &[u8],
        offset: u64,
        path: &Arc<str>,
    ) -> io::Result<()> {
        let offset = position(offset)?;
        let end = position(offset.saturating_add(bytes.len()) as u64)?;
        let len = self.len(inode)?;
        let room = len.saturating_add(self.room()).max(offset);
        let fitting = bytes.get(..room - offset).unwrap_or(bytes);
        if !fitting.is_empty() {
            let op = Op::Write {
                inode,
                offset,
                bytes: Arc::from(fitting),
            };
            op.apply(&mut self.live);
            self.record_at(op, Vec::new(), Arc::clone(path));
        }
        if end > room {
            Err(errno(ENOSPC))
        } else {
            Ok(())
        }
    }

    pub(super) fn set_len(&mut self, inode: InodeId, len: u64, path: &Arc<str>) -> io::Result<()> {
        let len = position(len)?;
        let old = Arc::clone(self.live.content(inode).ok_or_else(|| errno(EBADF))?);
        if len > old.len().saturating_add(self.room()) {
            return Err(errno(ENOSPC));
        }
        if len < old.len() {
            self.remember_freed(old);
        }
        let op = Op::SetLen { inode, len };
        op.apply(&mut self.live);
        self.record_at(op, Vec::new(), Arc::clone(path));
        Ok(())
    }

    pub(super) fn sync_data(&mut self, inode: InodeId) {
        for item in self
            .pending
            .extract_if(.., |item| item.op.data_of() == Some(inode))
        {
            item.op.apply(&mut self.durable);
        }
    }

    /// What a failed sync leaves: pages that count as clean, of which only the first bytes became durable.
    pub(super) fn lose_pages(&mut self, inode: InodeId, kept_bytes: usize) {
        let mut budget = kept_bytes;
        for item in self
            .pending
            .extract_if(.., |item| item.op.data_of() == Some(inode))
        {
            if budget == 0 {
                continue;
            }
            match &item.op {
                Op::Write { offset, bytes, .. } => {
                    let kept = bytes.get(..budget).unwrap_or(bytes);
                    if let Some(content) = self.durable.content_mut(inode) {
                        content.write(*offset, kept);
                    }
                    budget -= kept.len();
                }
                op => {
                    op.apply(&mut self.durable);
                }
            }
        }
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.live.find(path)?;
        self.live.names(dir).ok_or_else(|| errno(ENOTDIR))?;
        let taken = take_closed(&mut self.pending, |item| item.op.names_of() == Some(dir));
        self.settle(taken);
        self.forget_unreachable();
        Ok(())
    }

    /// Makes everything durable, as `sync` does.
    pub(super) fn sync_all(&mut self) {
        let taken = std::mem::take(&mut self.pending);
        self.settle(taken);
        self.forget_unreachable();
    }

    /// Creates a directory and its parents, at once and for certain.
    pub(super) fn mkdir_durable(&mut self, path: &Path) -> io::Result<()> {
        let mut so_far = std::path::PathBuf::new();
        for component in path.components() {
            so_far.push(component);
            let Ok((dir, name)) = self.live.locate(&so_far) else {
                continue;
            };
            self.mkdir(&so_far)?;
            let taken = take_name(&mut self.pending, dir, &name);
            self.settle(taken);
        }
        self.live.find(path).map(|_| ())
    }

    /// Makes every file read as it would once its clean pages were dropped from memory.
    pub(super) fn evict_clean_pages(&mut self) {
        let files: Vec<InodeId> = self
            .live
            .inodes()
            .filter(|inode| self.live.content(*inode).is_some())
            .collect();
        for inode in files {
            if let Some(content) = self.durable.content(inode) {
                self.live
                    .insert_node(inode, Node::File(Arc::clone(content)));
            }
        }
        for item in self
            .pending
            .iter()
            .filter(|item| item.op.data_of().is_some())
        {
            item.op.apply(&mut self.live);
        }
    }

    pub(super) fn image(&self, tree: &Tree) -> Image {
        let mut tree = tree.clone();
        tree.prune();
        Image::new(tree, self.freed.clone(), None)
    }

    pub(super) fn len(&self, inode: InodeId) -> io::Result<usize> {
        self.live
            .content(inode)
            .map(|content| content.len())
            .ok_or_else(|| errno(EBADF))
    }

    /// The inode of a file that exists.
    pub(super) fn find_file(&self, path: &Path) -> io::Result<InodeId> {
        let inode = self.live.find(path)?;
        self.live.content(inode).ok_or_else(|| errno(EISDIR))?;
        Ok(inode)
    }

    /// Notes one more handle. With `lock`: false where another holds the lock.
    pub(super) fn open_handle(&mut self, inode: InodeId, lock: Option<Lock>) -> bool {
        match (lock, self.locks.get_mut(&inode)) {
            (None, _) => {}
            (Some(Lock::Exclusive), None) => drop(self.locks.insert(inode, 0)),
            (Some(Lock::Shared), None) => drop(self.locks.insert(inode, 1)),
            (Some(Lock::Shared), Some(sharers)) if *sharers > 0 => *sharers += 1,
            (Some(_), Some(_)) => return false,
        }
        *self.handle_counts.entry(inode).or_default() += 1;
        true
    }

    pub(super) fn close_handle(&mut self, inode: InodeId, lock: Option<Lock>) {
        if lock.is_some()
            && let Some(sharers) = self.locks.get_mut(&inode)
        {
            *sharers = sharers.saturating_sub(1);
            if *sharers == 0 {
                self.locks.remove(&inode);
            }
        }
        if let Some(count) = self.handle_counts.get_mut(&inode) {
            *count -= 1;
            if *count == 0 {
                self.handle_counts.remove(&inode);
                self.free_if_unused(inode);
            }
        }
    }

    /// Where a new name goes, if it may.
    fn free_name(&self, path: &Path) -> io::Result<(InodeId, Arc<str>)> {
        let (dir, name) = self.live.locate(path)?;
        if self.live.child(dir, &name).is_some() {
            return Err(errno(EEXIST));
        }
        if self.room() == 0 {
            return Err(errno(ENOSPC));
        }
        Ok((dir, name))
    }

    fn add(
        &mut self,
        dir: InodeId,
        name: Arc<str>,
        node: Node,
        verb: &'static str,
        path: &Path,
    ) -> io::Result<InodeId> {
        let inode = self.next_inode;
        self.next_inode += 1;
        // The inode is there at once in both states. In the durable one no name leads to it yet.
        self.live.insert_node(inode, node.clone());
        self.durable.insert_node(inode, node);
        self.live.set_name(dir, &name, inode);
        self.record(
            Op::Add {
                verb,
                dir,
                name,
                inode,
            },
            Vec::new(),
            path,
        );
        Ok(inode)
    }

    fn record(&mut self, op: Op, needs: Vec<OpId>, path: &Path) -> OpId {
        self.record_at(op, needs, label(path))
    }

    fn record_at(&mut self, op: Op, needs: Vec<OpId>, path: Arc<str>) -> OpId {
        let id = self.next_op;
        self.next_op += 1;
        self.pending.push(Pending {
            id,
            op,
            needs,
            path,
        });
        id
    }

    /// The pending creation of this directory and of those above it.
    fn pending_mkdirs(&self, mut dir: InodeId) -> Vec<OpId> {
        let mut ids = Vec::new();
        for item in self.pending.iter().rev() {
            if let Op::Add {
                dir: parent, inode, ..
            } = item.op
                && inode == dir
            {
                ids.push(item.id);
                dir = parent;
            }
        }
        ids
    }

    fn settle(&mut self, taken: Vec<Pending>) {
        for item in taken {
            item.op.apply(&mut self.durable);
        }
    }

    /// How many more bytes fit on the disk.
    pub(super) fn room(&self) -> usize {
        self.capacity_bytes.map_or(usize::MAX, |capacity| {
            let room = capacity.saturating_sub(self.live.bytes_used());
            usize::try_from(room).unwrap_or(usize::MAX)
        })
    }

    /// Frees a file that no name and no handle leads to.
    fn free_if_unused(&mut self, inode: InodeId) {
        if self.handle_counts.contains_key(&inode) || self.live.is_named(inode) {
            return;
        }
        if let Some(content) = self.live.content(inode).cloned() {
            self.remember_freed(content);
        }
        self.live.remove_node(inode);
    }

    fn remember_freed(&mut self, content: Arc<Content>) {
        if content.len() > 0 {
            self.freed.insert(0, content);
            self.freed.truncate(FREED_COUNT_MAX);
        }
    }

    /// Drops inodes that nothing can lead to any more, and what is pending for them.
    fn forget_unreachable(&mut self) {
        let mut roots: Vec<InodeId> = self.live.inodes().collect();
        roots.push(ROOT);
        for item in &self.pending {
            roots.extend(
                item.op
                    .named()
                    .into_iter()
                    .flat_map(|(dir, inode)| [dir, inode]),
            );
        }
        let keep = self.durable.reachable(roots);
        self.pending
            .retain(|item| item.op.data_of().is_none_or(|inode| keep.contains(&inode)));
        self.durable.retain(&keep);
    }
}

/// An offset or length as an index, if a file may be that long.
fn position(value: u64) -> io::Result<usize> {
    usize::try_from(value)
        .ok()
        .filter(|value| *value <= FILE_BYTES_MAX)
        .ok_or_else(|| errno(EFBIG))
}

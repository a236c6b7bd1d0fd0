//! Inodes and names: one state of the disk, cheap to clone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::clock::mix;
use super::content::Content;
use super::faults::{EISDIR, ENOENT, ENOTDIR, errno};

pub(super) type InodeId = u64;
pub(super) type Names = BTreeMap<Arc<str>, InodeId>;

/// The top directory, which always exists.
pub(super) const ROOT: InodeId = 0;

/// What an inode is.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Arc<Content>),
    Dir(Arc<Names>),
}

/// One state of the disk. Inodes are apart from names: one may have none, or several.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: Arc<BTreeMap<InodeId, Node>>,
}

impl Tree {
    /// An empty disk.
    pub(super) fn new() -> Self {
        Self {
            nodes: Arc::new(BTreeMap::from([(ROOT, Node::Dir(Arc::default()))])),
        }
    }

    /// Follows a path to an inode.
    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        self.follow(&split(path)?)
    }

    /// Follows a path up to its last name, and returns the directory and that name.
    pub(super) fn locate(&self, path: &Path) -> io::Result<(InodeId, Arc<str>)> {
        let parts = split(path)?;
        let (name, parents) = parts
            .split_last()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the top directory"))?;
        let dir = self.follow(parents)?;
        self.names(dir).ok_or_else(|| errno(ENOTDIR))?;
        Ok((dir, Arc::from(*name)))
    }

    fn follow(&self, parts: &[&str]) -> io::Result<InodeId> {
        let mut inode = ROOT;
        for part in parts {
            let names = self.names(inode).ok_or_else(|| errno(ENOTDIR))?;
            inode = *names.get(*part).ok_or_else(|| errno(ENOENT))?;
        }
        Ok(inode)
    }

    pub(super) fn names(&self, dir: InodeId) -> Option<&Names> {
        match self.nodes.get(&dir) {
            Some(Node::Dir(names)) => Some(names),
            _ => None,
        }
    }

    pub(super) fn child(&self, dir: InodeId, name: &str) -> Option<InodeId> {
        self.names(dir)?.get(name).copied()
    }

    pub(super) fn content(&self, inode: InodeId) -> Option<&Arc<Content>> {
        match self.nodes.get(&inode) {
            Some(Node::File(content)) => Some(content),
            _ => None,
        }
    }

    /// The contents behind a path.
    pub(super) fn content_at(&self, path: &Path) -> io::Result<&Arc<Content>> {
        self.content(self.find(path)?).ok_or_else(|| errno(EISDIR))
    }

    /// The contents of a file, to change.
    pub(super) fn content_mut(&mut self, inode: InodeId) -> Option<&mut Content> {
        match Arc::make_mut(&mut self.nodes).get_mut(&inode) {
            Some(Node::File(content)) => Some(Arc::make_mut(content)),
            _ => None,
        }
    }

    pub(super) fn inodes(&self) -> impl Iterator<Item = InodeId> + '_ {
        self.nodes.keys().copied()
    }

    /// Adds an inode, or replaces what it is. It has no name yet.
    pub(super) fn insert_node(&mut self, inode: InodeId, node: Node) {
        Arc::make_mut(&mut self.nodes).insert(inode, node);
    }

    pub(super) fn remove_node(&mut self, inode: InodeId) {
        Arc::make_mut(&mut self.nodes).remove(&inode);
    }

    /// Names an inode, replacing what had the name. False where there is no such directory.
    pub(super) fn set_name(&mut self, dir: InodeId, name: &Arc<str>, inode: InodeId) -> bool {
        self.names_mut(dir)
            .map(|names| names.insert(Arc::clone(name), inode))
            .is_some()
    }

    /// Takes a name away from an inode. False where the name does not lead to it.
    pub(super) fn remove_name(&mut self, dir: InodeId, name: &str, inode: InodeId) -> bool {
        self.child(dir, name) == Some(inode)
            && self
                .names_mut(dir)
                .and_then(|names| names.remove(name))
                .is_some()
    }

    fn names_mut(&mut self, dir: InodeId) -> Option<&mut Names> {
        match Arc::make_mut(&mut self.nodes).get_mut(&dir) {
            Some(Node::Dir(names)) => Some(Arc::make_mut(names)),
            _ => None,
        }
    }

    /// Whether any directory names this inode.
    pub(super) fn is_named(&self, inode: InodeId) -> bool {
        self.nodes.values().any(|node| match node {
            Node::Dir(names) => names.values().any(|named| *named == inode),
            Node::File(_) => false,
        })
    }

    /// The sum of the lengths of all files, named or not.
    pub(super) fn bytes_used(&self) -> u64 {
        self.nodes.values().fold(0, |sum, node| match node {
            Node::File(content) => sum + content.len() as u64,
            Node::Dir(_) => sum,
        })
    }

    /// All inodes that names lead to from the given ones, and those themselves.
    pub(super) fn reachable(&self, mut from: Vec<InodeId>) -> BTreeSet<InodeId> {
        let mut seen = BTreeSet::new();
        while let Some(inode) = from.pop() {
            if seen.insert(inode)
                && let Some(names) = self.names(inode)
            {
                from.extend(names.values());
            }
        }
        seen
    }

    /// Forgets all inodes but these.
    pub(super) fn retain(&mut self, keep: &BTreeSet<InodeId>) {
        if self.nodes.keys().any(|inode| !keep.contains(inode)) {
            Arc::make_mut(&mut self.nodes).retain(|inode, _| keep.contains(inode));
        }
    }

    /// Forgets all inodes that no name leads to.
    pub(super) fn prune(&mut self) {
        let keep = self.reachable(vec![ROOT]);
        self.retain(&keep);
    }

    /// Visits every name below the top directory in order: the path without a leading slash, and the inode.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&str, InodeId)) {
        self.walk_dir(ROOT, &mut String::new(), visit);
    }

    fn walk_dir(&self, dir: InodeId, path: &mut String, visit: &mut dyn FnMut(&str, InodeId)) {
        let len = path.len();
        for (name, inode) in self.names(dir).into_iter().flatten() {
            if len > 0 {
                path.push('/');
            }
            path.push_str(name);
            visit(path, *inode);
            self.walk_dir(*inode, path, visit);
            path.truncate(len);
        }
    }

    /// The same for trees with equal names, links and contents, whatever their inodes are numbered.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut sum = 0;
        let mut seen = BTreeMap::new();
        self.fold_dir(ROOT, &mut sum, &mut seen);
        sum
    }

    fn fold_dir(&self, dir: InodeId, sum: &mut u64, seen: &mut BTreeMap<InodeId, u64>) {
        for (name, inode) in self.names(dir).into_iter().flatten() {
            fold_name(sum, name);
            let count = seen.len() as u64;
            fold(sum, *seen.entry(*inode).or_insert(count));
            match self.content(*inode) {
                Some(content) => fold(sum, content.fingerprint()),
                None => self.fold_dir(*inode, sum, seen),
            }
        }
        fold(sum, u64::MAX);
    }
}

fn fold(sum: &mut u64, value: u64) {
    *sum = mix(sum.rotate_left(5) ^ mix(value));
}

fn fold_name(sum: &mut u64, name: &str) {
    fold(sum, name.len() as u64);
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    for word in words {
        fold(sum, u64::from_le_bytes(*word));
    }
    for byte in rest {
        fold(sum, u64::from(*byte));
    }
}

/// The names in a path. One that is relative starts at the top, too.
fn split(path: &Path) -> io::Result<Vec<&str>> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => match name.to_str() {
                Some(name) => parts.push(name),
                None => return refuse("a name that is not UTF-8"),
            },
            Component::ParentDir | Component::Prefix(_) => return refuse("a path with `..`"),
        }
    }
    Ok(parts)
}

/// A path as the logs show it: without a leading slash.
pub(super) fn label(path: &Path) -> Arc<str> {
    Arc::from(path.to_string_lossy().trim_start_matches('/'))
}

//! What lies on a disk that is switched off.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::content::Content;
use super::crash::Origin;
use super::disk::SimDisk;
use super::faults::{EISDIR, ENOTDIR, errno};
use super::state::State;
use super::tree::{Node, Tree};

/// The state of a disk that is switched off: everything in it is durable. Cheap to clone.
///
/// It can be looked at, damaged, and started from. Paths are listed without a leading slash and taken with
/// or without.
#[derive(Clone)]
pub struct Image {
    tree: Tree,
    freed: Vec<Arc<Content>>,
    origin: Option<Origin>,
}

impl Image {
    pub(super) fn new(tree: Tree, freed: Vec<Arc<Content>>, origin: Option<Origin>) -> Self {
        Self {
            tree,
            freed,
            origin,
        }
    }

    /// Starts a fresh disk from the image: everything durable, nothing pending, no locks, no faults.
    #[must_use]
    pub fn to_disk(&self) -> SimDisk {
        let mut tree = self.tree.clone();
        tree.prune();
        SimDisk::from_state(State::new(tree, self.freed.clone()))
    }

    /// What the power cut did, for messages: each operation that was pending, and what became of it.
    #[must_use]
    pub fn origin(&self) -> String {
        self.origin
            .as_ref()
            .map_or_else(|| "no crash\n".to_owned(), Origin::to_string)
    }

    /// The same for images with equal names, links and contents, also of different disks.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.tree.fingerprint()
    }

    /// The paths of all files, in order.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.paths(true)
    }

    /// The paths of all directories but the top one, in order.
    #[must_use]
    pub fn dirs(&self) -> Vec<String> {
        self.paths(false)
    }

    fn paths(&self, files: bool) -> Vec<String> {
        let mut paths = Vec::new();
        self.tree.walk(&mut |path, inode| {
            if self.tree.content(inode).is_some() == files {
                paths.push(path.to_owned());
            }
        });
        paths
    }

    /// Whether a file or directory is there.
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.tree.find(path.as_ref()).is_ok()
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// As a file system would: no such file, a directory.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        Ok(self.tree.content_at(path.as_ref())?.bytes().to_vec())
    }

    /// Replaces the bytes of a file, under all its names, or adds a file to an existing directory.
    ///
    /// # Errors
    /// As a file system would.
    pub fn write(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        let path = path.as_ref();
        let (dir, name) = self.tree.locate(path)?;
        let inode = match self.tree.child(dir, &name) {
            Some(inode) => {
                self.tree.content(inode).ok_or_else(|| errno(EISDIR))?;
                inode
            }
            None => self.tree.inodes().max().unwrap_or_default() + 1,
        };
        self.tree
            .insert_node(inode, Node::File(Arc::new(Content::new(bytes.into()))));
        self.tree.set_name(dir, &name, inode);
        Ok(())
    }

    /// Gives a file another name, replacing what had it. The directory of the new name must exist.
    ///
    /// # Errors
    /// As a file system would.
    pub fn rename(&mut self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        self.tree.content_at(from.as_ref())?;
        let (from_dir, from_name) = self.tree.locate(from.as_ref())?;
        let (to_dir, to_name) = self.tree.locate(to.as_ref())?;
        let inode = self.tree.find(from.as_ref())?;
        if self
            .tree
            .child(to_dir, &to_name)
            .is_some_and(|at| self.tree.names(at).is_some())
        {
            return Err(errno(EISDIR));
        }
        self.tree.remove_name(from_dir, &from_name, inode);
        self.tree.set_name(to_dir, &to_name, inode);
        Ok(())
    }

    /// Removes a name, be it of a file or of a directory with all it holds.
    ///
    /// # Errors
    /// As a file system would.
    pub fn remove(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let inode = self.tree.find(path.as_ref())?;
        let (dir, name) = self.tree.locate(path.as_ref())?;
        self.tree.remove_name(dir, &name, inode);
        Ok(())
    }

    /// Adds a directory to an existing one; one that exists is success.
    ///
    /// # Errors
    /// As a file system would.
    pub fn mkdir(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = self.tree.locate(path.as_ref())?;
        if let Some(inode) = self.tree.child(dir, &name) {
            return self
                .tree
                .names(inode)
                .map(|_| ())
                .ok_or_else(|| errno(ENOTDIR));
        }
        let inode = self.tree.inodes().max().unwrap_or_default() + 1;
        self.tree.insert_node(inode, Node::Dir(Arc::default()));
        self.tree.set_name(dir, &name, inode);
        Ok(())
    }
}

impl PartialEq for Image {
    /// By [`Image::fingerprint`].
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

impl Eq for Image {}

impl fmt::Display for Image {
    /// Every path a line: a directory with a slash, a file with its length in bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        self.tree.walk(&mut |path, inode| {
            lines.push_str(&match self.tree.content(inode) {
                Some(content) => format!("{path} {}\n", content.len()),
                None => format!("{path}/\n"),
            });
        });
        f.write_str(&lines)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}{}", self.origin())
    }
}

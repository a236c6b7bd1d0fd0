//! The files that the recording speaks of: what is in them, and what of that is on the medium.
//!
//! It believes in no more than what a sync promises. Bytes are on the medium when a sync of their file was
//! entered after their write returned, and returned without an error; a name, when the same is true of its
//! directory. What was there before the recording began counts as durable. A rename is taken to be atomic: a
//! file whose former name was durable is found under one of both.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::log::Moment;

/// A file, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(usize);

/// What a descriptor stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file that was made since the recording began.
    File(FileId),
    /// A directory, or what was there before.
    Other(PathBuf),
}

/// A file.
#[derive(Debug)]
pub struct File {
    /// Its name, or the last one it had.
    pub path: PathBuf,
    /// When the call that made it was entered.
    pub made: Moment,
    /// What is in it.
    pub content: Vec<u8>,
    /// Whether a name that leads to it is on the medium.
    pub is_named: bool,
    /// Whether it was removed.
    pub is_removed: bool,
    /// Whether a sync of it failed.
    pub sync_failed: bool,
    /// Syncs of it that have not returned.
    pub syncs_under_way: usize,
    unsynced: Vec<Unsynced>,
}

#[derive(Debug)]
struct Unsynced {
    start: u64,
    end: u64,
    since: Moment,
}

impl File {
    /// How far all that is in it is on the medium.
    #[must_use]
    pub fn synced_to(&self) -> u64 {
        let first = self.unsynced.iter().map(|range| range.start).min();
        first.unwrap_or(self.content.len() as u64)
    }

    /// Whether all that is in it is on the medium.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    fn write(&mut self, offset: u64, bytes: &[u8], now: Moment) {
        let end = offset + bytes.len() as u64;
        let (from, to) = (place(offset), place(end));
        if self.content.len() < to {
            self.content.resize(to, 0);
        }
        if let Some(target) = self.content.get_mut(from..to) {
            target.copy_from_slice(bytes);
        }
        self.unsynced.push(Unsynced {
            start: offset,
            end,
            since: now,
        });
    }

    fn cut(&mut self, length: u64) {
        self.content.resize(place(length), 0);
        self.unsynced.retain(|range| range.start < length);
        for range in &mut self.unsynced {
            range.end = range.end.min(length);
        }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[derive(Debug)]
struct Name {
    /// Nothing for a directory.
    file: Option<FileId>,
    made: Moment,
    is_durable: bool,
}

#[derive(Debug)]
struct Descriptor {
    node: Node,
    position: u64,
    appends: bool,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// It is made where it is not there.
    pub create: bool,
    /// It is emptied.
    pub truncate: bool,
    /// Writes go to its end.
    pub append: bool,
}

/// A sync that ended well.
#[derive(Debug, PartialEq, Eq)]
pub enum Synced {
    /// Of a file.
    File(FileId),
    /// Of a directory: the files whose names are durable since.
    Directory(Vec<FileId>),
}

/// All files.
#[derive(Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    names: HashMap<PathBuf, Name>,
    descriptors: HashMap<i64, Descriptor>,
    /// By thread.
    syncs: HashMap<u32, (Node, Moment)>,
}

impl Disk {
    /// A file.
    #[must_use]
    pub fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0)
    }

    /// The file of that name.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<FileId> {
        self.names.get(path)?.file
    }

    /// What a descriptor stands for.
    #[must_use]
    pub fn node(&self, descriptor: i64) -> Option<&Node> {
        Some(&self.descriptors.get(&descriptor)?.node)
    }

    /// The file a descriptor stands for.
    #[must_use]
    pub fn opened(&self, descriptor: i64) -> Option<FileId> {
        match self.node(descriptor)? {
            Node::File(id) => Some(*id),
            Node::Other(_) => None,
        }
    }

    /// Whether a file would be found after a power cut: its name is durable, and so are those of the directories
    /// on the way to it.
    #[must_use]
    pub fn is_reachable(&self, id: FileId) -> bool {
        self.file(id).is_some_and(|file| {
            let way = file.path.ancestors().skip(1);
            let mut made = way.filter_map(|directory| self.names.get(directory));
            file.is_named && !file.is_removed && made.all(|name| name.is_durable)
        })
    }

    /// A file was opened; the call was entered at `entered`.
    pub fn open(&mut self, descriptor: i64, path: PathBuf, flags: OpenFlags, entered: Moment) {
        let node = match self.find(&path) {
            Some(id) => Node::File(id),
            None if flags.create => Node::File(self.make(&path, entered)),
            None => Node::Other(path),
        };
        if let Node::File(id) = node
            && flags.truncate
            && let Some(file) = self.files.get_mut(id.0)
        {
            file.cut(0);
        }
        let (position, appends) = (0, flags.append);
        let opened = Descriptor {
            node,
            position,
            appends,
        };
        self.descriptors.insert(descriptor, opened);
    }

    fn make(&mut self, path: &Path, entered: Moment) -> FileId {
        let id = FileId(self.files.len());
        self.files.push(File {
            path: path.to_owned(),
            made: entered,
            content: Vec::new(),
            is_named: false,
            is_removed: false,
            sync_failed: false,
            syncs_under_way: 0,
            unsynced: Vec::new(),
        });
        let name = Name {
            file: Some(id),
            made: entered,
            is_durable: false,
        };
        self.names.insert(path.to_owned(), name);
        id
    }

    /// A descriptor is closed.
    pub fn close(&mut self, descriptor: i64) {
        self.descriptors.remove(&descriptor);
    }

    /// Bytes were written, at an offset or where the descriptor stands. Returns the file and where.
    pub fn write(
        &mut self,
        descriptor: i64,
        offset: Option<u64>,
        bytes: &[u8],
        now: Moment,
    ) -> Option<(FileId, u64)> {
        let opened = self.descriptors.get_mut(&descriptor)?;
        let Node::File(id) = opened.node else {
            return None;
        };
        let file = self.files.get_mut(id.0)?;
        let at = match offset {
            Some(offset) => offset,
            None if opened.appends => file.content.len() as u64,
            None => opened.position,
        };
        if offset.is_none() {
            opened.position = at + bytes.len() as u64;
        }
        file.write(at, bytes, now);
        Some((id, at))
    }

    /// A file was cut, or made longer.
    pub fn set_length(&mut self, id: FileId, length: u64) {
        if let Some(file) = self.files.get_mut(id.0) {
            file.cut(length);
        }
    }

    /// A sync was entered.
    pub fn begin_sync(&mut self, thread: u32, descriptor: i64, now: Moment) {
        let Some(node) = self.node(descriptor).cloned() else {
            return;
        };
        if let Node::File(id) = node
            && let Some(file) = self.files.get_mut(id.0)
        {
            file.syncs_under_way += 1;
        }
        self.syncs.insert(thread, (node, now));
    }

    /// It returned.
    pub fn end_sync(&mut self, thread: u32, is_ok: bool) -> Option<Synced> {
        let (node, entered) = self.syncs.remove(&thread)?;
        match node {
            Node::File(id) => {
                let file = self.files.get_mut(id.0)?;
                file.syncs_under_way -= 1;
                file.sync_failed |= !is_ok;
                if !is_ok {
                    return None;
                }
                file.unsynced.retain(|range| range.since >= entered);
                Some(Synced::File(id))
            }
            Node::Other(_) if !is_ok => None,
            Node::Other(path) => Some(Synced::Directory(self.sync_directory(&path, entered))),
        }
    }

    fn sync_directory(&mut self, path: &Path, entered: Moment) -> Vec<FileId> {
        let mut found = Vec::new();
        for (name, entry) in &mut self.names {
            if name.parent() != Some(path) || entry.is_durable || entry.made >= entered {
                continue;
            }
            entry.is_durable = true;
            if let Some(id) = entry.file {
                if let Some(file) = self.files.get_mut(id.0) {
                    file.is_named = true;
                }
                found.push(id);
            }
        }
        found
    }

    /// Whether this very name of a file is durable, and not only a former one.
    #[must_use]
    pub fn is_name_durable(&self, path: &Path) -> bool {
        self.names.get(path).is_none_or(|name| name.is_durable)
    }

    /// A directory was made.
    pub fn make_directory(&mut self, path: PathBuf, now: Moment) {
        let name = Name {
            file: None,
            made: now,
            is_durable: false,
        };
        self.names.insert(path, name);
    }

    /// A file was renamed.
    pub fn rename(&mut self, from: &Path, to: &Path, now: Moment) {
        let Some(mut name) = self.names.remove(from) else {
            return;
        };
        if let Some(file) = name.file.and_then(|id| self.files.get_mut(id.0)) {
            file.path = to.to_owned();
        }
        (name.made, name.is_durable) = (now, false);
        if let Some(replaced) = self.names.insert(to.to_owned(), name) {
            self.remove_file(replaced.file);
        }
    }

    /// A name was removed.
    pub fn unlink(&mut self, path: &Path) {
        if let Some(name) = self.names.remove(path) {
            self.remove_file(name.file);
        }
    }

    fn remove_file(&mut self, file: Option<FileId>) {
        if let Some(file) = file.and_then(|id| self.files.get_mut(id.0)) {
            file.is_removed = true;
        }
    }
}

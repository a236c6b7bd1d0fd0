//! The simulated disk as programs see it: the calls of a file system.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::SimDisk;
use super::faults::{Call, Detail, EAGAIN, EBADF, ENOTDIR, Leaves, OpKind, errno};
use super::state::{Lock, State};
use super::tree::{InodeId, label};
use crate::env::{DirEntry, File, Fs, FsKind, Space};

impl SimDisk {
    fn call<T>(
        &self,
        kind: OpKind,
        path: &Path,
        detail: Detail,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.lock().call(
            Call {
                kind,
                path: label(path),
                detail,
            },
            |_, _| (),
            run,
        )
    }

    /// Opens what `find` finds or makes.
    fn open_with(
        &self,
        kind: OpKind,
        path: &Path,
        mode: Mode,
        find: impl FnOnce(&mut State) -> io::Result<InodeId>,
    ) -> io::Result<Arc<dyn File>> {
        let inode = self.call(kind, path, Detail::None, |state| {
            let inode = find(state)?;
            if state.open_handle(inode, mode.lock()) {
                Ok(inode)
            } else {
                Err(errno(EAGAIN))
            }
        })?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
            path: label(path),
            mode,
        }))
    }
}

impl Fs for SimDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open_with(OpKind::Create, path, Mode::Writable, |state| {
            state.create(path)
        })
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open_with(OpKind::Open, path, Mode::Writable, |state| {
            state.find_file(path)
        })
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open_with(OpKind::Open, path, Mode::ReadOnly, |state| {
            state.find_file(path)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(OpKind::Rename, from, Detail::To(label(to)), |state| {
            state.rename(from, to)
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(OpKind::Link, from, Detail::To(label(to)), |state| {
            state.link(from, to)
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::Unlink, path, Detail::None, |state| {
            state.unlink(path)
        })
    }

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::Mkdir, path, Detail::None, |state| state.mkdir(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(OpKind::List, path, Detail::None, |state| {
            let dir = state.live.find(path)?;
            let names = state.live.names(dir).ok_or_else(|| errno(ENOTDIR))?;
            let entry = |(name, inode): (&Arc<str>, &InodeId)| DirEntry {
                name: name.to_string(),
                is_dir: state.live.names(*inode).is_some(),
            };
            Ok(names.iter().map(entry).collect())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(OpKind::SyncDir, path, Detail::None, |state| {
            state.sync_dir(path)
        })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let state = self.lock();
        state.live.find(path)?;
        Ok(Space {
            free_bytes: state.room() as u64,
            total_bytes: state.capacity_bytes.unwrap_or(u64::MAX),
            free_inodes: state.free_inodes,
            total_inodes: state.free_inodes.map_or(0, |_| 1 << 20),
            read_only: state.read_only,
            kind: FsKind::Other,
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if self.lock().live.find(path).is_ok() {
            self.open_with(OpKind::Open, path, Mode::Locked, |state| {
                state.find_file(path)
            })
        } else {
            self.open_with(OpKind::Create, path, Mode::Locked, |state| {
                state.create(path)
            })
        }
    }

    fn try_lock_shared(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open_with(OpKind::Open, path, Mode::LockShared, |state| {
            state.find_file(path)
        })
    }
}

/// What a handle may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    ReadOnly,
    Writable,
    /// Writable, and holding the lock.
    Locked,
    /// Read-only, and sharing the lock.
    LockShared,
}

impl Mode {
    fn lock(self) -> Option<Lock> {
        match self {
            Self::ReadOnly | Self::Writable => None,
            Self::Locked => Some(Lock::Exclusive),
            Self::LockShared => Some(Lock::Shared),
        }
    }

    fn is_read_only(self) -> bool {
        matches!(self, Self::ReadOnly | Self::LockShared)
    }
}

/// An open file. It keeps its inode, whatever becomes of the name.
struct SimFile {
    disk: SimDisk,
    inode: InodeId,
    path: Arc<str>,
    mode: Mode,
}

impl SimFile {
    fn call<T>(
        &self,
        kind: OpKind,
        detail: Detail,
        leaves: impl FnOnce(&mut State, Leaves),
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.mode.is_read_only() && matches!(kind, OpKind::Write | OpKind::SetLen) {
            return Err(errno(EBADF));
        }
        self.disk.lock().call(
            Call {
                kind,
                path: Arc::clone(&self.path),
                detail,
            },
            leaves,
            run,
        )
    }
}

impl File for SimFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.call(
            OpKind::Write,
            Detail::Range {
                offset,
                len: bytes.len(),
            },
            |state, leaves| {
                let written = bytes.get(..leaves.written_bytes).unwrap_or(bytes);
                // The call fails in any case, and with the error that was asked for.
                state
                    .write(self.inode, written, offset, &self.path)
                    .unwrap_or_default();
            },
            |state| state.write(self.inode, bytes, offset, &self.path),
        )
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(
            OpKind::Read,
            Detail::None,
            |_, _| (),
            |state| {
                let content = state.live.content(self.inode).ok_or_else(|| errno(EBADF))?;
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let bytes = content.bytes().get(from..).unwrap_or_default();
                let count = bytes.len().min(buf.len());
                if let (Some(to), Some(from)) = (buf.get_mut(..count), bytes.get(..count)) {
                    to.copy_from_slice(from);
                }
                Ok(count)
            },
        )
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let run = |state: &mut State| state.set_len(self.inode, len, &self.path);
        self.call(OpKind::SetLen, Detail::Len(len), |_, _| (), run)
    }

    fn len(&self) -> io::Result<u64> {
        self.call(
            OpKind::Len,
            Detail::None,
            |_, _| (),
            |state| Ok(state.len(self.inode)? as u64),
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(
            OpKind::SyncData,
            Detail::None,
            |state, leaves| {
                if let Some(kept_bytes) = leaves.pages_kept_bytes {
                    state.lose_pages(self.inode, kept_bytes);
                }
            },
            |state| {
                state.sync_data(self.inode);
                Ok(())
            },
        )
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.lock().close_handle(self.inode, self.mode.lock());
    }
}

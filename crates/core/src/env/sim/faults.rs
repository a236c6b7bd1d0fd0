//! What goes wrong while the disk runs: failing calls and the power; and the record of the calls.

use std::fmt;
use std::io;
use std::sync::Arc;

/// The errno of a failing medium.
pub const EIO: i32 = 5;
/// The errno of a full disk.
pub const ENOSPC: i32 = 28;

/// The errno of a file system that is mounted read-only.
pub const EROFS: i32 = 30;

pub(super) const ENOENT: i32 = 2;
pub(super) const EBADF: i32 = 9;
pub(super) const EAGAIN: i32 = 11;
pub(super) const EEXIST: i32 = 17;
pub(super) const ENOTDIR: i32 = 20;
pub(super) const EISDIR: i32 = 21;
pub(super) const EFBIG: i32 = 27;

pub(super) fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// `write_all_at`.
    Write,
    /// `set_len`.
    SetLen,
    /// `sync_data`.
    SyncData,
    /// `sync_dir`.
    SyncDir,
    /// `create_new`, and `try_lock` where it creates the file.
    Create,
    /// `rename`.
    Rename,
    /// `link`.
    Link,
    /// `unlink`.
    Unlink,
    /// `mkdir`, of a directory that exists as well.
    Mkdir,
    /// `read_at`.
    Read,
    /// `open`, `open_read`, and `try_lock` of a file that exists.
    Open,
    /// `read_dir`.
    List,
    /// `len`.
    Len,
    /// In [`SimDisk::fail_nth`](super::SimDisk::fail_nth): each kind that is mutating.
    Any,
}

impl OpKind {
    /// Whether such calls change the disk, or what is durable on it: those are counted and logged.
    #[must_use]
    pub fn is_mutating(self) -> bool {
        !matches!(self, Self::Read | Self::Open | Self::List | Self::Len)
    }

    /// Whether such calls change what programs see: a read-only disk refuses them.
    pub(super) fn is_change(self) -> bool {
        self.is_mutating() && !matches!(self, Self::SyncData | Self::SyncDir | Self::Mkdir)
    }

    fn matches(self, kind: Self) -> bool {
        self == kind || (self == Self::Any && kind.is_mutating())
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::SetLen => "set_len",
            Self::SyncData => "sync_data",
            Self::SyncDir => "sync_dir",
            Self::Create => "create",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::Read => "read",
            Self::Open => "open",
            Self::List => "list",
            Self::Len => "len",
            Self::Any => "any",
        }
    }
}

/// How a call fails.
#[derive(Debug, Clone)]
pub struct Fault {
    errno: i32,
    lasting: bool,
    leaves: Leaves,
    path_part: String,
}

/// What a failed call has done all the same.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Leaves {
    /// Of a write: how many bytes.
    pub(super) written_bytes: usize,
    /// Of a `sync_data` that lost the pages: how many bytes became durable first.
    pub(super) pages_kept_bytes: Option<usize>,
}

impl Fault {
    /// Fails one call with this errno. Without more, the call changes nothing: what a failed sync was to
    /// make durable stays pending.
    #[must_use]
    pub fn once(errno: i32) -> Self {
        Self {
            errno,
            lasting: false,
            leaves: Leaves::default(),
            path_part: String::new(),
        }
    }

    /// Fails that call and all later ones of its kind, until [`SimDisk::heal`](super::SimDisk::heal).
    #[must_use]
    pub fn from_then_on(errno: i32) -> Self {
        Self {
            lasting: true,
            ..Self::once(errno)
        }
    }

    /// Lets a write write so many of its bytes before it fails; of a lasting fault, the first write only.
    #[must_use]
    pub fn after_bytes(mut self, bytes: usize) -> Self {
        self.leaves.written_bytes = bytes;
        self
    }

    /// Makes a failed `sync_data` leave clean pages: what was pending of that file is pending no more, and
    /// only its first `kept_bytes` bytes, in the order they were written, have become durable.
    #[must_use]
    pub fn losing_pages(mut self, kept_bytes: usize) -> Self {
        self.leaves.pages_kept_bytes = Some(kept_bytes);
        self
    }

    /// Counts only calls whose path contains this; of a rename or link, the old path. A file's path is the
    /// one that it was opened by.
    #[must_use]
    pub fn only_in(mut self, path_part: &str) -> Self {
        path_part.clone_into(&mut self.path_part);
        self
    }
}

/// A call that is about to be made.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) kind: OpKind,
    pub(super) path: Arc<str>,
    pub(super) detail: Detail,
}

/// The arguments of a call, for the log.
#[derive(Debug)]
pub(super) enum Detail {
    None,
    Range { offset: u64, len: usize },
    Len(u64),
    To(Arc<str>),
}

/// Why a call must not be made as it is.
pub(super) struct Refusal {
    pub(super) error: io::Error,
    pub(super) leaves: Leaves,
}

/// Stands before every call: counts it, logs it, and says whether it fails.
#[derive(Debug, Default)]
pub(super) struct Gate {
    armed: Vec<Armed>,
    mutating_count: u64,
    struck_count: u64,
    cut_at: Option<u64>,
    log: Vec<(Call, Option<String>)>,
}

#[derive(Debug)]
struct Armed {
    kind: OpKind,
    nth: u64,
    seen: u64,
    fault: Fault,
}

impl Gate {
    pub(super) fn arm(&mut self, kind: OpKind, nth: u64, fault: Fault) {
        self.armed.push(Armed {
            kind,
            nth,
            seen: 0,
            fault,
        });
    }

    pub(super) fn heal(&mut self) {
        self.armed.clear();
    }

    pub(super) fn cut_after(&mut self, count: u64) {
        self.cut_at = Some(self.mutating_count.saturating_add(count));
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut_at.is_some_and(|at| self.mutating_count >= at)
    }

    pub(super) fn mutating_count(&self) -> u64 {
        self.mutating_count
    }

    pub(super) fn struck_count(&self) -> u64 {
        self.struck_count
    }

    /// Lets a call begin, or says how it fails.
    pub(super) fn begin(&mut self, call: Call) -> Result<(), Refusal> {
        if self.is_cut() {
            return Err(Refusal {
                error: io::Error::other("power cut"),
                leaves: Leaves::default(),
            });
        }
        let struck = self.strike(&call);
        self.struck_count += u64::from(struck.is_some());
        if call.kind.is_mutating() {
            self.mutating_count += 1;
            self.log.push((call, None));
        }
        match struck {
            Some((code, leaves)) => Err(Refusal {
                error: errno(code),
                leaves,
            }),
            None => Ok(()),
        }
    }

    /// Every fault counts the call; the first that is due decides.
    fn strike(&mut self, call: &Call) -> Option<(i32, Leaves)> {
        let mut struck = None;
        for armed in &mut self.armed {
            if !armed.kind.matches(call.kind) || !call.path.contains(&armed.fault.path_part) {
                continue;
            }
            armed.seen += 1;
            let fault = &mut armed.fault;
            if struck.is_none()
                && (armed.seen == armed.nth || (fault.lasting && armed.seen > armed.nth))
            {
                struck = Some((fault.errno, fault.leaves));
                fault.leaves.written_bytes = 0;
                fault.leaves.pages_kept_bytes = fault.leaves.pages_kept_bytes.map(|_| 0);
            }
        }
        struck
    }

    /// Notes in the log that the call begun last has failed.
    pub(super) fn note_failure(&mut self, error: &io::Error) {
        if let Some((_, failure)) = self.log.last_mut() {
            *failure = Some(error.to_string());
        }
    }

    pub(super) fn log(&self) -> String {
        let mut text = String::new();
        for (call, failure) in &self.log {
            text.push_str(&call.to_string());
            if let Some(failure) = failure {
                text.push_str(" = ");
                text.push_str(failure);
            }
            text.push('\n');
        }
        text
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.verb(), self.path)?;
        match &self.detail {
            Detail::None => Ok(()),
            Detail::Range { offset, len } => write!(f, " {offset}+{len}"),
            Detail::Len(len) => write!(f, " {len}"),
            Detail::To(path) => write!(f, " -> {path}"),
        }
    }
}

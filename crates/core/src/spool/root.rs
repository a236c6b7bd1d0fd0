//! The spool as a whole: who holds it, which format it has, which queues are in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use batchd_frame::QueueName;

use crate::env::{Env, File};
use crate::error::{At, FsError};
use crate::spool::layout::{Layout, QueueLayout, temporary};
use crate::spool::quarantine::Quarantine;
use crate::spool::replace::replace;

/// What `FORMAT` says.
pub const FORMAT: &str = "batchd-spool 1\n";

/// What was found as `FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatState {
    /// What this program writes.
    Good,
    /// There is none.
    Missing,
    /// Something else. The files of the spool say for themselves what they are.
    Damaged,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// An I/O call failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Somebody else has it.
    #[error("spool {} is in use by another process ({holder})", path.display())]
    Locked {
        /// The spool.
        path: PathBuf,
        /// Who.
        holder: Holder,
    },
    /// Written by a newer program, and therefore not touched.
    #[error("spool {} has format '{found}', this program knows '{}'", path.display(), FORMAT.trim_end())]
    Newer {
        /// The spool.
        path: PathBuf,
        /// What its `FORMAT` says.
        found: String,
    },
    /// There is nothing to read here.
    #[error("{} is not a spool: {why}", path.display())]
    NotASpool {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
}

/// Who has a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// One who may write, with what it wrote into `LOCK`; that is nothing where the disk was full.
    Writer(String),
    /// Those who only read, who write nothing, not even who they are.
    Readers,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Writer(said) if said.is_empty() => "LOCK does not say which",
            Self::Writer(said) => said,
            Self::Readers => {
                "a program that only reads it, such as batchctl with --spool; readers do not note who they are"
            }
        })
    }
}

/// A spool that this process alone may write.
#[derive(Clone)]
pub struct LockedSpool {
    env: Env,
    layout: Layout,
    _lock: Arc<dyn File>,
}

impl std::fmt::Debug for LockedSpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LockedSpool({})", self.layout.root().display())
    }
}

impl LockedSpool {
    /// Locks a spool, making it where there is none. The directory itself must exist. `holder` is what another
    /// process is told that finds it locked.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] leaves it untouched, [`SpoolError::Newer`] all but `LOCK`. Where `FORMAT` cannot be read,
    /// that is an error too: it may be newer.
    pub fn open(env: Env, layout: Layout, holder: &str) -> Result<Self, SpoolError> {
        let lock = lock(&env, &layout, holder)?;
        let format = read_format(&env, &layout)?;
        let dir = layout.quarantine();
        env.fs.mkdir(&dir).at("create", &dir)?;
        if format != FormatState::Good {
            let path = layout.format();
            if format == FormatState::Damaged {
                tracing::warn!(path = %path.display(), "FORMAT is damaged; written anew");
            }
            clear_file(&env, &layout, &path)?;
            replace(&env, &path, FORMAT.as_bytes())?;
        }
        let queues = layout.queues();
        make_dir(&env, &layout, &queues)?;
        // An earlier process may have died before it made the names of queues durable.
        for dir in [layout.root(), &queues] {
            env.fs.sync_dir(dir).at("sync", dir)?;
        }
        Ok(Self {
            env,
            layout,
            _lock: lock,
        })
    }

    /// Its surroundings.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Its places.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its quarantine.
    #[must_use]
    pub fn quarantine(&self) -> Quarantine {
        Quarantine::new(self.env.clone(), &self.layout)
    }

    /// Names of the queues that have a directory, sorted.
    ///
    /// # Errors
    /// [`FsError`] where the directory cannot be listed.
    pub fn queues(&self) -> Result<Vec<QueueName>, FsError> {
        queue_names(&self.env, &self.layout)
    }

    /// Makes a queue's directories. Durable on return.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn make_queue(&self, name: &QueueName) -> Result<QueueLayout, FsError> {
        let queue = self.layout.queue(name);
        let (env, layout) = (&self.env, &self.layout);
        let open = env.fs.open_read(queue.dir());
        let is_there = open.is_err_and(|error| error.kind() == io::ErrorKind::IsADirectory);
        make_dir(env, layout, queue.dir())?;
        for dir in [queue.open(), queue.ready(), queue.dead()] {
            make_dir(env, layout, &dir)?;
        }
        let ledger = queue.ledger();
        for file in [&queue.ledger_previous(), &temporary(&ledger), &ledger] {
            clear_file(env, layout, file)?;
        }
        env.fs.sync_dir(queue.dir()).at("sync", queue.dir())?;
        if !is_there {
            let queues = layout.queues();
            env.fs.sync_dir(&queues).at("sync", &queues)?;
        }
        Ok(queue)
    }
}

fn lock(env: &Env, layout: &Layout, holder: &str) -> Result<Arc<dyn File>, SpoolError> {
    let path = layout.lock();
    let lock = match env.fs.try_lock(&path) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // What the file says is of the last daemon, where readers hold it.
            return Err(if env.fs.try_lock_shared(&path).is_ok() {
                locked(layout, Holder::Readers)
            } else {
                locked(layout, writer(env, &path))
            });
        }
        other => other.at("lock", &path)?,
    };
    // Who holds it is for people; a full disk must not keep the daemon from starting.
    let noted = lock
        .set_len(0)
        .and_then(|()| lock.write_all_at(holder.as_bytes(), 0));
    if let Err(error) = noted {
        tracing::warn!(path = %path.display(), %error, "holder was not noted");
    }
    Ok(lock)
}

/// The error of a spool that `holder` has.
pub(super) fn locked(layout: &Layout, holder: Holder) -> SpoolError {
    SpoolError::Locked {
        path: layout.root().to_path_buf(),
        holder,
    }
}

/// Who may write, by what `LOCK` says.
pub(super) fn writer(env: &Env, lock: &Path) -> Holder {
    let said = read_text(env, lock).unwrap_or_default();
    Holder::Writer(said.trim_end().to_owned())
}

/// Names of the queues that have a directory, sorted.
pub(super) fn queue_names(env: &Env, layout: &Layout) -> Result<Vec<QueueName>, FsError> {
    let dir = layout.queues();
    let entries = env.fs.read_dir(&dir).at("list", &dir)?;
    let mut names: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| QueueName::new(entry.name).ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Looks at `FORMAT`.
///
/// # Errors
/// [`SpoolError::Newer`], or [`SpoolError::Fs`] where there is a file that cannot be read.
pub(super) fn read_format(env: &Env, layout: &Layout) -> Result<FormatState, SpoolError> {
    let path = layout.format();
    let text = match read_text(env, &path).at("read", &path) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(FormatState::Missing),
        Err(error) if error.is_no_file() => return Ok(FormatState::Damaged),
        Err(error) => return Err(error.into()),
    };
    if text == FORMAT {
        Ok(FormatState::Good)
    } else if is_newer(&text) {
        Err(SpoolError::Newer {
            path: layout.root().to_path_buf(),
            found: text.lines().next().unwrap_or_default().to_owned(),
        })
    } else {
        Ok(FormatState::Damaged)
    }
}

/// Whether a `FORMAT` begins with a higher number, whatever comes behind that.
fn is_newer(text: &str) -> bool {
    let number = text.strip_prefix("batchd-spool ").and_then(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits?.parse::<u64>().ok()
    });
    number.is_some_and(|version| version > 1)
}

/// Makes a directory. What has its name and is none goes to quarantine.
fn make_dir(env: &Env, layout: &Layout, path: &Path) -> Result<(), FsError> {
    let made = match env.fs.mkdir(path) {
        // A link that leads nowhere is there, and is not.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
            ) =>
        {
            set_aside(env, layout, path)?;
            env.fs.mkdir(path)
        }
        made => made,
    };
    made.at("create", path)
}

/// Moves what is in the place of a file to quarantine, where it cannot be opened as one.
fn clear_file(env: &Env, layout: &Layout, path: &Path) -> Result<(), FsError> {
    match env.fs.open_read(path).at("open", path) {
        Err(error) if error.is_no_file() && !error.is_not_found() => set_aside(env, layout, path),
        // Whether it can be read is for whoever reads it.
        _ => Ok(()),
    }
}

fn set_aside(env: &Env, layout: &Layout, path: &Path) -> Result<(), FsError> {
    let kept = Quarantine::new(env.clone(), layout).take(path, "in the place of something else")?;
    tracing::error!(
        path = %path.display(), kept = %kept.display(),
        "in the place of something else; set aside in quarantine"
    );
    Ok(())
}

fn read_text(env: &Env, path: &Path) -> io::Result<String> {
    let mut buf = [0; 256];
    let n = env.fs.open_read(path)?.read_at(&mut buf, 0)?;
    Ok(String::from_utf8_lossy(buf.get(..n).unwrap_or_default()).into_owned())
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "what is no file is made, and seen, from outside"
)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;
    use crate::env::os;
    use crate::env::sim::{EIO, Fault, OpKind, SimClock, SimDisk};
    use crate::spool::recovery::recover;

    fn open(disk: &SimDisk) -> Result<LockedSpool, SpoolError> {
        LockedSpool::open(disk.env(&SimClock::default(), 1), Layout::new("/s"), "test")
    }

    fn spool_with_format(text: &str) -> SimDisk {
        let disk = SimDisk::new();
        disk.mkdir_durable("/s").expect("fresh disk");
        drop(open(&disk).expect("a spool"));
        let mut image = disk.live_image();
        image.write("/s/FORMAT", text).expect("there");
        image.to_disk()
    }

    #[test]
    fn a_format_that_is_newer_stays_whatever_else_it_says() {
        for text in [
            "batchd-spool 2\n",
            "batchd-spool 2\nfeatures a b\n",
            "batchd-spool 2.1",
            "batchd-spool 10 ",
        ] {
            let disk = spool_with_format(text);
            let error = open(&disk).expect_err("newer");
            assert!(matches!(error, SpoolError::Newer { .. }), "{text}: {error}");
            let image = disk.live_image();
            assert_eq!(
                image.read("/s/FORMAT").ok().as_deref(),
                Some(text.as_bytes())
            );
        }
        for text in [
            "",
            "batchd-spool 1.5",
            "batchd-spool ",
            "batchd-spool x2",
            "batchd-spool 1",
        ] {
            let disk = spool_with_format(text);
            open(&disk).expect("written anew");
            let image = disk.live_image();
            assert_eq!(
                image.read("/s/FORMAT").ok().as_deref(),
                Some(FORMAT.as_bytes())
            );
        }
    }

    #[test]
    fn a_format_that_cannot_be_read_is_not_written_over() {
        for kind in [OpKind::Open, OpKind::Read] {
            let text = "batchd-spool 2\n";
            let disk = spool_with_format(text);
            disk.fail_nth(kind, 1, Fault::once(EIO).only_in("FORMAT"));
            let error = open(&disk).expect_err("unreadable");
            assert!(matches!(error, SpoolError::Fs(_)), "{error}");
            let image = disk.live_image();
            assert_eq!(
                image.read("/s/FORMAT").ok().as_deref(),
                Some(text.as_bytes())
            );
        }
    }

    /// Something that no file or directory can be made in the place of, and that does not look like either.
    type Stranger = (&'static str, fn(&Path));

    #[test]
    fn what_is_no_file_and_no_directory_does_not_keep_the_spool_from_starting() {
        let pipe = |path: &Path| {
            rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        };
        let strangers: [Stranger; 4] = [
            ("a pipe", pipe),
            ("a link to a device", |path| {
                symlink("/dev/null", path).expect("a link")
            }),
            ("a link to nowhere", |path| {
                symlink("/nowhere", path).expect("a link")
            }),
            ("a file", |path| fs::write(path, "").expect("a file")),
        ];
        let places = [
            "FORMAT",
            "queues",
            "queues/q",
            "queues/q/open",
            "queues/q/ready",
            "queues/q/dead",
            "queues/q/ledger",
            "queues/q/ledger.1",
            "queues/q/ledger.tmp",
        ];
        let queue = QueueName::new("q").expect("a name");
        for place in places {
            for (what, make) in strangers {
                let dir = tempfile::tempdir().expect("a directory");
                let path = dir.path().join(place);
                fs::create_dir_all(path.parent().expect("within")).expect("made");
                make(&path);
                let start = || {
                    let layout = Layout::new(dir.path());
                    let spool = LockedSpool::open(os::env(), layout, "test")?;
                    recover(&spool, &queue, std::time::Duration::ZERO, &|_| false)?;
                    Ok::<_, SpoolError>(())
                };
                for _ in 0..2 {
                    start().unwrap_or_else(|error| panic!("{what} as {place}: {error}"));
                }
                let is_dir = fs::symlink_metadata(dir.path().join("queues/q/open"));
                assert!(is_dir.expect("there").is_dir(), "{what} as {place}");
            }
        }
    }

    #[test]
    fn queues_are_made_without_a_listing_and_their_names_synced_once() {
        let disk = SimDisk::new();
        disk.mkdir_durable("/s").expect("fresh disk");
        let names = ["a", "b"].map(|name| QueueName::new(name).expect("a name"));
        for is_first in [true, false] {
            let spool = open(&disk).expect("a spool");
            let before = disk.op_log().lines().count();
            disk.fail_nth(OpKind::List, 1, Fault::from_then_on(EIO));
            for name in &names {
                spool.make_queue(name).expect("made");
            }
            disk.heal();
            let log = disk.op_log();
            let syncs = log
                .lines()
                .skip(before)
                .filter(|call| *call == "sync_dir s/queues");
            assert_eq!(syncs.count(), if is_first { 2 } else { 0 }, "{log}");
        }
    }

    #[test]
    fn a_holder_that_left_no_name_is_said_to_have_none() {
        let disk = SimDisk::new();
        disk.mkdir_durable("/s").expect("fresh disk");
        let env = disk.env(&SimClock::default(), 1);
        let _held = env.fs.try_lock(&Layout::new("/s").lock()).expect("free");
        let error = open(&disk).expect_err("locked");
        insta::assert_snapshot!(error, @"spool /s is in use by another process (LOCK does not say which)");
    }
}

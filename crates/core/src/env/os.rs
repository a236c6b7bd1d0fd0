//! The real file system, clocks and randomness.
//!
//! This is the only module of the crate that names `std::fs` and the system clock. It holds no policy: every
//! call is one or two system calls, errors pass unchanged, and nothing is retried but what was interrupted
//! or came short. Linux only: the boot-time clock and the meaning of directory syncs are those of Linux.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one place where the crate meets the system"
)]

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};

use super::{Clock, DirEntry, Entropy, Env, File, Fs, FsKind, Space};

/// The mode of every file that is created.
const FILE_MODE: u32 = 0o600;
/// The mode of every directory that is created.
const DIR_MODE: u32 = 0o700;

/// The real surroundings: what a daemon runs in.
#[must_use]
pub fn env() -> Env {
    Env {
        fs: Arc::new(OsFs),
        clock: Arc::new(OsClock),
        entropy: Arc::new(OsEntropy),
    }
}

/// A path that stays the same when the process goes to another directory. One that cannot be found out stays as it is.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFs;

impl Fs for OsFs {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        open_regular(fs::OpenOptions::new().read(true).write(true), path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        open_regular(fs::OpenOptions::new().read(true), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(DIR_MODE).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::metadata(path)?.is_dir() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            result => result,
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        fs::read_dir(path)?
            .map(|entry| dir_entry(&entry?))
            .collect()
    }

    fn visit_dir(&self, path: &Path, visit: &mut dyn FnMut(DirEntry)) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            visit(dir_entry(&entry?)?);
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
            .open(path)?
            .sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        const READ_ONLY: u64 = 1;
        let found = rustix::fs::statfs(path)?;
        // Sizes, flags and types are small and positive, in signed fields. Some file systems have no fragments.
        let block = match found.f_frsize as u64 {
            0 => found.f_bsize as u64,
            fragment => fragment,
        };
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(block),
            total_bytes: found.f_blocks.saturating_mul(block),
            // Where files are made without a table of them, the count is 0 of 0.
            free_inodes: (found.f_files > 0).then_some(found.f_ffree),
            total_inodes: found.f_files,
            read_only: found.f_flags as u64 & READ_ONLY != 0,
            kind: fs_kind(found.f_type as u64),
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        file.try_lock().map_err(lock_error)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn try_lock_shared(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = open_regular_file(fs::OpenOptions::new().read(true), path)?;
        file.try_lock_shared().map_err(lock_error)?;
        Ok(Arc::new(OsFile(file)))
    }
}

fn lock_error(error: fs::TryLockError) -> io::Error {
    match error {
        fs::TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
        fs::TryLockError::Error(error) => error,
    }
}

fn dir_entry(entry: &fs::DirEntry) -> io::Result<DirEntry> {
    Ok(DirEntry {
        name: entry.file_name().to_string_lossy().into_owned(),
        is_dir: entry.file_type()?.is_dir(),
    })
}

/// The types of which it is certain that they do not keep what was synced, or leave that to another machine:
/// the magic numbers of `statfs(2)`.
fn fs_kind(magic: u64) -> FsKind {
    // The system's type is signed, and 32 of its bits count.
    match magic & 0xffff_ffff {
        0x0102_1994 => FsKind::Memory("tmpfs"),
        0x8584_58f6 => FsKind::Memory("ramfs"),
        0x6969 => FsKind::Network("nfs"),
        0x517b => FsKind::Network("smb"),
        0xff53_4d42 => FsKind::Network("cifs"),
        0xfe53_4d42 => FsKind::Network("smb2"),
        0x0102_1997 => FsKind::Network("9p"),
        0x00c3_6400 => FsKind::Network("ceph"),
        0x5346_414f => FsKind::Network("afs"),
        _ => FsKind::Other,
    }
}

/// Opens a file and makes sure that it is one. Whatever lies in a spool is opened at a start, and a named
/// pipe must not hold that up: hence without blocking, which regular files do not notice.
fn open_regular(options: &mut fs::OpenOptions, path: &Path) -> io::Result<Arc<dyn File>> {
    Ok(Arc::new(OsFile(open_regular_file(options, path)?)))
}

fn open_regular_file(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    let file = options
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(io::Error::from(io::ErrorKind::IsADirectory))
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ))
    }
}

/// An open file of the machine. A lock taken on it goes with it.
#[derive(Debug)]
struct OsFile(fs::File);

impl File for OsFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// The clocks of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsClock;

impl Clock for OsClock {
    fn wall_micros(&self) -> u64 {
        // A clock set before 1970 reads as 1970.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
    }

    fn boot(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or_default(),
            u32::try_from(now.tv_nsec).unwrap_or_default(),
        )
    }
}

/// The random source of the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// Fills `buf`.
    ///
    /// # Panics
    /// Where the kernel has no random bytes to give. Ids made without them could name two batches, so there
    /// is nothing to fall back to.
    fn fill(&self, buf: &mut [u8]) {
        if let Err(error) = getrandom::fill(buf) {
            panic!("the system's random source failed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(file.len()?).expect("small")];
        let count = file.read_at(&mut bytes, 0)?;
        assert_eq!(count, bytes.len());
        Ok(bytes)
    }

    fn mode(path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    #[track_caller]
    fn check_error<T>(result: io::Result<T>, kind: io::ErrorKind) {
        assert_eq!(result.err().map(|error| error.kind()), Some(kind));
    }

    #[test]
    fn files_are_created_private_written_cut_and_read() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a");
        let file = OsFs.create_new(&path)?;
        assert_eq!(mode(&path)?, FILE_MODE);
        check_error(OsFs.create_new(&path), io::ErrorKind::AlreadyExists);

        file.write_all_at(b"world", 6)?;
        file.write_all_at(b"hello", 0)?;
        file.sync_data()?;
        assert_eq!(read_all(&*OsFs.open_read(&path)?)?, b"hello\0world");
        file.set_len(5)?;
        assert_eq!(read_all(&*OsFs.open(&path)?)?, b"hello");

        let mut buf = [7; 8];
        assert_eq!(file.read_at(&mut buf, 3)?, 2);
        assert_eq!(&buf, b"lo\x07\x07\x07\x07\x07\x07");
        assert_eq!(file.read_at(&mut buf, 9)?, 0);
        assert!(OsFs.open_read(&path)?.write_all_at(b"x", 0).is_err());
        Ok(())
    }

    #[test]
    fn names_are_linked_renamed_listed_and_removed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (a, b, c) = (
            dir.path().join("a"),
            dir.path().join("b"),
            dir.path().join("c"),
        );
        OsFs.create_new(&a)?.write_all_at(b"a", 0)?;
        OsFs.create_new(&b)?;
        OsFs.link(&a, &c)?;
        check_error(OsFs.link(&a, &b), io::ErrorKind::AlreadyExists);
        OsFs.rename(&a, &b)?;
        assert_eq!(read_all(&*OsFs.open_read(&b)?)?, b"a");
        OsFs.sync_dir(dir.path())?;
        OsFs.unlink(&c)?;
        check_error(OsFs.unlink(&c), io::ErrorKind::NotFound);
        check_error(OsFs.open(&a), io::ErrorKind::NotFound);
        OsFs.mkdir(&a)?;

        let mut entries = OsFs.read_dir(dir.path())?;
        entries.sort();
        let entry = |name: &str, is_dir| DirEntry {
            name: name.to_owned(),
            is_dir,
        };
        assert_eq!(entries, [entry("a", true), entry("b", false)]);
        Ok(())
    }

    #[test]
    fn directories_are_private_and_may_exist_already() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (sub, file) = (dir.path().join("d"), dir.path().join("f"));
        OsFs.mkdir(&sub)?;
        OsFs.mkdir(&sub)?;
        assert_eq!(mode(&sub)?, DIR_MODE);
        OsFs.create_new(&file)?;
        check_error(OsFs.mkdir(&file), io::ErrorKind::AlreadyExists);
        check_error(OsFs.mkdir(&dir.path().join("x/y")), io::ErrorKind::NotFound);
        check_error(OsFs.sync_dir(&file), io::ErrorKind::NotADirectory);
        check_error(OsFs.open_read(&sub), io::ErrorKind::IsADirectory);
        check_error(OsFs.open(&sub), io::ErrorKind::IsADirectory);
        Ok(())
    }

    #[test]
    fn space_is_told_of_the_file_system_that_holds_a_path() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let space = OsFs.space(dir.path())?;
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
        assert!(!space.read_only);
        check_error(OsFs.space(&dir.path().join("x")), io::ErrorKind::NotFound);
        assert!(matches!(
            OsFs.space(Path::new("/proc"))?.kind,
            FsKind::Other
        ));
        Ok(())
    }

    #[test]
    fn types_of_file_systems_are_told_by_their_numbers() {
        assert_eq!(fs_kind(0x0102_1994), FsKind::Memory("tmpfs"));
        assert_eq!(fs_kind(0x6969), FsKind::Network("nfs"));
        // As a signed number of 32 bits was widened.
        assert_eq!(fs_kind(0xffff_ffff_ff53_4d42), FsKind::Network("cifs"));
        assert_eq!(fs_kind(0xef53), FsKind::Other);
    }

    #[test]
    fn a_named_pipe_is_refused_without_waiting_for_its_writer() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )?;
        check_error(OsFs.open_read(&path), io::ErrorKind::InvalidInput);
        check_error(OsFs.open(&path), io::ErrorKind::InvalidInput);
        Ok(())
    }

    #[test]
    fn a_lock_is_exclusive_keeps_the_contents_and_ends_with_its_holder() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("LOCK");
        let held = OsFs.try_lock(&path)?;
        assert_eq!(mode(&path)?, FILE_MODE);
        held.write_all_at(b"me", 0)?;
        check_error(OsFs.try_lock(&path), io::ErrorKind::WouldBlock);
        drop(held);
        assert_eq!(read_all(&*OsFs.try_lock(&path)?)?, b"me");
        Ok(())
    }

    #[test]
    fn a_shared_lock_is_for_many_and_makes_no_file() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("LOCK");
        check_error(OsFs.try_lock_shared(&path), io::ErrorKind::NotFound);
        assert!(!path.exists());
        drop(OsFs.try_lock(&path)?);
        let one = OsFs.try_lock_shared(&path)?;
        let other = OsFs.try_lock_shared(&path)?;
        check_error(OsFs.try_lock(&path), io::ErrorKind::WouldBlock);
        assert!(one.write_all_at(b"x", 0).is_err(), "opened for reading");
        drop((one, other));
        let alone = OsFs.try_lock(&path)?;
        check_error(OsFs.try_lock_shared(&path), io::ErrorKind::WouldBlock);
        drop(alone);
        check_error(
            OsFs.try_lock_shared(dir.path()),
            io::ErrorKind::IsADirectory,
        );

        let mut names = Vec::new();
        OsFs.visit_dir(dir.path(), &mut |entry| names.push(entry.name))?;
        assert_eq!(names, ["LOCK"]);
        Ok(())
    }

    #[test]
    fn clocks_run_and_random_bytes_differ() {
        let env = env();
        let (wall, boot) = (env.clock.wall_micros(), env.clock.boot());
        assert!(wall > 1_700_000_000_000_000, "{wall}");
        assert!(boot > Duration::ZERO);
        assert!(env.clock.boot() >= boot);

        let (mut one, mut two) = ([0; 16], [0; 16]);
        env.entropy.fill(&mut one);
        env.entropy.fill(&mut two);
        assert_ne!(one, two);
        assert_eq!(format!("{env:?}"), "Env");
    }
}

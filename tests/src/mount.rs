//! Small file systems, to be filled up.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::services::{service, skip};

/// What a small file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 in a file, of so many mebibytes, with room for so many files where that is said.
    Ext4(u64, Option<u64>),
    /// Memory, of so many mebibytes.
    Tmpfs(u64),
}

/// A small file system, mounted; gone on drop.
#[derive(Debug)]
pub struct Disk {
    // Removed after the unmount in `drop`.
    dir: TempDir,
    options: String,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, where something still has a file there: it is gone when that ends.
        if !run("umount", &[self.root().as_os_str()]) {
            run("umount", &["-l".as_ref(), self.root().as_os_str()]);
        }
    }
}

impl Disk {
    /// Mounts one. Where that cannot be done the test says that it is skipped, and passes.
    ///
    /// # Panics
    /// Where it cannot be done and `BATCHD_REQUIRE_SERVICES=1`.
    #[must_use]
    #[track_caller]
    pub fn mount(kind: Kind) -> Option<Self> {
        Self::mount_with(kind, "rw")
    }

    /// The same, with options of mount.
    ///
    /// # Panics
    /// As [`Disk::mount`].
    #[must_use]
    #[track_caller]
    pub fn mount_with(kind: Kind, options: &str) -> Option<Self> {
        let dir = tempfile::Builder::new()
            .prefix("batchd-disk-")
            .tempdir()
            .expect("a directory");
        let disk = Self {
            dir,
            options: options.to_owned(),
        };
        fs::create_dir(disk.root()).expect("a mount point");
        let mounted = match kind {
            Kind::Ext4(mebibytes, files) => {
                service("mkfs.ext4")?;
                let image = File::create(disk.image()).expect("an image");
                image.set_len(mebibytes << 20).expect("an image");
                let mut make = Command::new("mkfs.ext4");
                make.args(["-q", "-F", "-m", "0"]);
                if let Some(files) = files {
                    make.args(["-N", &files.to_string()]);
                }
                let made = make.arg(disk.image()).status().expect("mkfs.ext4");
                assert!(made.success(), "mkfs.ext4: {made}");
                disk.mount_again()
            }
            Kind::Tmpfs(mebibytes) => {
                let options = format!("size={mebibytes}m");
                let words = ["-t", "tmpfs", "-o", options.as_str(), "tmpfs"];
                let mut words: Vec<_> = words.map(AsRef::as_ref).to_vec();
                let root = disk.root();
                words.push(root.as_os_str());
                run("mount", &words)
            }
        };
        if !mounted {
            skip("nothing can be mounted here: it takes root and loop devices");
            return None;
        }
        Some(disk)
    }

    /// Mounts it once more, after it was unmounted. Says whether that was possible.
    #[must_use]
    pub fn mount_again(&self) -> bool {
        let options = format!("loop,{}", self.options);
        run(
            "mount",
            &[
                "-o".as_ref(),
                options.as_ref(),
                self.image().as_os_str(),
                self.root().as_os_str(),
            ],
        )
    }

    /// Unmounts it. Says whether that was possible: nothing may have a file there.
    #[must_use]
    pub fn unmount(&self) -> bool {
        run("umount", &[self.root().as_os_str()])
    }

    /// Mounts it with other options, in place. Says whether that was possible.
    #[must_use]
    pub fn remount(&self, options: &str) -> bool {
        let options = format!("remount,{options}");
        run(
            "mount",
            &["-o".as_ref(), options.as_ref(), self.root().as_os_str()],
        )
    }

    /// Its top directory.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// The file that it is in.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// What anybody can still write, in bytes.
    ///
    /// # Panics
    /// Where it does not say.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(self.root()).expect("statvfs");
        found.f_bavail * found.f_frsize
    }

    /// Fills it up with a file, until no more than so many bytes are free.
    ///
    /// # Panics
    /// Where that file cannot be written.
    pub fn fill(&self, leave_bytes: u64) -> Filler {
        let path = self.root().join("filler");
        let mut file = File::create(&path).expect("a filler");
        loop {
            let excess = self.free_bytes().saturating_sub(leave_bytes);
            let piece = usize::try_from(excess.min(64 << 10)).expect("small");
            if piece == 0 {
                break;
            }
            match file
                .write_all(&vec![0xf1; piece])
                .and_then(|()| file.sync_data())
            {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => panic!("fill: {error}"),
            }
        }
        Filler { path }
    }
}

/// A file that fills a disk; removed on drop.
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
}

impl Drop for Filler {
    fn drop(&mut self) {
        // The disk may be gone already.
        fs::remove_file(&self.path).ok();
    }
}

/// Makes `link` lead to a directory, which is made.
///
/// # Panics
/// Where that fails.
pub fn lead_to(link: &Path, directory: &Path) {
    fs::create_dir_all(directory).expect("a directory");
    fs::remove_dir(link).ok();
    std::os::unix::fs::symlink(directory, link).expect("a link");
}

fn run(command: &str, words: &[&std::ffi::OsStr]) -> bool {
    let status = Command::new(command)
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

//! Sets damaged files aside. Nothing here deletes: what lies in `quarantine/` is a person's to look at.

use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::error::{At, FsError};
use crate::spool::layout::Layout;

/// A place for damaged files, with a reason beside each.
#[derive(Debug, Clone)]
pub struct Quarantine {
    env: Env,
    dir: PathBuf,
}

impl Quarantine {
    /// Of this spool.
    #[must_use]
    pub fn new(env: Env, layout: &Layout) -> Self {
        Self {
            env,
            dir: layout.quarantine(),
        }
    }

    /// Moves a file in. Durable on return.
    ///
    /// # Errors
    /// [`FsError`]; the file is then in one of both places.
    pub fn take(&self, path: &Path, reason: &str) -> Result<PathBuf, FsError> {
        let target = self.free_name(path)?;
        self.env
            .fs
            .rename(path, &target)
            .at("move to quarantine", path)?;
        self.explain(&target, path, reason)?;
        Ok(target)
    }

    /// Gives a file a second name here; the original stays where it is. Durable on return.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn link(&self, path: &Path, reason: &str) -> Result<PathBuf, FsError> {
        let target = self.free_name(path)?;
        self.env
            .fs
            .link(path, &target)
            .at("link into quarantine", path)?;
        self.explain(&target, path, reason)?;
        Ok(target)
    }

    /// How many files lie here, reasons not counted.
    ///
    /// # Errors
    /// [`FsError`] where the directory cannot be listed.
    pub fn count(&self) -> Result<u64, FsError> {
        let entries = self.env.fs.read_dir(&self.dir).at("list", &self.dir)?;
        Ok(entries
            .iter()
            .filter(|e| !e.name.ends_with(REASON_SUFFIX))
            .count() as u64)
    }

    /// A name that is free here: that of the file, numbered where it was used before. One is not free where its reason
    /// is still here: somebody took the file away, and the next one is not here for that.
    fn free_name(&self, path: &Path) -> Result<PathBuf, FsError> {
        let taken = self.env.fs.read_dir(&self.dir).at("list", &self.dir)?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_taken = |name: &str| taken.iter().any(|entry| entry.name == name);
        let free = std::iter::once(name.clone())
            .chain((1u32..).map(|n| format!("{name}.{n}")))
            .find(|name| !is_taken(name) && !is_taken(&format!("{name}{REASON_SUFFIX}")))
            .unwrap_or(name);
        Ok(self.dir.join(free))
    }

    fn explain(&self, target: &Path, origin: &Path, reason: &str) -> Result<(), FsError> {
        let mut name = target.as_os_str().to_owned();
        name.push(REASON_SUFFIX);
        let path = PathBuf::from(name);
        let text = format!("found as: {}\nreason: {reason}\n", origin.display());
        // The reason is a courtesy: a full disk does not keep the file from being set aside.
        let written = self.env.fs.create_new(&path).and_then(|file| {
            file.write_all_at(text.as_bytes(), 0)?;
            file.sync_data()
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "reason was not written");
        }
        self.env.fs.sync_dir(&self.dir).at("sync", &self.dir)
    }
}

/// Suffix of the file that says why another is here.
const REASON_SUFFIX: &str = ".reason";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::{SimClock, SimDisk};

    #[test]
    fn no_file_stands_beside_the_reason_of_another() {
        let disk = SimDisk::new();
        disk.mkdir_durable("/s/quarantine").expect("fresh disk");
        let env = disk.env(&SimClock::default(), 1);
        let quarantine = Quarantine::new(env.clone(), &Layout::new("/s"));
        let path = Path::new("/s/a");
        let take = |reason: &str| {
            env.fs.create_new(path).expect("free");
            quarantine.take(path, reason).expect("taken")
        };
        let first = take("the first");
        env.fs.unlink(&first).expect("there");
        let second = take("the second");
        let third = take("the third");
        assert_eq!(second, Path::new("/s/quarantine/a.1"));
        assert_eq!(third, Path::new("/s/quarantine/a.2"));
        let reason = disk.live_image().read("/s/quarantine/a.1.reason");
        assert!(reason.expect("there").ends_with(b"the second\n"));
    }
}

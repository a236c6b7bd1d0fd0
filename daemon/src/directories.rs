//! The daemon's own directories, made so that a power cut does not take that of the spool with what is acknowledged in
//! it.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::Context as _;
use batchd_protocol::exit;

use crate::failure::Advised;

/// Makes a directory, mode 0700, and what is missing above it: one level at a time from the top, and the name of each
/// is synced before anything is made below it. The name of one that was there is synced as well, since whoever made
/// it may have died before; not where its parent cannot be read, which is then somebody else's.
///
/// # Errors
/// Where one cannot be made or its name not be synced; [`Advised`] where something else has that name.
pub(crate) fn make_durable(path: &Path) -> anyhow::Result<()> {
    make(path, &|dir| File::open(dir)?.sync_all())
}

fn make(path: &Path, sync: &dyn Fn(&Path) -> io::Result<()>) -> anyhow::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let was_there = path.is_dir();
    if !was_there {
        make(parent, sync)?;
        let made = DirBuilder::new().mode(0o700).create(path);
        match made {
            // Somebody else was faster.
            Err(_) if path.is_dir() => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let advised = Advised {
                    what: format!("{} is no directory", path.display()),
                    hint: "move it away, or set another `path` in [spool]".to_owned(),
                    code: exit::CONFIG,
                };
                return Err(advised.into());
            }
            made => {
                made.with_context(|| format!("cannot make the directory {}", path.display()))?;
            }
        }
    }
    match sync(parent) {
        Err(error) if was_there && error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced.with_context(|| format!("cannot sync {}", parent.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use insta::assert_snapshot;
    use tempfile::TempDir;

    use super::*;

    /// Makes a directory; says which were synced, and what was in each by then.
    fn made(root: &TempDir, path: &str) -> String {
        let said = RefCell::new(String::new());
        let sync = |dir: &Path| {
            if let Ok(dir) = dir.strip_prefix(root.path()) {
                let held =
                    fs::read_dir(root.path().join(dir))?.map(|entry| entry.map(|e| e.path()));
                let held = held.collect::<io::Result<Vec<_>>>()?;
                assert!(
                    held.iter()
                        .all(|held| fs::read_dir(held).is_ok_and(|mut d| d.next().is_none())),
                    "{held:?}: something is below what is not durable"
                );
                *said.borrow_mut() += &format!("sync ROOT/{}\n", dir.display());
            }
            Ok(())
        };
        let result = make(&root.path().join(path), &sync);
        let mut said = said.into_inner();
        if let Err(error) = result {
            said += &format!("{error:#}").replace(root.path().to_str().expect("UTF-8"), "ROOT");
        }
        said
    }

    #[test]
    fn each_level_is_durable_before_the_next() {
        let root = tempfile::tempdir().expect("a directory");
        assert_snapshot!(made(&root, "a/b/spool"), @r"
        sync ROOT/
        sync ROOT/a
        sync ROOT/a/b
        ");
        for level in ["a", "a/b", "a/b/spool"] {
            let mode = fs::metadata(root.path().join(level))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{level}");
        }
    }

    /// The last start may have died between a `mkdir` and its sync.
    #[test]
    fn the_lowest_that_was_there_is_synced_again() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("a")).expect("made");
        assert_snapshot!(made(&root, "a/spool"), @r"
        sync ROOT/
        sync ROOT/a
        ");
        assert_snapshot!(made(&root, "a/spool"), @"sync ROOT/a");
    }

    #[test]
    fn a_parent_that_cannot_be_read_is_no_hindrance_where_nothing_is_made() {
        let root = tempfile::tempdir().expect("a directory");
        let denied = |_: &Path| Err(ErrorKind::PermissionDenied.into());
        let spool = root.path().join("spool");
        make(&spool, &denied).expect_err("its name is not durable");
        make(&spool, &denied).expect("there");
        let broken = |_: &Path| Err(ErrorKind::Other.into());
        make(&spool, &broken).expect_err("its name is not durable");
        fs::set_permissions(&spool, Permissions::from_mode(0o755)).expect("set");
        make(&spool, &|_| Ok(())).expect("there");
        let mode = fs::metadata(&spool).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "what was there is left as it is");
    }

    #[test]
    fn what_is_no_directory_stays() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("file"), "mine").expect("written");
        let said = made(&root, "file");
        assert_snapshot!(said, @"ROOT/file is no directory");
        assert_eq!(made(&root, "file/x/spool"), said);
        assert_eq!(fs::read(root.path().join("file")).expect("there"), b"mine");
    }
}

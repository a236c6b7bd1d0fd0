//! The daemon's own directories.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;
use batchd_core::env::os;
use batchd_core::spool::directory;
use batchd_protocol::exit;

use crate::failure::Advised;

/// Makes a directory that outlives a power cut, as [`directory::make_durable`].
///
/// # Errors
/// Where one cannot be made or its name not be synced; [`Advised`] where something else has that name.
pub(crate) fn make_durable(path: &Path) -> anyhow::Result<()> {
    let Err(error) = directory::make_durable(&*os::env().fs, path) else {
        return Ok(());
    };
    let at = error.path.display();
    if error.source.kind() == ErrorKind::AlreadyExists {
        let advised = Advised {
            what: format!("{at} is no directory"),
            hint: "move it away, or set another `path` in [spool]".to_owned(),
            code: exit::CONFIG,
        };
        return Err(advised.into());
    }
    let what = match error.operation {
        "create" => format!("cannot make the directory {at}"),
        operation => format!("cannot {operation} {at}"),
    };
    Err(error.source).context(what)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use insta::assert_snapshot;
    use tempfile::TempDir;

    use super::*;

    /// Makes a directory; says what went wrong.
    fn made(root: &TempDir, path: &str) -> String {
        let made = make_durable(&root.path().join(path));
        let said = made.err().map(|error| format!("{error:#}"));
        let root = root.path().to_str().expect("UTF-8");
        said.unwrap_or_default().replace(root, "ROOT")
    }

    fn mode(root: &TempDir, path: &str) -> u32 {
        let metadata = fs::metadata(root.path().join(path)).expect("there");
        metadata.permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_private_and_what_was_there_is_left_as_it_is() {
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(made(&root, "a/b/spool"), "");
        for level in ["a", "a/b", "a/b/spool"] {
            assert_eq!(mode(&root, level), 0o700, "{level}");
        }
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(root.path().join("a"), open).expect("set");
        assert_eq!(made(&root, "a/b/spool"), "");
        assert_eq!(mode(&root, "a"), 0o755);
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

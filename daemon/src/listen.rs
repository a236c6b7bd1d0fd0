//! The sockets. Called with the spool locked: whoever holds the lock may remove a stale socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config::model::Listen;

/// A socket that is listened on; its name goes when this does.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The socket, not blocking.
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

/// Binds a socket, removing one that nobody answers on.
///
/// # Errors
/// Where another process answers on it, the path is something else, or the system refuses.
pub(crate) fn bind(listen: &Listen) -> anyhow::Result<Socket> {
    let path = &listen.path;
    make_parent(path)?;
    remove_stale(path)?;
    // Bound under another name and renamed, so that nobody connects before the mode is set.
    let unready = unready_name(path);
    remove_if_there(&unready)?;
    let listener =
        UnixListener::bind(&unready).with_context(|| format!("bind {}", unready.display()))?;
    fs::set_permissions(&unready, Permissions::from_mode(listen.mode))
        .with_context(|| format!("set mode of {}", unready.display()))?;
    fs::rename(&unready, path).with_context(|| format!("name {}", path.display()))?;
    let socket = Socket {
        listener,
        path: path.clone(),
    };
    socket
        .listener
        .set_nonblocking(true)
        .context("make the socket non-blocking")?;
    Ok(socket)
}

fn unready_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes the last component of the socket's directory, as the daemon's own runtime directory is often not there.
fn make_parent(path: &Path) -> anyhow::Result<()> {
    let Some(dir) = path.parent() else {
        return Ok(());
    };
    match fs::DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("create {}", dir.display())),
    }
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("look at {}", path.display()))?,
    };
    if !meta.file_type().is_socket() {
        bail!("{} exists and is no socket", path.display());
    }
    if UnixStream::connect(path).is_ok() {
        bail!(
            "another process answers on {}: stop it, or give this daemon another `path` in [[listen]]",
            path.display()
        );
    }
    remove_if_there(path)
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &tempfile::TempDir) -> Listen {
        Listen {
            path: dir.path().join("run/batchd.sock"),
            mode: 0o600,
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let listen = at(&dir);
        fs::create_dir(dir.path().join("run")).unwrap();
        drop(UnixListener::bind(&listen.path).unwrap());
        let socket = bind(&listen).unwrap();
        assert_eq!(
            fs::metadata(&listen.path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            bind(&listen)
                .unwrap_err()
                .to_string()
                .contains("another process answers")
        );
        drop(socket);
        assert!(!listen.path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let listen = at(&dir);
        fs::create_dir(dir.path().join("run")).unwrap();
        fs::write(&listen.path, "mine").unwrap();
        assert!(
            bind(&listen)
                .unwrap_err()
                .to_string()
                .contains("is no socket")
        );
        assert_eq!(fs::read(&listen.path).unwrap(), b"mine");
    }
}

//! The sockets. Called with the spool locked: whoever holds the lock may remove a stale socket.
//!
//! A socket that is inherited belongs to whoever made it: its name, its mode and its end are not touched.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use batchd_client::probe_socket;
use batchd_protocol::{exit, shell_word};

use crate::config::model::{Listen, UNREADY_SUFFIX};
use crate::failure::{Advised, Failure, Place};

/// What helps where something has the path of a socket.
const ANOTHER: &str = "set another `path` in [[listen]]";

/// A socket that is listened on; the name of one that was bound here goes when this does.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The socket, not blocking.
    pub(crate) listener: UnixListener,
    name: Name,
}

#[derive(Debug)]
enum Name {
    /// Bound by this process.
    Own(PathBuf),
    /// Of a socket that was passed to this process.
    Inherited(SocketAddr),
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Name::Own(path) = &self.name {
            fs::remove_file(path).ok();
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.name {
            Name::Own(path) => return write!(f, "{}", path.display()),
            Name::Inherited(address) => address,
        };
        match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => write!(f, "{}", path.display())?,
            (None, Some(name)) => write!(f, "@{}", name.escape_ascii())?,
            (None, None) => f.write_str("without a name")?,
        }
        f.write_str(" (inherited)")
    }
}

/// Takes over what is inherited, not blocking already, and binds what else is configured: a configured socket that
/// is among the inherited is there.
///
/// # Errors
/// As [`bind`]; or where the system does not say what was inherited.
pub(crate) fn open_all(
    configured: &[Listen],
    inherited: Vec<UnixListener>,
) -> Result<Vec<Socket>, Failure> {
    let mut sockets = Vec::new();
    for listener in inherited {
        let address = listener
            .local_addr()
            .context("cannot ask for the name of an inherited socket")?;
        let name = Name::Inherited(address);
        sockets.push(Socket { listener, name });
    }
    let missing: Vec<_> = configured
        .iter()
        .filter(|listen| !sockets.iter().any(|socket| socket.is_at(&listen.path)))
        .collect();
    for listen in missing {
        let bound = bind(listen);
        sockets.push(bound.map_err(|error| Failure::at(Place::Socket(&listen.path), error))?);
    }
    Ok(sockets)
}

impl Socket {
    /// Whether it was inherited and is what has this name, perhaps among others.
    fn is_at(&self, path: &Path) -> bool {
        let Name::Inherited(address) = &self.name else {
            return false;
        };
        let Some(own) = address.as_pathname() else {
            return false;
        };
        let file = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        own == path || matches!((file(own), file(path)), (Ok(a), Ok(b)) if a == b)
    }
}

/// Binds a socket, removing one that nobody listens on.
///
/// # Errors
/// Where somebody listens on it, or may, the path is something else, or the system refuses.
fn bind(listen: &Listen) -> anyhow::Result<Socket> {
    let path = &listen.path;
    make_parent(path)?;
    remove_stale(path)?;
    // Bound under another name and renamed, so that nobody connects before the mode is set.
    let unready = unready_name(path);
    remove_stale(&unready)?;
    let listener = UnixListener::bind(&unready)
        .with_context(|| format!("cannot make the socket {}", path.display()))?;
    fs::set_permissions(&unready, Permissions::from_mode(listen.mode))
        .with_context(|| format!("cannot set the mode of {}", unready.display()))?;
    fs::rename(&unready, path).with_context(|| format!("cannot name {}", path.display()))?;
    let socket = Socket {
        listener,
        name: Name::Own(path.clone()),
    };
    socket
        .listener
        .set_nonblocking(true)
        .context("cannot make the socket non-blocking")?;
    Ok(socket)
}

fn unready_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNREADY_SUFFIX);
    name.into()
}

/// Makes the last component of the socket's directory, as the daemon's own runtime directory is often not there.
fn make_parent(path: &Path) -> anyhow::Result<()> {
    let Some(dir) = path.parent() else {
        return Ok(());
    };
    let shown = dir.display();
    let what = || format!("cannot make the directory {shown} of the socket");
    match fs::DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = dir.parent().unwrap_or(dir);
            let advised = Advised {
                what: format!("{}: {} is not there", what(), above.display()),
                hint: format!(
                    "make it, with 'mkdir -p {}', or {ANOTHER}",
                    shell_word(above)
                ),
                code: exit::IOERR,
            };
            Err(advised.into())
        }
        Err(error) => Err(error).with_context(what),
    }
}

/// Removes a socket that nobody listens on. Whatever else has that name stays.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot look at {shown}"))?,
    };
    if !meta.file_type().is_socket() {
        let advised = Advised {
            what: format!("{shown} exists and is no socket"),
            hint: format!("move it away, or {ANOTHER}"),
            code: exit::CONFIG,
        };
        return Err(advised.into());
    }
    // A listener without room for another connection must not hold up the start.
    let error = match probe_socket(path) {
        Ok(()) => {
            let advised = Advised {
                what: format!("another process answers on {shown}"),
                hint: format!(
                    "if it is batchd, 'batchctl --socket {} status' tells its pid; stop it, or {ANOTHER}",
                    shell_word(path)
                ),
                code: exit::IOERR,
            };
            return Err(advised.into());
        }
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot remove {shown}"))
        }
        // That of another user, say, or one that is no stream: whoever it is may be there.
        _ => {
            let advised = Advised {
                what: format!("it cannot be told whether anybody listens on {shown} ({error})"),
                hint: format!("remove it if nobody does, or {ANOTHER}"),
                code: exit::CONFIG,
            };
            Err(advised.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use insta::assert_snapshot;

    use super::*;
    use crate::config::model::SOCKET_PATH_BYTES_MAX;

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
        assert_snapshot!(refusal(&dir, &listen), @"
        74 another process answers on DIR/run/batchd.sock
        if it is batchd, 'batchctl --socket DIR/run/batchd.sock status' tells its pid; stop it, or set another `path` in [[listen]]
        ");
        // Whoever has no room for another connection is there all the same: that of the first look waits.
        rustix::net::listen(&socket.listener, 0).unwrap();
        assert!(refusal(&dir, &listen).contains("answers on"));
        drop(socket);
        assert!(!listen.path.exists());
    }

    #[test]
    fn a_path_in_a_command_is_one_word() {
        let dir = tempfile::tempdir().unwrap();
        let mode = 0o600;
        let path = dir.path().join("a b/run/sock");
        assert_snapshot!(refusal(&dir, &Listen { path, mode }), @"
        74 cannot make the directory DIR/a b/run of the socket: DIR/a b is not there
        make it, with 'mkdir -p 'DIR/a b'', or set another `path` in [[listen]]
        ");
        let path = dir.path().join("a b/sock");
        let listen = Listen { path, mode };
        let _socket = bind(&listen).unwrap();
        assert_snapshot!(refusal(&dir, &listen), @"
        74 another process answers on DIR/a b/sock
        if it is batchd, 'batchctl --socket 'DIR/a b/sock' status' tells its pid; stop it, or set another `path` in [[listen]]
        ");
    }

    #[test]
    fn an_inherited_socket_takes_the_place_of_the_configured_one_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let configured = ["same", "link", "other"].map(|name| Listen {
            path: path(name),
            mode: 0o600,
        });
        let inherit = |name: &str| {
            let listener = UnixListener::bind(path(name)).unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(0o640)).unwrap();
            listener
        };
        let inherited = vec![inherit("same"), inherit("target"), inherit("more")];
        std::os::unix::fs::symlink(path("target"), path("link")).unwrap();
        let sockets = open_all(&configured, inherited).unwrap();
        let names: Vec<_> = sockets.iter().map(ToString::to_string).collect();
        let expected = [
            "same (inherited)",
            "target (inherited)",
            "more (inherited)",
            "other",
        ];
        assert_eq!(names, expected.map(|name| path(name).display().to_string()));
        for name in ["same", "target", "more", "other"] {
            UnixStream::connect(path(name)).unwrap();
        }
        drop(sockets);
        assert!(!path("other").exists(), "bound here, so removed here");
        for name in ["same", "target", "more"] {
            let meta = fs::metadata(path(name)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o640, "{name}");
        }
    }

    #[test]
    fn a_socket_without_a_file_can_be_inherited() {
        let name = format!("batchd-listen-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let sockets = open_all(&[], vec![listener]).unwrap();
        let names: Vec<_> = sockets.iter().map(ToString::to_string).collect();
        assert_eq!(names, [format!("@{name} (inherited)")]);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let listen = at(&dir);
        fs::create_dir(dir.path().join("run")).unwrap();
        for path in [unready_name(&listen.path), listen.path.clone()] {
            fs::write(&path, "mine").unwrap();
            assert_eq!(
                refusal(&dir, &listen),
                format!(
                    "78 {} exists and is no socket\nmove it away, or set another `path` in [[listen]]",
                    shown(&dir, &path)
                )
            );
            assert_eq!(fs::read(&path).unwrap(), b"mine");
        }
    }

    #[test]
    fn a_socket_that_is_perhaps_listened_on_stays() {
        let dir = tempfile::tempdir().unwrap();
        let listen = at(&dir);
        fs::create_dir(dir.path().join("run")).unwrap();
        for path in [unready_name(&listen.path), listen.path.clone()] {
            let datagrams = UnixDatagram::bind(&path).unwrap();
            assert_eq!(
                refusal(&dir, &listen),
                format!(
                    "78 it cannot be told whether anybody listens on {} (Protocol wrong type for socket \
                     (os error 91))\nremove it if nobody does, or set another `path` in [[listen]]",
                    shown(&dir, &path)
                )
            );
            let sender = UnixDatagram::unbound().unwrap();
            sender.send_to(b"x", &path).unwrap();
            drop(datagrams);
        }
    }

    #[test]
    fn a_socket_whose_directory_cannot_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/batchd/batchd.sock");
        let listen = Listen { path, mode: 0o600 };
        assert_snapshot!(refusal(&dir, &listen), @"
        74 cannot make the directory DIR/run/batchd of the socket: DIR/run is not there
        make it, with 'mkdir -p DIR/run', or set another `path` in [[listen]]
        ");
    }

    /// What `check-config` lets pass can be bound.
    #[test]
    fn the_longest_path_has_room_for_the_name_it_is_bound_under() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().as_os_str().len() + 1;
        let name = |bytes: usize| dir.path().join("s".repeat(bytes - directory));
        let mode = 0o600;
        let longest = name(SOCKET_PATH_BYTES_MAX);
        bind(&Listen {
            path: longest,
            mode,
        })
        .unwrap();
        let longer = name(SOCKET_PATH_BYTES_MAX + 1);
        bind(&Listen { path: longer, mode }).unwrap_err();
    }

    fn shown(dir: &tempfile::TempDir, path: &Path) -> String {
        let path = path.strip_prefix(dir.path()).unwrap();
        format!("DIR/{}", path.display())
    }

    /// The exit code, why, and what to do about it.
    #[track_caller]
    fn refusal(dir: &tempfile::TempDir, listen: &Listen) -> String {
        let failure = open_all(std::slice::from_ref(listen), Vec::new()).unwrap_err();
        let root = dir.path().to_str().unwrap();
        let hint = failure.hint.unwrap_or_default();
        format!("{} {}\n{hint}", failure.code, failure.error).replace(root, "DIR")
    }
}

//! What may help where the daemon's socket cannot be connected to. That depends on what lies there, on who says that
//! it is the socket, and on where else a daemon may be.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use batchd_client::options::SYSTEM_SOCKET;
use batchd_client::probe_socket;
use batchd_protocol::shell_word;

use crate::failure::is_denied;
use crate::world::{Origin, Socket, Surroundings};

/// The unit that starts the daemon of the system.
const UNIT: &str = "batchd.service";
/// Where systemd looks for it, below the root.
const UNIT_DIRECTORIES: [&str; 3] = [
    "etc/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// There while systemd runs, below the root.
const SYSTEMD: &str = "run/systemd/system";

/// What a look around shows.
#[derive(Debug)]
pub(crate) struct Around {
    /// What has the path of the socket.
    pub(crate) there: There,
    /// Another of the usual sockets, on which somebody listens. Looked for only where nobody named a socket.
    pub(crate) answers: Option<PathBuf>,
    /// Whether systemd runs here and has a unit for the daemon.
    pub(crate) has_unit: bool,
}

/// What has a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    Socket,
    /// A file, say, or a directory.
    NoSocket,
    /// This user may not look.
    Hidden,
}

impl Around {
    pub(crate) fn look(socket: &Socket, surroundings: &Surroundings) -> Self {
        let there = match std::fs::metadata(&socket.path) {
            Ok(found) if found.file_type().is_socket() => There::Socket,
            Ok(_) => There::NoSocket,
            Err(error) if is_denied(&error) => There::Hidden,
            Err(_) => There::Nothing,
        };
        let mut usual = match socket.origin {
            Origin::Usual => surroundings.usual_sockets(),
            Origin::Option | Origin::Variable => Vec::new(),
        };
        usual.retain(|path| *path != socket.path && probe_socket(path).is_ok());
        let below_root = |path| surroundings.root.join(path);
        let has_unit = |dir| below_root(dir).join(UNIT).exists();
        Self {
            there,
            answers: usual.into_iter().next(),
            has_unit: below_root(SYSTEMD).exists() && UNIT_DIRECTORIES.into_iter().any(has_unit),
        }
    }
}

/// What may help.
pub(crate) fn hint(error: &io::Error, socket: &Socket, around: &Around) -> String {
    if is_denied(error) {
        return match around.there {
            There::Hidden => "this user may not enter its directory: run batchctl as the user of the daemon, or give \
                batchd a `path` elsewhere in [[listen]]"
                .to_owned(),
            _ => format!(
                "'ls -l {}' shows who may write to it: run batchctl as one of them, or set another `mode` in \
                 [[listen]] of batchd",
                shell_word(&socket.path)
            ),
        };
    }
    if error.kind() == ErrorKind::InvalidFilename {
        return "the path of a socket has at most 107 bytes: give a shorter one with --socket"
            .to_owned();
    }
    if let Some(other) = &around.answers {
        return format!(
            "a daemon seems to listen at another place: try --socket {}",
            shell_word(other)
        );
    }
    if around.there == There::NoSocket {
        return "that is no socket: give the --socket of a daemon that runs: its log says 'ready socket=PATH'".to_owned();
    }
    let what = match socket.origin {
        Origin::Option => {
            "start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or give another --socket"
        }
        Origin::Variable => {
            "start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or unset BATCHD_SOCKET, \
             which says to look there"
        }
        Origin::Usual if around.has_unit && socket.path == Path::new(SYSTEM_SOCKET) => {
            "start it, as root, with 'systemctl start batchd.service'"
        }
        Origin::Usual => {
            "start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'"
        }
    };
    format!("no daemon listens there: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use std::os::unix::net::UnixListener;

    fn at(path: &str, origin: Origin) -> Socket {
        Socket {
            path: PathBuf::from(path),
            origin,
        }
    }

    fn around(there: There) -> Around {
        Around {
            there,
            answers: None,
            has_unit: false,
        }
    }

    #[test]
    fn nobody_listens() {
        let told =
            |path, origin, around| hint(&ErrorKind::NotFound.into(), &at(path, origin), &around);
        let nothing = || around(There::Nothing);
        assert_snapshot!(told("/s", Origin::Usual, nothing()), @"no daemon listens there: start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'");
        assert_snapshot!(told("/s", Origin::Option, nothing()), @"no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or give another --socket");
        assert_snapshot!(told("/s", Origin::Variable, nothing()), @"no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or unset BATCHD_SOCKET, which says to look there");
        let has_unit = || Around {
            has_unit: true,
            ..nothing()
        };
        assert_snapshot!(told(SYSTEM_SOCKET, Origin::Usual, has_unit()), @"no daemon listens there: start it, as root, with 'systemctl start batchd.service'");
        assert_eq!(
            told("/s", Origin::Usual, has_unit()),
            told("/s", Origin::Usual, nothing()),
            "the unit listens elsewhere"
        );
        let answers = Around {
            answers: Some(PathBuf::from("/run/user/7/batchd/batchd.sock")),
            ..has_unit()
        };
        assert_snapshot!(told(SYSTEM_SOCKET, Origin::Usual, answers), @"a daemon seems to listen at another place: try --socket /run/user/7/batchd/batchd.sock");
        let answers = Around {
            answers: Some(PathBuf::from("/a b/batchd.sock")),
            ..nothing()
        };
        assert_snapshot!(told(SYSTEM_SOCKET, Origin::Usual, answers), @"a daemon seems to listen at another place: try --socket '/a b/batchd.sock'");
        assert_snapshot!(told("/s", Origin::Option, around(There::NoSocket)), @"that is no socket: give the --socket of a daemon that runs: its log says 'ready socket=PATH'");
    }

    #[test]
    fn who_may_not_connect() {
        let told_of = |path, there| {
            hint(
                &ErrorKind::PermissionDenied.into(),
                &at(path, Origin::Usual),
                &around(there),
            )
        };
        let told = |there| told_of("/s", there);
        assert_snapshot!(told_of("/a b", There::Socket), @"'ls -l '/a b'' shows who may write to it: run batchctl as one of them, or set another `mode` in [[listen]] of batchd");
        assert_snapshot!(told(There::Socket), @"'ls -l /s' shows who may write to it: run batchctl as one of them, or set another `mode` in [[listen]] of batchd");
        assert_snapshot!(told(There::Hidden), @"this user may not enter its directory: run batchctl as the user of the daemon, or give batchd a `path` elsewhere in [[listen]]");
    }

    #[test]
    fn what_is_there_is_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        let (home, run) = (dir.path().join("home"), dir.path().join("run"));
        let surroundings = Surroundings {
            socket: None,
            runtime_dir: Some(run.clone()),
            state_home: Some(home.clone()),
            is_root: false,
            root: dir.path().to_owned(),
        };
        let look = |path: &Path, origin| {
            let socket = Socket {
                path: path.to_owned(),
                origin,
            };
            Around::look(&socket, &surroundings)
        };
        let name = "batchd/batchd.sock";
        assert_eq!(look(&run.join(name), Origin::Option).there, There::Nothing);
        std::fs::create_dir_all(home.join("batchd")).expect("a directory");
        let listener = UnixListener::bind(home.join(name)).expect("a socket");
        assert_eq!(
            look(&run.join(name), Origin::Usual).answers,
            Some(home.join(name))
        );
        // A daemon without room for another connection is there all the same: that of the first look waits.
        rustix::net::listen(&listener, 0).expect("a shorter backlog");
        assert_eq!(
            look(&run.join(name), Origin::Usual).answers,
            Some(home.join(name))
        );
        assert_eq!(look(&run.join(name), Origin::Option).answers, None);
        assert_eq!(look(&home.join(name), Origin::Option).there, There::Socket);
        assert_eq!(look(&home, Origin::Option).there, There::NoSocket);
        drop(listener);
        assert_ne!(
            look(&run.join(name), Origin::Usual).answers,
            Some(home.join(name))
        );
    }

    #[test]
    fn the_unit_is_found_where_systemd_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let surroundings = Surroundings {
            socket: None,
            runtime_dir: None,
            state_home: None,
            is_root: false,
            root: dir.path().to_owned(),
        };
        let has_unit = || Around::look(&at("/s", Origin::Option), &surroundings).has_unit;
        for units in UNIT_DIRECTORIES {
            let (units, systemd) = (dir.path().join(units), dir.path().join(SYSTEMD));
            std::fs::create_dir_all(&units).expect("a directory");
            std::fs::create_dir_all(&systemd).expect("a directory");
            assert!(!has_unit(), "{}", units.display());
            std::fs::write(units.join(UNIT), "").expect("a unit");
            assert!(has_unit(), "{}", units.display());
            std::fs::remove_dir(&systemd).expect("an empty directory");
            assert!(!has_unit(), "systemd does not run");
            std::fs::remove_file(units.join(UNIT)).expect("a unit");
        }
    }
}

//! A Unix socket that never blocks, and waiting for it with a bound.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

use crate::client_state::Socket;

/// Longest single wait; whoever waits looks at the time and comes again.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Connects without waiting: a listener whose backlog is full is [`io::ErrorKind::WouldBlock`].
pub(crate) fn connect_now(path: &Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

/// Succeeds where somebody listens on a socket, also somebody with so many connections that there is no room for
/// another. Never waits.
///
/// # Errors
/// The system's, of the attempt to connect.
pub fn probe_socket(path: &Path) -> io::Result<()> {
    match connect_now(path) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        connected => connected.map(drop),
    }
}

impl Socket for UnixStream {
    /// Without a signal where nobody reads any more.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self, bytes, SendFlags::NOSIGNAL)?)
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self;
        stream.read(buffer)
    }
}

/// Waits until there is something to read, or room to write if that is wanted, or the time is up.
pub(crate) fn wait_ready(stream: &UnixStream, want_write: bool, bound: Duration) -> io::Result<()> {
    let mut wanted = PollFlags::IN;
    if want_write {
        wanted |= PollFlags::OUT;
    }
    let timeout = Timespec::try_from(bound.min(WAIT_MAX)).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(stream, wanted)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_probe_does_not_wait_for_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let kind = || probe_socket(&path).map_err(|error| error.kind());
        assert_eq!(kind(), Err(io::ErrorKind::NotFound));
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(kind(), Ok(()));
        rustix::net::listen(&listener, 0).unwrap();
        let full = connect_now(&path).map_err(|error| error.kind());
        assert_eq!(
            full.err(),
            Some(io::ErrorKind::WouldBlock),
            "that of the probe waits"
        );
        assert_eq!(kind(), Ok(()));
        drop(listener);
        assert_eq!(kind(), Err(io::ErrorKind::ConnectionRefused));
    }
}

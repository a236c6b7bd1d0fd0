//! A Unix socket that never blocks, and waiting for it with a bound.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

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

/// Sends what the kernel takes at once, without a signal where nobody reads any more.
pub(crate) fn send_now(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(stream, bytes, SendFlags::NOSIGNAL)?)
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

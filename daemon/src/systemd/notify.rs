//! What the service manager is told, as in sd_notify(3): datagrams to the socket that a variable of the environment
//! names. Nothing here fails the daemon: what cannot be told is a line in the log.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The variable that names the manager's socket.
pub(crate) const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// A manager that does not read is waited for at most so long.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// A start that takes long is told of this often.
const PATIENCE_INTERVAL: Duration = Duration::from_secs(10);
/// For so long more, each time, the manager is asked not to give up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tells the service manager how the daemon does; nobody, where there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manager(Option<Arc<Route>>);

/// Not connected, so that a manager that was restarted meanwhile is told too.
#[derive(Debug)]
struct Route {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// The manager at the value of [`NOTIFY_VARIABLE`]: a path, or an `@` and the name of an abstract socket.
    pub(crate) fn at(address: Option<&OsStr>) -> Self {
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        match Route::to(address) {
            Ok(route) => Self(Some(Arc::new(route))),
            Err(error) => {
                tracing::warn!(%error, socket = ?address, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// The daemon recovers its spool at `spool`, on the thread that calls this, until the returned value goes. As
    /// long as that reads or writes anything, the manager is asked for more time.
    pub(crate) fn recovering(&self, spool: &Path) -> Option<Patience> {
        let status = format!("recovering {}", spool.display());
        let progress = own_io_counter();
        self.wait_patiently(status, PATIENCE_INTERVAL, progress)
    }

    /// From now on submissions are taken.
    pub(crate) fn ready(&self, status: impl FnOnce() -> String) {
        self.tell(|| format!("READY=1\nSTATUS={}", one_line(&status())));
    }

    /// How the daemon does, in one line for people.
    pub(crate) fn status(&self, status: impl FnOnce() -> String) {
        self.tell(|| format!("STATUS={}", one_line(&status())));
    }

    /// The daemon is about to end.
    pub(crate) fn stopping(&self, why: &str) {
        self.tell(|| format!("STOPPING=1\nSTATUS=stopping: {}", one_line(why)));
    }

    fn wait_patiently(
        &self,
        status: String,
        interval: Duration,
        mut progress: impl FnMut() -> Option<u64> + Send + 'static,
    ) -> Option<Patience> {
        self.0.as_ref()?;
        let manager = self.clone();
        let (over, is_over) = mpsc::channel::<()>();
        let started = Instant::now();
        let mut last = None;
        let mut beg = move || {
            let now = progress();
            let got_on = now.is_none() || now != last;
            last = now;
            manager.tell(|| patience_message(&status, started.elapsed(), got_on));
        };
        beg();
        let thread = std::thread::Builder::new()
            .name("patience".into())
            .spawn(move || {
                while is_over.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    beg();
                }
            });
        match thread {
            Ok(thread) => Some(Patience {
                over: Some(over),
                thread: Some(thread),
            }),
            Err(error) => {
                tracing::warn!(%error, "the service manager is not asked for patience");
                None
            }
        }
    }

    fn tell(&self, message: impl FnOnce() -> String) {
        let Some(route) = &self.0 else { return };
        let sent = route
            .socket
            .send_to_addr(message().as_bytes(), &route.address);
        if let Err(error) = sent {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}

impl Route {
    fn to(address: &OsStr) -> io::Result<Self> {
        let bytes = address.as_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if bytes.starts_with(b"/") => SocketAddr::from_pathname(Path::new(address))?,
            None => {
                let message = "neither an absolute path nor the name of an abstract socket";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, address })
    }
}

/// Asks the manager for patience while it lives.
#[derive(Debug)]
pub(crate) struct Patience {
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Patience {
    fn drop(&mut self) {
        drop(self.over.take());
        // Nothing of it may arrive behind what is told next.
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread that asks for patience had panicked");
        }
    }
}

fn patience_message(status: &str, elapsed: Duration, got_on: bool) -> String {
    let mut message = format!("STATUS={}", one_line(status));
    match elapsed.as_secs() {
        0 => {}
        seconds => message += &format!(", for {seconds} s so far"),
    }
    if got_on {
        message += &format!("\nEXTEND_TIMEOUT_USEC={}", PATIENCE.as_micros());
    }
    message
}

/// A counter that moves when the calling thread reads or writes; it says nothing where the kernel does not count.
fn own_io_counter() -> impl FnMut() -> Option<u64> + Send + 'static {
    // Not `thread-self`, which would be whoever asks.
    let counters =
        fs::read_link("/proc/thread-self").map(|task| Path::new("/proc").join(task).join("io"));
    move || {
        let text = fs::read_to_string(counters.as_ref().ok()?).ok()?;
        let calls = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            matches!(name, "syscr" | "syscw").then(|| value.parse::<u64>().ok())?
        });
        Some(calls.sum())
    }
}

/// What separates the fields of a message may not be in one.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        socket: UnixDatagram,
        _dir: tempfile::TempDir,
    }

    impl Fake {
        fn new() -> (Self, Manager) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            let manager = Manager::at(Some(path.as_os_str()));
            (Self { socket, _dir: dir }, manager)
        }

        fn heard(&self) -> String {
            let mut bytes = [0; 4096];
            let count = self.socket.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..count].to_vec()).unwrap()
        }
    }

    #[test]
    fn what_is_told() {
        let (fake, manager) = Fake::new();
        manager.ready(|| "a\nREADY=0\tb".to_owned());
        assert_eq!(fake.heard(), "READY=1\nSTATUS=a READY=0 b");
        manager.status(|| "busy".to_owned());
        assert_eq!(fake.heard(), "STATUS=busy");
        manager.stopping("SIGTERM");
        assert_eq!(fake.heard(), "STOPPING=1\nSTATUS=stopping: SIGTERM");
    }

    #[test]
    fn the_manager_is_asked_for_patience_while_something_happens() {
        let (fake, manager) = Fake::new();
        let mut steps = [Some(7), Some(8), Some(8), None].into_iter();
        let progress = move || steps.next().unwrap_or(Some(9));
        let patience =
            manager.wait_patiently("recovering".into(), Duration::from_millis(1), progress);
        let extended = "EXTEND_TIMEOUT_USEC=120000000";
        for expected in [true, true, false, true, true, false, false] {
            let message = fake.heard();
            assert!(message.starts_with("STATUS=recovering"), "{message}");
            assert_eq!(message.contains(extended), expected, "{message}");
        }
        drop(patience);
        manager.ready(|| "now".to_owned());
        let last =
            std::iter::repeat_with(|| fake.heard()).find(|message| !message.contains("recovering"));
        assert_eq!(last.unwrap(), "READY=1\nSTATUS=now");
    }

    #[test]
    fn how_long_it_takes_is_said() {
        let message = |seconds| patience_message("busy", Duration::from_secs(seconds), false);
        assert_eq!(message(0), "STATUS=busy");
        assert_eq!(message(90), "STATUS=busy, for 90 s so far");
    }

    #[test]
    fn reads_and_writes_of_the_thread_are_counted() {
        let mut counter = own_io_counter();
        let Some(before) = counter() else {
            return; // A kernel that does not count.
        };
        let elsewhere = std::thread::spawn(move || (counter(), counter));
        let (idle, mut counter) = elsewhere.join().unwrap();
        assert!(idle.unwrap() >= before);
        fs::read("/proc/self/stat").unwrap();
        assert!(counter().unwrap() > idle.unwrap());
    }

    #[test]
    fn without_a_manager_nobody_is_told() {
        for address in [None, Some(""), Some("relative"), Some("vsock:2:1")] {
            let manager = Manager::at(address.map(OsStr::new));
            assert!(manager.recovering(Path::new("/s")).is_none());
            manager.ready(|| panic!("nobody asks"));
        }
        // One that is gone is no failure.
        Manager::at(Some(OsStr::new("/nowhere/notify"))).stopping("SIGTERM");
        Manager::at(Some(OsStr::new("@batchd-nobody-is-here"))).stopping("SIGTERM");
    }
}

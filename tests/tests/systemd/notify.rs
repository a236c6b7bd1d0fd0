//! What the service manager is told, and when.

use std::ffi::OsString;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use batchd_tests::{Exit, LONG, Launch, Site, service};

const NOTIFY: &str = "NOTIFY_SOCKET";
const NO_SINK: &str = "[queues.default]\nmax_items = 1\nsink = \"off\"\n";

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    address: OsString,
}

impl Manager {
    fn at_path(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        Self::of(socket, path.into())
    }

    fn abstract_(site: &Site) -> Self {
        let name = site.root().to_str().expect("UTF-8").to_owned();
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Self::of(socket, format!("@{name}").into())
    }

    fn of(socket: UnixDatagram, address: OsString) -> Self {
        socket.set_read_timeout(Some(LONG)).expect("a socket");
        Self { socket, address }
    }

    fn launch(&self) -> Launch {
        Launch::default().env(NOTIFY, &self.address)
    }

    /// The next message.
    #[track_caller]
    fn heard(&self) -> String {
        let mut bytes = vec![0; 4096];
        let count = self.socket.recv(&mut bytes).expect("a message in time");
        bytes.truncate(count);
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// All messages so far.
    fn heard_so_far(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("a socket");
        let mut messages = Vec::new();
        let mut bytes = vec![0; 4096];
        while let Ok(count) = self.socket.recv(&mut bytes) {
            let message = bytes.get(..count).expect("what was received");
            messages.push(String::from_utf8_lossy(message).into_owned());
        }
        self.socket.set_nonblocking(false).expect("a socket");
        messages
    }
}

/// One life of the daemon, as its manager hears of it.
#[track_caller]
fn check_told(site: &Site, manager: &Manager, waiting: &str) {
    let daemon = site.start_with(&manager.launch());
    let recovering = manager.heard();
    let spool = site.spool();
    assert!(
        recovering.starts_with(&format!("STATUS=recovering {}", spool.display())),
        "{recovering}"
    );
    assert!(
        recovering.ends_with("\nEXTEND_TIMEOUT_USEC=120000000"),
        "{recovering}"
    );
    assert_eq!(
        manager.heard(),
        format!("READY=1\nSTATUS=taking submissions: 1 queue, {waiting} waiting")
    );
    // Nothing waits for anything here: ready is ready.
    site.batchctl(["submit"], b"an item\n").success();
    assert_eq!(daemon.term(), Exit::Code(0));
    assert_eq!(
        manager.heard_so_far(),
        ["STOPPING=1\nSTATUS=stopping: SIGTERM"]
    );
}

#[test]
fn the_manager_hears_of_start_and_stop() {
    let site = Site::new(NO_SINK);
    let manager = Manager::at_path(&site.root().join("notify"));
    check_told(&site, &manager, "0 batches");
    check_told(&site, &manager, "1 batch");
    check_told(&site, &manager, "2 batches");
}

#[test]
fn a_manager_may_have_an_abstract_socket() {
    let site = Site::new(NO_SINK);
    let manager = Manager::abstract_(&site);
    check_told(&site, &manager, "0 batches");
}

#[test]
fn a_daemon_that_cannot_start_is_never_ready() {
    let site = Site::new(NO_SINK);
    let manager = Manager::at_path(&site.root().join("notify"));
    fs::write(site.socket(), "no socket").expect("a file");
    let exit = site.try_start(&manager.launch()).expect_err("no start");
    assert_eq!(exit, Exit::Code(78));
    let messages = manager.heard_so_far();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages.iter().all(|message| !message.contains("READY")),
        "{messages:?}"
    );
}

/// A manager that is gone, or was never there, is no reason not to run.
#[test]
fn the_daemon_runs_without_its_manager() {
    let site = Site::new(NO_SINK);
    let gone = site.root().join("gone");
    for address in [gone.as_os_str(), "relative".as_ref(), "".as_ref()] {
        let daemon = site.start_with(&Launch::default().env(NOTIFY, address));
        site.batchctl(["submit"], b"an item\n").success();
        assert_eq!(daemon.term(), Exit::Code(0), "{address:?}");
    }
}

/// By the order of the daemon's own calls: the spool is recovered, and the socket has its name, before the manager
/// is told.
#[test]
fn nothing_is_ready_before_the_socket_is() {
    let Some(strace) = service("strace") else {
        return;
    };
    let site = Site::new(NO_SINK);
    let daemon = site.start();
    site.batchctl(["submit"], b"an item\n").success();
    daemon.kill9();
    let manager = Manager::at_path(&site.root().join("notify"));
    let trace = site.root().join("trace");
    let mut launch = manager.launch();
    launch.wrapper = vec![strace.into(), "-f".into(), "-s200".into(), "-o".into()];
    launch.wrapper.push(trace.clone().into());
    let calls = "trace=sendto,listen,rename,renameat,renameat2";
    launch.wrapper.extend(["-e".into(), calls.into()]);
    let daemon = site.start_with(&launch);
    assert!(manager.heard().contains("recovering"));
    assert!(manager.heard().starts_with("READY=1\n"));
    assert_eq!(daemon.term(), Exit::Code(0));

    let trace = fs::read_to_string(trace).expect("the trace");
    let place = |what: &[&str]| {
        let is_it = |line: &str| what.iter().all(|part| line.contains(part));
        trace
            .lines()
            .position(is_it)
            .unwrap_or_else(|| panic!("{what:?} in\n{trace}"))
    };
    let spool = format!("\"{}/", site.spool().display());
    let socket = format!("\"{}\"", site.socket().display());
    let expected = [
        place(&["sendto(", "STATUS=recovering"]),
        place(&["rename", &spool]),
        place(&["listen("]),
        place(&["rename", &socket]),
        place(&["sendto(", "READY=1"]),
        place(&["sendto(", "STOPPING=1"]),
    ];
    assert!(expected.is_sorted(), "{expected:?}\n{trace}");
}

//! Sockets that somebody listens on before the daemon is there, passed on by systemd's own tool for it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use batchd_tests::{Daemon, Exit, LONG, Launch, Site, binaries, service, wait_until};
use tempfile::NamedTempFile;

const ACTIVATE: &str = "systemd-socket-activate";

/// Under a process that listens at the paths and becomes the daemon at the first connection.
fn activated(paths: &[&Path]) -> Option<Launch> {
    let mut words: Vec<OsString> = vec![service(ACTIVATE)?.into(), "--fdname=batchd".into()];
    for path in paths {
        words.extend(["-l".into(), path.as_os_str().to_owned()]);
    }
    Some(Launch::under(words))
}

/// Submits at a socket.
#[track_caller]
fn submit(socket: &Path, item: &str) {
    let mut command = Command::new(&binaries().batchctl);
    command.arg("--socket").arg(socket).arg("submit");
    batchd_tests::run(&mut command, item.as_bytes()).success();
}

/// Has everything delivered, stops the daemon, and compares.
#[track_caller]
fn check_delivered(site: &Site, daemon: Daemon, expected: &str) {
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(String::from_utf8_lossy(&site.delivered()), expected);
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn the_first_connection_starts_the_daemon_and_is_served() {
    let site = Site::lines(100);
    let Some(launch) = activated(&[&site.socket()]) else {
        return;
    };
    let daemon = site.start_with(&launch);
    let made = fs::metadata(site.socket()).expect("the socket");
    submit(&site.socket(), "one\n");
    submit(&site.socket(), "two\n");
    check_delivered(&site, daemon, "one\ntwo\n");
    // It is not the daemon's to rename, replace, close to others, or remove.
    let left = fs::metadata(site.socket()).expect("the socket is still there");
    assert!(left.file_type().is_socket());
    assert_eq!(
        (left.ino(), left.permissions().mode()),
        (made.ino(), made.permissions().mode())
    );
    assert!(!site.log_text().contains("LISTEN_"), "{}", site.log_text());
}

#[test]
fn a_daemon_that_was_killed_is_started_again_and_recovers() {
    let site = Site::lines(100);
    let Some(launch) = activated(&[&site.socket()]) else {
        return;
    };
    let daemon = site.start_with(&launch);
    submit(&site.socket(), "before\n");
    daemon.kill9();
    // The tool wants to make the socket itself.
    fs::remove_file(site.socket()).expect("the socket");
    let daemon = site.start_with(&launch);
    submit(&site.socket(), "after\n");
    check_delivered(&site, daemon, "before\nafter\n");
}

#[test]
fn sockets_that_are_passed_and_sockets_that_are_configured_go_together() {
    let site = Site::lines(100);
    let at = |name: &str| site.root().join(name);
    let (more, own) = (at("more"), at("own"));
    let text = fs::read_to_string(site.config()).expect("configuration");
    let own_listen = format!(
        "[[listen]]\npath = \"{}\"\nmode = \"0600\"\n",
        own.display()
    );
    fs::write(site.config(), text + &own_listen).expect("configuration");
    let Some(launch) = activated(&[&site.socket(), &more]) else {
        return;
    };
    let daemon = site.start_with(&launch);
    submit(&site.socket(), "configured and passed\n");
    submit(&more, "passed\n");
    submit(&own, "configured\n");
    check_delivered(&site, daemon, "configured and passed\npassed\nconfigured\n");
    assert!(site.socket().exists() && more.exists());
    assert!(!own.exists(), "the daemon made it");
}

/// Without `[[listen]]` there is nothing but what is passed.
#[test]
fn what_is_passed_takes_the_place_of_the_built_in_socket() {
    let site = Site::lines(100);
    let text = fs::read_to_string(site.config()).expect("configuration");
    let listen = format!("[[listen]]\npath = \"{}\"\n", site.socket().display());
    fs::write(site.config(), text.replace(&listen, "")).expect("configuration");
    let Some(mut launch) = activated(&[&site.socket()]) else {
        return;
    };
    let built_in = site.root().join("batchd.sock");
    let runtime = format!("RUNTIME_DIRECTORY={}", site.root().display());
    launch.wrapper.extend(["-E".into(), runtime.into()]);
    let daemon = site.start_with(&launch);
    submit(&site.socket(), "one\n");
    assert!(!built_in.exists(), "{}", built_in.display());
    check_delivered(&site, daemon, "one\n");
}

/// The tool with a socket of another kind; killed on drop.
struct Activator(Child);

impl Activator {
    fn start(site: &Site, options: &[&str], said: &NamedTempFile) -> Option<Self> {
        let child = Command::new(service(ACTIVATE)?)
            .args(options)
            .arg(&binaries().batchd)
            .arg("--config")
            .arg(site.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.reopen().expect("the file"))
            .spawn()
            .expect("start the tool");
        Some(Self(child))
    }
}

impl Drop for Activator {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().expect("wait");
    }
}

/// Passes something that cannot be listened on, wakes the daemon with `wake`, and waits for its complaint.
#[track_caller]
fn check_refused(options: &[&str], wake: impl Fn(&Path) -> bool, complaint: &str) {
    let site = Site::lines(1);
    let said = NamedTempFile::new().expect("a file");
    let socket = site.socket();
    let mut all = options.to_vec();
    all.extend(["-l", socket.to_str().expect("UTF-8")]);
    let Some(mut activator) = Activator::start(&site, &all, &said) else {
        return;
    };
    wait_until("the tool to listen", LONG, || wake(&socket).then_some(()));
    let text = wait_until("a complaint", LONG, || {
        let text = fs::read_to_string(&said).expect("what was said");
        text.lines()
            .find(|line| line.starts_with("batchd: "))
            .map(str::to_owned)
    });
    assert!(text.contains(complaint), "{text}");
    // The tool becomes the daemon, or tells how it ended.
    let ended = wait_until("the daemon to end", LONG, || {
        let all = fs::read_to_string(&said).expect("what was said");
        let code = activator
            .0
            .try_wait()
            .expect("wait")
            .map(|status| status.code());
        code.or_else(|| all.contains("died with code 78").then_some(Some(78)))
    });
    assert_eq!(ended, Some(78));
    assert!(!site.spool().exists(), "nothing was touched");
}

#[test]
fn what_cannot_be_listened_on_is_refused() {
    let send = |path: &Path| {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(b"x", path).is_ok()
    };
    let connect = |path: &Path| UnixStream::connect(path).is_ok();
    check_refused(
        &["-d", "--fdname=odd"],
        send,
        "the inherited descriptor 3 (\"odd\") is no stream socket",
    );
    check_refused(
        &["--accept"],
        connect,
        "is a connection: pass the socket that listens",
    );
}

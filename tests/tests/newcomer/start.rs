//! A daemon that does not start, for other reasons than its configuration or its spool; and one that does without any.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use batchd_tests::{Disk, Kind, root, run, service, skip};
use insta::assert_snapshot;

use crate::bench::{Bench, NO_SINK, allow};

#[test]
fn something_has_the_path_of_the_socket() {
    let bench = Bench::new(NO_SINK);
    let start = || bench.told("batchd --config ROOT/batchd.toml");
    bench.file("sock", "");
    assert_snapshot!(start(), @"
    78
    batchd: ROOT/sock exists and is no socket
    batchd: hint: move it away, or set another `path` in [[listen]]
    ");
    fs::remove_file(bench.site.socket()).expect("a file");
    fs::create_dir(bench.site.socket()).expect("a directory");
    assert_snapshot!(start(), @"
    78
    batchd: ROOT/sock exists and is no socket
    batchd: hint: move it away, or set another `path` in [[listen]]
    ");
    fs::remove_dir(bench.site.socket()).expect("a directory");
    let _socket = UnixDatagram::bind(bench.site.socket()).expect("a socket");
    assert_snapshot!(start(), @"
    78
    batchd: it cannot be told whether anybody listens on ROOT/sock (Protocol wrong type for socket (os error 91))
    batchd: hint: remove it if nobody does, or set another `path` in [[listen]]
    ");
}

#[test]
fn another_daemon_has_the_socket() {
    let bench = Bench::new(NO_SINK);
    let _daemon = bench.start();
    let config = fs::read_to_string(bench.site.config()).expect("configuration");
    bench.file("other.toml", &config.replace("/spool\"", "/other\""));
    assert_snapshot!(bench.told("batchd --config ROOT/other.toml"), @"
    74
    batchd: another process answers on ROOT/sock
    batchd: hint: if it is batchd, 'batchctl --socket ROOT/sock status' tells its pid; stop it, or set another `path` in [[listen]]
    ");
}

#[test]
fn the_socket_cannot_be_made() {
    let Some(bench) = Bench::of_stranger(NO_SINK) else {
        return;
    };
    let config = fs::read_to_string(bench.site.config()).expect("configuration");
    let listen = |path: &str| {
        bench.file(
            "batchd.toml",
            &config.replace("/sock\"", &format!("/{path}\"")),
        );
        bench.told("batchd --config ROOT/batchd.toml")
    };
    assert_snapshot!(listen("no/where/sock"), @"
    74
    batchd: cannot make the directory ROOT/no/where of the socket: ROOT/no is not there
    batchd: hint: make it, with 'mkdir -p ROOT/no', or set another `path` in [[listen]]
    ");
    let private = bench.site.root().join("private");
    fs::create_dir(&private).expect("a directory");
    allow(&private, 0o555);
    assert_snapshot!(listen("private/sock"), @"
    77
    batchd: cannot make the socket ROOT/private/sock: Permission denied (os error 13)
    batchd: hint: set another `path` in [[listen]], in a directory that user N may write to
    ");
    assert_snapshot!(listen("private/run/sock"), @"
    77
    batchd: cannot make the directory ROOT/private/run of the socket: Permission denied (os error 13)
    batchd: hint: user N may not make it: 'install -d -m 0755 -o N ROOT/private/run' does, as root; or set another `path` in [[listen]]
    ");
    allow(&private, 0o700);
}

#[test]
fn a_user_without_a_home() {
    let Some(bench) = Bench::of_stranger(NO_SINK) else {
        return;
    };
    let told = bench.all_told(&["batchd", "batchd check-config"]);
    assert_snapshot!(told, @"
    $ batchd
    78
    batchd: built-in configuration: where to put the spool is not known: set spool.path, or the variable XDG_STATE_HOME or HOME
    batchd: built-in configuration: where to put the socket is not known: set path in [[listen]], or the variable XDG_RUNTIME_DIR or HOME
    batchd: built-in configuration: where to put delivered batches is not known: set queues.default.sink, or the variable XDG_STATE_HOME or HOME
    batchd: hint: 'HOME=DIR batchd' puts all of it below a directory; or name the places in a file, with --config FILE

    $ batchd check-config
    78
    built-in configuration: where to put the spool is not known: set spool.path, or the variable XDG_STATE_HOME or HOME
    built-in configuration: where to put the socket is not known: set path in [[listen]], or the variable XDG_RUNTIME_DIR or HOME
    built-in configuration: where to put delivered batches is not known: set queues.default.sink, or the variable XDG_STATE_HOME or HOME
    hint: 'HOME=DIR batchd' puts all of it below a directory; or name the places in a file, with --config FILE
    ");
    // As of the users of services.
    let nowhere = bench.site.root().join("nowhere");
    fs::create_dir(&nowhere).expect("a directory");
    allow(&nowhere, 0o555);
    assert_snapshot!(bench.told("HOME=ROOT/nowhere batchd"), @"
    77
    batchd: cannot make the directory ROOT/nowhere/.local: Permission denied (os error 13)
    batchd: hint: user N may not make it: run batchd as another user, or set another `path` in [spool]
    ");
}

#[test]
fn too_few_files_may_be_open() {
    let bench = Bench::new(NO_SINK);
    let batchd = bench.command("batchd --config ROOT/batchd.toml");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 8 && exec \"$@\"", "sh"]);
    command.arg(batchd.get_program()).args(batchd.get_args());
    command.env("BATCHD_LOG", "off");
    let said = run(&mut command, b"").expect_code(74);
    let hint = said.stderr.lines().nth(1).unwrap_or_default();
    assert!(said.stderr.contains("Too many open files"), "{said}");
    assert_snapshot!(hint, @"batchd: hint: it may have 8 files open at a time: allow it 1024, with 'ulimit -n 1024' in the shell that starts it, or LimitNOFILE= in the service");
}

#[test]
fn nothing_can_be_written() {
    let Some(disk) = Disk::mount(Kind::Tmpfs(1)) else {
        return;
    };
    let bench = Bench::new(NO_SINK);
    let config = fs::read_to_string(bench.site.config()).expect("configuration");
    let on_disk = |from: &str, to: &str| {
        let path = disk.root().join(to);
        let to = format!("\"{}\"", path.to_str().expect("UTF-8"));
        let from = bench.site.root().join(from);
        let from = format!("\"{}\"", from.to_str().expect("UTF-8"));
        bench.file("other.toml", &config.replace(&from, &to));
        let told = bench.told("batchd --config ROOT/other.toml");
        told.replace(disk.root().to_str().expect("UTF-8"), "DISK")
    };
    let filler = disk.fill(0);
    assert_snapshot!(on_disk("spool", "spool"), @"
    75
    batchd: cannot open the spool: write DISK/spool/FORMAT.tmp: No space left on device (os error 28)
    batchd: hint: make room on that file system: a start must be able to make directories and copies of open batches
    ");
    drop(filler);
    assert!(disk.remount("ro"));
    assert_snapshot!(on_disk("spool", "other"), @"
    75
    batchd: cannot make the directory DISK/other: Read-only file system (os error 30)
    batchd: hint: make that file system writable, or set another `path` in [spool]; under systemd, add ReadWritePaths= for it to the service
    ");
    assert_snapshot!(on_disk("sock", "sock"), @"
    75
    batchd: cannot make the socket DISK/sock: Read-only file system (os error 30)
    batchd: hint: make that file system writable, or set another `path` in [[listen]]; under systemd, add ReadWritePaths= for it to the service
    ");
}

/// The first thing that anybody tries: no configuration, and what is submitted is delivered.
#[test]
fn root_without_a_configuration() {
    let Some(unshare) = service("unshare").filter(|_| root()) else {
        return;
    };
    let bench = Bench::new(NO_SINK);
    let script = r#"
        # What the daemon makes must not be of the machine, which lacks perhaps what it could be hidden by.
        for dir in /run /var/lib /var/spool; do
            test -d "$dir" && mount -t tmpfs tmpfs "$dir" || exit 99
        done
        # That is only read.
        if test -e /etc/batchd; then mount -t tmpfs tmpfs /etc/batchd || exit 99; fi
        batchd=$1 batchctl=$2
        "$batchd" 2>/run/log &
        "$batchctl" submit --wait-for-daemon || exit
        "$batchctl" flush --wait >/dev/null || exit
        cat /var/lib/batchd/delivered/*
        kill $! && wait $!
        "#;
    let programs = ["batchd", "batchctl"].map(|name| bench.command(name).get_program().to_owned());
    let mut command = Command::new(unshare);
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .args(programs);
    for variable in ["BATCHD_SOCKET", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"] {
        command.env_remove(variable);
    }
    let said = run(&mut command, b"hello\n");
    if said.code == Some(99) || said.stderr.contains("unshare failed") {
        return skip(&format!("no mount: {}", said.stderr));
    }
    assert_eq!(said.success().text(), "hello\n");
}

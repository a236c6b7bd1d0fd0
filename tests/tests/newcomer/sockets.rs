//! No daemon answers, or not there, or not to this user.

use std::fs;
use std::path::Path;

use batchd_tests::skip;
use insta::assert_snapshot;

use crate::bench::{Bench, NO_SINK, allow};

#[test]
fn no_daemon() {
    let bench = Bench::new(NO_SINK);
    fs::create_dir(bench.site.root().join("dir")).expect("a directory");
    let told = bench.all_told(&[
        "batchctl --socket ROOT/sock submit",
        "batchctl --socket ROOT/sock status",
        "BATCHD_SOCKET=ROOT/sock batchctl ls",
        "BATCHD_SOCKET=/nonexistent/batchd.sock batchctl status",
        "batchctl --socket ROOT/dir status",
        "batchctl --socket ROOT/batchd.toml status",
        "batchctl --timeout 200ms --socket ROOT/sock submit --wait-for-daemon",
    ]);
    assert_snapshot!(told, @"
    $ batchctl --socket ROOT/sock submit
    69
    batchctl: cannot connect to ROOT/sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or give another --socket

    $ batchctl --socket ROOT/sock status
    69
    batchctl: cannot connect to ROOT/sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or give another --socket

    $ BATCHD_SOCKET=ROOT/sock batchctl ls
    69
    batchctl: cannot connect to ROOT/sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or unset BATCHD_SOCKET, which says to look there

    $ BATCHD_SOCKET=/nonexistent/batchd.sock batchctl status
    69
    batchctl: cannot connect to /nonexistent/batchd.sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or unset BATCHD_SOCKET, which says to look there

    $ batchctl --socket ROOT/dir status
    69
    batchctl: cannot connect to ROOT/dir: Connection refused (os error 111)
    hint: that is no socket: give the --socket of a daemon that runs: its log says 'ready socket=PATH'

    $ batchctl --socket ROOT/batchd.toml status
    69
    batchctl: cannot connect to ROOT/batchd.toml: Connection refused (os error 111)
    hint: that is no socket: give the --socket of a daemon that runs: its log says 'ready socket=PATH'

    $ batchctl --timeout 200ms --socket ROOT/sock submit --wait-for-daemon
    69
    batchctl: no answer within 200ms: cannot connect to ROOT/sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or give another --socket
    ");
}

#[test]
fn a_socket_that_a_killed_daemon_left() {
    let bench = Bench::new(NO_SINK);
    bench.start().kill9();
    assert_snapshot!(bench.told("batchctl --socket ROOT/sock status"), @"
    69
    batchctl: cannot connect to ROOT/sock: Connection refused (os error 111)
    hint: no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or give another --socket
    ");
}

#[test]
fn a_socket_with_too_long_a_path() {
    let bench = Bench::new(NO_SINK);
    let long = "x".repeat(108);
    let told = bench.told(&format!("batchctl --socket /{long} status"));
    assert_snapshot!(told.replace(&long, "LONG"), @"
    69
    batchctl: cannot connect to /LONG: File name too long (os error 36)
    hint: the path of a socket has at most 107 bytes: give a shorter one with --socket
    ");
}

#[test]
fn the_usual_socket_of_a_user() {
    if Path::new("/run/batchd/batchd.sock").exists() {
        return skip("the daemon of this machine would be asked");
    }
    let units = ["/etc", "/usr/lib", "/lib"];
    if units.map(|dir| {
        Path::new(dir)
            .join("systemd/system/batchd.service")
            .exists()
    }) != [false; 3]
    {
        return skip("the service of this machine would be named");
    }
    let listen =
        "[[listen]]\nmode = \"0666\"\npath = \"{root}/home/.local/state/batchd/batchd.sock\"\n";
    let Some(bench) = Bench::of_stranger(&format!("{listen}{NO_SINK}")) else {
        return;
    };
    let (at_home, runtime) = (
        "HOME=ROOT/home batchctl status",
        "HOME=ROOT/home XDG_RUNTIME_DIR=ROOT/run batchctl status",
    );
    let nowhere = bench.all_told(&["batchctl status", at_home, runtime]);
    assert_snapshot!(nowhere, @"
    $ batchctl status
    69
    batchctl: cannot connect to /run/batchd/batchd.sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'

    $ HOME=ROOT/home batchctl status
    69
    batchctl: cannot connect to ROOT/home/.local/state/batchd/batchd.sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'

    $ HOME=ROOT/home XDG_RUNTIME_DIR=ROOT/run batchctl status
    69
    batchctl: cannot connect to ROOT/run/batchd/batchd.sock: No such file or directory (os error 2)
    hint: no daemon listens there: start one with 'batchd', or give the --socket of one that runs: its log says 'ready socket=PATH'
    ");
    fs::create_dir_all(bench.site.root().join("home/.local/state/batchd")).expect("a directory");
    for dir in [
        "home",
        "home/.local",
        "home/.local/state",
        "home/.local/state/batchd",
    ] {
        allow(&bench.site.root().join(dir), 0o777);
    }
    // As a daemon listens that was started without XDG_RUNTIME_DIR.
    let _daemon = bench.start();
    assert_snapshot!(bench.all_told(&[at_home, runtime]), @"
    $ HOME=ROOT/home batchctl status
    0

    $ HOME=ROOT/home XDG_RUNTIME_DIR=ROOT/run batchctl status
    69
    batchctl: cannot connect to ROOT/run/batchd/batchd.sock: No such file or directory (os error 2)
    hint: a daemon seems to listen at another place: try --socket ROOT/home/.local/state/batchd/batchd.sock
    ");
}

#[test]
fn no_permission() {
    let Some(bench) = Bench::of_stranger(NO_SINK) else {
        return;
    };
    let daemon = bench.start();
    allow(&bench.site.socket(), 0o000);
    let told = bench.told("batchctl --socket ROOT/sock status");
    assert_snapshot!(told, @"
    77
    batchctl: cannot connect to ROOT/sock: Permission denied (os error 13)
    hint: 'ls -l ROOT/sock' shows who may write to it: run batchctl as one of them, or set another `mode` in [[listen]] of batchd
    ");
    let hidden = bench.site.root().join("hidden");
    fs::create_dir(&hidden).expect("a directory");
    allow(&hidden, 0o000);
    let told = bench.told("batchctl --socket ROOT/hidden/sock status");
    assert_snapshot!(told, @"
    77
    batchctl: cannot connect to ROOT/hidden/sock: Permission denied (os error 13)
    hint: this user may not enter its directory: run batchctl as the user of the daemon, or give batchd a `path` elsewhere in [[listen]]
    ");
    allow(&hidden, 0o700);
    drop(daemon);
}

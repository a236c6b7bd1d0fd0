//! Spools that somebody else has, or wrote.

use std::fs;

use batchd_tests::root;
use insta::assert_snapshot;

use crate::bench::{Bench, NO_SINK, allow};

#[test]
fn a_daemon_has_it() {
    let bench = Bench::new(NO_SINK);
    let daemon = bench.start();
    let config = fs::read_to_string(bench.site.config()).expect("configuration");
    bench.file("other.toml", &config.replace("/sock\"", "/other\""));
    let told = bench.all_told(&[
        "batchd --config ROOT/batchd.toml",
        "batchd --config ROOT/other.toml",
        "batchctl ls --spool ROOT/spool",
        "batchctl verify --spool ROOT/spool",
    ]);
    let (pid, kill) = (
        format!("pid {}", daemon.pid()),
        format!("kill {}", daemon.pid()),
    );
    let masked = told.replace(&pid, "pid PID").replace(&kill, "kill PID");
    assert_snapshot!(masked, @"
    $ batchd --config ROOT/batchd.toml
    75
    batchd: spool ROOT/spool is in use by another process (batchd, pid PID)
    batchd: hint: 'kill PID' stops it; to run another beside it, set another `path` in [spool] and in [[listen]]

    $ batchd --config ROOT/other.toml
    75
    batchd: spool ROOT/spool is in use by another process (batchd, pid PID)
    batchd: hint: 'kill PID' stops it; to run another beside it, set another `path` in [spool] and in [[listen]]

    $ batchctl ls --spool ROOT/spool
    75
    batchctl: spool ROOT/spool is in use by another process (batchd, pid PID)
    hint: a daemon runs: leave --spool away and ask it, or stop it first

    $ batchctl verify --spool ROOT/spool
    75
    batchctl: spool ROOT/spool is in use by another process (batchd, pid PID)
    hint: a daemon runs: leave --spool away and ask it, or stop it first
    ");
}

#[test]
fn a_reader_has_it() {
    let bench = Bench::new(NO_SINK);
    bench.start().kill9();
    let lock = fs::File::open(bench.site.spool().join("LOCK")).expect("a lock");
    // As batchctl locks it.
    lock.lock_shared().expect("free");
    assert_snapshot!(bench.told("batchd --config ROOT/batchd.toml"), @"
    75
    batchd: spool ROOT/spool is in use by another process (a program that only reads it, such as batchctl with --spool; readers do not note who they are)
    batchd: hint: wait until that has ended, and start again; 'lslocks' shows who locks it
    ");
}

#[test]
fn a_newer_program_wrote_it() {
    let bench = Bench::new(NO_SINK);
    bench.start().kill9();
    bench.file("spool/FORMAT", "batchd-spool 9\n");
    let told = bench.all_told(&[
        "batchd --config ROOT/batchd.toml",
        "batchctl ls --spool ROOT/spool",
    ]);
    assert_snapshot!(told, @"
    $ batchd --config ROOT/batchd.toml
    78
    batchd: spool ROOT/spool has format 'batchd-spool 9', this program knows 'batchd-spool 1'
    batchd: hint: nothing was changed: start the batchd that wrote it, or a newer one, or set another `path` in [spool]

    $ batchctl ls --spool ROOT/spool
    78
    batchctl: spool ROOT/spool has format 'batchd-spool 9', this program knows 'batchd-spool 1'
    hint: nothing was read: use the batchctl that came with the batchd that wrote it
    ");
}

#[test]
fn something_else_is_there() {
    let bench = Bench::new(NO_SINK);
    bench.file("spool", "");
    let told = bench.all_told(&[
        "batchd --config ROOT/batchd.toml",
        "batchctl ls --spool ROOT/spool",
        "batchctl ls --spool ROOT/out",
        "batchctl ls --spool ROOT/nowhere",
    ]);
    assert_snapshot!(told, @"
    $ batchd --config ROOT/batchd.toml
    78
    batchd: ROOT/spool is no directory
    batchd: hint: move it away, or set another `path` in [spool]

    $ batchctl ls --spool ROOT/spool
    66
    batchctl: ROOT/spool is not a spool: it is no directory
    hint: 'batchd check-config' shows the path of the spool, under [spool]

    $ batchctl ls --spool ROOT/out
    66
    batchctl: ROOT/out is not a spool: it has neither FORMAT nor queues/
    hint: 'batchd check-config' shows the path of the spool, under [spool]

    $ batchctl ls --spool ROOT/nowhere
    66
    batchctl: ROOT/nowhere is not a spool: there is no such directory
    hint: 'batchd check-config' shows the path of the spool, under [spool]
    ");
}

#[test]
fn another_user_has_it() {
    // What is made here is somebody else's only to a stranger.
    let Some(bench) = Bench::of_stranger(NO_SINK).filter(|_| root()) else {
        return;
    };
    fs::create_dir(bench.site.spool()).expect("a spool");
    allow(&bench.site.spool(), 0o000);
    let told = bench.all_told(&[
        "batchd --config ROOT/batchd.toml",
        "batchctl ls --spool ROOT/spool",
    ]);
    allow(&bench.site.spool(), 0o700);
    assert_snapshot!(told, @"
    $ batchd --config ROOT/batchd.toml
    77
    batchd: cannot open the spool: lock ROOT/spool/LOCK: Permission denied (os error 13)
    batchd: hint: user N may not write there: run batchd as its owner, whom 'ls -ld ROOT/spool' shows, or set another `path` in [spool]

    $ batchctl ls --spool ROOT/spool
    77
    batchctl: cannot list ROOT/spool: Permission denied (os error 13)
    hint: a spool is its owner's alone: run this as the user of the daemon, or as root
    ");
}

/// As after a start by root.
#[test]
fn another_user_has_what_is_in_it() {
    let Some(bench) = Bench::of_stranger(NO_SINK).filter(|_| root()) else {
        return;
    };
    let spool = bench.site.spool();
    bench.start().kill9();
    let lock = spool.join("LOCK");
    std::os::unix::fs::chown(&lock, Some(0), Some(0)).expect("root may");
    allow(&lock, 0o600);
    assert_snapshot!(bench.told("batchd --config ROOT/batchd.toml"), @"
    77
    batchd: cannot open the spool: lock ROOT/spool/LOCK: Permission denied (os error 13)
    batchd: hint: user N owns the spool, but not all that is in it: 'ls -ld ROOT/spool/LOCK' shows whose that is; run batchd as that user, or set another `path` in [spool]
    ");
}

#[test]
fn it_cannot_be_made() {
    let Some(bench) = Bench::of_stranger(NO_SINK) else {
        return;
    };
    let start = || bench.told("batchd --config ROOT/batchd.toml");
    allow(bench.site.root(), 0o555);
    let root = start();
    allow(bench.site.root(), 0o777);
    assert_snapshot!(root, @"
    77
    batchd: cannot make the directory ROOT/spool: Permission denied (os error 13)
    batchd: hint: user N may not make it: 'install -d -m 0700 -o N ROOT/spool' does, as root; or set another `path` in [spool]
    ");
    let private = bench.site.root().join("private");
    fs::create_dir(&private).expect("a directory");
    let config = fs::read_to_string(bench.site.config()).expect("configuration");
    bench.file(
        "batchd.toml",
        &config.replace("/spool\"", "/private/spool\""),
    );
    allow(&private, 0o000);
    let hidden = start();
    allow(&private, 0o700);
    assert_snapshot!(hidden, @"
    77
    batchd: cannot make the directory ROOT/private/spool: Permission denied (os error 13)
    batchd: hint: user N may not enter a directory above it: run batchd as another user, or set another `path` in [spool]
    ");
}

//! What is to be submitted.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Stdio;

use insta::assert_snapshot;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::bench::{Bench, NO_SINK, allow};

#[test]
fn files_that_cannot_be_read() {
    let Some(bench) = Bench::of_stranger(NO_SINK) else {
        return;
    };
    let _daemon = bench.start();
    allow(&bench.file("private", "one\n"), 0o000);
    fs::create_dir(bench.site.root().join("dir")).expect("a directory");
    let told = bench.all_told(&[
        "batchctl --socket ROOT/sock submit hello",
        "batchctl --socket ROOT/sock submit ROOT/dir",
        "batchctl --socket ROOT/sock submit ROOT/private",
    ]);
    assert_snapshot!(told, @"
    $ batchctl --socket ROOT/sock submit hello
    66
    batchctl: cannot open hello: No such file or directory (os error 2)
    hint: FILE names a file of items; text itself goes in by a pipe, as in 'echo hello | batchctl submit'

    $ batchctl --socket ROOT/sock submit ROOT/dir
    66
    batchctl: cannot open ROOT/dir: is a directory
    hint: give the files in it, as in ROOT/dir/*

    $ batchctl --socket ROOT/sock submit ROOT/private
    77
    batchctl: cannot open ROOT/private: Permission denied (os error 13)
    note: no item is known to be kept
    hint: this user may not read it: 'ls -l ROOT/private' shows who may
    ");
}

#[test]
fn too_much_and_nothing() {
    let bench = Bench::new(NO_SINK);
    let _daemon = bench.start();
    bench.file("long", &format!("short\n{}", "x".repeat((1 << 20) + 1)));
    bench.file("many", &"x\n".repeat(200_000));
    let told = bench.all_told(&[
        "batchctl --socket ROOT/sock submit ROOT/long",
        "batchctl --socket ROOT/sock submit --whole ROOT/long",
        "batchctl --socket ROOT/sock create ROOT/long",
        "batchctl --socket ROOT/sock create ROOT/many",
        "batchctl --socket ROOT/sock create",
        "batchctl --socket ROOT/sock submit",
        "batchctl --socket ROOT/sock submit --verbose",
    ]);
    assert_snapshot!(told, @"
    $ batchctl --socket ROOT/sock submit ROOT/long
    65
    batchctl: ROOT/long: line 2 is longer than the 1048576 bytes the daemon takes
    note: the first item is kept
    hint: split it, or raise item_bytes_max under [limits] of batchd

    $ batchctl --socket ROOT/sock submit --whole ROOT/long
    65
    batchctl: ROOT/long: it is longer than the 1048576 bytes the daemon takes
    note: no item is known to be kept
    hint: split it, or raise item_bytes_max under [limits] of batchd

    $ batchctl --socket ROOT/sock create ROOT/long
    65
    batchctl: ROOT/long: line 2 is longer than the 1048576 bytes the daemon takes
    hint: split it, or raise item_bytes_max under [limits] of batchd

    $ batchctl --socket ROOT/sock create ROOT/many
    65
    batchctl: refused: 200000 items are more than `max_items` of the queue, 1000: give less at once, or raise it
    hint: make several batches, or raise max_items or max_bytes of the queue

    $ batchctl --socket ROOT/sock create
    65
    batchctl: refused: a batch has at least one item: the input was empty

    $ batchctl --socket ROOT/sock submit
    0

    $ batchctl --socket ROOT/sock submit --verbose
    0
    batchctl: no items: the input was empty
    ");
}

/// Who types it would otherwise wait for something to happen.
#[test]
fn a_terminal() {
    let bench = Bench::new(NO_SINK);
    let _daemon = bench.start();
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&keyboard).expect("a terminal");
    unlockpt(&keyboard).expect("a terminal");
    let terminal = ptsname(&keyboard, Vec::new()).expect("a terminal");
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(terminal.to_str().expect("UTF-8"));
    // A line, and the end of the input.
    File::from(keyboard.try_clone().expect("a terminal"))
        .write_all(b"hello\n\x04")
        .expect("typed");
    let mut command = bench.command("batchctl --socket ROOT/sock submit --verbose");
    command
        .stdin(terminal.expect("a terminal"))
        .stderr(Stdio::piped());
    let said = command
        .spawn()
        .expect("batchctl")
        .wait_with_output()
        .expect("an end");
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert_snapshot!(stderr, @"
    batchctl: reading items from the terminal, one a line; Ctrl-D ends them
    batchctl: 1 item (5 bytes) in 1 submission: kept
    ");
    assert!(said.status.success());
}

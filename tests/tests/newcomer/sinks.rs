//! Sinks that can take nothing: what is said before the first delivery, of it, and after it. Nothing is lost, and it is
//! delivered when it can be.

use std::fs;

use batchd_tests::{Disk, Kind, LONG, delivered, wait_until};
use insta::assert_snapshot;

use crate::bench::{Bench, allow};

fn sink(path: &str) -> String {
    format!("[queues.default.sink]\ntype = \"file\"\npath = \"{path}\"\n")
}

/// What is said of a sink that can take nothing, by whom it is said first; in the end a batch waits for it.
fn told(bench: &Bench) -> String {
    let mut told = bench.told("batchd check-config --config ROOT/batchd.toml");
    let first = "the first look at the sinks";
    let looked = wait_until(first, LONG, || {
        Some(bench.warnings()).filter(|warnings| !warnings.is_empty())
    });
    told += &format!("log: {looked}\n");
    bench.site.batchctl(["submit"], b"one\n").success();
    told += &bench.told("batchctl --socket ROOT/sock flush --wait");
    let attempt = "not delivered";
    let warned = wait_until("a failed attempt", LONG, || {
        let warnings = bench.warnings();
        warnings
            .lines()
            .find(|line| line.starts_with(attempt))
            .map(str::to_owned)
    });
    told += &format!("log: {warned}\n");
    let status = bench.site.batchctl(["status"], b"").success();
    let status = status.text();
    let queue = status.lines().skip_while(|line| !line.starts_with("QUEUE"));
    for line in queue.skip(1) {
        // What the last attempt said stands behind the numbers; how many failed by now is left to chance.
        let said = line
            .split_whitespace()
            .skip(if line.contains(" file:") { 12 } else { 0 });
        let said: Vec<_> = said.collect();
        told += &format!("status: {}\n", bench.masked(&said.join(" ")));
    }
    told
}

#[test]
fn its_directory_is_not_there() {
    let bench = Bench::new(&sink("{root}/no/where/batches"));
    let _daemon = bench.start();
    assert_snapshot!(told(&bench), @r#"
    0
    warning: sink of default: directory ROOT/no/where/batches does not exist, nor does ROOT/no/where: mount it if it is a disk of its own, or make it, or change `path`; meanwhile batches are kept, and tried again by themselves
    log: a sink can take nothing now; batches for it are kept, and tried again by themselves queues="default" error="directory ROOT/no/where/batches does not exist, nor does ROOT/no/where: mount it if it is a disk of its own, or make it, or change `path`"
    75
    batchctl: not delivered: queue default: directory ROOT/no/where/batches does not exist, nor does ROOT/no/where: mount it if it is a disk of its own, or make it, or change `path`; the batch is kept and tried again
    hint: mend what the sink says, then flush again: it tries at once
    log: not delivered; the batch is kept and tried again queue=default batch=ID attempt=1 error="directory ROOT/no/where/batches does not exist, nor does ROOT/no/where: mount it if it is a disk of its own, or make it, or change `path`"
    status: directory ROOT/no/where/batches does not exist, nor does ROOT/no/where: mount it if it is a disk of its own, or make it, or change `path`
    status: queue default: its batches are kept, and tried again by themselves; once what LAST ERROR says is mended, 'batchctl flush --queue default' tries at once
    "#);
    // As the message says; and nobody flushes.
    let parent = bench.site.root().join("no/where");
    fs::create_dir_all(&parent).expect("a directory");
    wait_until("another attempt", LONG, || {
        let status = bench.site.batchctl(["status"], b"").success().text();
        (!status.contains("tried again")).then_some(())
    });
    assert_eq!(delivered(&parent.join("batches")), b"one\n");
}

#[test]
fn a_file_is_in_its_place() {
    let bench = Bench::new(&sink("{root}/file"));
    bench.file("file", "");
    let _daemon = bench.start();
    assert_snapshot!(told(&bench), @r#"
    0
    warning: sink of default: ROOT/file is not a directory: move it away or change `path`; meanwhile batches are kept, and tried again by themselves
    log: a sink can take nothing now; batches for it are kept, and tried again by themselves queues="default" error="ROOT/file is not a directory: move it away or change `path`"
    75
    batchctl: not delivered: queue default: ROOT/file is not a directory: move it away or change `path`; the batch is kept and tried again
    hint: mend what the sink says, then flush again: it tries at once
    log: not delivered; the batch is kept and tried again queue=default batch=ID attempt=1 error="ROOT/file is not a directory: move it away or change `path`"
    status: ROOT/file is not a directory: move it away or change `path`
    status: queue default: its batches are kept, and tried again by themselves; once what LAST ERROR says is mended, 'batchctl flush --queue default' tries at once
    "#);
}

#[test]
fn a_file_is_in_its_path() {
    let bench = Bench::new(&sink("{root}/file/batches"));
    bench.file("file", "");
    let _daemon = bench.start();
    assert_snapshot!(told(&bench), @r#"
    0
    warning: sink of default: cannot look into ROOT/file/batches: Not a directory (os error 20): ROOT/file is a file: move it away or change `path`; meanwhile batches are kept, and tried again by themselves
    log: a sink can take nothing now; batches for it are kept, and tried again by themselves queues="default" error="cannot look into ROOT/file/batches: Not a directory (os error 20): ROOT/file is a file: move it away or change `path`"
    75
    batchctl: not delivered: queue default: cannot look into ROOT/file/batches: Not a directory (os error 20): ROOT/file is a file: move it away or change `path`; the batch is kept and tried again
    hint: mend what the sink says, then flush again: it tries at once
    log: not delivered; the batch is kept and tried again queue=default batch=ID attempt=1 error="cannot look into ROOT/file/batches: Not a directory (os error 20): ROOT/file is a file: move it away or change `path`"
    status: cannot look into ROOT/file/batches: Not a directory (os error 20): ROOT/file is a file: move it away or change `path`
    status: queue default: its batches are kept, and tried again by themselves; once what LAST ERROR says is mended, 'batchctl flush --queue default' tries at once
    "#);
}

#[test]
fn its_directory_is_somebody_elses() {
    let Some(bench) = Bench::of_stranger(&sink("{out}")) else {
        return;
    };
    allow(&bench.site.out(), 0o555);
    let _daemon = bench.start();
    allow(&bench.site.socket(), 0o666);
    assert_snapshot!(told(&bench), @r#"
    0
    warning: sink of default: cannot create a file in ROOT/out: Permission denied (os error 13): user N must be able to read, write and enter the directory ROOT/out (its owner and mode say who may), or change `path`; meanwhile batches are kept, and tried again by themselves
    log: a sink can take nothing now; batches for it are kept, and tried again by themselves queues="default" error="cannot create a file in ROOT/out: Permission denied (os error 13): user N must be able to read, write and enter the directory ROOT/out (its owner and mode say who may), or change `path`"
    75
    batchctl: not delivered: queue default: cannot create a file in ROOT/out: permission denied: user N must be able to read, write and enter the directory ROOT/out (its owner and mode say who may), or change `path`; the batch is kept and tried again
    hint: mend what the sink says, then flush again: it tries at once
    log: not delivered; the batch is kept and tried again queue=default batch=ID attempt=1 error="cannot create a file in ROOT/out: permission denied: user N must be able to read, write and enter the directory ROOT/out (its owner and mode say who may), or change `path`"
    status: cannot create a file in ROOT/out: permission denied: user N must be able to read, write and enter the directory ROOT/out (its owner and mode say who may), or change `path`
    status: queue default: its batches are kept, and tried again by themselves; once what LAST ERROR says is mended, 'batchctl flush --queue default' tries at once
    "#);
    allow(&bench.site.out(), 0o777);
    bench.site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(bench.site.delivered(), b"one\n");
}

#[test]
fn its_file_is_somebody_elses() {
    let Some(bench) = Bench::of_stranger(&format!("{}append = true\n", sink("{out}/log"))) else {
        return;
    };
    let log = bench.site.out().join("log");
    fs::write(&log, "").expect("a file");
    allow(&log, 0o444);
    let told = bench.told("batchd check-config --config ROOT/batchd.toml");
    assert_snapshot!(told, @"
    0
    warning: sink of default: cannot write to ROOT/out/log: Permission denied (os error 13): user N must be able to read and write the file ROOT/out/log (its owner and mode say who may), or change `path`; meanwhile batches are kept, and tried again by themselves
    ");
}

#[test]
fn its_disk_is_full_and_then_read_only() {
    let Some(disk) = Disk::mount(Kind::Tmpfs(1)) else {
        return;
    };
    let path = disk.root();
    let shown = path.to_str().expect("UTF-8");
    let bench = Bench::new(&sink(shown));
    let filler = disk.fill(0);
    let _daemon = bench.start();
    bench.site.batchctl(["submit"], b"one\n").success();
    let told = || {
        let told = bench.told("batchctl --socket ROOT/sock flush --wait");
        told.replace(shown, "DISK")
    };
    assert_snapshot!(told(), @"
    75
    batchctl: not delivered: queue default: cannot write DISK/default-00000000000000000001-ID.txt: No space left on device (os error 28): free some space there or change `path`; the batch is kept and tried again
    hint: mend what the sink says, then flush again: it tries at once
    ");
    assert!(disk.remount("ro"));
    assert_snapshot!(told(), @"
    75
    batchctl: not delivered: queue default: cannot create a file in DISK: read-only filesystem or storage medium: the file system is mounted read-only, for systemd's sandbox perhaps: see ReadWritePaths=, or change `path`; the batch is kept and tried again
    hint: mend what the sink says, then flush again: it tries at once
    ");
    assert!(disk.remount("rw"));
    drop(filler);
    bench.site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(delivered(&path), b"one\n");
}

//! Tests of the simulated disk: scripts of calls, and the states that a power cut may leave after them.

mod durability;
mod faults;
mod random;
mod torn;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::env::{File, Fs};

/// A disk with the durable directories `d` and `e`.
fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.mkdir_durable("/d").expect("fresh disk");
    disk.mkdir_durable("/e").expect("fresh disk");
    disk
}

/// Runs a script of calls separated by `;` on a disk from [`disk`]. None may fail.
#[track_caller]
fn run(script: &str) -> SimDisk {
    let disk = disk();
    run_on(&disk, script);
    disk
}

#[track_caller]
fn run_on(disk: &SimDisk, script: &str) {
    for line in script.split(';') {
        if let Err(error) = step(disk, line) {
            panic!("`{line}`: {error}\n{}", disk.op_log());
        }
    }
}

/// Makes one call. `write PATH OFFSET COUNT BYTE` opens the file anew, as all calls on files do.
fn step(disk: &SimDisk, line: &str) -> io::Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let path = |word: &str| Path::new("/").join(word);
    let open = |word: &str| disk.open(&path(word));
    let number = |word: &str| word.parse::<u64>().expect("a number");
    match *words.as_slice() {
        [] => Ok(()),
        ["create", at] => disk.create_new(&path(at)).map(|_| ()),
        ["write", at, offset, count, byte] => {
            let byte = *byte.as_bytes().first().expect("a byte");
            let bytes = vec![byte; usize::try_from(number(count)).expect("small")];
            open(at)?.write_all_at(&bytes, number(offset))
        }
        ["set_len", at, len] => open(at)?.set_len(number(len)),
        ["sync", at] => open(at)?.sync_data(),
        ["sync_dir", at] => disk.sync_dir(&path(at)),
        ["rename", from, to] => disk.rename(&path(from), &path(to)),
        ["link", from, to] => disk.link(&path(from), &path(to)),
        ["unlink", at] => disk.unlink(&path(at)),
        ["mkdir", at] => disk.mkdir(&path(at)),
        ["sync_all"] => {
            disk.sync_all();
            Ok(())
        }
        _ => panic!("no such call: {line}"),
    }
}

/// The files of an image on one line, contents as runs: `d/x=512a,3.` is 512 times `a`, then three zeros.
fn render(image: &Image) -> String {
    let file = |path: &String| {
        let bytes = image.read(path).expect("listed");
        let runs = bytes
            .chunk_by(|one, two| one == two)
            .map(|run| match run.first() {
                None | Some(0) => format!("{}.", run.len()),
                Some(byte) => format!("{}{}", run.len(), char::from(*byte)),
            });
        format!("{path}={}", runs.collect::<Vec<_>>().join(","))
    };
    image.files().iter().map(file).collect::<Vec<_>>().join(" ")
}

/// Everything that a power cut now may leave, but for what chance alone would find.
fn crash_set(disk: &SimDisk) -> BTreeSet<String> {
    let limits = Limits {
        random_states: 0,
        ..Limits::default()
    };
    disk.crash_states(&limits)
        .map(|image| render(&image))
        .collect()
}

/// Runs a script, and demands that a power cut then may leave exactly these states.
#[track_caller]
fn check(script: &str, expected: &[&str]) {
    let found = crash_set(&run(script));
    let expected: BTreeSet<String> = expected.iter().map(|&state| state.to_owned()).collect();
    assert_eq!(found, expected, "after {script}");
}

#[track_caller]
fn check_errno<T>(result: io::Result<T>, errno: i32) {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(errno), "{error}"),
    }
}

fn open(disk: &SimDisk, path: &str) -> Arc<dyn File> {
    disk.open(Path::new(path)).expect("exists")
}

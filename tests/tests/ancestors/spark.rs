//! Spark's structured streaming: a batch every five seconds of what was appended to a file, each line once.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use batchd_tests::{CALLS_MAX, LONG, Place, lines, service, wait_until};

use crate::sample;

/// What makes the difference between taken and not, delivered and not; all others are in `tests/tests/pipe`.
const CALLS: [&str; 4] = ["pwrite64", "fdatasync", "rename", "unlink"];

fn options() -> String {
    format!("--config {}", sample("spark.toml").display())
}

#[test]
fn every_line_is_in_the_output_once_wherever_it_is_killed() {
    let Some(strace) = service("strace") else {
        return;
    };
    let kills: u32 = CALLS.map(|call| kill_at_each(&strace, call)).iter().sum();
    assert!(kills > 10, "{kills}");
}

/// Kills at one call after another, in any thread, until a run gets through. Says how many kills that were.
fn kill_at_each(strace: &Path, call: &str) -> u32 {
    for count in 1..CALLS_MAX {
        let place = Place::with_input(lines(0..30));
        let mut traced: Vec<OsString> = vec![strace.into(), "-f".into(), "-qq".into()];
        traced.extend(["-o", "/dev/null", "-e"].map(Into::into));
        traced.extend([format!("trace={call}"), "-e".into()].map(OsString::from));
        traced.push(format!("inject={call}:signal=KILL:when={count}").into());
        traced.extend(place.words(&options()));
        let killed = place.take_with(&traced);
        assert!(matches!(killed.code, None | Some(0 | 137)), "{killed}");
        place.append(lines(30..40));
        let again = place.take(&options());
        assert_eq!(again.code, Some(0), "{call} {count}\n{again}");
        assert_eq!(place.delivered(), lines(0..40), "{call} {count}\n{again}");
        if killed.code == Some(0) {
            return count - 1;
        }
    }
    panic!("more than {CALLS_MAX} calls of {call}");
}

#[test]
fn a_beat_delivers_while_the_input_goes_on() {
    let place = Place::new();
    let mut child = place.start(&options());
    let mut stdin = child.stdin.take().expect("piped");
    for beat in 1..=2 {
        stdin.write_all(b"line\n").expect("written");
        wait_until("the beat", LONG, || {
            (place.delivered() == "line\n".repeat(beat)).then_some(())
        });
    }
    drop(stdin);
    assert!(child.wait().expect("ended").success());
    assert_eq!(place.batches(), [1, 1]);
}

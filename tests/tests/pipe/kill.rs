//! A pipe from a file is killed at every step, and run again.
//!
//! It is killed (SIGKILL, on entry, so that the call does not happen) at the first, second, third... call of one kind
//! in one thread, until a run gets through. Then more is written to the input, and the same command is run to its
//! end: every line has to come out once, in order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use batchd_tests::{
    CALLS_MAX, DISK_CALLS, LONG, Place, Signal, Tracer, lines, service, wait_until,
};

/// Small batches, and submissions of some items: some are cut, some are not. The input ends without a newline.
const OPTIONS: &str = "--max-items 3 --quota-items 32 --max-age off";
const WORKERS: usize = 2;

/// Whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    /// The thread that takes the input in, from the first start on.
    Main,
    /// The thread that seals and makes files ahead.
    House,
    /// The threads that deliver.
    Sink,
}

impl Whom {
    const ALL: [Self; 3] = [Self::Main, Self::House, Self::Sink];
}

#[test]
fn every_line_of_a_file_comes_out_once_wherever_it_is_killed() {
    let Some(strace) = service("strace") else {
        return;
    };
    let start = Instant::now();
    let kinds: Vec<_> = Whom::ALL
        .iter()
        .flat_map(|whom| DISK_CALLS.map(|call| (*whom, call)))
        .collect();
    let (next, killed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((whom, call)) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let kills = kill_at_each(&strace, *whom, call);
                    let mut killed = killed.lock().expect("no worker panicked");
                    *killed.entry(*whom).or_insert(0) += kills;
                }
            });
        }
    });
    let killed = killed.into_inner().expect("no worker panicked");
    let text = format!(
        "killed at {killed:?}, in {:.1} s\n",
        start.elapsed().as_secs_f64()
    );
    io::stderr().write_all(text.as_bytes()).expect("stderr");
    for whom in Whom::ALL {
        assert!(
            killed.get(&whom).is_some_and(|kills| *kills > 10),
            "{whom:?}: {text}"
        );
    }
}

/// What comes out where it is killed when its one batch is delivered and about to be entered in the ledger, and run
/// again.
fn killed_at_the_record(strace: &Path, planted: Option<&'static str>) -> String {
    let place = Place::with_input("one\n").planted(planted);
    let mut traced: Vec<OsString> = vec![strace.into(), "-f".into(), "-qq".into(), "-P".into()];
    traced.push(place.spool().join("queues/default/ledger").into());
    let kill = "inject=pwrite64:signal=KILL:when=1";
    traced.extend(["-e", "trace=pwrite64", "-e", kill].map(Into::into));
    traced.extend(place.words(""));
    let killed = place.take_with(&traced);
    assert!(matches!(killed.code, None | Some(137)), "{killed}");
    assert_eq!(place.delivered(), "one\n");
    place.take("").success();
    place.delivered()
}

#[test]
fn a_bug_planted_on_purpose_is_found() {
    let Some(strace) = service("strace") else {
        return;
    };
    assert_eq!(killed_at_the_record(&strace, None), "one\n");
    let bug = Some("unlink-before-record");
    assert_eq!(killed_at_the_record(&strace, bug), "one\none\n");
}

/// Kills at one call after another, until a run gets through. Says how many kills that were.
fn kill_at_each(strace: &Path, whom: Whom, call: &str) -> u32 {
    for count in 1..CALLS_MAX {
        let place = Place::with_input(lines(0..30) + "the end");
        leave_behind(&place);
        let was_killed = run_killed(strace, whom, call, count, &place);
        place.append("!\n");
        place.append(lines(31..40));
        let again = place.take(OPTIONS);
        let point = format!("{whom:?}: {call} {count}\n{again}");
        assert_eq!(again.code, Some(0), "{point}");
        assert!(!again.stderr.contains("panicked"), "{point}");
        check(&place, &point);
        // Nothing is left to be delivered, or to be taken.
        place.take(OPTIONS).success();
        check(&place, &point);
        if !was_killed {
            return count - 1;
        }
    }
    panic!("{whom:?}: more than {CALLS_MAX} calls of {call}");
}

fn check(place: &Place, point: &str) {
    // The last line was taken before it was whole, or after.
    let before = "left behind\n".to_owned() + &lines(0..30);
    let early = format!("{before}the end\n!\n{}", lines(31..40));
    let late = format!("{before}the end!\n{}", lines(31..40));
    let delivered = place.delivered();
    assert!(
        delivered == early || delivered == late,
        "{point}\n{delivered}"
    );
    let batches = place.batches();
    assert!(
        batches.iter().all(|items| *items <= 3),
        "{point}\n{batches:?}"
    );
}

/// Leaves a batch behind, so that the threads that deliver are there from the start.
fn leave_behind(place: &Place) {
    fs::write(place.out(), "in the way").expect("written");
    place
        .pipe("--shutdown-timeout 1ms", b"left behind\n")
        .expect_code(75);
    fs::remove_file(place.out()).expect("there");
}

/// Takes the input in, and kills that at a call. Says whether it came to it.
fn run_killed(strace: &Path, whom: Whom, call: &str, count: u32, place: &Place) -> bool {
    let kill = [
        "-e".to_owned(),
        format!("trace=?{call}"),
        "-e".to_owned(),
        format!("inject=?{call}:signal=KILL:when={count}"),
    ];
    let words = place.words(OPTIONS);
    match whom {
        Whom::Main => {
            let mut traced: Vec<OsString> = vec![strace.into()];
            traced.push("-qq".into());
            traced.extend(kill.map(OsString::from));
            traced.extend(words);
            let said = place.take_with(&traced);
            assert!(matches!(said.code, None | Some(0 | 137)), "{said}");
            said.code != Some(0)
        }
        Whom::House => run_killed_in("house", strace, &kill, &words, place),
        Whom::Sink => run_killed_in("main", strace, &kill, &words, place),
    }
}

/// The threads are there before the first look at the input. At that it is stopped, until they are attached to.
fn run_killed_in(
    thread: &str,
    strace: &Path,
    kill: &[String],
    words: &[OsString],
    place: &Place,
) -> bool {
    let (mut child, pid) = start_stopped(thread, strace, words, place);
    let tracer = Tracer::attach_to(strace, pid, thread, kill);
    signal(pid, Signal::CONT);
    let status = wait_until("the pipe to end", LONG, || child.try_wait().expect("wait"));
    tracer.wait();
    let said = fs::read_to_string(place.root().join("said")).unwrap_or_default();
    assert!(
        matches!(status.code(), None | Some(0 | 137)),
        "{status:?}\n{said}"
    );
    status.code() != Some(0)
}

/// Starts a pipe that is stopped before it has read or written anything. Returns the strace that runs it, and its own
/// process.
fn start_stopped(thread: &str, strace: &Path, words: &[OsString], place: &Place) -> (Child, u32) {
    let mut stopped: Vec<OsString> = vec![strace.into(), "-qq".into(), "-P".into()];
    stopped.push(place.input().into());
    // Some time for the threads to begin, and then the stop.
    let delay = "inject=statx:delay_enter=50000:when=1";
    let stop = "inject=lseek:signal=STOP:when=1";
    stopped.extend(["-e", "trace=statx,lseek", "-e", delay, "-e", stop].map(Into::into));
    stopped.extend(words.iter().cloned());
    wait_until("a thread of that name", LONG, || {
        let stderr = File::create(place.root().join("said")).expect("a file");
        let mut child = place
            .command(&stopped)
            .stdin(File::open(place.input()).expect("the input"))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("started");
        let pid = wait_until("the pipe to stop", LONG, || stopped_child(child.id()));
        // A thread names itself, which it may not have come to yet.
        if names(pid).any(|name| name == thread) {
            return Some((child, pid));
        }
        signal(pid, Signal::KILL);
        child.wait().expect("ended");
        None
    })
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a process"), signal).expect("there");
}

fn names(pid: u32) -> impl Iterator<Item = String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    tasks
        .flatten()
        .filter_map(name)
        .map(|name| name.trim_end().to_owned())
}

/// The process that strace runs, once all its threads are stopped.
fn stopped_child(strace: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    let pid: u32 = children.split_whitespace().next()?.parse().ok()?;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    // The first one is also stopped at every call that strace looks at.
    let others = tasks.filter(|task| task.file_name() != *pid.to_string());
    let states: Vec<_> = others.map(|task| state(&task.path())).collect();
    let is_stopped = !states.is_empty() && states.iter().all(|state| *state == Some('T'));
    is_stopped.then_some(pid)
}

fn state(task: &Path) -> Option<char> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // Behind the name, which may hold anything.
    stat.rsplit_once(") ")?.1.chars().next()
}

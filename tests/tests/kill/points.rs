//! Where the daemon is killed, and how a run comes to be killed there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchd_tests::{
    CALLS_MAX, DISK_CALLS, Exit, LONG, Launch, Signal, Site, Tracer, run, wait_until,
};

use crate::oracle::Oracle;
use crate::script::{Script, Step};

/// Set to a number, the script is so many times as long.
pub(super) const ENLARGE: &str = "BATCHD_KILL_ROUNDS";
/// So many points are looked at side by side.
pub(super) const WORKERS: usize = 2;
/// Most of these only read, so that only those that create something are looked at.
pub(super) const CREATE: &str = "openat";
/// The call that tells somebody.
const TELL: &str = "sendto";
pub(super) const BATCH_ITEMS: usize = 3;

/// The calls that change something on the disk, or tell somebody.
fn calls() -> impl Iterator<Item = &'static str> {
    DISK_CALLS.into_iter().chain([TELL])
}

/// Whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whom {
    /// The main thread, from the first start: nothing is there yet.
    FirstStart,
    /// The main thread, from a start on what a killed daemon left.
    Restart,
    /// The thread that takes submissions in.
    Ingest,
    /// The thread that seals and makes files ahead.
    House,
    /// The threads that deliver.
    Sink,
}

impl Whom {
    pub(super) const ALL: [Self; 5] = [
        Self::FirstStart,
        Self::Restart,
        Self::Ingest,
        Self::House,
        Self::Sink,
    ];

    /// Name of the threads that are attached to; nothing for the main thread, which is traced from its start.
    pub(super) fn thread(self) -> Option<&'static str> {
        match self {
            Self::FirstStart | Self::Restart => None,
            Self::Ingest => Some("ingest-0"),
            Self::House => Some("house"),
            Self::Sink => Some("main"),
        }
    }
}

/// Where a run is killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) whom: Whom,
    pub(super) call: &'static str,
    /// Counted from 1.
    pub(super) count: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} {}", self.whom, self.call, self.count)
    }
}

/// Calls of one kind in one thread, or in threads of one name.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) whom: Whom,
    pub(super) call: &'static str,
    /// Which of them, counted from 1, are looked at.
    pub(super) counts: Vec<u32>,
}

/// Where batches are delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SinkKind {
    /// A file for each, whose name tells the batch.
    Files,
    /// One file that all are appended to.
    OneFile,
}

impl SinkKind {
    pub(super) fn site(self) -> Site {
        let sink = match self {
            Self::Files => "path = \"{out}\"",
            Self::OneFile => "path = \"{out}/all.log\"\nappend = true",
        };
        Site::new(&format!(
            "[queues.default]\nmax_items = {BATCH_ITEMS}\nmax_age = \"off\"\n\
             [queues.default.sink]\ntype = \"file\"\nencoding = \"lines\"\n{sink}\n"
        ))
    }
}

/// What became of a point.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) killed: bool,
    pub(super) violations: Vec<String>,
}

/// What came of all points.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) points: usize,
    pub(super) killed: usize,
    pub(super) by_whom: BTreeMap<(Whom, &'static str), usize>,
    pub(super) violations: Vec<String>,
}

/// All that the runs share.
pub(super) struct Harness {
    pub(super) strace: PathBuf,
    pub(super) script: Script,
    /// How the daemon is started that is to be killed.
    pub(super) launch: Launch,
    pub(super) sink: SinkKind,
    /// A place where a daemon was killed, with batches in every state.
    pub(super) left_behind: Site,
    /// Whether one violation is enough.
    pub(super) until_found: bool,
}

impl Harness {
    pub(super) fn new(strace: PathBuf, launch: Launch, sink: SinkKind) -> Self {
        let rounds = std::env::var(ENLARGE)
            .ok()
            .map(|rounds| rounds.parse().expect("a number"));
        let script = Script::new(rounds.unwrap_or(1));
        let left_behind = leave_behind(&script, sink);
        Self {
            strace,
            script,
            launch,
            sink,
            left_behind,
            until_found: false,
        }
    }

    /// Looks at every point, or at those of some threads.
    pub(super) fn run_all(&self, whom: &[Whom]) -> Summary {
        let mut kinds: Vec<_> = whom.iter().flat_map(|whom| self.calls_of(*whom)).collect();
        // The longest first, so that the workers end together.
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.counts.len()));
        let (next, summary) = (AtomicUsize::new(0), Mutex::new(Summary::default()));
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(kind) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.run_kind(kind, &summary);
                    }
                });
            }
        });
        summary.into_inner().expect("no worker panicked")
    }

    /// Kills at one call after another, until a run gets through.
    pub(super) fn run_kind(&self, kind: &Kind, summary: &Mutex<Summary>) {
        let Kind { whom, call, counts } = kind;
        let last = counts.last().copied().unwrap_or_default();
        for count in counts.iter().copied().chain(last + 1..CALLS_MAX) {
            let point = Point {
                whom: *whom,
                call,
                count,
            };
            let outcome = self.run_point(point);
            let mut summary = summary.lock().expect("no worker panicked");
            summary.points += 1;
            summary.killed += usize::from(outcome.killed);
            *summary.by_whom.entry((*whom, call)).or_default() += usize::from(outcome.killed);
            let violations = outcome.violations.into_iter();
            summary
                .violations
                .extend(violations.map(|violation| format!("{point}: {violation}")));
            if self.until_found && !summary.violations.is_empty() {
                return;
            }
            // A run can have a call less than the one that was recorded.
            if !outcome.killed && count > last {
                return;
            }
        }
        panic!("{whom:?}: more than {CALLS_MAX} calls of {call}");
    }

    /// Records a run without a kill: which calls the threads make on files of ours.
    pub(super) fn calls_of(&self, whom: Whom) -> Vec<Kind> {
        let site = self.place(whom);
        let record = site.root().join("record");
        let options = vec![
            "-y".to_owned(),
            "-o".to_owned(),
            record.display().to_string(),
            "-e".to_owned(),
            format!(
                "trace={}",
                calls()
                    .map(|call| format!("?{call}"))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        ];
        let killed = self.run_script(whom, &site, &options, &mut BTreeSet::new());
        assert!(
            !killed,
            "{whom:?}: ended without a kill; log:\n{}",
            site.log_text()
        );
        let record = fs::read_to_string(record).expect("a record");
        let root = site.root().display().to_string();
        let log = site.log().display().to_string();
        let changes = |call: &str, line: &str| {
            call == TELL
                || (line.contains(&root)
                    && !line.contains(&log)
                    && (call != CREATE || line.contains("O_CREAT")))
        };
        let kinds = calls().filter_map(|call| {
            // Each thread counts for itself; its number stands first where there are several.
            let mut by_thread: HashMap<&str, u32> = HashMap::new();
            let (mut all, mut changing) = (BTreeSet::new(), BTreeSet::new());
            for line in record.lines() {
                let at = line.find(|c: char| !c.is_ascii_digit() && c != ' ');
                let (thread, rest) = line.split_at(at.unwrap_or_default());
                if rest
                    .strip_prefix(call)
                    .is_some_and(|rest| rest.starts_with('('))
                {
                    let count = by_thread.entry(thread).or_default();
                    *count += 1;
                    all.insert(*count);
                    changing.extend(changes(call, rest).then_some(*count));
                }
            }
            let counts = if call == CREATE || changing.is_empty() {
                changing
            } else {
                all
            };
            let counts = Vec::from_iter(counts);
            (!counts.is_empty()).then_some(Kind { whom, call, counts })
        });
        kinds.collect()
    }

    /// Kills at one point, and looks at what is left.
    pub(super) fn run_point(&self, point: Point) -> Outcome {
        let site = self.place(point.whom);
        let options = ["-o", "/dev/null", "-e"].map(str::to_owned).into_iter();
        let options: Vec<_> = options
            .chain([
                format!("trace={}", point.call),
                "-e".to_owned(),
                format!("inject={}:signal=KILL:when={}", point.call, point.count),
            ])
            .collect();
        let mut acknowledged = BTreeSet::new();
        let killed = self.run_script(point.whom, &site, &options, &mut acknowledged);
        if point.whom == Whom::Restart {
            acknowledged = (0..self.script.submissions.len()).collect();
        }
        let mut oracle = Oracle {
            sink: self.sink,
            script: &self.script,
            site: &site,
            violations: Vec::new(),
        };
        oracle.judge(&acknowledged);
        // What was torn on purpose is kept; a kill alone leaves nothing that is damaged.
        let kept = fs::read_dir(site.spool().join("quarantine")).map_or(0, Iterator::count);
        if point.whom != Whom::Restart && kept > 0 {
            oracle.report(format!("{kept} files in quarantine"));
        }
        Outcome {
            killed,
            violations: oracle.violations,
        }
    }

    /// Runs the script and stops the daemon, unless it is killed before; says whether it was.
    pub(super) fn run_script(
        &self,
        whom: Whom,
        site: &Site,
        options: &[String],
        acknowledged: &mut BTreeSet<usize>,
    ) -> bool {
        let mut launch = self.launch.clone();
        if whom.thread().is_none() {
            launch.wrapper = vec![self.strace.clone().into(), "-qq".into()];
            launch.wrapper.extend(options.iter().map(Into::into));
        }
        let daemon = match site.try_start(&launch) {
            Ok(daemon) => daemon,
            Err(exit) => {
                assert_eq!(exit, Exit::Signal(9), "{}", site.log_text());
                return true;
            }
        };
        let (warm_up, rest) = self.script.steps.split_at(self.script.warm_up);
        // What a restart has to do is deliver what was left behind.
        let flush = [Step::Flush { wait: true }];
        let (warm_up, rest) = if whom == Whom::Restart {
            (&[][..], &flush[..])
        } else {
            (warm_up, rest)
        };
        self.script.run(site, warm_up, acknowledged);
        let tracer = whom
            .thread()
            .map(|thread| Tracer::attach(&self.strace, &daemon, thread, options));
        self.script.run(site, rest, acknowledged);
        daemon.try_signal(Signal::TERM);
        let exit = daemon.wait();
        if let Some(tracer) = tracer {
            tracer.wait();
        }
        assert!(
            matches!(exit, Exit::Signal(9) | Exit::Code(0)),
            "{exit:?}\n{}",
            site.log_text()
        );
        exit == Exit::Signal(9)
    }

    /// A place for one run.
    pub(super) fn place(&self, whom: Whom) -> Site {
        let site = self.sink.site();
        if whom == Whom::Restart {
            let mut copy = Command::new("cp");
            copy.arg("-a")
                .arg(self.left_behind.spool())
                .arg(site.spool());
            run(&mut copy, b"").success();
        }
        site
    }
}

/// Leaves behind what a killed daemon can leave: batches open, torn and ready, and what is no batch.
pub(super) fn leave_behind(script: &Script, sink: SinkKind) -> Site {
    let site = sink.site();
    // Delivery fails, so that batches stay.
    fs::remove_dir(site.out()).expect("output directory");
    fs::write(site.out(), "in the way").expect("a file");
    let daemon = site.start();
    let submits: Vec<_> = script
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Submit(_)))
        .cloned()
        .collect();
    let mut acknowledged = BTreeSet::new();
    script.run(&site, &submits, &mut acknowledged);
    assert_eq!(
        acknowledged.len(),
        script.submissions.len(),
        "{}",
        site.log_text()
    );
    let queue = site.spool().join("queues/default");
    wait_until("batches to be ready", LONG, || {
        (fs::read_dir(queue.join("ready")).ok()?.count() > 2).then_some(())
    });
    daemon.kill9();
    let open = queue.join("open");
    fs::write(open.join("notes.txt"), "not a batch").expect("a file");
    fs::write(open.join("00000000-1.batch.tmp"), "half").expect("a file");
    for entry in fs::read_dir(&open).expect("open batches").flatten() {
        tear(&entry.path());
    }
    site
}

/// Adds half of something behind the last frame of an open batch.
pub(super) fn tear(path: &Path) {
    let mut bytes = fs::read(path).expect("a batch");
    if let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
        && last > 600
        && let Some(behind) = bytes.get_mut((last + 1).next_multiple_of(8)..)
    {
        behind.iter_mut().take(21).for_each(|byte| *byte = 0xbd);
        fs::write(path, bytes).expect("a batch");
    }
}

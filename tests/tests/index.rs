//! The index of the real daemon, and what is asked of it: whatever becomes of it, at whatever time, the history is
//! what the ledgers say, and no item is lost.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use batchd_tests::{Daemon, Exit, LONG, Random, Site, poll, wait_until};
use serde_json::Value;

const QUEUES: [&str; 2] = ["default", "other"];

/// Two queues of small batches that go to files, and what was submitted to them.
struct Spool {
    site: Site,
    submitted: Vec<String>,
}

impl Spool {
    fn new() -> Self {
        let queues = QUEUES.map(|queue| {
            let policy = "max_items = 4\nmax_age = \"off\"\n";
            format!("[queues.{queue}]\n{policy}{}", Site::lines_sink(queue))
        });
        Self {
            site: Site::new(&queues.concat()),
            submitted: Vec::new(),
        }
    }

    fn index(&self) -> PathBuf {
        self.site.spool().join("index")
    }

    /// Has so many items delivered, of each queue.
    #[track_caller]
    fn deliver(&mut self, items: usize) {
        for queue in QUEUES {
            let items: Vec<_> = (0..items)
                .map(|item| format!("{queue} {} {item}", self.submitted.len()))
                .collect();
            self.site
                .submit(queue, std::slice::from_ref(&items))
                .expect("submitted");
            self.submitted.extend(items);
        }
        self.site.batchctl(["flush", "--wait"], b"").success();
    }

    /// The lines of the ledgers, newest first: what is to be answered.
    fn recorded(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for queue in QUEUES {
            let dir = self.site.spool().join("queues").join(queue);
            for file in ["ledger.1", "ledger"] {
                let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
                for line in text.lines() {
                    let mut line: Value = serde_json::from_str(line).expect("a line");
                    let fields = line.as_object_mut().expect("an object");
                    fields.remove("producers");
                    fields.insert("queue".to_owned(), queue.into());
                    lines.push(line);
                }
            }
        }
        let place = |line: &Value| (line["at"].as_u64(), line["id"].as_str().map(str::to_owned));
        lines.sort_by_key(place);
        lines.reverse();
        lines
    }

    #[track_caller]
    fn history(&self, args: &[&str]) -> Vec<Value> {
        // Fewer than the limit that holds where none is given.
        let all = ["history", "--output", "json"];
        let args = all.iter().chain(args);
        self.site.batchctl(args, b"").success().json()
    }

    /// The history is what the ledgers say, however it is asked for.
    #[track_caller]
    fn check(&self) {
        let recorded = self.recorded();
        assert_eq!(self.history(&[]), recorded);
        for queue in QUEUES {
            let of_queue: Vec<_> = recorded
                .iter()
                .filter(|line| line["queue"] == queue)
                .cloned()
                .collect();
            assert_eq!(self.history(&["--queue", queue]), of_queue);
        }
        let newest: Vec<_> = recorded.iter().take(3).cloned().collect();
        assert_eq!(self.history(&["--limit", "3"]), newest);
        assert_eq!(self.history(&["--since", "1day"]), recorded);
        assert_eq!(
            self.history(&["--since", "2999-01-01T00:00:00Z"]),
            [] as [Value; 0]
        );
        for line in recorded.first().into_iter().chain(recorded.last()) {
            let id = line["id"].as_str().expect("an id");
            assert_eq!(self.history(&["--batch", id]), std::slice::from_ref(line));
            let shown = self.site.batchctl(["show", id, "--output", "json"], b"");
            assert_eq!(shown.success().json(), std::slice::from_ref(line));
            let shown = self.site.batchctl(["show", id], b"").success();
            assert!(shown.text().contains("delivered"), "{shown}");
            let cat = self.site.batchctl(["cat", id], b"").expect_code(66);
            assert!(cat.stderr.contains("delivered at 2"), "{cat}");
        }
        let missing = "00000000-0000-7000-8000-000000000000";
        assert_eq!(self.history(&["--batch", missing]), [] as [Value; 0]);
        self.site.batchctl(["show", missing], b"").expect_code(66);
        self.site
            .batchctl(["history", "--queue", "nobody"], b"")
            .expect_code(66);
    }

    /// Every item came out once.
    #[track_caller]
    fn check_delivered(&self) {
        let delivered = String::from_utf8(self.site.delivered()).expect("UTF-8");
        let mut delivered: Vec<_> = delivered.lines().collect();
        let mut submitted: Vec<_> = self.submitted.iter().map(String::as_str).collect();
        delivered.sort_unstable();
        submitted.sort_unstable();
        assert_eq!(delivered, submitted);
    }

    fn rebuilds(&self) -> usize {
        self.site
            .log_text()
            .matches("the index was rebuilt")
            .count()
    }

    /// Waits until the index was rebuilt so often.
    #[track_caller]
    fn wait_rebuilds(&self, count: usize) {
        wait_until("the index to be rebuilt", LONG, || {
            (self.rebuilds() >= count).then_some(())
        });
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            all.extend(files(&entry.path()));
        } else {
            all.push(entry.path());
        }
    }
    all
}

/// Ways to harm an index.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Delete,
    DeleteFiles,
    Noise,
    Cut,
    AFileInItsPlace,
}

const HARMS: [Harm; 5] = [
    Harm::Delete,
    Harm::DeleteFiles,
    Harm::Noise,
    Harm::Cut,
    Harm::AFileInItsPlace,
];

impl Harm {
    /// What a daemon does to it at the same time is no failure.
    fn apply(self, index: &Path, seed: u64) {
        let delete = || poll(LONG, || fs::remove_dir_all(index).is_ok().then_some(()));
        match self {
            Self::Delete => drop(delete()),
            Self::DeleteFiles => {
                for file in files(index) {
                    fs::remove_file(file).ok();
                }
            }
            Self::Noise => {
                let mut random = Random::new(seed);
                for path in files(index) {
                    let Ok(file) = fs::File::options().write(true).open(path) else {
                        continue;
                    };
                    let len = file.metadata().map_or(0, |found| found.len()).min(1 << 20);
                    let noise: Vec<u8> = (0..len.max(100))
                        .map(|_| random.next_u64().to_le_bytes()[0])
                        .collect();
                    file.write_all_at(&noise, 0).expect("written");
                }
            }
            Self::Cut => {
                for path in files(index) {
                    if let Ok(file) = fs::File::options().write(true).open(path) {
                        let len = file.metadata().map_or(0, |found| found.len());
                        file.set_len(len / 2).expect("cut");
                    }
                }
            }
            Self::AFileInItsPlace => {
                delete();
                fs::write(index, "not a directory").expect("written");
            }
        }
    }
}

fn stop(daemon: Daemon) {
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn the_history_is_that_of_the_ledgers() {
    let mut spool = Spool::new();
    let daemon = spool.site.start();
    for items in [1, 9, 30] {
        spool.deliver(items);
        spool.check();
    }
    spool.wait_rebuilds(1);
    spool.check();
    let table = spool.site.batchctl(["history", "--limit", "2"], b"");
    let table = table.success().text();
    assert_eq!(table.lines().count(), 3, "{table}");
    // A batch that is still there is shown as before.
    spool
        .site
        .submit("default", &[vec!["open"]])
        .expect("submitted");
    let open = spool
        .site
        .batchctl(["ls", "--output", "json"], b"")
        .success();
    let id = open.json()[0]["id"].as_str().expect("an id").to_owned();
    let shown = spool.site.batchctl(["show", &id, "--output", "json"], b"");
    assert_eq!(shown.success().json()[0]["state"], "open");
    stop(daemon);
}

#[test]
fn without_an_index_the_ledgers_answer() {
    let mut spool = Spool::new();
    let config = fs::read_to_string(spool.site.config()).expect("configuration");
    let without = config.replace("[spool]\n", "[spool]\nindex = false\n");
    fs::write(spool.site.config(), without).expect("configuration");
    let daemon = spool.site.start();
    spool.deliver(17);
    spool.check();
    assert!(!spool.index().exists());
    stop(daemon);
    // It can be switched on later, and off again.
    fs::write(spool.site.config(), config).expect("configuration");
    let daemon = spool.site.start();
    spool.wait_rebuilds(1);
    spool.check();
    stop(daemon);
    spool.check_delivered();
}

#[test]
fn a_clean_stop_leaves_the_index_to_the_next_start() {
    let mut spool = Spool::new();
    let mut reused = 0;
    for round in 0..4 {
        let daemon = spool.site.start();
        spool.wait_rebuilds(1);
        spool.deliver(9 + round);
        spool.check();
        stop(daemon);
        assert!(
            spool.index().join("clean").is_file(),
            "{}",
            spool.site.log_text()
        );
        reused = 1 + round - spool.rebuilds();
    }
    // A thread of the store that comes late costs a rebuild, at times.
    assert!(reused > 0, "{}", spool.site.log_text());
    let daemon = spool.site.start();
    // From the start on, it is not believed any more.
    wait_until("the index to be opened", LONG, || {
        (!spool.index().join("clean").exists()).then_some(())
    });
    daemon.kill9();
    let rebuilds = spool.rebuilds();
    let daemon = spool.site.start();
    spool.wait_rebuilds(rebuilds + 1);
    spool.check();
    stop(daemon);
    assert!(!spool.site.log_text().contains("panicked"));
    spool.check_delivered();
}

#[test]
fn whatever_becomes_of_it_while_the_daemon_runs() {
    let mut spool = Spool::new();
    let daemon = spool.site.start();
    spool.wait_rebuilds(1);
    for (number, harm) in HARMS.into_iter().enumerate() {
        spool.deliver(20);
        harm.apply(&spool.index(), number as u64);
        spool.check();
        spool.deliver(20);
        spool.check();
    }
    // It was deleted, at least, which is always noticed.
    spool.wait_rebuilds(2);
    spool.check();
    stop(daemon);
    let daemon = spool.site.start();
    spool.check();
    stop(daemon);
    spool.check_delivered();
}

#[test]
fn whatever_lies_in_its_place_at_a_start() {
    for kill in [false, true] {
        let mut spool = Spool::new();
        let mut daemon = spool.site.start();
        for (number, harm) in HARMS.into_iter().enumerate() {
            spool.wait_rebuilds(number + 1);
            spool.deliver(20);
            if kill {
                daemon.kill9();
            } else {
                stop(daemon);
            }
            harm.apply(&spool.index(), number as u64);
            daemon = spool.site.start();
            spool.check();
            spool.deliver(5);
            spool.check();
        }
        stop(daemon);
        assert!(!spool.site.log_text().contains("panicked"));
        spool.check_delivered();
    }
}

#[test]
fn what_was_changed_while_it_was_stopped_is_found() {
    let mut spool = Spool::new();
    let daemon = spool.site.start();
    spool.wait_rebuilds(1);
    spool.deliver(30);
    stop(daemon);
    let ledger = spool.site.spool().join("queues/default/ledger");
    let text = fs::read_to_string(&ledger).expect("readable");
    let (_, rest) = text.split_once('\n').expect("a line");
    fs::write(&ledger, rest).expect("written");
    let daemon = spool.site.start();
    spool.check();
    spool.wait_rebuilds(2);
    spool.check();
    stop(daemon);
    spool.check_delivered();
}

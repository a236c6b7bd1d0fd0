//! A damaged spool: the daemon starts whatever is in it, what is whole comes out, and what is not is kept and named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use batchd_client::{ItemBuffer, Key, QueueName, Target};
use batchd_tests::{Exit, LONG, Launch, Random, Site, run, wait_until};

/// Set to a number, so many samples are taken.
const ENLARGE: &str = "BATCHD_DAMAGE_SAMPLES";
const SAMPLES: u64 = 80;
/// Kept, and named in the log, where something of it is missing.
const QUARANTINE: &str = "quarantine";

/// A spool as a killed daemon left it, before the damage.
struct Original {
    site: Site,
    /// All files, below the spool.
    files: Vec<PathBuf>,
    /// Items of each batch in the spool, by its id.
    batches: BTreeMap<String, Vec<String>>,
    /// Names and contents of what was delivered before.
    delivered: BTreeMap<String, Vec<u8>>,
}

impl Original {
    fn new() -> Self {
        let site = Site::lines(4);
        let daemon = site.start();
        let mut client = site.client(Some("damage"), LONG);
        let mut number = 0;
        let mut submit = |key: &str, count: usize| {
            let mut target = Target::new(QueueName::new("default").expect("a name"));
            target.key = Key::new(key).expect("a key");
            let items: Vec<String> = (0..count)
                .map(|item| format!("{number}.{item} {}", "-".repeat(40)))
                .collect();
            number += 1;
            let submission = client.prepare(&target, &ItemBuffer::from_iter(items));
            client.submit(submission).expect("submitted");
        };
        submit("", 9);
        site.batchctl(["flush", "--wait"], b"").success();
        // Delivery fails from here, so that batches stay.
        let delivered = site
            .delivered_files()
            .into_iter()
            .map(|file| (file.name, file.bytes))
            .collect();
        fs::rename(site.out(), site.root().join("out.aside")).expect("aside");
        fs::write(site.out(), "in the way").expect("a file");
        for round in 0..3 {
            submit("", 3);
            submit("a", 1 + round);
            submit("b", 6);
        }
        let mut client = site.client(None, LONG);
        let settled = || {
            let states = site.batchctl(["ls"], b"").success().text();
            (!states.contains("sealing")).then_some(())
        };
        wait_until("seals", LONG, settled);
        let mut batches = BTreeMap::new();
        let listed: Vec<_> = client.list(None).collect::<Result<_, _>>().expect("a list");
        for batch in listed {
            let items = client
                .items(batch.id)
                .map(|item| String::from_utf8(item.expect("an item")).expect("UTF-8"));
            batches.insert(batch.id.to_string(), items.collect());
        }
        daemon.kill9();
        let mut files = Vec::new();
        list_files(&site.spool(), &mut files);
        files
            .iter_mut()
            .for_each(|file| *file = file.strip_prefix(site.spool()).expect("below").to_owned());
        // What holds the lock open is not its content.
        files.retain(|file| file != Path::new("LOCK"));
        files.sort();
        Self {
            site,
            files,
            batches,
            delivered,
        }
    }

    fn copy(&self) -> Site {
        let site = Site::lines(4);
        fs::remove_dir(site.out()).expect("empty");
        for (from, to) in [
            (self.site.spool(), site.spool()),
            (self.site.root().join("out.aside"), site.out()),
        ] {
            run(Command::new("cp").arg("-a").arg(from).arg(to), b"").success();
        }
        site
    }
}

fn list_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        if entry.path().is_dir() {
            list_files(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// A few bits turn over.
    Flip,
    /// A stretch becomes zeros.
    Zeros,
    /// A stretch becomes something else.
    Noise,
    /// The end is gone.
    Cut,
    /// Something follows.
    Grown,
    /// It is a directory.
    Directory,
    /// Something else lies beside it.
    Foreign,
}

impl Damage {
    const ALL: [Self; 7] = [
        Self::Flip,
        Self::Zeros,
        Self::Noise,
        Self::Cut,
        Self::Grown,
        Self::Directory,
        Self::Foreign,
    ];

    /// Whether it can look like what a crash leaves, so that the end of an open batch goes without a word.
    fn looks_like_a_crash(self) -> bool {
        matches!(self, Self::Zeros | Self::Cut)
    }

    fn inflict(self, path: &Path, random: &mut Random) {
        let bytes = fs::read(path).expect("a file");
        // Most of a file made ahead is zeros; where something is, damage does more.
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(1, |last| last + 1);
        let start = random.below(used);
        let length = 1 + random.below((used - start).min(600));
        let file = || File::options().write(true).open(path).expect("a file");
        let write =
            |at: usize, bytes: &[u8]| file().write_all_at(bytes, at as u64).expect("written");
        match self {
            Self::Flip => {
                for _ in 0..=random.below(3) {
                    let at = random.below(used);
                    let bit = random.below(8);
                    let byte = bytes.get(at).copied().unwrap_or_default() ^ (1 << bit);
                    write(at, &[byte]);
                }
            }
            Self::Zeros => write(start, &vec![0; length]),
            Self::Noise => write(start, &random.bytes(length)),
            Self::Cut => file().set_len(start as u64).expect("cut"),
            Self::Grown => write(bytes.len(), &random.bytes(length)),
            Self::Directory => {
                fs::remove_file(path).expect("removed");
                fs::create_dir(path).expect("a directory");
                fs::write(path.join("inside"), "something").expect("a file");
            }
            Self::Foreign => {
                let beside = path.parent().expect("a directory");
                fs::write(beside.join("README.txt"), "what is this?").expect("a file");
                fs::create_dir(beside.join("lost+found")).expect("a directory");
                fs::copy(path, beside.join("copy of something.batch")).expect("a copy");
                let name = path
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                fs::copy(path, beside.join(format!("{name}.orig"))).expect("a copy");
            }
        }
    }
}

/// Damages one file, and looks at what the daemon makes of it.
fn check(original: &Original, seed: u64) {
    let mut random = Random::new(seed);
    let site = original.copy();
    let file = original
        .files
        .get(random.below(original.files.len()))
        .expect("a file");
    let damage = *Damage::ALL
        .get(random.below(Damage::ALL.len()))
        .expect("a kind");
    damage.inflict(&site.spool().join(file), &mut random);
    let what = format!("seed {seed}: {damage:?} of {}", file.display());

    let daemon = match site.try_start(&Launch::default()) {
        Ok(daemon) => daemon,
        Err(exit) => {
            // The one exception: a version that is newer is not damage.
            let newer = file == Path::new("FORMAT") && exit == Exit::Code(78);
            assert!(
                newer && site.log_text().contains("newer"),
                "{what}: {exit:?}\n{}",
                site.log_text()
            );
            return;
        }
    };
    wait_until(&format!("{what}: delivery"), LONG, || {
        let flushed = site.batchctl(["flush", "--wait", "--timeout", "20s"], b"");
        (flushed.code == Some(0)).then_some(())
    });
    let missing = check_delivered(original, &site, &what);
    let damaged = file
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    for (batch, lost) in &missing {
        assert!(
            damaged.contains(batch.as_str()),
            "{what}: {lost:?} of another batch is missing"
        );
        if damage.looks_like_a_crash() && file.to_string_lossy().contains("/open/") {
            continue;
        }
        assert!(
            kept_aside(&site, batch),
            "{what}: {lost:?} is missing and the file is not in quarantine"
        );
        let log = site.log_text();
        assert!(
            log.contains(batch.as_str()),
            "{what}: {lost:?} is missing and the log does not say so\n{log}"
        );
    }
    let held = original
        .batches
        .keys()
        .any(|batch| damaged.contains(batch.as_str()));
    if damage == Damage::Directory && held {
        assert!(!missing.is_empty(), "{what}: where does it come from?");
    }
    // It goes on as if nothing had been.
    site.submit("default", &[vec!["afterwards"]])
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    site.batchctl(["flush", "--wait"], b"").success();
    assert!(site.delivered().ends_with(b"afterwards\n"), "{what}");
    assert_eq!(daemon.term(), Exit::Code(0), "{what}");
    assert!(
        !site.log_text().contains("panicked"),
        "{what}: {}",
        site.log_text()
    );
    // And what was mended stays so.
    let quarantined = count_quarantined(&site);
    let daemon = site.start();
    assert_eq!(
        count_quarantined(&site),
        quarantined,
        "{what}: {}",
        site.log_text()
    );
    assert_eq!(daemon.term(), Exit::Code(0), "{what}");
}

/// Compares what was delivered with what was submitted; returns what is missing of which batch.
#[track_caller]
fn check_delivered(original: &Original, site: &Site, what: &str) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut by_batch: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in site.delivered_files() {
        if let Some(before) = original.delivered.get(&file.name) {
            assert!(before == &file.bytes, "{what}: {} changed", file.name);
            continue;
        }
        let items: Vec<_> = file
            .lines()
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        for item in &items {
            assert!(
                seen.insert(item.clone()),
                "{what}: {item} was delivered twice"
            );
        }
        by_batch
            .entry(file.batch().to_owned())
            .or_default()
            .extend(items);
    }
    let mut missing = BTreeMap::new();
    for (batch, items) in &original.batches {
        let mut delivered = by_batch
            .remove(batch)
            .unwrap_or_default()
            .into_iter()
            .peekable();
        let lost: Vec<_> = items
            .iter()
            .filter(|item| delivered.next_if(|next| next == *item).is_none())
            .cloned()
            .collect();
        assert_eq!(
            delivered.next(),
            None,
            "{what}: not of batch {batch}, or out of order"
        );
        if !lost.is_empty() {
            missing.insert(batch.clone(), lost);
        }
    }
    assert!(by_batch.is_empty(), "{what}: never submitted: {by_batch:?}");
    missing
}

fn quarantined(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.spool().join(QUARANTINE))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn count_quarantined(site: &Site) -> usize {
    quarantined(site).len()
}

fn kept_aside(site: &Site, batch: &str) -> bool {
    let dead = fs::read_dir(site.spool().join("queues/default/dead"))
        .into_iter()
        .flatten()
        .flatten();
    let dead = dead.map(|entry| entry.file_name().to_string_lossy().into_owned());
    quarantined(site)
        .into_iter()
        .chain(dead)
        .any(|name| name.contains(batch))
}

#[test]
fn a_damaged_spool_starts_and_what_is_whole_comes_out() {
    let samples = std::env::var(ENLARGE)
        .ok()
        .map(|samples| samples.parse().expect("a number"));
    let original = Original::new();
    assert!(
        original.batches.len() > 5 && original.files.len() > 8,
        "{:?}",
        original.files
    );
    for seed in 0..samples.unwrap_or(SAMPLES) {
        check(&original, seed);
    }
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let original = Original::new();
    let site = original.copy();
    fs::write(site.spool().join("FORMAT"), "batchd-spool 999\n").expect("FORMAT");
    assert_eq!(
        site.try_start(&Launch::default()).err(),
        Some(Exit::Code(78))
    );
    assert!(site.log_text().contains("999"), "{}", site.log_text());
    let mut files = Vec::new();
    list_files(&site.spool(), &mut files);
    files.retain(|file| !file.ends_with("LOCK"));
    assert_eq!(files.len(), original.files.len());
}

#[test]
fn a_spool_of_nothing_but_foreign_things_starts() {
    let site = Site::lines(4);
    for directory in [
        "queues/default/open",
        "queues/default/ready",
        "queues/UPPER",
        "queues/other/dead",
        "quarantine/sub",
    ] {
        fs::create_dir_all(site.spool().join(directory)).expect("a directory");
    }
    for file in [
        "FORMAT",
        "queues/default/ledger",
        "queues/file",
        "queues/default/open/x",
        "queues/default/ready/y.batch",
        "odd",
    ] {
        fs::write(site.spool().join(file), "what is this?").expect("a file");
    }
    let daemon = site.start();
    site.submit("default", &[vec!["1", "2"]])
        .expect("submitted");
    site.batchctl(
        ["flush", "--wait", "--queue", "default", "--timeout", "20s"],
        b"",
    )
    .success();
    assert_eq!(site.delivered(), b"1\n2\n");
    let names = quarantined(&site);
    for file in ["x", "y.batch"] {
        assert!(
            names.iter().any(|name| name.contains(file)),
            "{file} in {names:?}"
        );
    }
    wait_until("its log", Duration::from_secs(5), || {
        site.log_text().contains("y.batch").then_some(())
    });
    assert_eq!(daemon.term(), Exit::Code(0));
}

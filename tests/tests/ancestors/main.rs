//! The programs that batchd descends from: their settings do here what they do there, and what goes wrong there does
//! not. `docs/ancestors.md` has all of it, row by row.

mod idle;
mod logstash;
mod micro;
mod opentelemetry;
mod spark;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use batchd_tests::{
    Daemon, DeliveredFile, LONG, Launch, Site, binaries, delivered_files, lines, run, wait_until,
    workspace,
};
use insta::assert_snapshot;

/// A file of `samples/config`.
fn sample(name: &str) -> PathBuf {
    workspace().join("samples/config").join(name)
}

/// A daemon with the configuration of a sample, which names no path: what is delivered is where it is by default.
struct Bench {
    site: Site,
    daemon: Daemon,
}

impl Bench {
    fn of_sample(name: &str) -> Self {
        Self::new(&fs::read_to_string(sample(name)).expect("a sample"))
    }

    fn new(config: &str) -> Self {
        let site = Site::new(config);
        // It logs why each batch was closed.
        let daemon = site.start_with(&Launch::default().env("BATCHD_LOG", "debug"));
        Self { site, daemon }
    }

    /// Where it delivers to.
    fn out(&self) -> PathBuf {
        self.site.root().join("delivered")
    }

    /// Submits numbered lines, all at once.
    fn submit(&self, numbers: std::ops::Range<usize>) {
        let items = lines(numbers);
        self.site.batchctl(["submit"], items.as_bytes()).success();
    }

    /// Waits until so many items are delivered, and returns how many each batch had, and why it was closed.
    fn wait_for_batches(&self, items: usize) -> Vec<(usize, String)> {
        wait_until("the deliveries", LONG, || {
            let delivered: usize = self.batches().iter().map(|(items, _)| items).sum();
            (delivered == items).then_some(())
        });
        self.batches()
    }

    /// The batches that the daemon says are delivered, in order.
    fn batches(&self) -> Vec<(usize, String)> {
        let log = self.site.log_text();
        let lines = log.lines().filter(|line| line.contains(" delivered "));
        let batch = |line: &str| {
            let items = field(line, "items=")?.parse().ok()?;
            Some((items, field(line, "reason=")?.trim_matches('"').to_owned()))
        };
        lines.filter_map(batch).collect()
    }

    /// What came out, in order.
    fn delivered(&self) -> String {
        let files = delivered_files(&self.out());
        let text = |file: DeliveredFile| String::from_utf8(file.bytes).expect("lines");
        files.into_iter().map(text).collect()
    }
}

fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split_once(name)?.1.split_whitespace().next()
}

/// As `batches` returns them.
fn batches<const N: usize>(expected: [(usize, &str); N]) -> Vec<(usize, String)> {
    let owned = expected.map(|(items, reason)| (items, reason.to_owned()));
    owned.into()
}

/// The configuration that a file makes, and nothing that would be so without it.
fn settings(name: &str) -> String {
    let root = tempfile::tempdir().expect("a directory");
    let check = |file: PathBuf| {
        let mut command = Command::new(&binaries().batchd);
        command.args(["check-config", "--config"]).arg(file);
        command.env("STATE_DIRECTORY", root.path());
        run(&mut command, b"").success().text()
    };
    let built_in = check("/dev/null".into());
    let own = check(sample(name));
    let is_its_own = |line: &&str| !line.starts_with('#') && !built_in.lines().any(|l| l == *line);
    own.lines()
        .filter(is_its_own)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn each_file_is_accepted_and_sets_what_it_says() {
    assert_snapshot!(settings("logstash.toml"), @r#"
    max_items = 125
    max_bytes = "off"
    max_age = "50ms"
    "#);
    assert_snapshot!(settings("opentelemetry.toml"), @r#"
    shutdown_timeout = "30s"
    max_items = 512
    max_bytes = "off"
    on_shutdown = "flush"
    quota_items = 2048
    "#);
    assert_snapshot!(settings("spark.toml"), @r#"
    max_items = "off"
    max_bytes = "off"
    max_age = "off"
    interval = "5s"
    interval_mode = "fixed-rate"
    interval_jitter = "0%"
    "#);
    let files = fs::read_dir(sample("")).expect("the samples");
    assert_eq!(files.count(), 3, "each has its line above");
}

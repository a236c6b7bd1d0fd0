//! Whole files, and what they come to.

use std::path::Path;
use std::time::Duration;

use batchd_frame::OnExpire;
use insta::assert_snapshot;

use super::problem::ConfigErrors;
use super::{Config, Surroundings};

mod checking;
mod docs;
mod mistakes;
mod space;
mod triggers;

/// The sample of the documentation.
const SAMPLE: &str = r#"
[spool]
path = "/var/spool/batchd"
max_bytes = "10GiB"

[[listen]]
path = "/run/batchd/batchd.sock"
mode = "0660"

[queues.default]            # what other queues inherit; `unknown_queues = "reject"` or "create"
max_items = 1000
max_age = "5s"

[queues.logs]
max_bytes = "4MiB"
max_age = "off"
lifespan = "24h"
[queues.logs.sink]
type = "file"
path = "/var/log/batches"
encoding = "lines"
"#;

fn root() -> Surroundings {
    Surroundings::new(0, |_| None)
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    parse_as(text.as_bytes(), &root())
}

fn parse_as(bytes: &[u8], surroundings: &Surroundings) -> Result<Config, ConfigErrors> {
    Config::parse(bytes, Path::new("b.toml"), surroundings)
}

/// The configuration that comes of a text. What is rendered of it reads back.
#[track_caller]
fn config(text: &str) -> Config {
    let config = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    let rendered = config.render();
    let again = parse(&rendered).unwrap_or_else(|errors| panic!("{errors}\n{rendered}"));
    assert_eq!(again, config);
    config
}

/// What is wrong with a text, a line each.
#[track_caller]
fn errors(text: &str) -> String {
    match parse(text) {
        Ok(config) => panic!("nothing is wrong:\n{}", config.render()),
        Err(errors) => errors.to_string(),
    }
}

/// The lines in force that are not built in; those of a queue, that `[queues.default]` has not.
#[track_caller]
fn changes(text: &str) -> String {
    fn sections(rendered: &str) -> impl Iterator<Item = (&str, &str)> {
        let sections = rendered.split("\n\n");
        sections.map(|section| section.split_once('\n').expect("a header and lines"))
    }
    let (rendered, built_in) = (config(text).render(), config("").render());
    let mut changes = String::new();
    for (header, lines) in sections(&rendered) {
        let is_queue = header.starts_with("[queues.") && !header.starts_with("[queues.default");
        let (inherited, from) = match (is_queue, header.ends_with(".sink]")) {
            (false, _) => (&built_in, header),
            (true, false) => (&rendered, "[queues.default]"),
            (true, true) => (&rendered, "[queues.default.sink]"),
        };
        let base = sections(inherited).find(|(header, _)| *header == from);
        let base = base.map_or("", |(_, lines)| lines);
        let changed: Vec<&str> = lines
            .lines()
            .filter(|line| !base.lines().any(|inherited| inherited == *line))
            .collect();
        if !changed.is_empty() {
            changes += &format!("{header}\n{}\n", changed.join("\n"));
        }
    }
    changes
}

#[test]
fn without_a_file() {
    let config = Config::built_in(&root()).unwrap();
    assert_eq!(config, self::config(""), "an empty file says nothing else");
    assert_snapshot!(config.render(), @r#"
    [spool]
    path = "/var/spool/batchd"
    max_bytes = "auto"
    min_free = "auto"
    ballast = "16MiB"
    index = true

    [[listen]]
    path = "/run/batchd/batchd.sock"
    mode = "0660"

    [limits]
    item_bytes_max = "1MiB"
    submission_bytes_max = "16MiB"
    connections = 1024
    idle_timeout = "off"

    [engine]
    ingest_threads = 1
    shutdown_timeout = "20s"
    cleanup_interval = "1m"

    [queues.default]
    max_items = 1000
    max_bytes = "1MiB"
    max_age = "5s"
    max_since_flush = "off"
    interval = "off"
    idle = "off"
    on_shutdown = "keep"
    lifespan = "off"
    on_expire = "dead"
    ack = "synced"
    max_open_batches = 1024
    producer_window = "1h"
    quota_bytes = "off"
    quota_items = "off"
    overflow = "reject"
    unknown_queues = "reject"

    [queues.default.sink]
    type = "file"
    path = "/var/lib/batchd/delivered"
    encoding = "lines"
    unencodable = "escape"
    append = false
    "#);
}

#[test]
fn the_sample() {
    assert_snapshot!(changes(SAMPLE), @r#"
    [spool]
    max_bytes = "10GiB"
    [queues.logs]
    max_bytes = "4MiB"
    max_age = "off"
    lifespan = "1day"
    [queues.logs.sink]
    path = "/var/log/batches"
    "#);
}

#[test]
fn everything_set() {
    let text = r#"
        [spool]
        path = "/data/spool"
        max_bytes = "1.5TiB"
        [[listen]]
        path = "/run/a.sock"
        mode = "600"
        [[listen]]
        path = "/run/b.sock"
        [limits]
        item_bytes_max = "10kB"
        submission_bytes_max = "1MB"
        connections = 65_536
        [engine]
        ingest_threads = 2
        cleanup_interval = "250ms"
        [queues.default]
        unknown_queues = "create"
        sink = { type = "file", path = "/out", name = "{id}.{seq}", unencodable = "base64" }
        [queues."eu.west"]
        max_items = 4294967295
        max_bytes = "1GiB"
        max_age = "1day 2h"
        lifespan = "1ms"
        on_expire = "drop"
        ack = "written"
        sink = { type = "file", path = "/log/eu.ndjson", encoding = "ndjson", append = true }
        "#;
    assert_snapshot!(changes(text), @r#"
    [spool]
    path = "/data/spool"
    max_bytes = "1536GiB"
    [[listen]]
    path = "/run/a.sock"
    mode = "0600"
    [[listen]]
    path = "/run/b.sock"
    [limits]
    item_bytes_max = "10kB"
    submission_bytes_max = "1MB"
    connections = 65536
    [engine]
    ingest_threads = 2
    cleanup_interval = "250ms"
    [queues.default]
    unknown_queues = "create"
    [queues.default.sink]
    path = "/out"
    unencodable = "base64"
    name = "{id}.{seq}"
    [queues."eu.west"]
    max_items = 4294967295
    max_bytes = "1GiB"
    max_age = "1day 2h"
    lifespan = "1ms"
    on_expire = "drop"
    ack = "written"
    [queues."eu.west".sink]
    path = "/log/eu.ndjson"
    encoding = "ndjson"
    unencodable = "escape"
    append = true
    "#);
}

#[test]
fn an_inherited_socket_takes_the_place_of_the_built_in_one_only() {
    let mut inheriting = root();
    inheriting.inherits_sockets = true;
    let sockets = |text: &str| {
        let config = parse_as(text.as_bytes(), &inheriting);
        config.unwrap_or_else(|errors| panic!("{errors}")).listen
    };
    assert_eq!(sockets(""), []);
    assert_eq!(sockets(SAMPLE), config(SAMPLE).listen);
    assert_eq!(config("").listen.len(), 1, "nothing is inherited");
}

#[test]
fn odd_names_and_paths_read_back() {
    config(
        "[queues.default]\nsink = \"off\"\n[queues.\"a.b\"]\nsink = { type = \"file\", path = \"/a \\\"b\\\"\\n\" }",
    );
}

#[test]
fn what_happens_on_expiry_follows_the_sink_unless_somebody_said() {
    #[track_caller]
    fn check(text: &str, expected: [(&str, OnExpire); 3]) {
        let config = config(text);
        for (name, on_expire) in expected {
            let queue = config.queues.get(name).expect("a queue");
            assert_eq!(queue.policy.on_expire, on_expire, "{name}");
        }
    }
    use OnExpire::{Dead, Drop};
    let queues = |default: &str| {
        format!(
            "[queues.default]\n{default}\n[queues.shelf]\nsink = \"off\"\n\
             [queues.sink]\nsink = {{ type = \"file\", path = \"/out\" }}\n"
        )
    };
    let all = |default, shelf, sink| [("default", default), ("shelf", shelf), ("sink", sink)];
    check(&queues(""), all(Dead, Drop, Dead));
    check(&queues("sink = \"off\""), all(Drop, Drop, Dead));
    check(&queues("on_expire = \"dead\""), all(Dead, Dead, Dead));
    check(&queues("on_expire = \"drop\""), all(Drop, Drop, Drop));
}

#[test]
fn the_cleaner_is_set_for_all_queues() {
    for (text, expected) in [
        ("", Some(Duration::from_secs(60))),
        (
            "cleanup_interval = \"10ms\"",
            Some(Duration::from_millis(10)),
        ),
        ("cleanup_interval = \"off\"", None),
    ] {
        let config = config(&format!("[engine]\n{text}\n[queues.a]\n"));
        assert_eq!(config.cleanup_interval, expected);
        for queue in config.queues.values().chain([&config.template]) {
            assert_eq!(queue.policy.expiry.cleanup_interval, expected);
        }
    }
}

#[test]
fn a_queue_inherits_switches_off_and_sets() {
    let text = r#"
        [queues.default]
        max_items = 10
        max_bytes = "1KiB"
        lifespan = "1h"
        on_expire = "drop"
        ack = "none"
        sink = { type = "file", path = "/out", encoding = "raw" }
        [queues.inherits]
        [queues.off]
        max_items = "off"
        max_bytes = "off"
        max_age = "off"
        lifespan = "off"
        sink = "off"
        [queues.sets]
        max_items = 1
        max_bytes = "1B"
        max_age = "1h"
        lifespan = "2h"
        on_expire = "dead"
        ack = "synced"
        sink = { type = "file", path = "/sets" }
        "#;
    assert_snapshot!(changes(text), @r#"
    [queues.default]
    max_items = 10
    max_bytes = "1KiB"
    lifespan = "1h"
    on_expire = "drop"
    ack = "none"
    [queues.default.sink]
    path = "/out"
    encoding = "raw"
    [queues.off]
    max_items = "off"
    max_bytes = "off"
    max_age = "off"
    lifespan = "off"
    sink = "off"
    [queues.sets]
    max_items = 1
    max_bytes = "1B"
    max_age = "1h"
    lifespan = "2h"
    on_expire = "dead"
    ack = "synced"
    [queues.sets.sink]
    path = "/sets"
    encoding = "lines"
    "#);
}

#[test]
fn the_default_may_switch_off_what_is_built_in() {
    let text = r#"
        [queues.default]
        max_items = "off"
        max_bytes = "off"
        sink = "off"
        [queues.logs]
        max_items = 5
        "#;
    let config = config(text);
    assert_eq!(config.template, config.queues["default"]);
    let logs = &config.queues["logs"];
    assert_eq!(
        (logs.policy.max_items, logs.policy.max_bytes),
        (Some(5), None)
    );
    assert_eq!((&config.template.sink, &logs.sink), (&None, &None));
}

#[test]
fn a_small_submission_makes_items_small() {
    let limits = config("limits.submission_bytes_max = '10KiB'").limits;
    assert_eq!(limits.item_bytes_max, 10 << 10);
}

//! What a person or a script sees of the daemon: states, exit codes, starts and stops.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use batchd_tests::{Exit, LONG, Launch, Output, Site, binaries, run, wait_until};
use serde_json::json;

use crate::{NO_SINK, flush, ls, number, submit, text};

#[test]
fn the_state_is_told_in_json() {
    let site = Site::new(NO_SINK);
    let daemon = site.start();
    submit(&site, &["--key", "k"], b"1\n2\n3\n4\n5\n6\n7\n8\n").success();
    site.batchctl(["flush"], b"").success();
    let batches = wait_until("both batches to be ready", LONG, || {
        let batches = ls(&site);
        batches
            .iter()
            .all(|batch| text(batch, "state") == "ready")
            .then_some(batches)
    });
    let counts: Vec<_> = batches.iter().map(|batch| number(batch, "items")).collect();
    assert_eq!(counts, [7, 1]);
    for batch in &batches {
        let path = site.spool().join(text(batch, "path"));
        assert!(path.is_file(), "{}", path.display());
        let shown = site
            .batchctl(["show", text(batch, "id"), "--output", "json"], b"")
            .success()
            .json();
        assert_eq!(text(shown.first().expect("a batch"), "key"), "k");
    }
    let ids: Vec<_> = batches.iter().map(|batch| text(batch, "id")).collect();
    let items = site
        .batchctl(["cat", "--null"].iter().chain(&ids), b"")
        .success();
    assert_eq!(items.stdout, b"1\x002\x003\x004\x005\x006\x007\x008\0");
    let status = site
        .batchctl(["status", "--output", "json"], b"")
        .success()
        .json()
        .remove(0);
    assert_eq!(number(&status, "pid"), u64::from(daemon.pid()));
    assert_eq!(
        text(&status, "spool"),
        site.spool().to_str().expect("UTF-8")
    );
    let queue = status
        .get("queues")
        .and_then(|queues| queues.get(0))
        .expect("a queue");
    assert_eq!(text(queue, "queue"), "default");
    assert_eq!(number(queue, "items_accepted"), 8);
    assert_eq!(
        queue.get("ready"),
        Some(&json!({"batches": 2, "items": 8, "bytes": 8}))
    );
    assert_eq!(
        queue.get("open"),
        Some(&json!({"batches": 0, "items": 0, "bytes": 0}))
    );
    assert_eq!(number(&status, "quarantined"), 0);
    for command in ["status", "ls"] {
        let table = site.batchctl([command], b"").success();
        assert!(table.text().contains("default"), "{table}");
    }
}

#[test]
fn failures_have_their_exit_codes() {
    let site = Site::lines(7);
    let missing = "00000000-0000-7000-8000-000000000000";
    for args in [
        &["status"][..],
        &["ls"],
        &["submit"],
        &["flush"],
        &["show", missing],
    ] {
        let failed = site.batchctl(args, b"x\n").expect_code(69);
        assert!(failed.stderr.contains("hint: "), "{failed}");
    }
    let _daemon = site.start();
    for args in [
        &[][..],
        &["frobnicate"],
        &["submit", "--frobnicate"],
        &["show", "no id"],
    ] {
        site.batchctl(args, b"").expect_code(64);
    }
    submit(&site, &["--queue", "Not A Name"], b"x\n").expect_code(64);
    submit(&site, &["--queue", "nobody"], b"x\n").expect_code(66);
    submit(&site, &["/no/such/file"], b"").expect_code(66);
    site.batchctl(["show", missing], b"").expect_code(66);
    site.batchctl(["cat", missing], b"").expect_code(66);
    site.batchctl(["flush", "--queue", "nobody"], b"")
        .expect_code(66);
    let mut input = b"short\n".to_vec();
    input.extend(vec![b'x'; (1 << 20) + 1]);
    let failed = submit(&site, &[], &input).expect_code(65);
    assert!(failed.stderr.contains("line 2"), "{failed}");
    flush(&site);
    assert_eq!(site.delivered(), b"short\n");
    let help = site.batchctl(["--help"], b"").success();
    assert!(help.text().contains("Exit codes"), "{help}");
}

fn batchd(args: &[&str]) -> Output {
    run(Command::new(&binaries().batchd).args(args), b"")
}

#[test]
fn a_configuration_is_checked_without_a_daemon() {
    let site = Site::lines(7);
    let config = site.config().to_str().expect("UTF-8").to_owned();
    let printed = batchd(&["check-config", "--config", &config]).success();
    assert!(printed.text().contains("max_items = 7"), "{printed}");
    site.configure("[queues.default]\nmax_itmes = 7\n");
    let refused = batchd(&["check-config", "--config", &config]).expect_code(78);
    assert!(refused.stderr.contains("max_items"), "{refused}");
    // The daemon itself says the same.
    assert_eq!(
        site.try_start(&Launch::default()).err(),
        Some(Exit::Code(78))
    );
    assert!(site.log_text().contains("max_items"));
    batchd(&["check-config", "--config", "/no/such/file"]).expect_code(78);
    batchd(&["--frobnicate"]).expect_code(64);
}

#[test]
fn a_spool_has_one_daemon() {
    let site = Site::lines(7);
    let daemon = site.start();
    let config = fs::read_to_string(site.config()).expect("configuration");
    let other = site.root().join("other.toml");
    let socket = |name: &str| -> PathBuf { site.root().join(name) };
    fs::write(&other, config.replace("/sock\"", "/other\"")).expect("configuration");
    let refused = batchd(&["--config", other.to_str().expect("UTF-8")]).expect_code(75);
    assert!(
        refused.stderr.contains(&daemon.pid().to_string()),
        "{refused}"
    );
    assert!(!socket("other").exists());
    // The first one has noticed nothing.
    submit(&site, &[], b"x\n").success();
    flush(&site);
    assert_eq!(daemon.term(), Exit::Code(0));
    assert!(!socket("sock").exists());
}

#[test]
fn a_socket_has_one_daemon() {
    let site = Site::lines(7);
    let daemon = site.start();
    let config = fs::read_to_string(site.config()).expect("configuration");
    let other = site.root().join("other.toml");
    fs::write(&other, config.replace("/spool\"", "/other\"")).expect("configuration");
    let refused = batchd(&["--config", other.to_str().expect("UTF-8")]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(refused.stderr.contains("answers on"), "{refused}");
    submit(&site, &[], b"x\n").success();
    drop(daemon);
}

#[test]
fn a_killed_daemon_leaves_nothing_in_the_way() {
    let site = Site::lines(7);
    let daemon = site.start();
    submit(&site, &[], b"1\n2\n3\n4\n5\n6\n7\n8\n").success();
    daemon.kill9();
    assert!(site.socket().exists());
    site.batchctl(["status"], b"").expect_code(69);
    let daemon = site.start();
    submit(&site, &[], b"9\n").success();
    flush(&site);
    assert_eq!(site.delivered(), b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn an_open_batch_goes_on_after_a_clean_stop() {
    let site = Site::new(NO_SINK);
    let mut ids = Vec::new();
    for round in 0..3 {
        let daemon = site.start();
        submit(&site, &[], format!("{round}\n").as_bytes()).success();
        let batches = ls(&site);
        assert_eq!(batches.len(), 1, "{batches:?}");
        let batch = batches.first().expect("a batch");
        assert_eq!(
            (text(batch, "state"), number(batch, "items")),
            ("open", round + 1)
        );
        ids.push(text(batch, "id").to_owned());
        assert_eq!(daemon.term(), Exit::Code(0));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let _daemon = site.start();
    let id = ids.first().expect("an id");
    assert_eq!(
        site.batchctl(["cat", id], b"").success().text(),
        "0\n1\n2\n"
    );
    assert_eq!(
        site.log_text()
            .lines()
            .filter(|line| line.contains("ERROR"))
            .count(),
        0
    );
}

#[test]
fn a_submission_under_way_is_decided_by_a_stop() {
    let site = Site::lines(7);
    let daemon = site.start();
    // One that waits for its input when the daemon goes, and for the next daemon after that.
    let mut child = Command::new(&binaries().batchctl)
        .arg("--socket")
        .arg(site.socket())
        .args(["submit", "--timeout", "60s"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("batchctl");
    let mut input = child.stdin.take().expect("piped");
    let write = |input: &mut std::process::ChildStdin, line: &str| {
        std::io::Write::write_all(input, line.as_bytes()).expect("batchctl reads");
    };
    write(&mut input, "before\n");
    wait_until("the first item to be accepted", LONG, || {
        let status = site
            .batchctl(["status", "--output", "json"], b"")
            .success()
            .text();
        status.contains("\"items_accepted\":1").then_some(())
    });
    assert_eq!(daemon.term(), Exit::Code(0));
    write(&mut input, "between\n");
    let daemon = site.start();
    write(&mut input, "after\n");
    drop(input);
    let code = wait_until("batchctl to end", Duration::from_secs(90), || {
        child.try_wait().expect("wait")
    });
    assert!(code.success());
    flush(&site);
    assert_eq!(site.delivered(), b"before\nbetween\nafter\n");
    assert_eq!(daemon.term(), Exit::Code(0));
}

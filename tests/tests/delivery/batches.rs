//! Where batches begin and end, and what is in which.

use std::fs;

use batchd_client::{ItemBuffer, QueueName, Target};
use batchd_tests::{Exit, LONG, Site, wait_until};
use serde_json::{Value, json};

use crate::{NO_SINK, flush, ls, number, sample, submit, text};

#[test]
fn each_key_fills_its_own_batch() {
    let site = Site::new(NO_SINK);
    let _daemon = site.start();
    for round in 0..3 {
        for key in ["red", "green", ""] {
            submit(
                &site,
                &["--key", key],
                format!("{key} {round}\n").as_bytes(),
            )
            .success();
        }
    }
    let batches = ls(&site);
    assert_eq!(batches.len(), 3, "{batches:?}");
    for batch in batches {
        let (id, key) = (text(&batch, "id"), text(&batch, "key"));
        let items = site.batchctl(["cat", id], b"").success().text();
        assert_eq!(items, format!("{key} 0\n{key} 1\n{key} 2\n"));
    }
}

#[test]
fn a_repeat_under_its_id_adds_nothing() {
    let site = Site::lines(7);
    let input = sample("access.log").bytes;
    let submit_once = |expected_repeats: bool| {
        let said = submit(&site, &["--id", "job 7", "--output", "json"], &input)
            .success()
            .json();
        let said = said.first().expect("a document");
        assert_eq!(number(said, "repeats") > 0, expected_repeats, "{said}");
    };
    let daemon = site.start();
    submit_once(false);
    submit_once(true);
    assert_eq!(daemon.term(), Exit::Code(0));
    let daemon = site.start();
    submit_once(true);
    flush(&site);
    submit_once(true);
    flush(&site);
    daemon.kill9();
    let _daemon = site.start();
    submit_once(true);
    flush(&site);
    assert!(site.delivered() == input);
}

#[test]
fn an_id_whose_command_was_cut_short_adds_what_is_missing() {
    let site = Site::lines(7);
    let _daemon = site.start();
    // Long enough to be cut into several submissions.
    let input: String = (0..5000)
        .map(|line| format!("line {line} {}\n", "x".repeat(100)))
        .collect();
    let (head, _) = input.split_at(input.len() / 2);
    // The last submission of a shorter input is not that of the longer one, so a whole one is left out.
    let whole = head
        .lines()
        .take(2048)
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    submit(&site, &["--id", "a"], whole.as_bytes()).success();
    submit(&site, &["--id", "a"], input.as_bytes()).success();
    flush(&site);
    assert!(site.delivered() == input.as_bytes());
}

#[test]
fn batches_close_for_the_reason_they_tell() {
    let site = Site::new(
        "[queues.default]\nmax_age = \"off\"\nmax_bytes = \"off\"\nmax_items = \"off\"\nsink = \"off\"\n\
         [queues.items]\nmax_items = 3\n[queues.bytes]\nmax_bytes = \"100B\"\n[queues.age]\nmax_age = \"300ms\"\n",
    );
    let daemon = site.start();
    let tens = "0123456789\n".repeat(25);
    for queue in ["items", "bytes", "age", "default"] {
        submit(&site, &["--queue", queue], tens.as_bytes()).success();
    }
    let closed = |queue: &str| -> Vec<(u64, String)> {
        let batches = site
            .batchctl(["ls", "--output", "json", "--queue", queue], b"")
            .success()
            .json();
        let ready = batches
            .iter()
            .filter(|batch| text(batch, "state") == "ready");
        ready
            .map(|batch| {
                let shown = site.batchctl(["show", text(batch, "id"), "--output", "json"], b"");
                let shown = shown.success().json().remove(0);
                (number(&shown, "items"), text(&shown, "reason").to_owned())
            })
            .collect()
    };
    let wait = |queue: &str, count: usize| {
        let found = wait_until(queue, LONG, || {
            Some(closed(queue)).filter(|found| found.len() == count)
        });
        let (_, reason) = found.first().cloned().expect("a batch");
        (found.iter().map(|(items, _)| *items).max(), reason)
    };
    assert_eq!(wait("items", 8), (Some(3), "max_items".to_owned()));
    assert_eq!(wait("bytes", 2), (Some(10), "max_bytes".to_owned()));
    assert_eq!(wait("age", 1), (Some(25), "max_age".to_owned()));
    assert_eq!(closed("default"), []);
    site.batchctl(["flush", "--queue", "default"], b"")
        .success();
    assert_eq!(wait("default", 1), (Some(25), "flush".to_owned()));
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn a_batch_goes_out_by_its_age_alone() {
    let site = Site::new(&format!(
        "[queues.default]\nmax_age = \"200ms\"\n{}",
        Site::lines_sink("default")
    ));
    let _daemon = site.start();
    submit(&site, &[], b"hello\n").success();
    wait_until("the batch to be delivered", LONG, || {
        (site.delivered() == b"hello\n").then_some(())
    });
}

#[test]
fn flush_tells_what_became_of_it() {
    let site = Site::new(&format!(
        "[queues.default]\nmax_age = \"off\"\n{}[queues.stuck]\n[queues.stuck.sink]\ntype = \"file\"\n\
         path = \"{{root}}/missing/dir\"\n",
        Site::lines_sink("default")
    ));
    let _daemon = site.start();
    assert_eq!(
        flush(&site),
        json!({"batches": 0, "items": 0, "delivered": true, "not_delivered": 0})
    );
    submit(&site, &[], b"a\nb\n").success();
    assert_eq!(
        flush(&site),
        json!({"batches": 1, "items": 2, "delivered": true, "not_delivered": 0})
    );
    submit(&site, &["--queue", "stuck"], b"c\n").success();
    let failed = site
        .batchctl(["flush", "--wait", "--queue", "stuck"], b"")
        .expect_code(75);
    assert!(failed.stderr.contains("missing"), "{failed}");
    // The other queue does not wait for it.
    submit(&site, &[], b"d\n").success();
    site.batchctl(["flush", "--wait", "--queue", "default"], b"")
        .success();
    assert_eq!(site.delivered(), b"a\nb\nd\n");
    fs::create_dir(site.root().join("missing")).expect("directory");
    wait_until("the batch to go out after all", LONG, || {
        let out = batchd_tests::delivered(&site.root().join("missing/dir"));
        (out == b"c\n").then_some(())
    });
}

#[test]
fn queues_are_created_on_demand_where_that_is_configured() {
    let config =
        "[queues.default]\nunknown_queues = \"create\"\nmax_items = 2\nmax_age = \"off\"\n";
    let site = Site::new(&format!("{config}{}", Site::lines_sink("default")));
    let daemon = site.start();
    submit(&site, &["--queue", "fresh"], b"1\n2\n3\n").success();
    site.batchctl(["flush", "--wait", "--queue", "fresh"], b"")
        .success();
    let names: Vec<_> = site
        .delivered_files()
        .into_iter()
        .map(|file| file.name)
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("fresh-")),
        "{names:?}"
    );
    submit(&site, &["--queue", "fresh"], b"4\n").success();
    assert_eq!(daemon.term(), Exit::Code(0));
    // One that nobody names any more keeps its batches, and takes nothing.
    site.configure(&format!(
        "[queues.default]\nmax_age = \"off\"\n{}",
        Site::lines_sink("default")
    ));
    let daemon = site.start();
    submit(&site, &["--queue", "fresh"], b"5\n").expect_code(66);
    let batches = ls(&site);
    let kept: Vec<_> = batches
        .iter()
        .map(|batch| (text(batch, "queue"), number(batch, "items")))
        .collect();
    assert_eq!(kept, [("fresh", 1)]);
    assert_eq!(daemon.term(), Exit::Code(0));
    site.configure(&format!("{config}{}", Site::lines_sink("default")));
    let _daemon = site.start();
    submit(&site, &["--queue", "fresh"], b"5\n").success();
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(site.delivered(), b"1\n2\n3\n4\n5\n");
}

#[test]
fn a_batch_ends_where_its_producer_says() {
    let site = Site::lines(7);
    let _daemon = site.start();
    let mut target = Target::new(QueueName::new("default").expect("a name"));
    target.end_of_batch = true;
    let mut client = site.client(None, LONG);
    for items in [1, 7, 9, 3] {
        let items = ItemBuffer::from_iter((0..items).map(|item| format!("{items}.{item}")));
        let submission = client.prepare(&target, &items);
        client.submit(submission).expect("submitted");
    }
    flush(&site);
    let counts: Vec<_> = site
        .delivered_files()
        .iter()
        .map(|file| file.lines().len())
        .collect();
    assert_eq!(counts, [1, 7, 7, 2, 3]);
}

#[test]
fn what_is_spooled_costs_disk_and_nothing_else() {
    const BATCHES: usize = 64;
    let site = Site::new("[queues.default]\nmax_items = 1\nmax_age = \"off\"\nsink = \"off\"\n");
    let daemon = site.start();
    let items = vec![vec![b'x'; 1 << 20]];
    site.submit("default", std::slice::from_ref(&items))
        .expect("submitted");
    let (kib, descriptors) = (daemon.memory_kib("VmHWM"), daemon.descriptors());
    site.submit("default", &vec![items; BATCHES])
        .expect("submitted");
    let is_sealed = |batch: &Value| text(batch, "state") == "ready";
    wait_until("seals", LONG, || {
        let batches = ls(&site);
        (batches.len() > BATCHES && batches.iter().all(is_sealed)).then_some(())
    });
    assert!(
        daemon.descriptors() <= descriptors + 12,
        "{} files are open",
        daemon.descriptors()
    );
    let grown = daemon.memory_kib("VmHWM") - kib;
    assert!(grown < 32 << 10, "grew by {grown} KiB");
    daemon.kill9();
    let daemon = site.start();
    assert_eq!(ls(&site).len(), BATCHES + 1);
    assert!(
        daemon.memory_kib("VmHWM") < kib + (32 << 10),
        "{} KiB",
        daemon.memory_kib("VmHWM")
    );
    assert_eq!(daemon.term(), Exit::Code(0));
}

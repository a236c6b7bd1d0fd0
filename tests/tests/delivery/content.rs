//! What comes out.

use std::fs;

use batchd_client::{ItemBuffer, Key, QueueName, Target};
use batchd_tests::{Exit, LONG, Random, Site, samples};
use serde_json::{Value, json};

use crate::{MAX_ITEMS, flush, lines, number, sample, submit};

/// Submits a file, flushes, and compares what was delivered.
#[track_caller]
fn check_round_trip(name: &str, bytes: &[u8]) {
    let site = Site::lines(7);
    let daemon = site.start();
    let path = site.root().join("input");
    fs::write(&path, bytes).expect("input");
    site.batchctl(["submit".as_ref(), path.as_os_str()], b"")
        .success();
    flush(&site);

    let mut expected = bytes.to_vec();
    if !expected.is_empty() && !expected.ends_with(b"\n") {
        expected.push(b'\n');
    }
    assert!(
        site.delivered() == expected,
        "{name} is not what was delivered"
    );
    let files = site.delivered_files();
    let counts: Vec<_> = files.iter().map(|file| file.lines().len()).collect();
    let full = counts.len().saturating_sub(1);
    assert!(
        counts.iter().take(full).all(|count| *count == MAX_ITEMS),
        "{name}: {counts:?}"
    );
    assert_eq!(counts.iter().sum::<usize>(), lines(bytes).len(), "{name}");
    assert!(
        counts
            .last()
            .is_none_or(|last| (1..=MAX_ITEMS).contains(last)),
        "{name}: {counts:?}"
    );
    assert_eq!(daemon.term(), Exit::Code(0), "{name}");
}

#[test]
fn files_come_out_as_they_went_in() {
    for sample in samples() {
        check_round_trip(&sample.name, &sample.bytes);
    }
}

#[test]
fn the_ends_of_input_come_out_as_they_went_in() {
    for input in [
        "",
        "\n",
        "\n\n\n",
        "x",
        "x\n",
        "\nx",
        "\r\n",
        "x\r\n\r\n",
        "\0",
    ] {
        check_round_trip(&format!("{input:?}"), input.as_bytes());
    }
}

#[test]
fn long_lines_of_random_bytes_come_out_as_they_went_in() {
    let mut random = Random::new(1);
    let mut line = |bytes| -> Vec<u8> {
        let random = random.bytes(bytes).into_iter();
        random
            .map(|byte| if byte == b'\n' { b'\r' } else { byte })
            .collect()
    };
    let input = [
        line(900_000),
        line(3),
        line(1 << 20),
        line(0),
        line(700_000),
    ];
    check_round_trip("long lines", &input.join(&b'\n'));
}

/// Delivers the items as one batch with an encoding, and returns its file.
fn encoded(encoding: &str, more: &str, items: &[&[u8]]) -> Vec<u8> {
    let site = Site::new(&format!(
        "[queues.default]\nmax_age = \"off\"\n[queues.default.sink]\ntype = \"file\"\npath = \"{{out}}\"\n\
         encoding = \"{encoding}\"\n{more}"
    ));
    let _daemon = site.start();
    site.submit("default", &[items.to_vec()])
        .expect("submitted");
    flush(&site);
    assert_eq!(site.delivered_files().len(), 1);
    site.delivered()
}

#[test]
fn each_encoding_writes_what_it_says() {
    let items: [&[u8]; 5] = [b"{\"a\": 1}", b"no JSON", b"", b"two\nlines", b"\xff\0"];
    assert_eq!(
        encoded("lines", "", &items),
        b"{\"a\": 1}\nno JSON\n\ntwo\\nlines\n\xff\0\n"
    );
    assert_eq!(
        encoded("lines", "unencodable = \"base64\"\n", &items),
        b"{\"a\": 1}\nno JSON\n\nbase64:dHdvCmxpbmVz\n\xff\0\n"
    );
    let values = [
        json!({"a": 1}),
        json!("no JSON"),
        json!(""),
        json!("two\nlines"),
        json!({"base64": "/wA="}),
    ];
    let ndjson = encoded("ndjson", "", &items);
    let read: Vec<Value> = lines(&ndjson)
        .into_iter()
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert_eq!(read, values);
    let array = encoded("json-array", "", &items);
    assert_eq!(
        serde_json::from_slice::<Value>(&array).expect("JSON"),
        Value::from(values.to_vec())
    );
    assert_eq!(encoded("raw", "", &items), items.concat());
    let mut expected = Vec::new();
    for item in items {
        expected.extend(u32::try_from(item.len()).expect("short").to_le_bytes());
        expected.extend(item);
    }
    assert_eq!(encoded("length-prefixed", "", &items), expected);
}

#[test]
fn one_file_is_appended_to_across_restarts() {
    let site = Site::new(
        "[queues.default]\nmax_items = 7\nmax_age = \"off\"\n\
         [queues.default.sink]\ntype = \"file\"\npath = \"{out}/all.log\"\nencoding = \"lines\"\nappend = true\n",
    );
    let sample = sample("access.log");
    for round in 1..=3 {
        let daemon = site.start();
        submit(&site, &[], &sample.bytes).success();
        flush(&site);
        let found = fs::read(site.out().join("all.log")).expect("the file");
        assert!(found == sample.bytes.repeat(round), "round {round}");
        if round == 1 {
            daemon.kill9();
        } else {
            assert_eq!(daemon.term(), Exit::Code(0));
        }
    }
}

#[test]
fn items_may_end_with_nul_or_be_whole_inputs() {
    let site = Site::lines(7);
    let _daemon = site.start();
    submit(&site, &["--null"], b"a\0b\0\0c").success();
    flush(&site);
    assert_eq!(site.delivered(), b"a\nb\n\nc\n");

    let site = Site::new(
        "[queues.default]\nmax_age = \"off\"\n\
         [queues.default.sink]\ntype = \"file\"\npath = \"{out}\"\nencoding = \"length-prefixed\"\n",
    );
    let _daemon = site.start();
    let (one, two) = (site.root().join("one"), site.root().join("two"));
    fs::write(&one, "first\nfile\n").expect("input");
    fs::write(&two, "").expect("input");
    site.batchctl(
        [
            "submit".as_ref(),
            "--whole".as_ref(),
            one.as_os_str(),
            two.as_os_str(),
        ],
        b"",
    )
    .success();
    flush(&site);
    assert_eq!(site.delivered(), b"\x0b\0\0\0first\nfile\n\0\0\0\0");
}

#[test]
fn what_is_not_waited_for_comes_out_too() {
    for ack in ["none", "written", "synced"] {
        let site = Site::lines(7);
        let _daemon = site.start();
        let input = b"one\ntwo\nthree\n";
        let said = submit(&site, &["--ack", ack, "--output", "json"], input)
            .success()
            .json();
        assert_eq!(number(said.first().expect("a document"), "items"), 3);
        flush(&site);
        assert_eq!(site.delivered(), input, "{ack}");
    }
}

/// Clients at once, each with a key of its own and many submissions in flight.
fn check_many_clients(ingest_threads: u32) {
    const CLIENTS: usize = 8;
    const SUBMISSIONS: usize = 150;
    let site = Site::new(&format!(
        "[engine]\ningest_threads = {ingest_threads}\n\
         [queues.default]\nmax_items = 7\nmax_age = \"off\"\n{}",
        Site::lines_sink("default")
    ));
    let daemon = site.start();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let site = &site;
            scope.spawn(move || {
                let mut random = Random::new(client as u64);
                let mut target = Target::new(QueueName::new("default").expect("a name"));
                target.key = Key::new(format!("{}", client / 2)).expect("a key");
                let mut connection = site.client(None, LONG);
                for number in 0..SUBMISSIONS {
                    let items =
                        (0..=random.below(10)).map(|item| format!("{client} {number} {item}"));
                    let items = ItemBuffer::from_iter(items);
                    let submission = connection.prepare(&target, &items);
                    connection.send(submission).expect("sent");
                    if random.below(20) == 0 {
                        connection.settle().expect("settled");
                    }
                }
                let totals = connection.settle().expect("settled");
                assert_eq!(totals.kept.submissions, SUBMISSIONS as u64);
            });
        }
    });
    flush(&site);
    let delivered = String::from_utf8(site.delivered()).expect("UTF-8");
    for client in 0..CLIENTS {
        let mut random = Random::new(client as u64);
        let mut expected = Vec::new();
        for number in 0..SUBMISSIONS {
            expected.extend((0..=random.below(10)).map(|item| format!("{client} {number} {item}")));
            random.below(20);
        }
        let prefix = format!("{client} ");
        let of_client: Vec<_> = delivered
            .lines()
            .filter(|line| line.starts_with(&prefix))
            .collect();
        assert!(
            of_client == expected,
            "client {client} of {ingest_threads} threads"
        );
    }
    for file in site.delivered_files() {
        assert!(
            (1..=MAX_ITEMS).contains(&file.lines().len()),
            "{}",
            file.name
        );
    }
    assert_eq!(daemon.term(), Exit::Code(0));
}

#[test]
fn many_clients_at_once_keep_their_order() {
    for ingest_threads in [1, 3] {
        check_many_clients(ingest_threads);
    }
}

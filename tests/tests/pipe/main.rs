//! `batchd pipe`: what goes in comes out, once, in exact batches, whatever happens in between.

mod kill;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command};

use batchd_tests::{
    LONG, Output, Place, Signal, binaries, lines, run, samples, service, wait_until,
};
use insta::assert_snapshot;

#[test]
fn what_goes_in_comes_out_in_exact_batches() {
    let place = Place::new();
    let said = place.pipe("--max-items 500 --max-age off", lines(0..1234).as_bytes());
    assert_snapshot!(place.masked(&said), @r"
    Some(0)
    batchd pipe: 1000 items are durable
    batchd pipe: 1234 items are durable
    batchd pipe: 1234 items taken, all is delivered
    ");
    assert_eq!(place.batches(), [500, 500, 234]);
    assert_eq!(place.delivered(), lines(0..1234));
    let by_bytes = Place::with_input(lines(0..1000));
    by_bytes.take("--max-items off --max-bytes 4KiB").success();
    // Items of 6 to 8 bytes.
    assert!(by_bytes.batches().iter().rev().skip(1).all(|n| *n >= 512));
    assert_eq!(by_bytes.delivered(), lines(0..1000));
}

#[test]
fn real_input_of_every_kind_comes_out_as_it_went_in() {
    for sample in samples() {
        let place = Place::with_input(&sample.bytes);
        place
            .take("--sink-option encoding=length-prefixed --null")
            .success();
        let files = batchd_tests::delivered_files(&place.out());
        let mut items = Vec::new();
        for file in &files {
            let mut rest = file.bytes.as_slice();
            while let Some((length, behind)) = rest.split_first_chunk::<4>() {
                let (item, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
                items.push(item.to_vec());
                rest = behind;
            }
        }
        let mut joined = items.join(&0);
        if sample.bytes.last() == Some(&0) {
            joined.push(0);
        }
        assert!(joined == sample.bytes, "{}", sample.name);
    }
}

#[test]
fn an_input_may_be_one_item() {
    let place = Place::with_input("a\nb\n\0c");
    let raw = "--whole --sink-option encoding=raw";
    place.take(raw).success();
    assert_eq!(place.delivered(), "a\nb\n\0c");
    // The same content is the same item, another one is not.
    assert_snapshot!(place.masked(&place.take(raw)), @r"
    Some(0)
    batchd pipe: nothing new was taken, all is delivered
    ");
    place.append("d");
    place.take(raw).success();
    assert_eq!(place.delivered(), "a\nb\n\0ca\nb\n\0cd");
}

#[test]
fn each_line_of_a_file_is_taken_once() {
    let place = Place::with_input(lines(0..100));
    place.take("--max-items 30").success();
    assert_snapshot!(place.masked(&place.take("--max-items 30")), @r"
    Some(0)
    batchd pipe: goes on at byte 790: what is before it was taken already
    batchd pipe: nothing new was taken, all is delivered
    ");
    place.append(lines(100..150) + "no newline");
    place.take("--max-items 30").success();
    assert_eq!(place.delivered(), lines(0..150) + "no newline\n");
    // Its newline is no item.
    place.append("\n");
    place.take("--max-items 30").success();
    assert_eq!(place.delivered(), lines(0..150) + "no newline\n");
    place.append("half");
    place.take("--max-items 30").success();
    place.append(" yet\nlast\n");
    assert_snapshot!(place.masked(&place.take("--max-items 30")), @r"
    Some(0)
    batchd pipe: goes on at byte 1255: what is before it was taken already
    batchd pipe: its last item had no delimiter then: what was written behind it since is an item of its own
    batchd pipe: 2 items taken, all is delivered
    ");
    // Written anew, in place: the same inode, and as long.
    fs::write(place.input(), lines(500..700)).expect("written");
    assert_snapshot!(place.masked(&place.take("--max-items 30")), @r"
    Some(0)
    batchd pipe: the file was cut or written anew since it was taken: it is taken again
    batchd pipe: 200 items taken, all is delivered
    ");
    let expected = lines(0..150) + "no newline\nhalf\n yet\nlast\n" + &lines(500..700);
    assert_eq!(place.delivered(), expected);
}

#[test]
fn a_file_is_taken_from_where_it_stands() {
    let place = Place::with_input(lines(0..10));
    let script = "{ read first; \"$@\"; } <input";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]);
    shell.args(place.words("")).current_dir(place.root());
    let said = run(&mut shell, b"").success();
    assert!(!said.stderr.contains("taken already"), "{said}");
    // `read` takes a byte at a time, and leaves the file behind the first line.
    assert_eq!(place.delivered(), lines(1..10));
}

/// The loop has the file open, and each run goes on where the file stands.
#[test]
fn runs_that_share_an_open_file_take_each_line_once() {
    let place = Place::with_input(lines(0..5000));
    let shell = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]);
        let options = "--max-items 100 --quota-items 400 --overflow reject --quiet";
        shell.args(place.words(options)).current_dir(place.root());
        run(&mut shell, b"")
    };
    // Without a sink it ends again and again with what it has taken.
    fs::write(place.out(), "in the way").expect("written");
    shell("for n in 1 2 3; do \"$@\" --shutdown-timeout 1ms; done <input");
    fs::remove_file(place.out()).expect("there");
    shell("until \"$@\"; do :; done <input").success();
    assert_eq!(place.delivered(), lines(0..5000));
    // What is left for the next command is what is not durable.
    place.append("one\n");
    let rest = shell("{ \"$@\"; cat; } <input").success();
    assert_eq!(rest.text(), "");
}

#[test]
fn a_file_that_is_written_anew_while_it_is_read_is_taken_again() {
    // Longer than what is read ahead: some of it is read of the one, and some of the other.
    for anew in [lines(400_000..700_000), String::new()] {
        let place = Place::with_input(lines(100_000..400_000));
        fs::write(place.out(), "in the way").expect("written");
        // It waits for room, with some read ahead.
        let mut child = place.start_on_input("--max-items 1000 --quota-items 8000");
        wait_until("it to wait", LONG, || {
            let ready = fs::read_dir(place.spool().join("queues/default/ready"));
            (ready.ok()?.count() >= 7).then_some(())
        });
        fs::write(place.input(), &anew).expect("written");
        fs::remove_file(place.out()).expect("there");
        let status = wait_until("its end", LONG, || child.try_wait().expect("wait"));
        assert_eq!(status.code(), Some(74), "it is told");
        let before = place.delivered();
        // All that was read before is there.
        let old: Vec<_> = before
            .lines()
            .filter(|line| *line < "line 400000")
            .collect();
        assert!(old.len() >= 8000 && before.starts_with(&lines(100_000..100_000 + old.len())));
        let said = place.take("").success();
        let after = place.delivered();
        assert!(after == before + &anew, "{said}");
    }
}

#[test]
fn a_sink_that_is_slow_is_waited_for() {
    let Some(strace) = service("strace") else {
        return;
    };
    let place = Place::with_input(lines(0..400));
    let mut words = vec![strace.into(), "-f".into(), "-qq".into()];
    let slow = "inject=rename:delay_enter=20000";
    words.extend(["-o", "/dev/null", "-e", "trace=rename", "-e", slow].map(Into::into));
    words.extend(place.words("--max-items 10 --shutdown-timeout 500ms"));
    place.take_with(&words).success();
    assert_eq!(place.delivered(), lines(0..400));
}

#[test]
fn what_has_expired_is_told_in_the_end() {
    let place = Place::with_input(lines(0..10));
    fs::write(place.out(), "in the way").expect("written");
    let config = "[engine]\ncleanup_interval = \"10ms\"\n";
    fs::write(place.root().join("b.toml"), config).expect("written");
    let said = place.take("--config b.toml --lifespan 1ms --on-expire drop");
    assert_snapshot!(place.masked(&said), @r"
    Some(1)
    batchd: not all was delivered: 1 batch was dropped, 1 was past `lifespan`
    batchd: hint: the ledger of the queue, in ROOT/spool, says which; what was set aside is in 'dead' beside it
    ");
    // It was taken all the same.
    fs::remove_file(place.out()).expect("there");
    place.take("").success();
    assert_eq!(place.delivered(), "");
}

#[test]
fn a_sink_that_fails_costs_nothing_but_time() {
    let place = Place::new();
    fs::write(place.out(), "in the way").expect("written");
    let said = place.pipe("--shutdown-timeout 10ms", lines(0..10).as_bytes());
    assert_snapshot!(place.masked(&said), @r"
    Some(75)
    batchd pipe: 10 items are durable
    batchd: 10 items are not delivered, in 1 batch that the spool ROOT/spool keeps: ROOT/out is not a directory: move it away or change `path`
    batchd: hint: mend what the sink says and run the same command again: it delivers them first
    ");
    assert!(
        said.stderr.contains("not delivered; the batch is kept"),
        "{said}"
    );
    fs::remove_file(place.out()).expect("there");
    let said = place.pipe("", lines(10..12).as_bytes());
    assert_snapshot!(place.masked(&said), @r"
    Some(0)
    batchd pipe: 10 items of an earlier run wait to be delivered
    batchd pipe: 2 items are durable
    batchd pipe: 2 items taken, all is delivered
    ");
    assert_eq!(place.delivered(), lines(0..12));
}

#[test]
fn without_a_spool_it_has_one_of_its_own_for_each_sink() {
    let place = Place::new();
    let sink = |name: &str| {
        let mut words = place.words("");
        words.truncate(2);
        words.extend(["--sink".into(), format!("file:{name}").into()]);
        place.command(&words)
    };
    fs::write(place.root().join("a"), "in the way").expect("written");
    let said = run(sink("a").args(["--shutdown-timeout", "10ms"]), b"for a\n").expect_code(75);
    let first = said.stderr.lines().next().expect("a line");
    let spool = first
        .strip_prefix("batchd pipe: the spool is ")
        .expect("named");
    assert!(
        spool.starts_with(
            &place
                .root()
                .join("state/pipe/default-a-")
                .display()
                .to_string()
        )
    );
    assert!(
        said.stderr.contains(&format!("the spool {spool} keeps")),
        "{said}"
    );
    // What waits for one sink does not go to another.
    run(&mut sink("b"), b"for b\n").success();
    let of = |name: &str| batchd_tests::delivered(&place.root().join(name));
    assert_eq!(of("b"), b"for b\n");
    fs::remove_file(place.root().join("a")).expect("there");
    run(&mut sink("a"), b"").success();
    assert_eq!(of("a"), b"for a\n");
}

/// Reads what it says until a line is as expected.
fn wait_for_line(child: &mut Child, expected: &str) {
    let stderr = child.stderr.as_mut().expect("piped");
    let mut lines = BufReader::with_capacity(1, stderr).lines();
    let found = lines.any(|line| line.expect("text") == expected);
    assert!(found, "it never said {expected:?}");
}

fn ended(mut child: Child) -> Output {
    drop(child.stdin.take());
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().expect("piped");
    pipe.read_to_string(&mut stderr).expect("text");
    let status = child.wait().expect("ended");
    Output {
        code: status.code(),
        stdout: Vec::new(),
        stderr,
    }
}

#[test]
fn the_producer_is_told_what_is_durable() {
    let place = Place::new();
    let mut child = place.start("--report 0s --max-age off");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"one\ntwo\nthr").expect("written");
    wait_for_line(&mut child, "batchd pipe: 2 items are durable");
    stdin.write_all(b"ee\n").expect("written");
    wait_for_line(&mut child, "batchd pipe: 3 items are durable");
    // So it is, whatever comes now.
    child.kill().expect("there");
    child.wait().expect("ended");
    drop(stdin);
    assert_eq!(place.delivered(), "");
    place.pipe("", b"").success();
    assert_eq!(place.delivered(), "one\ntwo\nthree\n");
}

/// The words of a command, for a shell.
fn quoted(words: &[std::ffi::OsString]) -> String {
    let words = words.iter().map(|word| format!("'{}' ", word.display()));
    words.collect()
}

#[test]
fn on_a_terminal_it_shows_how_far_it_is() {
    let Some(script) = service("script") else {
        return;
    };
    let place = Place::with_input(lines(0..100));
    let on_a_terminal = |line: &str| {
        let mut command = Command::new(&script);
        command.args(["-qec", line, "/dev/null"]);
        run(command.current_dir(place.root()), b"").success().text()
    };
    let said = on_a_terminal(&format!("{} <input", quoted(&place.words(""))));
    assert!(said.contains("790 B/790 B"), "{said}");
    assert!(
        said.contains("batchd pipe: 100 items taken, all is delivered"),
        "{said}"
    );
    let said = on_a_terminal(&format!(
        "echo last | {}",
        quoted(&place.words("--max-age 10ms"))
    ));
    assert!(said.contains(" durable, "), "{said}");
    assert!(
        !said.contains("durable\r\n"),
        "a line of its own is for where there is no bar: {said}"
    );
    assert_eq!(place.delivered(), lines(0..100) + "last\n");
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let place = Place::new();
    for (option, delivered) in [("keep", ""), ("flush", "1\n2\n3\n1\n2\n3\n")] {
        let mut child = place.start(&format!("--report 0s --max-age off --on-shutdown {option}"));
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(b"1\n2\n3\nhalf").expect("written");
        wait_for_line(&mut child, "batchd pipe: 3 items are durable");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).expect("there");
        let said = ended(child);
        // It ended by the signal, so that whoever started it sees that.
        assert_eq!(said.code, None, "{said}");
        assert!(
            said.stderr
                .contains("stopped by SIGTERM: 3 items are taken and durable"),
            "{said}"
        );
        assert_eq!(place.delivered(), delivered, "{option}");
    }
}

#[test]
fn a_signal_is_heard_while_the_input_is_fast() {
    let place = Place::with_input(lines(0..200_000));
    let mut child = place.start_on_input("--max-items 1 --quiet");
    wait_until("the first delivery", LONG, || {
        fs::read_dir(place.out()).ok()?.next().map(drop)
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).expect("there");
    let status = wait_until("its end", LONG, || child.try_wait().expect("wait"));
    assert_eq!(status.code(), None);
    let taken = place.batches().len();
    assert!(taken < 200_000, "it took everything first");
}

#[test]
fn the_clock_closes_batches_while_the_input_is_open() {
    let place = Place::new();
    let mut child = place.start("--max-items off --max-age 10ms");
    let mut stdin = child.stdin.take().expect("piped");
    for expected in ["1\n", "1\n2\n"] {
        let last = expected.split_at(expected.len() - 2).1;
        stdin.write_all(last.as_bytes()).expect("written");
        wait_until("a delivery", LONG, || {
            (place.delivered() == expected).then_some(())
        });
    }
    drop(stdin);
    ended(child).success();
    assert_eq!(place.batches(), [1, 1]);
}

#[test]
fn an_input_that_is_faster_than_its_sink_waits() {
    let place = Place::with_input(lines(0..5000));
    place.take("--max-items 100 --quota-items 250").success();
    assert_eq!(place.delivered(), lines(0..5000));
    assert_eq!(place.batches(), [100; 50]);
    // A quota that a batch never reaches closes it.
    let small = Place::with_input(lines(0..50));
    small
        .take("--max-items 100 --max-age off --quota-items 20")
        .success();
    assert_eq!(small.delivered(), lines(0..50));
    let refused = Place::with_input(lines(0..5000));
    fs::write(refused.out(), "in the way").expect("written");
    let options = "--quota-items 250 --overflow reject --shutdown-timeout 10ms";
    assert_snapshot!(refused.masked(&refused.take(options)), @r"
    Some(75)
    batchd: 248 items are not delivered, in 1 batch that the spool ROOT/spool keeps: ROOT/out is not a directory: move it away or change `path`
    batchd: not taken: the queue holds 248 items, and 250 are allowed (`quota_items`): wait for deliveries, or raise it
    batchd: hint: 248 items are durable; `--overflow block` waits for room instead
    ");
    fs::remove_file(refused.out()).expect("there");
    refused.take("").success();
    assert_eq!(refused.delivered(), lines(0..5000));
}

#[test]
fn an_item_that_is_too_long_ends_it_behind_those_before_it() {
    let place = Place::with_input("short\nlonger than eight\nshort\n");
    assert_snapshot!(place.masked(&place.take("--max-bytes 8B")), @r"
    Some(65)
    batchd: the item at byte 6 of the input is longer than 8 bytes, and never taken
    batchd: hint: split it, or raise `max_bytes` of the queue and `item_bytes_max` in [limits] of --config
    ");
    assert_eq!(place.delivered(), "short\n");
    place.take("--max-bytes 20B").success();
    assert_eq!(place.delivered(), "short\nlonger than eight\nshort\n");
}

#[test]
fn settings_come_from_a_file_as_well() {
    let place = Place::with_input(lines(0..10));
    let config = format!(
        "[spool]\npath = \"/nowhere\"\nballast = \"off\"\n[queues.logs]\nmax_items = 3\n\
         [queues.logs.sink]\ntype = \"file\"\npath = \"{}\"\n",
        place.out().display()
    );
    fs::write(place.root().join("b.toml"), config).expect("written");
    let take = |options: &str| {
        let mut words = place.words(options);
        // No sink of its own.
        words.drain(2..4);
        place.take_with(&words)
    };
    assert_snapshot!(place.masked(&take("--config b.toml --queue lgos")), @r"
    Some(78)
    batchd: --queue: the configuration has no queue `lgos`: did you mean `logs`?
    batchd: hint: 'batchd pipe --help' shows the options
    ");
    assert_snapshot!(place.masked(&take("--config b.toml")), @r"
    Some(78)
    batchd: --sink: where the batches go is not known: give `--sink file:DIR`, or a configuration whose queue has a sink
    batchd: hint: 'batchd pipe --help' shows the options
    ");
    take("--config b.toml --queue logs --max-items 4").success();
    assert_eq!(place.batches(), [4, 4, 2]);
    assert!(
        !fs::exists("/nowhere").expect("looked"),
        "the daemon's spool is none of its concern"
    );
}

#[test]
fn what_is_wrong_is_said_before_anything_is_read() {
    let place = Place::new();
    let mut said = String::new();
    for options in [
        "--max-items 5x --max-age 5 --overflow blok --interval-jitter 5%",
        "--sink-option encodign=raw",
        "--sink-option encoding=yaml",
        "--queue Logs",
        "--config missing.toml",
    ] {
        said += &format!(
            "{options}\n{}\n",
            place.masked(&place.pipe(options, b"1\n"))
        );
    }
    for words in [
        &["pipe"][..],
        &["pipe", "--sink", "out"],
        &["pipe", "--sink", "fiel:out"],
    ] {
        let mut command = place.command(&[binaries().batchd.clone().into()]);
        let done = run(command.args(words), b"1\n");
        said += &format!("{words:?}\n{}\n", place.masked(&done));
    }
    assert_snapshot!(said, @r#"
    --max-items 5x --max-age 5 --overflow blok --interval-jitter 5%
    Some(78)
    batchd: --max-items: found a string, expected an integer; or "off"
    batchd: --max-age: 5 has no unit: write a time such as "5s"; or "off"
    batchd: --overflow: unknown value "blok": did you mean `block`?
    batchd: --interval-jitter: there is no `interval` for it here: set one, or leave this out
    batchd: hint: 'batchd pipe --help' shows the options
    --sink-option encodign=raw
    Some(78)
    batchd: command line: unknown key `encodign` in [queues.default.sink]: did you mean `encoding`?
    batchd: hint: 'batchd pipe --help' shows the options
    --sink-option encoding=yaml
    Some(78)
    batchd: --sink-option encoding: unknown value "yaml": expected one of `lines`, `ndjson`, `json-array`, `raw`, `length-prefixed`
    batchd: hint: 'batchd pipe --help' shows the options
    --queue Logs
    Some(78)
    batchd: --queue: 'Logs' is not a queue name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit
    batchd: hint: 'batchd pipe --help' shows the options
    --config missing.toml
    Some(78)
    batchd: cannot read the configuration missing.toml: No such file or directory (os error 2)
    batchd: hint: give a file that is there to --config; 'batchd check-config --config /dev/null' prints the one that is built in, to begin with
    ["pipe"]
    Some(78)
    batchd: --sink: where the batches go is not known: give `--sink file:DIR`, or a configuration whose queue has a sink
    batchd: hint: 'batchd pipe --help' shows the options
    ["pipe", "--sink", "out"]
    Some(64)
    error: invalid value 'out' for '--sink <TYPE:TARGET>': a type and where it goes, as in file:DIR

    For more information, try '--help'.
    ["pipe", "--sink", "fiel:out"]
    Some(78)
    batchd: --sink: unknown value "fiel": did you mean `file`?
    batchd: hint: 'batchd pipe --help' shows the options
    "#);
    let root = fs::read_dir(place.root()).expect("a directory");
    assert_eq!(root.count(), 1, "there is nothing but the input");
}

#[test]
fn two_do_not_share_a_spool() {
    let place = Place::new();
    let mut child = place.start("--report 0s");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"1\n").expect("written");
    wait_for_line(&mut child, "batchd pipe: 1 item is durable");
    let said = place.pipe("", b"2\n");
    let text = place.masked(&said).replace(&child.id().to_string(), "PID");
    assert_snapshot!(text, @r"
    Some(75)
    batchd: spool ROOT/spool is in use by another process (batchd pipe, pid PID)
    batchd: hint: wait until that process has ended, or give this one a spool of its own with --spool
    ");
    drop(stdin);
    ended(child).success();
    assert_eq!(place.delivered(), "1\n");
}

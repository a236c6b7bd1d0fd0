//! `batchctl submit`

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};

use batchd_client::fake::{FakeDaemon, LIMITS, Peer, Script};
use batchd_client::{Ack, ErrorCode, ProducerId};
use batchd_protocol::{PROTOCOL_VERSION, Response, exit};

use super::{Bench, answer_status};

/// A daemon that takes one submission and hands its items to `see`.
fn take_one(see: impl FnOnce(&[Vec<u8>]) + Send + 'static) -> impl FnOnce(&mut Peer) + Send {
    move |peer| {
        let received = peer.read_submission();
        see(&received.items);
        peer.accept(&received);
    }
}

#[test]
fn submit_cuts_lines_and_prints_what_was_kept() {
    let mut bench = Bench::new();
    bench.stdin = b"one\n\ntwo\r".to_vec();
    let ran = bench.run_with("submit --output json", |peer| {
        let received = peer.read_submission();
        assert_eq!(received.items, [&b"one"[..], b"", b"two\r"]);
        assert_eq!(
            (received.queue.as_str(), received.key.as_slice()),
            ("default", &b""[..])
        );
        assert_eq!((received.ack, received.repeat), (None, false));
        peer.accept(&received);
    });
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stdout, @r#"{"submissions":1,"items":3,"bytes":7,"ack":"default","repeats":0}"#);
}

#[test]
fn a_person_at_the_terminal_is_told_that_it_is_read() {
    for (command, told) in [
        ("submit", "one a line"),
        ("submit --null -", "each ended by a NUL byte"),
        ("submit --whole", "all of it as one"),
    ] {
        let mut bench = Bench::new();
        (bench.stdin, bench.stdin_is_terminal) = (b"x".to_vec(), true);
        let ran = bench.run_with(command, take_one(|_| ()));
        let expected =
            format!("batchctl: reading items from the terminal, {told}; Ctrl-D ends them\n");
        assert_eq!((ran.code, ran.stderr), (exit::OK, expected));
        // Before anything is typed it is known whether it can be submitted.
        let ran = bench.run(command);
        assert_eq!(ran.code, exit::UNAVAILABLE);
        assert!(!ran.stderr.contains("reading"), "{}", ran.stderr);
    }
    let mut bench = Bench::new();
    bench.stdin_is_terminal = true;
    bench.file("a", b"1");
    let ran = bench.run_with("submit @a", take_one(|_| ()));
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
}

#[test]
fn an_empty_input_is_told_as_that() {
    let ran = Bench::new().run_with("submit --verbose", Peer::read_to_end);
    assert_eq!(ran.code, exit::OK);
    insta::assert_snapshot!(ran.stderr, @"batchctl: no items: the input was empty");
}

#[test]
fn submit_reads_files_in_order_each_ending_its_last_item() {
    let mut bench = Bench::new();
    bench.file("a", b"1\n2");
    bench.file("b", b"");
    bench.stdin = b"3\n".to_vec();
    let command = "submit --verbose --queue logs --key k --ack written @a - @b -";
    let ran = bench.run_with(command, |peer| {
        let received = peer.read_submission();
        assert_eq!(received.items, [b"1", b"2", b"3"]);
        assert_eq!(
            (received.queue.as_str(), received.key.as_slice()),
            ("logs", &b"k"[..])
        );
        peer.accept(&received);
    });
    assert_eq!((ran.code, ran.stdout.as_str()), (exit::OK, ""));
    insta::assert_snapshot!(ran.stderr, @"batchctl: 3 items (3 bytes) in 1 submission: written");
}

#[test]
fn submit_takes_whole_inputs_and_nul_ended_items() {
    let bench = Bench::new();
    bench.file("a", b"1\n2\n");
    bench.file("empty", b"");
    let ran = bench.run_with(
        "submit --whole @a @empty",
        take_one(|items| assert_eq!(items, [&b"1\n2\n"[..], b""])),
    );
    assert_eq!(ran.code, exit::OK, "{}", ran.stderr);

    let bench = Bench::new();
    bench.file("a", b"1\n\0two\0");
    let ran = bench.run_with(
        "submit --null @a",
        take_one(|items| assert_eq!(items, [&b"1\n"[..], b"two"])),
    );
    assert_eq!(ran.code, exit::OK, "{}", ran.stderr);
}

#[test]
fn submit_of_nothing_is_success() {
    let ran = Bench::new().run_with("submit", |peer| peer.read_to_end());
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
}

#[test]
fn submit_under_an_id_numbers_from_0_and_says_that_it_may_be_a_repeat() {
    let mut bench = Bench::new();
    bench.stdin = b"x\n".repeat(600);
    let ran = bench.run_with("submit --id job-7 --output json", |peer| {
        for (sequence, count) in [(0, 512), (1, 88)] {
            let received = peer.read_submission();
            assert_eq!(received.id.producer, ProducerId::of_external_key(b"job-7"));
            assert_eq!(
                (received.id.sequence, received.items.len()),
                (sequence, count)
            );
            assert!(received.repeat);
            peer.send(&Response::Accepted {
                request: received.request,
                ack: Ack::Synced,
                repeat: sequence == 0,
            });
        }
    });
    assert_eq!(ran.code, exit::OK, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r#"{"submissions":2,"items":600,"bytes":600,"ack":"default","repeats":1}"#);
}

#[test]
fn submit_says_that_what_was_kept_is_not_delivered() {
    let mut bench = Bench::new();
    bench.stdin = b"x".to_vec();
    let ran = bench.run_with("submit --ack delivered", |peer| {
        let received = peer.read_submission();
        peer.fail(received.request, ErrorCode::Expired);
        peer.read_to_end();
    });
    assert_eq!(ran.code, exit::FAILURE);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: not delivered: Expired
    note: no item is known to be delivered
    hint: it had been kept; 'batchctl history' tells what became of its batch
    ");
}

#[test]
fn submit_says_delivered_only_of_what_the_sink_has() {
    let mut limits = LIMITS;
    limits.submission_items_max = 1;
    for (accepted, expected) in [
        (0, "no item is known to be kept; 2 items more"),
        (1, "the first item is delivered; 1 item more"),
    ] {
        let mut bench = Bench::new();
        bench.stdin = b"1\n2\n".to_vec();
        let script: Script = Box::new(move |peer| {
            peer.welcome_with(PROTOCOL_VERSION, limits);
            let received = [(); 2].map(|()| peer.read_submission());
            received
                .iter()
                .take(accepted)
                .for_each(|one| peer.accept(one));
            peer.read_to_end();
        });
        let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
        let ran = bench.run("submit --ack delivered --timeout 200ms");
        daemon.finish();
        assert_eq!(ran.code, exit::TEMPFAIL);
        let note = ran.stderr.lines().nth(1).unwrap_or_default();
        assert_eq!(note, format!("note: {expected} may be kept or not"));
    }
}

#[test]
fn submit_without_acknowledgement_still_sees_a_failure() {
    let mut bench = Bench::new();
    bench.stdin = b"x".to_vec();
    let ran = bench.run_with("submit --ack none --queue nowhere", |peer| {
        let received = peer.read_submission();
        assert_eq!(received.ack, Some(Ack::None));
        peer.fail(received.request, ErrorCode::UnknownQueue);
        peer.read_to_end();
    });
    assert_eq!((ran.code, ran.stdout.as_str()), (exit::NOINPUT, ""));
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: UnknownQueue
    note: no item is known to be kept
    hint: 'batchctl status' lists the queues
    ");
}

#[test]
fn submit_without_acknowledgement_waits_for_the_barrier() {
    let mut bench = Bench::new();
    bench.stdin = b"x".to_vec();
    let ran = bench.run_with("submit --ack none", |peer| {
        peer.read_submission();
        answer_status(peer);
    });
    assert_eq!(ran.code, exit::OK, "{}", ran.stderr);
}

#[test]
fn submit_names_the_line_that_is_too_long_and_keeps_what_came_before() {
    let mut limits = LIMITS;
    limits.item_bytes_max = 4;
    for (command, lands) in [("submit @a", true), ("submit --id 7 @a", false)] {
        let bench = Bench::new();
        bench.file("a", b"1\n2\n33333\n4\n");
        let script: Script = Box::new(move |peer| {
            peer.welcome_with(PROTOCOL_VERSION, limits);
            if lands {
                take_one(|items| assert_eq!(items, [b"1", b"2"]))(peer);
            } else {
                peer.read_to_end();
            }
        });
        let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
        let ran = bench.run(command);
        daemon.finish();
        assert_eq!(ran.code, exit::DATAERR);
        insta::allow_duplicates! {
            let first = ran.stderr.lines().next().unwrap_or_default();
            insta::assert_snapshot!(first, @"batchctl: DIR/a: line 3 is longer than the 4 bytes the daemon takes");
        }
        if lands {
            insta::assert_snapshot!(ran.stderr, @"
            batchctl: DIR/a: line 3 is longer than the 4 bytes the daemon takes
            note: the first 2 items are kept
            hint: split it, or raise item_bytes_max under [limits] of batchd
            ");
        }
    }
}

#[test]
fn submit_says_how_much_was_kept_when_it_fails() {
    let mut bench = Bench::new();
    bench.stdin = b"x\n".repeat(2000);
    let ran = bench.run_with("submit", |peer| {
        let received = [(); 4].map(|()| peer.read_submission());
        for (one, code) in received
            .iter()
            .zip([None, Some(ErrorCode::Internal), None, None])
        {
            match code {
                Some(code) => peer.fail(one.request, code),
                None => peer.accept(one),
            }
        }
    });
    assert_eq!(ran.code, exit::SOFTWARE);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: refused: Internal
    note: the first 512 items are kept, and 976 items after a gap
    hint: the daemon's log says more
    ");
}

#[test]
fn submit_sends_nothing_behind_what_was_refused() {
    let mut limits = LIMITS;
    limits.submission_items_max = 1;
    let mut bench = Bench::new();
    // As many submissions as may be in flight, one that waits for room, and one that is packed.
    bench.stdin = b"x\n".repeat(66);
    let script: Script = Box::new(move |peer| {
        peer.welcome_with(PROTOCOL_VERSION, limits);
        let received = [(); 64].map(|()| peer.read_submission());
        // Told first, so that no answer makes room before.
        peer.fail(received[63].request, ErrorCode::Internal);
        for one in &received[..63] {
            peer.accept(one);
        }
        peer.read_to_end();
    });
    let again: Script = Box::new(|_| ());
    let daemon = FakeDaemon::start(&bench.path("socket"), vec![script, again]);
    let ran = bench.run("submit --timeout 1s");
    UnixStream::connect(bench.path("socket")).expect("a daemon to which nobody came again");
    daemon.finish();
    assert_eq!(ran.code, exit::SOFTWARE);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: refused: Internal
    note: the first 63 items are kept
    hint: the daemon's log says more
    ");
}

#[test]
fn submit_looks_for_its_files_before_it_sends_anything() {
    let bench = Bench::new();
    bench.file("a", b"1");
    let ran = bench.run("submit @a @missing");
    assert_eq!(ran.code, exit::NOINPUT);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: cannot open DIR/missing: No such file or directory (os error 2)
    hint: FILE names a file of items; text itself goes in by a pipe, as in 'echo hello | batchctl submit'
    ");
    let ran = bench.run("submit @");
    assert_eq!(ran.code, exit::NOINPUT);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: cannot open DIR/: is a directory
    hint: give the files in it, as in DIR//*
    ");
}

/// Gives one chunk at once and the end only when told to.
struct Slow {
    chunk: Option<&'static [u8]>,
    end: Receiver<()>,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.chunk.take() {
            Some(mut chunk) => chunk.read(buffer),
            None => Ok(self.end.recv().map_or(0, |()| 0)),
        }
    }
}

#[test]
fn submit_does_not_keep_back_what_a_slow_input_gave() {
    let bench = Bench::new();
    let (end, ended) = channel();
    let script: Script = Box::new(move |peer| {
        peer.welcome();
        let received = peer.read_submission();
        assert_eq!(
            received.items,
            [b"a"],
            "without the line that has not ended"
        );
        peer.accept(&received);
        end.send(()).expect("a reader");
        take_one(|items| assert_eq!(items, [b"b"]))(peer);
    });
    let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
    let stdin = Slow {
        chunk: Some(b"a\nb"),
        end: ended,
    };
    let ran = bench.run_streams("submit", Box::new(stdin), &mut io::sink());
    daemon.finish();
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
}

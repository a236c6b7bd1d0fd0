//! Failures and their exit codes.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use batchd_client::ErrorCode;
use batchd_client::fake::{FakeDaemon, LIMITS, Peer, Script};
use batchd_protocol::{PROTOCOL_VERSION, Request, Response, exit};

use super::{Bench, answer_status, id};
use crate::world::{Origin, Socket, Surroundings};

#[test]
fn no_daemon_gives_69_and_a_hint() {
    for command in ["submit", "flush", "status", "ls", &format!("cat {}", id())] {
        let ran = Bench::new().run(command);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (exit::UNAVAILABLE, ""),
            "{command}"
        );
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.stderr, @"
            batchctl: cannot connect to DIR/socket: No such file or directory (os error 2)
            hint: no daemon listens there: start one with 'batchd --config FILE', where FILE has this `path` in [[listen]], or unset BATCHD_SOCKET, which says to look there
            ");
        }
    }
}

#[test]
fn a_daemon_that_hangs_gives_69_or_75() {
    let bench = Bench::new();
    let script: Script = Box::new(Peer::read_to_end);
    let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
    let ran = bench.run("status --timeout 50ms");
    daemon.finish();
    assert_eq!(ran.code, exit::UNAVAILABLE, "{}", ran.stderr);

    let mut bench = Bench::new();
    bench.stdin = b"x".to_vec();
    let ran = bench.run_with("submit --timeout 400ms", Peer::read_to_end);
    assert_eq!(ran.code, exit::TEMPFAIL);
    insta::assert_snapshot!(ran.stderr, @r"
    batchctl: no answer within 400ms (submissions known to be kept: 0, unknown: 1)
    note: no item is known to be kept; 1 item more may be kept or not
    hint: 'batchctl status' and the daemon's log may say what holds it up; --timeout waits longer
    ");
}

#[test]
fn every_refusal_has_its_exit_code() {
    for (code, expected, how) in [
        (ErrorCode::UnknownQueue, exit::NOINPUT, ""),
        (ErrorCode::NoSuchBatch, exit::NOINPUT, ""),
        (ErrorCode::BadName, exit::USAGE, "refused: "),
        (ErrorCode::Unreadable, exit::IOERR, "refused: "),
        (ErrorCode::Internal, exit::SOFTWARE, "refused: "),
        (ErrorCode::DeliveryFailed, exit::TEMPFAIL, "not delivered: "),
        (ErrorCode::BadMessage, exit::PROTOCOL, "refused: "),
    ] {
        let ran = Bench::new().run_with("flush --wait", move |peer| {
            peer.answer(|request| match request {
                Request::Flush { request, wait, .. } => {
                    assert!(wait);
                    let message = "no\nway \u{1b}[31m".to_owned();
                    Response::Failed {
                        request,
                        code,
                        message,
                    }
                }
                other => panic!("{other:?}"),
            });
        });
        assert_eq!(ran.code, expected, "{code:?}");
        let line = ran.stderr.lines().next().unwrap_or_default();
        assert_eq!(line, format!("batchctl: {how}no\\nway \\u{{1b}}[31m"));
    }
}

#[test]
fn the_queue_that_may_have_been_meant_is_named() {
    let refuse = |queue: &str, status: Option<Script>| {
        let bench = Bench::new();
        let script: Script = Box::new(|peer| {
            peer.welcome();
            peer.answer(|request| match request {
                Request::Flush { request, .. } => Response::Failed {
                    request,
                    code: ErrorCode::UnknownQueue,
                    message: "no queue".to_owned(),
                },
                other => panic!("{other:?}"),
            });
        });
        let scripts = [script].into_iter().chain(status).collect();
        let daemon = FakeDaemon::start(&bench.path("socket"), scripts);
        let ran = bench.run(&format!("flush --queue {queue}"));
        daemon.finish();
        assert_eq!(ran.code, exit::NOINPUT);
        ran.stderr
    };
    let status = || -> Option<Script> {
        Some(Box::new(|peer| {
            peer.welcome();
            answer_status(peer);
        }))
    };
    insta::assert_snapshot!(refuse("lgos", status()), @"
    batchctl: no queue
    hint: did you mean 'logs'? 'batchctl status' lists the queues
    ");
    insta::assert_snapshot!(refuse("metrics", status()), @"
    batchctl: no queue
    hint: 'batchctl status' lists the queues
    ");
    // A daemon that is gone by then suggests nothing.
    insta::assert_snapshot!(refuse("lgos", None), @"
    batchctl: no queue
    hint: 'batchctl status' lists the queues
    ");
}

#[test]
fn another_version_gives_76() {
    let bench = Bench::new();
    let script: Script = Box::new(|peer| peer.welcome_with(PROTOCOL_VERSION + 1, LIMITS));
    let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
    let ran = bench.run("status");
    daemon.finish();
    assert_eq!(ran.code, exit::PROTOCOL);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: daemon speaks protocol version 2, this client version 1
    hint: use the batchctl that came with the daemon
    ");
}

#[test]
fn a_wrong_command_line_gives_64() {
    for command in [
        "",
        "frobnicate",
        "submit --queue Not/A/Name",
        "submit --null --whole",
        "submit --timeout 0s",
        "submit --ack perhaps",
        "show 123",
        "cat",
    ] {
        let ran = Bench::new().run(command);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (exit::USAGE, ""),
            "{command}"
        );
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn a_wrong_value_is_told_with_a_right_one() {
    let told = ["submit --timeout 0s", "submit --id="].map(|command| {
        let ran = Bench::new().run(command);
        assert_eq!(ran.code, exit::USAGE, "{command}");
        ran.stderr.lines().next().unwrap_or_default().to_owned()
    });
    insta::assert_snapshot!(told.join("\n"), @"
    error: invalid value '0s' for '--timeout <DURATION>': a timeout is longer than nothing, as in 500ms or 30s
    error: invalid value '' for '--id <ID>': an id has at least one character: leave --id away to have none
    ");
}

#[test]
fn a_socket_whose_path_is_too_long_is_told_as_that() {
    let ran = Bench::new().run(&format!("status --socket /{}", "x".repeat(109)));
    assert_eq!(ran.code, exit::UNAVAILABLE);
    let hint = ran.stderr.lines().last().unwrap_or_default();
    insta::assert_snapshot!(hint, @"hint: the path of a socket has at most 107 bytes: give a shorter one with --socket");
}

#[test]
fn too_many_connections_are_told_as_that() {
    let bench = Bench::new();
    let script: Script = Box::new(|peer| {
        peer.fail(0, ErrorCode::TooManyConnections);
        peer.read_to_end();
    });
    let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
    let ran = bench.run("status --timeout 200ms");
    daemon.finish();
    assert_eq!(ran.code, exit::TEMPFAIL);
    insta::assert_snapshot!(ran.stderr, @"
    batchctl: no answer within 200ms: refused: TooManyConnections
    hint: as many programs are connected as 'connections' under [limits] of batchd allows: close some, or raise it
    ");
}

#[test]
fn help_is_data() {
    let ran = Bench::new().run("--help");
    assert_eq!((ran.code, ran.stderr.as_str()), (exit::OK, ""));
    let codes = ran.stdout.lines().filter(|line| {
        let code = line.split_whitespace().next();
        code.is_some_and(|code| code.parse::<u8>().is_ok())
    });
    assert_eq!(codes.count(), 13, "{}", ran.stdout);
    for command in [
        "submit", "flush", "status", "ls", "show", "cat", "verify", "create", "get",
    ] {
        assert!(ran.stdout.contains(command), "{}", ran.stdout);
        let ran = Bench::new().run(&format!("{command} --help"));
        assert!(ran.stdout.contains("Example:"), "{}", ran.stdout);
    }
}

/// Fails every write.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_pipe_is_success_and_a_full_disk_is_not() {
    for (kind, expected) in [
        (io::ErrorKind::BrokenPipe, exit::OK),
        (io::ErrorKind::StorageFull, exit::IOERR),
    ] {
        let bench = Bench::new();
        let script: Script = Box::new(|peer| {
            peer.welcome();
            answer_status(peer);
        });
        let daemon = FakeDaemon::start(&bench.path("socket"), vec![script]);
        let ran = bench.run_into("status", &mut Broken(kind));
        daemon.finish();
        assert_eq!(ran.code, expected);
        assert_eq!(ran.stderr.is_empty(), expected == exit::OK);
        let ran = bench.run_into("--help", &mut Broken(kind));
        assert_eq!(ran.code, expected);
    }
}

#[test]
fn the_socket_is_that_of_the_command_line_then_of_the_environment() {
    let surroundings = |socket: &'static str| {
        Surroundings::new(false, move |name| {
            let found = match name {
                "BATCHD_SOCKET" => socket,
                "HOME" => "/home/a",
                "XDG_RUNTIME_DIR" => "relative",
                _ => return None,
            };
            Some(OsString::from(found))
        })
    };
    let given = Path::new("/given");
    let (path, origin) = (given.to_owned(), Origin::Option);
    assert_eq!(
        surroundings("/env").socket(Some(given)),
        Socket { path, origin }
    );
    let (path, origin) = (PathBuf::from("/env"), Origin::Variable);
    assert_eq!(surroundings("/env").socket(None), Socket { path, origin });
    let usual = surroundings("").socket(None);
    assert_eq!(usual.origin, Origin::Usual);
    assert!(usual.path.ends_with("batchd/batchd.sock"));
    let all = surroundings("").usual_sockets();
    assert_eq!(
        all,
        [
            "/home/a/.local/state/batchd/batchd.sock",
            "/run/batchd/batchd.sock"
        ]
        .map(PathBuf::from)
    );
}

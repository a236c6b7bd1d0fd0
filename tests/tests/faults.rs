//! The disk fails, or is full: what was acknowledged is there afterwards, and nothing else was acknowledged.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use batchd_client::{ItemBuffer, QueueName, Target};
use batchd_protocol::{Ack, ErrorCode, Request, Response};
use batchd_tests::{Body, Daemon, Exit, LONG, Launch, Site, Tracer, Wire, binaries, wait_until};

const INGEST: &str = "ingest-0";
const HOUSE: &str = "house";
const SINK: &str = "main";

/// Makes calls of a thread fail, each as in `fdatasync:error=EIO:when=2`, for as long as the tracer lives.
fn inject(daemon: &Daemon, thread: &str, faults: &[&str]) -> Option<Tracer> {
    Tracer::inject(daemon, thread, faults, None)
}

/// Submits an item of its own under an id; says what was answered, or nothing where the connection ended.
fn submit(wire: &mut Wire, number: u64) -> Option<Response> {
    let id = batchd_client::SubmissionId {
        producer: batchd_client::ProducerId::from_bytes([9; 16]),
        sequence: number + 1,
    };
    let body = Body::new(Some(id), &[format!("item {number}")]);
    wire.send(&Request::Submit(body.submit(
        number,
        "default",
        b"",
        Ack::Synced,
    )))
    .ok()?;
    wire.receive().expect("an answer or an end")
}

/// Submits until something else than an acknowledgement comes; returns how many came, and what else.
#[track_caller]
fn submit_until_refused(site: &Site, what: &str) -> (u64, Option<Response>) {
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    for number in 0..1000 {
        match submit(&mut wire, number) {
            Some(Response::Accepted { .. }) => {}
            other => return (number, other),
        }
    }
    panic!("{what}: never refused");
}

/// Restarts and checks that exactly the acknowledged items come out, and perhaps the one that was unknown.
#[track_caller]
fn check_acknowledged(site: &Site, acknowledged: u64) {
    let daemon = site.start();
    site.batchctl(["flush", "--wait"], b"").success();
    let lines = |count: u64| {
        (0..count)
            .map(|number| format!("item {number}\n"))
            .collect::<String>()
    };
    let delivered = String::from_utf8(site.delivered()).expect("UTF-8");
    assert!(
        delivered == lines(acknowledged) || delivered == lines(acknowledged + 1),
        "{acknowledged} acknowledged, delivered:\n{delivered}"
    );
    assert_eq!(daemon.term(), Exit::Code(0));
}

/// Warms the daemon up, so that each of its threads is there.
fn warmed_up() -> (Site, Daemon) {
    warmed_up_as(&Launch::default())
}

fn warmed_up_as(launch: &Launch) -> (Site, Daemon) {
    let site = Site::lines(3);
    let daemon = site.start_with(launch);
    site.batchctl(["submit"], b"warm\n").success();
    site.batchctl(["flush", "--wait"], b"").success();
    for file in site.delivered_files() {
        fs::remove_file(site.out().join(file.name)).expect("removed");
    }
    (site, daemon)
}

#[test]
fn a_failed_sync_stops_the_daemon_and_loses_nothing() {
    for (thread, fault) in [
        (INGEST, "fdatasync:error=EIO:when=1"),
        (INGEST, "fdatasync:error=EIO:when=2"),
        (INGEST, "fdatasync:error=EIO:when=5"),
        (INGEST, "pwrite64:error=EIO:when=3"),
        // A file made ahead that cannot be synced is not used; a seal has to be.
        (HOUSE, "fdatasync:error=EIO:when=1+"),
        (HOUSE, "fsync:error=EIO:when=1"),
        (HOUSE, "rename:error=EIO:when=1"),
    ] {
        let (site, daemon) = warmed_up();
        let Some(_tracer) = inject(&daemon, thread, &[fault]) else {
            return;
        };
        let (acknowledged, refused) = submit_until_refused(&site, fault);
        // Those who wait are told; who comes later may find the daemon stopped, or gone.
        let told = match &refused {
            None => true,
            Some(Response::Failed { code, .. }) => {
                matches!(code, ErrorCode::Unknown | ErrorCode::Stopping)
            }
            Some(_) => false,
        };
        assert!(told, "{thread}, {fault}: {refused:?}");
        assert_eq!(
            daemon.wait(),
            Exit::Code(74),
            "{thread}, {fault}: {}",
            site.log_text()
        );
        let log = site.log_text();
        assert!(
            log.contains("ERROR") && !log.contains("panicked"),
            "{thread}, {fault}: {log}"
        );
        check_acknowledged(&site, acknowledged);
    }
}

#[test]
fn whoever_waits_for_a_sync_that_fails_is_told_so() {
    let (site, daemon) = warmed_up();
    let Some(_tracer) = inject(&daemon, INGEST, &["fdatasync:error=EIO:when=1"]) else {
        return;
    };
    let (acknowledged, refused) = submit_until_refused(&site, "ingest");
    assert_eq!(acknowledged, 0);
    assert!(
        matches!(
            refused,
            Some(Response::Failed {
                code: ErrorCode::Unknown,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(daemon.wait(), Exit::Code(74));
}

#[test]
fn a_client_outlives_the_daemon_that_failed() {
    let (site, daemon) = warmed_up();
    let Some(_tracer) = inject(&daemon, INGEST, &["fdatasync:error=EIO:when=4"]) else {
        return;
    };
    let mut client = site.client(None, LONG);
    let target = Target::new(QueueName::new("default").expect("a name"));
    let numbers = 0..30;
    std::thread::scope(|scope| {
        let successor = scope.spawn(|| {
            assert_eq!(daemon.wait(), Exit::Code(74));
            site.start()
        });
        for number in numbers.clone() {
            let items = ItemBuffer::from_iter([format!("item {number}")]);
            let submission = client.prepare(&target, &items);
            client.submit(submission).expect("in the end");
        }
        let daemon = successor.join().expect("a successor");
        site.batchctl(["flush", "--wait"], b"").success();
        assert_eq!(daemon.term(), Exit::Code(0));
    });
    let expected: String = numbers.map(|number| format!("item {number}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&site.delivered()), expected);
}

#[test]
fn a_full_disk_refuses_and_then_goes_on() {
    // Every refusal is in the log at this level only.
    let (site, daemon) = warmed_up_as(&Launch::default().env("BATCHD_LOG", "debug"));
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    assert!(matches!(
        submit(&mut wire, 0),
        Some(Response::Accepted { .. })
    ));
    let Some(full) = inject(&daemon, INGEST, &["pwrite64:error=ENOSPC:when=1+"]) else {
        return;
    };
    for _ in 0..3 {
        let refused = submit(&mut wire, 1);
        assert!(
            matches!(
                refused,
                Some(Response::Failed {
                    code: ErrorCode::NoSpace,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    // Who has no patience is told to try again.
    let refused = site
        .batchctl(["submit", "--timeout", "300ms"], b"never\n")
        .expect_code(75);
    assert!(refused.stderr.contains("full"), "{refused}");
    // Who has some is served when there is room.
    let mut patient = Command::new(&binaries().batchctl)
        .arg("--socket")
        .arg(site.socket())
        .args(["submit", "--timeout", "60s"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("batchctl");
    let mut input = patient.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, b"item 1\n").expect("written");
    drop(input);
    let said = |what| site.log_text().matches(what).count();
    let refusals = || said("still no space");
    let before = refusals();
    wait_until("a refusal", LONG, || (refusals() > before).then_some(()));
    drop(full);
    let code = wait_until("batchctl to end", LONG, || {
        patient.try_wait().expect("wait")
    });
    assert!(code.success());
    assert!(matches!(
        submit(&mut wire, 2),
        Some(Response::Accepted { .. })
    ));
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(site.delivered(), b"item 0\nitem 1\nitem 2\n");
    // Once each, however many were refused: the log may be on the same disk.
    assert_eq!(said("submissions are refused until"), 1);
    assert_eq!(said("there is room again"), 1);
    assert_eq!(daemon.term(), Exit::Code(0));
    check_acknowledged(&site, 3);
}

#[test]
fn a_disk_that_is_full_now_and_then_refuses_no_more_than_that() {
    for fault in [
        "pwrite64:error=ENOSPC:when=2+3",
        "pwrite64:error=EDQUOT:when=1+2",
    ] {
        let (site, daemon) = warmed_up();
        let Some(tracer) = inject(&daemon, INGEST, &[fault]) else {
            return;
        };
        let mut wire = Wire::greeted(&site.socket()).expect("welcome");
        let (mut refused, mut number) = (0, 0);
        while number < 20 {
            match submit(&mut wire, number) {
                Some(Response::Accepted { .. }) => number += 1,
                Some(Response::Failed {
                    code: ErrorCode::NoSpace,
                    ..
                }) => refused += 1,
                other => panic!("{fault}: {other:?}"),
            }
        }
        assert!(refused >= 5, "{fault}: {refused} refused");
        drop(tracer);
        daemon.kill9();
        check_acknowledged(&site, 20);
    }
}

#[test]
fn a_full_disk_that_cannot_be_cut_back_is_a_failed_one() {
    let (site, daemon) = warmed_up();
    let mut wire = Wire::greeted(&site.socket()).expect("welcome");
    assert!(matches!(
        submit(&mut wire, 0),
        Some(Response::Accepted { .. })
    ));
    let faults = ["pwrite64:error=ENOSPC:when=1", "ftruncate:error=EIO:when=1"];
    let Some(_tracer) = inject(&daemon, INGEST, &faults) else {
        return;
    };
    let refused = submit(&mut wire, 1);
    assert!(
        matches!(
            refused,
            Some(Response::Failed {
                code: ErrorCode::Unknown,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(daemon.wait(), Exit::Code(74));
    check_acknowledged(&site, 1);
}

#[test]
fn seals_and_deliveries_wait_for_room() {
    // It is said once; each attempt only at this level.
    let (site, daemon) = warmed_up_as(&Launch::default().env("BATCHD_LOG", "debug"));
    let Some(full) = inject(&daemon, HOUSE, &["pwrite64:error=ENOSPC:when=1+"]) else {
        return;
    };
    let input = "1\n2\n3\n4\n5\n6\n7\n8\n";
    site.batchctl(["submit"], input.as_bytes()).success();
    wait_until("a seal to fail", LONG, || {
        site.log_text()
            .contains("no space for a seal")
            .then_some(())
    });
    site.batchctl(["submit"], b"9\n").success();
    // strace must not let go in the middle of a call, which would fail as not implemented: right after an attempt
    // the next one is a second away.
    let attempts = || site.log_text().matches("no space for a seal").count();
    let before = attempts();
    wait_until("two more attempts", LONG, || {
        (attempts() >= before + 2).then_some(())
    });
    drop(full);
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(site.delivered(), b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");

    // The file sink names what it wrote, and the ledger is written: whichever fails, it is done again.
    for (number, fault) in [
        (10, "renameat:error=ENOSPC:when=1+"),
        (11, "pwrite64:error=ENOSPC:when=1+"),
    ] {
        let Some(full) = inject(&daemon, SINK, &[fault]) else {
            return;
        };
        let line = format!("{number}\n");
        site.batchctl(["submit"], line.as_bytes()).success();
        site.batchctl(["flush", "--wait", "--timeout", "20s"], b"")
            .expect_code(75);
        drop(full);
        wait_until("the delivery", LONG, || {
            let flushed = site.batchctl(["flush", "--wait", "--timeout", "20s"], b"");
            (flushed.code == Some(0)).then_some(())
        });
        assert!(site.delivered().ends_with(line.as_bytes()), "{fault}");
    }
    assert_eq!(daemon.term(), Exit::Code(0));
    assert!(!site.log_text().contains("panicked"));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let full = PathBuf::from("/dev/full");
    let site = Site::lines(3);
    let launch = Launch {
        stderr: Some(full),
        ..Launch::default()
    }
    .env("BATCHD_LOG", "trace");
    let daemon = site.start_with(&launch);
    site.batchctl(["submit"], b"1\n2\n3\n4\n").success();
    // Things that are logged at a higher level.
    Wire::connect(&site.socket())
        .and_then(|mut wire| wire.send_bytes(&[0xff; 100]))
        .expect("sent");
    site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(site.delivered(), b"1\n2\n3\n4\n");
    assert_eq!(daemon.term(), Exit::Code(0));
    // A failure keeps its exit code.
    let daemon = site.start_with(&launch);
    let Some(_tracer) = inject(&daemon, INGEST, &["fdatasync:error=EIO:when=1"]) else {
        return;
    };
    let (acknowledged, _) = submit_until_refused(&site, "ingest");
    assert_eq!(acknowledged, 0);
    assert_eq!(daemon.wait(), Exit::Code(74));
    site.configure("nonsense = true\n");
    assert_eq!(site.try_start(&launch).err(), Some(Exit::Code(78)));
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_one_that_nobody_reads_is_not() {
    let site = Site::lines(3);
    let _daemon = site.start();
    let batchctl = |stdout: Stdio, stderr: Stdio, args: &[&str]| {
        let mut command = Command::new(&binaries().batchctl);
        command
            .arg("--socket")
            .arg(site.socket())
            .args(args)
            .stdin(Stdio::null());
        command
            .stdout(stdout)
            .stderr(stderr)
            .status()
            .expect("batchctl")
            .code()
    };
    let full = || {
        Stdio::from(
            File::options()
                .write(true)
                .open("/dev/full")
                .expect("/dev/full"),
        )
    };
    assert_eq!(batchctl(full(), Stdio::null(), &["status"]), Some(74));
    assert_eq!(batchctl(full(), full(), &["status"]), Some(74));
    assert_eq!(batchctl(full(), full(), &["--help"]), Some(74));
    assert_eq!(
        batchctl(
            Stdio::null(),
            full(),
            &["submit", "--queue", "nobody", "-v"]
        ),
        Some(0)
    );
    assert_eq!(
        batchctl(
            Stdio::null(),
            full(),
            &["show", "00000000-0000-7000-8000-000000000000"]
        ),
        Some(66)
    );
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(batchctl(writer.into(), Stdio::null(), &["status"]), Some(0));
}

#[test]
fn a_batch_is_there_also_while_it_is_sealed() {
    let site = Site::new("[queues.default]\nmax_age = \"off\"\nsink = \"off\"\n");
    let daemon = site.start();
    site.batchctl(["submit"], b"warm\n").success();
    // Between its new name and the word that this is durable, the batch is in neither place for sure.
    let Some(_slow) = inject(&daemon, HOUSE, &["fsync:delay_enter=300000"]) else {
        return;
    };
    let batch = site
        .batchctl(["ls", "--output", "json"], b"")
        .success()
        .json()
        .remove(0);
    let id = batch
        .get("id")
        .and_then(|id| id.as_str())
        .expect("an id")
        .to_owned();
    site.batchctl(["flush"], b"").success();
    let mut states = Vec::new();
    wait_until("the seal", LONG, || {
        let items = site.batchctl(["cat", &id], b"").success();
        assert_eq!(items.stdout, b"warm\n");
        let shown = site
            .batchctl(["show", &id, "--output", "json"], b"")
            .success()
            .json()
            .remove(0);
        let state = shown
            .get("state")
            .and_then(|state| state.as_str())
            .expect("a state")
            .to_owned();
        let is_ready = state == "ready";
        states.push(state);
        is_ready.then_some(())
    });
    assert!(states.iter().any(|state| state == "sealing"), "{states:?}");
}

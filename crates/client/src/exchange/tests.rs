//! The state machine under a scripted connection and a clock of its own: nothing here waits.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use batchd_frame::{BodyLimits, BodyView, ProducerId, QueueName, SubmissionId, codec};
use batchd_protocol::{
    Ack, ErrorCode, PROTOCOL_VERSION, Request, Response, ServerStatus, encode_message,
    split_message,
};

use super::ask::Ask;
use super::{Exchange, Goal, Step};
use crate::error::{Error, ProtocolError};
use crate::fake::LIMITS;
use crate::items::ItemBuffer;
use crate::options::{Options, WindowBounds};
use crate::submission::{Submission, Target};

struct Bench {
    exchange: Exchange,
    now: Instant,
    next_sequence: u64,
}

impl Bench {
    fn new(submissions_max: usize) -> Self {
        let mut options = Options::new("/nowhere");
        options.window = WindowBounds {
            submissions_max,
            bytes_max: 1 << 20,
        };
        Self {
            exchange: Exchange::new(options, 1),
            now: Instant::now(),
            next_sequence: 1,
        }
    }

    fn welcomed(submissions_max: usize) -> Self {
        let mut bench = Self::new(submissions_max);
        bench.connect();
        bench
    }

    fn connect(&mut self) {
        assert_eq!(self.step(), Ok(Step::Connect));
        self.exchange.connected();
        assert_eq!(self.sent(), ["hello"]);
        let welcome = Response::Welcome {
            version: PROTOCOL_VERSION,
            server: String::new(),
            limits: LIMITS,
        };
        assert_eq!(self.receive(&welcome), Ok(()));
    }

    fn step(&mut self) -> Result<Step, String> {
        self.exchange.step(self.now).map_err(|e| e.to_string())
    }

    fn submit(&mut self, ack: Ack) {
        let id = SubmissionId {
            producer: ProducerId::from_bytes([1; 16]),
            sequence: self.next_sequence,
        };
        self.next_sequence += 1;
        let mut target = Target::new(QueueName::new("q").expect("a name"));
        target.ack = Some(ack);
        let items = ItemBuffer::from_iter(["item"]);
        let submission = Submission::new(id, false, Arc::new(target), &items);
        assert!(
            self.exchange
                .is_reached(Goal::Room(submission.body_bytes()))
        );
        let admitted = self.exchange.admit(submission, true, self.now);
        assert!(admitted.is_ok(), "{admitted:?}");
    }

    /// What the client sends now, in short.
    fn sent(&mut self) -> Vec<String> {
        self.step().expect("a step");
        let bytes = self.exchange.outgoing().to_vec();
        self.exchange.sent(bytes.len());
        let mut rest = bytes.as_slice();
        let mut sent = Vec::new();
        while let Ok(Some((message, after))) = split_message(rest, 1 << 20) {
            rest = after;
            sent.push(match codec::decode_borrowed(message) {
                Ok(Request::Hello { .. }) => "hello".to_owned(),
                Ok(Request::Submit(submit)) => {
                    let body = BodyView::parse(submit.body, submit.items, BodyLimits::NONE);
                    let id = body.expect("a body").submission().expect("an id");
                    let repeat = if submit.repeat { " again" } else { "" };
                    format!("{} as {}{repeat}", id.sequence, submit.request)
                }
                Ok(Request::Status { request }) => format!("status as {request}"),
                other => format!("{other:?}"),
            });
        }
        sent
    }

    fn receive(&mut self, response: &Response) -> Result<(), String> {
        let bytes = encode_message(response);
        let received = self.exchange.received(&bytes, self.now);
        received.map_err(|error| format!("{error}: {error:?}"))
    }

    #[track_caller]
    fn accept(&mut self, request: u64) {
        let accepted = Response::Accepted {
            request,
            ack: Ack::Synced,
            repeat: false,
        };
        assert_eq!(self.receive(&accepted), Ok(()));
    }

    #[track_caller]
    fn fail(&mut self, request: u64, code: ErrorCode) {
        let failed = Response::Failed {
            request,
            code,
            message: format!("{code:?}"),
        };
        assert_eq!(self.receive(&failed), Ok(()));
    }

    fn break_connection(&mut self) {
        let lost = io::Error::from(io::ErrorKind::ConnectionReset);
        let next = self.exchange.disconnected(lost, self.now);
        assert!(next.is_ok(), "{next:?}");
        self.now += Duration::from_secs(2);
    }

    fn status(request: u64) -> Response {
        Response::Status {
            request,
            status: ServerStatus {
                server: String::new(),
                pid: 1,
                started_at: 0,
                spool: String::new(),
                quarantined: 0,
                queues: Vec::new(),
                space: batchd_protocol::SpaceStatus::default(),
            },
        }
    }
}

#[test]
fn answers_come_in_any_order() {
    let mut bench = Bench::welcomed(9);
    for _ in 0..3 {
        bench.submit(Ack::Synced);
    }
    assert_eq!(bench.sent(), ["1 as 1", "2 as 2", "3 as 3"]);
    bench.accept(3);
    bench.accept(1);
    assert!(bench.exchange.is_reached(Goal::Receipt(2)));
    assert!(!bench.exchange.is_reached(Goal::Receipt(1)));
    assert_eq!(bench.exchange.totals().prefix.submissions, 1);
    assert_eq!(bench.exchange.totals().kept.submissions, 2);
    bench.accept(2);
    assert!(bench.exchange.is_reached(Goal::Settled));
    assert_eq!(bench.exchange.totals().prefix, bench.exchange.totals().kept);
    assert_eq!(bench.exchange.totals().kept.items, 3);
}

#[test]
fn a_full_window_takes_no_more() {
    let mut bench = Bench::welcomed(2);
    bench.submit(Ack::Synced);
    bench.submit(Ack::Synced);
    assert!(!bench.exchange.is_reached(Goal::Room(1)));
    bench.sent();
    bench.accept(1);
    assert!(bench.exchange.is_reached(Goal::Room(1)));
    assert!(!bench.exchange.is_reached(Goal::Room(1 << 20)));
    bench.accept(2);
    assert!(bench.exchange.is_reached(Goal::Room(1 << 40)), "alone");
}

#[test]
fn after_a_broken_connection_the_unanswered_are_sent_again_in_order() {
    let mut bench = Bench::welcomed(9);
    for _ in 0..4 {
        bench.submit(Ack::Synced);
    }
    bench.sent();
    bench.accept(2);
    bench.break_connection();
    bench.submit_while_offline();
    bench.connect();
    assert_eq!(
        bench.sent(),
        ["1 as 5 again", "3 as 6 again", "4 as 7 again", "5 as 8"]
    );
    // An answer under a number of the old connection is none.
    let old = Response::Accepted {
        request: 1,
        ack: Ack::Synced,
        repeat: false,
    };
    let refused = bench.receive(&old);
    assert!(refused.is_err_and(|text| text.contains("UnknownRequest")));
}

impl Bench {
    fn submit_while_offline(&mut self) {
        assert!(!self.exchange.is_reached(Goal::Room(1)));
        let id = SubmissionId {
            producer: ProducerId::from_bytes([1; 16]),
            sequence: self.next_sequence,
        };
        let target = Arc::new(Target::new(QueueName::new("q").expect("a name")));
        let submission = Submission::new(id, false, target, &ItemBuffer::from_iter(["item"]));
        let admitted = self.exchange.admit(submission, false, self.now);
        assert!(admitted.is_ok(), "{admitted:?}");
    }
}

#[test]
fn a_refusal_that_may_pass_is_repeated_once_nothing_else_is_in_flight() {
    for code in [
        ErrorCode::SpoolFull,
        ErrorCode::NoSpace,
        ErrorCode::Unknown,
        ErrorCode::Stopping,
    ] {
        let mut bench = Bench::welcomed(9);
        for _ in 0..3 {
            bench.submit(Ack::Synced);
        }
        bench.sent();
        bench.fail(1, code);
        bench.submit(Ack::Synced);
        bench.now += Duration::from_secs(2);
        assert_eq!(bench.sent(), [""; 0], "2 and 3 are in flight");
        assert_eq!(bench.step(), Ok(Step::Transfer(None)));
        bench.fail(3, code);
        bench.accept(2);
        assert_eq!(bench.sent(), ["1 as 4 again", "3 as 5 again", "4 as 6"]);
    }
}

#[test]
fn a_refused_submission_rests_before_it_is_repeated() {
    let mut bench = Bench::welcomed(9);
    bench.submit(Ack::Synced);
    bench.sent();
    bench.fail(1, ErrorCode::SpoolFull);
    let Ok(Step::Transfer(Some(until))) = bench.step() else {
        panic!("no rest");
    };
    assert!(until > bench.now && until <= bench.now + Duration::from_millis(50));
    assert_eq!(bench.sent(), [""; 0]);
    bench.now = until;
    assert_eq!(bench.sent(), ["1 as 2 again"]);
}

#[test]
fn a_refusal_for_good_names_the_submission_when_the_others_are_answered() {
    let mut bench = Bench::welcomed(9);
    for _ in 0..4 {
        bench.submit(Ack::Synced);
    }
    bench.sent();
    bench.accept(1);
    bench.fail(3, ErrorCode::ItemTooLarge);
    assert!(bench.step().is_ok(), "2 and 4 are still open");
    bench.accept(4);
    bench.accept(2);
    let refused = bench.step();
    assert_eq!(
        refused,
        Err("submission 2 refused: ItemTooLarge".to_owned())
    );
    let totals = bench.exchange.totals();
    assert_eq!((totals.prefix.submissions, totals.kept.submissions), (2, 3));
}

#[test]
fn submissions_that_ask_for_no_answer_are_made_sure_of_by_a_barrier() {
    let mut bench = Bench::welcomed(4);
    bench.submit(Ack::None);
    assert_eq!(bench.sent(), ["1 as 1"]);
    bench.submit(Ack::None);
    assert_eq!(
        bench.sent(),
        ["2 as 2", "status as 3"],
        "half of the window"
    );
    bench.submit(Ack::None);
    assert_eq!(bench.sent(), ["3 as 4"]);
    assert_eq!(bench.receive(&Bench::status(3)), Ok(()));
    assert!(bench.exchange.is_reached(Goal::Receipt(1)));
    assert!(!bench.exchange.is_reached(Goal::Receipt(2)));
    bench.exchange.begin(Goal::Settled);
    assert_eq!(bench.sent(), ["status as 5"]);
    // What failed is told before the barrier is answered.
    bench.fail(4, ErrorCode::UnknownQueue);
    assert_eq!(bench.receive(&Bench::status(5)), Ok(()));
    let refused = bench.step();
    assert_eq!(
        refused,
        Err("submission 2 refused: UnknownQueue".to_owned())
    );
}

#[test]
fn a_barrier_makes_room_where_nothing_else_can() {
    let mut bench = Bench::welcomed(9);
    bench.submit(Ack::None);
    assert_eq!(bench.sent(), ["1 as 1"]);
    bench.exchange.begin(Goal::Room(1 << 20));
    assert_eq!(bench.sent(), ["status as 2"]);
    assert_eq!(bench.receive(&Bench::status(2)), Ok(()));
    assert!(bench.exchange.is_reached(Goal::Room(1 << 20)));
}

#[test]
fn a_barrier_lost_with_its_connection_is_sent_again() {
    let mut bench = Bench::welcomed(9);
    bench.submit(Ack::None);
    bench.exchange.begin(Goal::Settled);
    assert_eq!(bench.sent(), ["1 as 1", "status as 2"]);
    bench.break_connection();
    bench.connect();
    assert_eq!(bench.sent(), ["1 as 3 again", "status as 4"]);
    assert_eq!(bench.receive(&Bench::status(4)), Ok(()));
    assert!(bench.exchange.is_reached(Goal::Settled));
}

#[test]
fn what_is_given_up_is_counted_by_what_is_known_of_it() {
    let mut bench = Bench::welcomed(9);
    for _ in 0..4 {
        bench.submit(Ack::Synced);
    }
    bench.sent();
    bench.submit(Ack::Synced); // never sent
    bench.accept(1);
    bench.fail(2, ErrorCode::SpoolFull); // known not to be kept
    bench.fail(3, ErrorCode::Unknown);
    bench.now += Duration::from_secs(31);
    let patience = Duration::from_secs(30);
    let error = bench.exchange.expire(Goal::Settled, patience, bench.now);
    assert!(
        matches!(
            error,
            Error::DeadlineExceeded {
                kept: 1,
                unknown: 2,
                welcomed: true,
                last: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(bench.exchange.totals().unknown.submissions, 2);
    assert!(bench.exchange.is_reached(Goal::Settled));
    assert!(bench.exchange.is_reached(Goal::Receipt(3)), "given up");
    assert_eq!(bench.step(), Ok(Step::Connect));
}

#[test]
fn a_repeat_that_is_refused_for_good_may_have_been_kept_the_first_time() {
    for (code, is_lost, unknown_count) in [
        (ErrorCode::UnknownQueue, false, 0),
        (ErrorCode::UnknownQueue, true, 1),
        (ErrorCode::Expired, true, 0),
    ] {
        let mut bench = Bench::welcomed(9);
        bench.submit(Ack::Synced);
        bench.sent();
        if is_lost {
            bench.break_connection();
            bench.connect();
            bench.sent();
        }
        bench.fail(if is_lost { 2 } else { 1 }, code);
        assert_eq!(bench.exchange.totals().unknown.submissions, unknown_count);
    }
}

#[test]
fn a_refusal_after_which_it_may_be_kept_leaves_a_submission_unknown() {
    for (code, unknown_count) in [
        (ErrorCode::SpoolFull, 0),
        (ErrorCode::QueueFull, 0),
        (ErrorCode::TooManyWaiting, 0),
        (ErrorCode::Unknown, 1),
        (ErrorCode::Stopping, 1),
        (ErrorCode::NoSpace, 1),
        (ErrorCode::ReadOnly, 1),
    ] {
        let mut bench = Bench::welcomed(9);
        bench.submit(Ack::Delivered);
        bench.sent();
        bench.fail(1, code);
        let patience = Duration::from_secs(30);
        let error = bench.exchange.expire(Goal::Settled, patience, bench.now);
        assert!(
            matches!(error, Error::DeadlineExceeded { unknown, .. } if unknown == unknown_count),
            "{code:?}: {error:?}"
        );
        assert_eq!(bench.exchange.totals().unknown.submissions, unknown_count);
    }
}

#[test]
fn a_request_that_expires_leaves_the_submissions_in_flight() {
    let mut bench = Bench::welcomed(9);
    bench.submit(Ack::Synced);
    bench.exchange.ask(Ask::Status);
    assert_eq!(bench.sent(), ["1 as 1", "status as 2"]);
    let patience = Duration::from_secs(1);
    let error = bench.exchange.expire(Goal::Answer, patience, bench.now);
    assert!(matches!(error, Error::DeadlineExceeded { unknown: 1, .. }));
    bench.connect();
    assert_eq!(bench.sent(), ["1 as 3 again"]);
}

#[test]
fn a_request_that_expires_leaves_a_refusal_to_those_who_wait_for_submissions() {
    let mut bench = Bench::welcomed(9);
    bench.submit(Ack::Synced);
    bench.submit(Ack::Synced);
    bench.exchange.ask(Ask::Status);
    assert_eq!(bench.sent(), ["1 as 1", "2 as 2", "status as 3"]);
    bench.fail(1, ErrorCode::ItemTooLarge);
    let patience = Duration::from_secs(1);
    let error = bench.exchange.expire(Goal::Answer, patience, bench.now);
    assert!(
        matches!(error, Error::DeadlineExceeded { last: None, .. }),
        "{error:?}"
    );
    bench.exchange.begin(Goal::Settled);
    assert!(!bench.exchange.is_reached(Goal::Settled));
    let refused = "submission 0 refused: ItemTooLarge";
    assert_eq!(bench.step(), Err(refused.to_owned()));
}

#[test]
fn the_answer_to_a_request_nobody_waits_for_is_ignored_once() {
    let mut bench = Bench::welcomed(9);
    bench.exchange.ask(Ask::Status);
    assert_eq!(bench.sent(), ["status as 1"]);
    bench.exchange.begin(Goal::Settled);
    assert_eq!(bench.receive(&Bench::status(1)), Ok(()));
    assert!(bench.receive(&Bench::status(1)).is_err());
}

#[test]
fn a_daemon_that_stops_is_asked_again_after_it_came_back() {
    let mut bench = Bench::welcomed(9);
    bench.exchange.ask(Ask::Status);
    assert_eq!(bench.sent(), ["status as 1"]);
    bench.fail(1, ErrorCode::Stopping);
    assert!(matches!(bench.step(), Ok(Step::Rest(_))));
    bench.now += Duration::from_secs(2);
    bench.connect();
    assert_eq!(bench.sent(), ["status as 2"]);
}

#[test]
fn what_violates_the_protocol_has_a_name() {
    #[track_caller]
    fn check(response: &Response, expected: &ProtocolError) {
        let mut bench = Bench::welcomed(9);
        bench.submit(Ack::Synced);
        bench
            .exchange
            .ask(Ask::Show(batchd_frame::BatchId::new(1, [0; 10])));
        bench.sent();
        match bench
            .exchange
            .received(&encode_message(response), bench.now)
        {
            Err(Error::Protocol(found)) => assert_eq!(found, *expected),
            other => panic!("{other:?}"),
        }
    }
    let accepted = |request, ack| Response::Accepted {
        request,
        ack,
        repeat: false,
    };
    check(
        &accepted(77, Ack::Synced),
        &ProtocolError::UnknownRequest { request: 77 },
    );
    check(
        &accepted(1, Ack::Written),
        &ProtocolError::WeakerAck {
            request: 1,
            asked: Ack::Synced,
            got: Ack::Written,
        },
    );
    check(
        &Bench::status(1),
        &ProtocolError::WrongAnswer { request: 1 },
    );
    let welcome = Response::Welcome {
        version: PROTOCOL_VERSION,
        server: String::new(),
        limits: LIMITS,
    };
    check(&welcome, &ProtocolError::Welcome);
}

#[test]
fn only_a_client_that_was_welcomed_expects_a_daemon_to_come_back() {
    for (kind, at_first, later) in [
        (io::ErrorKind::NotFound, false, true),
        (io::ErrorKind::ConnectionRefused, false, true),
        (io::ErrorKind::PermissionDenied, false, true),
        (io::ErrorKind::WouldBlock, true, true),
        (io::ErrorKind::TimedOut, true, true),
        (io::ErrorKind::InvalidInput, false, false),
    ] {
        assert_eq!(super::may_pass(kind, false, false), at_first, "{kind}");
        assert_eq!(super::may_pass(kind, true, false), later, "{kind}");
    }
    assert!(super::may_pass(io::ErrorKind::NotFound, false, true));
    assert!(!super::may_pass(
        io::ErrorKind::PermissionDenied,
        false,
        true
    ));
}

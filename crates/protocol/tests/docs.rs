//! `docs/protocol.md` and the code say the same.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its input is not what it must be"
)]

use batchd_frame::checksum::crc32c;
use batchd_frame::codec::{decode, decode_borrowed, encode};
use batchd_frame::{BatchId, ProducerId, SubmissionId, encode_body};
use batchd_protocol::{
    Ack, BatchState, Create, ErrorCode, FindingKind, FlushReport, HELLO_MAGIC, ItemsPage, Limits,
    PROTOCOL_VERSION, Request, Response, Submit, VerifiedPage, encode_message, split_message,
};

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// The bytes of the example behind the comment `<!-- wire: name -->`; `#` begins a comment in it.
#[track_caller]
fn example(name: &str) -> Vec<u8> {
    let (_, behind) = PAGE
        .split_once(&format!("<!-- wire: {name} -->\n```text\n"))
        .unwrap_or_else(|| panic!("docs/protocol.md has no example '{name}'"));
    let (block, _) = behind.split_once("```").unwrap();
    let without_comments = block.lines().filter_map(|line| line.split('#').next());
    without_comments
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[track_caller]
fn check_page_has(text: &str) {
    assert!(
        PAGE.contains(text),
        "docs/protocol.md does not contain:\n{text}"
    );
}

#[track_caller]
fn check_request(name: &str, request: &Request<'_>) {
    let bytes = example(name);
    assert_eq!(bytes, encode_message(request), "{name}");
    let (message, rest) = split_message(&bytes, 1000).unwrap().unwrap();
    assert_eq!(
        decode_borrowed::<Request<'_>>(message).as_ref(),
        Ok(request)
    );
    assert!(rest.is_empty());
}

#[track_caller]
fn check_response(name: &str, response: &Response) {
    let bytes = example(name);
    assert_eq!(bytes, encode_message(response), "{name}");
    let (message, rest) = split_message(&bytes, 1000).unwrap().unwrap();
    assert_eq!(decode::<Response>(message).as_ref(), Ok(response));
    assert!(rest.is_empty());
}

/// The number of a variant: the first byte of its encoding.
fn number_of(encoded: &[u8]) -> u8 {
    *encoded.first().unwrap()
}

fn welcome() -> Response {
    Response::Welcome {
        version: PROTOCOL_VERSION,
        server: "batchd 0.1.0".to_owned(),
        limits: Limits {
            item_bytes_max: 1 << 20,
            submission_bytes_max: 16 << 20,
            submission_items_max: u32::MAX.into(),
            message_bytes_max: (16 << 20) + (64 << 10),
        },
    }
}

fn hello() -> Request<'static> {
    Request::Hello {
        magic: HELLO_MAGIC,
        version: PROTOCOL_VERSION,
        client: "demo",
    }
}

fn submit(body: &[u8]) -> Request<'_> {
    Request::Submit(Submit {
        request: 1,
        queue: "default",
        key: b"",
        ack: Some(Ack::Synced),
        repeat: false,
        end_of_batch: false,
        items: 2,
        body_crc: crc32c(body),
        body,
    })
}

fn create(body: &[u8]) -> Request<'_> {
    Request::Create(Create {
        request: 4,
        queue: "shelf",
        key: b"",
        lifespan: Some(10_000_000),
        items: 1,
        body_crc: crc32c(body),
        body,
    })
}

const ACCEPTED: Response = Response::Accepted {
    request: 1,
    ack: Ack::Synced,
    repeat: false,
};

fn failed() -> Response {
    Response::Failed {
        request: 3,
        code: ErrorCode::UnknownQueue,
        message: "no queue 'x'".to_owned(),
    }
}

#[test]
fn the_handshake() {
    check_request("hello", &hello());
    check_response("welcome", &welcome());
}

#[test]
fn a_submission_and_its_answers() {
    let id = SubmissionId {
        producer: ProducerId::from_bytes([0x11; 16]),
        sequence: 1,
    };
    let mut body = Vec::new();
    encode_body(Some(id), [&b"hello"[..], b"world!"].into_iter(), &mut body);
    assert_eq!(example("body"), body);
    check_page_has(&format!(
        "these {} bytes is `{:08x}`",
        body.len(),
        crc32c(&body)
    ));
    check_request("submit", &submit(&body));
    check_response("accepted", &ACCEPTED);
    check_response("failed", &failed());
}

#[test]
fn a_batch_of_its_own() {
    let mut body = Vec::new();
    encode_body(None, [&b"kept"[..]].into_iter(), &mut body);
    check_request("create", &create(&body));
    let batch = BatchId::new(0x0197_f3a2_5f3b, [0x22; 10]);
    check_response("created", &Response::Created { request: 4, batch });
}

#[test]
fn the_numbers_of_requests_and_responses() {
    let (request, batch) = (1, BatchId::from_bytes([0; 16]));
    let (queue, wait, after, limit, cursor) = (None, false, None, 1, 0);
    let list = Request::List {
        request,
        queue,
        after,
        limit,
    };
    let read = Request::Read {
        request,
        batch,
        cursor,
    };
    let verify = Request::Verify {
        request,
        queue,
        after: None,
    };
    for (name, request) in [
        ("Hello", hello()),
        ("Submit", submit(&[])),
        (
            "Flush",
            Request::Flush {
                request,
                queue,
                wait,
            },
        ),
        ("Status", Request::Status { request }),
        ("List", list),
        ("Show", Request::Show { request, batch }),
        ("Read", read),
        ("Verify", verify),
        ("Create", create(&[])),
        (
            "Get",
            Request::Get {
                request,
                batch,
                cursor,
            },
        ),
        (
            "History",
            Request::History {
                request,
                queue,
                batch: None,
                since: 0,
                after: None,
                limit: 1,
            },
        ),
    ] {
        check_page_has(&format!("| {} | `{name}` |", number_of(&encode(&request))));
    }

    let (report, batches, next) = (FlushReport::default(), Vec::new(), None);
    let batches = Response::Batches {
        request,
        batches,
        next,
    };
    let page = ItemsPage {
        items: Vec::new(),
        next: None,
    };
    let verified = Response::Verified {
        request,
        page: VerifiedPage::default(),
    };
    for (name, response) in [
        ("Welcome", welcome()),
        ("Accepted", ACCEPTED),
        ("Failed", failed()),
        ("Flushed", Response::Flushed { request, report }),
        ("Batches", batches),
        ("Items", Response::Items { request, page }),
        ("Verified", verified),
        ("Created", Response::Created { request, batch }),
        (
            "History",
            Response::History {
                request,
                entries: Vec::new(),
                next: None,
            },
        ),
    ] {
        check_page_has(&format!("| {} | `{name}` |", number_of(&encode(&response))));
    }
}

#[test]
fn the_numbers_of_small_things() {
    for (name, ack) in [
        ("none", Ack::None),
        ("written", Ack::Written),
        ("synced", Ack::Synced),
        ("delivered", Ack::Delivered),
    ] {
        check_page_has(&format!("{} {name}", number_of(&encode(&ack))));
    }
    for (name, kind) in [("damage", FindingKind::Damage), ("note", FindingKind::Note)] {
        check_page_has(&format!("{} {name}", number_of(&encode(&kind))));
    }
    for (name, state) in [
        ("open", BatchState::Open),
        ("sealing", BatchState::Sealing),
        ("ready", BatchState::Ready),
        ("dead", BatchState::Dead),
    ] {
        check_page_has(&format!("{} {name}", number_of(&encode(&state))));
    }
}

#[test]
fn the_errors() {
    // As many as decode: a new code must be on the page.
    let codes = (0u64..).map_while(|number| decode::<ErrorCode>(&encode(&number)).ok());
    let mut count = 0;
    for (number, code) in codes.enumerate() {
        let repeat = if code.is_retryable() { "yes" } else { "no" };
        let exit = code.exit_code();
        check_page_has(&format!("| {number} | `{code:?}` | {repeat} | {exit} |\n"));
        count += 1;
    }
    assert!(count >= 17);
}

//! `docs/format.md` and the code say the same, and files of format 1 are read for ever.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its input is not what it must be"
)]

use std::time::Duration;

use batchd_frame::checksum::crc32c;
use batchd_frame::codec::{decode, encode};
use batchd_frame::file_header::{FILE_HEADER_LAYOUT, FILE_MAGIC, FILE_VERSION};
use batchd_frame::frame_header::{FRAME_HEADER_LAYOUT, FRAME_MAGIC, FRAME_VERSION};
use batchd_frame::layout::render;
use batchd_frame::{
    BatchId, BodyLimits, BodyView, Digester, FILE_HEADER_BYTES, FRAME_ALIGN, FRAME_HEADER_BYTES,
    FileHeader, FrameFlags, FrameHeader, FrameKind, OnExpire, Place, ProducerId, Seal, SealReason,
    SubmissionId, Verdict, VerdictOutcome,
};

const PAGE: &str = include_str!("../../../docs/format.md");

/// A sealed batch that expired, as format 1 writes it: two item frames, a seal, a verdict.
const SEALED: &str = include_str!("fixtures/format-1-sealed.hex");
/// An open batch after a clean stop: one item frame, a mark, and zeros behind it.
const OPEN: &str = include_str!("fixtures/format-1-open.hex");

#[track_caller]
fn check_page_has(text: &str) {
    assert!(
        PAGE.contains(text),
        "docs/format.md does not contain:\n{text}"
    );
}

#[test]
fn the_page_has_the_layouts() {
    check_page_has(&render(&FILE_HEADER_LAYOUT));
    check_page_has(&render(&FRAME_HEADER_LAYOUT));
}

#[test]
fn the_page_has_the_numbers() {
    check_page_has(&format!("File header, {FILE_HEADER_BYTES} bytes"));
    check_page_has(&format!("Frame header, {FRAME_HEADER_BYTES} bytes"));
    check_page_has(&format!("multiple of {FRAME_ALIGN}"));
    check_page_has(&format!("file version is {FILE_VERSION}"));
    check_page_has(&format!("frame version is {FRAME_VERSION}"));
    check_page_has(&format!("`{:02x} {:02x}`", FRAME_MAGIC[0], FRAME_MAGIC[1]));
    check_page_has(&format!("`{}`", FILE_MAGIC.escape_ascii()));
}

#[test]
fn the_page_has_the_reasons_and_outcomes_in_their_order() {
    let reasons = [
        SealReason::MaxItems,
        SealReason::MaxBytes,
        SealReason::MaxAge,
        SealReason::Flush,
        SealReason::EndOfBatch,
        SealReason::Recovery,
        SealReason::Damaged,
    ];
    for (place, reason) in (0..).zip(reasons) {
        assert_eq!(encode(&reason), [place]);
        check_page_has(&format!("{place} `{}`", reason.name()));
    }
    let outcomes = [VerdictOutcome::Expired, VerdictOutcome::Orphaned];
    for (place, outcome) in (0..).zip(outcomes) {
        assert_eq!(encode(&outcome), [place]);
        let name = format!("{outcome:?}").to_lowercase();
        check_page_has(&format!("{place} `{name}`"));
    }
}

/// The bytes of a fixture: hexadecimal digits; `#` begins a comment, `zeros N` stands for N zeros.
fn bytes(fixture: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in fixture.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(count) = line.strip_prefix("zeros ") {
            bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), 0);
        } else {
            let digits = line.split_whitespace();
            bytes.extend(digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
    }
    bytes
}

/// The frames of a file, each with its body, up to zeros or the end.
#[track_caller]
fn frames<'a>(file: &'a [u8], header: &FileHeader) -> Vec<(FrameHeader, &'a [u8])> {
    assert_eq!(header.encode(), file[..FILE_HEADER_BYTES]);
    let mut frames = Vec::new();
    let mut offset = FILE_HEADER_BYTES;
    let mut prev_crc = FileHeader::crc_of(file.first_chunk().unwrap());
    while file[offset..].iter().any(|byte| *byte != 0) {
        let place = Place {
            batch: header.id,
            offset: offset as u64,
        };
        let frame = FrameHeader::decode(&file[offset..], place).unwrap();
        let body_start = offset + FRAME_HEADER_BYTES;
        let body = &file[body_start..body_start + frame.body_bytes as usize];
        assert_eq!(crc32c(body), frame.body_crc);
        assert_eq!(frame.prev_crc, prev_crc);
        // What is written today for the same contents is the same.
        assert_eq!(frame.encode(place), file[offset..body_start]);
        prev_crc = FrameHeader::crc_of(file[offset..].first_chunk().unwrap());
        offset += usize::try_from(frame.frame_bytes()).unwrap();
        frames.push((frame, body));
    }
    frames
}

#[track_caller]
fn check_kinds(frames: &[(FrameHeader, &[u8])], expected: &[FrameKind]) {
    let kinds: Vec<_> = frames.iter().map(|(frame, _)| frame.kind).collect();
    assert_eq!(kinds, expected);
}

#[track_caller]
fn check_items(body: &[u8], sequence: Option<u64>, expected: &[&[u8]]) {
    let declared = u32::try_from(expected.len()).unwrap();
    let view = BodyView::parse(body, declared, BodyLimits::NONE).unwrap();
    let id = sequence.map(|sequence| SubmissionId {
        producer: PRODUCER,
        sequence,
    });
    assert_eq!(view.submission(), id);
    assert!(view.items().eq(expected.iter().copied()));
}

const ID: BatchId = BatchId::from_bytes([
    0x01, 0x97, 0xf3, 0xa2, 0x5f, 0x3b, 0x7c, 0x44, 0x9e, 0x1d, 0x2b, 0x7c, 0x5a, 0x0d, 0x9e, 0x11,
]);
const PRODUCER: ProducerId = ProducerId::from_bytes([0x5a; 16]);

#[test]
fn a_sealed_batch_of_format_1_is_read() {
    let file = bytes(SEALED);
    let header = FileHeader::decode(&file).unwrap();
    assert_eq!((header.id, header.seq), (ID, 7));
    assert_eq!(header.queue.as_str(), "logs");
    assert_eq!(header.key.as_bytes(), b"eu");
    assert_eq!(header.lifespan, Some(Duration::from_secs(86_400)));
    assert_eq!(header.on_expire, OnExpire::Dead);

    let frames = frames(&file, &header);
    check_kinds(
        &frames,
        &[
            FrameKind::Items,
            FrameKind::Items,
            FrameKind::Seal,
            FrameKind::Verdict,
        ],
    );

    let (first, first_body) = frames[0];
    let whole = FrameFlags::FIRST_PART.with(FrameFlags::LAST_PART);
    assert_eq!(
        (first.flags, first.items, first.items_before),
        (whole, 2, 0)
    );
    assert_eq!(first.synced_to, 0);
    check_items(first_body, Some(300), &[b"hello", b""]);

    let (second, second_body) = frames[1];
    let cut = FrameFlags::FIRST_PART.with(FrameFlags::END_OF_BATCH);
    assert_eq!(
        (second.flags, second.items, second.items_before),
        (cut, 1, 2)
    );
    assert_eq!(u64::from(second.synced_to), 512 + first.frame_bytes());
    check_items(second_body, Some(301), &[b"world"]);

    check_seal(frames[2].1, &file, &[first_body, second_body]);

    let verdict: Verdict = decode(frames[3].1).unwrap();
    assert_eq!(verdict.outcome, VerdictOutcome::Expired);
    assert_eq!((verdict.first, verdict.count, verdict.attempts), (0, 3, 4));
    assert_eq!(verdict.last_error, "no space");
}

#[track_caller]
fn check_seal(body: &[u8], file: &[u8], bodies: &[&[u8]]) {
    let seal: Seal = decode(body).unwrap();
    assert_eq!(seal.header, file[..FILE_HEADER_BYTES]);
    assert_eq!((seal.items, seal.bytes), (3, 10));
    assert_eq!(seal.reason, SealReason::MaxItems);
    let mut digester = Digester::new();
    bodies.iter().for_each(|body| digester.update(body));
    assert_eq!(seal.digest, digester.finish());
    assert_eq!(seal.producers.len(), 1);
    let record = &seal.producers[0];
    assert_eq!(
        (record.producer, &record.whole[..]),
        (PRODUCER, &[(300, 300)][..])
    );
    assert_eq!(record.parts.len(), 1);
    let part = record.parts[0];
    assert_eq!((part.sequence, part.first, part.count), (301, 0, 1));
    assert!(!part.last);
}

#[test]
fn an_open_batch_of_format_1_is_read() {
    let file = bytes(OPEN);
    let header = FileHeader::decode(&file).unwrap();
    assert_eq!((header.id, header.seq), (ID, 8));
    assert_eq!(header.lifespan, None);
    assert!(header.key.is_empty());

    let frames = frames(&file, &header);
    check_kinds(&frames, &[FrameKind::Items, FrameKind::Mark]);
    let (items, body) = frames[0];
    check_items(body, None, &[b"a"]);
    // The mark says that all before it is synced.
    let (mark, nothing) = frames[1];
    assert_eq!(u64::from(mark.synced_to), 512 + items.frame_bytes());
    assert_eq!(nothing, [0; 0]);
}

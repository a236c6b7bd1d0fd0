//! A backlog of sealed batches, made without a daemon: nothing of it is synced.

use std::fs;

use batchd_core::env::{Clock as _, os::OsClock};
use batchd_core::frame::{
    BatchId, FileHeader, FrameFlags, KeptPart, Key, OnExpire, ProducerId, ProducerRecord,
    QueueName, SealReason, SubmissionId, checksum::crc32c, codec, encode_body,
};
use batchd_core::spool::layout::{Layout, ReadyName};
use batchd_core::spool::writer::{Tail, control_header, items_header, put_frame, seal_of};

use crate::Site;

/// Puts so many batches of one item into `ready/` of a queue that has none: that with seq n holds the line `n`, under
/// the submission n of one producer. Returns the producer.
///
/// # Panics
/// Where they cannot be written.
pub fn make_backlog(site: &Site, queue: &str, batches: u64) -> ProducerId {
    let producer = ProducerId::from_bytes([9; 16]);
    let name = QueueName::new(queue).expect("name of a queue");
    let layout = Layout::new(site.spool()).queue(&name);
    fs::create_dir_all(layout.ready()).expect("directory");
    for seq in 1..=batches {
        let (file_name, bytes) = sealed(&name, producer, seq);
        fs::write(layout.ready().join(file_name.to_string()), bytes).expect("batch");
    }
    producer
}

fn sealed(queue: &QueueName, producer: ProducerId, seq: u64) -> (ReadyName, Vec<u8>) {
    let now = OsClock.wall_micros();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&seq.to_be_bytes());
    let header = FileHeader {
        id: BatchId::new(now / 1000, random),
        seq,
        created_at: now,
        lifespan: None,
        on_expire: OnExpire::Dead,
        queue: queue.clone(),
        key: Key::default(),
    };
    let mut bytes = header.encode().to_vec();
    let mut tail = Tail::after_header(&header.encode());
    let item = seq.to_string();
    let id = SubmissionId {
        producer,
        sequence: seq,
    };
    let mut body = Vec::new();
    encode_body(Some(id), [item.as_bytes()].into_iter(), &mut body);
    let mut frame = items_header(1);
    frame.flags = FrameFlags::FIRST_PART
        .with(FrameFlags::LAST_PART)
        .with(FrameFlags::END_OF_BATCH);
    frame.body_bytes = u32::try_from(body.len()).expect("a short body");
    frame.body_crc = crc32c(&body);
    frame.received_at = now;
    let encoded = tail.push(header.id, frame, &body, item.len() as u64, 0);
    put_frame(&mut bytes, &encoded, &body);
    let record = ProducerRecord {
        producer,
        whole: vec![(seq, seq)],
        parts: Vec::<KeptPart>::new(),
    };
    let seal = seal_of(&header, &tail, SealReason::EndOfBatch, now, vec![record]);
    let body = codec::encode(&seal);
    let encoded = tail.push(
        header.id,
        control_header(batchd_core::frame::FrameKind::Seal, &body, now),
        &body,
        0,
        tail.offset,
    );
    put_frame(&mut bytes, &encoded, &body);
    let name = ReadyName {
        seq,
        items: 1,
        bytes: item.len() as u64,
        expires_at: 0,
        id: header.id,
    };
    (name, bytes)
}

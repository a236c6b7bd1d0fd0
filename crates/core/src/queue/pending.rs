//! Frames of one key that wait for the next group, as bytes that can be written as they are.
//!
//! A body is copied once, from the socket's buffer, behind room for its header. What of it fits into the batch
//! is known only when the group is planned, so headers are completed then, and a submission is cut then.

use std::collections::VecDeque;

use batchd_frame::frame_header::frame_bytes;
use batchd_frame::planted::{Planted, is_planted};
use batchd_frame::{
    BodyLimits, BodyView, FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FrameFlags, FrameHeader,
    FrameKind, SealReason, SubmissionId, body::split_item, checksum::crc32c, encode_body,
};

use super::incoming::{Ack, Incoming};
use crate::policy::{Fill, Policy};
use crate::spool::open::OpenBatch;
use crate::spool::writer::put_frame;

/// Room for a file header before the first frame, so that a new file's first group is one write.
pub(super) const HEADROOM: usize = FILE_HEADER_BYTES;
/// Files are kept below this, so that offsets fit 32 bits with the seal behind.
const FILE_BYTES_MAX: u64 = (4 << 30) - (256 << 20);
/// From this length on, room for a body is made exactly.
const RESERVED_BYTES: usize = 1 << 20;
/// What a submission that waits costs besides its frame: its place here, its slot, and who is answered.
pub(super) const WAITING_BYTES: usize = 256;
/// A consumed front is given back when it is longer than this and than what is left.
const COMPACT_BYTES: usize = 256 << 10;

/// A submission, or what is left of one, in the buffer.
#[derive(Debug, Clone)]
struct Waiting {
    slot: u32,
    id: Option<SubmissionId>,
    ack: Ack,
    end_of_batch: bool,
    received_at: u64,
    body_bytes: usize,
    body_crc: u32,
    /// Bytes of the body that were written with earlier parts; 0 for a whole one.
    consumed: usize,
    part: u16,
    first_item: u32,
    items_left: u32,
    bytes_left: u64,
}

/// Frames that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    buf: Vec<u8>,
    head: usize,
    waiting: VecDeque<Waiting>,
    /// What those cost.
    bytes: usize,
}

/// A frame that was taken into a group.
#[derive(Debug, Clone)]
pub(super) struct TakenFrame {
    pub slot: u32,
    pub id: Option<SubmissionId>,
    pub header: FrameHeader,
    pub ack: Ack,
    pub item_bytes: u64,
}

/// The part of a group that goes to one file.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// `HEADROOM` and the frames.
    pub bytes: Vec<u8>,
    pub frames: Vec<TakenFrame>,
    /// Why the batch takes nothing after this.
    pub close: Option<SealReason>,
}

/// How much of a submission fits.
enum Fit {
    All,
    Some(u32),
    None(SealReason),
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What it costs in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted anew.
    pub(super) fn cost(&self) -> usize {
        self.waiting.iter().map(Waiting::cost).sum()
    }

    /// Adds a submission, less the first `skip` items, which are kept already.
    pub(super) fn push(&mut self, incoming: &Incoming<'_>, slot: u32, skip: u32) {
        if self.waiting.is_empty() {
            self.buf.clear();
            self.buf.resize(HEADROOM, 0);
            self.head = HEADROOM;
        }
        let mut waiting = Waiting {
            slot,
            id: incoming.view.submission(),
            ack: incoming.ack,
            end_of_batch: incoming.end_of_batch,
            received_at: incoming.received_at,
            body_bytes: incoming.body.len(),
            body_crc: incoming.body_crc,
            consumed: 0,
            part: 0,
            first_item: 0,
            items_left: incoming.view.count(),
            bytes_left: incoming.view.item_bytes(),
        };
        // A long body is not to be paid for twice.
        if incoming.body.len() >= RESERVED_BYTES {
            self.buf.reserve_exact(frame_len(incoming.body.len()));
        }
        put_frame(&mut self.buf, &[0; FRAME_HEADER_BYTES], incoming.body);
        if skip > 0 {
            let encoded = incoming.view.encoded_items();
            let mut rest = encoded;
            for _ in 0..skip {
                let Some((item, used)) = split_item(rest) else {
                    break;
                };
                waiting.bytes_left -= item.len() as u64;
                waiting.items_left -= 1;
                rest = rest.get(used..).unwrap_or_default();
            }
            waiting.first_item = skip;
            waiting.part = 1;
            waiting.consumed = incoming.body.len() - rest.len();
        }
        self.bytes += waiting.cost();
        self.waiting.push_back(waiting);
    }

    fn pop(&mut self) {
        if let Some(gone) = self.waiting.pop_front() {
            self.bytes -= gone.cost();
        }
    }

    /// Takes what fits into the batch. Headers are left to [`complete_headers`].
    pub(super) fn take(&mut self, batch: &OpenBatch, policy: &Policy) -> Taken {
        let mut fill = Fill {
            items: batch.tail.items,
            bytes: batch.tail.bytes,
        };
        let mut offset = batch.tail.offset;
        let mut taken = Taken::default();
        let mut at = self.head;
        let mut whole = self.head == HEADROOM;
        let mut copied = Vec::new();
        while let Some(front) = self.waiting.front() {
            let len = frame_len(front.body_bytes);
            let body_at = at + FRAME_HEADER_BYTES;
            let body = self
                .buf
                .get(body_at..body_at + front.body_bytes)
                .unwrap_or_default();
            let room = offset + frame_bytes(front.body_bytes as u64) <= FILE_BYTES_MAX;
            let fit = if room {
                fit(front, body, fill, policy)
            } else {
                full_file(fill)
            };
            let (count, all) = match fit {
                Fit::All => (front.items_left, true),
                Fit::Some(count) => (count, false),
                Fit::None(reason) => {
                    taken.close = Some(reason);
                    break;
                }
            };
            // As it came, where nothing has to be cut; encoded again where it has.
            let cut = !all || front.consumed > 0;
            if cut && whole {
                copied = self.buf.get(..at).unwrap_or_default().to_vec();
                whole = false;
            } else if !whole && copied.is_empty() {
                copied.resize(HEADROOM, 0);
            }
            let bytes;
            let mut header = front.header(count, all);
            if cut {
                let (part, part_bytes, used) = encode_part(front, body, count);
                header.body_bytes = u32::try_from(part.len()).unwrap_or(u32::MAX);
                header.body_crc = crc32c(&part);
                put_frame(&mut copied, &[0; FRAME_HEADER_BYTES], &part);
                bytes = part_bytes;
                if let Some(front) = self.waiting.front_mut() {
                    front.consume(count, bytes, used);
                }
            } else {
                if !whole {
                    copied.extend_from_slice(self.buf.get(at..at + len).unwrap_or_default());
                }
                bytes = front.bytes_left;
            }
            let Some(front) = self.waiting.front() else {
                break;
            };
            let ends = front.end_of_batch && all;
            taken.frames.push(TakenFrame {
                slot: front.slot,
                id: front.id,
                header,
                ack: front.ack,
                item_bytes: bytes,
            });
            offset += header.frame_bytes();
            fill.items += count;
            fill.bytes += bytes;
            if all {
                at += len;
                self.pop();
            }
            let reason = policy.after_item(fill);
            taken.close = reason.or(ends.then_some(SealReason::EndOfBatch));
            if taken.close.is_some() {
                break;
            }
        }
        if let Some(last) = taken.frames.last_mut()
            && taken.close.is_some()
        {
            last.header.flags = last.header.flags.with(FrameFlags::END_OF_BATCH);
        }
        taken.bytes = self.give_bytes(at, whole, copied);
        taken
    }

    /// The bytes up to `at`: the buffer itself where all of it was taken, otherwise a copy.
    fn give_bytes(&mut self, at: usize, whole: bool, copied: Vec<u8>) -> Vec<u8> {
        if whole && self.waiting.is_empty() {
            self.head = HEADROOM;
            return std::mem::take(&mut self.buf);
        }
        let bytes = if whole {
            self.buf.get(..at).unwrap_or_default().to_vec()
        } else {
            copied
        };
        self.head = at;
        if self.waiting.is_empty() {
            self.buf.clear();
        } else if self.head > COMPACT_BYTES && self.head > self.buf.len() / 2 {
            self.buf.drain(HEADROOM..self.head);
            self.head = HEADROOM;
        }
        bytes
    }

    /// Gives back a buffer that was written, to be filled again, unless it is longer than that.
    pub(super) fn recycle(&mut self, mut bytes: Vec<u8>, bytes_max: usize) {
        let is_wanted = self.buf.capacity() < bytes.capacity() && bytes.capacity() <= bytes_max;
        if is_wanted && self.waiting.is_empty() {
            bytes.clear();
            self.buf = bytes;
        }
    }

    /// Drops what is left of submissions that failed; returns their slots.
    pub(super) fn drop_failed(&mut self, failed: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut dropped = Vec::new();
        while let Some(front) = self.waiting.front()
            && failed(front.slot)
        {
            dropped.push(front.slot);
            self.head += frame_len(front.body_bytes);
            self.pop();
        }
        if self.waiting.is_empty() {
            self.buf.clear();
        }
        dropped
    }
}

impl Waiting {
    fn cost(&self) -> usize {
        frame_len(self.body_bytes) + WAITING_BYTES
    }

    fn header(&self, count: u32, last: bool) -> FrameHeader {
        let mut flags = FrameFlags::NONE;
        if self.first_item == 0 {
            flags = flags.with(FrameFlags::FIRST_PART);
        }
        if last {
            flags = flags.with(FrameFlags::LAST_PART);
        }
        FrameHeader {
            kind: FrameKind::Items,
            flags,
            part: self.part,
            body_bytes: u32::try_from(self.body_bytes).unwrap_or(u32::MAX),
            items: count,
            body_crc: self.body_crc,
            received_at: self.received_at,
            first_item: self.first_item,
            ..crate::spool::writer::items_header(count)
        }
    }

    fn consume(&mut self, count: u32, bytes: u64, used: usize) {
        self.first_item += count;
        self.items_left -= count;
        self.bytes_left -= bytes;
        self.consumed = used;
        self.part = self.part.saturating_add(1);
    }

    /// The encoded items that are left, and where in the body they start.
    fn rest<'a>(&self, body: &'a [u8]) -> (&'a [u8], usize) {
        if self.consumed > 0 {
            return (body.get(self.consumed..).unwrap_or_default(), self.consumed);
        }
        // The body was checked at the door.
        let items = BodyView::parse(body, self.items_left, BodyLimits::NONE)
            .map_or(&[][..], |view| view.encoded_items());
        (items, body.len() - items.len())
    }
}

fn frame_len(body_bytes: usize) -> usize {
    usize::try_from(frame_bytes(body_bytes as u64)).unwrap_or(usize::MAX)
}

fn full_file(fill: Fill) -> Fit {
    // An empty file has room for any frame.
    if fill.items == 0 {
        Fit::All
    } else {
        Fit::None(SealReason::MaxBytes)
    }
}

fn fit(front: &Waiting, body: &[u8], fill: Fill, policy: &Policy) -> Fit {
    let items = u64::from(fill.items) + u64::from(front.items_left);
    let max_items = policy.max_items.unwrap_or(u32::MAX);
    if items <= max_items.into() && fill.bytes + front.bytes_left < policy.bytes_bound() {
        return Fit::All;
    }
    let (mut rest, _) = front.rest(body);
    let (mut now, mut count) = (fill, 0);
    while count < front.items_left {
        let Some((item, used)) = split_item(rest) else {
            break;
        };
        if let Some(reason) = policy.before_item(now, item.len() as u64) {
            return if count == 0 {
                Fit::None(reason)
            } else {
                Fit::Some(count)
            };
        }
        now.items += 1;
        now.bytes += item.len() as u64;
        count += 1;
        rest = rest.get(used..).unwrap_or_default();
    }
    Fit::All
}

/// Encodes the next `count` items of a submission as a body of their own: the body, the sum of the items'
/// lengths, and how much of the original body is used with them.
fn encode_part(front: &Waiting, body: &[u8], count: u32) -> (Vec<u8>, u64, usize) {
    let (mut rest, start) = front.rest(body);
    let before = rest.len();
    let mut items = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let Some((item, used)) = split_item(rest) else {
            break;
        };
        items.push(item);
        rest = rest.get(used..).unwrap_or_default();
    }
    let mut part = Vec::with_capacity(before - rest.len() + 32);
    let bytes = encode_body(front.id, items.iter().copied(), &mut part);
    (part, bytes, start + before - rest.len())
}

/// Completes the headers in a group's bytes for their place behind the batch's tail, and moves the tail.
pub(super) fn complete_headers(taken: &mut Taken, batch: &mut OpenBatch) {
    let mut at = HEADROOM;
    let synced_to = batch.synced_to;
    for frame in &mut taken.frames {
        let body_at = at + FRAME_HEADER_BYTES;
        let body_end = body_at + frame.header.body_bytes as usize;
        let body = taken.bytes.get(body_at..body_end).unwrap_or_default();
        let header = batch.tail.push(
            batch.header.id,
            frame.header,
            body,
            frame.item_bytes,
            synced_to,
        );
        if let Some(place) = taken.bytes.get_mut(at..body_at) {
            place.copy_from_slice(&header);
        }
        at += frame_len(frame.header.body_bytes as usize);
    }
    debug_assert!(
        taken.frames.is_empty()
            || at == taken.bytes.len()
            || is_planted(Planted::GroupSpansBatches)
    );
}

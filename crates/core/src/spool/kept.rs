//! Which submissions a batch holds, and which a queue knows: what makes a repeat add only what is missing.

use std::collections::{BTreeMap, HashMap};

use batchd_frame::{FrameFlags, FrameHeader, KeptPart, ProducerId, ProducerRecord, SubmissionId};

/// What one batch holds of each producer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchContents {
    producers: BTreeMap<ProducerId, ProducerRecord>,
    entries: usize,
}

impl BatchContents {
    /// Adds one items frame of a submission.
    pub fn note(&mut self, id: SubmissionId, header: &FrameHeader) {
        let last = header.flags.contains(FrameFlags::LAST_PART);
        let is_whole = header.first_item == 0 && last;
        if let Some(record) = self.producers.get_mut(&id.producer)
            && is_whole
            && let Some((_, end)) = record.whole.last_mut()
            && end.checked_add(1) == Some(id.sequence)
        {
            *end = id.sequence;
            return;
        }
        if self.entries >= RECORDS_MAX {
            return;
        }
        self.entries += 1;
        let record = self
            .producers
            .entry(id.producer)
            .or_insert_with(|| ProducerRecord {
                producer: id.producer,
                whole: Vec::new(),
                parts: Vec::new(),
            });
        if is_whole {
            record.whole.push((id.sequence, id.sequence));
        } else {
            record.parts.push(KeptPart {
                sequence: id.sequence,
                first: header.first_item,
                count: header.items,
                last,
            });
        }
    }

    /// The records, as the seal and the ledger keep them.
    #[must_use]
    pub fn records(&self) -> Vec<ProducerRecord> {
        self.producers.values().cloned().collect()
    }
}

/// What a queue remembers of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing of it is kept.
    New,
    /// That many of its first items are kept.
    Partly(u32),
    /// All of it is kept.
    Whole,
}

/// What is remembered of the newest of several producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Which it is: the last eight bytes of its id, as a number.
    pub number: u64,
    /// Its highest sequence that is kept whole.
    pub sequence: u64,
}

/// The submissions a queue has kept, as sets: a pipelined tenth may be kept where the ninth was refused.
#[derive(Debug, Default)]
pub struct KeptSubmissions {
    producers: HashMap<ProducerId, Sequences>,
    entries: u64,
    /// Producers that were entered as older than all others.
    older: u64,
}

/// Producers are numbered upwards from here as they are heard of, and downwards as older ones are found.
const HEARD_START: u64 = 1 << 40;

/// So many runs of sequences are remembered of a producer, and so many submissions that are kept in part; past
/// it, the lowest are forgotten. A client that counts up needs one.
pub const RUNS_MAX: usize = 65_536;
/// So many entries a batch keeps of whose submissions it holds; past it, the rest is left out, so that a seal
/// stays readable. A client that counts up needs one a batch.
pub const RECORDS_MAX: usize = 100_000;
/// So many producers are remembered; past it, those that were heard of longest ago are forgotten.
pub const PRODUCERS_MAX: usize = 100_000;

#[derive(Debug, Default)]
struct Sequences {
    /// Ascends with the last entry, of all producers together.
    heard: u64,
    /// Whole ones, as start -> inclusive end; ranges do not touch.
    whole: BTreeMap<u64, u64>,
    /// Items kept of those that are not whole.
    partly: BTreeMap<u64, u32>,
}

impl KeptSubmissions {
    /// What is kept of a submission.
    #[must_use]
    pub fn look_up(&self, id: SubmissionId) -> Known {
        let Some(sequences) = self.producers.get(&id.producer) else {
            return Known::New;
        };
        if sequences.has_whole(id.sequence) {
            return Known::Whole;
        }
        sequences
            .partly
            .get(&id.sequence)
            .map_or(Known::New, |items| Known::Partly(*items))
    }

    /// Of the producers whose ids begin with these eight bytes, that whose id ends in the highest number.
    #[must_use]
    pub fn newest_of(&self, family: [u8; 8]) -> Option<Newest> {
        let known = self.producers.iter().filter_map(|(producer, sequences)| {
            let (begin, end) = producer.as_bytes().split_first_chunk()?;
            let (_, sequence) = sequences.whole.last_key_value()?;
            let newest = Newest {
                number: u64::from_be_bytes(*end.first_chunk()?),
                sequence: *sequence,
            };
            (*begin == family).then_some(newest)
        });
        known.max_by_key(|newest| newest.number)
    }

    /// Enters what a batch holds. Batches are entered in order of seq, so that parts meet.
    pub fn enter(&mut self, records: &[ProducerRecord]) {
        for record in records {
            let sequences = self.hear(record.producer);
            for (start, end) in &record.whole {
                sequences.add_whole(*start, *end);
            }
            for part in &record.parts {
                sequences.add_part(part);
            }
        }
    }

    /// Enters one part of a submission, or all of it.
    pub fn enter_part(&mut self, producer: ProducerId, part: &KeptPart) {
        let sequences = self.hear(producer);
        if part.first == 0 && part.last {
            sequences.add_whole(part.sequence, part.sequence);
        } else {
            sequences.add_part(part);
        }
    }
}

/// Submissions that were kept and ended otherwise than delivered, whole or in part.
#[derive(Debug, Default)]
pub struct EndedBadly(KeptSubmissions);

impl EndedBadly {
    /// Enters what such a batch held.
    pub fn enter(&mut self, records: &[ProducerRecord]) {
        for record in records {
            let sequences = self.0.hear(record.producer);
            for (start, end) in &record.whole {
                sequences.add_whole(*start, *end);
            }
            for part in &record.parts {
                sequences.add_whole(part.sequence, part.sequence);
            }
        }
    }

    /// Whether a submission is among them.
    #[must_use]
    pub fn contains(&self, id: SubmissionId) -> bool {
        self.0.look_up(id) == Known::Whole
    }
}

/// A part of a submission of which more may lie in other batches, and the seq of its own.
#[derive(Debug, Clone, Copy)]
pub struct FoundPart {
    /// The batch's seq.
    pub seq: u64,
    /// Whose it is.
    pub producer: ProducerId,
    /// The part.
    pub part: KeptPart,
}

impl KeptSubmissions {
    /// Enters what a batch holds that is older than what was entered so far, in any order; its parts are left out.
    pub fn enter_older(&mut self, records: &[ProducerRecord]) {
        for record in records.iter().filter(|record| !record.whole.is_empty()) {
            if let Some(sequences) = self.hear_older(record.producer) {
                for (start, end) in &record.whole {
                    sequences.add_whole(*start, *end);
                }
            }
        }
    }

    /// Enters the parts that were left out, all of them, so that those of one submission meet.
    pub fn enter_parts(&mut self, mut parts: Vec<FoundPart>) {
        parts.sort_by_key(|found| found.seq);
        for FoundPart { producer, part, .. } in parts {
            if let Some(sequences) = self.hear_older(producer)
                && !sequences.has_whole(part.sequence)
            {
                sequences.add_part(&part);
            }
        }
    }

    /// A producer of long ago: it is not put before those that were heard of since, and has no place where there are
    /// too many of them.
    fn hear_older(&mut self, producer: ProducerId) -> Option<&mut Sequences> {
        let is_known = self.producers.contains_key(&producer);
        if !is_known && self.producers.len() >= PRODUCERS_MAX {
            return None;
        }
        // Of these, the later one is entered the older it is.
        self.older += u64::from(!is_known);
        let heard = HEARD_START.saturating_sub(self.older);
        let sequences = self.producers.entry(producer);
        Some(sequences.or_insert_with(|| Sequences {
            heard,
            ..Sequences::default()
        }))
    }

    fn hear(&mut self, producer: ProducerId) -> &mut Sequences {
        if self.producers.len() >= PRODUCERS_MAX && !self.producers.contains_key(&producer) {
            self.forget_half();
        }
        self.entries += 1;
        let sequences = self.producers.entry(producer).or_default();
        sequences.heard = HEARD_START + self.entries;
        sequences
    }

    /// Half at a time, so that the search for the oldest costs little an entry.
    fn forget_half(&mut self) {
        let mut heard: Vec<_> = self.producers.values().map(|s| s.heard).collect();
        heard.sort_unstable();
        let middle = heard.get(heard.len() / 2).copied().unwrap_or(0);
        self.producers
            .retain(|_, sequences| sequences.heard >= middle);
    }
}

impl Sequences {
    fn has_whole(&self, sequence: u64) -> bool {
        let before = self.whole.range(..=sequence).next_back();
        before.is_some_and(|(_, end)| *end >= sequence)
    }

    fn add_part(&mut self, part: &KeptPart) {
        let kept = self.partly.get(&part.sequence).copied().unwrap_or(0);
        // A part that does not continue what is kept is behind a gap, and counts for nothing.
        if part.first > kept {
            return;
        }
        let end = part.first.saturating_add(part.count);
        if part.last {
            self.partly.remove(&part.sequence);
            self.add_whole(part.sequence, part.sequence);
        } else if end > kept {
            self.partly.insert(part.sequence, end);
            if self.partly.len() > RUNS_MAX {
                self.partly.pop_first();
            }
        }
    }

    fn add_whole(&mut self, mut start: u64, mut end: u64) {
        // Ledgers may hold anything, and such a run holds nothing.
        if start > end {
            return;
        }
        if let Some((&before, &before_end)) = self.whole.range(..=start).next_back()
            && before_end >= start.saturating_sub(1)
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.whole.range(start..=end.saturating_add(1)).next()
        {
            self.whole.remove(&next);
            end = end.max(next_end);
        }
        self.whole.insert(start, end);
        if self.whole.len() > RUNS_MAX {
            self.whole.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: ProducerId = ProducerId::from_bytes([1; 16]);

    fn record(whole: &[(u64, u64)], parts: &[(u64, u32, u32, bool)]) -> ProducerRecord {
        let part = |&(sequence, first, count, last)| KeptPart {
            sequence,
            first,
            count,
            last,
        };
        ProducerRecord {
            producer: PRODUCER,
            whole: whole.to_vec(),
            parts: parts.iter().map(part).collect(),
        }
    }

    #[track_caller]
    fn check(kept: &KeptSubmissions, sequence: u64, known: Known) {
        assert_eq!(
            kept.look_up(SubmissionId {
                producer: PRODUCER,
                sequence
            }),
            known,
            "{sequence}"
        );
    }

    #[test]
    fn sequences_are_a_set() {
        let mut kept = KeptSubmissions::default();
        kept.enter(&[record(&[(1, 3), (7, 7)], &[])]);
        kept.enter(&[record(&[(5, 5)], &[])]);
        for sequence in [1, 2, 3, 5, 7] {
            check(&kept, sequence, Known::Whole);
        }
        for sequence in [0, 4, 6, 8, u64::MAX] {
            check(&kept, sequence, Known::New);
        }
        kept.enter(&[record(&[(4, 4), (6, 6), (u64::MAX, u64::MAX)], &[])]);
        assert_eq!(
            kept.producers[&PRODUCER].whole,
            BTreeMap::from([(1, 7), (u64::MAX, u64::MAX)])
        );
    }

    #[test]
    fn the_newest_of_a_family_is_that_with_the_highest_number() {
        let mut kept = KeptSubmissions::default();
        let of = |family: u8, number: u64, sequence| ProducerRecord {
            producer: ProducerId::from_bytes(
                [[family; 8], number.to_be_bytes()]
                    .concat()
                    .try_into()
                    .unwrap(),
            ),
            ..record(&[(1, sequence)], &[])
        };
        kept.enter(&[of(7, 300, 5), of(7, 2, 9), of(8, 301, 1)]);
        // One of which only a part is kept counts for nothing.
        let mut part = of(7, 400, 1);
        (part.whole, part.parts) = (Vec::new(), record(&[], &[(9, 0, 4, false)]).parts);
        kept.enter(&[part]);
        let newest = |family: u8| kept.newest_of([family; 8]).map(|n| (n.number, n.sequence));
        assert_eq!(
            (newest(7), newest(8), newest(9)),
            (Some((300, 5)), Some((301, 1)), None)
        );
    }

    #[test]
    fn a_client_that_does_not_count_up_costs_bounded_memory() {
        let mut kept = KeptSubmissions::default();
        let mut contents = BatchContents::default();
        let mut header = crate::spool::writer::items_header(1);
        header.flags = FrameFlags::FIRST_PART.with(FrameFlags::LAST_PART);
        for sequence in (0..2 * RECORDS_MAX as u64).map(|n| n * 2) {
            kept.enter(&[record(
                &[(sequence, sequence)],
                &[(sequence + 1, 0, 1, false)],
            )]);
            contents.note(
                SubmissionId {
                    producer: PRODUCER,
                    sequence,
                },
                &header,
            );
        }
        let sequences = &kept.producers[&PRODUCER];
        assert_eq!(
            (sequences.whole.len(), sequences.partly.len()),
            (RUNS_MAX, RUNS_MAX)
        );
        check(&kept, 4 * RECORDS_MAX as u64 - 2, Known::Whole);
        assert_eq!(contents.records()[0].whole.len(), RECORDS_MAX);
    }

    #[test]
    fn parts_add_up_in_order() {
        let mut kept = KeptSubmissions::default();
        kept.enter(&[record(&[], &[(9, 0, 4, false)])]);
        check(&kept, 9, Known::Partly(4));
        kept.enter(&[record(&[], &[(9, 6, 4, false)])]);
        check(&kept, 9, Known::Partly(4));
        kept.enter(&[record(&[], &[(9, 4, 4, false)])]);
        check(&kept, 9, Known::Partly(8));
        kept.enter(&[record(&[], &[(9, 8, 1, true)])]);
        check(&kept, 9, Known::Whole);
    }

    #[test]
    fn a_batch_keeps_ranges() {
        let mut contents = BatchContents::default();
        let header = |first_item, items, flags| FrameHeader {
            flags,
            first_item,
            ..crate::spool::writer::items_header(items)
        };
        let whole = FrameFlags::FIRST_PART.with(FrameFlags::LAST_PART);
        for sequence in [4, 5, 6, 8] {
            contents.note(
                SubmissionId {
                    producer: PRODUCER,
                    sequence,
                },
                &header(0, 2, whole),
            );
        }
        contents.note(
            SubmissionId {
                producer: PRODUCER,
                sequence: 9,
            },
            &header(0, 2, FrameFlags::FIRST_PART),
        );
        assert_eq!(
            contents.records(),
            [record(&[(4, 6), (8, 8)], &[(9, 0, 2, false)])]
        );
    }

    #[test]
    fn what_is_older_meets_what_was_entered_before_it() {
        let mut kept = KeptSubmissions::default();
        let part = |sequence, first, count, last| KeptPart {
            sequence,
            first,
            count,
            last,
        };
        // The end of one lies in a later batch than its beginning, and is found first.
        kept.enter(&[record(&[(9, 9)], &[(5, 2, 2, true), (6, 0, 1, false)])]);
        check(&kept, 5, Known::New);
        kept.enter_older(&[record(&[(7, 8)], &[])]);
        let found = |seq, part| FoundPart {
            seq,
            producer: PRODUCER,
            part,
        };
        kept.enter_parts(vec![
            found(3, part(5, 2, 2, true)),
            found(3, part(6, 0, 1, false)),
            found(2, part(5, 0, 2, false)),
            found(1, part(8, 0, 1, false)),
        ]);
        check(&kept, 5, Known::Whole);
        check(&kept, 6, Known::Partly(1));
        for sequence in 7..=9 {
            check(&kept, sequence, Known::Whole);
        }
    }

    #[test]
    fn old_producers_do_not_push_out_those_of_late() {
        let id = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            ProducerId::from_bytes(bytes)
        };
        let of = |n: usize| ProducerRecord {
            producer: id(n),
            ..record(&[(1, 1)], &[])
        };
        let knows = |kept: &KeptSubmissions, n: usize| {
            let (producer, sequence) = (id(n), 1);
            kept.look_up(SubmissionId { producer, sequence }) == Known::Whole
        };
        let mut kept = KeptSubmissions::default();
        kept.enter(&[of(0)]);
        for n in 1..=PRODUCERS_MAX {
            kept.enter_older(&[of(n)]);
        }
        // The oldest found no place; the next to be heard of takes that of the older half.
        assert!(knows(&kept, 0) && knows(&kept, 1) && !knows(&kept, PRODUCERS_MAX));
        kept.enter(&[of(PRODUCERS_MAX + 1)]);
        assert!(knows(&kept, 0) && knows(&kept, 1) && !knows(&kept, PRODUCERS_MAX - 1));
    }
}

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

/// The submissions a queue has kept, as sets: a pipelined tenth may be kept where the ninth was refused.
#[derive(Debug, Default)]
pub struct KeptSubmissions {
    producers: HashMap<ProducerId, Sequences>,
    entries: u64,
}

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
    /// Number of the last entry, for all producers together.
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
        let whole = sequences.whole.range(..=id.sequence).next_back();
        if whole.is_some_and(|(_, end)| *end >= id.sequence) {
            return Known::Whole;
        }
        sequences
            .partly
            .get(&id.sequence)
            .map_or(Known::New, |items| Known::Partly(*items))
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

impl KeptSubmissions {
    /// Adds what was kept later.
    pub fn absorb(&mut self, later: Self) {
        let mut later: Vec<_> = later.producers.into_iter().collect();
        later.sort_by_key(|(_, sequences)| sequences.heard);
        for (producer, new) in later {
            let sequences = self.hear(producer);
            for (start, end) in new.whole {
                sequences.add_whole(start, end);
            }
            for (sequence, items) in new.partly {
                sequences.add_part(&KeptPart {
                    sequence,
                    first: 0,
                    count: items,
                    last: false,
                });
            }
        }
        for sequences in self.producers.values_mut() {
            sequences.forget_parts_of_whole();
        }
    }

    fn hear(&mut self, producer: ProducerId) -> &mut Sequences {
        if self.producers.len() >= PRODUCERS_MAX && !self.producers.contains_key(&producer) {
            self.forget_half();
        }
        self.entries += 1;
        let sequences = self.producers.entry(producer).or_default();
        sequences.heard = self.entries;
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
    /// What is whole was once in parts, perhaps.
    fn forget_parts_of_whole(&mut self) {
        let whole = &self.whole;
        self.partly.retain(|sequence, _| {
            let before = whole.range(..=*sequence).next_back();
            before.is_none_or(|(_, end)| end < sequence)
        });
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

    fn add_whole(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
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
}

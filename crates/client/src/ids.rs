//! Who numbers the submissions.

use batchd_frame::{ProducerId, SubmissionId};

/// Under which producer id a client numbers its submissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Identity {
    /// A fresh one, of random bytes; submissions count from 1.
    #[default]
    Random,
    /// The one an external key stands for; submissions count from 0. Whoever gives the same key must give the
    /// same items, split into the same submissions, in the same order. All of them are sent as repeats, since
    /// an earlier run may have sent them.
    ExternalKey(Vec<u8>),
}

/// Gives out submission ids.
#[derive(Debug)]
pub(crate) struct Numbering {
    producer: ProducerId,
    next: u64,
    may_be_known: bool,
}

impl Numbering {
    pub(crate) fn new(identity: &Identity, random: [u8; 16]) -> Self {
        match identity {
            Identity::Random => Self {
                producer: ProducerId::from_bytes(random),
                next: 1,
                may_be_known: false,
            },
            Identity::ExternalKey(key) => Self {
                producer: ProducerId::of_external_key(key),
                next: 0,
                may_be_known: true,
            },
        }
    }

    /// The next id, and whether it may have been used by an earlier run.
    pub(crate) fn next(&mut self) -> (SubmissionId, bool) {
        let id = SubmissionId {
            producer: self.producer,
            sequence: self.next,
        };
        self.next += 1;
        (id, self.may_be_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_producers_count_from_1_and_external_ones_from_0() {
        let mut own = Numbering::new(&Identity::Random, [7; 16]);
        let (id, known) = own.next();
        assert_eq!(
            (id.producer, id.sequence),
            (ProducerId::from_bytes([7; 16]), 1)
        );
        assert!(!known);
        assert_eq!(own.next().0.sequence, 2);

        let mut external = Numbering::new(&Identity::ExternalKey(b"job 7".to_vec()), [7; 16]);
        let (id, known) = external.next();
        let producer = ProducerId::of_external_key(b"job 7");
        assert_eq!((id.producer, id.sequence), (producer, 0));
        assert!(known);
        assert_eq!(external.next().0.sequence, 1);
    }
}

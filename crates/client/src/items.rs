//! Items on their way into submissions, and where a stream of them is cut.

use batchd_protocol::{Limits, MESSAGE_BYTES_MAX};

use crate::error::Error;

/// Most that the head of a body takes: a submission id and the number of items, in bytes.
const BODY_HEAD_BYTES: u64 = 40;
/// Most that an item takes besides its own bytes.
const ITEM_HEAD_BYTES: u64 = 9;
/// Most that a message takes besides the body: queue, key, numbers.
const ENVELOPE_BYTES: u64 = 512;

/// An item that can never be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// It is longer than the daemon takes.
    #[error(
        "item of {bytes} bytes is longer than the {max} allowed: split it, or raise \
         limits.item_bytes_max of the daemon"
    )]
    TooLarge {
        /// Its length, or as much of it as was looked at.
        bytes: u64,
        /// The limit, in bytes.
        max: u64,
    },
}

/// Items in order, in one piece of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemBuffer {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ItemBuffer {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one item.
    pub fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push(self.bytes.len());
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Sum of the items' lengths in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The items, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let item = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            item
        })
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for ItemBuffer {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut buffer = Self::new();
        for item in items {
            buffer.push(item.as_ref());
        }
        buffer
    }
}

/// Where a stream of items is cut into submissions. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Most items of a submission.
    pub items_max: u64,
    /// Longest body, unless a single item is longer.
    pub bytes_max: u64,
    /// Longest item.
    pub item_bytes_max: u64,
}

impl PackLimits {
    /// All that the daemon takes.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        let message = limits.message_bytes_max.min(MESSAGE_BYTES_MAX as u64);
        let message = message.saturating_sub(ENVELOPE_BYTES);
        let bytes_max = limits.submission_bytes_max.min(message);
        Self {
            items_max: limits.submission_items_max.min(u64::from(u32::MAX)),
            bytes_max,
            item_bytes_max: limits
                .item_bytes_max
                .min(bytes_max.saturating_sub(BODY_HEAD_BYTES + ITEM_HEAD_BYTES)),
        }
    }

    /// Checks that a body of so many bytes and items is taken at once.
    pub(crate) fn check(self, bytes: u64, items: u32) -> Result<(), Error> {
        let (bytes_max, items_max) = (self.bytes_max, self.items_max);
        if bytes > bytes_max || u64::from(items) > items_max {
            return Err(Error::SubmissionTooLarge {
                bytes,
                items,
                bytes_max,
                items_max,
            });
        }
        Ok(())
    }

    /// At most that much, so that submissions stay small. Items may be as long as before.
    #[must_use]
    pub fn at_most(mut self, items: u64, bytes: u64) -> Self {
        self.items_max = self.items_max.min(items);
        self.bytes_max = self.bytes_max.min(bytes);
        self
    }
}

/// Cuts a stream of items into submissions, by their number and length alone: the same items are always cut
/// at the same places.
#[derive(Debug)]
pub struct Packer {
    limits: PackLimits,
    items: ItemBuffer,
    body_bytes: u64,
}

impl Packer {
    /// Nothing packed yet.
    #[must_use]
    pub fn new(limits: PackLimits) -> Self {
        Self {
            limits,
            items: ItemBuffer::new(),
            body_bytes: BODY_HEAD_BYTES,
        }
    }

    /// Adds an item. Returns those before it where it does not fit any more.
    ///
    /// # Errors
    /// [`ItemError`] where no submission can carry it; nothing changes then.
    pub fn push(&mut self, item: &[u8]) -> Result<Option<ItemBuffer>, ItemError> {
        let bytes = item.len() as u64;
        if bytes > self.limits.item_bytes_max {
            return Err(ItemError::TooLarge {
                bytes,
                max: self.limits.item_bytes_max,
            });
        }
        let is_full = self.items.len() as u64 >= self.limits.items_max
            || self.body_bytes + ITEM_HEAD_BYTES + bytes > self.limits.bytes_max;
        let full = if is_full { self.take() } else { None };
        self.items.push(item);
        self.body_bytes += ITEM_HEAD_BYTES + bytes;
        Ok(full)
    }

    /// What was packed since the last cut, if anything.
    pub fn take(&mut self) -> Option<ItemBuffer> {
        if self.items.is_empty() {
            return None;
        }
        self.body_bytes = BODY_HEAD_BYTES;
        Some(std::mem::take(&mut self.items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchd_frame::{ProducerId, SubmissionId, encode_body};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        item_bytes_max: 100,
        submission_bytes_max: 300,
        submission_items_max: 5,
        message_bytes_max: 1 << 20,
    };

    fn pack(items: &[Vec<u8>], limits: PackLimits) -> Vec<ItemBuffer> {
        let mut packer = Packer::new(limits);
        let mut packed: Vec<_> = items
            .iter()
            .filter_map(|item| packer.push(item).expect("fits"))
            .collect();
        packed.extend(packer.take());
        packed
    }

    #[test]
    fn an_item_too_long_is_refused_and_changes_nothing() {
        let mut packer = Packer::new(PackLimits::of(&LIMITS));
        assert_eq!(packer.push(b"a"), Ok(None));
        assert_eq!(
            packer.push(&[0; 101]),
            Err(ItemError::TooLarge {
                bytes: 101,
                max: 100
            })
        );
        assert_eq!(packer.take(), Some(ItemBuffer::from_iter([b"a"])));
    }

    #[test]
    fn a_body_is_taken_up_to_the_limits() {
        let limits = PackLimits::of(&LIMITS);
        assert!(limits.check(300, 5).is_ok());
        for (bytes, items) in [(301, 5), (300, 6)] {
            let refused = limits.check(bytes, items);
            assert!(
                matches!(
                    refused,
                    Err(Error::SubmissionTooLarge {
                        bytes_max: 300,
                        items_max: 5,
                        ..
                    })
                ),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn an_item_longer_than_the_cut_goes_alone() {
        let limits = PackLimits::of(&LIMITS).at_most(5, 60);
        let packed = pack(&[vec![1], vec![2; 100], vec![3]], limits);
        assert_eq!(
            packed.iter().map(ItemBuffer::len).collect::<Vec<_>>(),
            [1, 1, 1]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_limit_exceeded(
            items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=100), 0..40)
        ) {
            let packed = pack(&items, PackLimits::of(&LIMITS));
            let joined: Vec<_> = packed.iter().flat_map(ItemBuffer::iter).collect();
            prop_assert_eq!(joined, items.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let id = SubmissionId { producer: ProducerId::from_bytes([0xff; 16]), sequence: u64::MAX };
            for part in &packed {
                let mut body = Vec::new();
                encode_body(Some(id), part.iter(), &mut body);
                prop_assert!(!part.is_empty() && part.len() <= 5 && body.len() <= 300);
            }
        }
    }
}

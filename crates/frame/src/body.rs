//! The body of an items frame: whose submission it is, and the items.
//!
//! It is what bincode makes of `(Option<SubmissionId>, Vec<&[u8]>)`. A body is checked once, where it comes
//! in, by walking the items' lengths; from then on it is carried as it came, without a copy per item.

use crate::codec::{self, DecodeError};
use crate::ids::{ProducerId, SubmissionId};

/// What a body may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Longest item, in bytes.
    pub item_bytes_max: u64,
    /// Most items.
    pub items_max: u64,
}

impl BodyLimits {
    /// No bound beyond the format's own.
    pub const NONE: Self = Self {
        item_bytes_max: u64::MAX,
        items_max: u32::MAX as u64,
    };
}

/// Why bytes are no body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not the encoding.
    #[error("body {0}")]
    Decode(#[from] DecodeError),
    /// Another number of items than was declared.
    #[error("body holds {found} items where {declared} were declared")]
    Count {
        /// As declared.
        declared: u64,
        /// As found.
        found: u64,
    },
    /// More items than allowed.
    #[error("{items} items are more than the {max} allowed")]
    TooManyItems {
        /// How many.
        items: u64,
        /// The limit.
        max: u64,
    },
    /// An item that is longer than allowed.
    #[error("item {index} of {bytes} bytes is longer than the {max} allowed")]
    ItemTooLarge {
        /// Which, from 0.
        index: u64,
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}

/// Encodes a body. Returns the sum of the items' lengths in bytes.
pub fn encode_body<'a>(
    submission: Option<SubmissionId>,
    items: impl ExactSizeIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> u64 {
    codec::put(
        submission.map(|id| (*id.producer.as_bytes(), id.sequence)),
        out,
    );
    codec::put(items.len() as u64, out);
    items.fold(0, |sum, item| {
        codec::put(item, out);
        sum + item.len() as u64
    })
}

/// A body that was checked.
#[derive(Debug, Clone, Copy)]
pub struct BodyView<'a> {
    submission: Option<SubmissionId>,
    items: &'a [u8],
    count: u32,
    item_bytes: u64,
}

impl<'a> BodyView<'a> {
    /// Walks a body.
    ///
    /// # Errors
    /// [`BodyError`] where it is not a body, holds another number of items than `declared`, or breaks a
    /// limit. Nothing is allocated.
    pub fn parse(body: &'a [u8], declared: u32, limits: BodyLimits) -> Result<Self, BodyError> {
        let mut rest = body;
        let submission: Option<([u8; 16], u64)> = codec::take(&mut rest)?;
        let count: u64 = codec::take(&mut rest)?;
        if count != u64::from(declared) {
            return Err(BodyError::Count {
                declared: declared.into(),
                found: count,
            });
        }
        if count > limits.items_max {
            return Err(BodyError::TooManyItems {
                items: count,
                max: limits.items_max,
            });
        }
        let items = rest;
        let mut item_bytes = 0;
        for index in 0..count {
            let item: &[u8] = codec::take(&mut rest)?;
            let bytes = item.len() as u64;
            if bytes > limits.item_bytes_max {
                return Err(BodyError::ItemTooLarge {
                    index,
                    bytes,
                    max: limits.item_bytes_max,
                });
            }
            item_bytes += bytes;
        }
        if !rest.is_empty() {
            return Err(BodyError::Count {
                declared: count,
                found: count + 1,
            });
        }
        let submission = submission.map(|(producer, sequence)| SubmissionId {
            producer: ProducerId::from_bytes(producer),
            sequence,
        });
        Ok(Self {
            submission,
            items,
            count: declared,
            item_bytes,
        })
    }

    /// The submission's id, where its producer gave one.
    #[must_use]
    pub fn submission(&self) -> Option<SubmissionId> {
        self.submission
    }

    /// How many items.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Sum of their lengths in bytes.
    #[must_use]
    pub fn item_bytes(&self) -> u64 {
        self.item_bytes
    }

    /// The items as they are encoded, one after another: see [`split_item`].
    #[must_use]
    pub fn encoded_items(&self) -> &'a [u8] {
        self.items
    }

    /// The items, in order.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        Items {
            rest: self.items,
            left: self.count as usize,
        }
    }
}

/// Splits the first item off encoded items: the item, and how many bytes it took with its length.
#[must_use]
pub fn split_item(encoded: &[u8]) -> Option<(&[u8], usize)> {
    let mut rest = encoded;
    let item = codec::take(&mut rest).ok()?;
    Some((item, encoded.len() - rest.len()))
}

/// The items of a checked body.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        // The body was walked when the view was made, so this does not fail.
        let item = codec::take(&mut self.rest).ok()?;
        self.left -= 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Items<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> SubmissionId {
        SubmissionId {
            producer: ProducerId::from_bytes([3; 16]),
            sequence: 300,
        }
    }

    fn body(id: Option<SubmissionId>, items: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_body(id, items.iter().map(Vec::as_slice), &mut out);
        out
    }

    #[test]
    fn a_body_is_what_serde_makes_of_it() {
        let items = [b"a".to_vec(), vec![], vec![0; 300]];
        let by_serde = codec::encode(&(Some(id()), items.as_slice()));
        assert_eq!(body(Some(id()), &items), by_serde);
    }

    #[test]
    fn limits_and_counts_are_named() {
        let bytes = body(None, &[vec![1; 10], vec![2; 11]]);
        let limits = BodyLimits {
            item_bytes_max: 10,
            items_max: 9,
        };
        assert_eq!(
            BodyView::parse(&bytes, 2, limits).unwrap_err(),
            BodyError::ItemTooLarge {
                index: 1,
                bytes: 11,
                max: 10
            }
        );
        assert!(matches!(
            BodyView::parse(&bytes, 3, BodyLimits::NONE),
            Err(BodyError::Count {
                declared: 3,
                found: 2
            })
        ));
        let limits = BodyLimits {
            items_max: 1,
            ..BodyLimits::NONE
        };
        assert!(matches!(
            BodyView::parse(&bytes, 2, limits),
            Err(BodyError::TooManyItems { items: 2, max: 1 })
        ));
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(BodyView::parse(&longer, 2, BodyLimits::NONE).is_err());
        assert!(BodyView::parse(&bytes[..bytes.len() - 1], 2, BodyLimits::NONE).is_err());
    }

    #[test]
    fn declared_lengths_cost_nothing() {
        let mut bytes = Vec::new();
        codec::put(None::<([u8; 16], u64)>, &mut bytes);
        codec::put(1u64, &mut bytes);
        codec::put(u64::MAX, &mut bytes);
        assert!(matches!(
            BodyView::parse(&bytes, 1, BodyLimits::NONE),
            Err(BodyError::Decode(_))
        ));
    }

    proptest! {
        #[test]
        fn items_come_back(items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20)) {
            let bytes = body(Some(id()), &items);
            let view = BodyView::parse(&bytes, u32::try_from(items.len()).unwrap(), BodyLimits::NONE).unwrap();
            prop_assert_eq!(view.submission(), Some(id()));
            prop_assert_eq!(view.item_bytes(), items.iter().map(|i| i.len() as u64).sum::<u64>());
            prop_assert!(view.items().eq(items.iter().map(Vec::as_slice)));
        }

        #[test]
        fn any_bytes_are_refused_or_walked(bytes in prop::collection::vec(any::<u8>(), 0..200), declared in 0u32..9) {
            if let Ok(view) = BodyView::parse(&bytes, declared, BodyLimits::NONE) {
                prop_assert_eq!(view.items().count(), declared as usize);
            }
        }
    }
}

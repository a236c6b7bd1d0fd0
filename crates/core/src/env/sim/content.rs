//! A file's bytes, with a fingerprint that is kept up to date as they change.
//!
//! A crash test compares very many images that differ in a few sectors. The fingerprint is a sum over the
//! eight-byte words that are not zero, so that a write costs what it touches and not the whole file.

use super::clock::mix;

/// What a disk writes whole or not at all, in bytes.
pub(super) const SECTOR_BYTES: usize = 512;

/// The contents of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    bytes: Vec<u8>,
    sum: u64,
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let sum = words_sum(&bytes, 0, bytes.len());
        Self { bytes, sum }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The same for equal contents, and different for different ones but for a chance of 2^-64.
    pub(super) fn fingerprint(&self) -> u64 {
        mix(self.sum ^ mix(self.bytes.len() as u64))
    }

    /// Writes at `offset`; a gap before it reads as zeros. No bytes, no change.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset.saturating_add(bytes.len());
        let before = words_sum(&self.bytes, offset, end);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(target) = self.bytes.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
        let after = words_sum(&self.bytes, offset, end);
        self.sum = self.sum.wrapping_sub(before).wrapping_add(after);
    }

    /// Cuts, or extends with zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        let before = words_sum(&self.bytes, len, self.bytes.len().max(len));
        self.bytes.resize(len, 0);
        let after = words_sum(&self.bytes, len, len);
        self.sum = self.sum.wrapping_sub(before).wrapping_add(after);
    }
}

/// The sum over the words that `from..to` touches, as far as there are bytes; the last word is filled up with
/// zeros. With `from` equal to `to`: the word that ends there unfinished, if one does.
fn words_sum(bytes: &[u8], from: usize, to: usize) -> u64 {
    let start = from / 8 * 8;
    let end = to.next_multiple_of(8).min(bytes.len());
    let (words, rest) = bytes.get(start..end).unwrap_or_default().as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let mut sum = 0u64;
    for (index, word) in ((start / 8) as u64..).zip(words.iter().chain([&last])) {
        let word = u64::from_le_bytes(*word);
        if word != 0 {
            sum = sum.wrapping_add(mix(word ^ mix(index)));
        }
    }
    sum
}

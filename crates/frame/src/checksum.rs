//! The two checks: CRC-32C over what is framed, XXH3-128 over what a batch contains.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// CRC-32C (Castagnoli) of `bytes`, by the processor's instruction where it has one.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC-32C of what was summed in `crc` followed by `bytes`.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// Digest of a batch's contents: XXH3-128 over the bodies of its item frames, in order. It tells two
/// contents under one id apart; it is no defence against somebody who forges one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 16]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Sums up a [`Digest`] as bodies are appended.
#[derive(Clone, Default)]
pub struct Digester(Xxh3);

impl Digester {
    /// Starts with nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(self.0.digest128().to_le_bytes())
    }
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digester({})", self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_castagnoli() {
        // The check value of RFC 3720, appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_append(crc32c(b"1234"), b"56789"), 0xe306_9283);
    }

    #[test]
    fn digest_depends_on_the_bytes_alone() {
        let mut whole = Digester::new();
        whole.update(b"abcdef");
        let mut pieces = Digester::new();
        pieces.update(b"abc");
        pieces.update(b"def");
        assert_eq!(whole.finish(), pieces.finish());
        assert_ne!(whole.finish(), Digester::new().finish());
    }
}

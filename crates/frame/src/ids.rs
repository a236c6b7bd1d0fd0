//! The identities of design: batch, producer, submission, queue and key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest queue name, in bytes.
pub const QUEUE_NAME_BYTES_MAX: usize = 64;
/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// A name, key or id that breaks its rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not a queue name.
    #[error(
        "'{0}' is not a queue name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit"
    )]
    Queue(String),
    /// A key that is too long.
    #[error("key of {0} bytes is longer than 255")]
    Key(usize),
    /// Not an id.
    #[error("'{0}' is not an id: 32 hexadecimal digits, with or without hyphens")]
    Id(String),
}

/// Identity of a batch: a UUIDv7, kept for life, across retries and restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId([u8; 16]);

impl BatchId {
    /// Makes a UUIDv7 from a time in milliseconds since 1970 and random bytes.
    #[must_use]
    pub fn new(unix_millis: u64, random: [u8; 10]) -> Self {
        Self(
            *uuid::Builder::from_unix_timestamp_millis(unix_millis, &random)
                .as_uuid()
                .as_bytes(),
        )
    }

    /// A UUIDv7 that is higher than this one, by at least one and at most `step` more: of the same millisecond,
    /// unless that has no higher one.
    #[must_use]
    pub const fn next(&self, step: u32) -> Self {
        // 48 bits of time, 4 of version, 12 random ones, 2 of variant, 62 random ones.
        const LOW: u128 = (1 << 62) - 1;
        let id = u128::from_be_bytes(self.0);
        let random = (((id >> 64) & 0xfff) << 62) | (id & LOW);
        let random = random + 1 + step as u128;
        let millis = (id >> 80) + (random >> 74);
        let high = (random >> 62) & 0xfff;
        let next = (millis << 80) | (7 << 76) | (high << 64) | (2 << 62) | (random & LOW);
        Self(next.to_be_bytes())
    }

    /// Takes the 16 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Identity of a producer: what numbers its submissions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId([u8; 16]);

impl ProducerId {
    /// Takes the 16 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Derives the producer of an external key (`--id`, `Idempotency-Key`): the same text always gives the
    /// same producer.
    #[must_use]
    pub fn of_external_key(key: &[u8]) -> Self {
        let mut digester = crate::Digester::new();
        digester.update(b"batchd external key\0");
        digester.update(key);
        Self(
            *uuid::Builder::from_custom_bytes(digester.finish().0)
                .as_uuid()
                .as_bytes(),
        )
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

macro_rules! uuid_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                match Uuid::try_parse(text) {
                    Ok(id) => Ok(Self(*id.as_bytes())),
                    Err(_) => Err(NameError::Id(excerpt(text))),
                }
            }
        }
        /// Text where the format is for people, 16 bytes where it is not.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    Deserialize::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}
uuid_text!(BatchId);
uuid_text!(ProducerId);

/// What makes a repeated submission recognisable: who sent it and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubmissionId {
    /// Who.
    pub producer: ProducerId,
    /// The producer's own number for it; never used twice for different items.
    pub sequence: u64,
}

/// The name of a queue: 1 to 64 of `a-z 0-9 . _ -`, the first a letter or digit. Safe as a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct QueueName(String);

impl QueueName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError::Queue`] where it breaks the rule.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let first = name.bytes().next();
        let valid = name.len() <= QUEUE_NAME_BYTES_MAX
            && first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && name.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
            });
        if valid {
            Ok(Self(name))
        } else {
            Err(NameError::Queue(excerpt(&name)))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for QueueName {
    /// `default`: the queue of those who name none.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl TryFrom<String> for QueueName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}
impl From<QueueName> for String {
    fn from(name: QueueName) -> Self {
        name.0
    }
}
/// Only looked at where it lies, and copied when it is known to be a name: a text that owns itself would be given the
/// memory that its length asks for before a byte of it is read.
impl<'de> Deserialize<'de> for QueueName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl serde::de::Visitor<'_> for Name {
            type Value = QueueName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a queue name")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<QueueName, E> {
                QueueName::new(name).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}
impl FromStr for QueueName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}
impl std::borrow::Borrow<str> for QueueName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Partition of a queue: any bytes, at most 255. The empty key is that of items without one.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Checks a key.
    ///
    /// # Errors
    /// [`NameError::Key`] where it is longer than 255 bytes.
    pub fn new(key: impl Into<Vec<u8>>) -> Result<Self, NameError> {
        let key = key.into();
        if key.len() <= KEY_BYTES_MAX {
            Ok(Self(key))
        } else {
            Err(NameError::Key(key.len()))
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the key of items without one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// The start of a text that came from outside, short enough for a message.
fn excerpt(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_names_are_safe_file_names() {
        for good in ["a", "0", "logs.eu-1_x", &"q".repeat(64)] {
            assert_eq!(QueueName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "A",
            "a/b",
            "a b",
            "ä",
            "a\0",
            &"q".repeat(65),
        ] {
            assert!(QueueName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn batch_ids_sort_by_time_and_read_back() {
        let early = BatchId::new(1_000, [0xff; 10]);
        let late = BatchId::new(1_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.to_string().parse::<BatchId>(), Ok(early));
        assert_eq!(Uuid::from_bytes(*late.as_bytes()).get_version_num(), 7);
        assert!("xyz".parse::<BatchId>().is_err());
    }

    #[test]
    fn the_next_batch_id_is_higher_and_a_uuid_v7() {
        for random in [[0; 10], [0x5a; 10], [0xff; 10]] {
            for step in [0, 1, u32::MAX] {
                let id = BatchId::new(1_000, random);
                let next = id.next(step);
                assert!(next > id, "{next} {id}");
                let uuid = Uuid::from_bytes(*next.as_bytes());
                assert_eq!(uuid.get_version_num(), 7);
                assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
                let is_same = next < BatchId::new(1_001, [0; 10]);
                assert_eq!(is_same, random != [0xff; 10]);
                assert!(next < BatchId::new(1_002, [0; 10]));
            }
        }
    }

    #[test]
    fn an_external_key_names_one_producer() {
        assert_eq!(
            ProducerId::of_external_key(b"a"),
            ProducerId::of_external_key(b"a")
        );
        assert_ne!(
            ProducerId::of_external_key(b"a"),
            ProducerId::of_external_key(b"b")
        );
    }

    #[test]
    fn keys_have_a_bound() {
        assert!(Key::new(vec![0xff; 255]).is_ok());
        assert_eq!(Key::new(vec![0; 256]), Err(NameError::Key(256)));
    }
}

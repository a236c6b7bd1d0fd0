//! The encodings, and their names in configuration.

use std::fmt;

/// How the items of a batch are written one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// Each item and a newline. All else, also carriage returns, NUL and what is not UTF-8, passes as it is.
    ///
    /// An item with a newline in it is as [`Unencodable`] says. `escape`: each newline becomes the two
    /// characters `\n`, nothing else changes, backslashes neither; a reader cannot tell it from an item that
    /// held those two characters. `base64`: the line is `base64:` and the item in standard base64, and so is
    /// that of an item that begins with `base64:` itself. A reader then gets every item back: split at
    /// newlines (and at nothing else), decode the lines that begin with `base64:`.
    #[default]
    Lines,
    /// One JSON text and a newline for each item.
    ///
    /// An item that is a JSON text is written as it is, but for line breaks between its tokens: those become
    /// spaces. Any other is as [`Unencodable`] says: a JSON string of it where it is UTF-8 (`escape`), else
    /// `{"base64":"…"}`. A reader cannot tell these from an item that was such a JSON text itself.
    ///
    /// What common JSON readers refuse counts as not JSON, so that no item makes the rest unreadable: more
    /// than 100 levels, halves of a surrogate pair, numbers past the range of a double, an empty item.
    Ndjson,
    /// One JSON array of all items, each as in `ndjson`, one a line.
    JsonArray,
    /// The bytes one after another and nothing between: where one item ends is not kept.
    Raw,
    /// The length as 32 bits, little-endian, and then the bytes. A reader gets every item back.
    LengthPrefixed,
}

/// What becomes of an item that an encoding cannot carry as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Unencodable {
    /// Written so that a person can read it.
    #[default]
    Escape,
    /// Written in base64, and marked as such.
    Base64,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Self; 5] = [
        Self::Lines,
        Self::Ndjson,
        Self::JsonArray,
        Self::Raw,
        Self::LengthPrefixed,
    ];

    /// Its name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Ndjson => "ndjson",
            Self::JsonArray => "json-array",
            Self::Raw => "raw",
            Self::LengthPrefixed => "length-prefixed",
        }
    }

    /// What the name of a file in this encoding ends in, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Lines => "txt",
            Self::Ndjson => "ndjson",
            Self::JsonArray => "json",
            Self::Raw | Self::LengthPrefixed => "bin",
        }
    }
}

impl Unencodable {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Escape, Self::Base64];

    /// Its name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Base64 => "base64",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

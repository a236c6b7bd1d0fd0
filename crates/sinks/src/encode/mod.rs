//! How items become bytes in a target, whatever the target is.
//!
//! An encoder streams: a prologue, each item, an epilogue; it holds one item at a time. The same items give
//! the same bytes, always: a sink may compare what it would write with what is there.
//!
//! | encoding | between items | comes back byte for byte |
//! |---|---|---|
//! | `lines`, `escape` | newline | where no item holds the two characters `\n` itself |
//! | `lines`, `base64` | newline | always |
//! | `ndjson`, `json-array` | newline; comma | JSON: the value, not its line breaks; see [`Encoding::Ndjson`] |
//! | `raw` | nothing | only all together |
//! | `length-prefixed` | a length | always |

mod encoder;
mod encoding;
mod json;

pub use encoder::Encoder;
pub use encoding::{Encoding, Unencodable};

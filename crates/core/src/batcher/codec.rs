//! How items become bytes, and bytes items again.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::panics::catch;

/// Any error of what a program brings along.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Encode<T> = dyn Fn(&T, &mut Vec<u8>) -> Result<(), BoxError> + Send + Sync;
type Decode<T> = dyn Fn(&[u8]) -> Result<T, BoxError> + Send + Sync;

/// How items are written and read. What was written once has to be read for as long as it lies in a spool: a program
/// that changes how its items are written goes on reading those of before.
pub struct Codec<T> {
    encode: Arc<Encode<T>>,
    decode: Arc<Decode<T>>,
}

impl<T> Codec<T> {
    /// One made of two functions. `encode` appends the bytes of an item to what it is given; where it fails, what it
    /// appended is cut off again.
    pub fn new(
        encode: impl Fn(&T, &mut Vec<u8>) -> Result<(), BoxError> + Send + Sync + 'static,
        decode: impl Fn(&[u8]) -> Result<T, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            encode: Arc::new(encode),
            decode: Arc::new(decode),
        }
    }

    /// Each item is a JSON document.
    #[must_use]
    pub fn json() -> Self
    where
        T: Serialize + DeserializeOwned,
    {
        Self::new(
            |item, out| Ok(serde_json::to_writer(out, item)?),
            |bytes| Ok(serde_json::from_slice(bytes)?),
        )
    }

    /// Appends the bytes of an item.
    pub(super) fn encode(&self, item: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let start = out.len();
        let encoded = catch(|| (self.encode)(item, out));
        encoded
            .unwrap_or_else(panicked)
            .inspect_err(|_| out.truncate(start))
    }

    /// The item of these bytes.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<T, BoxError> {
        catch(|| (self.decode)(bytes)).unwrap_or_else(panicked)
    }
}

fn panicked<T>(what: String) -> Result<T, BoxError> {
    Err(format!("panicked: {what}").into())
}

impl Codec<Vec<u8>> {
    /// Each item is its bytes.
    #[must_use]
    pub fn bytes() -> Self {
        Self::new(
            |item: &Vec<u8>, out| {
                out.extend_from_slice(item);
                Ok(())
            },
            |bytes| Ok(bytes.to_vec()),
        )
    }
}

impl Codec<String> {
    /// Each item is its text, in UTF-8.
    #[must_use]
    pub fn text() -> Self {
        Self::new(
            |item: &String, out| {
                out.extend_from_slice(item.as_bytes());
                Ok(())
            },
            |bytes| Ok(std::str::from_utf8(bytes)?.to_owned()),
        )
    }
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        Self {
            encode: Arc::clone(&self.encode),
            decode: Arc::clone(&self.decode),
        }
    }
}

impl<T> fmt::Debug for Codec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

//! Where a stream of bytes is cut into items.

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Every line is an item, without its newline. Nothing else about it is changed.
    Lines,
    /// What ends with a NUL byte is an item, without it.
    Null,
    /// All of it is one item.
    Whole,
}

impl Cut {
    /// What ends an item and is no part of it; nothing where only the end of the stream does.
    #[must_use]
    pub const fn delimiter(self) -> Option<u8> {
        match self {
            Self::Lines => Some(b'\n'),
            Self::Null => Some(b'\0'),
            Self::Whole => None,
        }
    }

    /// Bytes that end an item and are no part of it.
    #[must_use]
    pub const fn delimiter_bytes(self) -> u64 {
        self.delimiter().is_some() as u64
    }
}

/// An item that goes on past the longest that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an item is longer than {bytes_max} bytes")]
pub struct ItemTooLong {
    /// The longest that is allowed, in bytes.
    pub bytes_max: u64,
}

/// Cuts a stream that comes in chunks. It keeps no more than one item.
#[derive(Debug)]
pub struct Splitter {
    cut: Cut,
    item_bytes_max: u64,
    /// Start of an item that did not end yet, or the one that was handed on last.
    partial: Vec<u8>,
    is_handed_on: bool,
}

impl Splitter {
    /// For one stream. An item has at most `item_bytes_max` bytes.
    #[must_use]
    pub const fn new(cut: Cut, item_bytes_max: u64) -> Self {
        Self {
            cut,
            item_bytes_max,
            partial: Vec::new(),
            is_handed_on: false,
        }
    }

    /// The next item that ends in the chunk, which is then what is behind it. Nothing where none does: the chunk is
    /// then empty, and what was left of it is the start of an item that goes on in the next.
    ///
    /// # Errors
    /// [`ItemTooLong`].
    pub fn next<'a, 'c: 'a>(
        &'a mut self,
        chunk: &mut &'c [u8],
    ) -> Result<Option<&'a [u8]>, ItemTooLong> {
        if std::mem::take(&mut self.is_handed_on) {
            self.partial.clear();
        }
        let delimiter = self.cut.delimiter();
        let end = delimiter.and_then(|delimiter| memchr::memchr(delimiter, chunk));
        let (head, tail) = chunk.split_at(end.unwrap_or(chunk.len()));
        if (self.partial.len() + head.len()) as u64 > self.item_bytes_max {
            return Err(ItemTooLong {
                bytes_max: self.item_bytes_max,
            });
        }
        *chunk = tail.split_first().map_or(tail, |(_, behind)| behind);
        if end.is_some() && self.partial.is_empty() {
            return Ok(Some(head));
        }
        self.partial.extend_from_slice(head);
        self.is_handed_on = end.is_some();
        Ok(end.map(|_| self.partial.as_slice()))
    }

    /// The last item, where the stream ends without a delimiter. The next stream may begin.
    pub fn end(&mut self) -> Option<Vec<u8>> {
        let handed_on = std::mem::take(&mut self.is_handed_on);
        let partial = std::mem::take(&mut self.partial);
        let is_item = self.cut == Cut::Whole || (!handed_on && !partial.is_empty());
        is_item.then_some(partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], cut: Cut, chunk: usize, max: u64) -> Result<Vec<Vec<u8>>, ItemTooLong> {
        let mut items = Vec::new();
        let mut splitter = Splitter::new(cut, max);
        for mut chunk in bytes.chunks(chunk) {
            while let Some(item) = splitter.next(&mut chunk)? {
                items.push(item.to_vec());
            }
            assert!(chunk.is_empty());
        }
        items.extend(splitter.end());
        Ok(items)
    }

    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        split(bytes, Cut::Lines, 3, 100).expect("short items")
    }

    #[test]
    fn lines_are_kept_as_they_are() {
        assert_eq!(lines(b""), [b""; 0]);
        assert_eq!(lines(b"\n"), [b""]);
        assert_eq!(lines(b"a\r\n\n\xff\0b"), [&b"a\r"[..], b"", b"\xff\0b"]);
        assert_eq!(lines(b"a\nb\n"), [b"a", b"b"]);
    }

    #[test]
    fn an_item_that_is_too_long_is_refused_however_it_comes() {
        for chunk in 1..12 {
            let refused = Err(ItemTooLong { bytes_max: 3 });
            assert_eq!(split(b"a\nbbb\ncccc\nd", Cut::Lines, chunk, 3), refused);
            assert_eq!(split(b"aaaa", Cut::Whole, chunk, 3), refused);
            assert!(split(b"aaa\0bbb", Cut::Null, chunk, 3).is_ok());
        }
    }

    /// Few bytes, so that delimiters are frequent.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"\n\0\ra\xff".as_slice()), 0..60)
    }

    proptest! {
        #[test]
        fn joining_undoes_splitting(bytes in bytes(), chunk in 1usize..20) {
            for (cut, delimiter) in [(Cut::Lines, b'\n'), (Cut::Null, b'\0')] {
                let items = split(&bytes, cut, chunk, 100).expect("short items");
                let mut joined = items.join(&delimiter);
                if bytes.last() == Some(&delimiter) {
                    joined.push(delimiter);
                }
                prop_assert_eq!(&joined, &bytes);
            }
            let whole = split(&bytes, Cut::Whole, chunk, 100).expect("a short item");
            prop_assert_eq!(whole, [bytes]);
        }
    }
}

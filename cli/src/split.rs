//! Where a stream of bytes is cut into items.

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Every line is an item, without its newline. Nothing else about it is changed.
    Lines,
    /// What ends with a NUL byte is an item, without it.
    Null,
    /// All of it is one item.
    Whole,
}

impl Mode {
    fn delimiter(self) -> Option<u8> {
        match self {
            Self::Lines => Some(b'\n'),
            Self::Null => Some(b'\0'),
            Self::Whole => None,
        }
    }
}

/// An item is longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong {
    /// Which of this stream, from 1.
    pub(crate) number: u64,
}

/// Cuts one stream, of which it keeps no more than one item.
#[derive(Debug)]
pub(crate) struct Splitter {
    mode: Mode,
    item_bytes_max: usize,
    /// Start of an item that did not end yet.
    partial: Vec<u8>,
    /// Items that ended.
    count: u64,
}

impl Splitter {
    pub(crate) fn new(mode: Mode, item_bytes_max: u64) -> Self {
        Self {
            mode,
            item_bytes_max: usize::try_from(item_bytes_max).unwrap_or(usize::MAX),
            partial: Vec::new(),
            count: 0,
        }
    }

    /// Hands on every item that ends in `chunk`.
    pub(crate) fn push<E: From<TooLong>>(
        &mut self,
        chunk: &[u8],
        mut item: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = chunk;
        if let Some(delimiter) = self.mode.delimiter() {
            while let Some(end) = rest.iter().position(|&byte| byte == delimiter) {
                let (head, tail) = rest.split_at(end);
                rest = tail.split_first().map_or(&[], |(_, tail)| tail);
                self.check(head.len())?;
                if self.partial.is_empty() {
                    item(head)?;
                } else {
                    self.partial.extend_from_slice(head);
                    item(&self.partial)?;
                    self.partial.clear();
                }
                self.count += 1;
            }
        }
        self.check(rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// The stream ended: hands on what did not end with a delimiter.
    pub(crate) fn finish<E>(self, item: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.partial.is_empty() && self.mode != Mode::Whole {
            return Ok(());
        }
        item(&self.partial)
    }

    /// Whether the item that goes on with that many bytes is still short enough.
    fn check(&self, bytes: usize) -> Result<(), TooLong> {
        if self.partial.len() + bytes <= self.item_bytes_max {
            return Ok(());
        }
        Err(TooLong {
            number: self.count + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], mode: Mode, chunk: usize, max: u64) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut items = Vec::new();
        let mut take = |item: &[u8]| {
            items.push(item.to_vec());
            Ok::<_, TooLong>(())
        };
        let mut splitter = Splitter::new(mode, max);
        for chunk in bytes.chunks(chunk) {
            splitter.push(chunk, &mut take)?;
        }
        splitter.finish(take)?;
        Ok(items)
    }

    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        split(bytes, Mode::Lines, 3, 100).expect("short items")
    }

    #[test]
    fn lines_are_kept_as_they_are() {
        assert_eq!(lines(b""), [b""; 0]);
        assert_eq!(lines(b"\n"), [b""]);
        assert_eq!(lines(b"a\r\n\n\xff\0b"), [&b"a\r"[..], b"", b"\xff\0b"]);
        assert_eq!(lines(b"a\nb\n"), [b"a", b"b"]);
    }

    #[test]
    fn the_item_that_is_too_long_is_named_however_it_comes() {
        for chunk in 1..12 {
            let found = split(b"a\nbbb\ncccc\nd", Mode::Lines, chunk, 3);
            assert_eq!(found, Err(TooLong { number: 3 }), "by {chunk}");
            assert_eq!(
                split(b"aaaa", Mode::Whole, chunk, 3),
                Err(TooLong { number: 1 })
            );
            assert!(split(b"aaa\0bbb", Mode::Null, chunk, 3).is_ok());
        }
    }

    /// Few bytes, so that delimiters are frequent.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"\n\0\ra\xff".as_slice()), 0..60)
    }

    proptest! {
        #[test]
        fn joining_undoes_splitting(bytes in bytes(), chunk in 1usize..20) {
            for (mode, delimiter) in [(Mode::Lines, b'\n'), (Mode::Null, b'\0')] {
                let items = split(&bytes, mode, chunk, 100).expect("short items");
                let mut joined = items.join(&delimiter);
                if bytes.last() == Some(&delimiter) {
                    joined.push(delimiter);
                }
                prop_assert_eq!(&joined, &bytes);
            }
            let whole = split(&bytes, Mode::Whole, chunk, 100).expect("a short item");
            prop_assert_eq!(whole, [bytes]);
        }
    }
}

//! Where inputs are cut into items.

use crate::failure::Failure;
use crate::input::Event;

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

/// Cuts inputs, one after the other. It keeps no more than one item.
#[derive(Debug)]
pub(crate) struct Cutter {
    mode: Mode,
    item_bytes_max: u64,
    /// Name of the input.
    input: String,
    /// Start of an item that did not end yet.
    partial: Vec<u8>,
    /// Items of the input that ended.
    count: u64,
}

impl Cutter {
    pub(crate) fn new(mode: Mode, item_bytes_max: u64) -> Self {
        Self {
            mode,
            item_bytes_max,
            input: String::new(),
            partial: Vec::new(),
            count: 0,
        }
    }

    /// Hands on every item that ends with the event.
    ///
    /// # Errors
    /// That of the input, of an item that is longer than allowed, or of `item`.
    pub(crate) fn take(
        &mut self,
        event: Event,
        mut item: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match event {
            Event::Begin(input) => {
                self.input = input;
                self.count = 0;
                Ok(())
            }
            Event::Chunk(chunk) => self.cut(&chunk, item),
            // What did not end with a delimiter ends here.
            Event::End if !self.partial.is_empty() || self.mode == Mode::Whole => {
                item(&std::mem::take(&mut self.partial))
            }
            Event::End => Ok(()),
            Event::Failed(failure) => Err(failure.into()),
        }
    }

    fn cut(
        &mut self,
        chunk: &[u8],
        mut item: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
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

    /// Whether the item that goes on with that many bytes is still short enough.
    fn check(&self, bytes: usize) -> Result<(), Failure> {
        if (self.partial.len() + bytes) as u64 <= self.item_bytes_max {
            return Ok(());
        }
        let number = self.count + 1;
        Err(Failure::ItemTooLarge {
            input: self.input.clone(),
            place: match self.mode {
                Mode::Lines => format!("line {number}"),
                Mode::Null => format!("item {number}"),
                Mode::Whole => "it".to_owned(),
            },
            bytes_max: self.item_bytes_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], mode: Mode, chunk: usize, max: u64) -> Result<Vec<Vec<u8>>, String> {
        let begin = Event::Begin("it".to_owned());
        let chunks = bytes
            .chunks(chunk)
            .map(|chunk| Event::Chunk(chunk.to_vec()));
        let mut items = Vec::new();
        let mut cutter = Cutter::new(mode, max);
        for event in [begin].into_iter().chain(chunks).chain([Event::End]) {
            let cut = cutter.take(event, |item| {
                items.push(item.to_vec());
                Ok(())
            });
            cut.map_err(|error| error.to_string())?;
        }
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
        let refused = |place| {
            Err(format!(
                "it: {place} is longer than the 3 bytes the daemon takes"
            ))
        };
        for chunk in 1..12 {
            let found = split(b"a\nbbb\ncccc\nd", Mode::Lines, chunk, 3);
            assert_eq!(found, refused("line 3"), "by {chunk}");
            assert_eq!(split(b"aaaa", Mode::Whole, chunk, 3), refused("it"));
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

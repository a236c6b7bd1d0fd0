//! Where inputs are cut into items.

use batchd_client::split::{Cut, Splitter};

use crate::failure::Failure;
use crate::input::Event;

/// Cuts inputs, one after the other. It keeps no more than one item.
#[derive(Debug)]
pub(crate) struct Cutter {
    cut: Cut,
    splitter: Splitter,
    /// Name of the input.
    input: String,
    /// Items of the input that ended.
    count: u64,
}

impl Cutter {
    pub(crate) const fn new(cut: Cut, item_bytes_max: u64) -> Self {
        Self {
            cut,
            splitter: Splitter::new(cut, item_bytes_max),
            input: String::new(),
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
            Event::End => self.splitter.end().map_or(Ok(()), |last| item(&last)),
            Event::Failed(failure) => Err(failure.into()),
        }
    }

    fn cut(
        &mut self,
        mut chunk: &[u8],
        mut item: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        loop {
            match self.splitter.next(&mut chunk) {
                Ok(Some(found)) => item(found)?,
                Ok(None) => return Ok(()),
                Err(too_long) => return Err(self.name(too_long.bytes_max).into()),
            }
            self.count += 1;
        }
    }

    /// Says which item is too long.
    fn name(&self, bytes_max: u64) -> Failure {
        let number = self.count + 1;
        Failure::ItemTooLarge {
            input: self.input.clone(),
            place: match self.cut {
                Cut::Lines => format!("line {number}"),
                Cut::Null => format!("item {number}"),
                Cut::Whole => "it".to_owned(),
            },
            bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8], cut: Cut, chunk: usize, max: u64) -> Result<Vec<Vec<u8>>, String> {
        let begin = || Event::Begin("it".to_owned());
        let chunks = bytes
            .chunks(chunk)
            .map(|chunk| Event::Chunk(chunk.to_vec()));
        let mut items = Vec::new();
        let mut cutter = Cutter::new(cut, max);
        // The same twice: nothing of an input is taken over into the next.
        let events = [begin()].into_iter().chain(chunks).chain([Event::End]);
        for event in [begin(), Event::End].into_iter().chain(events) {
            let cut = cutter.take(event, |item| {
                items.push(item.to_vec());
                Ok(())
            });
            cut.map_err(|error| error.to_string())?;
        }
        Ok(items)
    }

    #[test]
    fn every_input_ends_its_last_item() {
        let lines = split(b"a\nb", Cut::Lines, 2, 3).expect("short items");
        assert_eq!(lines, [b"a", b"b"]);
        let whole = split(b"a\nb", Cut::Whole, 2, 3).expect("short items");
        assert_eq!(whole, [&b""[..], b"a\nb"]);
    }

    #[test]
    fn the_item_that_is_too_long_is_named_however_it_comes() {
        let refused = |place| {
            Err(format!(
                "it: {place} is longer than the 3 bytes the daemon takes"
            ))
        };
        for chunk in 1..12 {
            let found = split(b"a\nbbb\ncccc\nd", Cut::Lines, chunk, 3);
            assert_eq!(found, refused("line 3"), "by {chunk}");
            assert_eq!(split(b"aaaa", Cut::Whole, chunk, 3), refused("it"));
            assert!(split(b"aaa\0bbb", Cut::Null, chunk, 3).is_ok());
        }
    }
}

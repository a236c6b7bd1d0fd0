//! The items of several runs of a sealed batch, one after another.

use std::vec;

use super::sealed::{GoneBad, GoodRange, ItemReader, SealedFile};

/// Items of runs that an inspection named, each frame verified again before its items are given.
#[derive(Debug)]
pub struct Items {
    file: SealedFile,
    ranges: vec::IntoIter<GoodRange>,
    current: Option<ItemReader>,
}

impl Items {
    /// Of these runs of a file.
    #[must_use]
    pub fn new(file: &SealedFile, ranges: Vec<GoodRange>) -> Self {
        Self {
            file: file.clone(),
            ranges: ranges.into_iter(),
            current: None,
        }
    }

    /// The runs that are not begun.
    #[must_use]
    pub fn ranges(&self) -> &[GoodRange] {
        self.ranges.as_slice()
    }

    /// The next item; nothing at the end of the last run.
    ///
    /// # Errors
    /// [`GoneBad`] where a frame changed since the inspection.
    pub fn next_item(&mut self) -> Result<Option<&[u8]>, GoneBad> {
        loop {
            let has_more = match &mut self.current {
                None => false,
                Some(reader) => reader.has_more()?,
            };
            if has_more {
                let Some(reader) = &mut self.current else {
                    return Ok(None);
                };
                return reader.next_item();
            }
            match self.ranges.next() {
                None => return Ok(None),
                Some(range) => self.current = Some(self.file.items(range)),
            }
        }
    }
}

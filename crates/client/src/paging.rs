//! Where a listing that is read page by page stands.

use std::vec;

use crate::error::{Error, ProtocolError};

/// A page as it was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T, C> {
    pub(crate) entries: Vec<T>,
    /// Where the page after it begins, if there is one.
    pub(crate) next: Option<C>,
}

/// The page that was read last, and where the next one begins. That moves only with an answer: whoever stops waiting
/// for one asks for the same page again.
#[derive(Debug)]
pub(crate) struct Pages<T, C> {
    page: vec::IntoIter<T>,
    next: Option<C>,
}

impl<T, C: Clone + PartialEq> Pages<T, C> {
    /// Nothing read yet; the first page begins at `first`.
    pub(crate) fn new(first: C) -> Self {
        Self {
            page: Vec::new().into_iter(),
            next: Some(first),
        }
    }

    /// What is next on the page that was read last.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.page.next()
    }

    /// Where the next page begins, if there is one.
    pub(crate) fn cursor(&self) -> Option<C> {
        self.next.clone()
    }

    /// That page was answered. There is none after an error.
    ///
    /// # Errors
    /// That of the answer; [`ProtocolError::CursorStuck`].
    pub(crate) fn turned(&mut self, got: Result<Page<T, C>, Error>) -> Result<(), Error> {
        let asked = self.next.take();
        let page = got?;
        check_moves(asked.as_ref(), page.next.as_ref())?;
        self.page = page.entries.into_iter();
        self.next = page.next;
        Ok(())
    }
}

/// Checks that the page after the one that was asked for is another one.
pub(crate) fn check_moves<C: PartialEq>(
    asked: Option<&C>,
    next: Option<&C>,
) -> Result<(), ProtocolError> {
    if next.is_some() && next == asked {
        return Err(ProtocolError::CursorStuck);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(entries: &[char], next: Option<u64>) -> Result<Page<char, u64>, Error> {
        let entries = entries.to_vec();
        Ok(Page { entries, next })
    }

    #[test]
    fn the_cursor_moves_with_an_answer_and_not_before() {
        let mut pages = Pages::new(0);
        assert_eq!((pages.pop(), pages.cursor()), (None, Some(0)));
        assert_eq!(pages.cursor(), Some(0), "again");
        assert!(pages.turned(page(&['a', 'b'], Some(7))).is_ok());
        assert_eq!(
            [pages.pop(), pages.pop(), pages.pop()],
            [Some('a'), Some('b'), None]
        );
        assert_eq!(pages.cursor(), Some(7));
        assert!(pages.turned(page(&[], None)).is_ok());
        assert_eq!((pages.pop(), pages.cursor()), (None, None));
    }

    #[test]
    fn there_is_no_page_after_an_error() {
        for got in [Err(Error::GivenUp), page(&['a'], Some(7))] {
            let mut pages = Pages::new(7);
            assert!(pages.turned(got).is_err());
            assert_eq!((pages.pop(), pages.cursor()), (None, None));
        }
    }
}

//! Where a listing that is read page by page stands.

use std::vec;

use crate::error::Error;

/// The page that was read last, and where the next one begins. That moves only with an answer: whoever stops waiting
/// for one asks for the same page again.
#[derive(Debug)]
pub(crate) struct Pages<T, C> {
    page: vec::IntoIter<T>,
    next: Option<C>,
}

impl<T, C: Clone> Pages<T, C> {
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

    /// The next page was answered: what is on it, and where the one after it begins. After an error there is none.
    pub(crate) fn turned(&mut self, got: Result<(Vec<T>, Option<C>), Error>) -> Result<(), Error> {
        self.next = None;
        let (page, next) = got?;
        self.page = page.into_iter();
        self.next = next;
        Ok(())
    }
}

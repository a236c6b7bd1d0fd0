//! Where a listing that is read page by page stands.

/// Where the next page begins.
#[derive(Debug)]
pub(crate) enum NextPage<T> {
    At(T),
    None,
}

impl<T> NextPage<T> {
    /// The next page, if there is one; there is none after it until [`NextPage::set`] says so.
    pub(crate) fn take(&mut self) -> Option<T> {
        match std::mem::replace(self, Self::None) {
            Self::At(cursor) => Some(cursor),
            Self::None => None,
        }
    }

    pub(crate) fn set(&mut self, next: Option<T>) {
        *self = next.map_or(Self::None, Self::At);
    }
}

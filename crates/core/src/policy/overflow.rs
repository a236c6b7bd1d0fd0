//! What a queue may hold, and what happens when it holds that much: pure functions of counts.

/// What becomes of a submission for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// It is refused; the client may try again.
    #[default]
    Reject,
    /// It waits until there is room.
    Block,
    /// It waits until the oldest batches of its queue were dropped, on the record.
    DropOldest,
}

/// A number of items with the sum of their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Items.
    pub items: u64,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
}

impl Load {
    /// Nothing.
    pub const NONE: Self = Self { items: 0, bytes: 0 };

    /// Both together.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            items: self.items.saturating_add(more.items),
            bytes: self.bytes.saturating_add(more.bytes),
        }
    }

    /// The one less the other.
    #[must_use]
    pub const fn less(self, part: Self) -> Self {
        Self {
            items: self.items.saturating_sub(part.items),
            bytes: self.bytes.saturating_sub(part.bytes),
        }
    }
}

/// What the batches of a queue may hold together, open and ready. What is `None` is not bounded. Dead batches do
/// not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Most bytes of items.
    pub bytes: Option<u64>,
    /// Most items.
    pub items: Option<u64>,
}

/// Which bound of a quota stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// The bound on items, which is this.
    Items(u64),
    /// The bound on bytes, which is this.
    Bytes(u64),
}

impl Quota {
    /// Checks that a queue that holds `held` may take `more`: the bounds are reached and never crossed.
    ///
    /// # Errors
    /// The bound that stands in the way.
    pub fn check(&self, held: Load, more: Load) -> Result<(), Exceeded> {
        let after = held.plus(more);
        match (self.items, self.bytes) {
            (Some(max), _) if after.items > max => Err(Exceeded::Items(max)),
            (_, Some(max)) if after.bytes > max => Err(Exceeded::Bytes(max)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(held: (u64, u64), more: (u64, u64), expected: Result<(), Exceeded>) {
        let quota = Quota {
            bytes: Some(100),
            items: Some(10),
        };
        let load = |(items, bytes)| Load { items, bytes };
        assert_eq!(quota.check(load(held), load(more)), expected);
        assert_eq!(Quota::default().check(load(held), load(more)), Ok(()));
    }

    #[test]
    fn bounds_are_reached_and_never_crossed() {
        check((0, 0), (10, 100), Ok(()));
        check((9, 99), (1, 1), Ok(()));
        check((9, 99), (1, 2), Err(Exceeded::Bytes(100)));
        check((10, 10), (1, 0), Err(Exceeded::Items(10)));
        check((10, 100), (1, 1), Err(Exceeded::Items(10)));
        check((10, 100), (0, 0), Ok(()));
        check((u64::MAX, 0), (1, 0), Err(Exceeded::Items(10)));
    }
}

//! The page whose commands need a systemd. `tests/systemd` runs them, and `tests/docs` leaves them to it.

use crate::markdown::Block;

/// The page.
pub const BOOTED_PAGE: &str = "docs/systemd.md";

/// The name of a block of it, by which the checks in the container run it.
#[must_use]
pub fn booted(block: &Block) -> Option<&str> {
    block.comment.as_deref()?.strip_prefix("booted: ")
}

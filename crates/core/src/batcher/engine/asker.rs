//! Who is told what became of an item.

use std::sync::mpsc::Sender;

use crate::batcher::error::{Accepted, AddFailure, NotAdded, Refused};

/// Who is told what became of an item.
pub(in crate::batcher) enum Asker<I> {
    /// One who waits for it.
    Waits(Sender<Result<Accepted, NotAdded<I>>>),
    /// One who wants to know of failures.
    OfFailures(Sender<AddFailure<I>>),
    /// Nobody.
    Nobody,
}

/// An item on its way in.
pub(in crate::batcher) struct Adding<I> {
    pub(in crate::batcher) item: I,
    pub(in crate::batcher) asker: Asker<I>,
}

impl<I> Adding<I> {
    pub(in crate::batcher) fn refuse(self, why: Refused) {
        let item = Some(self.item);
        self.asker.tell(Err(NotAdded { item, why }));
    }
}

impl<I> Asker<I> {
    pub(super) fn tell(&self, result: Result<Accepted, NotAdded<I>>) {
        // Who does not listen any more need not know.
        match self {
            Self::Waits(sender) => drop(sender.send(result)),
            Self::OfFailures(sender) => match result {
                Ok(Accepted::Held | Accepted::Flushed) => {}
                Ok(Accepted::FlushFailed(error)) => {
                    drop(sender.send(AddFailure::FlushFailed(error)));
                }
                Err(not_added) => drop(sender.send(AddFailure::NotAdded(not_added))),
            },
            // What goes wrong is reported as trouble.
            Self::Nobody => {}
        }
    }
}

/// An item that was added and is not answered.
pub(super) struct Unanswered<I> {
    pub(super) adding: Adding<I>,
    pub(super) outcome: Accepted,
}

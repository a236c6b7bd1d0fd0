//! Who is told what becomes of batches, and how the state of a queue is told from another.

use batchd_frame::QueueName;
use serde::{Deserialize, Serialize};

use super::commit::Commit;
use crate::spool::layout::{Place, ReadyBatch};
use crate::spool::ledger::{LedgerLine, LedgerPrint};

/// Is told what becomes of batches, once it is durable and before anybody else can see it. It is called on the
/// threads that seal and deliver, without the lock of the queue: it must not block, and cannot fail.
pub trait BatchEvents: Send + Sync + std::fmt::Debug {
    /// A batch lies sealed in a directory: it was closed, or moved.
    fn placed(&self, queue: &QueueName, batch: &ReadyBatch);

    /// A line was entered in the ledger of that [number](crate::spool::ledger::Ledger::number).
    fn recorded(&self, queue: &QueueName, line: &LedgerLine, ledger_number: u64);
}

/// What a queue holds, in few bytes: two that differ have different ones. Open batches are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePrint {
    queue: QueueName,
    ready: PlacePrint,
    dead: PlacePrint,
    ledger: LedgerPrint,
}

/// The batches in one place: how many, and a sum over their names that does not depend on the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct PlacePrint {
    count: u64,
    sum: u128,
}

impl PlacePrint {
    fn of<'a>(batches: impl Iterator<Item = &'a ReadyBatch>) -> Self {
        batches.fold(Self::default(), |print, batch| {
            let name = &batch.name;
            let id = u128::from_le_bytes(*name.id.as_bytes());
            // Numbers that differ in one of them must not make up for it in another.
            let numbers = [name.seq, name.items, name.bytes, name.expires_at];
            let mixed = numbers.iter().fold(id, |mixed, number| {
                mixed.rotate_left(31).wrapping_mul(ODD) ^ u128::from(*number)
            });
            Self {
                count: print.count + 1,
                sum: print.sum.wrapping_add(mixed),
            }
        })
    }
}

/// Any odd number with its bits well spread.
const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl<T: Clone> Commit<T> {
    /// What the queue holds. Taken at the start, before anything runs, and at the end, when nothing runs any more.
    #[must_use]
    pub fn print(&self) -> QueuePrint {
        let ledger = self.ledger().print();
        let queue = self.lock();
        // One that could not be renamed is delivered from `open/`, and has this name only at the next start.
        let ready = queue.ready().filter(|batch| batch.place == Place::Ready);
        QueuePrint::new(self.name().clone(), ready, queue.dead(), ledger)
    }

    /// The ledger's [number](crate::spool::ledger::Ledger::number).
    #[must_use]
    pub fn ledger_number(&self) -> u64 {
        self.ledger().number()
    }

    pub(super) fn tell_placed(&self, batch: &ReadyBatch) {
        if let Some(events) = &self.events {
            events.placed(self.name(), batch);
        }
    }

    pub(super) fn tell_recorded(&self, line: &LedgerLine, ledger_number: u64) {
        if let Some(events) = &self.events {
            events.recorded(self.name(), line, ledger_number);
        }
    }
}

impl QueuePrint {
    /// Of a queue with these sealed batches, in whatever order, and this ledger.
    #[must_use]
    pub fn new<'a>(
        queue: QueueName,
        ready: impl Iterator<Item = &'a ReadyBatch>,
        dead: impl Iterator<Item = &'a ReadyBatch>,
        ledger: LedgerPrint,
    ) -> Self {
        Self {
            queue,
            ready: PlacePrint::of(ready),
            dead: PlacePrint::of(dead),
            ledger,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::layout::ReadyName;
    use batchd_frame::BatchId;

    fn batch(seq: u64, id: u8) -> ReadyBatch {
        ReadyBatch {
            name: ReadyName {
                seq,
                items: 1,
                bytes: 2,
                expires_at: 3,
                id: BatchId::from_bytes([id; 16]),
            },
            place: Place::Ready,
        }
    }

    #[test]
    fn a_print_depends_on_the_names_and_not_on_their_order() {
        let print = |batches: &[ReadyBatch]| PlacePrint::of(batches.iter());
        let (one, two) = (batch(1, 1), batch(2, 2));
        assert_eq!(print(&[one, two]), print(&[two, one]));
        assert_ne!(print(&[one, two]), print(&[batch(2, 1), batch(1, 2)]));
        assert_ne!(print(&[one]), print(&[one, two]));
        assert_ne!(print(&[one]), print(&[two]));
    }
}

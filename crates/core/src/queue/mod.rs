//! One queue: a state machine without threads, and the commit over it.
//!
//! [`state::Queue`] takes submissions (`begin`), plans the writes of the next group (`plan`), and is told how
//! they went (`complete`). The writes themselves happen in between, without its lock: [`group::Group::run`].
//! [`commit::Commit`] puts a lock around it, and lets whoever comes first lead the commit for all.
//! Sealing and making files ahead ([`keep`]), making batches whole ([`create`]), making room (`overflow`), expiry
//! ([`expiry`]) and delivery ([`attempt`], [`delivery`]) follow the same pattern: take a job under the lock, do its I/O
//! without, report the result.

pub mod attempt;
mod audit;
mod awaited;
mod beats;
mod begin;
pub mod claim;
pub mod cleaner;
pub mod commit;
mod complete;
pub mod create;
pub mod delivery;
mod due;
pub mod expiry;
pub mod group;
pub mod incoming;
pub mod keep;
mod lanes;
mod observe;
mod overflow;
mod pending;
mod plan;
pub mod recall;
mod slots;
pub mod state;
mod watched;

pub use attempt::{AttemptState, Attempted, Parcel};
pub use awaited::WAITING_MAX;
pub use beats::Looked;
pub use claim::{Claim, NotClaimed};
pub use commit::{Commit, Led};
pub use create::{CreateError, Creation};
pub use delivery::FinishError;
pub use incoming::{Ack, Answer, Begun, Failure, Incoming, Refusal};
pub use observe::{BatchEvents, QueuePrint};
pub use state::{Counters, OPEN_BATCHES_MAX, OpenView, PRODUCER_WINDOW, Queue, QueueOptions};
pub use watched::FlushWatch;

//! What the tests of the engine share: a spool on the simulated disk that is driven by a script, a sink that
//! remembers what it was given, and the book in which both are compared.
//!
//! A script is steps separated by `;`:
//!
//! | step | does |
//! |---|---|
//! | `submit KEY COUNT SIZE [none\|written] [end]` | begins the next submission: COUNT items of SIZE bytes |
//! | `repeat N [none\|written]` | begins submission N (from 0) again, under its id |
//! | `create KEY COUNT SIZE [MS]` | makes a batch of its own, with a lifespan of MS or the queue's |
//! | `clean` | the cleaner, until it has nothing more to do now |
//! | `touch` | looks for the next batch, as who wants to read it does |
//! | `wall SECONDS` | sets the wall clock, forward or back |
//! | `group` | leads the commit for one group |
//! | `plan`, `land` | the same in two steps, with others in between |
//! | `hold`, `let go` | claims the oldest batch that nobody has, and gives it back |
//! | `lead` | leads the commit until nothing is left |
//! | `keep` | closes what is aged, seals what is closed, makes files ahead |
//! | `flush` | closes all open batches |
//! | `deliver`, `deliver all` | gives the sink the next batch, or all; records and removes it |
//! | `attempt` | gives the sink the next batch and fails to hear its answer: nothing is recorded |
//! | `bury` | sets the next batch aside, as expired |
//! | `wait MS` | moves both clocks |
//! | `stop` | stops cleanly |
//! | `reopen` | drops the process, keeps the disk as it is, and starts again |
//! | `crash` | cuts the power: nothing survives that was not synced; starts again |
//! | `crash SEED` | the same, but anything may survive |
//! | `list` | shows what is there |
//! | `ledger` | shows what is on record |
//! | `full BYTES` | leaves so much room on the disk |
//! | `fail sync N` | the N-th `sync_data` from now fails and leaves clean pages |
//! | `fail write N BYTES` | the N-th write from now finds no space after so many bytes |
//! | `fail rename N` | the N-th rename from now finds no space |
//! | `evict` | reads show what a failed sync has lost |
//! | `readonly` | the disk refuses every change |
//! | `heal` | ends all that |
//! | `heal all` | the same, and finds out that the disk can be written |
//! | `tend` | looks after the room of the spool: the ballast, a disk that was read-only |
//! | `space` | shows how much room there is |
//! | `calls VERB` | counts the calls of a kind so far |

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each test binary uses a part of this; the walks say how far they went"
)]

pub mod book;
pub mod crash;
pub mod world;

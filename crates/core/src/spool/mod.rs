//! The spool on disk: its names, its files, what is found in it after a crash.

pub mod directory;
pub mod frames;
pub mod index;
pub mod items;
pub mod kept;
pub mod layout;
pub mod ledger;
pub mod open;
pub mod progress;
pub mod quarantine;
pub mod reader;
pub mod recovery;
mod replace;
pub mod root;
pub mod sealed;
pub mod space;
pub mod survey;
pub mod verify;
pub mod writer;

pub use layout::{Layout, OpenName, Place, QueueLayout, ReadyBatch, ReadyName};
pub use reader::ReadSpool;
pub use root::{Holder, LockedSpool, SpoolError};

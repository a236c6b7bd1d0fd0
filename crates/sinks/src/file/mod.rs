//! Batches as files: one for each, or all appended to one.
//!
//! Nothing is changed before the first delivery; a look says what it would fail with. A delivery returns when the bytes and the names that lead
//! to them are on the medium; until then a reader sees nothing of it (one file for each batch) or may see
//! the beginning of it (append). Every failure can be tried again, and an attempt that failed takes back what
//! it wrote, unless all but the last sync went well: then the repeat finds it.
//!
//! **One file for each batch.** `path` is a directory; it is created where its parent exists. The steps:
//! write a temporary file in it (`.batchd-<queue>-<process>-<random>.tmp`, so no glob sees it), sync it,
//! rename it to the name made from the batch's id, sync the directory. A crash leaves a temporary file, which
//! the next process removes before its queue's first delivery, or the whole batch. A repeat finds the name
//! taken: the same contents stay untouched; other contents (torn by a crash of the machine, edited) are
//! replaced by the right ones, since one id never names two. A file that a reader took away meanwhile comes
//! again: it has the same name. Several queues may share a directory; two daemons that have queues of the same
//! name should not, as one removes what the other was writing when it starts (that attempt is then repeated).
//!
//! **Append.** `path` is a file. Beside it, `.<name>.batchd` records its length after the last delivery and
//! which deliveries it has. The steps: cut back what an attempt without a record left, append, sync, then
//! replace the record (temporary file, sync, rename, sync of the directory). A crash before the last step
//! leaves more than is recorded, which the next attempt cuts back. So nobody else may append to the file, and
//! it belongs to one queue. Rotating it is fine, by renaming or by truncating, best between deliveries: a
//! file that is shorter than recorded, missing, or another one is continued from where it ends, and what was
//! there before is never cut.

mod append;
mod config;
mod copy;
mod directory;
mod fault;
mod per_batch;
mod record;
mod sink;
mod template;
#[cfg(test)]
mod testing;

pub use config::{ConfigError, FileSinkConfig};
pub use sink::FileSink;
pub use template::TemplateError;

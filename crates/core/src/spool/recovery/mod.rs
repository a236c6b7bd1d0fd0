//! What happens to what a crash left: [`facts`] says what a file in `open/` holds, [`table`] decides, `act`
//! does it, and [`recover`] puts a queue together.
//!
//! Recovery never appends to a file that this process did not write: good frames are copied to a new file
//! under the same id and seq. So the pages that a failed sync left clean but unwritten cannot deceive it, and
//! there is one way to mend a file. It succeeds whatever lies there; what it cannot read it sets aside.

mod act;
pub mod facts;
mod recover;
pub(in crate::spool) mod standing;
pub mod table;

pub use act::OpenBatch;
pub(in crate::spool) use act::each_kept;
pub use recover::{Recollection, Recovered, created_micros, recover};

//! Disks and queues that are full, and disks that cannot be written: what is new is refused or waits, what was
//! acknowledged is delivered, and all goes on by itself when there is room.

mod bench;
mod filled;
mod overflow;
mod read_only;

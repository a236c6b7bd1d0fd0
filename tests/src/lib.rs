//! The harness of the end-to-end tests: it builds the real binaries, runs them in directories of their own and
//! never leaves one behind.
//!
//! A test makes a [`Site`], starts its daemon with [`Site::start`], and looks at what comes out with
//! [`Site::delivered`]. Nothing here sleeps: whatever takes time is polled, with a bound ([`wait_until`]).
//!
//! Variables of the environment: `BATCHD_REQUIRE_SERVICES=1` makes what is missing (strace, systemd) a failure instead of a
//! skipped test; `BATCHD_KILL_ROUNDS` and `BATCHD_DAMAGE_SAMPLES` make those tests so many times as long, or of so
//! many samples.
//!
//! Helpers panic where something that is not under test fails, since there is no other caller than a test.

mod attach;
mod backlog;
mod binaries;
mod booted;
mod cargo;
mod daemon;
mod delivered;
mod disk_calls;
mod markdown;
mod mount;
mod place;
mod poll;
mod random;
mod run;
mod samples;
mod services;
mod site;
pub mod trace;
mod wire;

pub use attach::Tracer;
pub use backlog::make_backlog;
pub use binaries::{Binaries, Libraries, binaries, examples, libraries, planted, workspace};
pub use booted::{BOOTED_PAGE, booted};
pub use cargo::lay_out_cargo;
pub use daemon::{Daemon, Exit, Launch};
pub use delivered::{DeliveredFile, delivered, delivered_files};
pub use disk_calls::{CALLS_MAX, DISK_CALLS};
pub use markdown::{Block, Problem, blocks};
pub use mount::{Disk, Filler, Kind, lead_to};
pub use place::{Place, lines};
pub use poll::{LONG, poll, wait_until};
pub use random::Random;
pub use run::{Output, run};
pub use rustix::process::Signal;
pub use samples::{Sample, samples};
pub use services::{root, service, skip};
pub use site::Site;
pub use wire::{Body, Wire, hello};

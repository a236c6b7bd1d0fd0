//! Exit codes of all of batchd's programs, from sysexits.h, so that scripts and systemd know them.

/// Success.
pub const OK: u8 = 0;
/// A failure with no better name.
pub const FAILURE: u8 = 1;
/// Damage was found: what was asked for was done, and something of the spool cannot be read.
pub const DAMAGED: u8 = 2;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The input can never be taken: do not repeat it.
pub const DATAERR: u8 = 65;
/// What was asked for does not exist.
pub const NOINPUT: u8 = 66;
/// The daemon does not answer.
pub const UNAVAILABLE: u8 = 69;
/// A fault of the program.
pub const SOFTWARE: u8 = 70;
/// Reading or writing failed.
pub const IOERR: u8 = 74;
/// Not now, or not known: try again.
pub const TEMPFAIL: u8 = 75;
/// The other side does not speak this protocol.
pub const PROTOCOL: u8 = 76;
/// Not permitted.
pub const NOPERM: u8 = 77;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;

//! Which calls are followed, and what their arguments are.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::log::{Arg, Call, Unreadable};

/// Calls that are followed.
const FOLLOWED: &[&str] = &[
    "accept4",
    "close",
    "fdatasync",
    "fsync",
    "ftruncate",
    "mkdir",
    "mkdirat",
    "open",
    "openat",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "rename",
    "renameat",
    "renameat2",
    "sendmsg",
    "sendto",
    "unlink",
    "unlinkat",
    "write",
    "writev",
];
/// Calls that could change the spool, or answer, behind the back of this check. None of them is expected.
pub(super) const UNEXPECTED: &[&str] = &[
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "fallocate",
    "io_uring_setup",
    "link",
    "linkat",
    "mmap",
    "openat2",
    "sendfile",
    "sendmmsg",
    "splice",
    "symlink",
    "symlinkat",
    "truncate",
];

/// What strace is to record, for its option `-e trace=`. A question mark passes over what a machine has not.
#[must_use]
pub fn traced() -> String {
    let all = FOLLOWED.iter().chain(UNEXPECTED);
    all.map(|name| format!("?{name}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// The descriptor a call is about.
pub(super) fn descriptor(call: &Call) -> Option<i64> {
    call.arg(0)?.fd()
}

/// An argument that is a number, such as an offset.
pub(super) fn number(call: &Call, index: usize) -> Option<u64> {
    u64::try_from(call.arg(index)?.int()?).ok()
}

/// The bytes that a call writes, or has read.
pub(super) fn written(call: &Call) -> Result<Vec<u8>, Unreadable> {
    let bytes = call.arg(1).map(Arg::bytes).transpose()?;
    Ok(bytes.flatten().unwrap_or_default())
}

/// The paths a call names, made absolute with the directories before them.
pub(super) fn paths(call: &Call) -> Result<Vec<PathBuf>, Unreadable> {
    let (mut found, mut directory) = (Vec::new(), PathBuf::new());
    for arg in call.args() {
        match (arg.bytes()?, arg.shown_path()) {
            (Some(bytes), _) => found.push(directory.join(OsString::from_vec(bytes))),
            (None, Some(path)) => directory = path,
            (None, None) => {}
        }
    }
    Ok(found)
}

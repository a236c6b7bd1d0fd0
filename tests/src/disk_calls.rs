//! Where a program can be killed so that it makes a difference.

/// The system calls that change something on the disk.
pub const DISK_CALLS: [&str; 16] = [
    // Most of these only read.
    "openat",
    "pwrite64",
    "write",
    "writev",
    "pwritev",
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "ftruncate",
    "fallocate",
    "unlink",
    "unlinkat",
    "linkat",
    "mkdir",
];
/// Where a program is killed at more calls of one kind than that, something does not count as it should.
pub const CALLS_MAX: u32 = 1000;

//! What a test needs that not every machine has.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// With this variable set to 1 nothing may be skipped.
const REQUIRE: &str = "BATCHD_REQUIRE_SERVICES";

/// Finds a command. Where it is not there, the test says that it is skipped, and passes.
///
/// # Panics
/// Where it is not there and `BATCHD_REQUIRE_SERVICES=1`.
#[must_use]
#[track_caller]
pub fn service(command: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|dir| dir.join(command))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("{command} is not installed"));
    }
    found
}

/// Whether the test may do what only root may. Where it may not, it says that it is skipped, as with [`service`].
///
/// # Panics
/// Where it may not and `BATCHD_REQUIRE_SERVICES=1`.
#[must_use]
#[track_caller]
pub fn root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("this is not run by root");
    }
    is_root
}

/// Says that the test is skipped, and why.
///
/// # Panics
/// Where `BATCHD_REQUIRE_SERVICES=1`.
#[track_caller]
pub fn skip(why: &str) {
    let required = env::var_os(REQUIRE).is_some_and(|value| value == "1");
    assert!(!required, "{why}, and {REQUIRE} is set");
    writeln!(io::stderr(), "SKIPPED: {why}").expect("stderr");
}

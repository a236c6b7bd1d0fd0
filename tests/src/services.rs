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
        let required = env::var_os(REQUIRE).is_some_and(|value| value == "1");
        assert!(
            !required,
            "{command} is not installed, and {REQUIRE} is set"
        );
        writeln!(io::stderr(), "SKIPPED: {command} is not installed").expect("stderr");
    }
    found
}

//! The unit files.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use batchd_tests::{binaries, run, service};

/// The units, as they are in the workspace.
pub(crate) const UNITS: [&str; 2] = ["batchd.service", "batchd.socket"];
/// Where they expect the daemon.
const INSTALLED: &str = "/usr/bin/batchd";

/// Writes the units to a directory, with the daemon at `batchd` instead of where it is installed.
fn write_units(directory: &Path, batchd: &Path) -> Vec<PathBuf> {
    let tests = env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let batchd = batchd.to_str().expect("a path in UTF-8");
    let mut rewritten = 0;
    let write = |name| {
        let text = fs::read_to_string(Path::new(&tests).join("../systemd").join(name));
        let text = text.expect("a unit");
        rewritten += text.matches(INSTALLED).count();
        let path = directory.join(name);
        fs::write(&path, text.replace(INSTALLED, batchd)).expect("a unit");
        path
    };
    let paths = UNITS.map(write).to_vec();
    assert_eq!(rewritten, 1, "ExecStart= and nothing else names the daemon");
    paths
}

/// What systemd says about units, and whether it accepts them.
fn verify(units: &[PathBuf]) -> Option<(bool, String)> {
    let analyze = service("systemd-analyze")?;
    let mut command = Command::new(analyze);
    // Without the second option, keys that systemd does not know are passed over with a warning.
    command.args(["verify", "--man=no", "--recursive-errors=yes"]);
    let output = run(command.args(units), b"");
    let said = output.text() + &output.stderr;
    Some((output.code == Some(0), said))
}

#[test]
fn systemd_accepts_the_units() {
    let directory = tempfile::tempdir().expect("a directory");
    let units = write_units(directory.path(), &binaries().batchd);
    if let Some(said) = verify(&units) {
        assert_eq!(said, (true, String::new()));
    }
}

/// The test above can fail.
#[test]
fn a_misspelt_key_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let units = write_units(directory.path(), &binaries().batchd);
    let path = units.first().expect("the service");
    let text = fs::read_to_string(path).expect("the service");
    fs::write(path, text.replace("NotifyAccess=", "NotifyAcess=")).expect("the service");
    if let Some((accepted, said)) = verify(&units) {
        assert!(!accepted && said.contains("NotifyAcess"), "{said}");
    }
}

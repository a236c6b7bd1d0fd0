//! A `cargo` that has built everything already, for commands of the documentation.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::binaries::{binaries, cargo, workspace};
use crate::run::run;

const SCRIPT: &str = include_str!("cargo.sh");

/// Lays it out in a directory: `bin/cargo`, and the programs in `built/`, where they may be run as well. What is
/// released is too slow to build for a test, so these are the programs of the other tests; but the packages and
/// programs which are asked for must exist.
///
/// # Panics
/// Where that fails.
pub fn lay_out_cargo(directory: &Path) {
    let built = directory.join("built");
    let script = directory.join("bin/cargo");
    for directory in [&built, &directory.join("bin")] {
        fs::create_dir_all(directory).expect("a directory");
    }
    fs::write(&script, SCRIPT).expect("a script");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("a script");
    fs::write(directory.join("packages"), packages()).expect("a file");
    for program in [&binaries().batchd, &binaries().batchctl] {
        let link = built.join(program.file_name().expect("a name"));
        if fs::hard_link(program, &link).is_err() {
            // On another file system.
            fs::copy(program, link).expect("a program");
        }
    }
}

/// The packages with programs, as the script reads them.
fn packages() -> String {
    let mut command = Command::new(cargo());
    command.args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    command.current_dir(workspace());
    let said = run(&mut command, b"").success().json();
    let said = said.first().expect("what cargo said");
    let root = text(said, "workspace_root");
    let defaults = list(said, "workspace_default_members");
    let packages = list(said, "packages").into_iter().filter_map(|package| {
        let mark = if defaults.iter().any(|id| Some(*id) == package.get("id")) {
            "*"
        } else {
            "-"
        };
        let manifest = Path::new(text(package, "manifest_path"));
        let directory = manifest.parent().and_then(|at| at.strip_prefix(root).ok());
        let directory = directory.expect("a directory of the workspace").display();
        let programs = list(package, "targets").into_iter().filter(|target| {
            let kinds = list(target, "kind");
            kinds.contains(&&Value::from("bin"))
        });
        let programs: Vec<_> = programs.map(|target| text(target, "name")).collect();
        let name = text(package, "name");
        (!programs.is_empty())
            .then(|| format!("{mark} {directory} {name} {}\n", programs.join(" ")))
    });
    packages.collect()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).expect(field)
}

fn list<'v>(value: &'v Value, field: &str) -> Vec<&'v Value> {
    let list = value.get(field).and_then(Value::as_array);
    list.expect(field).iter().collect()
}

//! The units under a systemd that was booted for it: in a container whose `/usr` is that of the machine, read-only but
//! for a layer over `/usr/bin`, and which has nothing else of it. All commands of `docs/systemd.md` are run there.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use batchd_tests::{
    BOOTED_PAGE, Block, blocks, booted, lay_out_cargo, root, run, service, workspace,
};
use tempfile::TempDir;

use crate::units::UNITS;

/// Runs in the container, prints a line for each check, and fails where one does.
const CHECKS: &str = include_str!("checks.sh");

/// Runs the checks, and ends the container with their exit status.
const CHECKS_SERVICE: &str = "\
[Unit]
After=basic.target
Requires=basic.target
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
TimeoutStartSec=60
ExecStart=/bin/bash /checks.sh
StandardOutput=file:/checks.out
StandardError=inherit
";

/// The blocks of the page, by their names.
fn commands() -> Vec<(String, Block)> {
    let page = fs::read_to_string(workspace().join(BOOTED_PAGE)).expect("the page");
    let named = |block: Block| Some((booted(&block)?.to_owned(), block));
    let blocks = blocks(&page).expect("a page");
    blocks.into_iter().filter_map(named).collect()
}

/// Lays out what a systemd needs to boot.
fn lay_out(root: &Path) {
    let write = |name: &str, text: &str| fs::write(root.join(name), text).expect(name);
    for directory in [
        "usr",
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "root",
        "var/lib",
        "var/log/journal",
        "etc/systemd/system",
        "page",
        "checkout/systemd",
        // Laid over `/usr/bin`, where the programs are installed.
        "installed",
    ] {
        fs::create_dir_all(root.join(directory)).expect(directory);
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).expect("tmp");
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link)).expect(link);
    }
    write(
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    );
    write("etc/group", "root:x:0:\nnogroup:x:65534:\n");
    // The user of a service comes from systemd.
    write(
        "etc/nsswitch.conf",
        "passwd: files systemd\ngroup: files systemd\n",
    );
    write("etc/os-release", "ID=test\n");
    write("etc/machine-id", "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e\n");
    write("etc/systemd/system/checks.service", CHECKS_SERVICE);
    write("checks.sh", CHECKS);
    for (name, block) in commands() {
        let file = format!("page/{name}.sh");
        assert!(!root.join(&file).exists(), "two blocks named {name}");
        write(&file, &block.text());
    }
    // What the page's reader has.
    lay_out_cargo(&root.join("cargo"));
    write("checkout/Cargo.toml", "");
    for unit in UNITS {
        let from = workspace().join("systemd").join(unit);
        fs::copy(from, root.join("checkout/systemd").join(unit)).expect(unit);
    }
}

/// Boots it, and gives what the checks and the console said, and whether all was well.
fn boot(nspawn: &Path, root: &Path) -> (bool, String) {
    let installed = root.join("installed");
    // Asked to end it shuts the container down; killed, it would leave its processes.
    let mut command = Command::new("timeout");
    command
        .args(["--signal=TERM", "--kill-after=20", "90"])
        .arg(nspawn)
        .args([
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--private-network",
        ])
        .args(["--console=pipe", "--bind-ro=/usr"])
        .arg(format!("--machine=batchd-{}", std::process::id()))
        .arg(format!("--directory={}", root.display()))
        .arg(format!(
            "--overlay=/usr/bin:{}:/usr/bin",
            installed.display()
        ))
        .args(["systemd.unit=checks.service", "systemd.firstboot=no"]);
    let output = run(&mut command, b"");
    let checks = fs::read_to_string(root.join("checks.out")).unwrap_or_default();
    let console = output.text() + &output.stderr;
    (
        output.code == Some(0),
        format!("{checks}\n--- console\n{console}"),
    )
}

#[test]
fn the_units_under_a_booted_systemd() {
    let Some(nspawn) = service("systemd-nspawn").filter(|_| root()) else {
        return;
    };
    // One at a time on a machine: they would share the name of a control group.
    let lock = File::create(env::temp_dir().join("batchd-tests-nspawn.lock")).expect("lock file");
    lock.lock().expect("lock");
    let dir = TempDir::with_prefix("batchd-").expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a directory");
    lay_out(dir.path());
    let (well, said) = boot(&nspawn, dir.path());
    assert!(well && said.contains("\nall 32 checks passed\n"), "{said}");
}

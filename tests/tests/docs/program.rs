//! Programs in Rust that a page shows: with the crates `batchd-client` and `batchd-core`, and nothing else but the
//! standard library.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use batchd_tests::{Block, Libraries, libraries, run};

/// Compiles the program in a block, or says what the compiler says. What has no `main` is the body of one that may
/// fail.
pub(crate) fn compile(block: &Block, program: &Path) -> Result<(), String> {
    static LIBRARIES: OnceLock<Libraries> = OnceLock::new();
    let Libraries { files, needs } = LIBRARIES.get_or_init(libraries);
    let text = block.text();
    let (begin, end) = if text.contains("fn main(") {
        ("", "")
    } else {
        let main = "fn main() -> Result<(), Box<dyn std::error::Error>> {";
        (main, "Ok(()) }\n")
    };
    // Each line where it stands in the page, so that what is said of a line is true of the page.
    let above = "\n".repeat(block.line.saturating_sub(1));
    let file = program.with_extension("rs");
    fs::write(&file, format!("{above}{begin}\n{text}{end}")).expect("a source");
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(["--edition=2024", "--deny=warnings"]);
    for (name, library) in files {
        command.arg(format!("--extern={name}={}", library.display()));
    }
    command.arg(format!("-Ldependency={}", needs.display()));
    command.arg("-o").arg(program).arg(&file);
    let said = run(&mut command, b"");
    (said.code == Some(0)).then_some(()).ok_or(said.stderr)
}

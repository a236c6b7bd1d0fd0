//! The binaries under test, built once for each test process.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Where the binaries are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The daemon.
    pub batchd: PathBuf,
    /// The command line client.
    pub batchctl: PathBuf,
}

/// Builds the binaries, in the profile and target directory of the running test.
///
/// # Panics
/// Where that fails; cargo has said why.
#[must_use]
pub fn binaries() -> &'static Binaries {
    static BUILT: OnceLock<Binaries> = OnceLock::new();
    BUILT.get_or_init(|| {
        let place = Place::of_this_test();
        let directory = place.build(&place.target, &["-p", "batchd", "-p", "batchctl"]);
        Binaries {
            batchd: directory.join("batchd"),
            batchctl: directory.join("batchctl"),
        }
    })
}

/// Builds a daemon with bugs to be planted by `BATCHD_PLANTED`, in a target directory of its own below the other.
///
/// # Panics
/// As [`binaries`].
#[must_use]
pub fn planted() -> &'static Binaries {
    static BUILT: OnceLock<Binaries> = OnceLock::new();
    BUILT.get_or_init(|| {
        let place = Place::of_this_test();
        let features = ["-p", "batchd", "--features", "batchd/planted-faults"];
        let directory = place.build(&place.target.join("planted"), &features);
        Binaries {
            batchd: directory.join("batchd"),
            ..binaries().clone()
        }
    })
}

/// Builds the examples of the crate `batchd-core`, and returns the directory that they are in.
///
/// # Panics
/// As [`binaries`].
#[must_use]
pub fn examples() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let place = Place::of_this_test();
        let examples = ["-p", "batchd-core", "--examples"];
        place.build(&place.target, &examples).join("examples")
    })
}

/// Libraries, as the compiler takes them.
#[derive(Debug, Clone)]
pub struct Libraries {
    /// The name and the file of each.
    pub files: Vec<(&'static str, PathBuf)>,
    /// Where what they need is.
    pub needs: PathBuf,
}

/// Builds the crates that other programs are written with: `batchd-client` and `batchd-core`.
///
/// # Panics
/// As [`binaries`].
#[must_use]
pub fn libraries() -> Libraries {
    let place = Place::of_this_test();
    // Together, since what both need is built once for both.
    let packages = ["-p", "batchd-client", "-p", "batchd-core"];
    let said = place.run_cargo(
        &place.target,
        &[&packages[..], &["--lib", "--message-format=json"]].concat(),
    );
    let files = ["batchd_client", "batchd_core"].map(|name| {
        let mut messages = said.split(|byte| *byte == b'\n');
        let file = messages.find_map(|message| library(message, name));
        (name, file.expect("a library"))
    });
    Libraries {
        files: files.into(),
        needs: place.target.join(&place.profile).join("deps"),
    }
}

/// The file of the library of that name, if a message of cargo is of that.
fn library(message: &[u8], name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_slice(message).ok()?;
    (message.get("target")?.get("name")? == name).then_some(())?;
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(Value::as_str);
    files
        .find(|file| file.ends_with(".rlib"))
        .map(PathBuf::from)
}

/// The cargo that runs this test.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where this test was built.
struct Place {
    target: PathBuf,
    /// Name of the directory below the target directory.
    profile: String,
}

/// The workspace that is tested. As cargo tells it when the test runs: a test that was built in one checkout may be
/// taken as it is in another one that shares the target directory.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = env::var_os("CARGO_MANIFEST_DIR");
    tests
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
        .join("..")
}

impl Place {
    fn of_this_test() -> Self {
        // <target>/<profile>/deps/<test>
        let test = env::current_exe().expect("path of the test");
        let profile = test.ancestors().nth(2).expect("the profile's directory");
        Self {
            target: profile.parent().expect("the target directory").to_owned(),
            profile: profile
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// Returns the directory of what was built.
    fn build(&self, target: &Path, what: &[&str]) -> PathBuf {
        self.run_cargo(target, what);
        target.join(&self.profile)
    }

    /// Returns what cargo said on standard output.
    fn run_cargo(&self, target: &Path, what: &[&str]) -> Vec<u8> {
        fs::create_dir_all(target).expect("target directory");
        // Cargo's own lock keeps builds apart, but not a build and the start of what another has just built.
        let lock = File::create(target.join("batchd-tests.lock")).expect("lock file");
        lock.lock().expect("lock");
        let profile = if self.profile == "debug" {
            "dev"
        } else {
            &self.profile
        };
        let output = Command::new(cargo())
            .args(["build", "--quiet", "--profile", profile, "--target-dir"])
            .arg(target)
            .args(what)
            .current_dir(workspace())
            .stderr(Stdio::inherit())
            .output()
            .expect("run cargo");
        assert!(output.status.success(), "cargo cannot build {what:?}");
        output.stdout
    }
}

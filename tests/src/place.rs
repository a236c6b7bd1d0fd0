//! A place for pipes, one after another: input, spool and output.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::binaries::{binaries, planted};
use crate::delivered::{delivered, delivered_files};
use crate::run::{Output, run};

/// A directory of its own, removed on drop.
#[derive(Debug)]
pub struct Place {
    root: TempDir,
    /// The bug that the program has on purpose.
    planted: Option<&'static str>,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// Makes the directory, with an empty input.
    ///
    /// # Panics
    /// Where that fails, as all of these.
    #[must_use]
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("input"), "").expect("written");
        Self {
            root,
            planted: None,
        }
    }

    /// With an input file.
    #[must_use]
    pub fn with_input(content: impl AsRef<[u8]>) -> Self {
        let place = Self::new();
        place.append(content);
        place
    }

    /// The program has a bug on purpose.
    #[must_use]
    pub fn planted(mut self, bug: Option<&'static str>) -> Self {
        self.planted = bug;
        self
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The input file.
    #[must_use]
    pub fn input(&self) -> PathBuf {
        self.root().join("input")
    }

    /// The spool.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.root().join("spool")
    }

    /// Where delivered batches go.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.root().join("out")
    }

    /// Adds to the input.
    pub fn append(&self, content: impl AsRef<[u8]>) {
        let file = OpenOptions::new().append(true).open(self.input());
        let written = file.expect("the input").write_all(content.as_ref());
        written.expect("written");
    }

    /// The words of a pipe from here into `out`, with further options, separated by spaces.
    pub fn words(&self, options: &str) -> Vec<OsString> {
        let sink = format!("file:{}", self.out().display());
        let binaries = self.planted.map_or_else(binaries, |_| planted());
        let mut words: Vec<OsString> = vec![binaries.batchd.clone().into(), "pipe".into()];
        words.extend(["--sink".into(), sink.into()]);
        words.extend(["--spool".into(), self.spool().into()]);
        words.extend(options.split_whitespace().map(OsString::from));
        words
    }

    /// A command, with the surroundings of a user whose files are all here.
    pub fn command(&self, words: &[OsString]) -> Command {
        let (program, args) = words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root());
        for variable in ["BATCHD_LOG", "JOURNAL_STREAM", "STATE_DIRECTORY"] {
            command.env_remove(variable);
        }
        // A directory from a service manager goes before those of the system.
        command.env("STATE_DIRECTORY", self.root().join("state"));
        command.envs(self.planted.map(|bug| ("BATCHD_PLANTED", bug)));
        command
    }

    /// Takes in what is given through a pipe.
    pub fn pipe(&self, options: &str, stdin: &[u8]) -> Output {
        run(&mut self.command(&self.words(options)), stdin)
    }

    /// Takes in the input file.
    pub fn take(&self, options: &str) -> Output {
        self.take_with(&self.words(options))
    }

    /// The same, by such a command.
    pub fn take_with(&self, words: &[OsString]) -> Output {
        let done = self
            .command(words)
            .stdin(File::open(self.input()).expect("the input"))
            .output()
            .expect("started");
        Output {
            code: done.status.code(),
            stdout: done.stdout,
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// Begins to take in the input file.
    pub fn start_on_input(&self, options: &str) -> Child {
        self.command(&self.words(options))
            .stdin(File::open(self.input()).expect("the input"))
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    }

    /// Begins to take in what is written to its standard input.
    pub fn start(&self, options: &str) -> Child {
        self.command(&self.words(options))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started")
    }

    /// What was delivered, one batch after another.
    pub fn delivered(&self) -> String {
        String::from_utf8_lossy(&delivered(&self.out())).into_owned()
    }

    /// How many items each batch had.
    pub fn batches(&self) -> Vec<usize> {
        let files = delivered_files(&self.out());
        files.iter().map(|file| file.lines().len()).collect()
    }

    /// What was said, without what differs from run to run.
    pub fn masked(&self, said: &Output) -> String {
        let root = self.root().display().to_string();
        let lines = said.stderr.replace(&root, "ROOT");
        // Lines of the log begin with the time.
        let told = lines.lines().filter(|line| !line.starts_with("20"));
        let told: Vec<_> = told.collect();
        format!("{:?}\n{}", said.code, told.join("\n"))
    }
}

/// Numbered lines.
pub fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("line {number}\n")).collect()
}

//! Runs commands as a newcomer does, and shows what is said in a form that is the same on every machine.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use batchd_tests::{Daemon, Launch, Site, binaries, run, service};

/// Who is not root, where root runs the tests.
const STRANGER: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// A daemon that delivers nothing.
pub(crate) const NO_SINK: &str = "[queues.default]\nsink = \"off\"\n";

/// A place for a daemon, and somebody who tries things there.
pub(crate) struct Bench {
    pub(crate) site: Site,
    /// Who runs the commands.
    who: Who,
}

/// Who runs a command.
enum Who {
    /// Whoever runs the tests.
    Self_,
    /// Somebody else than root: by this wrapper, where root runs the tests.
    Stranger(Vec<OsString>),
}

impl Bench {
    /// As [`Site::new`].
    pub(crate) fn new(config: &str) -> Self {
        Self {
            site: Site::new(config),
            who: Who::Self_,
        }
    }

    /// The same, for somebody who may not do everything. Nothing where that cannot be had.
    pub(crate) fn of_stranger(config: &str) -> Option<Self> {
        let site = Site::new(config);
        let mut wrapper = Vec::new();
        if rustix::process::geteuid().is_root() {
            wrapper.push(service("setpriv")?.into_os_string());
            wrapper.extend(STRANGER.map(OsString::from));
            for dir in [site.root(), &site.out()] {
                allow(dir, 0o777);
            }
            // Those that were built may lie where nobody else may go. Not copied by this process: what another test
            // forks meanwhile would have the copy open for writing, and nothing could run it.
            let mut copy = Command::new("cp");
            copy.args([&binaries().batchd, &binaries().batchctl]);
            run(copy.arg(site.root()), b"").success();
        }
        let who = Who::Stranger(wrapper);
        Some(Self { site, who })
    }

    /// A file in the directory, which may be given as `ROOT/name`.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.site.root().join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// Another configuration than that of the site, as `ROOT/name`. In it `ROOT` stands for the directory.
    pub(crate) fn config(&self, name: &str, text: &str) {
        self.file(name, &self.unmasked(text));
    }

    /// Starts the daemon of the site, as whoever runs the commands.
    pub(crate) fn start(&self) -> Daemon {
        let mut launch = Launch::default();
        if let Who::Stranger(wrapper) = &self.who
            && !wrapper.is_empty()
        {
            launch.wrapper = wrapper.clone();
            launch.batchd = Some(self.program(&binaries().batchd));
        }
        self.site.start_with(&launch)
    }

    /// What a command says: its exit code, and standard error. `ROOT` stands for the directory; the words are
    /// separated by spaces, and the first ones may set variables.
    pub(crate) fn told(&self, line: &str) -> String {
        self.told_of(line, b"")
    }

    /// The same, with that on standard input.
    pub(crate) fn told_of(&self, line: &str, stdin: &[u8]) -> String {
        let said = run(&mut self.command(line), stdin);
        let code = said.code.expect("no signal");
        self.masked(&format!("{code}\n{}", said.stderr))
    }

    /// What each of several commands says, under the command.
    pub(crate) fn all_told(&self, lines: &[&str]) -> String {
        let told = lines
            .iter()
            .map(|line| format!("$ {line}\n{}\n", self.told(line)));
        told.collect()
    }

    /// The command of a line.
    pub(crate) fn command(&self, line: &str) -> Command {
        let line = self.unmasked(line);
        let mut words = line.split(' ').peekable();
        let mut variables = Vec::new();
        while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
            variables.push((name, value));
            words.next();
        }
        let program = match words.next() {
            Some("batchd") => &binaries().batchd,
            Some("batchctl") => &binaries().batchctl,
            other => panic!("{other:?}"),
        };
        let mut all = match &self.who {
            Who::Self_ => Vec::new(),
            Who::Stranger(wrapper) => wrapper.clone(),
        };
        all.push(self.program(program).into_os_string());
        all.extend(words.map(OsString::from));
        let (first, rest) = all.split_first().expect("a program");
        let mut command = Command::new(first);
        // Of a newcomer nothing is set, and the complaints alone are of interest.
        command.args(rest).env_clear().env("BATCHD_LOG", "off");
        command.envs(variables);
        command
    }

    /// What the daemons of the site logged as warnings, without what differs from run to run.
    pub(crate) fn warnings(&self) -> String {
        let log = self.site.log_text();
        let warnings = log.lines().filter_map(|line| line.split_once(" WARN "));
        let warnings: Vec<_> = warnings.map(|(_, text)| self.masked(text)).collect();
        warnings.join("\n")
    }

    /// A text without what differs from run to run.
    pub(crate) fn masked(&self, text: &str) -> String {
        let uid = rustix::process::geteuid().as_raw();
        let uids = [65534, uid].map(|uid| uid.to_string());
        let root = self.site.root().to_str().expect("UTF-8");
        let mut text = text.replace(root, "ROOT");
        for uid in uids {
            for before in ["user ", "-o "] {
                text = text.replace(&format!("{before}{uid} "), &format!("{before}N "));
            }
        }
        mask_ids(&text)
    }

    fn unmasked(&self, text: &str) -> String {
        text.replace("ROOT", self.site.root().to_str().expect("UTF-8"))
    }

    /// The program, where whoever runs the commands may run it.
    fn program(&self, built: &Path) -> PathBuf {
        let copy = self.site.root().join(name(built));
        if copy.exists() {
            copy
        } else {
            built.to_owned()
        }
    }
}

/// Sets the mode of a file or directory.
pub(crate) fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("own");
}

fn name(program: &Path) -> &std::ffi::OsStr {
    program.file_name().expect("a name")
}

/// Replaces what looks like the id of a batch.
fn mask_ids(text: &str) -> String {
    let mut masked = String::new();
    let mut word = String::new();
    let end_word = |word: &mut String, masked: &mut String| {
        // It may stand behind other digits, as in the name of a file.
        let (before, id) = word.split_at(word.len().saturating_sub(36));
        let is_id = id.len() == 36 && id.bytes().filter(|byte| *byte == b'-').count() == 4;
        masked.push_str(before);
        masked.push_str(if is_id { "ID" } else { id });
        word.clear();
    };
    for char in text.chars() {
        if char.is_ascii_hexdigit() || char == '-' {
            word.push(char);
        } else {
            end_word(&mut word, &mut masked);
            masked.push(char);
        }
    }
    end_word(&mut word, &mut masked);
    masked
}

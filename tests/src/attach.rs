//! strace on single threads of a running daemon.
//!
//! It counts the calls of each thread apart, so "the k-th call" means something only for one thread: one that is
//! attached to alone.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

use crate::daemon::Daemon;
use crate::poll::{LONG, wait_until};

/// A strace that is attached; killed on drop, which lets the threads go.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
}

impl Tracer {
    /// Attaches to the threads of that name, with options of strace, as soon as there is one.
    ///
    /// # Panics
    /// Where it cannot attach.
    #[must_use]
    pub fn attach(strace: &Path, daemon: &Daemon, thread: &str, options: &[String]) -> Self {
        let process = daemon.pid();
        let threads = wait_until("a thread of that name", LONG, || {
            Some(threads(process, thread)).filter(|threads| !threads.is_empty())
        });
        let mut command = Command::new(strace);
        command.args(options);
        for thread in &threads {
            command.args(["-p", &thread.to_string()]);
        }
        let said = NamedTempFile::new().expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.reopen().expect("the file"))
            .spawn()
            .expect("start strace");
        let tracer = Self { child };
        // It says so once the thread can take no step without it, which is later than the kernel does.
        wait_until("strace to attach", LONG, || {
            let said = fs::read_to_string(&said).unwrap_or_default();
            let is_attached = |thread: &u32| said.contains(&format!("Process {thread} attached"));
            threads.iter().all(is_attached).then_some(())
        });
        tracer
    }
}

impl Tracer {
    /// Waits until it ends, which it does when what it traces has ended.
    pub fn wait(mut self) {
        wait_until("strace to end", LONG, || {
            self.child.try_wait().expect("wait")
        });
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("wait");
    }
}

fn threads(process: u32, name: &str) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter(|task| {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            comm.trim_end() == name
        })
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

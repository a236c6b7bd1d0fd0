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
use crate::services::service;

/// A strace that is attached; killed on drop, which lets the threads go.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    /// What it recorded, where faults are injected.
    calls: Option<NamedTempFile>,
}

impl Tracer {
    /// Makes calls of the threads of that name fail, each as in `fdatasync:error=EIO:when=2`, for as long as the
    /// tracer lives; only those on one file, where that is given. Nothing where strace is missing.
    ///
    /// # Panics
    /// Where it cannot attach.
    #[must_use]
    pub fn inject(
        daemon: &Daemon,
        thread: &str,
        faults: &[&str],
        file: Option<&Path>,
    ) -> Option<Self> {
        let strace = service("strace")?;
        let calls: Vec<_> = faults
            .iter()
            .filter_map(|fault| fault.split(':').next())
            .collect();
        let record = NamedTempFile::new().expect("a file");
        let mut options = vec!["-o".to_owned(), record.path().display().to_string()];
        if let Some(file) = file {
            options.extend(["-P".to_owned(), file.display().to_string()]);
        }
        options.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
        for fault in faults {
            options.extend(["-e".to_owned(), format!("inject={fault}")]);
        }
        let mut tracer = Self::attach(&strace, daemon, thread, &options);
        tracer.calls = Some(record);
        Some(tracer)
    }

    /// Whether a call was made to fail.
    #[must_use]
    pub fn has_injected(&self) -> bool {
        let calls = self.calls.as_ref().map(fs::read).and_then(Result::ok);
        String::from_utf8_lossy(&calls.unwrap_or_default()).contains("(INJECTED)")
    }

    /// Attaches to the threads of that name, with options of strace, as soon as there is one.
    ///
    /// # Panics
    /// Where it cannot attach.
    #[must_use]
    pub fn attach(strace: &Path, daemon: &Daemon, thread: &str, options: &[String]) -> Self {
        Self::attach_to(strace, daemon.pid(), thread, options)
    }

    /// The same of any process.
    ///
    /// # Panics
    /// As [`attach`](Self::attach).
    #[must_use]
    pub fn attach_to(strace: &Path, process: u32, thread: &str, options: &[String]) -> Self {
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
        let tracer = Self { child, calls: None };
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

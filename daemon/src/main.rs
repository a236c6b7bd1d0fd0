//! batchd: takes small items over a Unix socket, keeps them on disk, and hands them on in batches.

mod args;
mod config;
mod daemon;
mod demo;
mod directories;
mod engine;
mod failure;
mod ingest;
mod listen;
mod logging;
mod pipe;
mod signals;
mod sinks;
mod systemd;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use args::{Args, Command, LOG_VARIABLE};
use batchd_protocol::exit;
use config::{Config, Surroundings};
use failure::Failure;
use pipe::{Ended, PipeArgs, Progress};
use systemd::{Manager, NOTIFY_VARIABLE};

fn main() -> ExitCode {
    ExitCode::from(run())
}

fn run() -> u8 {
    let args = match Args::read(std::env::args_os(), std::env::var_os(LOG_VARIABLE)) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let mut surroundings = Surroundings::new(effective_uid(), |name| std::env::var_os(name));
    match args.command {
        None => {}
        Some(Command::CheckConfig) => {
            let (mut out, mut err) = (io::stdout(), io::stderr());
            return config::check_config(args.config.as_deref(), &surroundings, &mut out, &mut err);
        }
        Some(Command::Demo(_)) if args.config.is_some() || args.log.is_some() => {
            complain(
                "the demo has a configuration and a log of its own: leave --config and --log away",
            );
            return exit::USAGE;
        }
        Some(Command::Demo(demo)) => return exit_code(demo::demo(demo)),
        Some(Command::Pipe(pipe)) => return run_pipe(&pipe, args.config, args.log, &surroundings),
    }
    // Here, since nothing else runs yet, and no file is open.
    let inherited = match systemd::take_inherited(|name| std::env::var_os(name)) {
        Ok(inherited) => inherited,
        Err(error) => {
            complain(&error.to_string());
            return exit::CONFIG;
        }
    };
    surroundings.inherits_sockets = !inherited.is_empty();
    let found = match Config::find(args.config.as_deref(), &surroundings) {
        Ok(found) => found,
        Err(errors) => return tell(&errors.into()),
    };
    if let Err(code) = prepare(args.log.as_deref().unwrap_or("info".as_ref()), None) {
        return code;
    }
    let manager = Manager::at(std::env::var_os(NOTIFY_VARIABLE).as_deref());
    exit_code(daemon::run(found, inherited, &manager))
}

/// Says why it failed, if it did.
fn exit_code(done: Result<(), Failure>) -> u8 {
    match done {
        Ok(()) => exit::OK,
        Err(failure) => tell(&failure),
    }
}

fn run_pipe(
    args: &PipeArgs,
    config: Option<PathBuf>,
    log: Option<OsString>,
    surroundings: &Surroundings,
) -> u8 {
    let progress = Progress::new(args.quiet);
    // What goes well is told by the progress.
    let log = log.unwrap_or("warn".into());
    if let Err(code) = prepare(&log, Some(progress.clone())) {
        return code;
    }
    match pipe::run(args, config, surroundings, &progress) {
        Ok(Ended::Delivered) => exit::OK,
        Ok(Ended::BySignal(signal)) => {
            signals::die_by(signal);
            exit::TEMPFAIL
        }
        Err(failure) => tell(&failure),
    }
}

/// What is done before anything runs. `log` is what is logged, past a bar where there is one.
fn prepare(log: &OsStr, progress: Option<Progress>) -> Result<(), u8> {
    if let Err(error) = logging::start(log, progress) {
        complain(&error.to_string());
        return Err(exit::USAGE);
    }
    #[cfg(feature = "planted-faults")]
    plant();
    raise_descriptor_limit();
    Ok(())
}

/// Says why it ended; gives the exit code.
fn tell(failure: &Failure) -> u8 {
    // Not to the log, which a filter may keep quiet.
    for line in chain(&failure.error).lines() {
        complain(line);
    }
    if let Some(hint) = &failure.hint {
        complain(&format!("hint: {hint}"));
    }
    failure.code
}

/// An error and its causes on one line. A message that ends in its cause is not followed by it once more.
fn chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |line, cause| {
            if line.ends_with(&cause) {
                line
            } else if line.is_empty() {
                cause
            } else {
                format!("{line}: {cause}")
            }
        })
}

/// The effective user: who owns what the process makes.
fn effective_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or(u32::MAX, |meta| meta.uid())
}

/// Fewer files than that may not suffice for long, whatever is configured.
const DESCRIPTORS_FEW: u64 = 128;

/// A queue has a descriptor or two, and so have each key and each connection: as many as the system grants.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let granted = getrlimit(Resource::Nofile);
    let mut raised = granted;
    raised.current = granted.maximum;
    if raised.current != granted.current
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    if let Some(limit) = granted.maximum.filter(|limit| *limit < DESCRIPTORS_FEW) {
        tracing::warn!(
            limit,
            "few files may be open at a time, and each queue, key and connection takes one or two: raise LimitNOFILE= \
             (or ulimit -n)"
        );
    }
}

fn complain(message: &str) {
    // Where not even that can be written, the exit code is all there is to say.
    writeln!(io::stderr(), "batchd: {message}").ok();
}

/// Plants the bug that `BATCHD_PLANTED` names: only in test builds, to show that the crash tests find it.
#[cfg(feature = "planted-faults")]
fn plant() {
    use batchd_frame::planted::{Planted, plant_for_process};
    let Ok(wanted) = std::env::var("BATCHD_PLANTED") else {
        return;
    };
    if let Some((name, bug)) = Planted::ALL.iter().find(|(name, _)| *name == wanted) {
        tracing::warn!("this build is wrong on purpose: {name}");
        plant_for_process(*bug);
    }
}

//! From a configuration to a running daemon, and back to nothing.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use batchd_core::env::os;
use batchd_core::spool::{Layout, LockedSpool};

use crate::config::Found;
use crate::engine::drain::{self, Flushed};
use crate::engine::{Engine, dispatch, housekeeping, index, recall};
use crate::failure::{Failure, Place};
use crate::signals::Told;
use crate::systemd::Manager;
use crate::{directories, engine, ingest, listen, signals, sinks};

/// At least so long a stop waits for dispatchers, also where flushing has taken all of `shutdown_timeout`: they have
/// to hear of it.
const STOP_AT_LEAST: Duration = Duration::from_secs(1);
/// The service manager is told this often how the daemon does.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// Why the main thread goes on.
enum Event {
    Told(Told),
    Broken(String),
}

/// Runs the daemon until a signal stops it, or the spool cannot be relied on any more. It listens on the sockets
/// it has inherited and on those of the configuration, and tells the service manager how it does.
///
/// # Errors
/// [`Failure`], with the exit code.
pub(crate) fn run(
    found: Found,
    inherited: Vec<UnixListener>,
    manager: &Manager,
) -> Result<(), Failure> {
    let config = &found.config;
    let file = found.file.as_deref().map(Path::display);
    let origin = file.map_or("built-in".to_owned(), |path| path.to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = origin,
        "batchd starts"
    );
    let (events, event) = mpsc::channel();
    let is_up = Arc::new(AtomicBool::new(false));
    // Before the recovery: a SIGUSR1 that comes too early must not end it.
    let told = events.clone();
    let _signals = signals::watch(Arc::clone(&is_up), move |signal| {
        told.send(Event::Told(signal)).ok();
    })
    .context("cannot install signal handlers")?;
    let patience = manager.recovering(&config.spool.path);
    let place = Place::Spool(&config.spool.path);
    let spool = open_spool(&config.spool.path, place, "batchd")?;
    if let Some(Err(error)) = found.state.as_deref().map(directories::make_durable) {
        // Where batches go may be there all the same; whoever delivers will see.
        tracing::warn!(error = format!("{error:#}"), "nothing can be delivered yet");
    }
    let engine = Engine::open(config, spool, move |what| {
        // The receiver lives until the process ends.
        events.send(Event::Broken(what)).ok();
    })
    .map_err(|error| Failure::of_spool(place, error.into()))?;
    drop(patience);
    let engine = Arc::new(engine);

    // Whoever finds the socket can also stop the daemon.
    is_up.store(true, Ordering::SeqCst);
    let sockets = listen::open_all(&config.listen, inherited)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(engine::blocking_threads(config))
        .thread_name("main")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let house = housekeeping::start(Arc::clone(&engine)).context("cannot start a thread")?;
    let recall = recall::start(Arc::clone(&engine)).context("cannot start a thread")?;
    let index = index::start(&engine).unwrap_or_else(|error| {
        tracing::warn!(%error, "no thread for the index; the ledgers are asked instead");
        None
    });
    let dispatchers = dispatch::start_all(&engine, runtime.handle());
    let ingest = ingest::start(&engine, runtime.handle(), config, &sockets)
        .context("cannot start ingest")?;
    engine.serve();
    for socket in &sockets {
        tracing::info!(%socket, "ready");
    }
    manager.ready(|| engine.summary());
    sinks::look_aside(config.clone(), found.state.clone());

    let ended = match obey(&engine, &event, manager) {
        Err(what) => {
            manager.stopping(&what);
            // Those who wait have been told to repeat; the answers may still be on their way.
            ingest.stop();
            runtime.shutdown_background();
            return Err(Failure::broken(what));
        }
        Ok(signal) => signal,
    };
    tracing::info!(signal = ended, "stopping");
    let stopping = Instant::now();
    manager.stopping(ended);
    runtime.block_on(engine.release_flushes());
    ingest.stop();
    recall.stop();
    drain::drain(&engine, &runtime, config.shutdown_timeout);
    house.stop();
    let left = config.shutdown_timeout.saturating_sub(stopping.elapsed());
    dispatchers.stop(&runtime, left.max(STOP_AT_LEAST));
    engine.close();
    // It may have broken since the signal, when nobody listened any more.
    let broken = engine.broken();
    if let Some(index) = index.filter(|_| broken.is_none()) {
        index.stop(&engine);
    }
    drop(sockets);
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(what) = broken {
        return Err(Failure::broken(what.to_owned()));
    }
    tracing::info!("stopped");
    Ok(())
}

/// Does what signals ask for, until one asks for the end; meanwhile the service manager is told how it does.
///
/// # Errors
/// Why the spool cannot be relied on any more.
fn obey(
    engine: &Engine,
    events: &mpsc::Receiver<Event>,
    manager: &Manager,
) -> Result<&'static str, String> {
    loop {
        match events.recv_timeout(STATUS_INTERVAL) {
            Ok(Event::Broken(what)) => return Err(what),
            Ok(Event::Told(Told::FlushAll)) => {
                let Flushed { batches, items } = drain::flush_all(engine);
                tracing::info!(signal = "SIGUSR1", batches, items, "all queues are flushed");
            }
            Ok(Event::Told(Told::Stop(signal))) => return Ok(signal),
            Err(RecvTimeoutError::Timeout) => manager.status(|| engine.summary()),
            Err(RecvTimeoutError::Disconnected) => return Ok("end"),
        }
    }
}

/// Makes the spool's directory, with what is missing above it, and locks it for a program. `place` is that of `path`.
pub(crate) fn open_spool(
    path: &Path,
    place: Place<'_>,
    program: &str,
) -> Result<LockedSpool, Failure> {
    directories::make_durable(path).map_err(|error| Failure::at(place, error))?;
    let holder = format!("{program}, pid {}\n", std::process::id());
    LockedSpool::open(os::env(), Layout::new(path), &holder)
        .map_err(|error| Failure::of_spool(place, error))
}

//! Signals, through a thread that waits for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// To stop cleanly, by the signal of this name.
    Stop(&'static str),
    /// To flush all queues.
    FlushAll,
}

/// Ends the process by a signal of [`Told::Stop`], as it would without a handler, so that whoever started it sees that.
pub(crate) fn die_by(signal: &str) {
    let signal = if signal == "SIGINT" { SIGINT } else { SIGTERM };
    signal_hook::low_level::emulate_default_handler(signal).ok();
}

/// Calls `tell` at the first SIGTERM or SIGINT, and at every SIGUSR1 before it. A second SIGTERM or SIGINT, while the
/// daemon stops, does what it does without a handler, as does one before `is_up`, while it recovers: the spool takes
/// no harm from it. SIGHUP changes nothing, neither from a terminal that is closed nor from somebody who wants the
/// configuration read again.
///
/// # Errors
/// Where the handlers cannot be installed.
pub(crate) fn watch(
    is_up: Arc<AtomicBool>,
    tell: impl Fn(Told) + Send + 'static,
) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP])?;
    let handle = signals.handle();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut stopping = false;
            for signal in signals.forever() {
                let told = match signal {
                    SIGHUP => {
                        tracing::warn!(
                            "SIGHUP: nothing is read anew: restart to change the configuration"
                        );
                        continue;
                    }
                    SIGUSR1 => Told::FlushAll,
                    SIGINT => Told::Stop("SIGINT"),
                    _ => Told::Stop("SIGTERM"),
                };
                if let Told::Stop(name) = told {
                    let starting = !is_up.load(Ordering::SeqCst);
                    if starting {
                        tracing::info!(signal = name, "stopped while it recovers");
                    }
                    if stopping || starting {
                        signal_hook::low_level::emulate_default_handler(signal).ok();
                    }
                    stopping = true;
                }
                tell(told);
            }
        })?;
    Ok(handle)
}

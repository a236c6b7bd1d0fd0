//! Signals, through a thread that waits for them.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Calls `stop` at the first SIGTERM or SIGINT. A second one, while the daemon stops, does what it does without a
/// handler: the spool takes no harm from it.
///
/// # Errors
/// Where the handlers cannot be installed.
pub(crate) fn watch(stop: impl Fn(&'static str) + Send + 'static) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let handle = signals.handle();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut stopping = false;
            for signal in signals.forever() {
                let name = if signal == SIGINT {
                    "SIGINT"
                } else {
                    "SIGTERM"
                };
                if stopping {
                    signal_hook::low_level::emulate_default_handler(signal).ok();
                }
                stopping = true;
                stop(name);
            }
        })?;
    Ok(handle)
}

//! `batchd check-config`.

use std::io::{self, Write};
use std::path::Path;

use batchd_protocol::exit;

use super::{Config, Found, Surroundings};
use crate::sinks;

/// Writes the configuration in force to `out`, and to `err` which sinks could take nothing now; or everything that is
/// wrong with it to `err`. Gives the exit code. A reader of `out` that went away is no failure.
pub(crate) fn check_config(
    file: Option<&Path>,
    surroundings: &Surroundings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    match Config::find(file, surroundings) {
        Ok(found) => {
            let printed = print(&found, out);
            // No mistake in the file: what is missing may be there when the daemon runs.
            for unready in sinks::look(&found.config, found.state.as_deref()) {
                let (queues, why) = (unready.queue_names(), unready.why);
                writeln!(
                    err,
                    "warning: sink of {queues}: {why}; meanwhile batches are kept, and tried again by themselves"
                )
                .ok();
            }
            match printed {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => exit::IOERR,
                Ok(()) | Err(_) => exit::OK,
            }
        }
        Err(errors) => {
            // Where not even that can be written, the exit code is all there is to say.
            writeln!(err, "{errors}").ok();
            if let Some(hint) = errors.hint() {
                writeln!(err, "hint: {hint}").ok();
            }
            exit::CONFIG
        }
    }
}

fn print(found: &Found, out: &mut dyn Write) -> io::Result<()> {
    let file = found.file.as_ref().map(|file| file.to_string_lossy());
    let origin = file.as_deref().unwrap_or("built-in").escape_debug();
    write!(out, "# {origin}\n\n{}", found.config.render())?;
    out.flush()
}

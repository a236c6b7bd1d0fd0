//! From the command line to the exit code.

use std::io::{self, Write as _};

use batchd_protocol::exit;

use super::ended::{Ended, daemon_ended};
use super::scene::Scene;
use super::tour::tour;
use crate::failure::Failure;

/// So many lines of the daemon's log are shown after a failure.
const LOG_LINES_SHOWN: usize = 10;

/// For the tour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leave the directory that it makes, to look around in
    #[arg(long)]
    keep: bool,
}

/// Takes the tour. Where what was delivered is not what was sent, the exit code is 1.
///
/// # Errors
/// [`Failure`], with the exit code.
pub(crate) fn demo(args: DemoArgs) -> Result<(), Failure> {
    let mut scene = Scene::new(args.keep)?;
    let failure = match tour(&scene, &mut io::stdout().lock()) {
        Ok(()) | Err(Ended::Unread) => return Ok(()),
        Err(Ended::Differs) => {
            scene.keep();
            differs()
        }
        // Where the daemon ended by itself, this is why anything failed.
        Err(Ended::Failed(failure)) => scene.daemon_ended().map_or(failure, daemon_ended),
    };
    show_what_is_left(&scene);
    Err(failure)
}

fn differs() -> Failure {
    Failure {
        error: anyhow::anyhow!("what came out is not what went in"),
        hint: Some(
            "this must never be; the directory holds the spool, the log and what was delivered"
                .to_owned(),
        ),
        code: exit::FAILURE,
    }
}

/// The end of the daemon's log, since the log may go with the directory, and where that is, if it stays.
fn show_what_is_left(scene: &Scene) {
    let mut text = scene.log_end(LOG_LINES_SHOWN);
    if !text.is_empty() {
        text.insert(0, "\nThe daemon's log ends with:".to_owned());
    }
    if scene.is_kept() {
        text.push(format!("\n{} is kept.", scene.place().root().display()));
    }
    // Where that cannot be written, nobody wants to know.
    writeln!(io::stderr(), "{}", text.join("\n")).ok();
}

//! The end of a pipe: what is open is closed and delivered, and how it ended is told.

use std::sync::Arc;
use std::time::Duration;

use batchd_core::policy::OnShutdown;
use batchd_protocol::exit;
use tokio::time::{Instant, timeout_at};

use super::intake::Stop;
use super::run::{Ended, Pipe, SHOW_INTERVAL, STOP_AT_LEAST, count};
use crate::config::Config;
use crate::engine::{Queue, drain};
use crate::failure::Failure;

/// What was waited for at the end.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Batches, with the items of each.
    pub(super) batches: Vec<(u64, u64)>,
    /// A signal came meanwhile.
    pub(super) signal: Option<&'static str>,
}

impl Pipe<'_> {
    /// Closes what is open and waits until the sink has everything, unless a signal has ended the pipe and what is
    /// open is to be kept.
    pub(super) async fn deliver(&mut self, stop: Option<&Stop>, patience: Duration) -> Fate {
        let is_kept = self.on_shutdown == OnShutdown::Keep;
        if matches!(stop, Some(Stop::Signal(_))) && is_kept {
            return Fate::default();
        }
        let batches = self.queue.commit.flush();
        self.control.engine.house.ring();
        self.queue.hurry.notify_waiters();
        let mut fate = Fate::default();
        let (engine, queue) = (Arc::clone(&self.control.engine), Arc::clone(&self.queue));
        let mut delivered = std::pin::pin!(drain::delivered(&engine, &queue, &batches));
        let mut impatient = std::pin::pin!(out_of_patience(&queue, patience));
        loop {
            tokio::select! {
                () = &mut delivered => break,
                () = &mut impatient => break,
                stop = self.control.until_stopped() => {
                    if let Stop::Signal(signal) = stop {
                        fate.signal = Some(signal);
                        // Another one ends it at once.
                        if !is_kept {
                            continue;
                        }
                    }
                    break;
                }
                () = tokio::time::sleep(SHOW_INTERVAL), if self.progress.is_drawn() => self.show(),
            }
        }
        fate.batches.clone_from(&batches);
        fate
    }

    /// Says how it ended.
    pub(super) fn tell(
        &mut self,
        stop: Option<Stop>,
        fate: &Fate,
        config: &Config,
    ) -> Result<Ended, Failure> {
        let spool = config.spool.path.display();
        let taken = count(self.intake.sender.durable, "item is", "items are");
        let held = self.queue.commit.lock().held().items;
        if let Some(signal) = fate.signal.or(match stop {
            Some(Stop::Signal(signal)) => Some(signal),
            _ => None,
        }) {
            let waiting = count(held, "item waits", "items wait");
            self.progress.say(&format!(
                "stopped by {signal}: {taken} taken and durable; {waiting} in {spool} for the next start"
            ));
            return Ok(Ended::BySignal(signal));
        }
        match (stop.map(|stop| why(stop, &taken)), self.left(fate, config)) {
            (Some(failure), left) => {
                if let Some(left) = left {
                    self.progress
                        .write(format!("batchd: {}\n", left.error).as_bytes());
                }
                Err(failure)
            }
            (None, Some(left)) => Err(left),
            (None, None) => {
                let taken = match self.intake.sender.durable {
                    0 => "nothing new was taken".to_owned(),
                    durable => format!("{} taken", count(durable, "item", "items")),
                };
                self.progress.say(&format!("{taken}, all is delivered"));
                Ok(Ended::Delivered)
            }
        }
    }

    /// What is not delivered.
    fn left(&self, fate: &Fate, config: &Config) -> Option<Failure> {
        let spool = config.spool.path.display();
        let waiting = self.queue.commit.undelivered(&fate.batches);
        if waiting > 0 {
            let held = self.queue.commit.lock().held().items;
            let items = count(held, "item is", "items are");
            let batches = count(waiting as u64, "batch", "batches");
            let (error, hint) = match &self.queue.delivery().last_error {
                Some(error) => (
                    format!(": {error}"),
                    "mend what the sink says and run the same command again: it delivers them first",
                ),
                None => (
                    String::new(),
                    "the sink took none for so long: run the same command again, which delivers them first, or give \
                     a longer --shutdown-timeout",
                ),
            };
            return Some(Failure {
                error: anyhow::anyhow!(
                    "{items} not delivered, in {batches} that the spool {spool} keeps{error}"
                ),
                hint: Some(hint.to_owned()),
                code: exit::TEMPFAIL,
            });
        }
        let counters = self.queue.commit.lock().counters();
        let (dropped, expired) = (counters.batches_dropped, counters.batches_expired);
        (dropped + expired > 0).then(|| Failure {
            error: anyhow::anyhow!(
                "not all was delivered: {} dropped, {} past `lifespan`",
                count(dropped, "batch was", "batches were"),
                count(expired, "was", "were"),
            ),
            hint: Some(format!(
                "the ledger of the queue, in {spool}, says which; what was set aside is in 'dead' beside it"
            )),
            code: exit::FAILURE,
        })
    }
}

/// Comes back when no batch has ended for so long; not before an attempt has failed, or has had some time.
async fn out_of_patience(queue: &Queue, patience: Duration) {
    let ended = || {
        let counters = queue.commit.lock().counters();
        counters.batches_delivered + counters.batches_expired + counters.batches_dropped
    };
    let mut changes = queue.watch();
    let (mut since, mut before) = (Instant::now(), ended());
    loop {
        let least = match queue.delivery().failures {
            0 => STOP_AT_LEAST,
            _ => Duration::ZERO,
        };
        if timeout_at(since + patience.max(least), changes.changed())
            .await
            .is_err()
        {
            return;
        }
        let now = ended();
        if now != before {
            (since, before) = (Instant::now(), now);
        }
    }
}

fn why(stop: Stop, taken: &str) -> Failure {
    let (error, hint, code) = match stop {
        Stop::TooLong(too_long, at) => (
            anyhow::anyhow!(
                "the item at byte {at} of the input is longer than {} bytes, and never taken",
                too_long.bytes_max
            ),
            "split it, or raise `max_bytes` of the queue and `item_bytes_max` in [limits] of --config".to_owned(),
            exit::DATAERR,
        ),
        Stop::Input(error) => (
            anyhow::Error::new(error).context("cannot read standard input"),
            format!("{taken} durable; the same command goes on behind them where the input is a file"),
            exit::IOERR,
        ),
        Stop::Changed => (
            anyhow::anyhow!("the input was cut or written anew while it was read"),
            "what was read before is taken; the same command takes what is there now, from its start".to_owned(),
            exit::IOERR,
        ),
        Stop::Refused(why) => (
            anyhow::anyhow!("not taken: {why}"),
            format!("{taken} durable, and delivered"),
            exit::DATAERR,
        ),
        Stop::NoRoom(why) => (
            anyhow::anyhow!("not taken: {why}"),
            format!("{taken} durable; `--overflow block` waits for room instead"),
            exit::TEMPFAIL,
        ),
        // Those have been told already.
        Stop::Signal(what) => (anyhow::anyhow!(what), String::new(), exit::TEMPFAIL),
        Stop::Broken(what) => return Failure::broken(what),
    };
    Failure {
        error,
        hint: Some(hint).filter(|hint| !hint.is_empty()),
        code,
    }
}

//! A program that submits, and whose daemon dies meanwhile.

use batchd_client::blocking::Client;
use batchd_client::{Ack, Error as ClientError, ItemBuffer, QueueName, Submission, Target, Totals};

use super::ended::Ended;
use super::scene::Scene;

/// So many submissions are answered before the daemon is killed.
const ANSWERED: usize = 40;
/// So many more are sent by then, whose answers nobody waits for.
const PIPELINED: usize = 40;

/// One client, which numbers its submissions from the first to the last.
pub(super) struct Producer {
    client: Client,
    target: Target,
}

/// What a producer knows when its daemon has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Submissions that were given to the client, one line each.
    pub(super) given: usize,
    /// Those that were answered.
    pub(super) acknowledged: usize,
}

impl Cut {
    /// Those that were not: they may be kept or not.
    pub(super) fn unanswered(self) -> usize {
        self.given.saturating_sub(self.acknowledged)
    }
}

impl Producer {
    /// Submits by way of that client.
    pub(super) fn new(client: Client) -> Result<Self, Ended> {
        let name = QueueName::new(crate::config::model::DEFAULT_QUEUE);
        let mut target = Target::new(name.map_err(anyhow::Error::from)?);
        target.ack = Some(Ack::Synced);
        Ok(Self { client, target })
    }

    /// Submits lines, all in one submission, and waits until they are synced.
    pub(super) fn submit(&mut self, lines: &[&[u8]]) -> Result<(), ClientError> {
        let submission = self.prepare(lines);
        self.client.submit(submission).map(drop)
    }

    /// Submits the first of these lines, each in a submission of its own, without waiting for every answer, and has
    /// the daemon killed meanwhile. To be called first of all.
    ///
    /// It is killed after some were answered, which was waited for, and one more is submitted when it is dead. So there
    /// are answered and unanswered ones, whatever the daemon got done in between.
    pub(super) fn submit_until_killed(
        &mut self,
        lines: &[&[u8]],
        scene: &Scene,
    ) -> Result<Cut, Ended> {
        let (answered, rest) = lines.split_at(ANSWERED.min(lines.len()));
        let (pipelined, rest) = rest.split_at(PIPELINED.min(rest.len()));
        self.submit_each(answered)?;
        self.send_each(pipelined)?;
        scene.kill_daemon()?;
        // By this the client reads the answers that had been sent, and notices that no others will come.
        let last = rest.get(..1).unwrap_or_default();
        self.send_each(last)?;
        let given = answered.len() + pipelined.len() + last.len();
        let acknowledged = self.client.totals().kept.submissions;
        Ok(Cut {
            given,
            acknowledged: usize::try_from(acknowledged).unwrap_or(given),
        })
    }

    /// Submits lines, each in a submission of its own, and waits until everything is synced. Where the client has lost
    /// its connection it connects again, and sends first what was not answered, under the same ids.
    pub(super) fn submit_each(&mut self, lines: &[&[u8]]) -> Result<Totals, ClientError> {
        self.send_each(lines)?;
        self.client.settle()
    }

    fn send_each(&mut self, lines: &[&[u8]]) -> Result<(), ClientError> {
        lines.chunks(1).try_for_each(|line| {
            let submission = self.prepare(line);
            self.client.send(submission)
        })
    }

    fn prepare(&mut self, lines: &[&[u8]]) -> Submission {
        self.client
            .prepare(&self.target, &ItemBuffer::from_iter(lines))
    }
}

//! What is done to the daemon.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use batchd_client::{ItemBuffer, Key, ProducerId, QueueName, Submission, SubmissionId, Target};
use batchd_protocol::{Ack, Request, Response, encode_message_into};
use batchd_tests::{Body, Site, Wire};

use crate::points::BATCH_ITEMS;

/// A submission of the script.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) key: &'static str,
    pub(super) items: Vec<String>,
    pub(super) ack: Ack,
}

/// One thing that the script does.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Sends submissions in one go, and waits for all of their answers.
    Submit(Vec<usize>),
    Flush {
        wait: bool,
    },
}

/// What is done to the daemon.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) submissions: Vec<Planned>,
    pub(super) steps: Vec<Step>,
    /// So many steps make every thread do what it does for the first time.
    pub(super) warm_up: usize,
}

impl Script {
    /// Small batches: of one submission, of parts of one, of several; several keys; groups that write to more than
    /// one file.
    pub(super) fn new(rounds: usize) -> Self {
        let mut script = Self::default();
        // More than one batch, since deliveries may take turns on more than one thread.
        script.submit(&[("warm", 2 * BATCH_ITEMS + 1, Ack::Synced)]);
        script.steps.push(Step::Flush { wait: true });
        script.warm_up = script.steps.len();
        for _ in 0..rounds {
            script.submit(&[("", 2, Ack::Synced)]);
            script.submit(&[("a", 4, Ack::Synced)]);
            script.submit(&[
                ("", 1, Ack::Synced),
                ("a", 2, Ack::Synced),
                ("b", 1, Ack::Synced),
            ]);
            script.steps.push(Step::Flush { wait: true });
            script.submit(&[("b", 7, Ack::Synced)]);
            script.submit(&[("", 2, Ack::Written)]);
            script.submit(&[
                ("b", 1, Ack::Synced),
                ("", 1, Ack::Synced),
                ("", 1, Ack::Synced),
            ]);
            script.steps.push(Step::Flush { wait: false });
            script.submit(&[("a", 1, Ack::Synced)]);
        }
        script
    }

    pub(super) fn submit(&mut self, together: &[(&'static str, usize, Ack)]) {
        let first = self.submissions.len();
        for &(key, count, ack) in together {
            let number = self.submissions.len();
            let items = (0..count)
                .map(|item| format!("{key}:{number}.{item}"))
                .collect();
            self.submissions.push(Planned { key, items, ack });
        }
        self.steps
            .push(Step::Submit((first..self.submissions.len()).collect()));
    }

    pub(super) fn id(number: usize) -> SubmissionId {
        SubmissionId {
            producer: ProducerId::from_bytes([7; 16]),
            sequence: number as u64 + 1,
        }
    }

    pub(super) fn submission(&self, number: usize) -> Submission {
        let Some(planned) = self.submissions.get(number) else {
            panic!("submission {number}")
        };
        let mut target = Target::new(QueueName::new("default").expect("a name"));
        target.key = Key::new(planned.key).expect("a key");
        Submission::new(
            Self::id(number),
            true,
            Arc::new(target),
            &ItemBuffer::from_iter(&planned.items),
        )
    }

    /// All items of a key, in order.
    pub(super) fn items_of(&self, key: &str) -> Vec<&str> {
        let planned = self.submissions.iter().filter(|planned| planned.key == key);
        planned
            .flat_map(|planned| planned.items.iter().map(String::as_str))
            .collect()
    }

    pub(super) fn keys(&self) -> BTreeSet<&'static str> {
        self.submissions.iter().map(|planned| planned.key).collect()
    }

    /// Takes steps until all are taken or the daemon is gone. Adds the submissions that were acknowledged.
    pub(super) fn run(&self, site: &Site, steps: &[Step], acknowledged: &mut BTreeSet<usize>) {
        // Whatever fails here fails because the daemon is gone, which the caller makes sure of.
        self.run_until_lost(site, steps, acknowledged).ok();
    }

    pub(super) fn run_until_lost(
        &self,
        site: &Site,
        steps: &[Step],
        acknowledged: &mut BTreeSet<usize>,
    ) -> io::Result<()> {
        let mut wire = Wire::greeted(&site.socket())?;
        for step in steps {
            match step {
                Step::Submit(numbers) => self.submit_together(&mut wire, numbers, acknowledged)?,
                Step::Flush { wait } => {
                    wire.send(&Request::Flush {
                        request: 0,
                        queue: None,
                        wait: *wait,
                    })?;
                    let answer = wire.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    assert!(matches!(answer, Response::Flushed { .. }), "{answer:?}");
                }
            }
        }
        Ok(())
    }

    pub(super) fn submit_together(
        &self,
        wire: &mut Wire,
        numbers: &[usize],
        acknowledged: &mut BTreeSet<usize>,
    ) -> io::Result<()> {
        let mut together = Vec::new();
        for &number in numbers {
            let Some(planned) = self.submissions.get(number) else {
                continue;
            };
            let body = Body::new(Some(Self::id(number)), &planned.items);
            let submit = body.submit(
                number as u64,
                "default",
                planned.key.as_bytes(),
                planned.ack,
            );
            encode_message_into(&Request::Submit(submit), &mut together);
        }
        wire.send_bytes(&together)?;
        for _ in numbers {
            match wire.receive()?.ok_or(io::ErrorKind::UnexpectedEof)? {
                Response::Accepted { request, .. } => {
                    acknowledged.insert(usize::try_from(request).expect("a number of ours"));
                }
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }
}

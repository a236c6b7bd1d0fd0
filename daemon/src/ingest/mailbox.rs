//! How other threads reach a connection: its ingest thread's mailbox.

use std::sync::{PoisonError, RwLock};

use batchd_core::queue::{Answer, Failure};
use batchd_protocol::{Ack, ErrorCode, Response};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Who is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Ingest thread.
    pub(crate) thread: u16,
    /// Connection; numbers are never used again.
    pub(crate) connection: u64,
    /// The client's number of the request.
    pub(crate) request: u64,
    /// The connection's own number of the submission.
    pub(crate) number: u64,
    /// Whether success is not answered.
    pub(crate) quiet: bool,
}

/// What is answered to a submission.
pub(crate) fn response(request: u64, answer: Answer) -> Response {
    match answer {
        Answer::Kept(ack) => accepted(request, ack, false),
        Answer::KeptBefore(ack) => accepted(request, ack, true),
        Answer::Failed(Failure::NoSpace) => Response::Failed {
            request,
            code: ErrorCode::NoSpace,
            message: "the file system is full; nothing that was accepted is lost".to_owned(),
        },
        Answer::Failed(Failure::Unknown) => Response::Failed {
            request,
            code: ErrorCode::Unknown,
            message: "the disk failed; whether this is kept is not known: repeat it under its id"
                .to_owned(),
        },
    }
}

fn accepted(request: u64, ack: batchd_core::queue::Ack, repeat: bool) -> Response {
    Response::Accepted {
        request,
        ack: wire_ack(ack),
        repeat,
    }
}

pub(super) fn wire_ack(ack: batchd_core::queue::Ack) -> Ack {
    match ack {
        batchd_core::queue::Ack::None => Ack::None,
        batchd_core::queue::Ack::Written => Ack::Written,
        batchd_core::queue::Ack::Synced => Ack::Synced,
    }
}

/// A letter to a connection.
#[derive(Debug)]
pub(super) enum Letter {
    /// What became of a submission.
    Answer(Answer),
    /// The end of a request that was handed out of the ingest thread.
    Reply(Response),
}

/// The mailboxes of all ingest threads.
#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    boxes: RwLock<Vec<UnboundedSender<(Ticket, Letter)>>>,
}

impl Mailboxes {
    /// Opens the next thread's.
    pub(super) fn open(&self) -> UnboundedReceiver<(Ticket, Letter)> {
        let (sender, receiver) = unbounded_channel();
        self.boxes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        receiver
    }

    /// Sends the answer to a submission.
    pub(crate) fn send_answer(&self, ticket: Ticket, answer: Answer) {
        self.post(ticket, Letter::Answer(answer));
    }

    /// Sends the answer to a request that was handed out.
    pub(crate) fn reply(&self, ticket: Ticket, response: Response) {
        self.post(ticket, Letter::Reply(response));
    }

    fn post(&self, ticket: Ticket, letter: Letter) {
        let boxes = self.boxes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = boxes.get(usize::from(ticket.thread)) {
            // A thread that has ended has no connections left.
            sender.send((ticket, letter)).ok();
        }
    }
}

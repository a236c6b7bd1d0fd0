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
    let (code, message) = match answer {
        Answer::Kept(ack) => return accepted(request, ack, false),
        Answer::KeptBefore(ack) => return accepted(request, ack, true),
        Answer::Durable => return accepted(request, Ack::Synced, false),
        Answer::Failed(failure) => describe(failure),
    };
    Response::Failed {
        request,
        code,
        message: message.to_owned(),
    }
}

/// The same of one that is not acknowledged: its code, and what it means.
pub(crate) const fn describe(failure: Failure) -> (ErrorCode, &'static str) {
    match failure {
        Failure::NoSpace => (
            ErrorCode::NoSpace,
            "the file system is full; nothing is taken until there is room, and nothing that was accepted is lost",
        ),
        Failure::ReadOnly => (
            ErrorCode::ReadOnly,
            "the file system of the spool is read-only; nothing is taken until it is mounted read-write, and nothing \
             that was accepted is lost",
        ),
        Failure::Unknown => (
            ErrorCode::Unknown,
            "the disk failed; whether this is kept is not known: repeat it under its id",
        ),
        Failure::Stopped => (
            ErrorCode::Stopping,
            "kept, and not delivered yet: repeat it under its id to wait on",
        ),
        Failure::Expired => (
            ErrorCode::Expired,
            "its batch outlived its lifespan before it was delivered, and is set aside",
        ),
        Failure::Dropped => (
            ErrorCode::Dropped,
            "its batch was dropped before it was delivered, as the queue is configured",
        ),
        Failure::Removed => (
            ErrorCode::Dropped,
            "the file of its batch was removed by somebody before it was delivered",
        ),
        Failure::Damaged => (
            ErrorCode::Unreadable,
            "its batch was damaged on the disk; what could be read of it was delivered",
        ),
    }
}

fn accepted(request: u64, ack: Ack, repeat: bool) -> Response {
    Response::Accepted {
        request,
        ack,
        repeat,
    }
}

/// A letter to a connection.
#[derive(Debug)]
pub(crate) enum Letter {
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
    pub(crate) fn open(&self) -> UnboundedReceiver<(Ticket, Letter)> {
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

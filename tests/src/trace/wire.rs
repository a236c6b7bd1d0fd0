//! Connections: which submission each answer speaks of.

use std::collections::HashMap;

use batchd_frame::{BodyLimits, BodyView, QueueName, SubmissionId, codec};
use batchd_protocol::{Ack, MESSAGE_BYTES_MAX, Request, Response, split_message};

/// A submission, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Where it goes.
    pub queue: QueueName,
    /// Its id, if it has one.
    pub id: Option<SubmissionId>,
    /// Its items.
    pub items: Vec<Vec<u8>>,
}

/// That a submission was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The client's number of the request.
    pub request: u64,
    /// What the daemon says of it.
    pub ack: Ack,
}

/// A connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// What is not a whole message yet.
    received: Vec<u8>,
    sent: Vec<u8>,
    submitted: HashMap<u64, Submitted>,
}

impl Connection {
    /// A submission by its number.
    #[must_use]
    pub fn submitted(&self, request: u64) -> Option<&Submitted> {
        self.submitted.get(&request)
    }

    /// Takes what was read; says how many submissions are whole with it.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let mut buffer = std::mem::take(&mut self.received);
        buffer.extend_from_slice(bytes);
        let (mut rest, mut count) = (buffer.as_slice(), 0);
        while let Ok(Some((message, behind))) = split_message(rest, MESSAGE_BYTES_MAX) {
            rest = behind;
            if let Some((request, submitted)) = read_submission(message) {
                self.submitted.insert(request, submitted);
                count += 1;
            }
        }
        self.received = rest.to_vec();
        count
    }

    /// What the client knows once these bytes are on their way.
    #[must_use]
    pub fn about_to_send(&self, bytes: &[u8]) -> Vec<Accepted> {
        let mut buffer = self.sent.clone();
        buffer.extend_from_slice(bytes);
        let (mut rest, mut found) = (buffer.as_slice(), Vec::new());
        while let Ok(Some((message, behind))) = split_message(rest, MESSAGE_BYTES_MAX) {
            rest = behind;
            if let Ok(Response::Accepted { request, ack, .. }) = codec::decode(message) {
                found.push(Accepted { request, ack });
            }
        }
        found
    }

    /// Takes what was written; returns what it accepted.
    pub fn send(&mut self, bytes: &[u8]) -> Vec<Accepted> {
        let found = self.about_to_send(bytes);
        self.sent.extend_from_slice(bytes);
        while let Ok(Some((message, _))) = split_message(&self.sent, MESSAGE_BYTES_MAX) {
            let used = batchd_protocol::LENGTH_BYTES + message.len();
            self.sent.drain(..used);
        }
        found
    }
}

fn read_submission(message: &[u8]) -> Option<(u64, Submitted)> {
    let Ok(Request::Submit(submit)) = codec::decode_borrowed(message) else {
        return None;
    };
    let view = BodyView::parse(submit.body, submit.items, BodyLimits::NONE).ok()?;
    let submitted = Submitted {
        queue: QueueName::new(submit.queue).ok()?,
        id: view.submission(),
        items: view.items().map(<[u8]>::to_vec).collect(),
    };
    Some((submit.request, submitted))
}

//! Answers: whether what they say of a submission is true when they are sent.

use batchd_frame::SubmissionId;
use batchd_protocol::Ack;

use super::batch::Batch;
use super::check::{Checker, Kept};
use super::log::Call;
use super::report::Rule;
use super::wire::Submitted;

impl Checker {
    /// An answer is about to be sent.
    pub(super) fn check_ack(&mut self, call: &Call, connection: usize, request: u64, ack: Ack) {
        let submitted = self
            .connections
            .get(connection)
            .and_then(|c| c.submitted(request));
        let Some((submitted, id)) = submitted.and_then(|s| Some((s, s.id?))) else {
            let what = format!("request {request} of connection {connection} was not read");
            return self.violation(Rule::AckKnown, call, what);
        };
        let kept = (submitted.queue.clone(), id);
        let count = submitted.items.len();
        if let Some((rule, found)) = self.kept_state(&kept, submitted, ack) {
            let what = format!(
                "request {request} of connection {connection}, submission {}, is answered as \
                 {ack:?}: of its {count} items {found}",
                shown(id),
            );
            self.violation(rule, call, what);
        }
        self.acked.insert(kept);
    }

    /// What is missing for a submission to be acknowledged, with what there is instead.
    fn kept_state(&self, kept: &Kept, submitted: &Submitted, ack: Ack) -> Option<(Rule, String)> {
        let count = submitted.items.len();
        let mut best = vec![State::Missing; count];
        let places = self.frames.get(kept).map(Vec::as_slice).unwrap_or_default();
        let mut frames = Vec::new();
        for (id, start) in places {
            let (Some(file), Some(batch)) = (self.disk.file(*id), self.batches.get(id)) else {
                continue;
            };
            let Some(frame) = batch.frames.iter().find(|frame| frame.start() == *start) else {
                continue;
            };
            let first = frame.items.start as usize;
            let expected = submitted.items.iter().skip(first).take(frame.items.len());
            if !Batch::items(frame, &file.content).eq(expected.map(Vec::as_slice)) {
                let place = format!("{} has others at {start}", file.path.display());
                return Some((Rule::AckSame, place));
            }
            let state = if self.released.contains(id) {
                State::Durable
            } else if file.synced_to() < frame.end {
                State::Written
            } else if !self.disk.is_reachable(*id) {
                State::Synced
            } else {
                State::Durable
            };
            frames.push(format!(
                "{:?} are {state:?} in {} (line {})",
                frame.items,
                file.path.display(),
                frame.line
            ));
            for item in best.iter_mut().skip(first).take(frame.items.len()) {
                *item = state.max(*item);
            }
        }
        let rule = match best.iter().min()? {
            State::Missing => Rule::AckWritten,
            _ if ack != Ack::Synced => return None,
            State::Written => Rule::AckSynced,
            State::Synced => Rule::AckNamed,
            State::Durable => return None,
        };
        let found = if frames.is_empty() {
            "none is written".to_owned()
        } else {
            frames.join(", ")
        };
        Some((rule, found))
    }
}

/// How safe an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Missing,
    Written,
    /// In a file whose name is not durable.
    Synced,
    Durable,
}

/// A submission, for messages.
pub(super) fn shown(id: SubmissionId) -> String {
    format!("{}/{}", id.producer, id.sequence)
}

//! Submissions in flight, in the order they were given: what was sent, what was answered, what must be sent
//! again.
//!
//! A submission is first *queued*, then *sent* under a request number of its own, and *kept* or *refused* by
//! its answer. A lost connection and a refusal that may pass put it back into the queue, at its old place.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use batchd_protocol::{Ack, Request};

use crate::error::ProtocolError;
use crate::options::WindowBounds;
use crate::submission::{Receipt, Submission, Totals};

#[derive(Debug)]
struct Entry {
    submission: Submission,
    deadline: Instant,
    /// Whether somebody will ask for the receipt.
    tracked: bool,
    state: State,
    sent_before: bool,
    /// Whether some sending of it had no answer, or one after which it may be kept.
    uncertain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Sent,
    Kept,
    Refused,
}

#[derive(Debug)]
pub(crate) struct Window {
    bounds: WindowBounds,
    entries: VecDeque<Entry>,
    /// Index of the first entry.
    first: u64,
    /// Bodies of the entries that are queued or sent.
    bytes: u64,
    queued: BTreeSet<u64>,
    /// Indexes of what is sent, by request number.
    sent: HashMap<u64, u64>,
    receipts: BTreeMap<u64, Receipt>,
    totals: Totals,
    /// Whether some submission before the first entry is not known to be kept.
    has_gap: bool,
    /// Sent since the last barrier without an answer being due, with the bodies' bytes.
    silent: (usize, u64),
}

impl Window {
    pub(crate) fn new(bounds: WindowBounds) -> Self {
        Self {
            bounds,
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            queued: BTreeSet::new(),
            sent: HashMap::new(),
            receipts: BTreeMap::new(),
            totals: Totals::default(),
            has_gap: false,
            silent: (0, 0),
        }
    }

    pub(crate) fn has_room(&self, body_bytes: u64) -> bool {
        self.entries.is_empty()
            || (self.entries.len() < self.bounds.submissions_max
                && self.bytes.saturating_add(body_bytes) <= self.bounds.bytes_max)
    }

    /// Takes a submission in; returns its index.
    pub(crate) fn admit(
        &mut self,
        submission: Submission,
        deadline: Instant,
        tracked: bool,
    ) -> u64 {
        let index = self.first + self.entries.len() as u64;
        self.bytes += submission.body_bytes();
        self.queued.insert(index);
        self.entries.push_back(Entry {
            submission,
            deadline,
            tracked,
            state: State::Queued,
            sent_before: false,
            uncertain: false,
        });
        index
    }

    /// When the first that has no answer must have one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.deadline)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    pub(crate) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether this one has neither a receipt nor a chance of one.
    pub(crate) fn is_given_up(&self, index: u64) -> bool {
        let is_open = index >= self.first && index - self.first < self.entries.len() as u64;
        !is_open && !self.receipts.contains_key(&index)
    }

    pub(crate) fn receipt(&self, index: u64) -> Option<&Receipt> {
        self.receipts.get(&index)
    }

    pub(crate) fn take_receipt(&mut self, index: u64) -> Option<Receipt> {
        self.receipts.remove(&index)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Submissions that would be unknown if they were given up now.
    pub(crate) fn unknown_count(&self) -> u64 {
        let unknown = self.entries.iter().filter(|entry| entry.is_unknown());
        self.totals.unknown.submissions + unknown.count() as u64
    }

    /// Hands the first that is queued to `encode` and takes it for sent. Nothing where none is queued.
    pub(crate) fn send_next(&mut self, request: u64, encode: impl FnOnce(&Request<'_>)) {
        let Some(index) = self.queued.pop_first() else {
            return;
        };
        let Some(entry) = entry_at(&mut self.entries, self.first, index) else {
            return;
        };
        encode(&entry.submission.request(request, entry.sent_before));
        entry.state = State::Sent;
        entry.sent_before = true;
        self.sent.insert(request, index);
        if entry.submission.ack() == Some(Ack::None) {
            self.silent.0 += 1;
            self.silent.1 += entry.submission.body_bytes();
        }
    }

    /// Whether request `request` is a submission without an answer.
    pub(crate) fn is_sent(&self, request: u64) -> bool {
        self.sent.contains_key(&request)
    }

    /// The submission of that request is kept.
    pub(crate) fn keep(
        &mut self,
        request: u64,
        ack: Ack,
        repeat: bool,
    ) -> Result<(), ProtocolError> {
        let unknown = ProtocolError::UnknownRequest { request };
        let index = self.sent.remove(&request).ok_or(unknown.clone())?;
        let entry = entry_at(&mut self.entries, self.first, index).ok_or(unknown)?;
        if let Some(asked) = entry.submission.ack()
            && ack < asked
        {
            return Err(ProtocolError::WeakerAck {
                request,
                asked,
                got: ack,
            });
        }
        self.bytes = self.bytes.saturating_sub(entry.submission.body_bytes());
        entry.state = State::Kept;
        entry.submission.forget_body();
        self.totals.kept.add(&entry.submission);
        self.totals.repeats += u64::from(repeat);
        if entry.tracked {
            let receipt = Receipt {
                id: entry.submission.id(),
                index,
                ack,
                repeat,
                items: entry.submission.items(),
                item_bytes: entry.submission.item_bytes(),
            };
            self.receipts.insert(index, receipt);
        }
        self.drop_done();
        Ok(())
    }

    /// The submission of that request was refused in a way that may pass: back into the queue.
    pub(crate) fn requeue(&mut self, request: u64, uncertain: bool) {
        if let Some(index) = self.sent.remove(&request)
            && let Some(entry) = entry_at(&mut self.entries, self.first, index)
        {
            entry.state = State::Queued;
            entry.uncertain |= uncertain;
            self.queued.insert(index);
        }
    }

    /// The submission of that request was refused for good. Where the refusal does not tell what became of it, an earlier
    /// try without an answer may have been kept. Returns its index.
    pub(crate) fn refuse(&mut self, request: u64, tells_its_fate: bool) -> Option<u64> {
        let index = self.sent.remove(&request)?;
        let entry = entry_at(&mut self.entries, self.first, index)?;
        self.bytes = self.bytes.saturating_sub(entry.submission.body_bytes());
        entry.state = State::Refused;
        entry.uncertain &= !tells_its_fate;
        entry.submission.forget_body();
        self.drop_done();
        Some(index)
    }

    /// All that was sent must be sent again.
    pub(crate) fn connection_lost(&mut self) {
        for (_, index) in self.sent.drain() {
            if let Some(entry) = entry_at(&mut self.entries, self.first, index) {
                entry.state = State::Queued;
                entry.uncertain = true;
                self.queued.insert(index);
            }
        }
        self.silent = (0, 0);
    }

    /// Whether enough was sent without an answer being due that a barrier should follow.
    pub(crate) fn wants_barrier(&self, settling: bool) -> bool {
        let (count, bytes) = self.silent;
        count > 0
            && (settling
                || count >= self.bounds.submissions_max / 2
                || bytes >= self.bounds.bytes_max / 2)
    }

    pub(crate) fn barrier_sent(&mut self) {
        self.silent = (0, 0);
    }

    /// The barrier was answered: what was sent before it without asking for an answer is kept.
    pub(crate) fn barrier_passed(&mut self, barrier: u64) -> Result<(), ProtocolError> {
        let mut silent: Vec<u64> = Vec::new();
        for (&request, &index) in &self.sent {
            let entry = entry_at(&mut self.entries, self.first, index);
            if request < barrier
                && entry.is_some_and(|entry| entry.submission.ack() == Some(Ack::None))
            {
                silent.push(request);
            }
        }
        silent.sort_unstable();
        silent
            .into_iter()
            .try_for_each(|request| self.keep(request, Ack::None, false))
    }

    /// Gives up all that has no answer.
    pub(crate) fn abandon(&mut self) {
        for entry in self.entries.drain(..) {
            self.first += 1;
            if entry.state == State::Kept {
                continue;
            }
            self.has_gap = true;
            if entry.is_unknown() {
                self.totals.unknown.add(&entry.submission);
            }
        }
        self.queued.clear();
        self.sent.clear();
        self.bytes = 0;
        self.silent = (0, 0);
    }

    fn drop_done(&mut self) {
        while let Some(entry) = self.entries.front() {
            match entry.state {
                State::Queued | State::Sent => return,
                State::Kept if !self.has_gap => self.totals.prefix.add(&entry.submission),
                State::Kept => {}
                State::Refused => {
                    self.has_gap = true;
                    if entry.is_unknown() {
                        self.totals.unknown.add(&entry.submission);
                    }
                }
            }
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

impl Entry {
    fn is_unknown(&self) -> bool {
        match self.state {
            State::Sent => true,
            State::Queued | State::Refused => self.uncertain,
            State::Kept => false,
        }
    }
}

fn entry_at(entries: &mut VecDeque<Entry>, first: u64, index: u64) -> Option<&mut Entry> {
    entries.get_mut(usize::try_from(index.checked_sub(first)?).ok()?)
}

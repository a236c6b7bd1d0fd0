//! The connection as a state machine without I/O, shared by both clients.
//!
//! Whoever drives it asks [`Exchange::step`] what to do and does that: connect, rest, or transfer bytes. It is
//! told what came of it. It is the driver that watches the deadline, since only the driver knows what it
//! waits for; [`Exchange::expire`] then says what was reached.

mod answers;
pub(crate) mod ask;
mod backoff;
mod inbox;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use batchd_protocol::{
    HELLO_MAGIC, Limits, PROTOCOL_VERSION, Request, Response, encode_message_into,
};

use crate::error::Error;
use crate::items::PackLimits;
use crate::options::Options;
use crate::submission::{Receipt, Submission, Ticket, Totals};
use ask::{Ask, Call};
use backoff::Backoff;
use inbox::Inbox;
use window::Window;

/// Once that much waits to be sent, no more is encoded, in bytes.
const OUTPUT_BYTES_ENOUGH: usize = 256 << 10;
/// Stands for "never" where a duration cannot be added to the time.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the driver is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Connect, then call [`Exchange::connected`] or [`Exchange::disconnected`].
    Connect,
    /// Nothing before that time.
    Rest(Instant),
    /// Send what is in [`Exchange::outgoing`], receive what there is; come back when something happened, or
    /// at that time.
    Transfer(Option<Instant>),
}

/// What the driver waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// To be welcomed.
    Welcome,
    /// To be welcomed, with room for a body of that many bytes.
    Room(u64),
    /// An answer to the submission of that index.
    Receipt(u64),
    /// An answer to every submission.
    Settled,
    /// An answer to the call.
    Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offline { retry_at: Option<Instant> },
    Greeting,
    Ready,
}

#[derive(Debug)]
pub(crate) struct Exchange {
    options: Options,
    phase: Phase,
    /// As of the last welcome.
    limits: Option<Limits>,
    inbox: Inbox,
    output: Vec<u8>,
    /// How much of `output` was sent.
    output_sent: usize,
    /// Bytes sent on this connection.
    sent_bytes: u64,
    next_request: u64,
    window: Window,
    call: Option<Call>,
    /// Request numbers of calls whose answers nobody waits for.
    forgotten: BTreeSet<u64>,
    /// Request number of the barrier that is under way.
    barrier: Option<u64>,
    /// Whether somebody waits for the submissions in flight.
    settling: bool,
    backoff: Backoff,
    /// Whether the daemon takes nothing more on this connection.
    is_deaf: bool,
    /// Whether the daemon said that it will answer nothing more on this connection.
    is_done_with: bool,
    /// Nothing is sent again before; set while something refused is queued.
    hold_until: Option<Instant>,
    last_error: Option<Error>,
    /// A refusal, told when all that is in flight has been answered.
    failure: Option<Error>,
}

impl Exchange {
    pub(crate) fn new(options: Options, jitter_seed: u64) -> Self {
        Self {
            phase: Phase::Offline { retry_at: None },
            limits: None,
            inbox: Inbox::default(),
            output: Vec::new(),
            output_sent: 0,
            sent_bytes: 0,
            next_request: 1,
            window: Window::new(options.window),
            call: None,
            forgotten: BTreeSet::new(),
            barrier: None,
            settling: false,
            backoff: Backoff::new(options.retry, jitter_seed),
            is_deaf: false,
            is_done_with: false,
            hold_until: None,
            last_error: None,
            failure: None,
            options,
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn limits(&self) -> Option<Limits> {
        self.limits
    }

    pub(crate) fn totals(&self) -> Totals {
        self.window.totals()
    }

    /// When a call that starts now must end, by its own patience or that of the options.
    pub(crate) fn deadline_from(&self, now: Instant, patience: Option<Duration>) -> Instant {
        after(now, patience.unwrap_or(self.options.deadline))
    }

    /// Takes a submission in, for which [`Goal::Room`] was reached.
    pub(crate) fn admit(
        &mut self,
        submission: Submission,
        tracked: bool,
        now: Instant,
    ) -> Result<Ticket, Error> {
        if let Some(limits) = self.limits {
            PackLimits::of(&limits).check(submission.body_bytes(), submission.items())?;
        }
        let deadline = self.deadline_from(now, None);
        Ok(Ticket(self.window.admit(submission, deadline, tracked)))
    }

    /// Asks something; [`Goal::Answer`] is the answer.
    pub(crate) fn ask(&mut self, ask: Ask) {
        self.forget_call();
        self.call = Some(Call {
            ask,
            sent: None,
            ends_at: 0,
            answer: None,
        });
    }

    /// The answer, of whatever kind, once [`Goal::Answer`] was reached.
    pub(crate) fn take_answer(&mut self) -> Result<Response, Error> {
        let answer = self.call.take().and_then(|call| call.answer);
        answer.unwrap_or(Err(Error::GivenUp))
    }

    pub(crate) fn take_receipt(&mut self, index: u64) -> Result<Receipt, Error> {
        self.window.take_receipt(index).ok_or(Error::GivenUp)
    }

    /// The driver begins to wait for something.
    pub(crate) fn begin(&mut self, goal: Goal) {
        self.settling = match goal {
            Goal::Receipt(_) | Goal::Settled => true,
            Goal::Room(bytes) => !self.window.has_room(bytes),
            Goal::Welcome | Goal::Answer => false,
        };
        if goal != Goal::Answer {
            self.forget_call();
        }
    }

    /// Whether there is nothing to wait for.
    pub(crate) fn is_reached(&self, goal: Goal) -> bool {
        let is_fine = self.failure.is_none();
        match goal {
            Goal::Welcome => self.phase == Phase::Ready,
            Goal::Room(bytes) => {
                is_fine && self.phase == Phase::Ready && self.window.has_room(bytes)
            }
            Goal::Receipt(index) => {
                self.window.receipt(index).is_some() || (is_fine && self.window.is_given_up(index))
            }
            Goal::Settled => is_fine && self.window.is_settled(),
            Goal::Answer => self.call.as_ref().is_none_or(|call| call.answer.is_some()),
        }
    }

    /// When a submission that is under way must be answered.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.window.deadline()
    }

    /// What to do next.
    ///
    /// # Errors
    /// The refusal of a submission, once no other is without an answer.
    pub(crate) fn step(&mut self, now: Instant) -> Result<Step, Error> {
        if self.failure.is_some()
            && !self.window.has_sent()
            && let Some(failure) = self.failure.take()
        {
            return Err(failure);
        }
        if std::mem::take(&mut self.is_done_with) {
            self.disconnected(closed(), now)?;
        }
        match self.phase {
            Phase::Offline { retry_at } => Ok(match retry_at {
                Some(at) if at > now => Step::Rest(at),
                _ => Step::Connect,
            }),
            Phase::Greeting => Ok(Step::Transfer(None)),
            Phase::Ready => {
                if self.is_deaf {
                    return Ok(Step::Transfer(None));
                }
                self.fill(now);
                // While something else is in flight it is that which ends the hold.
                Ok(Step::Transfer(
                    self.hold_until.filter(|_| !self.window.has_sent()),
                ))
            }
        }
    }

    /// There is a connection.
    pub(crate) fn connected(&mut self) {
        self.phase = Phase::Greeting;
        encode_message_into(
            &Request::Hello {
                magic: HELLO_MAGIC,
                version: PROTOCOL_VERSION,
                client: &self.options.client_name,
            },
            &mut self.output,
        );
    }

    /// There is no connection, or none any more. All that had no answer will be sent again.
    ///
    /// # Errors
    /// Where a connection cannot be expected.
    pub(crate) fn disconnected(&mut self, source: io::Error, now: Instant) -> Result<(), Error> {
        let error = if matches!(self.phase, Phase::Offline { .. }) {
            let was_welcomed = self.limits.is_some();
            let may_pass = may_pass(source.kind(), was_welcomed, self.options.wait_for_daemon);
            let error = Error::Connect {
                path: self.options.socket.clone(),
                source,
            };
            if !may_pass {
                return Err(error);
            }
            error
        } else {
            Error::Lost { source }
        };
        self.reset_connection();
        self.phase = Phase::Offline {
            retry_at: Some(after(now, self.backoff.next())),
        };
        // A refusal says more than the end of the connection that follows it.
        if !matches!(
            (&error, &self.last_error),
            (Error::Lost { .. }, Some(Error::Refused { .. }))
        ) {
            self.last_error = Some(error);
        }
        Ok(())
    }

    /// What is to be sent.
    pub(crate) fn outgoing(&self) -> &[u8] {
        self.output.get(self.output_sent..).unwrap_or_default()
    }

    /// That much of it was.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.output_sent += bytes;
        self.sent_bytes += bytes as u64;
        if self.outgoing().is_empty() {
            self.output.clear();
            self.output.shrink_to(4 * OUTPUT_BYTES_ENOUGH);
            self.output_sent = 0;
        }
    }

    /// The daemon takes nothing more on this connection. What it said before that is still to be read; the
    /// connection ends when it has been.
    pub(crate) fn cannot_send(&mut self) {
        self.output.clear();
        self.output_sent = 0;
        self.is_deaf = true;
    }

    /// Takes what the daemon sent.
    ///
    /// # Errors
    /// What cannot be met by trying again.
    pub(crate) fn received(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let taken = inbox.receive(bytes, |response| self.handle(response, now));
        self.inbox = inbox;
        taken
    }

    /// The driver's patience is at its end. The connection is given up, and the call; the submissions too,
    /// where it is they that waited too long or that were waited for. Where they are not, a refusal of one of them is
    /// still to be told.
    pub(crate) fn expire(&mut self, goal: Goal, waited: Duration, now: Instant) -> Error {
        let overdue = self.window.deadline().is_some_and(|at| at <= now);
        let abandons = overdue || !matches!(goal, Goal::Welcome | Goal::Answer);
        let failure = self.failure.take_if(|_| abandons);
        let error = Error::DeadlineExceeded {
            waited,
            kept: self.window.totals().kept.submissions,
            unknown: self.window.unknown_count(),
            welcomed: self.limits.is_some(),
            last: failure.or(self.last_error.take()).map(Box::new),
        };
        if abandons {
            self.window.abandon();
        }
        self.give_up_connection();
        error
    }

    /// Gives up all that is in flight, after an error that no repeat can mend. Returns what is to be told of
    /// it: the refusal of a submission, where there was one before.
    pub(crate) fn abandon(&mut self, error: Error) -> Error {
        let error = self.failure.take().unwrap_or(error);
        self.window.abandon();
        self.give_up_connection();
        error
    }

    /// Nobody waits for the call any more; its answer, if it comes, is ignored.
    fn forget_call(&mut self) {
        self.forgotten
            .extend(self.call.take().and_then(|call| call.sent));
    }

    fn give_up_connection(&mut self) {
        self.reset_connection();
        self.call = None;
        self.phase = Phase::Offline { retry_at: None };
    }

    fn reset_connection(&mut self) {
        self.inbox.clear();
        self.output.clear();
        self.output_sent = 0;
        self.barrier = None;
        self.forgotten.clear();
        self.is_deaf = false;
        self.is_done_with = false;
        self.hold_until = None;
        self.window.connection_lost();
        let sent_bytes = std::mem::take(&mut self.sent_bytes);
        if let Some(call) = &mut self.call {
            // What the daemon never had all of it has not done.
            let is_done_perhaps = call.sent.is_some() && call.ends_at <= sent_bytes;
            if is_done_perhaps && call.answer.is_none() && !call.ask.is_harmless_to_repeat() {
                call.answer = Some(Err(Error::OutcomeUnknown));
            }
            call.sent = None;
        }
    }

    /// Encodes what may be sent now.
    fn fill(&mut self, now: Instant) {
        // What was refused is sent again only when nothing else is in flight, so that the order is kept.
        if self.hold_until.is_some_and(|at| at <= now) && !self.window.has_sent() {
            self.hold_until = None;
        }
        if self.output_sent >= OUTPUT_BYTES_ENOUGH {
            self.output.drain(..self.output_sent);
            self.output_sent = 0;
        }
        let may_submit = self.hold_until.is_none() && self.failure.is_none();
        while may_submit && self.window.has_queued() && !self.has_output_enough() {
            let request = self.take_request_number();
            let output = &mut self.output;
            self.window
                .send_next(request, |message| encode_message_into(message, output));
        }
        let settling = self.settling || self.hold_until.is_some() || self.failure.is_some();
        if self.barrier.is_none() && self.window.wants_barrier(settling) {
            let request = self.take_request_number();
            encode_message_into(&Request::Status { request }, &mut self.output);
            self.barrier = Some(request);
            self.window.barrier_sent();
        }
        // A call comes after the submissions that were given before it.
        if !self.window.has_queued() || self.failure.is_some() {
            self.send_call();
        }
    }

    fn send_call(&mut self) {
        let request = self.next_request;
        if let Some(call) = &mut self.call
            && call.sent.is_none()
            && call.answer.is_none()
        {
            encode_message_into(&call.ask.request(request), &mut self.output);
            call.sent = Some(request);
            call.ends_at = self.sent_bytes + (self.output.len() - self.output_sent) as u64;
            self.next_request += 1;
        }
    }

    fn has_output_enough(&self) -> bool {
        self.output.len() - self.output_sent >= OUTPUT_BYTES_ENOUGH
    }

    fn take_request_number(&mut self) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        request
    }

    fn hold(&mut self, now: Instant) {
        if self.hold_until.is_none() {
            self.hold_until = Some(after(now, self.backoff.next()));
        }
    }

    fn went_well(&mut self) {
        self.backoff.reset();
        if !self.window.has_queued() {
            self.last_error = None;
        }
    }
}

/// What the end of a connection is reported as.
pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the daemon")
}

/// Whether a failure to connect may pass. A daemon that restarts leaves no socket, or one that nobody listens
/// at, or one that has not got its permissions yet. A connect that took too long leaves it to the deadline of the call
/// to say so.
fn may_pass(kind: io::ErrorKind, was_welcomed: bool, wait_for_daemon: bool) -> bool {
    match kind {
        io::ErrorKind::WouldBlock
        | io::ErrorKind::TimedOut
        | io::ErrorKind::Interrupted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted => true,
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            was_welcomed || wait_for_daemon
        }
        io::ErrorKind::PermissionDenied => was_welcomed,
        _ => false,
    }
}

/// The time `pause` after `now`, or the furthest there is.
fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause)
        .or_else(|| now.checked_add(FAR))
        .unwrap_or(now)
}

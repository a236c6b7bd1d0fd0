//! The blocking client. It waits in `poll` with a bound, never in a read, a write or a connect.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use batchd_frame::{BatchId, QueueName};
use batchd_protocol::{
    BatchInfo, FlushReport, HistoryCursor, HistoryEntry, Limits, ListCursor, ServerStatus,
    VerifiedPage,
};

use crate::client_state::ClientState;
use crate::error::Error;
use crate::exchange::ask::{PageOfItems, Question, read_answer};
use crate::exchange::{Goal, Step};
use crate::explicit::NewBatch;
use crate::history::HistoryQuery;
use crate::items::ItemBuffer;
use crate::options::Options;
use crate::paging::{Page, Pages, check_moves};
use crate::socket;
use crate::submission::{Receipt, Submission, Target, Ticket, Totals};

/// A client of one daemon, with one connection that is made when it is first needed and made again when it
/// breaks.
///
/// Submissions are kept in the order they are given, as long as none of them is refused while later ones are
/// in flight. Data moves only during calls: after the last [`Client::send`] comes a [`Client::settle`].
#[derive(Debug)]
pub struct Client {
    state: ClientState<UnixStream>,
}

impl Client {
    /// A client that is not connected yet.
    ///
    /// # Errors
    /// [`Error::Random`] where the system has no random bytes.
    pub fn new(options: Options) -> Result<Self, Error> {
        Ok(Self {
            state: ClientState::new(options, Instant::now)?,
        })
    }

    /// What the daemon takes; connects if need be.
    ///
    /// # Errors
    /// As any call: [`Error`].
    pub fn limits(&mut self) -> Result<Limits, Error> {
        if let Some(limits) = self.state.exchange.limits() {
            return Ok(limits);
        }
        self.drive(Goal::Welcome, None)?;
        self.state.exchange.limits().ok_or(Error::GivenUp)
    }

    /// Makes a submission of items, under the next id of this client. Each must be sent, in that order.
    #[must_use]
    pub fn prepare(&mut self, target: &Target, items: &ItemBuffer) -> Submission {
        self.state.prepare(target, items)
    }

    /// Submits and waits for the answer. What is true of the items when it returns, such as that they are on the
    /// medium, is [`Receipt::ack`].
    ///
    /// # Errors
    /// [`Error`]; also that of an earlier submission that is still in flight.
    pub fn submit(&mut self, submission: Submission) -> Result<Receipt, Error> {
        let ticket = self.send_tracked(submission)?;
        self.wait(&ticket)
    }

    /// Submits without waiting for the answer, but for room among those in flight. Nothing is known to be kept when it
    /// returns: [`Client::settle`] makes sure of that.
    ///
    /// # Errors
    /// [`Error`], of this submission or an earlier one.
    pub fn send(&mut self, submission: Submission) -> Result<(), Error> {
        self.enter(submission, false).map(drop)
    }

    /// As [`Client::send`], and keeps the receipt until it is asked for with [`Client::wait`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_tracked(&mut self, submission: Submission) -> Result<Ticket, Error> {
        self.enter(submission, true)
    }

    /// Waits for the answer to one submission. Its receipt is given once.
    ///
    /// # Errors
    /// [`Error`], of this submission or of another one in flight; [`Error::GivenUp`] where there is no receipt and none
    /// will come.
    pub fn wait(&mut self, ticket: &Ticket) -> Result<Receipt, Error> {
        self.drive(Goal::Receipt(ticket.index()), None)?;
        self.state.exchange.take_receipt(ticket.index())
    }

    /// Waits for the answers to all submissions: each is kept then as its target asked for. What asks for no answer is
    /// made sure of, too: it was taken, and did not fail. The result counts all submissions so far, also those that an
    /// earlier call gave up.
    ///
    /// # Errors
    /// [`Error`], of the first submission that failed.
    pub fn settle(&mut self) -> Result<Totals, Error> {
        self.drive(Goal::Settled, None)?;
        Ok(self.totals())
    }

    /// What became of all submissions so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state.exchange.totals()
    }

    /// Closes the batches of a queue, or of all where it is left out, and has them delivered. Answers at once; with
    /// `wait` when the sinks have answered, at most that long. [`Client::settle`] first to include what is in flight.
    ///
    /// # Errors
    /// [`Error`]; a sink that fails is [`ErrorCode::DeliveryFailed`](crate::ErrorCode::DeliveryFailed), and the batches
    /// are kept.
    pub fn flush(
        &mut self,
        queue: Option<&QueueName>,
        wait: Option<Duration>,
    ) -> Result<FlushReport, Error> {
        self.ask(Question::flush(queue.cloned(), wait.is_some()), wait)
    }

    /// The state of the daemon and of its queues.
    ///
    /// # Errors
    /// [`Error`]
    pub fn status(&mut self) -> Result<ServerStatus, Error> {
        self.ask(Question::status(), None)
    }

    /// The batches of a queue, or of all, read page by page. It ends after an error.
    pub fn list(&mut self, queue: Option<&QueueName>) -> Batches<'_> {
        Batches {
            client: self,
            queue: queue.cloned(),
            pages: Pages::new(None),
        }
    }

    /// One batch.
    ///
    /// # Errors
    /// [`Error`]
    pub fn show(&mut self, batch: BatchId) -> Result<BatchInfo, Error> {
        self.ask(Question::show(batch), None)
    }

    /// A page of what is wrong with batches, after `after`: one request reads a bounded number of them. Where `next`
    /// of the answer is set, ask for the page after it.
    ///
    /// # Errors
    /// [`Error`]
    pub fn verify_page(
        &mut self,
        queue: Option<&QueueName>,
        after: Option<ListCursor>,
    ) -> Result<VerifiedPage, Error> {
        let question = Question::verify(queue.cloned(), after.clone());
        let page = self.ask(question, None)?;
        check_moves(after.as_ref(), page.next.as_ref())?;
        Ok(page)
    }

    /// The items of a batch, in order, read page by page. It ends after an error.
    pub fn items(&mut self, batch: BatchId) -> BatchItems<'_> {
        BatchItems {
            client: self,
            batch,
            page: Question::items,
            pages: Pages::new(0),
        }
    }

    /// Makes a batch of its own. It is on the medium, whole, when this returns its id.
    ///
    /// It is sent once: where the connection breaks before the answer, nobody knows whether there is a batch. An answer
    /// with [`ErrorCode::Unknown`](crate::ErrorCode::Unknown) leaves it open, too.
    ///
    /// # Errors
    /// [`Error`]; there may be a batch where [`Error::may_have_created`].
    pub fn create(&mut self, batch: NewBatch) -> Result<BatchId, Error> {
        batch.check(&self.limits()?)?;
        self.ask(Question::create(batch), None)
    }

    /// What became of batches, newest first, read page by page. It ends after an error.
    pub fn history(&mut self, query: &HistoryQuery) -> History<'_> {
        History {
            client: self,
            query: query.clone(),
            pages: Pages::new(None),
        }
    }

    /// The items of a batch, as [`Client::items`], as long as its lifespan lasts: from then on it is refused as
    /// expired, wherever the reading is.
    pub fn get(&mut self, batch: BatchId) -> BatchItems<'_> {
        BatchItems {
            page: Question::items_while_it_lives,
            ..self.items(batch)
        }
    }

    /// The next of a listing; reads the page that it is on, if need be.
    fn next_of<T, C: Clone + PartialEq>(
        &mut self,
        pages: &mut Pages<T, C>,
        question: impl Fn(C) -> Question<Page<T, C>>,
    ) -> Option<Result<T, Error>> {
        loop {
            if let Some(next) = pages.pop() {
                return Some(Ok(next));
            }
            let got = self.ask(question(pages.cursor()?), None);
            if let Err(error) = pages.turned(got) {
                return Some(Err(error));
            }
        }
    }

    fn enter(&mut self, submission: Submission, tracked: bool) -> Result<Ticket, Error> {
        self.drive(Goal::Room(submission.body_bytes()), None)?;
        self.state.admit(submission, tracked)
    }

    fn ask<T>(&mut self, question: Question<T>, patience: Option<Duration>) -> Result<T, Error> {
        self.state.exchange.ask(question.ask);
        self.drive(Goal::Answer, patience)?;
        let answer = self.state.exchange.take_answer()?;
        self.state.checked(read_answer(answer, question.read))
    }

    /// Works on the connection until the goal is reached, or the deadline.
    fn drive(&mut self, goal: Goal, patience: Option<Duration>) -> Result<(), Error> {
        let start = Instant::now();
        let limit = self.state.exchange.deadline_from(start, patience);
        self.state.exchange.begin(goal);
        while !self.state.exchange.is_reached(goal) {
            let now = Instant::now();
            let deadline = self.state.exchange.deadline();
            let deadline = deadline.map_or(limit, |deadline| deadline.min(limit));
            let left = deadline.saturating_duration_since(now);
            self.turn(now, left)?;
            // What had arrived by the deadline counts, which is why it is looked at only now.
            if left.is_zero() && !self.state.exchange.is_reached(goal) {
                let waited = limit.saturating_duration_since(start);
                return Err(self.state.expire(goal, waited));
            }
        }
        Ok(())
    }

    /// One look at the connection, which waits at most `wait`.
    fn turn(&mut self, now: Instant, wait: Duration) -> Result<(), Error> {
        let turned = match self.state.exchange.step(now) {
            Ok(Step::Connect) => {
                self.state.stream = None;
                let connected = socket::connect_now(&self.state.exchange.options().socket);
                self.state.connected(connected)
            }
            Ok(Step::Rest(until)) => {
                self.state.stream = None;
                thread::sleep(until.saturating_duration_since(now).min(wait));
                Ok(())
            }
            Ok(Step::Transfer(until)) => {
                let until = until.map(|until| until.saturating_duration_since(now));
                self.ready(until.map_or(wait, |until| until.min(wait)))
                    .and_then(|()| self.state.transfer())
            }
            Err(error) => Err(error),
        };
        self.state.checked(turned)
    }

    /// Waits until there is something to read, or room to write if that is wanted, or the time is up.
    fn ready(&self, wait: Duration) -> Result<(), Error> {
        match &self.state.stream {
            Some(stream) if !wait.is_zero() => {
                let want_write = !self.state.exchange.outgoing().is_empty();
                socket::wait_ready(stream, want_write, wait).map_err(Error::Wait)
            }
            _ => Ok(()),
        }
    }
}

/// Batches, in order of queue and seq.
#[derive(Debug)]
pub struct Batches<'c> {
    client: &'c mut Client,
    queue: Option<QueueName>,
    pages: Pages<BatchInfo, Option<ListCursor>>,
}

impl Iterator for Batches<'_> {
    type Item = Result<BatchInfo, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.client.next_of(&mut self.pages, |after| {
            Question::list(self.queue.clone(), after)
        })
    }
}

/// Items of a batch, in order.
#[derive(Debug)]
pub struct BatchItems<'c> {
    client: &'c mut Client,
    batch: BatchId,
    page: fn(BatchId, u64) -> Question<PageOfItems>,
    pages: Pages<Vec<u8>, u64>,
}

impl Iterator for BatchItems<'_> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.client
            .next_of(&mut self.pages, |cursor| (self.page)(self.batch, cursor))
    }
}

/// What became of batches, newest first.
#[derive(Debug)]
pub struct History<'c> {
    client: &'c mut Client,
    query: HistoryQuery,
    pages: Pages<HistoryEntry, Option<HistoryCursor>>,
}

impl Iterator for History<'_> {
    type Item = Result<HistoryEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.client.next_of(&mut self.pages, |after| {
            Question::history(self.query.clone(), after)
        })
    }
}

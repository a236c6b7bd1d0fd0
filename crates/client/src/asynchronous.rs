//! The client on tokio.
//!
//! Every future may be dropped at any point: what is in flight stays in flight, and the next call goes on
//! with it. A request that is no submission is forgotten with its future; a listing asks for the page again.

use std::io;
use std::time::{Duration, Instant};

use batchd_frame::{BatchId, QueueName};
use batchd_protocol::{
    BatchInfo, FlushReport, HistoryCursor, HistoryEntry, Limits, ListCursor, ServerStatus,
    VerifiedPage,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time;

use crate::client_state::{ClientState, Socket};
use crate::error::Error;
use crate::exchange::ask::{PageOfItems, Question, read_answer};
use crate::exchange::{Goal, Step};
use crate::explicit::NewBatch;
use crate::history::HistoryQuery;
use crate::items::ItemBuffer;
use crate::options::Options;
use crate::paging::{Page, Pages, check_moves};
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
            state: ClientState::new(options, now)?,
        })
    }

    /// What the daemon takes; connects if need be.
    ///
    /// # Errors
    /// As any call: [`Error`].
    pub async fn limits(&mut self) -> Result<Limits, Error> {
        if let Some(limits) = self.state.exchange.limits() {
            return Ok(limits);
        }
        self.drive(Goal::Welcome, None).await?;
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
    pub async fn submit(&mut self, submission: Submission) -> Result<Receipt, Error> {
        let ticket = self.send_tracked(submission).await?;
        self.wait(&ticket).await
    }

    /// Submits without waiting for the answer, but for room among those in flight. Nothing is known to be kept when it
    /// returns: [`Client::settle`] makes sure of that.
    ///
    /// # Errors
    /// [`Error`], of this submission or an earlier one.
    pub async fn send(&mut self, submission: Submission) -> Result<(), Error> {
        self.enter(submission, false).await.map(drop)
    }

    /// As [`Client::send`], and keeps the receipt until it is asked for with [`Client::wait`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_tracked(&mut self, submission: Submission) -> Result<Ticket, Error> {
        self.enter(submission, true).await
    }

    /// Waits for the answer to one submission. Its receipt is given once.
    ///
    /// # Errors
    /// [`Error`], of this submission or of another one in flight; [`Error::GivenUp`] where there is no receipt and none
    /// will come.
    pub async fn wait(&mut self, ticket: &Ticket) -> Result<Receipt, Error> {
        self.drive(Goal::Receipt(ticket.index()), None).await?;
        self.state.exchange.take_receipt(ticket.index())
    }

    /// Waits for the answers to all submissions: each is kept then as its target asked for. What asks for no answer is
    /// made sure of, too: it was taken, and did not fail. The result counts all submissions so far, also those that an
    /// earlier call gave up.
    ///
    /// # Errors
    /// [`Error`], of the first submission that failed.
    pub async fn settle(&mut self) -> Result<Totals, Error> {
        self.drive(Goal::Settled, None).await?;
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
    pub async fn flush(
        &mut self,
        queue: Option<&QueueName>,
        wait: Option<Duration>,
    ) -> Result<FlushReport, Error> {
        self.ask(Question::flush(queue.cloned(), wait.is_some()), wait)
            .await
    }

    /// The state of the daemon and of its queues.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn status(&mut self) -> Result<ServerStatus, Error> {
        self.ask(Question::status(), None).await
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
    pub async fn show(&mut self, batch: BatchId) -> Result<BatchInfo, Error> {
        self.ask(Question::show(batch), None).await
    }

    /// A page of what is wrong with batches, after `after`: one request reads a bounded number of them. Where `next`
    /// of the answer is set, ask for the page after it.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn verify_page(
        &mut self,
        queue: Option<&QueueName>,
        after: Option<ListCursor>,
    ) -> Result<VerifiedPage, Error> {
        let question = Question::verify(queue.cloned(), after.clone());
        let page = self.ask(question, None).await?;
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
    pub async fn create(&mut self, batch: NewBatch) -> Result<BatchId, Error> {
        batch.check(&self.limits().await?)?;
        self.ask(Question::create(batch), None).await
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
    async fn next_of<T, C: Clone + PartialEq>(
        &mut self,
        pages: &mut Pages<T, C>,
        question: impl Fn(C) -> Question<Page<T, C>>,
    ) -> Result<Option<T>, Error> {
        loop {
            if let Some(next) = pages.pop() {
                return Ok(Some(next));
            }
            let Some(cursor) = pages.cursor() else {
                return Ok(None);
            };
            pages.turned(self.ask(question(cursor), None).await)?;
        }
    }

    async fn enter(&mut self, submission: Submission, tracked: bool) -> Result<Ticket, Error> {
        self.drive(Goal::Room(submission.body_bytes()), None)
            .await?;
        self.state.admit(submission, tracked)
    }

    async fn ask<T>(
        &mut self,
        question: Question<T>,
        patience: Option<Duration>,
    ) -> Result<T, Error> {
        self.state.exchange.ask(question.ask);
        self.drive(Goal::Answer, patience).await?;
        let answer = self.state.exchange.take_answer()?;
        self.state.checked(read_answer(answer, question.read))
    }

    /// Works on the connection until the goal is reached, or the deadline.
    async fn drive(&mut self, goal: Goal, patience: Option<Duration>) -> Result<(), Error> {
        let start = now();
        let limit = self.state.exchange.deadline_from(start, patience);
        self.state.exchange.begin(goal);
        while !self.state.exchange.is_reached(goal) {
            let deadline = self.state.exchange.deadline();
            let deadline = deadline.map_or(limit, |deadline| deadline.min(limit));
            let is_overdue = deadline <= now();
            self.turn(deadline).await?;
            // What had arrived by the deadline counts, which is why it is looked at only now.
            if is_overdue && !self.state.exchange.is_reached(goal) {
                let waited = limit.saturating_duration_since(start);
                return Err(self.state.expire(goal, waited));
            }
        }
        Ok(())
    }

    /// One look at the connection, which waits until `deadline` at most.
    async fn turn(&mut self, deadline: Instant) -> Result<(), Error> {
        let turned = match self.state.exchange.step(now()) {
            Ok(Step::Connect) => self.connect(deadline).await,
            Ok(Step::Rest(until)) => {
                self.state.stream = None;
                time::sleep_until(until.min(deadline).into()).await;
                Ok(())
            }
            Ok(Step::Transfer(until)) => {
                self.ready(until.map_or(deadline, |until| until.min(deadline)))
                    .await;
                self.state.transfer()
            }
            Err(error) => Err(error),
        };
        self.state.checked(turned)
    }

    async fn connect(&mut self, deadline: Instant) -> Result<(), Error> {
        self.state.stream = None;
        let connecting = UnixStream::connect(&self.state.exchange.options().socket);
        let connected = time::timeout_at(deadline.into(), connecting).await;
        self.state
            .connected(connected.unwrap_or_else(|elapsed| Err(elapsed.into())))
    }

    /// Waits until there is something to read, or room to write if that is wanted, or the time is up.
    async fn ready(&self, until: Instant) {
        let Some(stream) = &self.state.stream else {
            return;
        };
        let mut wanted = Interest::READABLE;
        if !self.state.exchange.outgoing().is_empty() {
            wanted |= Interest::WRITABLE;
        }
        // A socket that cannot be waited for says why when it is used.
        drop(time::timeout_at(until.into(), stream.ready(wanted)).await);
    }
}

/// By tokio's clock, which tests can stop.
fn now() -> Instant {
    time::Instant::now().into_std()
}

impl Socket for UnixStream {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }
}

/// Batches, in order of queue and seq.
#[derive(Debug)]
pub struct Batches<'c> {
    client: &'c mut Client,
    queue: Option<QueueName>,
    pages: Pages<BatchInfo, Option<ListCursor>>,
}

impl Batches<'_> {
    /// The next batch; nothing at the end. Where its future is dropped, the next call gives what this one would have
    /// given.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn next(&mut self) -> Result<Option<BatchInfo>, Error> {
        self.client
            .next_of(&mut self.pages, |after| {
                Question::list(self.queue.clone(), after)
            })
            .await
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

impl BatchItems<'_> {
    /// The next item; nothing at the end. Where its future is dropped, the next call gives what this one would have
    /// given.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.client
            .next_of(&mut self.pages, |cursor| (self.page)(self.batch, cursor))
            .await
    }
}

/// What became of batches, newest first.
#[derive(Debug)]
pub struct History<'c> {
    client: &'c mut Client,
    query: HistoryQuery,
    pages: Pages<HistoryEntry, Option<HistoryCursor>>,
}

impl History<'_> {
    /// The next entry; nothing at the end. Where its future is dropped, the next call gives what this one would have
    /// given.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn next(&mut self) -> Result<Option<HistoryEntry>, Error> {
        self.client
            .next_of(&mut self.pages, |after| {
                Question::history(self.query.clone(), after)
            })
            .await
    }
}

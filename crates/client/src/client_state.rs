//! What both clients share besides the exchange: the socket, as far as nothing waits for it, and the numbering.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::exchange::{Exchange, Goal, Step, closed};
use crate::ids::Numbering;
use crate::items::ItemBuffer;
use crate::options::Options;
use crate::submission::{Submission, Target, Ticket};

/// Received at once, in bytes.
const RECEIVE_BYTES: usize = 64 << 10;
/// Receptions in a row before the deadline is looked at again: a daemon that never stops sending must not
/// keep a call from ending.
const RECEIVES_MAX: usize = 64;

/// A connected socket that never blocks: what cannot be done at once is [`io::ErrorKind::WouldBlock`].
pub(crate) trait Socket {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize>;
    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

#[derive(Debug)]
pub(crate) struct ClientState<S> {
    pub(crate) exchange: Exchange,
    pub(crate) stream: Option<S>,
    clock: fn() -> Instant,
    buffer: Vec<u8>,
    numbering: Numbering,
    /// Target of the last submission, which most often is that of the next.
    target: Option<Arc<Target>>,
}

impl<S: Socket> ClientState<S> {
    pub(crate) fn new(options: Options, clock: fn() -> Instant) -> Result<Self, Error> {
        let mut producer = [0; 16];
        getrandom::fill(&mut producer)?;
        let jitter_seed = getrandom::u64()?;
        Ok(Self {
            numbering: Numbering::new(&options.identity, producer),
            exchange: Exchange::new(options, jitter_seed),
            stream: None,
            clock,
            buffer: vec![0; RECEIVE_BYTES],
            target: None,
        })
    }

    pub(crate) fn prepare(&mut self, target: &Target, items: &ItemBuffer) -> Submission {
        let shared = match &self.target {
            Some(last) if **last == *target => Arc::clone(last),
            _ => Arc::new(target.clone()),
        };
        self.target = Some(Arc::clone(&shared));
        let (id, may_be_known) = self.numbering.next();
        Submission::new(id, may_be_known, shared, items)
    }

    /// Takes a submission in for which there is room, and sends what can be sent without waiting.
    pub(crate) fn admit(&mut self, submission: Submission, tracked: bool) -> Result<Ticket, Error> {
        let ticket = self.exchange.admit(submission, tracked, (self.clock)())?;
        let pumped = match self.exchange.step((self.clock)()) {
            Ok(Step::Transfer(_)) => self.transfer(),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        self.checked(pumped)?;
        Ok(ticket)
    }

    /// A try to connect came to an end.
    pub(crate) fn connected(&mut self, connected: io::Result<S>) -> Result<(), Error> {
        match connected {
            Ok(stream) => {
                self.stream = Some(stream);
                self.exchange.connected();
                Ok(())
            }
            Err(error) => self.disconnected(error),
        }
    }

    /// Sends what can be sent and receives what there is, without waiting.
    pub(crate) fn transfer(&mut self) -> Result<(), Error> {
        let lost = match &self.stream {
            Some(stream) => {
                send_some(stream, &mut self.exchange);
                receive_some(stream, &mut self.exchange, &mut self.buffer, self.clock)?
            }
            None => Some(closed()),
        };
        lost.map_or(Ok(()), |error| self.disconnected(error))
    }

    /// The time of the call that works towards the goal is up.
    pub(crate) fn expire(&mut self, goal: Goal, waited: Duration) -> Error {
        self.stream = None;
        self.exchange.expire(goal, waited, (self.clock)())
    }

    /// After an error nothing is in flight any more.
    pub(crate) fn checked<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| {
            self.stream = None;
            self.exchange.abandon(error)
        })
    }

    fn disconnected(&mut self, error: io::Error) -> Result<(), Error> {
        self.stream = None;
        self.exchange.disconnected(error, (self.clock)())
    }
}

fn send_some(stream: &impl Socket, exchange: &mut Exchange) {
    while !exchange.outgoing().is_empty() {
        match stream.try_send(exchange.outgoing()) {
            Ok(sent) => exchange.sent(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => exchange.cannot_send(),
        }
    }
}

/// Receives what there is, within bounds. Returns why there will be no more, if so.
///
/// Only [`io::ErrorKind::WouldBlock`] says that there is no more now. A read that leaves room in the buffer does not:
/// tokio would take the socket for readable still.
fn receive_some(
    stream: &impl Socket,
    exchange: &mut Exchange,
    buffer: &mut [u8],
    clock: fn() -> Instant,
) -> Result<Option<io::Error>, Error> {
    for _ in 0..RECEIVES_MAX {
        match stream.try_receive(buffer) {
            Ok(0) => return Ok(Some(closed())),
            Ok(count) => {
                let received = buffer.get(..count).unwrap_or_default();
                exchange.received(received, clock())?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Some(error)),
        }
    }
    Ok(None)
}

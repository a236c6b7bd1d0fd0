//! One connection: reads messages, and sends what was answered.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use batchd_protocol::{ErrorCode, LENGTH_BYTES, Response, encode_message_into};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::mailbox::Ticket;
use super::order::Order;
use super::parking::{self, Parked};
use super::requests::{self, Ended};
use super::seldom::Seldom;
use super::thread::{READ_BYTES, Thread};
use crate::engine::admin::Asked;

/// A client that does not read its answers is not read from, past this many bytes of them.
const ANSWERS_BYTES_MAX: usize = 256 << 10;
/// So many requests of a connection may be with the main runtime.
const HANDED_OUT_MAX: usize = 16;
/// Past this many, which only one read can bring, the connection is closed.
pub(super) const HANDED_OUT_LIMIT: usize = 1024;
/// A message longer than a read must be whole after this: its memory is reserved.
const LONG_MESSAGE_TIME: Duration = Duration::from_secs(60);

/// Of one that sends no more, it is looked so often whether it is still there.
const LAST_ANSWERS_LOOK: Duration = Duration::from_millis(200);

/// A connection.
pub(super) struct Connection {
    pub(super) number: u64,
    stream: UnixStream,
    answers: RefCell<Vec<u8>>,
    /// Somebody waits until what is to be sent was sent, a request came back, or no submission is undecided.
    progress: Notify,
    handed_out: Cell<usize>,
    pub(super) greeted: Cell<bool>,
    /// Submissions that are kept, and answered when the sink has them.
    pub(super) waiting_for_sink: Cell<usize>,
    /// Which submissions are undecided, and what waits for them.
    pub(super) order: RefCell<Order<(Ticket, Asked)>>,
    /// How often connections were closed for cause.
    closed: Rc<Seldom>,
    /// Who is on the other side, for the log.
    pub(super) peer: String,
    /// The submission that waits for room, and bytes that are kept with it.
    pub(super) parked: RefCell<Option<Parked>>,
    pub(super) parked_bytes: Cell<usize>,
}

impl Connection {
    pub(super) fn new(number: u64, stream: UnixStream, closed: Rc<Seldom>) -> Self {
        let peer = match stream.peer_cred() {
            Ok(cred) => {
                let pid = cred.pid().map_or("?".to_owned(), |pid| pid.to_string());
                format!("pid={pid} uid={} gid={}", cred.uid(), cred.gid())
            }
            Err(error) => format!("unknown ({error})"),
        };
        Self {
            number,
            stream,
            answers: RefCell::default(),
            progress: Notify::new(),
            handed_out: Cell::new(0),
            greeted: Cell::new(false),
            order: RefCell::default(),
            closed,
            peer,
            parked: RefCell::default(),
            parked_bytes: Cell::default(),
            waiting_for_sink: Cell::default(),
        }
    }

    /// Whether it is not known yet what becomes of a submission of it.
    pub(super) fn is_undecided(&self) -> bool {
        self.order.borrow().is_waiting()
    }

    /// Whether a submission of it is kept, and answered when the sink has it.
    pub(super) fn waits_for_sink(&self) -> bool {
        self.waiting_for_sink.get() > 0
    }

    /// Whether something that it asked has no last answer yet.
    fn has_answers_to_come(&self) -> bool {
        self.is_undecided() || self.waits_for_sink() || self.handed_out.get() > 0
    }

    /// Whether anything is to come for it, or to be sent.
    fn is_busy(&self) -> bool {
        self.has_answers_to_come() || !self.answers.borrow().is_empty()
    }

    /// Adds a response to what is to be sent; says whether there was nothing before.
    pub(super) fn put(&self, response: &Response) -> bool {
        let mut answers = self.answers.borrow_mut();
        let first = answers.is_empty();
        encode_message_into(response, &mut answers);
        first
    }

    /// Sends what the socket takes. What it does not take is sent by the connection's own task.
    pub(super) fn send(&self) {
        let mut answers = self.answers.borrow_mut();
        let mut sent = 0;
        while let Some(rest) = answers.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(n) if n > 0 => sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The client is gone; its task finds out when it reads.
                _ => sent = answers.len(),
            }
        }
        answers.drain(..sent);
        if !answers.is_empty() {
            self.progress.notify_waiters();
        } else if answers.capacity() > ANSWERS_BYTES_MAX {
            *answers = Vec::new();
        }
    }

    /// Sends what there is, if there is something.
    pub(super) fn send_all(&self) {
        if !self.answers.borrow().is_empty() {
            self.send();
        }
    }

    /// Waits until something more of the answers was sent.
    pub(super) async fn sent(&self) -> io::Result<()> {
        if self.answers.borrow().is_empty() {
            self.progress.notified().await;
        } else {
            self.stream.writable().await?;
            self.send();
        }
        Ok(())
    }

    /// Whether nobody is on the other side any more. One that only sends no more is still there.
    pub(super) fn is_gone(&self) -> bool {
        let gone = |kind| {
            matches!(
                kind,
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            )
        };
        self.stream
            .try_write(&[])
            .is_err_and(|error| gone(error.kind()))
    }

    /// Whether more requests are with the main runtime than a client has reason to send.
    pub(super) fn asks_too_much(&self) -> bool {
        self.handed_out.get() >= HANDED_OUT_LIMIT
    }

    /// A request goes to the main runtime.
    pub(super) fn hand_out(&self) {
        self.handed_out.set(self.handed_out.get() + 1);
    }

    /// It came back.
    pub(super) fn taken_back(&self) {
        self.handed_out.set(self.handed_out.get().saturating_sub(1));
        self.note_progress();
    }

    /// Something that it may wait for has happened.
    pub(super) fn note_progress(&self) {
        self.progress.notify_waiters();
    }

    /// Says why the connection is going to be closed.
    pub(super) fn fail(&self, failed: &Response) {
        if let Response::Failed { code, message, .. } = failed
            && let Some(closed) = self.closed.note()
        {
            tracing::warn!(
                peer = self.peer,
                closed,
                "connection closed: {code:?}: {message}"
            );
        }
        self.put(failed);
        self.send();
    }

    /// Whether it adds to what waits to be appended, of which there is too much. That ends when all of its submissions
    /// are decided, at the latest.
    fn is_ahead(&self, thread: &Thread) -> bool {
        self.is_undecided() && thread.is_behind()
    }

    /// Waits for that.
    async fn fall_back(&self, thread: &Thread) {
        while self.is_ahead(thread) {
            self.progress.notified().await;
        }
    }

    /// Sends what is left, and waits while the client does not read, or has too many requests out, or sends
    /// submissions faster than they are written.
    async fn settle(&self, thread: &Thread) -> io::Result<()> {
        loop {
            let waiting = self.answers.borrow().len();
            let busy = self.handed_out.get() >= HANDED_OUT_MAX || self.is_ahead(thread);
            if waiting < ANSWERS_BYTES_MAX && !busy {
                // Reading goes on; sending is tried again as soon as there is room.
                return Ok(());
            }
            tokio::select! {
                ready = self.stream.writable(), if waiting > 0 => {
                    ready?;
                    self.send();
                }
                () = self.progress.notified(), if busy => {}
            }
        }
    }

    /// Waits until there is something to read; sends meanwhile.
    async fn readable(&self) -> io::Result<()> {
        loop {
            let unsent = !self.answers.borrow().is_empty();
            tokio::select! {
                ready = self.stream.readable() => return ready,
                ready = self.stream.writable(), if unsent => {
                    ready?;
                    self.send();
                }
                () = self.progress.notified(), if !unsent => {}
            }
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(thread: &Thread, connection: &Connection) {
    tracing::debug!(peer = connection.peer, "connected");
    let served = serve_messages(thread, connection).await;
    if served.is_ok() {
        // Who sends no more may still want to know what became of what was sent.
        while connection.has_answers_to_come() && !connection.is_gone() {
            tokio::select! {
                () = thread.turn_ended(LAST_ANSWERS_LOOK) => {}
                // Where that fails, it is gone.
                _ = connection.sent() => {}
            }
        }
    }
    match served {
        Ok(()) => tracing::debug!(peer = connection.peer, "disconnected"),
        Err(error) => tracing::debug!(peer = connection.peer, %error, "connection lost"),
    }
    parking::unpark(thread, connection);
    if connection.answers.borrow().is_empty() {
        return;
    }
    // The last answers of one that is closed for cause; it need not take them.
    let rest = async {
        while !connection.answers.borrow().is_empty() {
            connection.stream.writable().await?;
            connection.send();
        }
        io::Result::Ok(())
    };
    if tokio::time::timeout(Duration::from_secs(1), rest)
        .await
        .is_err()
    {
        tracing::debug!(peer = connection.peer, "did not take its last answers");
    }
}

async fn serve_messages(thread: &Thread, connection: &Connection) -> io::Result<()> {
    // The start of a message whose rest has not arrived.
    let mut kept: Vec<u8> = Vec::new();
    loop {
        connection.settle(thread).await?;
        thread.turn_has_room().await;
        let is_alive = next_bytes(thread, connection).await?;
        if thread.stopping.get() {
            return Ok(());
        }
        if !is_alive {
            close_idle(connection);
            return Ok(());
        }
        let Some(read) = read_some(thread, connection, &mut kept) else {
            continue;
        };
        if read? == 0
            || parking::wait_parked(thread, connection, &mut kept).await? == Ended::Connection
        {
            return Ok(());
        }
        let long = match declared(&kept, thread.engine.limits.message_bytes_max) {
            Declared::Short => continue,
            Declared::Closed => return Ok(()),
            Declared::Long(bytes) => bytes,
        };
        // Reserved before it is read, so that one that was begun can be finished.
        let permits = u32::try_from(long).unwrap_or(u32::MAX);
        let Ok(permits) = thread.engine.long_messages.acquire_many(permits).await else {
            return Ok(());
        };
        let whole = read_long(thread, connection, &mut kept, long);
        let Ok(whole) = tokio::time::timeout(LONG_MESSAGE_TIME, whole).await else {
            let (bytes, secs) = (long - LENGTH_BYTES, LONG_MESSAGE_TIME.as_secs());
            let late = format!(
                "a message of {bytes} bytes did not arrive within {secs} s: send it again on a new connection"
            );
            connection.fail(&requests::refuse(0, ErrorCode::BadMessage, late));
            return Ok(());
        };
        whole?;
        if thread.stopping.get() {
            return Ok(());
        }
        let message = kept.get(LENGTH_BYTES..).unwrap_or_default();
        let mut ended = parking::handle_or_park(thread, connection, message, kept.len());
        if ended == Ended::No {
            connection.fall_back(thread).await;
        }
        // One that is parked is paid for elsewhere.
        drop(permits);
        if ended == Ended::Parked {
            ended = parking::wait_parked(thread, connection, &mut kept).await?;
        }
        kept = Vec::new();
        if ended == Ended::Connection {
            return Ok(());
        }
    }
}

/// Waits for something to read. False where the connection has been silent for too long, and waits for nothing.
async fn next_bytes(thread: &Thread, connection: &Connection) -> io::Result<bool> {
    let Some(limit) = thread.engine.idle_timeout else {
        return connection.readable().await.map(|()| true);
    };
    loop {
        match tokio::time::timeout(limit, connection.readable()).await {
            Ok(readable) => return readable.map(|()| true),
            Err(_) if connection.is_busy() => {}
            Err(_) => return Ok(false),
        }
    }
}

fn close_idle(connection: &Connection) {
    tracing::debug!(peer = connection.peer, "idle for too long; closed");
    let message = "nothing came for too long: connect again".to_owned();
    connection.put(&requests::refuse(0, ErrorCode::IdleConnection, message));
    connection.send();
}

/// What the kept start of a message declares.
enum Declared {
    /// A message that fits a read, or not even a length.
    Short,
    /// One that is longer: with its length, so many bytes.
    Long(usize),
    /// The connection was closed over it.
    Closed,
}

fn declared(kept: &[u8], bytes_max: u64) -> Declared {
    let Some(length) = kept.first_chunk::<LENGTH_BYTES>() else {
        return Declared::Short;
    };
    let bytes = u64::from(u32::from_le_bytes(*length));
    if bytes > bytes_max {
        // The read found that too, has answered, and ended.
        return Declared::Closed;
    }
    let whole = usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .saturating_add(LENGTH_BYTES);
    if whole <= READ_BYTES {
        Declared::Short
    } else {
        Declared::Long(whole)
    }
}

/// Reads once, behind what is kept, and handles every message that is whole. Nothing where there was nothing to
/// read after all.
fn read_some(
    thread: &Thread,
    connection: &Connection,
    kept: &mut Vec<u8>,
) -> Option<io::Result<usize>> {
    let mut buffer = thread.buffer.borrow_mut();
    let start = kept.len().min(READ_BYTES);
    let (head, room) = buffer.split_at_mut_checked(start)?;
    head.copy_from_slice(kept.get(..start)?);
    let read = match connection
        .stream
        .try_read(room.get_mut(..thread.read_bytes())?)
    {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
        Err(error) => return Some(Err(error)),
        Ok(0) => return Some(Ok(0)),
        Ok(read) => read,
    };
    thread.note_read(read);
    let bytes = buffer.get(..start + read)?;
    let (done, ended) = parking::handle_messages(thread, connection, bytes);
    if ended == Ended::Connection {
        return Some(Ok(0));
    }
    let rest = bytes.get(done..)?;
    if rest.is_empty() {
        // Between messages a connection costs no memory.
        *kept = Vec::new();
    } else {
        kept.clear();
        kept.extend_from_slice(rest);
    }
    // Refusals and the like are answered without a commit.
    connection.send_all();
    Some(Ok(read))
}

/// Reads the rest of a long message into memory of its own.
async fn read_long(
    thread: &Thread,
    connection: &Connection,
    kept: &mut Vec<u8>,
    whole: usize,
) -> io::Result<()> {
    let mut have = kept.len();
    while have < whole {
        connection.stream.readable().await?;
        // Grown as it arrives, and never past what it will be: what is only declared costs nothing.
        let end = whole.min(have + READ_BYTES);
        if kept.capacity() < end {
            let wanted = whole.min(end.max(2 * have));
            kept.reserve_exact(wanted - kept.len());
        }
        kept.resize(end, 0);
        match connection
            .stream
            .try_read(kept.get_mut(have..end).unwrap_or_default())
        {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        kept.truncate(have.max(LENGTH_BYTES));
    }
    thread.note_read(whole);
    Ok(())
}

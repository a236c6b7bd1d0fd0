//! Submissions that wait for room, of queues that do not refuse: `overflow` is `block` or `drop-oldest`; and repeats
//! that wait until it is known, after a start, whether they were kept before.
//!
//! The connection of such a submission is not read further, and what was read of it behind the submission is kept,
//! so that everything is taken in order. Those who wait for the same queue stand in a line: only the first of it
//! tries, and whoever comes later goes to its end. What is kept is bounded in all; past that, submissions are
//! refused after all. A client's own deadline bounds its wait: one that has gone is noticed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use batchd_core::policy::{Load, Overflow};
use batchd_frame::QueueName;
use batchd_protocol::{ErrorCode, LENGTH_BYTES, split_message};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::Connection;
use super::requests::{self, Ended, Patience};
use super::thread::Thread;
use crate::engine::Queue;

/// Bytes that are kept for connections that wait, all together.
const PARKED_BYTES_MAX: usize = 32 << 20;
/// What nothing tells of is looked at this often: room on the file system, clients that have gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A queue that drops its oldest batches has made room by then, or cannot.
const DROP_TIME: Duration = Duration::from_secs(10);

/// A submission that waits.
#[derive(Clone)]
pub(super) struct Parked {
    queue: Arc<Queue>,
    why: Why,
    request: u64,
    since: Instant,
}

/// What it waits for.
#[derive(Clone, Copy)]
pub(super) enum Why {
    /// So much room.
    Room(Load),
    /// That it is known what was kept before the start.
    Recall,
}

impl Why {
    fn name(self) -> &'static str {
        match self {
            Self::Room(_) => "room",
            Self::Recall => "the recall",
        }
    }
}

/// Those of a thread who wait.
#[derive(Default)]
pub(super) struct Parking {
    /// Connections, by queue, in order of arrival.
    lines: RefCell<HashMap<QueueName, VecDeque<u64>>>,
    /// Somebody left a line.
    moved: Notify,
    bytes: Cell<usize>,
}

impl Parking {
    /// Whether others stand before this connection.
    pub(super) fn is_behind(&self, queue: &Queue, connection: u64) -> bool {
        let lines = self.lines.borrow();
        lines
            .get(&queue.name)
            .and_then(VecDeque::front)
            .is_some_and(|first| *first != connection)
    }

    fn join(&self, queue: &Queue, connection: u64) {
        let mut lines = self.lines.borrow_mut();
        let line = lines.entry(queue.name.clone()).or_default();
        if !line.contains(&connection) {
            line.push_back(connection);
        }
    }

    fn leave(&self, queue: &Queue, connection: u64) {
        let mut lines = self.lines.borrow_mut();
        if let Some(line) = lines.get_mut(&queue.name) {
            line.retain(|other| *other != connection);
            if line.is_empty() {
                lines.remove(&queue.name);
            }
        }
        drop(lines);
        self.moved.notify_waiters();
    }

    fn take(&self, bytes: usize) -> bool {
        let after = self.bytes.get().saturating_add(bytes);
        let fits = after <= PARKED_BYTES_MAX;
        if fits {
            self.bytes.set(after);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }
}

/// Lets a submission wait; it is tried again later, as a whole. What it waits for is what it was told last: a repeat
/// that was recalled may find the queue full, and one that waited for room a recall.
pub(super) fn park(
    thread: &Thread,
    connection: &Connection,
    queue: &Arc<Queue>,
    why: Why,
    request: u64,
) {
    match why {
        Why::Room(_) => thread.parking.join(queue, connection.number),
        // Others who submit to the queue do not stand behind it.
        Why::Recall => thread.parking.leave(queue, connection.number),
    }
    let mut parked = connection.parked.borrow_mut();
    let before = parked
        .take()
        .filter(|before| std::mem::discriminant(&before.why) == std::mem::discriminant(&why));
    if before.is_none() {
        let what = why.name();
        tracing::debug!(peer = connection.peer, queue = %queue.name, "waits for {what}");
    }
    *parked = Some(Parked {
        queue: Arc::clone(queue),
        why,
        request,
        since: before.map_or_else(Instant::now, |before| before.since),
    });
}

/// Handles every message in `bytes` that is whole, up to one that has to wait. Says how many bytes are done with.
pub(super) fn handle_messages(
    thread: &Thread,
    connection: &Connection,
    bytes: &[u8],
) -> (usize, Ended) {
    let max = usize::try_from(thread.engine.limits.message_bytes_max).unwrap_or(usize::MAX);
    let mut rest = bytes;
    loop {
        let (message, behind) = match split_message(rest, max) {
            Ok(Some(split)) => split,
            Ok(None) => return (bytes.len() - rest.len(), Ended::No),
            Err(error) => {
                let code = ErrorCode::MessageTooLarge;
                connection.fail(&requests::refuse(
                    0,
                    code,
                    requests::explain(connection, &error),
                ));
                return (bytes.len(), Ended::Connection);
            }
        };
        match handle_or_park(thread, connection, message, rest.len()) {
            Ended::No => rest = behind,
            ended => return (bytes.len() - rest.len(), ended),
        }
    }
}

/// Handles a message. Where it has to wait, and with it `kept` bytes can be kept, the connection is parked.
pub(super) fn handle_or_park(
    thread: &Thread,
    connection: &Connection,
    message: &[u8],
    kept: usize,
) -> Ended {
    let ended = requests::handle(thread, connection, message, Patience::Waits);
    if ended != Ended::Parked {
        return ended;
    }
    if thread.parking.take(kept) {
        connection.parked_bytes.set(kept);
        return ended;
    }
    unpark(thread, connection);
    requests::handle(thread, connection, message, Patience::Ends)
}

/// Waits while the connection is parked, and goes on with what was kept of it, of which the submission that waits
/// is the first message.
///
/// # Errors
/// Where the client has gone.
pub(super) async fn wait_parked(
    thread: &Thread,
    connection: &Connection,
    kept: &mut Vec<u8>,
) -> io::Result<Ended> {
    loop {
        let Some(parked) = connection.parked.borrow().clone() else {
            return Ok(Ended::No);
        };
        let patience = wait(thread, connection, &parked).await?;
        if thread.stopping.get() {
            // It was told so, and is not begun after that.
            return Ok(Ended::Connection);
        }
        // The time of its items is that at which they are taken.
        thread.note_read(0);
        let Ok(Some((message, behind))) = split_message(kept, usize::MAX) else {
            // It was whole when it was parked.
            return Ok(Ended::Connection);
        };
        match requests::handle(thread, connection, message, patience) {
            // Whatever it is told, the others have their turn.
            Ended::Parked => {
                tokio::task::yield_now().await;
                continue;
            }
            Ended::Connection => return Ok(Ended::Connection),
            Ended::No => unpark(thread, connection),
        }
        let (done, ended) = handle_messages(thread, connection, behind);
        kept.drain(..LENGTH_BYTES + message.len() + done);
        connection.send_all();
        if ended == Ended::Connection {
            return Ok(ended);
        }
    }
}

/// Waits until it is worth trying again.
async fn wait(thread: &Thread, connection: &Connection, parked: &Parked) -> io::Result<Patience> {
    let Parked { queue, why, .. } = parked;
    let drops = matches!(why, Why::Room(_)) && queue.overflow == Overflow::DropOldest;
    loop {
        // Made before the look, so that nothing is missed.
        let room = thread.engine.room.notified();
        let moved = thread.parking.moved.notified();
        if connection.is_gone() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if thread.stopping.get() {
            return Ok(Patience::Ends);
        }
        if let Why::Recall = why
            && queue.commit.has_recalled()
        {
            return Ok(Patience::Waits);
        }
        if let Why::Room(need) = why
            && !thread.parking.is_behind(queue, connection.number)
        {
            let mut state = queue.commit.lock();
            // What would be refused for another reason is told so.
            match state.could_take(*need) {
                Err(refusal) if refusal.is_for_want_of_room() => {}
                _ => return Ok(Patience::Waits),
            }
            state.want_room(*need);
        }
        if drops {
            if parked.since.elapsed() >= DROP_TIME {
                return Ok(Patience::Ends);
            }
            thread.engine.house.ring();
        }
        tokio::select! {
            () = room => {}
            () = moved => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            sent = connection.sent() => sent?,
        }
    }
}

/// Ends the wait of a connection, if it waits.
pub(super) fn unpark(thread: &Thread, connection: &Connection) {
    if let Some(parked) = connection.parked.take() {
        thread.parking.leave(&parked.queue, connection.number);
        thread.parking.give_back(connection.parked_bytes.take());
    }
}

/// Tells a connection that waits that it does so in vain.
pub(super) fn refuse_parked(thread: &Thread, connection: &Connection) {
    let parked = connection.parked.borrow().clone();
    if let Some(Parked { why, request, .. }) = parked {
        unpark(thread, connection);
        let (code, message) = match why {
            Why::Room(_) => (
                ErrorCode::Stopping,
                "the daemon is stopping; nothing of this was kept",
            ),
            Why::Recall => (
                ErrorCode::Unknown,
                "the daemon is stopping; whether this was kept before is not known yet: repeat it under its id",
            ),
        };
        connection.put(&requests::refuse(request, code, message.to_owned()));
        connection.send();
    }
}

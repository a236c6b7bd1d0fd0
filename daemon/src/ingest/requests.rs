//! What a message asks, and what is done about it on the ingest thread.

use batchd_core::policy::{Load, Overflow};
use batchd_core::queue::{Begun, Incoming, Refusal};
use batchd_core::spool::space::Shortage;
use batchd_frame::ids::{KEY_BYTES_MAX, QUEUE_NAME_BYTES_MAX};
use batchd_frame::{NameError, codec};
use batchd_protocol::{
    Ack, Create, ErrorCode, HELLO_MAGIC, PROTOCOL_VERSION, Request, Response, Submit,
};

use super::connection::{Connection, HANDED_OUT_LIMIT};
use super::parking::{self, Why};
use super::thread::Thread;
use crate::engine::admin::{self, Asked, Failed};
use crate::engine::explicit::NewBatch;
use crate::engine::not_found;

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It does.
    No,
    /// It is to be closed; the reason was answered.
    Connection,
    /// The message waits for room, and with it what is behind it.
    Parked,
}

/// What is done about a submission for which there is no room, in a queue that does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is parked.
    Waits,
    /// It has waited long enough, or cannot: it is refused.
    Ends,
}

/// Handles one message.
pub(super) fn handle(
    thread: &Thread,
    connection: &Connection,
    message: &[u8],
    patience: Patience,
) -> Ended {
    let request = match codec::decode_borrowed::<Request<'_>>(message) {
        Ok(request) => request,
        Err(error) => {
            let failed = refuse(0, ErrorCode::BadMessage, explain(connection, &error));
            return close(connection, &failed);
        }
    };
    if !connection.greeted.get() {
        return greet(thread, connection, &request);
    }
    match request {
        Request::Hello { .. } => {
            let again = "hello was said before".to_owned();
            close(connection, &refuse(0, ErrorCode::BadMessage, again))
        }
        Request::Submit(submit) => match submit_to(thread, connection, &submit, patience) {
            Ok(ended) => ended,
            Err(failed) => {
                connection.put(&failed);
                Ended::No
            }
        },
        Request::Create(create) => make(thread, connection, &create),
        other => ask(thread, connection, &other),
    }
}

/// Why what came is no message. Of one that never said hello, what exactly is wrong tells nobody anything.
pub(super) fn explain(connection: &Connection, error: &dyn std::error::Error) -> String {
    if connection.greeted.get() {
        error.to_string()
    } else {
        "the other side does not speak batchd's protocol".to_owned()
    }
}

fn ask(thread: &Thread, connection: &Connection, request: &Request<'_>) -> Ended {
    let number = admin::request_number(request);
    if asks_too_much(connection) {
        return Ended::Connection;
    }
    if let Err((code, message)) = check_queue(admin::request_queue(request)) {
        connection.put(&refuse(number, code, message));
        return Ended::No;
    }
    if let Some(asked) = Asked::of(request) {
        let ticket = thread.ticket(connection, number, false);
        thread.ask(connection, ticket, asked);
    }
    Ended::No
}

/// Hands a batch that is to be made to the main runtime: its syncs are none of the ingest thread's.
fn make(thread: &Thread, connection: &Connection, create: &Create<'_>) -> Ended {
    let number = create.request;
    if asks_too_much(connection) {
        return Ended::Connection;
    }
    let checked = check_queue(Some(create.queue)).and_then(|()| check_key(create.key));
    match checked.and_then(|()| NewBatch::take(&thread.engine, create)) {
        Ok(new) => {
            let ticket = thread.ticket(connection, number, false);
            thread.ask(connection, ticket, Asked::Create(Box::new(new)));
        }
        Err((code, message)) => {
            connection.put(&refuse(number, code, message));
        }
    }
    Ended::No
}

/// What is no name of a queue is not carried any further: it may be as long as a message.
fn check_queue(name: Option<&str>) -> Result<(), Failed> {
    match name {
        Some(name) if name.len() > QUEUE_NAME_BYTES_MAX => Err(not_found(name)),
        _ => Ok(()),
    }
}

/// The same of a key.
fn check_key(key: &[u8]) -> Result<(), Failed> {
    if key.len() > KEY_BYTES_MAX {
        return Err((ErrorCode::BadName, NameError::Key(key.len()).to_string()));
    }
    Ok(())
}

/// Closes the connection of one who has more out than he has reason to.
fn asks_too_much(connection: &Connection) -> bool {
    let is_too_much = connection.asks_too_much();
    if is_too_much {
        let message = format!(
            "more than {HANDED_OUT_LIMIT} requests at once that are not submissions: wait for answers in between"
        );
        connection.fail(&refuse(0, ErrorCode::BadMessage, message));
    }
    is_too_much
}

fn greet(thread: &Thread, connection: &Connection, request: &Request<'_>) -> Ended {
    let Request::Hello {
        magic: HELLO_MAGIC,
        version,
        client,
    } = request
    else {
        let message = "the first message is not batchd's hello".to_owned();
        return close(connection, &refuse(0, ErrorCode::BadMessage, message));
    };
    if *version != PROTOCOL_VERSION {
        let message =
            format!("client speaks version {version}, this daemon version {PROTOCOL_VERSION}");
        return close(
            connection,
            &refuse(0, ErrorCode::UnsupportedVersion, message),
        );
    }
    let client: String = client
        .chars()
        .take(64)
        .flat_map(char::escape_debug)
        .collect();
    tracing::debug!(peer = connection.peer, client, "greeted");
    connection.greeted.set(true);
    connection.put(&Response::Welcome {
        version: PROTOCOL_VERSION,
        server: admin::SERVER.to_owned(),
        limits: thread.engine.limits,
    });
    Ended::No
}

fn close(connection: &Connection, failed: &Response) -> Ended {
    connection.fail(failed);
    Ended::Connection
}

pub(super) fn refuse(request: u64, code: ErrorCode, message: String) -> Box<Response> {
    Box::new(Response::Failed {
        request,
        code,
        message,
    })
}

/// Checks a submission and puts it into its queue's next group.
fn submit_to(
    thread: &Thread,
    connection: &Connection,
    submit: &Submit<'_>,
    patience: Patience,
) -> Result<Ended, Box<Response>> {
    let number = submit.request;
    let queue = thread.queue(submit.queue).map_err(|none| {
        let (code, message) = none.answer();
        refuse(number, code, message)
    })?;
    let view = thread
        .engine
        .check_body(submit.body, submit.items, submit.body_crc)
        .map_err(|(code, message)| refuse(number, code, message))?;
    let ack = submit.ack.unwrap_or(queue.ack);
    // Who leaves the choice to the queue cannot know that it is not to be answered, and is.
    let quiet = submit.ack == Some(Ack::None);
    let incoming = Incoming {
        key: submit.key,
        body: submit.body,
        body_crc: submit.body_crc,
        view,
        ack,
        repeat: submit.repeat,
        end_of_batch: submit.end_of_batch,
        received_at: thread.read_at.get(),
    };
    let may_wait = queue.overflow != Overflow::Reject && patience == Patience::Waits;
    let need = Load {
        items: u64::from(view.count()),
        bytes: view.item_bytes(),
    };
    if may_wait && thread.parking.is_behind(&queue, connection.number) {
        parking::park(thread, connection, &queue, Why::Room(need), number);
        return Ok(Ended::Parked);
    }
    match queue
        .commit
        .begin(&incoming, thread.ticket(connection, number, quiet))
    {
        Ok(Begun::Waiting) => {
            connection.order.borrow_mut().wait();
            thread.mark_dirty(&queue);
        }
        // It holds up nothing behind it: it is kept.
        Ok(Begun::Durable) => {
            let waiting = &connection.waiting_for_sink;
            waiting.set(waiting.get() + 1);
        }
        Ok(Begun::Known) if quiet => {}
        Ok(Begun::Known) => {
            connection.put(&Response::Accepted {
                request: number,
                ack,
                repeat: true,
            });
        }
        Err(refusal) if refusal.is_for_want_of_room() => {
            if may_wait || matches!(refusal, Refusal::Shortage(Shortage::ReadOnly)) {
                // It makes room, or finds out whether the disk can be written again.
                thread.engine.house.ring();
            }
            if may_wait {
                parking::park(thread, connection, &queue, Why::Room(need), number);
                return Ok(Ended::Parked);
            }
            return Err(refuse(number, refusal_code(&refusal), refusal.to_string()));
        }
        Err(Refusal::Recalling) if patience == Patience::Waits => {
            parking::park(thread, connection, &queue, Why::Recall, number);
            return Ok(Ended::Parked);
        }
        Err(refusal) => return Err(refuse(number, refusal_code(&refusal), refusal.to_string())),
    }
    Ok(Ended::No)
}

pub(crate) fn refusal_code(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::ItemOverMaxBytes { .. } => ErrorCode::ItemTooLarge,
        Refusal::TooManyParts => ErrorCode::SubmissionTooLarge,
        Refusal::Name(_) => ErrorCode::BadName,
        Refusal::UnderWay | Refusal::Recalling => ErrorCode::Unknown,
        Refusal::NoSink => ErrorCode::NoSink,
        Refusal::TooManyWaiting(_) => ErrorCode::TooManyWaiting,
        Refusal::EndedBadly => ErrorCode::Dropped,
        Refusal::Shortage(shortage) => match shortage {
            Shortage::SpoolFull { .. } => ErrorCode::SpoolFull,
            Shortage::ReadOnly => ErrorCode::ReadOnly,
            _ => ErrorCode::NoSpace,
        },
        Refusal::QueueItems { .. } | Refusal::QueueBytes { .. } => ErrorCode::QueueFull,
        Refusal::OverQuota { .. } => ErrorCode::SubmissionTooLarge,
        Refusal::Stopped => ErrorCode::Stopping,
        _ => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_that_are_none_go_no_further() {
        let code = |checked: Result<(), Failed>| checked.err().map(|(code, _)| code);
        assert_eq!(code(check_queue(None)), None);
        assert_eq!(code(check_queue(Some(&"q".repeat(64)))), None);
        let long = "q".repeat(16 << 20);
        let (code_of_long, message) = check_queue(Some(&long)).expect_err("too long");
        assert_eq!(code_of_long, ErrorCode::UnknownQueue);
        assert!(message.len() < 200, "{message}");
        assert_eq!(code(check_key(&[0; 255])), None);
        assert_eq!(code(check_key(&[0; 256])), Some(ErrorCode::BadName));
    }
}

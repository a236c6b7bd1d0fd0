//! One ingest thread: its listeners, its connections, and the commits it leads.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use batchd_core::queue::{Answer, Led};
use batchd_protocol::{ErrorCode, encode_message};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::connection::{self, Connection};
use super::mailbox::{Letter, Ticket, response};
use super::parking::{self, Parking};
use super::requests;
use super::seldom::Seldom;
use crate::config::Config;
use crate::engine::admin::{self, Asked};
use crate::engine::{Engine, NoQueue, Queue};
use crate::listen::Socket;

/// Bytes that are read in one turn; what is more waits in the sockets.
const TURN_BYTES: usize = 8 << 20;
/// While so much waits to be appended, in all queues, a connection that adds to it is not read from, and little is
/// read from the others.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// Before a thread ends it waits so long until what was begun is decided, by whoever leads, and answered.
const LAST_ANSWERS_TIME: Duration = Duration::from_secs(1);
/// So many letters are put before the connections are sent what they have.
const LETTERS_AT_ONCE: usize = 1024;
/// A read.
pub(super) const READ_BYTES: usize = 256 << 10;
/// A read while too much waits.
const READ_BYTES_BEHIND: usize = 4 << 10;

/// The running threads.
pub(crate) struct Ingest {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Ingest {
    /// Ends them behind the commit under way: what is acknowledged is answered, nothing more is read.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an ingest thread had panicked");
            }
        }
    }
}

/// Starts the threads. `main` is the runtime for requests that have to do with more than the queues' front.
///
/// # Errors
/// Where there is no thread or runtime to be had.
pub(crate) fn start(
    engine: &Arc<Engine>,
    main: &Handle,
    config: &Config,
    sockets: &[Socket],
) -> io::Result<Ingest> {
    let (stop, stopped) = watch::channel(false);
    let connections = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for number in 0..u16::try_from(config.ingest_threads).unwrap_or(u16::MAX) {
        let listeners = sockets
            .iter()
            .map(|s| s.listener.try_clone())
            .collect::<io::Result<Vec<_>>>()?;
        let shared = Shared {
            engine: Arc::clone(engine),
            main: main.clone(),
            connections: Arc::clone(&connections),
            connections_max: config.limits.connections as usize,
            number,
        };
        let (mailbox, stopped) = (engine.mailboxes.open(), stopped.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let listeners = listeners
            .into_iter()
            .map(UnixListener::from_std)
            .collect::<io::Result<Vec<_>>>()?;
        drop(guard);
        let thread = std::thread::Builder::new()
            .name(format!("ingest-{number}"))
            .spawn(move || {
                LocalSet::new().block_on(&runtime, run(shared, listeners, mailbox, stopped));
            })?;
        threads.push(thread);
    }
    Ok(Ingest { stop, threads })
}

/// What a thread is given.
struct Shared {
    engine: Arc<Engine>,
    main: Handle,
    connections: Arc<AtomicUsize>,
    connections_max: usize,
    number: u16,
}

/// What the tasks of a thread share.
pub(super) struct Thread {
    pub(super) engine: Arc<Engine>,
    pub(super) main: Handle,
    number: u16,
    connections: Arc<AtomicUsize>,
    connections_max: usize,
    open: RefCell<HashMap<u64, Rc<Connection>>>,
    next_connection: Cell<u64>,
    /// Nothing more is read.
    pub(super) stopping: Cell<bool>,
    /// Queues with submissions that wait for a commit.
    dirty: RefCell<Vec<Arc<Queue>>>,
    /// Wakes the commit.
    commit: Notify,
    /// Bytes read since the last commit.
    turn_bytes: Cell<usize>,
    turn_over: Notify,
    /// When the last read was, unix time in microseconds.
    pub(super) read_at: Cell<u64>,
    /// Connections that wait for room.
    pub(super) parking: Parking,
    /// Connections that were closed for cause.
    closed: Rc<Seldom>,
    /// Connections that were refused.
    refused: Seldom,
    /// Connections that could not even be refused.
    not_accepted: Seldom,
    /// The buffer all connections are read into, one after another.
    pub(super) buffer: RefCell<Vec<u8>>,
    queues: RefCell<HashMap<String, Arc<Queue>>>,
    /// The queue that was named last: most submissions name the same again.
    last_queue: RefCell<Option<Arc<Queue>>>,
}

impl Thread {
    pub(super) fn ticket(&self, connection: &Connection, request: u64, quiet: bool) -> Ticket {
        Ticket {
            thread: self.number,
            connection: connection.number,
            request,
            number: connection.order.borrow_mut().number(),
            quiet,
        }
    }

    /// Takes a request that speaks of what was submitted before it on the same connection, and starts it when all
    /// of that is decided.
    pub(super) fn ask(&self, connection: &Connection, ticket: Ticket, asked: Asked) {
        connection.hand_out();
        let free = connection.order.borrow_mut().hold((ticket, asked));
        if let Some((ticket, asked)) = free {
            admin::start(&self.engine, &self.main, ticket, asked);
        }
    }

    /// A submission of this connection was decided. Says whether its answer is the first of those to be sent.
    fn decide(&self, connection: &Connection, ticket: Ticket, answer: Answer) -> bool {
        let is_success = matches!(answer, Answer::Kept(_) | Answer::KeptBefore(_));
        // Of one that waits for the sink, it is decided that it is kept; the answer comes later.
        let is_told = answer != Answer::Durable && !(ticket.quiet && is_success);
        let is_first = is_told && connection.put(&response(ticket.request, answer));
        let waiting = &connection.waiting_for_sink;
        if !answer.decides() {
            waiting.set(waiting.get().saturating_sub(1));
            return is_first;
        }
        waiting.set(waiting.get() + usize::from(answer == Answer::Durable));
        let free = connection.order.borrow_mut().decide(ticket.number);
        if !connection.is_undecided() {
            connection.note_progress();
        }
        for (ticket, asked) in free {
            admin::start(&self.engine, &self.main, ticket, asked);
        }
        is_first
    }

    /// A queue by name, remembered.
    ///
    /// # Errors
    /// [`NoQueue`].
    pub(super) fn queue(&self, name: &str) -> Result<Arc<Queue>, NoQueue> {
        let mut last = self.last_queue.borrow_mut();
        if let Some(queue) = last.as_ref().filter(|queue| queue.name.as_str() == name) {
            return Ok(Arc::clone(queue));
        }
        let known = self.queues.borrow().get(name).cloned();
        let queue = match known {
            Some(queue) => queue,
            None => {
                let queue = self.engine.queue(name)?;
                self.queues
                    .borrow_mut()
                    .insert(name.to_owned(), Arc::clone(&queue));
                queue
            }
        };
        *last = Some(Arc::clone(&queue));
        Ok(queue)
    }

    /// Something waits for a commit of this queue.
    pub(super) fn mark_dirty(&self, queue: &Arc<Queue>) {
        let mut dirty = self.dirty.borrow_mut();
        if !dirty.iter().any(|other| Arc::ptr_eq(other, queue)) {
            dirty.push(Arc::clone(queue));
            self.commit.notify_one();
        }
    }

    /// Counts bytes that were read in this turn, and takes note of the time.
    pub(super) fn note_read(&self, bytes: usize) {
        self.read_at
            .set(self.engine.spool.env().clock.wall_micros());
        self.turn_bytes.set(self.turn_bytes.get() + bytes);
    }

    /// Whether so much waits to be appended that those who add to it have to wait.
    pub(super) fn is_behind(&self) -> bool {
        self.engine.pending_bytes.load(Ordering::Relaxed) >= PENDING_BYTES_MAX
    }

    /// How much is read at once.
    pub(super) fn read_bytes(&self) -> usize {
        match self.is_behind() {
            true => READ_BYTES_BEHIND,
            false => READ_BYTES,
        }
    }

    /// Waits while this turn has read its share.
    pub(super) async fn turn_has_room(&self) {
        while self.turn_bytes.get() >= TURN_BYTES && !self.stopping.get() {
            self.commit.notify_one();
            self.turn_over.notified().await;
        }
    }

    /// Waits until answers may have been given, at most so long.
    pub(super) async fn turn_ended(&self, at_most: Duration) {
        tokio::select! {
            () = self.turn_over.notified() => {}
            () = tokio::time::sleep(at_most) => {}
        }
    }

    /// Waits until no connection is as said, and nothing is left to lead for others; not for long.
    async fn wait_for_none(&self, is_so: impl Fn(&Connection) -> bool) {
        let until = Instant::now() + LAST_ANSWERS_TIME;
        let is_left = || {
            let dirty = !self.dirty.borrow().is_empty();
            dirty || self.open.borrow().values().any(|open| is_so(open))
        };
        while is_left() && Instant::now() < until {
            self.turn_ended(until - Instant::now()).await;
        }
    }

    fn answer(&self, answers: &mut Vec<(Ticket, Answer)>, touched: &mut Vec<Rc<Connection>>) {
        let open = self.open.borrow();
        // Answers to one connection come in runs.
        let mut last: Option<&Rc<Connection>> = None;
        for (ticket, answer) in answers.drain(..) {
            if ticket.thread != self.number {
                self.engine.mailboxes.send_answer(ticket, answer);
                continue;
            }
            if last.is_none_or(|connection| connection.number != ticket.connection) {
                last = open.get(&ticket.connection);
            }
            if let Some(connection) = last
                && self.decide(connection, ticket, answer)
            {
                touched.push(Rc::clone(connection));
            }
        }
    }
}

async fn run(
    shared: Shared,
    listeners: Vec<UnixListener>,
    mailbox: UnboundedReceiver<(Ticket, Letter)>,
    mut stop: watch::Receiver<bool>,
) {
    let engine = Arc::clone(&shared.engine);
    let _alive = engine.cannot_do_without("an ingest thread");
    let thread = Rc::new(Thread {
        engine: shared.engine,
        main: shared.main,
        number: shared.number,
        connections: shared.connections,
        connections_max: shared.connections_max,
        open: RefCell::default(),
        next_connection: Cell::new(1),
        stopping: Cell::new(false),
        dirty: RefCell::default(),
        commit: Notify::new(),
        turn_bytes: Cell::new(0),
        turn_over: Notify::new(),
        read_at: Cell::new(0),
        parking: Parking::default(),
        closed: Rc::default(),
        refused: Seldom::default(),
        not_accepted: Seldom::default(),
        buffer: RefCell::new(vec![0; 2 * READ_BYTES]),
        queues: RefCell::default(),
        last_queue: RefCell::default(),
    });
    let mut accepting = Vec::new();
    for listener in listeners {
        let accept = accept(Rc::clone(&thread), listener);
        accepting.push(tokio::task::spawn_local(accept));
    }
    tokio::task::spawn_local(deliver_letters(Rc::clone(&thread), mailbox));
    tokio::task::spawn_local(commit(Rc::clone(&thread)));
    // The sender lives until it has sent.
    stop.wait_for(|stop| *stop).await.ok();
    thread.stopping.set(true);
    for accept in accepting {
        accept.abort();
    }
    end(&thread).await;
}

/// Answers all who wait. A client that does not read is not waited for.
async fn end(thread: &Thread) {
    for connection in thread.open.borrow().values() {
        parking::refuse_parked(thread, connection);
    }
    // What was begun is decided, here or by another thread that leads.
    thread.wait_for_none(Connection::is_undecided).await;
    // Then all that waits for a sink is durable.
    thread.engine.release_waiting();
    thread.wait_for_none(Connection::waits_for_sink).await;
}

/// A connection that is open until its task ends, however that is.
struct Open {
    thread: Rc<Thread>,
    connection: Rc<Connection>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let Self { thread, connection } = self;
        parking::unpark(thread, connection);
        thread.open.borrow_mut().remove(&connection.number);
        thread.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes connections in.
async fn accept(thread: Rc<Thread>, listener: UnixListener) {
    let _alive = thread.engine.cannot_do_without("taking connections in");
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: those there are will end.
                if let Some(failures) = thread.not_accepted.note() {
                    tracing::warn!(
                        %error, failures,
                        "cannot accept connections: raise LimitNOFILE= (or ulimit -n), or lower connections in [limits]"
                    );
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if thread.connections.fetch_add(1, Ordering::Relaxed) >= thread.connections_max {
            thread.connections.fetch_sub(1, Ordering::Relaxed);
            refuse_one(&thread, stream);
            continue;
        }
        let number = thread.next_connection.get();
        thread.next_connection.set(number + 1);
        let closed = Rc::clone(&thread.closed);
        let connection = Rc::new(Connection::new(number, stream, closed));
        thread
            .open
            .borrow_mut()
            .insert(number, Rc::clone(&connection));
        let open = Open {
            thread: Rc::clone(&thread),
            connection,
        };
        tokio::task::spawn_local(async move {
            connection::serve(&open.thread, &open.connection).await;
        });
    }
}

/// Tells a client that there are too many already.
fn refuse_one(thread: &Thread, stream: UnixStream) {
    let max = thread.connections_max;
    if let Some(refused) = thread.refused.note() {
        tracing::warn!(
            max,
            refused,
            "too many connections: raise connections in [limits], or close some"
        );
    }
    let message =
        format!("there are {max} connections, which is all there may be: try again later");
    let failed = requests::refuse(0, ErrorCode::TooManyConnections, message);
    // A fresh socket has room for it; a client that is gone has no use for it.
    let told = stream
        .into_std()
        .and_then(|mut stream| stream.write_all(&encode_message(&*failed)));
    if let Err(error) = told {
        tracing::debug!(%error, "a client that is refused is not told why");
    }
}

/// Passes on what other threads answer.
async fn deliver_letters(thread: Rc<Thread>, mut mailbox: UnboundedReceiver<(Ticket, Letter)>) {
    let _alive = thread.engine.cannot_do_without("passing on answers");
    let (mut letters, mut touched) = (Vec::new(), Vec::new());
    while mailbox.recv_many(&mut letters, LETTERS_AT_ONCE).await > 0 {
        for (ticket, letter) in letters.drain(..) {
            let connection = thread.open.borrow().get(&ticket.connection).cloned();
            let Some(connection) = connection else {
                continue;
            };
            let is_first = match letter {
                Letter::Answer(answer) => thread.decide(&connection, ticket, answer),
                Letter::Reply(response) => {
                    connection.taken_back();
                    connection.put(&response)
                }
            };
            if is_first {
                touched.push(connection);
            }
        }
        for connection in touched.drain(..) {
            connection.send();
        }
        thread.turn_over.notify_waiters();
    }
}

/// Leads the commits of what the connections bring in.
async fn commit(thread: Rc<Thread>) {
    let _alive = thread.engine.cannot_do_without("the commit");
    loop {
        thread.commit.notified().await;
        // Every socket that is ready is read before: what waits goes into one group.
        tokio::task::yield_now().await;
        lead_all(&thread);
    }
}

fn lead_all(thread: &Thread) {
    let dirty = std::mem::take(&mut *thread.dirty.borrow_mut());
    let (mut answers, mut touched) = (Vec::new(), Vec::new());
    let mut ring = false;
    for queue in &dirty {
        let led = queue.commit.lead(&mut answers);
        thread.answer(&mut answers, &mut touched);
        ring |= queue.commit.take_keep_due();
        match led {
            Ok(Led::Idle) => {}
            Ok(Led::More) => thread.mark_dirty(queue),
            Err(broken) => {
                touched.iter().for_each(|connection| connection.send());
                thread.engine.break_down(&queue.name, &broken);
            }
        }
    }
    for connection in touched {
        connection.send();
    }
    thread.turn_bytes.set(0);
    thread.turn_over.notify_waiters();
    if ring {
        thread.engine.house.ring();
    }
}

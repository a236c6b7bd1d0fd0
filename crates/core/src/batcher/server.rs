//! A batch server: a batcher on a thread of its own.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder as ThreadBuilder, JoinHandle};

use super::builder::{Builder, Recipe};
use super::callbacks::Batcher;
use super::engine::Asker;
use super::error::{
    Accepted, AddFailure, FlushError, NotAdded, NotFlushed, NotRunning, Refused, StartError,
    StopError,
};
use super::mailbox::{Mailbox, NotSent};
use super::status::{Recovered, ServerState};
use super::worker::{Message, Started, refuse_all, run};

/// Where failures of items go that are added without waiting.
pub type Failures<I> = Sender<AddFailure<I>>;

/// A [`Batcher`] that runs on a thread of its own, where it is also made. Any number of threads may add to it.
///
/// # When a callback fails
/// - `init` at the start: there is no server. Later: it is called again for the next item, which is refused until it
///   succeeds.
/// - `add_item`: the item is refused, and given back.
/// - `pre_flush` and `flush`: the batch is kept, and tried again after a while, which doubles with each failure
///   ([`Options::backoff`](super::Options::backoff)), or when somebody asks for a flush. Meanwhile items are taken into
///   the next batch. Those of the batch that failed were taken, each once, and are not to be added again.
/// - `post_flush`: it is reported. The batch was delivered, and is not delivered again.
/// - `should_flush` that panics counts as "no".
/// - `terminate`: it is told to who stops the server, which stops all the same.
///
/// A panic in `init`, `flush`, `post_flush` or `terminate` is a failure like any other. One in `add_item` or
/// `pre_flush` may leave the batch half-changed. Where it is durable, it is made anew from its items. In memory there
/// is nothing to make it from: the server dies, and all that it had is gone, rather than to deliver what nobody
/// submitted. It also dies of an item that panics when it is cloned or dropped, durable or not; what is durable is there
/// at the next start.
///
/// # Callbacks
/// They must not wait for the server that runs them: where that would be, they get [`NotRunning::InCallback`].
/// [`try_add_item`](Self::try_add_item), [`flush`](Self::flush), [`abort`](Self::abort) and
/// [`is_running`](Self::is_running) do not wait.
///
/// Dropping a server stops it, as [`stop`](Self::stop), and waits for the end of its thread, also of one that was
/// aborted.
pub struct BatchServer<B: Batcher> {
    recipe: Arc<Mutex<Recipe<B>>>,
    running: Mutex<Option<Running<B::Item>>>,
    /// Held by who starts a thread, or waits for its end.
    starting: Mutex<()>,
}

/// A thread, and the way to it.
struct Running<I> {
    mailbox: Arc<Mailbox<Message<I>>>,
    recovered: Recovered,
    thread: Option<JoinHandle<()>>,
}

thread_local! {
    /// The server that this thread is.
    static SERVES: Cell<usize> = const { Cell::new(0) };
}

impl<B: Batcher> std::fmt::Debug for BatchServer<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BatchServer")
    }
}

impl<B> BatchServer<B>
where
    B: Batcher + 'static,
    B::Item: Send + 'static,
{
    /// A server of what `make` makes: on its thread, at every start.
    pub fn of(make: impl FnMut() -> B + Send + 'static) -> Builder<B> {
        Builder::new(make)
    }

    /// Starts it. One that runs goes on; one that has stopped, or whose thread has died, begins anew: with a new
    /// batcher, and with what is in its directory. Says what was there.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(&self) -> Result<Recovered, StartError> {
        self.may_wait()?;
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*self.running()
            && running.mailbox.closed().is_none()
        {
            return Ok(running.recovered);
        }
        self.join();
        let (tell, started) = channel();
        let recipe = Arc::clone(&self.recipe);
        let address = self.address();
        let thread = ThreadBuilder::new()
            .name("batcher".to_owned())
            .spawn(move || {
                SERVES.set(address);
                run(&recipe, &tell);
            })
            .map_err(StartError::Thread)?;
        let Ok(started) = started.recv() else {
            return Err(NotRunning::Died("it panicked".to_owned()).into());
        };
        let Started { mailbox, recovered } = started?;
        *self.running() = Some(Running {
            mailbox,
            recovered,
            thread: Some(thread),
        });
        Ok(recovered)
    }
}

impl<B: Batcher> BatchServer<B> {
    pub(super) fn of_recipe(recipe: Recipe<B>) -> Self {
        Self {
            recipe: Arc::new(Mutex::new(recipe)),
            running: Mutex::new(None),
            starting: Mutex::new(()),
        }
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.recipe).addr()
    }

    fn running(&self) -> MutexGuard<'_, Option<Running<B::Item>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits for the server is not it.
    fn may_wait(&self) -> Result<(), NotRunning> {
        match SERVES.get() == self.address() {
            true => Err(NotRunning::InCallback),
            false => Ok(()),
        }
    }

    /// What was there at the last start.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        let running = self.running();
        running
            .as_ref()
            .map_or(Recovered::default(), |running| running.recovered)
    }

    /// Waits for the end of a thread that ends. Nobody else is to start or join one meanwhile.
    fn join(&self) {
        let mut running = self.running();
        let thread = running.as_mut().and_then(|running| running.thread.take());
        drop(running);
        join(thread);
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.mailbox()
            .is_ok_and(|mailbox| mailbox.closed().is_none())
    }

    fn mailbox(&self) -> Result<Arc<Mailbox<Message<B::Item>>>, NotRunning> {
        let running = self.running();
        let mailbox = running.as_ref().map(|running| Arc::clone(&running.mailbox));
        mailbox.ok_or(NotRunning::Stopped)
    }

    /// Sends an item on its way, and returns: before anything is known of it. Waits only where
    /// [too many](super::Options::mailbox) are on their way already.
    /// Where it is refused, that is [`Trouble`](super::Trouble).
    ///
    /// # Errors
    /// [`NotAdded`] where there is no server.
    pub fn add_item(&self, item: B::Item) -> Result<(), NotAdded<B::Item>> {
        self.send(item, Asker::Nobody)
    }

    /// As [`add_item`](Self::add_item); a failure is told to `failures`, with the item.
    ///
    /// # Errors
    /// As `add_item`.
    pub fn add_item_telling(
        &self,
        item: B::Item,
        failures: &Failures<B::Item>,
    ) -> Result<(), NotAdded<B::Item>> {
        self.send(item, Asker::OfFailures(failures.clone()))
    }

    /// As [`add_item`](Self::add_item), and never waits.
    ///
    /// # Errors
    /// [`NotAdded`] where there is no server, or too many items are on their way.
    pub fn try_add_item(&self, item: B::Item) -> Result<(), NotAdded<B::Item>> {
        self.send_by(item, Asker::Nobody, Mailbox::try_send)
    }

    /// Adds an item and waits until it is taken: where the server is durable, until it is on the medium. If that
    /// completes a batch, also until it is flushed.
    ///
    /// # Errors
    /// [`NotAdded`], with the item. A flush that failed is none: the item was taken then, as [`Accepted`] says.
    pub fn sync_add_item(&self, item: B::Item) -> Result<Accepted, NotAdded<B::Item>> {
        let (asker, answer) = channel();
        let mailbox = match self.mailbox() {
            Ok(mailbox) => mailbox,
            Err(why) => {
                let (item, why) = (Some(item), why.into());
                return Err(NotAdded { item, why });
            }
        };
        self.send(item, Asker::Waits(asker))?;
        wait(&mailbox, &answer).unwrap_or_else(|why| {
            let (item, why) = (None, why.into());
            Err(NotAdded { item, why })
        })
    }

    /// Sends an item, waiting for room.
    fn send(&self, item: B::Item, asker: Asker<B::Item>) -> Result<(), NotAdded<B::Item>> {
        match self.may_wait() {
            Ok(()) => self.send_by(item, asker, Mailbox::send),
            Err(why) => Err(NotAdded {
                item: Some(item),
                why: why.into(),
            }),
        }
    }

    fn send_by(
        &self,
        item: B::Item,
        asker: Asker<B::Item>,
        send: impl FnOnce(
            &Mailbox<Message<B::Item>>,
            Message<B::Item>,
        ) -> Result<(), NotSent<Message<B::Item>>>,
    ) -> Result<(), NotAdded<B::Item>> {
        let mailbox = match self.mailbox() {
            Ok(mailbox) => mailbox,
            Err(why) => {
                let item = Some(item);
                let why = why.into();
                return Err(NotAdded { item, why });
            }
        };
        send(&mailbox, Message::add(item, asker)).map_err(|not_sent| {
            let (message, why) = match not_sent {
                NotSent::Full(message) => (message, Refused::Busy(mailbox.capacity())),
                NotSent::Closed(message, why) => (message, why.into()),
            };
            let item = message.into_item();
            NotAdded { item, why }
        })
    }

    /// Asks for a flush, and returns. A failure is reported as [`Trouble`](super::Trouble).
    ///
    /// # Errors
    /// [`NotRunning`].
    pub fn flush(&self) -> Result<(), NotRunning> {
        self.ask(Message::FlushUnheard(None))
    }

    /// As [`flush`](Self::flush); a failure is told to `failures`.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub fn flush_telling(&self, failures: Sender<FlushError>) -> Result<(), NotRunning> {
        self.ask(Message::FlushUnheard(Some(failures)))
    }

    /// Waits until all that was added before is taken or refused; where the server is durable, until what was taken is on
    /// the medium. So one thread can add many items, with [`add_item_telling`](Self::add_item_telling), and have them
    /// acknowledged together.
    ///
    /// # Errors
    /// [`NotRunning`]: what was added before may be lost.
    pub fn sync(&self) -> Result<(), NotRunning> {
        self.may_wait()?;
        let (asker, answer) = channel();
        let mailbox = self.mailbox()?;
        self.ask(Message::Sync(asker))?;
        wait(&mailbox, &answer)
    }

    /// Flushes all that was added before, and waits for it. Where there is nothing, that is success.
    ///
    /// # Errors
    /// [`NotFlushed`].
    pub fn sync_flush(&self) -> Result<(), NotFlushed> {
        self.may_wait()?;
        let (asker, answer) = channel();
        let mailbox = self.mailbox()?;
        self.ask(Message::Flush(asker))?;
        Ok(wait(&mailbox, &answer)??)
    }

    /// Its state: what was added before is counted, also where it is not durable yet.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub fn state(&self) -> Result<ServerState<B::Item>, NotRunning>
    where
        B::Item: Clone + Send + 'static,
    {
        self.may_wait()?;
        let (asker, answer) = channel();
        let mailbox = self.mailbox()?;
        self.ask(Message::State(Box::new(move |state, last_item| {
            // Who asked waits for it.
            drop(asker.send(state.with(last_item.cloned())));
        })))?;
        wait(&mailbox, &answer)
    }

    fn ask(&self, message: Message<B::Item>) -> Result<(), NotRunning> {
        let sent = self.mailbox()?.send_always(message);
        sent.map_err(|not_sent| match not_sent {
            NotSent::Closed(_, why) => why,
            NotSent::Full(_) => NotRunning::Stopped,
        })
    }

    /// Stops it, behind all that was added before and a flush under way, and waits for that: flushes what is open where
    /// [`on_shutdown`](super::Options::on_shutdown) says so, and with it what waits, until a flush fails, and calls
    /// [`terminate`](Batcher::terminate). It waits as long as callbacks take; another thread may [`abort`](Self::abort) it
    /// meanwhile. It may be started again.
    ///
    /// # Errors
    /// [`StopError`].
    pub fn stop(&self) -> Result<(), StopError> {
        self.may_wait()?;
        let mailbox = self.mailbox()?;
        let (asker, answer) = channel();
        self.ask(Message::Stop(asker))?;
        // It can be aborted meanwhile.
        let stopped = wait(&mailbox, &answer);
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_running() {
            self.join();
        }
        stopped?
    }

    /// Has it stop behind what it is doing.
    fn stop_behind(&mut self) {
        let running = self
            .running
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running {
            let (asker, _) = channel();
            // One that has ended needs not be told.
            drop(running.mailbox.send_always(Message::Stop(asker)));
        }
    }

    /// Ends it without waiting: nothing more is taken or flushed, `terminate` is not called, and what is on its way is
    /// refused. A callback that runs is not interrupted. What is in memory is gone then; what is durable is there at
    /// the next start. As after a crash, what was flushed and could not be put on record is flushed again then.
    pub fn abort(&self) {
        if let Ok(mailbox) = self.mailbox() {
            refuse_all(mailbox.abort(), &NotRunning::Aborted);
        }
    }
}

impl<B: Batcher> Drop for BatchServer<B> {
    fn drop(&mut self) {
        if SERVES.get() == self.address() {
            // By one of its own callbacks, for which nobody waits.
            self.stop_behind();
            return;
        }
        if self.is_running()
            && let Err(error) = self.stop()
        {
            tracing::warn!(%error, "a batch server was dropped");
        }
        // Its directory is free when it is gone.
        self.join();
    }
}

/// Waits for the end of a thread.
fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.join().is_err()
    {
        tracing::error!("a batch server has panicked");
    }
}

/// Waits for an answer; where none comes, the server has ended.
fn wait<I, T>(mailbox: &Mailbox<Message<I>>, answer: &Receiver<T>) -> Result<T, NotRunning> {
    // Whoever drops what it was asked ends.
    answer.recv().map_err(|_| mailbox.wait_until_closed())
}

//! The thread of a server.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::builder::{Dir, Recipe};
use super::callbacks::Batcher;
use super::engine::{Adding, Asker, End, Engine};
use super::error::{FlushError, NotRunning, StartError, StopError, Trouble};
use super::mailbox::Mailbox;
use super::overrides::Callbacks;
use super::panics::catch;
use super::spooled::Spooled;
use super::status::{Recovered, ServerState};
use batchd_frame::SealReason;

/// Takes the state and the item that was added last.
pub(super) type Look<I> = Box<dyn FnOnce(ServerState<()>, Option<&I>) + Send>;

/// What a server is asked.
pub(super) enum Message<I> {
    /// To take an item.
    Add(Adding<I>),
    /// To flush all there is, and to tell how that went.
    Flush(Sender<Result<(), FlushError>>),
    /// The same, and to tell only of a failure.
    FlushUnheard(Option<Sender<FlushError>>),
    /// To make durable what was added.
    Sync(Sender<()>),
    /// For its state.
    State(Look<I>),
    /// To stop.
    Stop(Sender<Result<(), StopError>>),
}

/// A server that runs, as seen from outside.
pub(super) struct Started<I> {
    pub(super) mailbox: Arc<Mailbox<Message<I>>>,
    pub(super) recovered: Recovered,
}

/// Runs a server until it stops, or dies. The start is told to `started`.
pub(super) fn run<B: Batcher>(
    recipe: &Mutex<Recipe<B>>,
    started: &Sender<Result<Started<B::Item>, StartError>>,
) {
    let mut recipe = recipe.lock().unwrap_or_else(PoisonError::into_inner);
    let Recipe {
        make,
        overrides,
        options,
        on_trouble,
        env,
        dir,
    } = &mut *recipe;
    let on_trouble = on_trouble.as_deref_mut();
    let open = || {
        let batcher = catch(make).map_err(StartError::Make)?;
        let of_type = catch(|| batcher.options()).map_err(StartError::Make)?;
        let config = options.over(of_type, dir.is_some())?;
        let mailbox = Arc::new(Mailbox::new(config.mailbox));
        let spool = match dir {
            None => None,
            Some(Dir {
                path,
                limits,
                codec,
            }) => Some(Spooled::open(env, path, *limits, codec.clone())?),
        };
        let callbacks = Callbacks::new(batcher, overrides);
        let engine = Engine::open(
            callbacks,
            config,
            env.clone(),
            spool,
            on_trouble,
            mailbox.aborted(),
        )?;
        Ok((engine, mailbox))
    };
    let (mut engine, mailbox) = match open() {
        Ok(opened) => opened,
        Err(error) => {
            // Who asked for the start is gone with it, or is told.
            drop(started.send(Err(error)));
            return;
        }
    };
    let told = started.send(Ok(Started {
        mailbox: Arc::clone(&mailbox),
        recovered: engine.recovered(),
    }));
    if told.is_err() {
        return;
    }
    serve(&mut engine, &mailbox);
}

/// Serves until its end.
fn serve<B: Batcher>(engine: &mut Engine<'_, B>, mailbox: &Mailbox<Message<B::Item>>) {
    let mut messages = VecDeque::new();
    // What panics outside of the callbacks is the program's as well: an item that is cloned or dropped.
    let served = catch(|| serve_all(engine, mailbox, &mut messages))
        .unwrap_or_else(|what| Err(End::Died(format!("panicked: {what}"))));
    let Err(end) = served else { return };
    // Nobody hears of it before it can be started again.
    let unread = mailbox.close(end.heard());
    engine.say_last_words();
    engine.give_back(&end.heard());
    refuse_all(messages.into_iter().chain(unread), &end.heard());
    if let End::Died(why) = end {
        engine.report(Trouble::Died(why));
    }
}

/// Serves until somebody stops it; where it ends otherwise, what it has read and not seen to is in `messages`.
fn serve_all<B: Batcher>(
    engine: &mut Engine<'_, B>,
    mailbox: &Mailbox<Message<B::Item>>,
    messages: &mut VecDeque<Message<B::Item>>,
) -> Result<(), End> {
    loop {
        // What is there at the start is seen to before anything is waited for.
        let wait = engine.look()?;
        *messages = mailbox.take(wait);
        while let Some(message) = messages.pop_front() {
            if mailbox.closed().is_some() {
                messages.push_front(message);
                return Err(End::Aborted);
            }
            match message {
                Message::Stop(asker) => {
                    let unread = mailbox.close(NotRunning::Stopped);
                    refuse_all(messages.drain(..).chain(unread), &NotRunning::Stopped);
                    let stopped = engine.stop();
                    engine.say_last_words();
                    drop(asker.send(stopped));
                    return Ok(());
                }
                Message::Add(adding) => engine.add(adding)?,
                Message::Flush(asker) => {
                    let flushed = engine.flush(SealReason::Flush)?;
                    drop(asker.send(flushed));
                }
                Message::FlushUnheard(asker) => {
                    if let (Err(error), Some(asker)) = (engine.flush(SealReason::Flush)?, asker) {
                        drop(asker.send(error));
                    }
                }
                Message::Sync(asker) => {
                    engine.commit()?;
                    asker.send(()).ok();
                }
                Message::State(look) => {
                    let (state, last_item) = engine.state();
                    look(state, last_item);
                }
            }
        }
        if mailbox.closed().is_some() {
            return Err(End::Aborted);
        }
        engine.commit()?;
    }
}

/// Answers what nobody will see to. Those who wait for anything but an item hear of it by being dropped.
pub(super) fn refuse_all<I>(messages: impl IntoIterator<Item = Message<I>>, why: &NotRunning) {
    for message in messages {
        if let Message::Add(adding) = message {
            adding.refuse(why.clone().into());
        }
    }
}

impl<I> Message<I> {
    /// The item, where it is one.
    pub(super) fn into_item(self) -> Option<I> {
        match self {
            Self::Add(Adding { item, .. }) => Some(item),
            _ => None,
        }
    }

    pub(super) fn add(item: I, asker: Asker<I>) -> Self {
        Self::Add(Adding { item, asker })
    }
}

//! The way to a server's thread: a queue of messages that is bounded, wakes who waits for it, and can be closed so that
//! no message is lost unnoticed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::NotRunning;

/// A message that was not taken, given back.
#[derive(Debug)]
pub(super) enum NotSent<M> {
    /// There is no room.
    Full(M),
    /// Nobody reads any more.
    Closed(M, NotRunning),
}

/// Messages on their way.
#[derive(Debug)]
pub(super) struct Mailbox<M> {
    inner: Mutex<Inner<M>>,
    /// There is something to read.
    filled: Condvar,
    /// There is room again, or nobody reads any more.
    emptied: Condvar,
    capacity: usize,
    /// Its reader is to leave everything as it is.
    aborted: Arc<AtomicBool>,
    /// It was closed, for whatever reason.
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Inner<M> {
    messages: VecDeque<M>,
    closed: Option<NotRunning>,
    /// The reader waits for a message.
    reader_waits: bool,
    /// So many wait for room.
    senders_wait: usize,
}

impl<M> Mailbox<M> {
    /// One for so many messages.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                messages: VecDeque::new(),
                closed: None,
                reader_waits: false,
                senders_wait: 0,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            capacity,
            aborted: Arc::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Set when its reader is to leave everything as it is.
    pub(super) fn aborted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.aborted)
    }

    /// Closes it, and tells the reader to leave everything as it is. Returns what nobody has read.
    pub(super) fn abort(&self) -> VecDeque<M> {
        self.aborted.store(true, Ordering::Relaxed);
        self.close(NotRunning::Aborted)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message, waiting for room.
    pub(super) fn send(&self, message: M) -> Result<(), NotSent<M>> {
        let mut inner = self.lock();
        while inner.closed.is_none() && inner.messages.len() >= self.capacity {
            inner.senders_wait += 1;
            let waited = self.emptied.wait(inner);
            inner = waited.unwrap_or_else(PoisonError::into_inner);
            inner.senders_wait -= 1;
        }
        self.put(inner, message)
    }

    /// Sends a message, if there is room.
    pub(super) fn try_send(&self, message: M) -> Result<(), NotSent<M>> {
        let inner = self.lock();
        if inner.closed.is_none() && inner.messages.len() >= self.capacity {
            return Err(NotSent::Full(message));
        }
        self.put(inner, message)
    }

    /// Sends a message that is no item, whether or not there is room.
    pub(super) fn send_always(&self, message: M) -> Result<(), NotSent<M>> {
        self.put(self.lock(), message)
    }

    fn put(&self, mut inner: MutexGuard<'_, Inner<M>>, message: M) -> Result<(), NotSent<M>> {
        if let Some(closed) = &inner.closed {
            return Err(NotSent::Closed(message, closed.clone()));
        }
        inner.messages.push_back(message);
        // To wake somebody costs a call of the system: only who waits is woken, and once.
        let wake = std::mem::take(&mut inner.reader_waits);
        drop(inner);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes all there is, once there is something or it is closed, or after a while.
    pub(super) fn take(&self, at_most: Option<Duration>) -> VecDeque<M> {
        let has_none = |inner: &mut Inner<M>| {
            inner.reader_waits = inner.messages.is_empty() && inner.closed.is_none();
            inner.reader_waits
        };
        let inner = self.lock();
        let mut inner = match at_most {
            None => self.filled.wait_while(inner, has_none),
            Some(at_most) => match self.filled.wait_timeout_while(inner, at_most, has_none) {
                Ok((inner, _)) => Ok(inner),
                Err(poisoned) => Err(PoisonError::new(poisoned.into_inner().0)),
            },
        }
        .unwrap_or_else(PoisonError::into_inner);
        inner.reader_waits = false;
        let messages = std::mem::take(&mut inner.messages);
        let wake = inner.senders_wait > 0;
        drop(inner);
        if wake {
            self.emptied.notify_all();
        }
        messages
    }

    /// Closes it: nothing more is taken. Returns what nobody has read. The first reason counts.
    pub(super) fn close(&self, why: NotRunning) -> VecDeque<M> {
        let mut inner = self.lock();
        inner.closed.get_or_insert(why);
        self.is_closed.store(true, Ordering::Release);
        let messages = std::mem::take(&mut inner.messages);
        drop(inner);
        self.filled.notify_all();
        self.emptied.notify_all();
        messages
    }

    /// Waits until it is closed; says why it was. For one who knows that it will be.
    pub(super) fn wait_until_closed(&self) -> NotRunning {
        let mut inner = self.lock();
        loop {
            if let Some(closed) = &inner.closed {
                return closed.clone();
            }
            let waited = self.emptied.wait(inner);
            inner = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why it was closed, if it was.
    pub(super) fn closed(&self) -> Option<NotRunning> {
        // Asked for every message.
        let is_closed = self.is_closed.load(Ordering::Acquire);
        is_closed.then(|| self.lock().closed.clone()).flatten()
    }
}

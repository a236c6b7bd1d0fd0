//! The thread of the index. What happens to batches is put into a bounded queue for it, and dropped where that is
//! full: the index is then behind, and is made anew. Look-ups go through the same queue, so that they find what was
//! told before; whoever waits too long, or finds no index, asks the ledgers. So nothing here can hold up
//! anybody else, whatever becomes of the index or of its thread.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use batchd_core::queue::{BatchEvents, QueuePrint};
use batchd_core::spool::ReadyBatch;
use batchd_core::spool::index::{Ended, Found, Index, Page, Query, Source};
use batchd_core::spool::ledger::LedgerLine;
use batchd_frame::{BatchId, QueueName};

use super::Engine;

/// So many messages wait for the thread.
const MESSAGES_MAX: usize = 8192;
/// A look-up waits for the thread at most so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A stop waits for the thread at most so long.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// It looks this often whether the index is still there.
const TEND_INTERVAL: Duration = Duration::from_secs(5);

/// The way to the thread.
pub(crate) struct IndexQueue {
    messages: SyncSender<Message>,
    /// Until the thread has it.
    receiver: Mutex<Option<Receiver<Message>>>,
    /// The queues as they were before anything ran; then, as they are when nothing runs any more.
    queues: Mutex<Vec<QueuePrint>>,
    is_open: AtomicBool,
    /// A message was dropped that changes the index.
    is_behind: AtomicBool,
    is_stopping: AtomicBool,
}

/// What the thread is told or asked.
enum Message {
    Placed(QueueName, ReadyBatch),
    Recorded(Ended, u64),
    Find(BatchId, SyncSender<Option<Found>>),
    History(Query, SyncSender<Page>),
    /// There is something to see to.
    Wake,
}

impl std::fmt::Debug for IndexQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexQueue")
    }
}

impl BatchEvents for IndexQueue {
    fn placed(&self, queue: &QueueName, batch: &ReadyBatch) {
        self.tell(Message::Placed(queue.clone(), *batch));
    }

    fn recorded(&self, queue: &QueueName, line: &LedgerLine, ledger_number: u64) {
        self.tell(Message::Recorded(
            Ended::new(queue, line.end()),
            ledger_number,
        ));
    }
}

impl IndexQueue {
    pub(super) fn new() -> Self {
        let (messages, receiver) = mpsc::sync_channel(MESSAGES_MAX);
        Self {
            messages,
            receiver: Mutex::new(Some(receiver)),
            queues: Mutex::default(),
            is_open: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// What the queues hold, while nothing runs.
    pub(super) fn set_queues(&self, queues: Vec<QueuePrint>) {
        *self.queues.lock().unwrap_or_else(PoisonError::into_inner) = queues;
    }

    fn take_queues(&self) -> Vec<QueuePrint> {
        std::mem::take(&mut *self.queues.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, message: Message) {
        if self.messages.try_send(message).is_err() {
            self.is_behind.store(true, Ordering::SeqCst);
        }
    }

    /// Where a batch is, and what became of it. Nothing where the index does not say.
    pub(super) fn find(&self, id: BatchId) -> Option<Option<Found>> {
        self.ask(|answer| Message::Find(id, answer))
    }

    /// A page of the history. Nothing where the index does not say.
    pub(super) fn history(&self, query: &Query) -> Option<Page> {
        self.ask(|answer| Message::History(query.clone(), answer))
    }

    fn ask<T>(&self, message: impl FnOnce(SyncSender<T>) -> Message) -> Option<T> {
        if !self.is_open.load(Ordering::SeqCst) || self.is_behind.load(Ordering::SeqCst) {
            return None;
        }
        let (sender, answer) = mpsc::sync_channel(1);
        self.messages.try_send(message(sender)).ok()?;
        match answer.recv_timeout(ANSWER_WITHIN) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => {
                // Nobody else waits for it until it has come round again.
                self.is_open.store(false, Ordering::SeqCst);
                tracing::warn!("the index is slow; the ledgers are asked; nothing is lost");
                None
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// The running thread.
pub(crate) struct IndexThread {
    queue: Arc<IndexQueue>,
    ended: Receiver<()>,
}

impl IndexThread {
    /// Closes the index over what the queues hold, now that nothing runs any more. Where that takes too long, the
    /// thread is left behind, and the next start makes the index anew.
    pub(crate) fn stop(self, engine: &Engine) {
        self.queue.set_queues(engine.prints());
        self.queue.is_stopping.store(true, Ordering::SeqCst);
        // A queue that is full wakes it as well.
        self.queue.messages.try_send(Message::Wake).ok();
        if self.ended.recv_timeout(STOP_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the index is not closed yet, and not waited for; nothing is lost");
        }
    }
}

/// Starts the thread, where there is to be an index.
///
/// # Errors
/// Where there is no thread to be had.
pub(crate) fn start(engine: &Arc<Engine>) -> io::Result<Option<IndexThread>> {
    let Some(queue) = &engine.index else {
        return Ok(None);
    };
    let receiver = queue.receiver.lock();
    let Some(receiver) = receiver.unwrap_or_else(PoisonError::into_inner).take() else {
        return Ok(None);
    };
    let (alive, ended) = mpsc::sync_channel(1);
    let keeper = Keeper {
        engine: Arc::clone(engine),
        queue: Arc::clone(queue),
        receiver,
    };
    std::thread::Builder::new()
        .name("index".into())
        .spawn(move || {
            keeper.run();
            drop(alive);
        })?;
    let queue = Arc::clone(queue);
    Ok(Some(IndexThread { queue, ended }))
}

/// What the thread has.
struct Keeper {
    engine: Arc<Engine>,
    queue: Arc<IndexQueue>,
    receiver: Receiver<Message>,
}

impl Keeper {
    fn run(self) {
        let spool = &self.engine.spool;
        let mut index = Index::new(spool.env().clone(), spool.layout().clone());
        index.open(&self.queue.take_queues());
        loop {
            if self.queue.is_stopping.load(Ordering::SeqCst) {
                return self.close(index);
            }
            if self.queue.is_behind.swap(false, Ordering::SeqCst) && index.is_open() {
                index.fail("more happened at once than it could take");
            }
            if index.rebuild_due() == Some(Duration::ZERO) {
                // Whoever asks meanwhile need not wait for it.
                self.queue.is_open.store(false, Ordering::SeqCst);
                self.rebuild(&mut index);
            }
            self.queue.is_open.store(index.is_open(), Ordering::SeqCst);
            let wait = index.rebuild_due().unwrap_or(TEND_INTERVAL);
            match self.receiver.recv_timeout(wait.min(TEND_INTERVAL)) {
                Ok(message) => take(&mut index, message),
                Err(RecvTimeoutError::Timeout) => index.tend(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn rebuild(&self, index: &mut Index) {
        let queues = self.engine.queues();
        let sources: Vec<_> = queues
            .iter()
            .map(|queue| Source {
                queue: queue.name.clone(),
                layout: queue.commit.layout().clone(),
                ledger_number: Box::new(|| queue.commit.ledger_number()),
            })
            .collect();
        let go_on = || !self.queue.is_stopping.load(Ordering::SeqCst);
        index.rebuild(&sources, &go_on);
    }

    /// Takes what is left, and closes.
    fn close(&self, mut index: Index) {
        self.queue.is_open.store(false, Ordering::SeqCst);
        while let Ok(message) = self.receiver.try_recv() {
            take(&mut index, message);
        }
        if self.queue.is_behind.load(Ordering::SeqCst) {
            index.fail("more happened at once than it could take");
        }
        index.close(&self.queue.take_queues());
    }
}

fn take(index: &mut Index, message: Message) {
    match message {
        Message::Placed(queue, batch) => index.placed(&queue, &batch),
        Message::Recorded(ended, ledger_number) => index.recorded(&ended, ledger_number),
        // Who asked may have given up; where nothing is sent, the ledgers are asked.
        Message::Find(id, answer) => {
            if let Ok(found) = index.find(id) {
                answer.send(found).ok();
            }
        }
        Message::History(query, answer) => {
            if let Ok(page) = index.history(&query) {
                answer.send(page).ok();
            }
        }
        Message::Wake => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchd_core::spool::layout::{Place, ReadyName};

    fn batch(seq: u64) -> ReadyBatch {
        let name = ReadyName {
            seq,
            items: 1,
            bytes: 2,
            expires_at: 0,
            id: BatchId::new(seq, [0; 10]),
        };
        ReadyBatch {
            name,
            place: Place::Ready,
        }
    }

    #[test]
    fn who_tells_never_waits_and_who_asks_hears_that_it_is_behind() {
        let index = IndexQueue::new();
        let queue = QueueName::new("q").expect("a name");
        // As if a thread that does not get on had it open.
        index.is_open.store(true, Ordering::SeqCst);
        for seq in 0..MESSAGES_MAX as u64 {
            index.placed(&queue, &batch(seq));
        }
        assert!(!index.is_behind.load(Ordering::SeqCst));
        assert_eq!(
            index.find(BatchId::new(1, [0; 10])),
            None,
            "there is no room to ask"
        );
        index.placed(&queue, &batch(0));
        assert!(index.is_behind.load(Ordering::SeqCst));
        drop(index.receiver.lock().expect("no panic").take());
        assert_eq!(index.history(&Query::default()), None);
    }

    #[test]
    fn a_thread_that_is_gone_is_not_waited_for() {
        let index = IndexQueue::new();
        index.is_open.store(true, Ordering::SeqCst);
        drop(index.receiver.lock().expect("no panic").take());
        assert_eq!(index.find(BatchId::new(1, [0; 10])), None);
        index.placed(&QueueName::new("q").expect("a name"), &batch(1));
        assert!(index.is_behind.load(Ordering::SeqCst));
    }

    #[test]
    fn whoever_gives_up_waiting_keeps_others_from_it() {
        let index = IndexQueue::new();
        index.is_open.store(true, Ordering::SeqCst);
        assert_eq!(index.find(BatchId::new(1, [0; 10])), None);
        assert!(!index.is_open.load(Ordering::SeqCst));
        assert_eq!(index.find(BatchId::new(1, [0; 10])), None);
    }
}

//! From bytes to durable items: cuts the input, and submits what it is cut into.

use std::sync::Arc;
use std::time::{Duration, Instant};

use batchd_client::ItemBuffer;
use batchd_core::policy::{Fill, Overflow, Policy};
use batchd_core::queue::{Ack, Answer, Begun, Failure, Incoming, Led};
use batchd_frame::checksum::crc32c;
use batchd_frame::split::{Cut, ItemTooLong, Splitter};
use batchd_frame::{BodyLimits, BodyView, Key, encode_body};
use tokio::sync::mpsc::UnboundedReceiver;

use super::control::Control;
use super::source::Source;
use crate::engine::{Engine, Queue};
use crate::ingest::{Letter, Ticket, describe};

/// A submission has at most so many items.
const SUBMISSION_ITEMS_MAX: u64 = 32_768;
/// A submission is complete with so many bytes.
const SUBMISSION_BYTES_MAX: u64 = 1 << 20;
/// Of what a queue may hold, a submission is at most this part: what is open beside it has to become a whole batch.
const PARTS_OF_A_QUOTA: u64 = 8;
/// Room that nobody tells of is looked for this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Who waits for room longer than that is told why.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Why no more is taken.
#[derive(Debug)]
pub(super) enum Stop {
    /// A signal asks for it.
    Signal(&'static str),
    /// The spool cannot be relied on any more.
    Broken(String),
    /// The input cannot be read.
    Input(std::io::Error),
    /// The input was cut or written anew while it was read.
    Changed,
    /// An item that is never taken, and where it begins.
    TooLong(ItemTooLong, u64),
    /// There is no room, for that reason, and it is not to be waited for.
    NoRoom(String),
    /// A submission is never taken, for that reason.
    Refused(String),
}

/// Cuts the input.
pub(super) struct Intake {
    splitter: Splitter,
    cut: Cut,
    pub(super) sender: Sender,
}

/// Submits the items, each submission to one batch: so it is kept whole or not at all.
pub(super) struct Sender {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    answers: UnboundedReceiver<(Ticket, Letter)>,
    source: Source,
    key: Key,
    policy: Policy,
    items_max: u64,
    bytes_max: u64,
    /// Items that are not submitted yet.
    items: ItemBuffer,
    /// What their batch has, with them.
    fill: Fill,
    /// Offset behind the last of them.
    end: u64,
    /// Whether the last has its delimiter.
    is_delimited: bool,
    body: Vec<u8>,
    number: u64,
    waits_for_room: Option<Waits>,
    /// Items that became durable.
    pub(super) durable: u64,
}

impl Intake {
    /// Goes on with the input at the offset `from`.
    pub(super) fn new(cut: Cut, item_bytes_max: u64, sender: Sender) -> Self {
        let longest = item_bytes_max.min(sender.policy.bytes_bound());
        Self {
            splitter: Splitter::new(cut, longest),
            cut,
            sender,
        }
    }

    /// Takes more of the input. What ends in it is durable at the latest with [`Sender::settle`].
    pub(super) async fn take(&mut self, chunk: &[u8], control: &mut Control) -> Result<(), Stop> {
        let Self {
            splitter,
            cut,
            sender,
        } = self;
        let mut rest = chunk;
        loop {
            match splitter.next(&mut rest) {
                Ok(Some(item)) => sender.add(item, cut.delimiter_bytes(), control).await?,
                Ok(None) => return Ok(()),
                Err(too_long) => {
                    sender.settle(control).await?;
                    return Err(Stop::TooLong(too_long, sender.end));
                }
            }
        }
    }

    /// The input has ended: what had no delimiter is an item as well. Nothing is none.
    pub(super) async fn end(&mut self, control: &mut Control) -> Result<(), Stop> {
        if let Some(last) = self.splitter.end().filter(|last| !last.is_empty()) {
            self.sender.add(&last, 0, control).await?;
        }
        self.sender.settle(control).await
    }
}

impl Sender {
    /// Goes on behind the offset `from`.
    pub(super) fn new(
        engine: &Arc<Engine>,
        queue: &Arc<Queue>,
        policy: &Policy,
        key: Key,
        source: Source,
        from: u64,
    ) -> Self {
        let part = |quota: Option<u64>| quota.map_or(u64::MAX, |quota| quota / PARTS_OF_A_QUOTA);
        let spool = part(Some(engine.space.max_bytes()));
        let bytes_max = spool.min(part(policy.quota.bytes));
        Self {
            engine: Arc::clone(engine),
            queue: Arc::clone(queue),
            answers: engine.mailboxes.open(),
            source,
            key,
            policy: policy.clone(),
            items_max: part(policy.quota.items).clamp(1, SUBMISSION_ITEMS_MAX),
            bytes_max: bytes_max.clamp(1, SUBMISSION_BYTES_MAX),
            items: ItemBuffer::new(),
            fill: Fill::default(),
            end: from,
            is_delimited: true,
            body: Vec::new(),
            number: 0,
            waits_for_room: None,
            durable: 0,
        }
    }

    async fn add(
        &mut self,
        item: &[u8],
        delimiter_bytes: u64,
        control: &mut Control,
    ) -> Result<(), Stop> {
        let bytes = item.len() as u64;
        if self.policy.before_item(self.fill, bytes).is_some() {
            self.settle(control).await?;
        }
        if self.items.is_empty() {
            self.fill = self.open_fill();
            if self.policy.before_item(self.fill, bytes).is_some() {
                // It begins a batch.
                self.fill = Fill::default();
            }
        }
        self.items.push(item);
        self.fill.items += 1;
        self.fill.bytes += bytes;
        self.end += bytes + delimiter_bytes;
        self.is_delimited = delimiter_bytes > 0;
        let is_full = self.policy.after_item(self.fill).is_some()
            || self.items.len() as u64 >= self.items_max
            || self.items.bytes() as u64 >= self.bytes_max;
        if is_full {
            self.settle(control).await?;
        }
        Ok(())
    }

    /// What is in the batch that takes the next item. By time it may be closed before that; then there is more room.
    fn open_fill(&self) -> Fill {
        let views = self.queue.commit.lock().open_views();
        let mut open = views.iter().filter(|view| view.closing.is_none());
        open.rfind(|view| view.header.key == self.key)
            .map_or_else(Fill::default, |view| view.fill)
    }

    /// Makes durable what was taken. Waits for room, if need be.
    pub(super) async fn settle(&mut self, control: &mut Control) -> Result<(), Stop> {
        if self.items.is_empty() {
            return Ok(());
        }
        control.look()?;
        let items = std::mem::take(&mut self.items);
        let id = self.source.id(&items, self.end, self.is_delimited);
        self.body.clear();
        encode_body(Some(id.map_err(Stop::Input)?), items.iter(), &mut self.body);
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let mut tried = self.try_submit(count, false).await?;
        let was_known = tried == Tried::Known;
        while tried == Tried::NoRoom {
            self.wait_for_room(control).await?;
            tried = self.try_submit(count, true).await?;
        }
        self.waits_for_room = None;
        if !was_known {
            self.durable += u64::from(count);
        }
        self.source.durable(self.end).map_err(Stop::Input)
    }

    async fn try_submit(&mut self, count: u32, repeat: bool) -> Result<Tried, Stop> {
        let view = BodyView::parse(&self.body, count, BodyLimits::NONE)
            .map_err(|error| Stop::Broken(error.to_string()))?;
        self.number += 1;
        let ticket = Ticket {
            thread: 0,
            connection: 0,
            request: self.number,
            number: self.number,
            quiet: false,
        };
        let incoming = Incoming {
            key: self.key.as_bytes(),
            body: &self.body,
            body_crc: crc32c(&self.body),
            view,
            ack: Ack::Synced,
            end_of_batch: false,
            repeat,
            received_at: self.engine.spool.env().clock.wall_micros(),
        };
        match self.queue.commit.begin(&incoming, ticket) {
            Ok(Begun::Known) => Ok(Tried::Known),
            Ok(Begun::Waiting | Begun::Durable) => self.lead(ticket).await,
            Err(refusal) if refusal.is_for_want_of_room() && self.waits() => {
                self.note_no_room(&refusal.to_string());
                Ok(Tried::NoRoom)
            }
            Err(refusal) if refusal.is_for_want_of_room() => Err(Stop::NoRoom(refusal.to_string())),
            Err(refusal) => Err(Stop::Refused(refusal.to_string())),
        }
    }

    /// Writes and syncs, or waits for whoever does, until the submission is answered.
    async fn lead(&mut self, ticket: Ticket) -> Result<Tried, Stop> {
        let mut answers = Vec::new();
        loop {
            let led = self.queue.commit.lead(&mut answers);
            if self.queue.commit.take_keep_due() {
                self.engine.house.ring();
            }
            let led = led.map_err(|broken| {
                self.engine.break_down(&self.queue.name, &broken);
                Stop::Broken(broken.to_string())
            })?;
            let mut answer = of(ticket, answers.drain(..));
            while answer.is_none() && led == Led::Idle {
                // Another thread leads.
                let letter = self.answers.recv().await;
                answer = letter.and_then(|(whose, letter)| match letter {
                    Letter::Answer(answer) => of(ticket, [(whose, answer)]),
                    Letter::Reply(_) => None,
                });
            }
            match answer {
                Some(answer) => return self.tell(answer),
                None => continue,
            }
        }
    }

    fn tell(&mut self, answer: Answer) -> Result<Tried, Stop> {
        match answer {
            Answer::Kept(_) | Answer::KeptBefore(_) | Answer::Durable => Ok(Tried::Kept),
            Answer::Failed(failure @ (Failure::NoSpace | Failure::ReadOnly)) => {
                let (_, why) = describe(failure);
                if !self.waits() {
                    return Err(Stop::NoRoom(why.to_owned()));
                }
                self.note_no_room(why);
                Ok(Tried::NoRoom)
            }
            Answer::Failed(failure) => Err(Stop::Broken(describe(failure).1.to_owned())),
        }
    }

    /// Whether more is read only when there is room.
    fn waits(&self) -> bool {
        self.queue.overflow != Overflow::Reject
    }

    fn note_no_room(&mut self, why: &str) {
        let waits = self.waits_for_room.get_or_insert_with(|| Waits {
            since: Instant::now(),
            is_told: false,
        });
        // A source that is faster than its sink waits all the time.
        if waits.since.elapsed() >= WORTH_TELLING && !std::mem::replace(&mut waits.is_told, true) {
            tracing::warn!(queue = %self.queue.name, "reads no more until there is room: {why}");
        }
    }

    /// Whether nothing waits for the sink, and nothing will before more comes in.
    fn is_all_open(&self) -> bool {
        let queue = self.queue.commit.lock();
        queue.ready().next().is_none()
            && queue.open_views().iter().all(|view| view.closing.is_none())
    }

    async fn wait_for_room(&self, control: &mut Control) -> Result<(), Stop> {
        // Made before the look, so that nothing is missed.
        let room = self.engine.room.notified();
        if self.is_all_open() {
            // Nothing else would ever make room.
            self.queue.commit.flush();
        }
        self.engine.house.ring();
        tokio::select! {
            () = room => Ok(()),
            () = tokio::time::sleep(LOOK_INTERVAL) => Ok(()),
            stop = control.until_stopped() => Err(stop),
        }
    }
}

/// A wait for room.
struct Waits {
    since: Instant,
    is_told: bool,
}

/// What a try came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// All of it is durable.
    Kept,
    /// It was before.
    Known,
    /// It can be tried again when there is room.
    NoRoom,
}

fn of(ticket: Ticket, answers: impl IntoIterator<Item = (Ticket, Answer)>) -> Option<Answer> {
    let mut answers = answers.into_iter().filter(|(whose, _)| *whose == ticket);
    answers.next().map(|(_, answer)| answer)
}

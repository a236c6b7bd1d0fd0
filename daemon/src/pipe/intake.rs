//! From bytes to durable items: cuts the input, and submits what it is cut into.

use std::sync::Arc;
use std::time::{Duration, Instant};

use batchd_client::ItemBuffer;
use batchd_core::policy::{Overflow, Policy};
use batchd_core::queue::{Ack, Answer, Begun, Failure, Incoming, Led};
use batchd_frame::checksum::crc32c;
use batchd_frame::split::{Cut, ItemTooLong, Splitter};
use batchd_frame::{BodyLimits, BodyView, Key, encode_body};
use tokio::sync::mpsc::UnboundedReceiver;

use super::control::Control;
use super::source::{Partly, Resume, Source};
use crate::engine::{Engine, Queue};
use crate::ingest::{Letter, Ticket, describe};

/// A submission has at most so many items, which may each be a batch of their own.
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
    /// An item that is never taken, and where it begins.
    TooLong(ItemTooLong, u64),
    /// There is no room, for that reason, and it is not to be waited for.
    NoRoom(String),
    /// A submission is never taken, for that reason.
    Refused(String),
}

/// How much a submission is to have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    items: u64,
    bytes: u64,
    item_bytes: u64,
}

impl Bounds {
    pub(super) fn of(engine: &Engine, policy: &Policy) -> Self {
        let longest = policy.bytes_bound();
        let part = |quota: Option<u64>| quota.map_or(u64::MAX, |quota| quota / PARTS_OF_A_QUOTA);
        // Two of the parts it is cut into hold more than one batch may, and there are not to be too many.
        let parts = longest.saturating_mul(16_384);
        let spool = part(Some(engine.space.max_bytes()));
        let bytes = spool.min(part(policy.quota.bytes)).min(parts);
        Self {
            items: part(policy.quota.items).clamp(1, SUBMISSION_ITEMS_MAX),
            bytes: bytes.clamp(1, SUBMISSION_BYTES_MAX),
            item_bytes: engine.limits.item_bytes_max.min(longest),
        }
    }
}

/// Where items are taken in.
pub(super) struct Intake {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    answers: UnboundedReceiver<(Ticket, Letter)>,
    source: Source,
    key: Key,
    cut: Cut,
    splitter: Splitter,
    bounds: Bounds,
    /// Items that are not submitted yet.
    items: ItemBuffer,
    /// Offset behind the last of them.
    end: u64,
    /// Some of the items to come were kept before.
    partly: Option<Partly>,
    body: Vec<u8>,
    number: u64,
    waits_for_room: Option<Waits>,
    /// Items that became durable.
    pub(super) durable: u64,
}

impl Intake {
    /// Goes on with the input where `resume` says.
    pub(super) fn new(
        engine: &Arc<Engine>,
        queue: &Arc<Queue>,
        source: Source,
        resume: Resume,
        key: Key,
        cut: Cut,
        bounds: Bounds,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            queue: Arc::clone(queue),
            answers: engine.mailboxes.open(),
            source,
            key,
            cut,
            splitter: Splitter::new(cut, bounds.item_bytes),
            bounds,
            items: ItemBuffer::new(),
            end: resume.from,
            partly: resume.partly,
            body: Vec::new(),
            number: 0,
            waits_for_room: None,
            durable: 0,
        }
    }

    /// Takes more of the input. What ends in it is durable at the latest with [`settle`](Self::settle).
    pub(super) async fn take(&mut self, chunk: &[u8], control: &mut Control) -> Result<(), Stop> {
        let mut rest = chunk;
        loop {
            let begin = self.end;
            let item = match self.splitter.next(&mut rest) {
                Ok(Some(item)) => item,
                Ok(None) => return Ok(()),
                Err(too_long) => {
                    self.settle(control).await?;
                    return Err(Stop::TooLong(too_long, begin));
                }
            };
            self.items.push(item);
            self.end += item.len() as u64 + self.cut.delimiter_bytes();
            self.submit_if_full(control).await?;
        }
    }

    /// The input has ended: what had no delimiter is an item as well.
    pub(super) async fn end(&mut self, control: &mut Control) -> Result<(), Stop> {
        if let Some(last) = self.splitter.end() {
            self.end += last.len() as u64;
            self.items.push(&last);
            self.submit_if_full(control).await?;
        }
        self.meet_partly();
        self.settle(control).await
    }

    /// Makes durable what was taken.
    pub(super) async fn settle(&mut self, control: &mut Control) -> Result<(), Stop> {
        // The rest of that submission is there, and to be read.
        if self.items.is_empty() || self.partly.is_some() {
            return Ok(());
        }
        self.submit(false, control).await
    }

    async fn submit_if_full(&mut self, control: &mut Control) -> Result<(), Stop> {
        match self.partly {
            Some(partly) if self.end < partly.end => Ok(()),
            // The same submission again adds what is missing.
            Some(partly) if self.end == partly.end => {
                self.partly = None;
                self.submit(true, control).await?;
                self.durable -= u64::from(partly.items).min(self.durable);
                Ok(())
            }
            Some(_) => {
                self.meet_partly();
                Ok(())
            }
            None => {
                let Bounds { items, bytes, .. } = self.bounds;
                if self.items.len() as u64 >= items || self.items.bytes() as u64 >= bytes {
                    self.submit(false, control).await?;
                }
                Ok(())
            }
        }
    }

    /// No item ends where the submission did of which a part was kept: its last one has become longer since. That
    /// part is left out, and the rest is another submission.
    fn meet_partly(&mut self) {
        if let Some(partly) = self.partly.take() {
            let kept = partly.items as usize;
            self.items = self.items.iter().skip(kept).collect();
        }
    }

    /// Submits what was taken, and waits until it is durable. Waits for room, if need be.
    async fn submit(&mut self, repeat: bool, control: &mut Control) -> Result<(), Stop> {
        let items = std::mem::take(&mut self.items);
        let content = items.iter().next().unwrap_or_default();
        let id = self.source.id(self.end, content).map_err(Stop::Input)?;
        self.body.clear();
        encode_body(Some(id), items.iter(), &mut self.body);
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let mut tried = self.try_submit(count, repeat).await?;
        let was_known = tried == Tried::Known;
        while tried == Tried::NoRoom {
            self.wait_for_room(control).await?;
            // A part of it may be kept.
            tried = self.try_submit(count, true).await?;
        }
        self.waits_for_room = None;
        if !was_known {
            self.durable += u64::from(count);
        }
        Ok(())
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

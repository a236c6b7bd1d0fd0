//! A spool on a simulated disk, driven by a script.

use std::sync::Arc;
use std::time::Duration;

use batchd_core::env::sim::{EIO, ENOSPC, Fault, Image, OpKind, SimClock, SimDisk};
use batchd_core::frame::checksum::crc32c;
use batchd_core::frame::{
    BatchId, BodyLimits, BodyView, OnExpire, QueueName, SealReason, encode_body,
};
use batchd_core::policy::{Overflow, Policy};
use batchd_core::queue::group::Group;
use batchd_core::queue::{
    Ack, Answer, BatchEvents, Begun, Claim, Commit, CreateError, Creation, FinishError, Incoming,
    Led, OPEN_BATCHES_MAX, PRODUCER_WINDOW, QueueOptions,
};
use batchd_core::spool::ReadyBatch;
use batchd_core::spool::ledger::Outcome;
use batchd_core::spool::sealed::{Inspection, SealedFile};
use batchd_core::spool::space::{LOOK_INTERVAL, MinFree, SpaceLimits, SpoolSpace};
use batchd_core::spool::{Layout, LockedSpool};

use super::book::Book;

/// Where the spool is.
pub const SPOOL: &str = "/spool";
/// The queue's directory.
pub const QUEUE: &str = "spool/queues/q";

/// The process is dead, and why.
#[derive(Debug, Clone)]
pub struct Dead(pub String);

/// A batch in the spool: where, its seq, id and items.
pub type Held = (&'static str, u64, BatchId, Vec<Vec<u8>>);

/// A spool and what is around it.
pub struct World {
    /// The disk.
    pub disk: SimDisk,
    /// The clock.
    pub clock: SimClock,
    /// The queue's rules.
    pub policy: Policy,
    /// What is known outside.
    pub book: Book,
    /// What the spool may hold, in bytes.
    pub spool_bytes_max: u64,
    /// How many batches may be open.
    pub open_batches_max: usize,
    /// Whether batches are delivered.
    pub has_sink: bool,
    /// How far back a start looks for submissions that were kept.
    pub producer_window: Duration,
    /// Whether a start reads at once whose submissions its batches hold.
    pub recalls: bool,
    /// What must stay free on the disk.
    pub min_free: MinFree,
    /// Bytes of the ballast.
    pub ballast_bytes: u64,
    /// The queue, while the process lives.
    pub commit: Option<Commit<usize>>,
    /// A group that is under way.
    pub group: Option<Group>,
    /// A batch that somebody has in hand.
    pub hold: Option<Claim>,
    /// Every start has other random bytes.
    pub starts: u64,
    /// Who is told what becomes of batches.
    pub events: Option<Arc<dyn BatchEvents>>,
    /// What the script said.
    pub out: String,
}

/// The policy of most tests: few items a batch, so that a short script crosses many borders.
#[must_use]
pub fn small() -> Policy {
    Policy {
        max_items: Some(4),
        max_bytes: Some(4000),
        max_age: None,
        ..Policy::default()
    }
}

/// What a script says on an empty spool.
#[must_use]
pub fn run(policy: Policy, script: &str) -> String {
    World::new(policy).told(script)
}

impl World {
    /// A world with an empty spool directory; nothing runs yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let disk = SimDisk::new();
        disk.mkdir_durable(SPOOL).unwrap();
        Self::on(disk, policy, Book::default(), 1)
    }

    /// A world whose process runs, on an empty spool directory.
    #[track_caller]
    #[must_use]
    pub fn started(policy: Policy) -> Self {
        let mut world = Self::new(policy);
        world.start().unwrap();
        world
    }

    /// A world on what a crash left. `starts` is how often the spool was started before.
    #[must_use]
    pub fn after(image: &Image, policy: Policy, book: Book, starts: u64) -> Self {
        Self::on(image.to_disk(), policy, book, starts)
    }

    fn on(disk: SimDisk, policy: Policy, book: Book, starts: u64) -> Self {
        Self {
            disk,
            clock: SimClock::default(),
            policy,
            book,
            spool_bytes_max: u64::MAX,
            open_batches_max: OPEN_BATCHES_MAX,
            has_sink: true,
            producer_window: PRODUCER_WINDOW,
            recalls: true,
            min_free: MinFree::Off,
            ballast_bytes: 0,
            commit: None,
            group: None,
            hold: None,
            starts,
            events: None,
            out: String::new(),
        }
    }

    /// Starts the process.
    pub fn start(&mut self) -> Result<(), Dead> {
        (self.commit, self.group, self.hold) = (None, None, None);
        self.starts += 1;
        let env = self.disk.env(&self.clock, self.starts);
        let spool = LockedSpool::open(env, Layout::new(SPOOL), "test").map_err(dead)?;
        let limits = SpaceLimits {
            max_bytes: Some(self.spool_bytes_max),
            min_free: self.min_free,
            ballast_bytes: self.ballast_bytes,
        };
        let options = QueueOptions {
            name: QueueName::new("q").unwrap(),
            policy: self.policy.clone(),
            space: SpoolSpace::new(&spool, limits),
            open_batches_max: self.open_batches_max,
            has_sink: self.has_sink,
            producer_window: self.producer_window,
            pending_bytes: Arc::default(),
            events: self.events.clone(),
        };
        let commit = Commit::open(&spool, options).map_err(dead)?;
        while self.recalls && commit.recall(3) {}
        self.commit = Some(commit);
        Ok(())
    }

    /// The queue.
    pub fn commit(&self) -> &Commit<usize> {
        self.commit.as_ref().expect("started")
    }

    /// The batch that is delivered next.
    pub fn next_ready(&self) -> Option<ReadyBatch> {
        self.commit().lock().ready().next().copied()
    }

    /// Starts the process and runs a script: all that was said. Where the process died, the last line says of what.
    #[must_use]
    pub fn told(mut self, script: &str) -> String {
        if let Err(Dead(why)) = self.start().and_then(|()| self.run(script)) {
            self.say(&format!("died: {why}"));
        }
        self.out
    }

    /// Runs a script on a started world. A dead process ends it.
    pub fn run(&mut self, script: &str) -> Result<(), Dead> {
        for line in script.split(';') {
            let line = line.trim();
            if let Err(Dead(why)) = self.step(line) {
                self.commit = None;
                return Err(Dead(format!("{line}: {why}")));
            }
        }
        Ok(())
    }

    fn step(&mut self, line: &str) -> Result<(), Dead> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse::<usize>().expect("a number");
        match words.as_slice() {
            [] => {}
            ["submit", key, count, size, rest @ ..] => {
                let (key, end) = (key.trim_start_matches('-'), rest.contains(&"end"));
                let submission = self.book.submit(key, number(count), number(size), end);
                self.begin(submission, ack(rest));
            }
            ["repeat", submission, rest @ ..] => {
                // What is created has no id to be repeated under.
                if !self.book.submissions[number(submission)].created {
                    self.begin(number(submission), ack(rest));
                }
            }
            ["create", key, count, size, rest @ ..] => {
                // It waits for the group under way.
                self.land();
                let lifespan = rest.first().map(|ms| number(ms) as u64);
                let submission = self.book.create(key, number(count), number(size));
                self.create(submission, lifespan.map(Duration::from_millis))?;
            }
            ["clean"] => self.clean()?,
            ["touch"] => {
                if let Some(batch) = self.next_ready() {
                    self.touch(batch.name.id)?;
                }
            }
            ["lead"] => self.lead()?,
            ["plan"] => {
                self.land();
                let group = self.commit().lock().plan();
                self.group = group;
            }
            ["land"] => self.land(),
            ["hold"] => {
                self.hold = None;
                self.hold = self.commit().claim_oldest();
            }
            ["let", "go"] => self.hold = None,
            ["keep"] => {
                self.note_droppable()?;
                let kept = self.commit().keep().map_err(dead)?;
                if kept.commit_due {
                    self.say("a commit is due");
                }
            }
            ["flush"] => {
                let seqs = self.commit().flush();
                let left = self.commit().undelivered(&seqs);
                self.say(&format!("flush of {left}"));
            }
            ["shutdown"] => drop(self.commit().flush_because(SealReason::Shutdown)),
            ["close"] => self.commit().lock().close_all(SealReason::Flush),
            ["deliver"] => {
                self.deliver(true)?;
            }
            ["deliver", "all"] => while self.deliver(true)? {},
            ["attempt"] => {
                self.deliver(false)?;
            }
            ["bury"] => {
                if let Some(batch) = self.commit().claim_next() {
                    self.commit().note_failure(&batch, 1, "no");
                    match self.commit().expire_from(&batch) {
                        Ok(()) | Err(FinishError::Retry(_)) => {}
                        Err(error) => return Err(dead(error)),
                    }
                    self.take_answers();
                }
            }
            ["drop"] => {
                if let Some(batch) = self.next_ready() {
                    let (inspection, items) = self.read(&batch)?;
                    let finished = self.commit().finish(&batch, Outcome::Dropped, &inspection);
                    finished.map_err(dead)?;
                    self.book.set_aside(batch.name.id, items);
                    self.take_answers();
                }
            }
            ["recall"] => {
                let more = self.commit().recall(1);
                self.say(if more {
                    "there is more to recall"
                } else {
                    "all is recalled"
                });
            }
            ["release"] => {
                self.commit().lock().release_waiting();
                self.take_answers();
            }
            ["wait", time] => self.clock.advance(duration(time)),
            ["wall", step] => self.step_wall(step),
            ["due"] => {
                let due = self.commit().lock().next_due();
                self.say(&due.map_or("nothing is due".to_owned(), |due| format!("due in {due:?}")));
            }
            ["skipped"] => {
                let skipped = self.commit().lock().counters().beats_skipped;
                self.say(&format!("{skipped} skipped"));
            }
            ["reasons"] => self.reasons()?,
            ["stop"] => {
                self.land();
                self.commit().close().map_err(dead)?;
                self.commit = None;
            }
            ["reopen"] => self.start()?,
            ["crash"] => {
                self.commit = None;
                self.disk = self.disk.durable_image().to_disk();
                self.start()?;
            }
            ["crash", seed] => {
                self.commit = None;
                self.disk = self.disk.crash(number(seed) as u64).to_disk();
                self.start()?;
            }
            ["list"] => self.list(),
            ["full", room] => {
                self.disk
                    .set_capacity(Some(self.disk.bytes_used() + number(room) as u64));
            }
            ["tend"] => {
                let space = self.commit().space();
                for _ in 0..100 {
                    if space.tend().is_none() {
                        break;
                    }
                }
            }
            ["readonly"] => self.disk.set_read_only(true),
            ["space"] => {
                let view = self.commit().space().view();
                let (used, free) = (view.used_bytes, view.free_bytes);
                let short = view.shortage.map_or("none".to_owned(), |s| s.to_string());
                self.say(&format!("used {used}, free {free}, shortage: {short}"));
            }
            ["heal", "all"] => {
                self.step("heal")?;
                self.step("tend")?;
            }
            ["heal"] => {
                self.disk.heal();
                self.disk.set_read_only(false);
                // What was last heard of the disk is too old then.
                self.clock.advance(LOOK_INTERVAL);
                self.disk.set_capacity(None);
            }
            ["fail", "sync", nth] => {
                let lost = Fault::once(EIO).losing_pages(0);
                self.disk
                    .fail_nth(OpKind::SyncData, number(nth) as u64, lost);
            }
            ["evict"] => self.disk.evict_clean_pages(),
            ["fail", "write", nth, bytes] => {
                let short = Fault::once(ENOSPC).after_bytes(number(bytes));
                self.disk.fail_nth(OpKind::Write, number(nth) as u64, short);
            }
            ["fail", "rename", nth] => {
                self.disk
                    .fail_nth(OpKind::Rename, number(nth) as u64, Fault::once(ENOSPC));
            }
            ["calls", what] => {
                let log = self.disk.op_log();
                let count = log.lines().filter(|line| line.starts_with(what)).count();
                self.say(&format!("{count} {what}"));
            }
            ["ledger"] => {
                for line in self.ledger() {
                    let outcome = line["outcome"].as_str().unwrap_or("?");
                    self.say(&format!("ledger {}: {outcome}", line["seq"]));
                }
            }
            _ => panic!("no such step: {line}"),
        }
        Ok(())
    }

    /// Compares the accounts of the process with each other, and with the disk.
    pub fn audit(&self) -> Result<(), String> {
        let Some(commit) = &self.commit else {
            return Ok(());
        };
        if self.group.is_some() {
            return Ok(());
        }
        commit.lock().audit()?;
        let reserved = commit.lock().reserved().bytes;
        let bytes = |items: &[Vec<u8>]| items.iter().map(Vec::len).sum::<usize>() as u64;
        let contents = self.contents().map_err(|Dead(why)| why)?;
        let sum = reserved
            + contents
                .iter()
                .map(|(_, _, _, items)| bytes(items))
                .sum::<u64>();
        let used = commit.space().view().used_bytes;
        if used != sum {
            return Err(format!("{used} bytes are said to be used, and {sum} are"));
        }
        let queue = commit.lock();
        for (dir, batches) in [
            ("ready", queue.ready().copied().collect::<Vec<_>>()),
            ("dead", queue.dead().copied().collect()),
        ] {
            let here = self.files_in(&format!("{QUEUE}/{dir}"));
            let path = |batch: &ReadyBatch| commit.layout().sealed(batch);
            let is_here = |batch: &&ReadyBatch| {
                let path = path(batch).to_string_lossy().into_owned();
                here.iter().any(|name| path.ends_with(name.as_str()))
            };
            if batches.iter().filter(is_here).count() != here.len() {
                return Err(format!(
                    "{dir} holds {here:?}, and is said to hold {batches:?}"
                ));
            }
        }
        Ok(())
    }

    /// Begins a submission.
    pub fn begin(&mut self, number: usize, ack: Ack) {
        self.book.submissions[number].begun += 1;
        let submission = &self.book.submissions[number];
        let body = submission.body(number);
        let count = u32::try_from(submission.items.len()).unwrap();
        let incoming = Incoming {
            key: &submission.key,
            body: &body,
            body_crc: crc32c(&body),
            view: BodyView::parse(&body, count, BodyLimits::NONE).unwrap(),
            ack,
            repeat: submission.begun > 1,
            end_of_batch: submission.end,
            received_at: batchd_core::env::Clock::wall_micros(&self.clock),
        };
        match self.commit().begin(&incoming, number) {
            Ok(Begun::Waiting) => {}
            Ok(Begun::Durable) => self.say(&format!("{number} waits for the sink")),
            Ok(Begun::Known) => {
                self.say(&format!("{number} known"));
                assert!(
                    ack < Ack::Delivered || self.book.was_delivered(number),
                    "{number} is not delivered"
                );
                self.book.ack(number, ack);
            }
            Err(refusal) => self.say(&format!("{number} refused: {refusal}")),
        }
    }

    /// Writes the group that was planned, where there is one, and no more, as where another thread comes between.
    fn land(&mut self) {
        let Some(mut group) = self.group.take() else {
            return;
        };
        let mut answers = Vec::new();
        let result = group.run(self.commit().env());
        let mut queue = self.commit().lock();
        queue.complete(group, &result, &mut answers);
        drop(queue);
        for (number, answer) in answers {
            self.note_answer(number, answer);
        }
    }

    /// Leads the commit until nothing is left.
    pub fn lead(&mut self) -> Result<(), Dead> {
        loop {
            let mut answers = Vec::new();
            let led = self.commit().lead(&mut answers);
            for (number, answer) in answers {
                self.note_answer(number, answer);
            }
            if led.map_err(dead)? == Led::Idle {
                return Ok(());
            }
        }
    }

    fn note_answer(&mut self, number: usize, answer: Answer) {
        self.say(&format!("{number} {answer:?}"));
        match answer {
            Answer::Kept(ack) | Answer::KeptBefore(ack) => {
                assert!(
                    ack < Ack::Delivered || self.book.was_delivered(number),
                    "{number} is not delivered"
                );
                self.book.ack(number, ack);
            }
            Answer::Durable => self.book.ack(number, Ack::Synced),
            Answer::Failed(_) => {}
        }
    }

    /// Takes the answers of those that waited for the sink.
    fn take_answers(&mut self) {
        for (number, answer) in self.commit().take_answers() {
            self.note_answer(number, answer);
        }
    }

    /// Makes a batch.
    pub fn create(&mut self, number: usize, lifespan: Option<Duration>) -> Result<(), Dead> {
        let submission = &self.book.submissions[number];
        let mut body = Vec::new();
        encode_body(None, submission.items.iter().map(Vec::as_slice), &mut body);
        let count = u32::try_from(submission.items.len()).unwrap();
        let creation = Creation {
            key: &submission.key,
            body: &body,
            body_crc: crc32c(&body),
            view: BodyView::parse(&body, count, BodyLimits::NONE).unwrap(),
            lifespan,
        };
        match self.commit().create(&creation) {
            Ok(id) => {
                self.book.ack(number, Ack::Synced);
                let queue = self.commit().lock();
                let found = queue.ready().find(|batch| batch.name.id == id);
                let line = format!("{number} created as {}", found.unwrap().name.seq);
                drop(queue);
                self.say(&line);
            }
            Err(CreateError::Broken(error)) => return Err(dead(error)),
            Err(error) => self.say(&format!("{number} not created: {error}")),
        }
        Ok(())
    }

    /// The cleaner, until it has nothing left to do now.
    pub fn clean(&mut self) -> Result<(), Dead> {
        let before = self.note_expiring()?;
        let mut expired = 0;
        loop {
            let cleaned = self.commit().clean().map_err(dead)?;
            expired += cleaned.expired;
            if cleaned.next_due != Some(Duration::ZERO) {
                break;
            }
        }
        self.note_expired(&before);
        if expired > 0 {
            self.say(&format!("cleaned {expired}"));
        }
        Ok(())
    }

    /// Looks for a batch, as who wants to read it does. Says whether it has expired.
    pub fn touch(&mut self, id: BatchId) -> Result<bool, Dead> {
        let before = self.note_expiring()?;
        let expired = self.commit().expire_at_access(id).map_err(dead)?;
        self.note_expired(&before);
        self.say(if expired { "expired" } else { "not expired" });
        Ok(expired)
    }

    fn expire_from(&mut self, claim: &Claim) -> Result<bool, Dead> {
        let before = self.note_expiring()?;
        let ended = self.commit().expire_from(claim);
        self.note_expired(&before);
        match ended {
            Ok(()) => {
                self.say(&format!("expired {}", claim.name.seq));
                Ok(true)
            }
            Err(FinishError::Retry(error)) => {
                self.say(&format!("not expired: {}", error.operation));
                Ok(false)
            }
            Err(error) => Err(dead(error)),
        }
    }

    /// Notes what may be dropped now: whether it is, no crash tells.
    fn note_expiring(&mut self) -> Result<Vec<BatchId>, Dead> {
        if self.policy.on_expire == OnExpire::Dead {
            return Ok(Vec::new());
        }
        let ready: Vec<ReadyBatch> = self.commit().lock().ready().copied().collect();
        let mut noted = Vec::new();
        for batch in ready {
            if self.commit().is_expired(&batch) {
                let (_, items) = self.read(&batch)?;
                self.book.may_drop(batch.name.id, items);
                noted.push(batch.name.id);
            }
        }
        Ok(noted)
    }

    fn note_expired(&mut self, noted: &[BatchId]) {
        self.take_answers();
        let commit = self.commit.as_ref().expect("started");
        for id in noted {
            if commit.find_sealed(*id).is_none() {
                self.book.dropped(*id);
            }
        }
    }

    /// Whether the ledger says that a batch was dropped.
    fn is_dropped_on_record(&self, id: BatchId) -> bool {
        let image = self.disk.live_image();
        ["ledger", "ledger.1"].iter().any(|name| {
            let text = image.read(format!("{QUEUE}/{name}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let id = id.to_string();
            let mut lines = text.lines();
            lines.any(|line| line.contains(&id) && line.contains("\"dropped\""))
        })
    }

    /// Gives the sink the next batch. With `finish` that is recorded, and the batch removed. False where there
    /// is none.
    pub fn deliver(&mut self, finish: bool) -> Result<bool, Dead> {
        let Some(batch) = self.commit().claim_next() else {
            return Ok(false);
        };
        if self.commit().is_expired(&batch) {
            return self.expire_from(&batch);
        }
        let (inspection, items) = self.read(&batch)?;
        let mut line = format!("delivered {}:{}", batch.name.seq, names(&items));
        if let Some(damage) = &inspection.damage {
            line.push_str(&format!(" damaged: {damage}"));
        }
        self.say(&line);
        let place = self.book.deliver(batch.name.id, items);
        if finish {
            let outcome = match inspection.damage {
                None => Outcome::Delivered,
                Some(_) => Outcome::DeliveredDamaged,
            };
            match self.commit().finish(&batch, outcome, &inspection) {
                Ok(()) => {
                    self.book.record(place);
                    self.take_answers();
                }
                Err(FinishError::Retry(error)) => {
                    self.say(&format!("not recorded: {}", error.operation));
                    return Ok(false);
                }
                Err(error) => return Err(dead(error)),
            }
        }
        Ok(true)
    }

    /// Reads a sealed batch as a dispatcher does.
    pub fn read(&self, batch: &ReadyBatch) -> Result<(Inspection, Vec<Vec<u8>>), Dead> {
        let file = self.commit().open_sealed(batch).map_err(dead)?;
        read_items(&file)
    }

    /// Delivers everything: closes, seals, gives it all to the sink; and notes what is set aside.
    pub fn drain(&mut self) -> Result<(), Dead> {
        self.note_droppable()?;
        self.note_dropped();
        self.run("land; let go; lead; close; keep; deliver all; keep; deliver all")?;
        let dead: Vec<ReadyBatch> = self.commit().lock().dead().cloned().collect();
        for batch in dead {
            let (inspection, items) = self.read(&batch)?;
            if let Some(damage) = &inspection.damage {
                self.say(&format!("dead {} damaged: {damage}", batch.name.seq));
            }
            if inspection.verdict.is_none() {
                self.say(&format!("dead {} damaged: no verdict", batch.name.seq));
            }
            self.book.set_aside(batch.name.id, items);
        }
        for id in self.book.not_delivered() {
            if !self.is_dropped_on_record(id) {
                self.say("damaged: dropped without a record");
            }
        }
        Ok(())
    }

    /// Notes what the batches hold that a look at the house may drop.
    pub fn note_droppable(&mut self) -> Result<(), Dead> {
        if self.policy.overflow == Overflow::DropOldest {
            for (_, _, id, items) in self.contents()? {
                self.book.droppable.insert(id, items);
            }
        }
        Ok(())
    }

    /// Notes what is on record as dropped.
    pub fn note_dropped(&mut self) {
        for line in self.ledger() {
            if line["outcome"] == "dropped" {
                let id = line["id"].as_str().expect("an id");
                self.book.dropped.insert(id.parse().expect("an id"));
            }
        }
    }

    /// The lines of the ledger.
    #[must_use]
    pub fn ledger(&self) -> Vec<serde_json::Value> {
        let text = self.disk.live_image().read(format!("{QUEUE}/ledger"));
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        let lines = text.lines().map(serde_json::from_str);
        lines.map(Result::unwrap_or_default).collect()
    }

    /// Why files are in quarantine; torn ends have no reason.
    #[must_use]
    pub fn quarantine_reasons(&self) -> Vec<String> {
        let image = self.disk.live_image();
        let files = image.files();
        let reasons = files.iter().filter(|path| path.ends_with(".reason"));
        reasons
            .map(|path| String::from_utf8_lossy(&image.read(path).unwrap()).into_owned())
            .collect()
    }

    /// What the spool holds, by batch: where, seq, id, items.
    pub fn contents(&self) -> Result<Vec<Held>, Dead> {
        let queue = self.commit().lock();
        let mut all = Vec::new();
        for view in queue.open_views() {
            let file = SealedFile::open(self.commit().env(), &view.path, view.header.id);
            let (_, items) = read_items(&file.map_err(dead)?)?;
            all.push(("open", view.header.seq, view.header.id, items));
        }
        for (place, batches) in [
            ("ready", queue.ready().copied().collect::<Vec<_>>()),
            ("dead", queue.dead().copied().collect()),
        ] {
            for batch in batches {
                let path = self.commit().layout().sealed(&batch);
                let file = SealedFile::open(self.commit().env(), &path, batch.name.id);
                let (_, items) = read_items(&file.map_err(dead)?)?;
                all.push((place, batch.name.seq, batch.name.id, items));
            }
        }
        Ok(all)
    }

    /// The files in the spool by kind, for a look at what a start left.
    #[must_use]
    pub fn files_in(&self, dir: &str) -> Vec<String> {
        let prefix = format!("{dir}/");
        let files = self.disk.live_image().files();
        files
            .iter()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect()
    }

    /// Adds a line to the output.
    pub fn say(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// Moves the wall clock alone, as `+1d` or `-1d` say.
    fn step_wall(&self, step: &str) {
        let now = batchd_core::env::Clock::wall_micros(&self.clock);
        if let Ok(seconds) = step.parse::<i64>() {
            self.clock
                .set_wall(now.saturating_add_signed(seconds * 1_000_000));
            return;
        }
        let micros = |time| u64::try_from(duration(time).as_micros()).unwrap();
        let (ahead, behind) = (step.strip_prefix('+'), step.strip_prefix('-'));
        let then = match (ahead, behind) {
            (Some(time), _) => now + micros(time),
            (_, Some(time)) => now - micros(time),
            _ => panic!("no step: {step}"),
        };
        self.clock.set_wall(then);
    }

    /// Says why the batches were closed that wait for delivery.
    fn reasons(&mut self) -> Result<(), Dead> {
        let ready: Vec<ReadyBatch> = self.commit().lock().ready().copied().collect();
        for batch in ready {
            let (inspection, items) = self.read(&batch)?;
            let reason = inspection.seal.map_or("no seal", |seal| seal.reason.name());
            self.say(&format!("{}:{} {reason}", batch.name.seq, names(&items)));
        }
        Ok(())
    }

    fn list(&mut self) {
        let mut lines = Vec::new();
        for (place, seq, _, items) in self.contents().unwrap_or_default() {
            lines.push(format!("{place} {seq}:{}", names(&items)));
        }
        let queue = self.commit().lock();
        for view in queue.open_views() {
            if let Some(reason) = view.closing {
                lines.push(format!("closing {}: {}", view.header.seq, reason.name()));
            }
        }
        drop(queue);
        for line in lines {
            self.say(&line);
        }
    }
}

/// A time with its unit; milliseconds without one.
fn duration(text: &str) -> Duration {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<u64>().expect("a number");
    match unit {
        "us" => Duration::from_micros(number),
        "" | "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "d" => Duration::from_secs(number * 24 * 3600),
        _ => panic!("no unit of time: {unit}"),
    }
}

/// Reads all that can be read of a sealed file.
pub fn read_items(file: &SealedFile) -> Result<(Inspection, Vec<Vec<u8>>), Dead> {
    let inspection = file.inspect();
    let mut items = Vec::new();
    for range in &inspection.ranges {
        let mut reader = file.items(*range);
        while let Some(item) = reader.next_item().map_err(dead)? {
            items.push(item.to_vec());
        }
    }
    Ok((inspection, items))
}

/// Items by what they say of themselves: ` 0.0 0.1`.
fn names(items: &[Vec<u8>]) -> String {
    let name = |item: &Vec<u8>| {
        let end = item.iter().position(|b| *b == b':').unwrap_or(item.len());
        format!(" {}", String::from_utf8_lossy(&item[..end]))
    };
    items.iter().map(name).collect()
}

fn ack(words: &[&str]) -> Ack {
    if words.contains(&"delivered") {
        Ack::Delivered
    } else if words.contains(&"none") {
        Ack::None
    } else if words.contains(&"written") {
        Ack::Written
    } else {
        Ack::Synced
    }
}

fn dead(error: impl std::fmt::Display) -> Dead {
    Dead(error.to_string())
}

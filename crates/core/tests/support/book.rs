//! The plain model: what was submitted, what was acknowledged, what the sink was given; and what must be true of
//! them together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use batchd_core::frame::{BatchId, ProducerId, SubmissionId, encode_body};
use batchd_core::queue::Ack;

/// Whose submissions the tests make.
pub const PRODUCER: ProducerId = ProducerId::from_bytes([0x11; 16]);

/// One submission.
#[derive(Debug, Clone, Hash)]
pub struct Submission {
    /// Its key.
    pub key: Vec<u8>,
    /// Its items; no two of any submission are equal.
    pub items: Vec<Vec<u8>>,
    /// Whether its last item closes the batch.
    pub end: bool,
    /// It was given as a batch of its own, without an id: it cannot be repeated, and is there whole or not at all.
    pub created: bool,
    /// How often it was begun.
    pub begun: u32,
    /// What it was acknowledged as.
    pub acked: Option<Ack>,
    /// Which of all acknowledgements that was. Only where it was `Synced` at the first attempt: what was only
    /// written may be lost and come again later, and what was never answered may be kept already.
    pub order: Option<u64>,
}

impl Submission {
    /// Its encoded body, under its number as the sequence.
    #[must_use]
    pub fn body(&self, number: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let id = SubmissionId {
            producer: PRODUCER,
            sequence: number as u64,
        };
        encode_body(Some(id), self.items.iter().map(Vec::as_slice), &mut body);
        body
    }
}

/// A batch that the sink was given.
#[derive(Debug, Clone, Hash)]
pub struct Delivered {
    /// Its id.
    pub batch: BatchId,
    /// Its items.
    pub items: Vec<Vec<u8>>,
    /// Whether that is on record.
    pub recorded: bool,
    /// It was not delivered, but found set aside.
    pub dead: bool,
}

/// All that is known outside the spool; it survives every crash.
#[derive(Debug, Clone, Default, Hash)]
pub struct Book {
    /// By number.
    pub submissions: Vec<Submission>,
    /// In order.
    pub sink: Vec<Delivered>,
    /// Batches that may have been dropped.
    dropping: Vec<BatchId>,
    /// What batches hold that might be dropped.
    pub droppable: BTreeMap<BatchId, Vec<Vec<u8>>>,
    /// Batches that are on record as dropped.
    pub dropped: BTreeSet<BatchId>,
    acks: u64,
}

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Items of an acknowledged submission were not delivered.
    Lost,
    /// Something was delivered that nobody submitted.
    Alien,
    /// An item was delivered under two batch ids, or twice under one.
    Duplicate,
    /// One batch id, two contents.
    TwoContents,
    /// A batch was delivered again although its delivery is on record.
    RecordIgnored,
    /// Items of one key were delivered out of order.
    Order,
    /// A submission that was not acknowledged left something other than a prefix.
    NotAPrefix,
    /// A repeat under the same id added what was there, or did not add what was missing.
    Repeat,
    /// A spool could not be started, or not be drained.
    Start,
    /// A second recovery found something else than the first.
    SecondRecovery,
    /// A batch that a crash left is taken for damaged.
    TakenForDamaged,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// What happened.
    pub what: String,
}

impl Violation {
    /// Names one.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// What must have been delivered by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// All that was acknowledged at least so.
    Acked(Ack),
    /// Every submission there is.
    All,
}

impl Book {
    /// Adds a submission; returns its number.
    pub fn submit(&mut self, key: &str, count: usize, size: usize, end: bool) -> usize {
        let number = self.submissions.len();
        let items = (0..count).map(|index| item(number, index, size)).collect();
        self.submissions.push(Submission {
            key: key.into(),
            items,
            end,
            created: false,
            begun: 0,
            acked: None,
            order: None,
        });
        number
    }

    /// Adds a batch to be created; returns its number.
    pub fn create(&mut self, key: &str, count: usize, size: usize) -> usize {
        let number = self.submit(key, count, size, true);
        self.submissions[number].created = true;
        self.submissions[number].begun = 1;
        number
    }

    /// Notes that a batch may be dropped from now on, on the record.
    pub fn may_drop(&mut self, batch: BatchId, items: Vec<Vec<u8>>) {
        if !self.dropping.contains(&batch) {
            self.dropping.push(batch);
            self.sink.push(Delivered {
                batch,
                items,
                recorded: false,
                dead: true,
            });
        }
    }

    /// Notes that it was: it must not come back.
    pub fn dropped(&mut self, batch: BatchId) {
        let mut sink = self.sink.iter_mut();
        if let Some(last) = sink.rfind(|delivered| delivered.batch == batch) {
            last.recorded = true;
        }
    }

    /// Those that might have been dropped and were not delivered after all.
    #[must_use]
    pub fn not_delivered(&self) -> Vec<BatchId> {
        let is_delivered = |id: &BatchId| {
            let mut sink = self.sink.iter();
            sink.any(|delivered| delivered.batch == *id && !delivered.dead)
        };
        let not = self.dropping.iter().filter(|id| !is_delivered(id));
        not.copied().collect()
    }

    /// Notes an acknowledgement.
    pub fn ack(&mut self, number: usize, ack: Ack) {
        self.acks += 1;
        let submission = &mut self.submissions[number];
        if submission.acked.is_none() && submission.begun == 1 && ack == Ack::Synced {
            submission.order = Some(self.acks);
        }
        submission.acked = submission.acked.max(Some(ack));
    }

    /// Whether the sink was given all of a submission.
    #[must_use]
    pub fn was_delivered(&self, number: usize) -> bool {
        let given = |item: &Vec<u8>| {
            let mut sink = self.sink.iter().filter(|batch| !batch.dead);
            sink.any(|batch| batch.items.contains(item))
        };
        self.submissions[number].items.iter().all(given)
    }

    /// Notes a delivery; returns its place, for [`record`](Self::record).
    pub fn deliver(&mut self, batch: BatchId, items: Vec<Vec<u8>>) -> usize {
        self.sink.push(Delivered {
            batch,
            items,
            recorded: false,
            dead: false,
        });
        self.sink.len() - 1
    }

    /// Notes that a delivery is on record.
    pub fn record(&mut self, place: usize) {
        self.sink[place].recorded = true;
    }

    /// Notes a batch that was found set aside, once.
    pub fn set_aside(&mut self, batch: BatchId, items: Vec<Vec<u8>>) {
        if !self
            .sink
            .iter()
            .any(|delivered| delivered.dead && delivered.batch == batch)
        {
            self.sink.push(Delivered {
                batch,
                items,
                recorded: false,
                dead: true,
            });
        }
    }

    /// The same for equal books.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Compares what was delivered with what is due.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn check(&self, due: Due) -> Result<(), Violation> {
        let (log, dead) = self.effective()?;
        let at = self.positions(&log)?;
        let dropped = self.dropped_items()?;
        for (number, submission) in self.submissions.iter().enumerate() {
            // What was dropped on the record is missed by nobody.
            let got = &at[number];
            let is_missing = |index: &usize| {
                !got.contains_key(index) && !dropped.contains(&submission.items[*index])
            };
            let whole = match due {
                Due::All => !submission.created || submission.acked.is_some(),
                Due::Acked(least) => submission.acked.is_some_and(|ack| ack >= least),
            };
            if let Some(index) = (0..submission.items.len()).find(is_missing) {
                if whole {
                    let what = format!("item {index} of submission {number}: {submission:?}");
                    return Err(Violation::new(Kind::Lost, what));
                }
                if got.keys().any(|i| *i > index) || (submission.created && !got.is_empty()) {
                    let what = format!("submission {number} without item {index}");
                    return Err(Violation::new(Kind::NotAPrefix, what));
                }
            }
            for index in 1..submission.items.len() {
                if let (Some(one), Some(two)) = (got.get(&(index - 1)), got.get(&index))
                    && one > two
                    && !dead[*one]
                {
                    let what = format!("item {index} of submission {number}");
                    return Err(Violation::new(Kind::Order, what));
                }
            }
        }
        self.check_order(&at, &dead)
    }

    /// Items of batches that are on record as dropped. None of them was delivered on the record.
    fn dropped_items(&self) -> Result<HashSet<Vec<u8>>, Violation> {
        let recorded = |id| {
            let mut delivered = self.sink.iter().filter(|d| d.recorded && !d.dead);
            delivered.any(|delivered| delivered.batch == id)
        };
        if let Some(id) = self.dropped.iter().find(|id| recorded(**id)) {
            return Err(Violation::new(Kind::RecordIgnored, id.to_string()));
        }
        let items = |id| self.droppable.get(id).cloned().unwrap_or_default();
        Ok(self.dropped.iter().flat_map(items).collect())
    }

    /// What was delivered, repeats of a batch left out; and which of it was set aside instead.
    fn effective(&self) -> Result<(Vec<&[u8]>, Vec<bool>), Violation> {
        let mut dead = Vec::new();
        let mut batches: HashMap<BatchId, &Delivered> = HashMap::new();
        let mut log = Vec::new();
        for delivered in &self.sink {
            if let Some(before) = batches.get(&delivered.batch) {
                if before.items != delivered.items {
                    let what = format!(
                        "batch {}: {} items, then {}",
                        delivered.batch,
                        before.items.len(),
                        delivered.items.len()
                    );
                    return Err(Violation::new(Kind::TwoContents, what));
                }
                if before.recorded {
                    return Err(Violation::new(
                        Kind::RecordIgnored,
                        delivered.batch.to_string(),
                    ));
                }
            } else {
                log.extend(delivered.items.iter().map(Vec::as_slice));
                dead.resize(log.len(), delivered.dead);
            }
            batches.insert(delivered.batch, delivered);
        }
        Ok((log, dead))
    }

    /// Where each item of each submission was delivered.
    fn positions(&self, log: &[&[u8]]) -> Result<Vec<HashMap<usize, usize>>, Violation> {
        let mut known: HashMap<&[u8], (usize, usize)> = HashMap::new();
        for (number, submission) in self.submissions.iter().enumerate() {
            for (index, item) in submission.items.iter().enumerate() {
                known.insert(item, (number, index));
            }
        }
        let mut at = vec![HashMap::new(); self.submissions.len()];
        for (place, item) in log.iter().enumerate() {
            let Some((number, index)) = known.get(item) else {
                let what = format!("{} bytes: {}", item.len(), item.escape_ascii());
                return Err(Violation::new(Kind::Alien, what));
            };
            if at[*number].insert(*index, place).is_some() {
                let what = format!("item {index} of submission {number}");
                return Err(Violation::new(Kind::Duplicate, what));
            }
        }
        Ok(at)
    }

    /// What was acknowledged first was delivered first.
    fn check_order(&self, at: &[HashMap<usize, usize>], dead: &[bool]) -> Result<(), Violation> {
        let mut order: Vec<_> = self
            .submissions
            .iter()
            .enumerate()
            .filter_map(|(number, s)| {
                let last = s.items.len().checked_sub(1)?;
                let place = *at[number].get(&last)?;
                Some((&s.key, s.order?, place, number))
            })
            .filter(|(_, _, place, _)| !dead[*place])
            .collect();
        order.sort_unstable();
        for pair in order.windows(2) {
            if let [(key, _, one, first), (other, _, two, second)] = pair
                && key == other
                && one > two
            {
                let what = format!("submission {second} before {first}");
                return Err(Violation::new(Kind::Order, what));
            }
        }
        Ok(())
    }
}

/// An item that says whose it is, and of which every byte is its own.
#[must_use]
pub fn item(number: usize, index: usize, size: usize) -> Vec<u8> {
    let mut bytes = format!("{number}.{index}:").into_bytes();
    let start = bytes.len();
    let letters = b"abcdefghijklmnopqrstuvwxyz";
    bytes.extend((start..size).map(|at| letters[(number * 7 + index * 3 + at / 8) % 26]));
    bytes
}

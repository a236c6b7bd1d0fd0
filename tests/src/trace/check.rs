//! Holds every answer, delivery and removal of a recording against what was on the medium by then.
//!
//! The recording begins with the daemon and must hold every call of [`traced`](super::calls::traced). Of what a
//! former daemon left in the spool nothing is known but the names: that a submission is kept there cannot be seen.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use batchd_frame::{BatchId, FrameKind, QueueName, SubmissionId};
use batchd_protocol::Ack;

use super::acks::shown;
use super::batch::Batch;
use super::calls::{UNEXPECTED, descriptor, number, paths, written};
use super::disk::{Disk, FileId, Node, OpenFlags, Synced};
use super::log::{self, Call, Moment, Step, Unreadable};
use super::places::{Places, Role};
use super::record;
use super::report::{Report, Rule, Violation};
use super::wire::Connection;

/// Checks a recording.
///
/// # Errors
/// Where it cannot be read; what it shows to be wrong is in the report.
pub fn check(recording: impl BufRead, places: Places) -> Result<Report, Unreadable> {
    let mut checker = Checker {
        places,
        disk: Disk::default(),
        connections: Vec::new(),
        sockets: HashMap::new(),
        batches: HashMap::new(),
        ids: HashMap::new(),
        frames: HashMap::new(),
        acked: HashSet::new(),
        ready: HashMap::new(),
        sealed: HashMap::new(),
        delivered: HashMap::new(),
        ledgers: HashMap::new(),
        recorded: HashMap::new(),
        found: HashSet::new(),
        released: HashSet::new(),
        items_synced: HashMap::new(),
        report: Report::default(),
    };
    let calls = log::read(recording, |step| match step {
        Step::Entered(call) => checker.entered(call),
        Step::Returned(call, now, value) => checker.returned(call, now, value),
    })?;
    checker.report.calls = calls;
    Ok(checker.report)
}

/// A submission of a queue.
pub(super) type Kept = (QueueName, SubmissionId);

pub(super) struct Checker {
    pub(super) places: Places,
    pub(super) disk: Disk,
    pub(super) connections: Vec<Connection>,
    /// By descriptor.
    pub(super) sockets: HashMap<i64, usize>,
    pub(super) batches: HashMap<FileId, Batch>,
    pub(super) ids: HashMap<BatchId, FileId>,
    /// Where frames of a submission begin.
    pub(super) frames: HashMap<Kept, Vec<(FileId, u64)>>,
    pub(super) acked: HashSet<Kept>,
    /// When the seal was synced.
    pub(super) sealed: HashMap<FileId, Moment>,
    /// When the name in `ready/` was durable.
    pub(super) ready: HashMap<FileId, Moment>,
    /// What the sink made of a batch.
    pub(super) delivered: HashMap<BatchId, FileId>,
    /// How far a ledger is read.
    pub(super) ledgers: HashMap<FileId, usize>,
    /// Which ledger has a batch, and where that line ends.
    pub(super) recorded: HashMap<BatchId, Vec<(FileId, usize)>>,
    /// Batches that were ready when the recording began.
    pub(super) found: HashSet<BatchId>,
    /// Removed after they were on record.
    pub(super) released: HashSet<FileId>,
    /// How far items are known to be synced.
    pub(super) items_synced: HashMap<FileId, u64>,
    pub(super) report: Report,
}

impl Checker {
    fn entered(&mut self, call: &Call) -> Result<(), Unreadable> {
        match call.name.as_str() {
            "write" | "writev" | "sendto" | "sendmsg" | "pwrite64" | "pwritev" | "pwritev2" => {
                self.write_entered(call)?;
            }
            "fsync" | "fdatasync" => self.sync_entered(call),
            "ftruncate" => self.cut_entered(call),
            "close" => {
                if let Some(descriptor) = descriptor(call) {
                    self.disk.close(descriptor);
                    self.sockets.remove(&descriptor);
                }
            }
            "rename" | "renameat" | "renameat2" => {
                if let [from, to] = &*paths(call)? {
                    self.rename_entered(call, from, to);
                }
            }
            "unlink" | "unlinkat" => {
                if let [path] = &*paths(call)? {
                    self.unlink_entered(call, path);
                }
            }
            name if UNEXPECTED.contains(&name) => self.unexpected(call)?,
            _ => {}
        }
        Ok(())
    }

    fn returned(&mut self, call: &Call, now: Moment, value: i64) -> Result<(), Unreadable> {
        if matches!(call.name.as_str(), "fsync" | "fdatasync") {
            self.sync_returned(call, now, value == 0);
            return Ok(());
        }
        let Ok(result) = usize::try_from(value) else {
            return Ok(());
        };
        match call.name.as_str() {
            "write" | "writev" | "sendto" | "sendmsg" | "pwrite64" | "pwritev" | "pwritev2" => {
                self.write_returned(call, now, result)?;
            }
            "read" | "readv" | "recvfrom" | "recvmsg" => self.read_returned(call, result)?,
            "accept4" => {
                self.sockets.insert(value, self.connections.len());
                self.connections.push(Connection::default());
            }
            "open" | "openat" => {
                if let [path] = &*paths(call)? {
                    let has = |flag| call.args().iter().any(|arg| arg.has(flag));
                    let flags = OpenFlags {
                        create: has("O_CREAT"),
                        truncate: has("O_TRUNC"),
                        append: has("O_APPEND"),
                    };
                    self.disk.open(value, path.clone(), flags, call.entered);
                    self.note_found(path);
                }
            }
            "ftruncate" => {
                if let Some(id) = descriptor(call).and_then(|fd| self.disk.opened(fd)) {
                    self.disk.set_length(id, number(call, 1).unwrap_or(0));
                }
            }
            "mkdir" | "mkdirat" => {
                if let [path] = &*paths(call)? {
                    self.disk.make_directory(path.clone(), now);
                }
            }
            "rename" | "renameat" | "renameat2" => {
                if let [from, to] = &*paths(call)? {
                    self.disk.rename(from, to, now);
                }
            }
            "unlink" | "unlinkat" => {
                if let [path] = &*paths(call)? {
                    self.disk.unlink(path);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write_entered(&mut self, call: &Call) -> Result<(), Unreadable> {
        let Some(descriptor) = descriptor(call) else {
            return Ok(());
        };
        if let Some(connection) = self.sockets.get(&descriptor).copied() {
            let bytes = written(call)?;
            let told = self
                .connections
                .get(connection)
                .map(|c| c.about_to_send(&bytes));
            for accepted in told.unwrap_or_default() {
                self.check_ack(call, connection, accepted.request, accepted.ack);
            }
            return Ok(());
        }
        let Some(id) = self.accounted(call, descriptor) else {
            return Ok(());
        };
        let Some(file) = self.disk.file(id) else {
            return Ok(());
        };
        match self.places.role(&file.path) {
            Role::Open | Role::Ready if file.syncs_under_way > 0 => {
                let what = format!("a write to {} while it is synced", file.path.display());
                self.violation(Rule::GroupAfterSync, call, what);
            }
            Role::Ledger => {
                for line in record::lines(&written(call)?)
                    .iter()
                    .filter(|line| line.is_delivered)
                {
                    self.check_delivered(call, line.batch);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write_returned(&mut self, call: &Call, now: Moment, count: usize) -> Result<(), Unreadable> {
        let Some(descriptor) = descriptor(call) else {
            return Ok(());
        };
        let connection = self.sockets.get(&descriptor).copied();
        if connection.is_none() && self.disk.opened(descriptor).is_none() {
            return Ok(());
        }
        let mut bytes = written(call)?;
        bytes.truncate(count);
        if let Some(connection) = connection.and_then(|number| self.connections.get_mut(number)) {
            for accepted in connection.send(&bytes) {
                match accepted.ack {
                    Ack::Synced | Ack::Delivered => self.report.acks_synced += 1,
                    Ack::Written => self.report.acks_written += 1,
                    Ack::None => {}
                }
            }
            return Ok(());
        }
        let offset = if call.name.starts_with("pwrite") {
            number(call, 3)
        } else {
            None
        };
        let before = self
            .disk
            .opened(descriptor)
            .and_then(|id| self.disk.file(id));
        let synced_before = before.map_or(0, super::disk::File::synced_to);
        let Some((id, at)) = self.disk.write(descriptor, offset, &bytes, now) else {
            return Ok(());
        };
        let Some(file) = self.disk.file(id) else {
            return Ok(());
        };
        match self.places.role(&file.path) {
            Role::Open | Role::Ready => self.read_batch(call, id, at, synced_before),
            Role::Ledger => self.read_ledger(id, at),
            Role::Delivery | Role::None => {}
        }
        Ok(())
    }

    fn read_returned(&mut self, call: &Call, count: usize) -> Result<(), Unreadable> {
        let socket = descriptor(call).and_then(|descriptor| self.sockets.get(&descriptor));
        if let Some(connection) = socket.and_then(|number| self.connections.get_mut(*number)) {
            let mut bytes = written(call)?;
            bytes.truncate(count);
            self.report.submissions += connection.receive(&bytes);
        }
        Ok(())
    }

    /// Decodes what a write added to a batch.
    fn read_batch(&mut self, call: &Call, id: FileId, at: u64, synced_before: u64) {
        let Some(file) = self.disk.file(id) else {
            return;
        };
        let mut synced_before = synced_before;
        if at < batchd_frame::FILE_HEADER_BYTES as u64 {
            // What was made ahead is synced, and says nothing of the header.
            synced_before = 0;
            let Some(batch) = Batch::begin(&file.content) else {
                return;
            };
            self.ids.insert(batch.header.id, id);
            self.batches.insert(id, batch);
        }
        let Some(batch) = self.batches.get_mut(&id) else {
            return;
        };
        let count = batch.read_on(&file.content, at, call.line);
        let mut claims = Vec::new();
        // What a copy says holds from when it takes the place of the original.
        let is_copy = file.path.extension().is_some_and(|suffix| suffix == "tmp");
        for frame in batch.frames.iter().rev().take(count) {
            if !is_copy && u64::from(frame.synced_to) > synced_before {
                claims.push(frame.synced_to);
            }
            self.report.item_frames += usize::from(frame.kind == FrameKind::Items);
            if let Some(submission) = frame.submission {
                let kept = (batch.header.queue.clone(), submission);
                self.frames
                    .entry(kept)
                    .or_default()
                    .push((id, frame.start()));
            }
        }
        let path = file.path.clone();
        for claim in claims {
            let path = path.display();
            let what = format!("{path} says it is synced to {claim}, and is to {synced_before}");
            self.violation(Rule::SyncedTo, call, what);
        }
    }

    fn read_ledger(&mut self, id: FileId, at: u64) {
        let Some(file) = self.disk.file(id) else {
            return;
        };
        let read_to = self.ledgers.entry(id).or_default();
        *read_to = (*read_to).min(usize::try_from(at).unwrap_or(usize::MAX));
        let start = *read_to;
        for line in record::lines(file.content.get(start..).unwrap_or_default()) {
            *read_to = start + line.end;
            self.recorded
                .entry(line.batch)
                .or_default()
                .push((id, *read_to));
            self.report.recorded += usize::from(line.is_delivered);
        }
    }

    fn sync_entered(&mut self, call: &Call) {
        let Some(descriptor) = descriptor(call) else {
            return;
        };
        if self.accounted(call, descriptor).is_none() && self.disk.node(descriptor).is_none() {
            return;
        }
        let id = self.disk.opened(descriptor);
        if let Some(file) = id.and_then(|id| self.disk.file(id))
            && file.sync_failed
        {
            let what = format!("{} is synced again", file.path.display());
            self.violation(Rule::SyncFailedOnce, call, what);
        }
        self.disk.begin_sync(call.thread, descriptor, call.entered);
    }

    fn sync_returned(&mut self, call: &Call, now: Moment, is_ok: bool) {
        self.report.failed_syncs += usize::from(!is_ok);
        let Some(synced) = self.disk.end_sync(call.thread, is_ok) else {
            return;
        };
        self.report.syncs += 1;
        match synced {
            Synced::File(id) => {
                let (Some(file), Some(batch)) = (self.disk.file(id), self.batches.get(&id)) else {
                    return;
                };
                let synced_to = file.synced_to();
                if batch.seal().is_some_and(|seal| seal.end <= synced_to) {
                    self.sealed.entry(id).or_insert(now);
                }
                let items = batch.items_end(synced_to).unwrap_or(0);
                let known = self.items_synced.entry(id).or_default();
                if items > *known {
                    *known = items;
                    self.report.item_syncs += 1;
                }
            }
            Synced::Directory(files) => {
                for id in files {
                    let path = self.disk.file(id).map(|file| file.path.as_path());
                    if path.is_some_and(|path| self.places.role(path) == Role::Ready) {
                        self.ready.entry(id).or_insert(now);
                    }
                }
            }
        }
    }

    fn cut_entered(&mut self, call: &Call) {
        let Some(descriptor) = descriptor(call) else {
            return;
        };
        let Some(id) = self.accounted(call, descriptor) else {
            return;
        };
        let Some(batch) = self.batches.get_mut(&id) else {
            return;
        };
        let cut = batch.forget_after(number(call, 1).unwrap_or(0));
        let queue = batch.header.queue.clone();
        for submission in cut.iter().filter_map(|frame| frame.submission) {
            if self.acked.contains(&(queue.clone(), submission)) {
                let what = format!("items of {} are cut off", shown(submission));
                self.violation(Rule::AckedKept, call, what);
            }
        }
    }

    /// The file a descriptor stands for. One in the spool or of the sink that was never opened means that this
    /// check has missed something.
    fn accounted(&mut self, call: &Call, descriptor: i64) -> Option<FileId> {
        match self.disk.node(descriptor) {
            Some(Node::File(id)) => return Some(*id),
            Some(Node::Other(_)) => return None,
            None => {}
        }
        let path = call.arg(0).and_then(log::Arg::shown_path)?;
        if self.places.holds(&path) {
            let what = format!("{} to {} that was not opened", call.name, path.display());
            self.violation(Rule::Accounted, call, what);
        }
        None
    }

    fn unexpected(&mut self, call: &Call) -> Result<(), Unreadable> {
        if call.name == "mmap" && !call.args().iter().any(|arg| arg.has("MAP_SHARED")) {
            return Ok(());
        }
        let mut concerned = call.name == "io_uring_setup";
        for arg in call.args() {
            concerned |= arg
                .shown_path()
                .is_some_and(|path| self.places.holds(&path));
        }
        concerned |= paths(call)?.iter().any(|path| self.places.holds(path));
        if concerned {
            let what = format!("{} is not followed here", call.name);
            self.violation(Rule::Accounted, call, what);
        }
        Ok(())
    }

    pub(super) fn violation(&mut self, rule: Rule, call: &Call, what: String) {
        let line = call.line;
        self.report.violations.push(Violation { rule, line, what });
    }
}

//! What the next group writes: to which files, how much of what waits, and whether somebody waits for the sync.

use std::sync::Arc;
use std::time::Duration;

use batchd_frame::planted::{Planted, is_planted};
use batchd_frame::{FileHeader, Key, SealReason};

use super::due::{close_lane, due};
use super::group::{FileWrite, Group, NoFile, Start};
use super::incoming::Ack;
use super::lanes::{Lane, Lanes};
use super::pending::{TakenFrame, complete_headers};
use super::slots::Slots;
use super::state::{Closing, Queue, fill_of};
use crate::env::File;
use crate::policy::Deadline;
use crate::spool::kept::BatchContents;
use crate::spool::layout::OpenName;
use crate::spool::open::OpenBatch;
use crate::spool::writer::Tail;

/// So many batches are closed for one group to make room for new ones: each waits with a descriptor for its seal.
const CLOSED_MAX: usize = 32;

/// How many batches may be open, are, and were closed for others.
struct Room {
    open: usize,
    max: usize,
    closed: usize,
    /// What is closed next, once that was asked: one look at all lanes has to do for a group.
    by_use: Option<std::vec::IntoIter<usize>>,
}

impl Room {
    /// The lane whose batch was used longest ago, unless too many were closed for this group.
    fn least_used<'a>(&mut self, lanes: &'a mut Lanes) -> Option<&'a mut Lane> {
        if self.closed >= CLOSED_MAX {
            return None;
        }
        let by_use = self
            .by_use
            .get_or_insert_with(|| lanes.by_use().into_iter());
        // Since then some have become part of the group.
        let number = by_use.find(|number| lanes.get(*number).is_some_and(Lane::may_be_closed))?;
        lanes.get_mut(number)
    }
}

impl<T: Clone> Queue<T> {
    /// Plans the next group, if there is something to write or sync and none is under way.
    pub fn plan(&mut self) -> Option<Group> {
        if self.in_flight || self.stopped {
            return None;
        }
        self.lanes.shrink();
        let boot = self.env.clock.boot();
        let mut writes = Vec::new();
        let mut room = Room {
            open: self.lanes.open_count(),
            max: self.options.open_batches_max.max(1),
            closed: 0,
            by_use: None,
        };
        for _ in 0..self.dirty.len() {
            let Some(number) = self.dirty.pop_front() else {
                break;
            };
            if let Some(lane) = self.lanes.get_mut(number) {
                lane.listed = false;
            }
            if self.make_room(number, &mut room) {
                writes.extend(self.plan_lane(number));
                if self.has_more(number) && is_planted(Planted::GroupSpansBatches) {
                    self.plan_beyond(number, &mut writes);
                }
            }
            if self.has_more(number)
                && let Some(lane) = self.lanes.get_mut(number)
            {
                lane.listed = true;
                self.dirty.push_back(number);
            }
        }
        self.count_pending();
        // No file is synced by two at once, of which one alone would hear of a failure.
        let barriers = if self.closed_unsynced() {
            Vec::new()
        } else {
            std::mem::take(&mut self.barriers)
        };
        self.plan_syncs(boot, !barriers.is_empty(), &mut writes);
        if writes.is_empty() && barriers.is_empty() {
            return None;
        }
        self.in_flight = true;
        Some(Group {
            writes,
            open_dir: self.layout.open(),
            barriers,
        })
    }

    fn has_more(&self, number: usize) -> bool {
        let lane = self.lanes.get(number);
        lane.is_some_and(|lane| !lane.pending.is_empty())
    }

    /// Sees to it that the lane may have a batch open. Past the bound, the batch that was used longest ago is closed;
    /// where that is too much for one group, the lane has to wait for the next.
    fn make_room(&mut self, number: usize, room: &mut Room) -> bool {
        let has_batch = self
            .lanes
            .get(number)
            .is_some_and(|lane| lane.batch.is_some());
        if has_batch || !self.has_more(number) {
            return true;
        }
        if room.open >= room.max {
            let Some(lane) = room.least_used(&mut self.lanes) else {
                return false;
            };
            let boot = self.env.clock.boot();
            close_lane(lane, SealReason::OpenBatches, boot, &mut self.closing);
            self.keep_due = true;
            room.closed += 1;
            room.open -= 1;
        }
        room.open += 1;
        true
    }

    /// The planted bug: the group goes on into the next batch, whose file nobody syncs.
    fn plan_beyond(&mut self, number: usize, writes: &mut Vec<FileWrite>) {
        if let Some(first) = writes.last()
            && let Some(reason) = first.close
            && let Some(lane) = self.lanes.get_mut(number)
        {
            self.closing.push_back(Closing {
                batch: first.after.clone(),
                reason,
                at: self.env.clock.boot(),
            });
            lane.batch = None;
            if let Some(mut beyond) = self.plan_lane(number) {
                beyond.sync = false;
                writes.push(beyond);
            }
        }
    }

    fn plan_lane(&mut self, number: usize) -> Option<FileWrite> {
        let policy = self.options.policy.clone();
        self.close_if_full(number);
        let lane = self.lanes.get_mut(number)?;
        if lane.pending.is_empty() {
            return None;
        }
        let (mut after, start) = match lane.batch.clone() {
            Some(batch) => (batch, Start::Begun),
            None => {
                let (key, lowest) = (lane.key.clone(), lane.last_seq);
                self.begin_batch(key, lowest)
            }
        };
        let lane = self.lanes.get_mut(number)?;
        let offset = after.tail.offset;
        let mut taken = lane.pending.take(&after, &policy);
        if start != Start::Begun {
            after.first_item_at = taken
                .frames
                .first()
                .map_or(after.header.created_at, |f| f.header.received_at);
            after.newest_item_at = after.first_item_at;
        }
        complete_headers(&mut taken, &mut after);
        // What goes on in the next batch must find its first part durable: otherwise a crash could keep the
        // second part alone, and a repeat would add it once more.
        let is_cut = taken.frames.last().is_some_and(|frame| {
            !frame
                .header
                .flags
                .contains(batchd_frame::FrameFlags::LAST_PART)
        });
        let sync = is_cut || taken.frames.iter().any(|frame| frame.ack >= Ack::Synced);
        let more = !lane.pending.is_empty();
        lane.busy = true;
        self.writes_planned += 1;
        lane.used = self.writes_planned;
        count_taken(&mut self.slots, &taken.frames, more);
        Some(FileWrite {
            lane: number,
            after,
            start,
            made: false,
            bytes: taken.bytes,
            offset,
            sync,
            frames: taken.frames,
            close: taken.close,
        })
    }

    /// Closes the lane's batch where it takes nothing more: it came full from a restart, or its lifespan is over.
    fn close_if_full(&mut self, number: usize) {
        let is_over = self.is_lane_over(number);
        let Some(lane) = self.lanes.get_mut(number) else {
            return;
        };
        let Some(batch) = &lane.batch else {
            return;
        };
        let full = self.options.policy.after_item(fill_of(batch));
        if let Some(reason) = full.or(is_over.then_some(SealReason::Lifespan)) {
            let boot = self.env.clock.boot();
            close_lane(lane, reason, boot, &mut self.closing);
        }
    }

    /// A batch for a lane that has none: on a file made ahead, or on a new one.
    fn begin_batch(&mut self, key: Key, lowest: u64) -> (OpenBatch, Start) {
        self.begun_lately += 1;
        // Seqs of a key ascend: a file that was named before the key's last batch is of no use to it.
        let mut spare = None;
        while let Some(next) = self.spares.pop_front() {
            if next.name.seq > lowest {
                spare = Some(next);
                break;
            }
            self.useless
                .push(self.layout.open().join(next.name.to_string()));
        }
        let (name, file, start): (OpenName, Arc<dyn File>, Start) = match spare {
            Some(spare) => (spare.name, spare.file, Start::MadeAhead),
            None => (self.new_name(), NoFile::shared(), Start::New),
        };
        let header = FileHeader {
            id: name.id,
            seq: name.seq,
            created_at: self.env.clock.wall_micros(),
            lifespan: self.options.policy.lifespan,
            on_expire: self.options.policy.on_expire,
            queue: self.options.name.clone(),
            key,
        };
        let tail = Tail::after_header(&header.encode());
        let batch = OpenBatch {
            first_item_at: header.created_at,
            // Told when its first item is in the file.
            deadline: Deadline::NEVER,
            newest_item_at: header.created_at,
            header,
            file,
            path: self.layout.open().join(name.to_string()),
            tail,
            synced_to: 0,
            name_durable: start == Start::MadeAhead,
            contents: Arc::new(BatchContents::default()),
        };
        (batch, start)
    }

    /// A name no batch had before. Ids ascend with seqs, also within a millisecond and where the wall clock is set
    /// back.
    pub(super) fn new_name(&mut self) -> OpenName {
        let seq = self.next_seq;
        self.next_seq += 1;
        let id = self.ids.next(&self.env);
        OpenName { seq, id }
    }

    /// Adds files to the group that have nothing to write but are to be synced: for a barrier, or because what
    /// is only written has waited long enough.
    fn plan_syncs(&mut self, boot: Duration, all: bool, writes: &mut Vec<FileWrite>) {
        for write in writes.iter_mut() {
            let since = self
                .lanes
                .get(write.lane)
                .and_then(|lane| lane.unsynced_since);
            write.sync |= all || since.is_some_and(|since| due(since, boot));
        }
        let is_late = |lane: &Lane| {
            let since = lane.unsynced_since.filter(|_| !lane.busy);
            since.is_some_and(|since| all || due(since, boot))
        };
        let lanes = self.lanes.iter_mut().enumerate();
        let late = lanes
            .filter(|(_, lane)| is_late(lane))
            .filter_map(|(number, lane)| {
                let batch = lane.batch.clone()?;
                lane.busy = true;
                Some(FileWrite {
                    lane: number,
                    offset: batch.tail.offset,
                    after: batch,
                    start: Start::Begun,
                    made: false,
                    bytes: Vec::new(),
                    sync: true,
                    frames: Vec::new(),
                    close: None,
                })
            });
        writes.extend(late);
    }
}

/// Frames were taken. A submission of which something is left has one more to come.
fn count_taken<T>(slots: &mut Slots<T>, frames: &[TakenFrame], more: bool) {
    if let Some(last) = frames.last()
        && more
        && !last
            .header
            .flags
            .contains(batchd_frame::FrameFlags::LAST_PART)
        && let Some(slot) = slots.get_mut(last.slot)
    {
        slot.frames_left += 1;
    }
}

#[cfg(test)]
mod tests {
    use batchd_frame::BatchId;

    use super::*;
    use batchd_frame::{OnExpire, QueueName};

    fn open_batch() -> OpenBatch {
        let header = FileHeader {
            id: BatchId::new(1, [0; 10]),
            seq: 1,
            created_at: 0,
            lifespan: None,
            on_expire: OnExpire::Dead,
            queue: QueueName::new("q").unwrap(),
            key: Key::default(),
        };
        OpenBatch {
            tail: Tail::after_header(&header.encode()),
            header,
            file: NoFile::shared(),
            path: "batch".into(),
            first_item_at: 0,
            newest_item_at: 0,
            deadline: Deadline::NEVER,
            synced_to: 0,
            name_durable: false,
            contents: Arc::default(),
        }
    }

    /// Lanes with batches that were last used then.
    fn lanes(used: impl Iterator<Item = usize>) -> Lanes {
        let mut lanes = Lanes::default();
        for used in used {
            open(&mut lanes, used);
        }
        lanes
    }

    fn open(lanes: &mut Lanes, used: usize) {
        let number = lanes.number(used.to_string().as_bytes()).unwrap();
        let lane = lanes.get_mut(number).unwrap();
        (lane.batch, lane.used) = (Some(open_batch()), used as u64);
    }

    fn room() -> Room {
        Room {
            open: 0,
            max: 0,
            closed: 0,
            by_use: None,
        }
    }

    #[test]
    fn one_look_at_the_lanes_does_for_a_group() {
        let mut lanes = lanes([7, 3, 5].into_iter());
        let mut room = room();
        let mut next = |lanes: &mut Lanes| room.least_used(lanes).map(|lane| lane.used);
        assert_eq!(next(&mut lanes), Some(3));
        // It would be the next one, if all were looked at again.
        open(&mut lanes, 1);
        if let Some(five) = lanes.iter_mut().find(|lane| lane.used == 5) {
            five.busy = true;
        }
        assert_eq!(next(&mut lanes), Some(7));
        assert_eq!(next(&mut lanes), None);
    }

    #[test]
    fn a_group_that_has_closed_all_it_may_looks_at_no_lane() {
        let mut lanes = lanes(0..1);
        let mut room = Room {
            closed: CLOSED_MAX,
            ..room()
        };
        assert!(room.least_used(&mut lanes).is_none());
        assert!(room.by_use.is_none());
    }
}

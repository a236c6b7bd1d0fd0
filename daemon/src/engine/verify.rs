//! Reads the batches of a running daemon whole and says what is wrong with them, a page at a time. The checking is the
//! core's, which is also what `batchctl verify --spool` uses.

use std::path::PathBuf;

use batchd_core::frame::FileHeader;
use batchd_core::spool::ReadyBatch;
use batchd_core::spool::verify::batch::{Checked, check_sealed, check_synced};
use batchd_core::spool::verify::{self as core, Severity};
use batchd_protocol::{BatchState, Finding, FindingKind, ListCursor, VerifiedPage};

use super::admin::{Failed, find};
use super::{Engine, Queue};

/// Most batches of a page.
const BATCHES_MAX: usize = 1000;
/// Bytes of batches after which a page ends.
const BYTES_MAX: u64 = 64 << 20;
/// Findings after which a page ends: what is behind them waits, so that no answer is too long for a message.
const FINDINGS_MAX: usize = 1000;

/// One batch to be read.
enum Target {
    /// As far as it is synced: what is behind that is under way.
    Open {
        header: FileHeader,
        path: PathBuf,
        synced_to: u64,
    },
    Sealed(ReadyBatch),
}

/// A page of what is wrong. Nothing is locked while files are read: a batch that is gone when it is looked for was
/// delivered, or has gone on to a state that is looked at later.
pub(super) fn page(
    engine: &Engine,
    queue: Option<&str>,
    after: Option<&ListCursor>,
) -> Result<VerifiedPage, Failed> {
    let mut page = VerifiedPage::default();
    if queue.is_none() && after.is_none() {
        page.findings.extend(quarantined(engine));
    }
    let queues = match queue {
        Some(name) => vec![find(engine, name)?],
        None => engine.queues(),
    };
    let mut looked_at = 0;
    for queue in queues {
        if after.is_some_and(|cursor| queue.name < cursor.queue) {
            continue;
        }
        let from = after.filter(|cursor| cursor.queue == queue.name);
        for state in [
            BatchState::Open,
            BatchState::Sealing,
            BatchState::Ready,
            BatchState::Dead,
        ] {
            let from_seq = match from {
                Some(cursor) if state < cursor.state => continue,
                Some(cursor) if state == cursor.state => Some(cursor.seq),
                _ => None,
            };
            for (seq, target) in targets(&queue, state, from_seq, BATCHES_MAX - looked_at) {
                looked_at += 1;
                if let Some(checked) = check(engine, &queue, &target) {
                    add(&mut page, checked);
                }
                let is_full = looked_at >= BATCHES_MAX
                    || page.bytes >= BYTES_MAX
                    || page.findings.len() >= FINDINGS_MAX;
                if is_full {
                    page.next = Some(ListCursor {
                        queue: queue.name.clone(),
                        state,
                        seq,
                    });
                    return Ok(page);
                }
            }
        }
    }
    Ok(page)
}

/// The batches of a queue in a state, behind that seq, in order of seq: at most so many.
fn targets(
    queue: &Queue,
    state: BatchState,
    after: Option<u64>,
    count_max: usize,
) -> Vec<(u64, Target)> {
    let sealed = |batch: &ReadyBatch| (batch.name.seq, Target::Sealed(*batch));
    let locked = queue.commit.lock();
    match (state, after) {
        (BatchState::Open | BatchState::Sealing, _) => locked
            .open_views()
            .into_iter()
            .filter(|view| view.closing.is_some() == (state == BatchState::Sealing))
            .filter(|view| after.is_none_or(|after| view.header.seq > after))
            .take(count_max)
            .map(|view| {
                let seq = view.header.seq;
                let target = Target::Open {
                    header: view.header,
                    path: view.path,
                    synced_to: view.synced_to,
                };
                (seq, target)
            })
            .collect(),
        (BatchState::Ready, None) => locked.ready().take(count_max).map(sealed).collect(),
        (BatchState::Ready, Some(seq)) => {
            let behind = locked.ready_after(seq);
            behind.take(count_max).map(sealed).collect()
        }
        (BatchState::Dead, None) => locked.dead().take(count_max).map(sealed).collect(),
        (BatchState::Dead, Some(seq)) => {
            let behind = locked.dead_after(seq);
            behind.take(count_max).map(sealed).collect()
        }
    }
}

fn check(engine: &Engine, queue: &Queue, target: &Target) -> Option<Checked> {
    let (env, root) = (engine.spool.env(), engine.spool.layout().root());
    match target {
        Target::Open {
            header,
            path,
            synced_to,
        } => check_synced(env, root, path, header, *synced_to),
        Target::Sealed(batch) => check_sealed(env, root, queue.commit.layout(), &queue.name, batch),
    }
}

fn add(page: &mut VerifiedPage, checked: Checked) {
    page.batches += 1;
    page.items += checked.items;
    page.bytes += checked.bytes;
    page.findings
        .extend(checked.findings.into_iter().map(finding));
}

fn finding(found: core::Finding) -> Finding {
    let core::Finding {
        severity,
        path,
        offset,
        batch,
        items_missing,
        what,
    } = found;
    Finding {
        kind: match severity {
            Severity::Damage => FindingKind::Damage,
            Severity::Note => FindingKind::Note,
        },
        path,
        offset,
        batch,
        items_missing,
        what,
    }
}

fn quarantined(engine: &Engine) -> Option<Finding> {
    let count = engine.spool.quarantine().count().unwrap_or(0);
    (count > 0).then(|| Finding {
        kind: FindingKind::Note,
        path: "quarantine".to_owned(),
        offset: None,
        batch: None,
        items_missing: 0,
        what: core::quarantined(count),
    })
}

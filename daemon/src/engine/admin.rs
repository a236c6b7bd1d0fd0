//! Requests that have to do with more than the front of a queue: flush, status, listings, contents. They run on the
//! main runtime, and answer through the mailbox of the connection.

use std::path::PathBuf;
use std::sync::Arc;

use batchd_core::policy::Load;
use batchd_core::queue::OpenView;
use batchd_core::spool::ReadyBatch;
use batchd_core::spool::layout::{Place, ReadyName};
use batchd_core::spool::sealed::SealedFile;
use batchd_frame::BatchId;
use batchd_protocol::{
    BatchInfo, BatchState, ErrorCode, ItemsPage, ListCursor, QueueStatus, Request, Response,
    ServerStatus, Tally,
};
use tokio::runtime::Handle;

use super::explicit::{self, NewBatch};
use super::no_queue::not_found;
use super::{Engine, Queue, flush, history, verify};
use crate::ingest::Ticket;

/// Name and version, for people.
pub(crate) const SERVER: &str = concat!("batchd ", env!("CARGO_PKG_VERSION"));
/// Most batches of a page of a listing.
const PAGE_BATCHES_MAX: usize = 1000;
/// Bytes of items after which a page ends.
const PAGE_BYTES: u64 = 256 << 10;

/// So many requests that block are under way at a time; more of them wait. The attempts do not wait for those, nor they
/// for the attempts.
pub(super) const LOOKS: usize = 32;
/// So many looks for a batch find it, if it is there.
const BATCH_LOOKS: usize = 3;

/// Why a request fails.
pub(crate) type Failed = (ErrorCode, String);

/// The number of a request.
pub(crate) fn request_number(request: &Request<'_>) -> u64 {
    match request {
        Request::Hello { .. } => 0,
        Request::Submit(submit) => submit.request,
        Request::Flush { request, .. }
        | Request::Status { request }
        | Request::List { request, .. }
        | Request::Show { request, .. }
        | Request::Read { request, .. }
        | Request::Verify { request, .. }
        | Request::Get { request, .. }
        | Request::History { request, .. } => *request,
        Request::Create(create) => create.request,
    }
}

/// The queue that is asked about, if it is one.
pub(crate) fn request_queue<'a>(request: &Request<'a>) -> Option<&'a str> {
    match request {
        Request::Flush { queue, .. }
        | Request::List { queue, .. }
        | Request::Verify { queue, .. }
        | Request::History { queue, .. } => *queue,
        _ => None,
    }
}

/// A request for the main runtime.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Closes batches; waits for the sinks, where that is wanted.
    Flush { queue: Option<String>, wait: bool },
    /// Only looks.
    Look(Look),
    /// Makes a batch.
    Create(Box<NewBatch>),
}

/// A request that only looks.
#[derive(Debug)]
pub(crate) enum Look {
    Status,
    List {
        queue: Option<String>,
        after: Option<ListCursor>,
        limit: usize,
    },
    Show(BatchId),
    Read(BatchId, u64),
    Verify {
        queue: Option<String>,
        after: Option<ListCursor>,
    },
    Get(BatchId, u64),
    History(history::Asked),
}

impl Asked {
    /// The request, if it is one for the main runtime.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        Some(match request {
            Request::Hello { .. } | Request::Submit(_) | Request::Create(_) => return None,
            Request::Flush { queue, wait, .. } => Self::Flush {
                queue: queue.map(str::to_owned),
                wait: *wait,
            },
            Request::Status { .. } => Self::Look(Look::Status),
            Request::List {
                queue,
                after,
                limit,
                ..
            } => Self::Look(Look::List {
                queue: queue.map(str::to_owned),
                after: after.clone(),
                limit: (*limit as usize).clamp(1, PAGE_BATCHES_MAX),
            }),
            Request::Show { batch, .. } => Self::Look(Look::Show(*batch)),
            Request::Read { batch, cursor, .. } => Self::Look(Look::Read(*batch, *cursor)),
            Request::Verify { queue, after, .. } => Self::Look(Look::Verify {
                queue: queue.map(str::to_owned),
                after: after.clone(),
            }),
            Request::Get { batch, cursor, .. } => Self::Look(Look::Get(*batch, *cursor)),
            Request::History { .. } => Self::Look(Look::History(history::Asked::of(request)?)),
        })
    }
}

/// Starts a request; the answer goes to the ticket's connection.
pub(crate) fn start(engine: &Arc<Engine>, main: &Handle, ticket: Ticket, asked: Asked) {
    let engine = Arc::clone(engine);
    main.spawn(async move {
        let request = ticket.request;
        // A stop waits for those who wait for a flush, until they are told.
        let unanswered = matches!(asked, Asked::Flush { .. }).then(|| engine.flushes.begin());
        let result = match asked {
            Asked::Flush { queue, wait } => {
                let flushed = flush::flush(&engine, queue.as_deref(), wait).await;
                flushed.map(|report| Response::Flushed { request, report })
            }
            Asked::Create(new) => {
                let created = blocking(&engine, move |engine| new.make(engine)).await;
                created.map(|batch| Response::Created { request, batch })
            }
            Asked::Look(look) => blocking(&engine, move |engine| look.run(engine, request)).await,
        };
        let response = result.unwrap_or_else(|(code, message)| Response::Failed {
            request,
            code,
            message,
        });
        engine.mailboxes.reply(ticket, response);
        drop(unanswered);
    });
}

/// Does what blocks, as soon as there is a thread for it.
async fn blocking<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl FnOnce(&Engine) -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    // It is never closed.
    let _permit = engine.looks.acquire().await;
    let shared = Arc::clone(engine);
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.unwrap_or_else(|_| Err((ErrorCode::Internal, "the daemon failed at this".to_owned())))
}

impl Look {
    fn run(self, engine: &Engine, request: u64) -> Result<Response, Failed> {
        match self {
            Self::Status => Ok(Response::Status {
                request,
                status: status(engine),
            }),
            Self::List {
                queue,
                after,
                limit,
            } => {
                let (batches, next) = list(engine, queue.as_deref(), after.as_ref(), limit)?;
                Ok(Response::Batches {
                    request,
                    batches,
                    next,
                })
            }
            Self::Show(id) => {
                explicit::expire_at_access(engine, id)?;
                let batch = show(engine, id)?;
                Ok(Response::Batch { request, batch })
            }
            Self::Read(id, cursor) => {
                explicit::expire_at_access(engine, id)?;
                let page = read(engine, id, cursor)?;
                Ok(Response::Items { request, page })
            }
            Self::Get(id, cursor) => {
                let page = explicit::get(engine, id, cursor)?;
                Ok(Response::Items { request, page })
            }
            Self::Verify { queue, after } => Ok(Response::Verified {
                request,
                page: verify::page(engine, queue.as_deref(), after.as_ref())?,
            }),
            Self::History(asked) => asked.run(engine, request),
        }
    }
}

pub(super) fn find(engine: &Engine, name: &str) -> Result<Arc<Queue>, Failed> {
    let found = engine
        .queues()
        .into_iter()
        .find(|queue| queue.name.as_str() == name);
    found.ok_or_else(|| not_found(name))
}

fn status(engine: &Engine) -> ServerStatus {
    ServerStatus {
        server: SERVER.to_owned(),
        pid: std::process::id(),
        started_at: engine.started_at,
        spool: engine.spool.layout().root().display().to_string(),
        quarantined: engine.spool.quarantine().count().unwrap_or(0),
        queues: engine
            .queues()
            .iter()
            .map(|queue| queue_status(queue))
            .collect(),
        space: super::space::status(engine),
    }
}

fn queue_status(queue: &Queue) -> QueueStatus {
    let delivery = queue.delivery().clone();
    let state = queue.commit.lock();
    let counters = state.counters();
    let mut open = Tally::default();
    for view in state.open_views() {
        open.batches += 1;
        open.items += u64::from(view.fill.items);
        open.bytes += view.fill.bytes;
    }
    QueueStatus {
        queue: queue.name.clone(),
        sink: queue.describe_sink(),
        open,
        ready: tally(state.ready_sum()),
        dead: tally(state.dead_sum()),
        submissions_accepted: counters.submissions_accepted,
        items_accepted: counters.items_accepted,
        groups: counters.groups,
        batches_delivered: counters.batches_delivered,
        items_delivered: counters.items_delivered,
        attempts_failed: delivery.attempts_failed,
        last_error: delivery.last_error,
        beats_skipped: counters.beats_skipped,
        batches_dropped: counters.batches_dropped,
        items_dropped: counters.items_dropped,
        batches_expired: counters.batches_expired,
    }
}

fn tally((batches, load): (usize, Load)) -> Tally {
    Tally {
        batches: batches as u64,
        items: load.items,
        bytes: load.bytes,
    }
}

type Page = (Vec<BatchInfo>, Option<ListCursor>);

fn list(
    engine: &Engine,
    queue: Option<&str>,
    after: Option<&ListCursor>,
    limit: usize,
) -> Result<Page, Failed> {
    let queues = match queue {
        Some(name) => vec![find(engine, name)?],
        None => engine.queues(),
    };
    let mut batches = Vec::new();
    for queue in queues {
        if after.is_some_and(|cursor| queue.name < cursor.queue) {
            continue;
        }
        let from = after.filter(|cursor| cursor.queue == queue.name);
        // One more than there is room for shows that there is another page.
        batches.extend(infos(engine, &queue, from, limit + 1 - batches.len()));
        if batches.len() > limit {
            batches.truncate(limit);
            let next = batches.last().map(|last: &BatchInfo| ListCursor {
                queue: last.queue.clone(),
                state: last.state,
                seq: last.seq,
            });
            return Ok((batches, next));
        }
    }
    Ok((batches, None))
}

/// A queue's batches behind a place, in order of state and seq: at most so many, since the queue is locked meanwhile.
fn infos(
    engine: &Engine,
    queue: &Queue,
    after: Option<&ListCursor>,
    count_max: usize,
) -> Vec<BatchInfo> {
    let locked = queue.commit.lock();
    let views = locked.open_views();
    let mut infos: Vec<_> = views.iter().map(|view| open_info(engine, view)).collect();
    infos.sort_by_key(|info| (info.state, info.seq));
    infos.retain(|info| after.is_none_or(|c| (info.state, info.seq) > (c.state, c.seq)));
    infos.truncate(count_max);
    for state in [BatchState::Ready, BatchState::Dead] {
        let from = match after {
            Some(cursor) if state < cursor.state => continue,
            Some(cursor) if state == cursor.state => Some(cursor.seq),
            _ => None,
        };
        let left = count_max - infos.len();
        let info = |batch: &ReadyBatch| sealed_info(engine, queue, batch, state);
        match (state, from) {
            (BatchState::Dead, None) => infos.extend(locked.dead().take(left).map(info)),
            (BatchState::Dead, Some(seq)) => {
                infos.extend(locked.dead_after(seq).take(left).map(info));
            }
            (_, None) => infos.extend(locked.ready().take(left).map(info)),
            (_, Some(seq)) => infos.extend(locked.ready_after(seq).take(left).map(info)),
        }
    }
    infos
}

fn open_info(engine: &Engine, view: &OpenView) -> BatchInfo {
    BatchInfo {
        id: view.header.id,
        queue: view.header.queue.clone(),
        seq: view.header.seq,
        key: Some(view.header.key.as_bytes().to_vec()),
        state: if view.closing.is_some() {
            BatchState::Sealing
        } else {
            BatchState::Open
        },
        items: view.fill.items.into(),
        bytes: view.fill.bytes,
        created_at: view.header.created_at,
        expires_at: view.expires_at,
        reason: view.closing,
        path: relative(engine, &view.path),
        verdict: None,
    }
}

fn sealed_info(engine: &Engine, queue: &Queue, batch: &ReadyBatch, state: BatchState) -> BatchInfo {
    BatchInfo {
        id: batch.name.id,
        queue: queue.name.clone(),
        seq: batch.name.seq,
        key: None,
        state,
        items: batch.name.items,
        bytes: batch.name.bytes,
        created_at: batchd_core::spool::recovery::created_micros(batch.name.id),
        expires_at: Some(batch.name.expires_at).filter(|at| *at != 0),
        reason: None,
        path: relative(engine, &queue.commit.layout().sealed(batch)),
        verdict: None,
    }
}

fn relative(engine: &Engine, path: &std::path::Path) -> String {
    let root = engine.spool.layout().root();
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Looks for a batch, without going through all that waits under the queues' locks.
pub(super) fn locate(engine: &Engine, id: BatchId) -> Result<BatchInfo, Failed> {
    let found = engine.queues().iter().find_map(|queue| {
        let views = queue.commit.lock().open_views();
        if let Some(view) = views.iter().find(|view| view.header.id == id) {
            return Some(open_info(engine, view));
        }
        let batch = queue.commit.find_sealed(id)?;
        let state = match batch.place {
            Place::Dead => BatchState::Dead,
            Place::Ready | Place::Open => BatchState::Ready,
        };
        Some(sealed_info(engine, queue, &batch, state))
    });
    found.ok_or_else(|| history::gone(engine, id))
}

/// Looks for a batch and opens it for reading; says what it was then.
pub(super) fn open_batch(engine: &Engine, id: BatchId) -> Result<(BatchInfo, SealedFile), Failed> {
    open_found(engine, locate(engine, id)?)
}

/// Opens a batch that was found. It may be renamed, or delivered, in between.
fn open_found(engine: &Engine, mut info: BatchInfo) -> Result<(BatchInfo, SealedFile), Failed> {
    let id = info.id;
    // Where it is open first, then being sealed, then ready.
    for _ in 0..BATCH_LOOKS {
        let root = engine.spool.layout().root();
        let mut paths = vec![root.join(&info.path)];
        if info.state == BatchState::Sealing {
            paths.push(sealed_path(engine, &info));
        }
        for path in paths {
            match SealedFile::open(engine.spool.env(), &path, id) {
                Ok(file) => return Ok((info, file)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err((ErrorCode::Unreadable, error.to_string())),
            }
        }
        info = locate(engine, id)?;
    }
    Err(history::gone(engine, id))
}

/// Where a batch that is being sealed will be, or is already.
fn sealed_path(engine: &Engine, info: &BatchInfo) -> PathBuf {
    let name = ReadyName {
        seq: info.seq,
        items: info.items,
        bytes: info.bytes,
        expires_at: info.expires_at.unwrap_or(0),
        id: info.id,
    };
    let queue = engine.spool.layout().queue(&info.queue);
    queue.ready().join(name.to_string())
}

fn show(engine: &Engine, id: BatchId) -> Result<BatchInfo, Failed> {
    let info = locate(engine, id)?;
    if !matches!(info.state, BatchState::Ready | BatchState::Dead) {
        return Ok(info);
    }
    let (mut info, file) = open_found(engine, info)?;
    let inspection = file.inspect();
    info.key = inspection
        .header
        .as_ref()
        .map(|header| header.key.as_bytes().to_vec());
    info.reason = inspection.seal.as_ref().map(|seal| seal.reason);
    info.verdict = inspection.verdict.as_ref().map(ToString::to_string);
    if let Some(header) = inspection.header {
        info.created_at = header.created_at;
    }
    Ok(info)
}

fn read(engine: &Engine, id: BatchId, cursor: u64) -> Result<ItemsPage, Failed> {
    let (_, file) = open_batch(engine, id)?;
    Ok(page(&file, cursor))
}

pub(super) fn page(file: &SealedFile, cursor: u64) -> ItemsPage {
    let (items, next) = file.page(cursor, PAGE_BYTES);
    let items = items.into_iter().map(serde_bytes::ByteBuf::from).collect();
    ItemsPage { items, next }
}

//! Reads standard input, on a thread of its own: a read cannot be interrupted, and what is there is read ahead while
//! what came before it is synced.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Sender, channel};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Read at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that are read, or being read, or taken in.
const CHUNKS: usize = 4;

/// What comes.
#[derive(Debug)]
pub(super) enum Event {
    /// Some of the input; at most [`CHUNK_BYTES`].
    Chunk(Vec<u8>),
    /// The input ended.
    End,
    /// It cannot be read; nothing follows.
    Failed(io::Error),
}

/// An input that is being read.
#[derive(Debug)]
pub(super) struct Input {
    events: UnboundedReceiver<Event>,
    empty: Sender<Vec<u8>>,
}

impl Input {
    /// Begins to read: a regular file from an offset, without moving its own. The thread ends with the input, or with
    /// the process.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub(super) fn start(file: File, mut offset: Option<u64>) -> io::Result<Self> {
        let (sender, events) = unbounded_channel();
        let (empty, buffers) = channel();
        for _ in 0..CHUNKS {
            empty.send(Vec::new()).ok();
        }
        std::thread::Builder::new()
            .name("input".into())
            .spawn(move || {
                for mut buffer in buffers {
                    // Nothing follows the end, and where nobody listens any more there is nobody to tell.
                    if !read(&file, &mut offset, &mut buffer, &sender) {
                        return;
                    }
                }
            })?;
        Ok(Self { events, empty })
    }

    /// What comes next. Can be given up without loss.
    pub(super) async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::End)
    }

    /// What has come already.
    pub(super) fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Gives a chunk's memory back, to be read into.
    pub(super) fn give_back(&self, chunk: Vec<u8>) {
        // It has ended.
        self.empty.send(chunk).ok();
    }
}

/// Reads once. Says whether there may be more.
fn read(
    mut file: &File,
    offset: &mut Option<u64>,
    buffer: &mut Vec<u8>,
    events: &UnboundedSender<Event>,
) -> bool {
    buffer.resize(CHUNK_BYTES, 0);
    loop {
        let read = match *offset {
            Some(offset) => file.read_at(buffer, offset),
            None => file.read(buffer),
        };
        let event = match read {
            Ok(0) => Event::End,
            Ok(count) => {
                if let Some(offset) = offset {
                    *offset += count as u64;
                }
                buffer.truncate(count);
                Event::Chunk(std::mem::take(buffer))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Somebody else wants it not to wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&file, PollFlags::IN)], None).ok();
                continue;
            }
            Err(error) => Event::Failed(error),
        };
        let goes_on = matches!(event, Event::Chunk(_));
        return events.send(event).is_ok() && goes_on;
    }
}

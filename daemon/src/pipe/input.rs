//! Reads standard input, on a thread of its own: a read cannot be interrupted, and what is there is read ahead while
//! what came before it is synced.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Sender, channel};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Read at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that are read, or being read, or taken in.
const CHUNKS: usize = 4;
/// So much of what was read last is looked at again.
const TAIL_BYTES: usize = 4096;

/// What comes.
#[derive(Debug)]
pub(super) enum Event {
    /// Some of the input; at most [`CHUNK_BYTES`].
    Chunk(Vec<u8>),
    /// The input ended.
    End,
    /// What was read of a file is not there any more: it was cut or written anew. Nothing follows.
    Changed,
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
    pub(super) fn start(file: File, offset: Option<u64>) -> io::Result<Self> {
        let (sender, events) = unbounded_channel();
        let (empty, buffers) = channel();
        for _ in 0..CHUNKS {
            empty.send(Vec::new()).ok();
        }
        let mut reader = Reader {
            file,
            offset,
            tail: Vec::new(),
        };
        std::thread::Builder::new()
            .name("input".into())
            .spawn(move || {
                for buffer in buffers {
                    let event = reader.next(buffer).unwrap_or_else(Event::Failed);
                    // Nothing follows the end, and where nobody listens any more there is nobody to tell.
                    let goes_on = matches!(event, Event::Chunk(_));
                    if sender.send(event).is_err() || !goes_on {
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

struct Reader {
    file: File,
    /// Of a regular file.
    offset: Option<u64>,
    /// What was read last of it.
    tail: Vec<u8>,
}

impl Reader {
    /// Reads once, into a buffer.
    fn next(&mut self, mut buffer: Vec<u8>) -> io::Result<Event> {
        buffer.resize(CHUNK_BYTES, 0);
        let count = self.read(&mut buffer)?;
        buffer.truncate(count);
        if let Some(offset) = self.offset {
            // Behind the read: whoever writes a file anew begins with what comes before it.
            if !self.is_unchanged(offset)? {
                return Ok(Event::Changed);
            }
            self.offset = Some(offset + count as u64);
            self.tail.extend_from_slice(&buffer);
            let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
            self.tail.drain(..surplus);
        }
        Ok(match count {
            0 => Event::End,
            _ => Event::Chunk(buffer),
        })
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self.offset {
                Some(offset) => self.file.read_at(buffer, offset),
                None => (&self.file).read(buffer),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody else wants it not to wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.file, PollFlags::IN)], None)?;
                }
                read => return read,
            }
        }
    }

    /// Whether what was read last is still there.
    fn is_unchanged(&self, end: u64) -> io::Result<bool> {
        let mut there = vec![0; self.tail.len()];
        match self
            .file
            .read_exact_at(&mut there, end - self.tail.len() as u64)
        {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| there == self.tail),
        }
    }
}

//! Reads inputs, one after the other, on a thread of its own: only so can the rest of the program know that
//! no input comes at the moment, and look after what is in flight.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;

/// Read at once, in bytes.
const CHUNK_BYTES: usize = 128 << 10;
/// Chunks read ahead.
const CHUNKS_AHEAD: usize = 16;
/// Stands for standard input.
const STDIN: &str = "-";

/// What happens to inputs.
#[derive(Debug)]
pub(crate) enum Event {
    /// An input of that name begins.
    Begin(String),
    /// Some of it.
    Chunk(Vec<u8>),
    /// It ends.
    End,
    /// It cannot be read; nothing follows.
    Failed(Failure),
}

/// What there is at the moment.
#[derive(Debug)]
pub(crate) enum Next {
    /// This.
    Event(Event),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Done,
}

/// Inputs that are being read.
#[derive(Debug)]
pub(crate) struct Input {
    events: Receiver<Event>,
}

impl Input {
    /// Begins to read files, and standard input where a name is `-` or there is none.
    ///
    /// # Errors
    /// Where a file is not there or cannot be a file: before anything was read.
    pub(crate) fn start(
        files: &[PathBuf],
        stdin: Option<Box<dyn Read + Send>>,
    ) -> Result<Self, Failure> {
        for path in files.iter().filter(|path| !is_stdin(path)) {
            let found = fs::metadata(path).and_then(|found| {
                if found.is_dir() {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                Ok(())
            });
            found.map_err(|error| Failure::Open(path.clone(), error))?;
        }
        let files = match files {
            [] => vec![PathBuf::from(STDIN)],
            files => files.to_vec(),
        };
        let (sender, events) = sync_channel(CHUNKS_AHEAD);
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || read_all(&files, stdin, &sender))
            .map_err(|error| Failure::Read("input".to_owned(), error))?;
        Ok(Self { events })
    }

    /// What comes, if it comes that soon.
    pub(crate) fn next_within(&self, bound: Duration) -> Next {
        match self.events.recv_timeout(bound) {
            Ok(event) => Next::Event(event),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Done,
        }
    }

    /// What comes, however late.
    pub(crate) fn next(&self) -> Option<Event> {
        self.events.recv().ok()
    }
}

/// Whether that stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

fn read_all(
    files: &[PathBuf],
    mut stdin: Option<Box<dyn Read + Send>>,
    events: &SyncSender<Event>,
) {
    for path in files {
        // A failure, or a receiver that is gone, ends it all.
        let Some(()) = read_one(path, &mut stdin, events) else {
            return;
        };
    }
}

fn read_one(
    path: &Path,
    stdin: &mut Option<Box<dyn Read + Send>>,
    events: &SyncSender<Event>,
) -> Option<()> {
    let name = if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    events.send(Event::Begin(name.clone())).ok()?;
    let mut file;
    let mut nothing = io::empty();
    let reader: &mut dyn Read = if is_stdin(path) {
        match stdin {
            Some(stdin) => stdin,
            None => &mut nothing,
        }
    } else {
        match File::open(path) {
            Ok(opened) => {
                file = opened;
                &mut file
            }
            Err(error) => {
                let failure = Failure::Open(path.to_owned(), error);
                events.send(Event::Failed(failure)).ok()?;
                return None;
            }
        }
    };
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        match reader.read(&mut chunk) {
            Ok(0) => return events.send(Event::End).ok(),
            Ok(count) => {
                chunk.truncate(count);
                chunk.shrink_to_fit();
                events.send(Event::Chunk(chunk)).ok()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                events
                    .send(Event::Failed(Failure::Read(name, error)))
                    .ok()?;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn nothing_follows_an_input_that_cannot_be_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        // It is there, and no file.
        let (socket, file) = (dir.path().join("socket"), dir.path().join("file"));
        let _listener = UnixListener::bind(&socket).expect("a socket");
        fs::write(&file, b"1").expect("a file");
        let input = Input::start(&[file.clone(), socket, file], None).expect("inputs");
        let events: Vec<_> = std::iter::from_fn(|| input.next()).collect();
        assert!(
            matches!(
                events.as_slice(),
                [
                    Event::Begin(_),
                    Event::Chunk(_),
                    Event::End,
                    Event::Begin(_),
                    Event::Failed(Failure::Open(..)),
                ]
            ),
            "{events:?}"
        );
    }
}

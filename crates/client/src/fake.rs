//! A daemon that follows a script, one closure a connection, to test clients against. It panics where the
//! client does what the script does not expect; [`FakeDaemon::finish`] passes the panic on.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};

use batchd_frame::{BodyLimits, BodyView, SubmissionId, checksum, codec};
use batchd_protocol::{
    Ack, ErrorCode, Limits, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, Request, Response, Submit,
    encode_message, split_message,
};

/// What the fake daemon takes unless it says otherwise.
pub const LIMITS: Limits = Limits {
    item_bytes_max: 1 << 20,
    submission_bytes_max: 16 << 20,
    submission_items_max: 100_000,
    message_bytes_max: MESSAGE_BYTES_MAX as u64,
};

/// What happens on one connection.
pub type Script = Box<dyn FnOnce(&mut Peer) + Send>;

/// The daemon's thread.
#[derive(Debug)]
pub struct FakeDaemon {
    thread: JoinHandle<()>,
}

impl FakeDaemon {
    /// Listens at `socket` and follows the scripts, one a connection, in order. Then the socket is closed.
    #[must_use]
    #[track_caller]
    pub fn start(socket: &Path, scripts: Vec<Script>) -> Self {
        let listener = UnixListener::bind(socket).expect("bind the fake daemon");
        let thread = thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().expect("accept a client");
                script(&mut Peer {
                    stream,
                    buffer: Vec::new(),
                });
            }
        });
        Self { thread }
    }

    /// Waits until the scripts were followed.
    #[track_caller]
    pub fn finish(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A submission as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Number of the request.
    pub request: u64,
    /// Name of the queue.
    pub queue: String,
    /// The key.
    pub key: Vec<u8>,
    /// What it waits for.
    pub ack: Option<Ack>,
    /// Whether it is marked as sent before.
    pub repeat: bool,
    /// Its id.
    pub id: SubmissionId,
    /// Its items.
    pub items: Vec<Vec<u8>>,
}

/// The client, seen from the daemon.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Peer {
    /// Reads the hello and welcomes the client.
    #[track_caller]
    pub fn welcome(&mut self) {
        self.welcome_with(PROTOCOL_VERSION, LIMITS);
    }

    /// Reads the hello and answers with a version and limits.
    #[track_caller]
    pub fn welcome_with(&mut self, version: u16, limits: Limits) {
        let hello = self.read_message();
        let hello = codec::decode_borrowed(&hello);
        assert!(matches!(hello, Ok(Request::Hello { .. })), "{hello:?}");
        let server = "fake 1".to_owned();
        self.send(&Response::Welcome {
            version,
            server,
            limits,
        });
    }

    /// Reads a submission.
    #[track_caller]
    pub fn read_submission(&mut self) -> Received {
        let message = self.read_message();
        match codec::decode_borrowed(&message) {
            Ok(Request::Submit(submit)) => received(&submit),
            other => panic!("no submission: {other:?}"),
        }
    }

    /// Reads any other request and hands it to `answer`, the answer of which is sent.
    #[track_caller]
    pub fn answer(&mut self, answer: impl FnOnce(Request<'_>) -> Response) {
        let message = self.read_message();
        let request = codec::decode_borrowed(&message).expect("a request");
        self.send(&answer(request));
    }

    /// Says that a submission is kept as it asked for.
    #[track_caller]
    pub fn accept(&mut self, submission: &Received) {
        self.send(&Response::Accepted {
            request: submission.request,
            ack: submission.ack.unwrap_or_default(),
            repeat: false,
        });
    }

    /// Says that a request failed.
    #[track_caller]
    pub fn fail(&mut self, request: u64, code: ErrorCode) {
        let message = format!("{code:?}");
        self.send(&Response::Failed {
            request,
            code,
            message,
        });
    }

    /// Sends a response.
    #[track_caller]
    pub fn send(&mut self, response: &Response) {
        self.send_bytes(&encode_message(response));
    }

    /// Sends any bytes.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("write to the client");
    }

    /// Sends any bytes, to a client that may be gone. Returns whether it took them.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Takes everything until the client hangs up.
    pub fn read_to_end(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer), Ok(count) if count > 0) {}
    }

    /// Reads the bytes of the next message.
    #[track_caller]
    pub fn read_message(&mut self) -> Vec<u8> {
        loop {
            let split = split_message(&self.buffer, MESSAGE_BYTES_MAX).expect("a length");
            if let Some((message, rest)) = split {
                let message = message.to_vec();
                self.buffer = rest.to_vec();
                return message;
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).expect("read from the client");
            assert!(count > 0, "the client hung up");
            self.buffer
                .extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

fn received(submit: &Submit<'_>) -> Received {
    assert_eq!(checksum::crc32c(submit.body), submit.body_crc);
    let body = BodyView::parse(submit.body, submit.items, BodyLimits::NONE).expect("a body");
    Received {
        request: submit.request,
        queue: submit.queue.to_owned(),
        key: submit.key.to_vec(),
        ack: submit.ack,
        repeat: submit.repeat,
        id: body.submission().expect("a submission id"),
        items: body.items().map(<[u8]>::to_vec).collect(),
    }
}

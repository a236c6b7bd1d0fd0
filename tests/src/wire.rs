//! The protocol by hand, for what no decent client does.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use batchd_frame::{SubmissionId, checksum, codec, encode_body};
use batchd_protocol::{
    Ack, HELLO_MAGIC, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, Request, Response, Submit,
    encode_message, split_message,
};

use crate::poll::LONG;

/// A connection that says what it is told to say.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Wire {
    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Connects, says hello and is welcomed.
    ///
    /// # Errors
    /// Where nobody listens, or the other side went away.
    pub fn greeted(socket: &Path) -> io::Result<Self> {
        let mut wire = Self::connect(socket)?;
        wire.send(&hello(PROTOCOL_VERSION))?;
        match wire.receive()? {
            Some(Response::Welcome { .. }) => Ok(wire),
            other => Err(io::Error::other(format!("{other:?} instead of a welcome"))),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Where they cannot be sent.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As [`Wire::send_bytes`].
    pub fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        self.send_bytes(&encode_message(request))
    }

    /// Sends no more.
    ///
    /// # Errors
    /// Where the socket is gone.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends what fits without waiting; says how much that was.
    ///
    /// # Errors
    /// Where the socket is gone.
    pub fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_nonblocking(true)?;
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.stream.set_nonblocking(false)?;
        Ok(sent)
    }

    /// The next response; nothing where the other side closed the connection.
    ///
    /// # Errors
    /// Where none comes in time, or it cannot be read.
    pub fn receive(&mut self) -> io::Result<Option<Response>> {
        loop {
            let split =
                split_message(&self.received, MESSAGE_BYTES_MAX).map_err(io::Error::other)?;
            if let Some((message, rest)) = split {
                let response = codec::decode(message).map_err(io::Error::other)?;
                self.received = rest.to_vec();
                return Ok(Some(response));
            }
            let mut more = vec![0; 64 << 10];
            match self.stream.read(&mut more) {
                Ok(0) => return Ok(None),
                Ok(count) => self
                    .received
                    .extend_from_slice(more.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The first message of a client of that version.
#[must_use]
pub const fn hello(version: u16) -> Request<'static> {
    Request::Hello {
        magic: HELLO_MAGIC,
        version,
        client: "batchd-tests",
    }
}

/// A submission, encoded.
#[derive(Debug, Clone)]
pub struct Body {
    /// Items in it.
    pub items: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their checksum.
    pub crc: u32,
}

impl Body {
    /// Encodes items under an id.
    ///
    /// # Panics
    /// Where there are more than anybody counts.
    #[must_use]
    pub fn new<I: AsRef<[u8]>>(id: Option<SubmissionId>, items: &[I]) -> Self {
        let mut bytes = Vec::new();
        encode_body(id, items.iter().map(AsRef::as_ref), &mut bytes);
        let crc = checksum::crc32c(&bytes);
        Self {
            items: u32::try_from(items.len()).expect("few items"),
            bytes,
            crc,
        }
    }

    /// The request that submits it.
    #[must_use]
    pub fn submit<'a>(
        &'a self,
        request: u64,
        queue: &'a str,
        key: &'a [u8],
        ack: Ack,
    ) -> Submit<'a> {
        Submit {
            request,
            queue,
            key,
            ack: Some(ack),
            repeat: false,
            end_of_batch: false,
            items: self.items,
            body_crc: self.crc,
            body: &self.bytes,
        }
    }
}

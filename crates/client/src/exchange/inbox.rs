//! Received bytes on their way to responses. They are untrusted: no length is believed before it is checked,
//! and no more is kept than one message of the longest kind.

use batchd_frame::codec;
use batchd_protocol::{MESSAGE_BYTES_MAX, Response, split_message};

use crate::error::ProtocolError;

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Adds what was received and hands on every response that is complete now.
    pub(crate) fn receive<E: From<ProtocolError>>(
        &mut self,
        received: &[u8],
        mut handle: impl FnMut(Response) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes.extend_from_slice(received);
        let mut rest = self.bytes.as_slice();
        while let Some((message, after)) =
            split_message(rest, MESSAGE_BYTES_MAX).map_err(ProtocolError::from)?
        {
            rest = after;
            handle(codec::decode(message).map_err(ProtocolError::from)?)?;
        }
        let used = self.bytes.len() - rest.len();
        self.bytes.drain(..used);
        Ok(())
    }

    /// Forgets what belongs to a connection that is gone.
    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
    }
}

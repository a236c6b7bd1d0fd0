//! What each response changes.

use std::time::Instant;

use batchd_protocol::{ErrorCode, PROTOCOL_VERSION, Response};

use super::ask::request_number;
use super::{Exchange, Phase};
use crate::error::{Error, ProtocolError};

impl Exchange {
    /// Takes one response.
    pub(super) fn handle(&mut self, response: Response, now: Instant) -> Result<(), Error> {
        if self.phase != Phase::Ready {
            return self.handle_greeting(response);
        }
        let Some(request) = request_number(&response) else {
            return Err(ProtocolError::Welcome.into());
        };
        if self.barrier == Some(request) {
            return self.handle_barrier(response, request);
        }
        if self.call.as_ref().and_then(|call| call.sent) == Some(request) {
            return self.handle_answer(response);
        }
        if self.forgotten.remove(&request) {
            return Ok(());
        }
        match response {
            Response::Accepted { ack, repeat, .. } => {
                self.window.keep(request, ack, repeat)?;
                self.went_well();
                Ok(())
            }
            Response::Failed { code, message, .. } if self.window.is_sent(request) => {
                self.handle_refusal(request, code, message, now);
                Ok(())
            }
            // Speaks of the connection as a whole, which is about to end.
            Response::Failed {
                request: 0,
                code,
                message,
            } => self.handle_farewell(code, message),
            _ if self.window.is_sent(request) => Err(ProtocolError::WrongAnswer { request }.into()),
            _ => Err(ProtocolError::UnknownRequest { request }.into()),
        }
    }

    fn handle_greeting(&mut self, response: Response) -> Result<(), Error> {
        match response {
            Response::Welcome {
                version, limits, ..
            } => {
                if version != PROTOCOL_VERSION {
                    return Err(Error::VersionMismatch {
                        daemon: Some(version),
                    });
                }
                if limits.submission_items_max == 0 || limits.submission_bytes_max == 0 {
                    return Err(ProtocolError::Limits.into());
                }
                self.limits = Some(limits);
                self.phase = Phase::Ready;
                Ok(())
            }
            Response::Failed {
                code: ErrorCode::UnsupportedVersion,
                ..
            } => Err(Error::VersionMismatch { daemon: None }),
            Response::Failed { code, message, .. } => self.handle_farewell(code, message),
            _ => Err(ProtocolError::Welcome.into()),
        }
    }

    fn handle_farewell(&mut self, code: ErrorCode, message: String) -> Result<(), Error> {
        let error = refused(code, message, None);
        if !is_passing(code) {
            return Err(error);
        }
        self.last_error = Some(error);
        Ok(())
    }

    fn handle_refusal(&mut self, request: u64, code: ErrorCode, message: String, now: Instant) {
        if is_passing(code) {
            self.window.requeue(request, code.may_be_kept());
            self.last_error = Some(refused(code, message, None));
            self.hold(now);
        } else {
            let index = self.window.refuse(request, code.is_end_of_batch());
            let failure = refused(code, message, index);
            self.failure.get_or_insert(failure);
        }
    }

    fn handle_answer(&mut self, response: Response) -> Result<(), Error> {
        let Some(call) = &mut self.call else {
            return Ok(());
        };
        match response {
            // The next daemon is asked again.
            Response::Failed {
                code: ErrorCode::Stopping,
                message,
                ..
            } => {
                call.sent = None;
                self.last_error = Some(refused(ErrorCode::Stopping, message, None));
                self.is_done_with = true;
            }
            Response::Failed { code, message, .. } => {
                call.answer = Some(Err(refused(code, message, None)));
                call.sent = None;
            }
            response => {
                call.answer = Some(Ok(response));
                call.sent = None;
                self.went_well();
            }
        }
        Ok(())
    }

    fn handle_barrier(&mut self, response: Response, request: u64) -> Result<(), Error> {
        self.barrier = None;
        match response {
            Response::Status { .. } => {
                self.window.barrier_passed(request)?;
                self.went_well();
                Ok(())
            }
            Response::Failed { code, message, .. } if is_passing(code) => {
                self.last_error = Some(refused(code, message, None));
                self.is_done_with = true;
                Ok(())
            }
            Response::Failed { code, message, .. } => Err(refused(code, message, None)),
            _ => Err(ProtocolError::WrongAnswer { request }.into()),
        }
    }
}

fn refused(code: ErrorCode, message: String, submission: Option<u64>) -> Error {
    Error::Refused {
        code,
        message,
        submission,
    }
}

/// Refusals of a submission that the client waits out by itself.
fn is_passing(code: ErrorCode) -> bool {
    // A sink that fails is nothing that another try of the client would mend.
    code.is_retryable() && code != ErrorCode::DeliveryFailed
}

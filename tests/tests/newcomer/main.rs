//! What both programs say to somebody who has just met them: each message that comes first when something is missing,
//! mistyped, taken or not allowed, whole, with its exit code. Each says what happened to what, and what to do next.

mod bench;
mod command_line;
mod configuration;
mod input;
mod queues;
mod sinks;
mod sockets;
mod spools;
mod start;

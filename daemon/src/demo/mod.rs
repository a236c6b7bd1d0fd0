//! `batchd demo`: a tour with a real daemon, which is killed half-way, and a comparison of every byte.
//!
//! Nothing in it is played: the daemon is this program once more, as a child, and what is shown is what the client
//! library and the files of the spool say. No step relies on how fast another one is: how many submissions have no
//! answer when the daemon is killed differs from run to run, what must be true of them does not.
//!
//! `stage` is what must not be left behind, whatever ends the tour: the directory, and the daemon in it. `tour` is the
//! steps in their order, and what is said of them.

mod command;
mod compare;
mod ended;
mod guide;
mod listing;
mod place;
mod poll;
mod producer;
mod sample;
mod scene;
mod stage;
mod tour;

pub(crate) use command::{DemoArgs, demo};

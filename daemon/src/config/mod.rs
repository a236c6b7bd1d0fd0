//! The configuration: what the file may say, what is in force, and every mistake in it.
//!
//! A file is read whole, checked whole and resolved whole: what the rest of the daemon gets is a [`Config`]
//! in which nothing is left to inherit or to look up. Nothing in here reads the environment or asks who the
//! user is: that comes in as [`Surroundings`]. A mistake never stops the search for the next one; each says
//! where it is, what is wrong and what would be right.

mod check;
mod interval;
mod load;
pub(crate) mod model;
mod pipe;
mod problem;
mod render;
mod resolve;
mod schema;
mod section;
mod surroundings;
#[cfg(test)]
mod tests;
mod units;
mod values;

pub(crate) use check::check_config;
pub(crate) use load::Found;
pub(crate) use model::Config;
pub(crate) use pipe::Given;
pub(crate) use problem::ConfigErrors;
pub(crate) use surroundings::Surroundings;
#[cfg(test)]
pub(crate) use surroundings::variables;

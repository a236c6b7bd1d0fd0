//! The daemon as a service: the units, what the service manager is told, and sockets that are there before the
//! daemon is.

mod activation;
mod booted;
mod notify;
mod units;

//! When batches are flushed: what a start says, over what the type says, over what holds for all.

use std::time::Duration;

use crate::policy::{BYTES_MAX_MAX, Backoff, Interval, OnShutdown, Policy};

/// So many batches that are closed may wait in memory for their flush, where nobody says.
const WAITING_MAX: usize = 16;
/// So many items may wait for the server's thread, where nobody says.
const MAILBOX_ITEMS: usize = 1024;

/// One option: what is below it, nothing, or this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting<T> {
    /// As the type says; as holds for all, where that says nothing.
    #[default]
    Inherit,
    /// Switched off, also where it would be inherited.
    Off,
    /// This.
    Set(T),
}

impl<T> Setting<T> {
    /// The value in force, over what is inherited.
    fn over(self, inherited: Option<T>) -> Option<T> {
        match self {
            Self::Inherit => inherited,
            Self::Off => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T> From<T> for Setting<T> {
    fn from(value: T) -> Self {
        Self::Set(value)
    }
}

/// What may be said of a batcher, by its type and by whoever starts one. What neither says is as in
/// [`Policy::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Options {
    /// Most items of a batch; at least 1. (`max_batch_size` of BatchPlease)
    pub max_items: Setting<u32>,
    /// Most bytes of a batch's items, as [`Batcher::item_bytes`](super::Batcher::item_bytes) counts them or, on a
    /// spool, as they are encoded; 1 to 1 GiB. An item that is longer is refused; on a spool also one of more than
    /// 16 MiB.
    pub max_bytes: Setting<u64>,
    /// How old a batch's first item may become. (`max_time_since_first_item`)
    pub max_age: Setting<Duration>,
    /// How long ago the last flush may be. (`max_time_since_last_flush`)
    pub max_since_flush: Setting<Duration>,
    /// Flushes every so often. (`flush_interval`)
    pub interval: Setting<Interval>,
    /// How long nothing may come.
    pub idle: Setting<Duration>,
    /// Triggers are looked at only before an item is added: never behind it, and by no timer. (`lazy_flush`, which
    /// BatchPlease declares and nobody implements)
    pub lazy_flush: Option<bool>,
    /// What becomes of the open batch at [`stop`](super::BatchServer::stop): on a spool it stays there, where nobody
    /// says; in memory it can only be flushed.
    pub on_shutdown: Option<OnShutdown>,
    /// The waits after flushes that failed.
    pub backoff: Option<Backoff>,
    /// Most batches that are closed and wait in memory for their flush; past it no item is taken. On a spool its room
    /// is the bound, unless this is set. 16 where nobody says.
    pub max_waiting: Setting<usize>,
    /// Most items that wait to be taken by the server's thread, which takes all there are at once; past it
    /// [`add_item`](super::BatchServer::add_item) waits. 1,024 where nobody says.
    pub mailbox: Option<usize>,
}

/// The options in force; what is off is nothing. [`Options`] says what each is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Most items of a batch.
    pub max_items: Option<u32>,
    /// Most bytes of a batch's items.
    pub max_bytes: Option<u64>,
    /// How old a batch's first item may become.
    pub max_age: Option<Duration>,
    /// How long ago the last flush may be.
    pub max_since_flush: Option<Duration>,
    /// Flushes every so often.
    pub interval: Option<Interval>,
    /// How long nothing may come.
    pub idle: Option<Duration>,
    /// Triggers are looked at only before an item is added.
    pub lazy_flush: bool,
    /// What becomes of the open batch at a stop.
    pub on_shutdown: OnShutdown,
    /// The waits after flushes that failed.
    pub backoff: Backoff,
    /// Most batches that wait in memory.
    pub max_waiting: Option<usize>,
    /// Most items that wait to be taken.
    pub mailbox: usize,
}

/// An option that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{option}` {why}")]
pub struct BadOption {
    /// Which.
    pub option: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Options {
    /// None: everything is inherited.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With [`max_items`](Self::max_items).
    #[must_use]
    pub fn max_items(mut self, items: impl Into<Setting<u32>>) -> Self {
        self.max_items = items.into();
        self
    }

    /// With [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub fn max_bytes(mut self, bytes: impl Into<Setting<u64>>) -> Self {
        self.max_bytes = bytes.into();
        self
    }

    /// With [`max_age`](Self::max_age).
    #[must_use]
    pub fn max_age(mut self, age: impl Into<Setting<Duration>>) -> Self {
        self.max_age = age.into();
        self
    }

    /// With [`max_since_flush`](Self::max_since_flush).
    #[must_use]
    pub fn max_since_flush(mut self, age: impl Into<Setting<Duration>>) -> Self {
        self.max_since_flush = age.into();
        self
    }

    /// With [`interval`](Self::interval).
    #[must_use]
    pub fn interval(mut self, interval: impl Into<Setting<Interval>>) -> Self {
        self.interval = interval.into();
        self
    }

    /// With [`idle`](Self::idle).
    #[must_use]
    pub fn idle(mut self, idle: impl Into<Setting<Duration>>) -> Self {
        self.idle = idle.into();
        self
    }

    /// With [`lazy_flush`](Self::lazy_flush).
    #[must_use]
    pub fn lazy_flush(mut self, lazy: bool) -> Self {
        self.lazy_flush = Some(lazy);
        self
    }

    /// With [`on_shutdown`](Self::on_shutdown).
    #[must_use]
    pub fn on_shutdown(mut self, what: OnShutdown) -> Self {
        self.on_shutdown = Some(what);
        self
    }

    /// With [`backoff`](Self::backoff).
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// With [`max_waiting`](Self::max_waiting).
    #[must_use]
    pub fn max_waiting(mut self, batches: impl Into<Setting<usize>>) -> Self {
        self.max_waiting = batches.into();
        self
    }

    /// With [`mailbox`](Self::mailbox).
    #[must_use]
    pub fn mailbox(mut self, items: usize) -> Self {
        self.mailbox = Some(items);
        self
    }

    /// Without any trigger: a batch is flushed when somebody asks, [`should_flush`](super::Batcher::should_flush) says
    /// so, or it has 64 MiB.
    #[must_use]
    pub fn without_triggers(self) -> Self {
        Self {
            max_items: Setting::Off,
            max_bytes: Setting::Off,
            max_age: Setting::Off,
            max_since_flush: Setting::Off,
            interval: Setting::Off,
            idle: Setting::Off,
            ..self
        }
    }

    /// What is in force where these lie over those of the type.
    pub(super) fn over(self, of_type: Self, is_durable: bool) -> Result<Config, BadOption> {
        let base = Policy::default();
        let on_shutdown = match is_durable {
            true => OnShutdown::Keep,
            false => OnShutdown::Flush,
        };
        macro_rules! resolve {
            ($option:ident, $base:expr) => {
                self.$option.over(of_type.$option.over($base))
            };
        }
        let config = Config {
            max_items: resolve!(max_items, base.max_items),
            max_bytes: resolve!(max_bytes, base.max_bytes),
            max_age: resolve!(max_age, base.max_age),
            max_since_flush: resolve!(max_since_flush, base.max_since_flush),
            interval: resolve!(interval, base.interval),
            idle: resolve!(idle, base.idle),
            lazy_flush: self.lazy_flush.or(of_type.lazy_flush).unwrap_or(false),
            on_shutdown: self
                .on_shutdown
                .or(of_type.on_shutdown)
                .unwrap_or(on_shutdown),
            backoff: self.backoff.or(of_type.backoff).unwrap_or_default(),
            max_waiting: resolve!(max_waiting, (!is_durable).then_some(WAITING_MAX)),
            mailbox: self.mailbox.or(of_type.mailbox).unwrap_or(MAILBOX_ITEMS),
        };
        if !is_durable && config.on_shutdown == OnShutdown::Keep {
            let option = "on_shutdown";
            let why = "cannot keep what is in memory alone: make it durable, or leave this out";
            return Err(BadOption { option, why });
        }
        config.check()?;
        Ok(config)
    }
}

impl Config {
    /// The same, for whom only triggers matter.
    pub(super) fn policy(&self) -> Policy {
        Policy {
            max_items: self.max_items,
            max_bytes: self.max_bytes,
            max_age: self.max_age,
            max_since_flush: self.max_since_flush,
            interval: self.interval,
            idle: self.idle,
            ..Policy::default()
        }
    }

    fn check(&self) -> Result<(), BadOption> {
        let is_none = |time: Option<Duration>| time == Some(Duration::ZERO);
        let nothing = [
            ("max_items", self.max_items == Some(0)),
            ("max_bytes", self.max_bytes == Some(0)),
            ("max_age", is_none(self.max_age)),
            ("max_since_flush", is_none(self.max_since_flush)),
            ("interval", is_none(self.interval.map(|i| i.every))),
            ("idle", is_none(self.idle)),
            ("max_waiting", self.max_waiting == Some(0)),
            ("mailbox", self.mailbox == 0),
        ];
        if let Some((option, _)) = nothing.iter().find(|(_, is_nothing)| *is_nothing) {
            let why = "is nothing: at least 1, or switched off";
            return Err(BadOption { option, why });
        }
        if self.max_bytes.is_some_and(|bytes| bytes > BYTES_MAX_MAX) {
            return Err(BadOption {
                option: "max_bytes",
                why: "is more than 1 GiB",
            });
        }
        Ok(())
    }
}

//! The configuration in force, as a file that says all of it.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use batchd_core::spool::space::MinFree;

use super::interval::MODES;
use super::model::{Config, DEFAULT_QUEUE, QueueConfig, SinkConfig, UnknownQueues};
use super::schema::{ACKS, ON_EXPIRE, ON_SHUTDOWN, OVERFLOWS, UNKNOWN_QUEUES};
use super::section::join;
use super::units::{render_size, render_time};
use super::values::{AUTO, OFF};

impl Config {
    /// Writes the configuration as TOML in which every setting stands, inherited or not. Read again, it gives
    /// the same configuration.
    pub(crate) fn render(&self) -> String {
        let mut out = Toml::default();
        out.table("[spool]");
        out.path("path", &self.spool.path);
        let max_bytes = self.spool.max_bytes;
        out.text("max_bytes", max_bytes.map_or(AUTO.to_owned(), render_size));
        match self.spool.min_free {
            MinFree::Off => out.text("min_free", OFF),
            MinFree::Bytes(bytes) => out.text("min_free", render_size(bytes)),
            MinFree::Percent(percent) => out.text("min_free", format_args!("{percent}%")),
            MinFree::Default => out.text("min_free", AUTO),
        }
        let ballast = self.spool.ballast_bytes;
        out.size_or_off("ballast", Some(ballast).filter(|bytes| *bytes > 0));
        out.bare("index", self.spool.index);
        for listen in &self.listen {
            out.table("[[listen]]");
            out.path("path", &listen.path);
            out.text("mode", format!("{:04o}", listen.mode));
        }
        out.table("[limits]");
        out.text("item_bytes_max", render_size(self.limits.item_bytes_max));
        out.text(
            "submission_bytes_max",
            render_size(self.limits.submission_bytes_max),
        );
        out.bare("connections", self.limits.connections);
        out.time_or_off("idle_timeout", self.limits.idle_timeout);
        out.table("[engine]");
        out.bare("ingest_threads", self.ingest_threads);
        out.text("shutdown_timeout", render_time(self.shutdown_timeout));
        out.time_or_off("cleanup_interval", self.cleanup_interval);

        // The template first: it is what the others differ from.
        out.queue(DEFAULT_QUEUE, &self.template, Some(self.unknown_queues));
        for (name, queue) in self
            .queues
            .iter()
            .filter(|(name, _)| name.as_str() != DEFAULT_QUEUE)
        {
            out.queue(name.as_str(), queue, None);
        }
        out.0
    }
}

/// A file in the making.
#[derive(Default)]
struct Toml(String);

impl Toml {
    fn queue(&mut self, name: &str, queue: &QueueConfig, unknown_queues: Option<UnknownQueues>) {
        let path = join("queues", name);
        self.table(&format!("[{path}]"));
        let policy = &queue.policy;
        self.number_or_off("max_items", policy.max_items);
        self.size_or_off("max_bytes", policy.max_bytes);
        self.time_or_off("max_age", policy.max_age);
        self.time_or_off("max_since_flush", policy.max_since_flush);
        self.time_or_off("interval", policy.interval.map(|interval| interval.every));
        if let Some(interval) = policy.interval {
            self.text("interval_mode", word(&MODES, interval.mode));
            self.text("interval_jitter", format!("{}%", interval.jitter_percent));
        }
        self.time_or_off("idle", policy.idle);
        self.text("on_shutdown", word(&ON_SHUTDOWN, policy.on_shutdown));
        self.time_or_off("lifespan", policy.lifespan);
        self.text("on_expire", word(&ON_EXPIRE, policy.on_expire));
        self.text("ack", word(&ACKS, queue.ack));
        self.bare("max_open_batches", queue.open_batches_max);
        self.text("producer_window", render_time(queue.producer_window));
        self.size_or_off("quota_bytes", policy.quota.bytes);
        self.number_or_off("quota_items", policy.quota.items);
        self.text("overflow", word(&OVERFLOWS, policy.overflow));
        if let Some(unknown_queues) = unknown_queues {
            self.text("unknown_queues", word(&UNKNOWN_QUEUES, unknown_queues));
        }
        match &queue.sink {
            None => self.text("sink", OFF),
            Some(SinkConfig::File(file)) => {
                self.table(&format!("[{path}.sink]"));
                self.text("type", "file");
                self.path("path", &file.path);
                self.text("encoding", file.encoding);
                self.text("unencodable", file.unencodable);
                if let Some(name) = &file.name {
                    self.text("name", name);
                }
                self.bare("append", file.append);
            }
        }
    }

    fn time_or_off(&mut self, key: &str, time: Option<Duration>) {
        self.text(key, time.map_or(OFF.to_owned(), render_time));
    }

    fn size_or_off(&mut self, key: &str, bytes: Option<u64>) {
        self.text(key, bytes.map_or(OFF.to_owned(), render_size));
    }

    fn number_or_off(&mut self, key: &str, number: Option<impl Display>) {
        match number {
            Some(number) => self.bare(key, number),
            None => self.text(key, OFF),
        }
    }

    fn table(&mut self, header: &str) {
        let separator = if self.0.is_empty() { "" } else { "\n" };
        self.line(format_args!("{separator}{header}"));
    }

    fn path(&mut self, key: &str, path: &Path) {
        self.text(key, path.display());
    }

    fn text(&mut self, key: &str, value: impl Display) {
        self.bare(key, toml::Value::String(value.to_string()));
    }

    fn bare(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.push_str(&format!("{line}\n"));
    }
}

/// The word for a value, from the list it is read by.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words
        .iter()
        .find(|(_, known)| *known == value)
        .map_or("", |(word, _)| *word)
}

//! `interval`, `interval_mode` and `interval_jitter` of a queue: three keys, one trigger.

use std::collections::BTreeMap;
use std::time::Duration;

use batchd_core::policy::{Interval, IntervalMode, JITTER_PERCENT_MAX};
use batchd_frame::QueueName;

use super::model::DEFAULT_QUEUE;
use super::problem::{Faults, Problem};
use super::schema::QueueTable;
use super::section::{Located, Section, join};
use super::values::{self, Setting, or_off};

pub(super) const MODES: [(&str, IntervalMode); 2] = [
    ("fixed-rate", IntervalMode::FixedRate),
    ("fixed-delay", IntervalMode::FixedDelay),
];

const EVERY: &str = "interval";
const MODE: &str = "interval_mode";
const JITTER: &str = "interval_jitter";

/// What a table says of it.
#[derive(Debug, Default)]
pub(super) struct IntervalKeys {
    every: Setting<Duration>,
    /// Something stands there that cannot be read, and is reported as such.
    is_mistaken: bool,
    mode: Option<Located<IntervalMode>>,
    jitter_percent: Option<Located<u32>>,
}

impl IntervalKeys {
    pub(super) fn read(queue: &mut Section<'_>, faults: &mut Faults<'_>) -> Self {
        let every = queue.read(EVERY, faults, or_off(values::time));
        Self {
            is_mistaken: every.is_none() && queue.has(EVERY),
            every: every.map_or(Setting::Inherit, |every| every.value),
            mode: queue.read(MODE, faults, values::choice(MODES)),
            jitter_percent: queue.read(JITTER, faults, values::percent(0..=JITTER_PERCENT_MAX)),
        }
    }

    /// What is in force. A mode and a jitter are inherited with the interval, also by one of another length.
    pub(super) fn resolve(self, template: Option<Interval>) -> Option<Interval> {
        let every = self
            .every
            .resolve(template.map(|interval| interval.every))?;
        let base = template.unwrap_or(Interval::every(every));
        Some(Interval {
            every,
            mode: self.mode.map_or(base.mode, |mode| mode.value),
            jitter_percent: self
                .jitter_percent
                .map_or(base.jitter_percent, |jitter| jitter.value),
        })
    }

    fn is_in_force(&self, template: bool) -> bool {
        match self.every {
            Setting::Inherit => template || self.is_mistaken,
            Setting::Off => false,
            Setting::Set(_) => true,
        }
    }

    fn check(&self, queue: &str, faults: &mut Faults<'_>) {
        let spans = [
            (MODE, self.mode.as_ref().map(|mode| &mode.span)),
            (
                JITTER,
                self.jitter_percent.as_ref().map(|jitter| &jitter.span),
            ),
        ];
        for (key, span) in spans {
            if let Some(span) = span {
                let key = join(&join("queues", queue), key);
                faults.add(Some(span.clone()), Some(key), Problem::NoInterval);
            }
        }
    }
}

/// Reports a mode or a jitter of an interval that is not there.
pub(super) fn check(
    template: &QueueTable,
    queues: &BTreeMap<QueueName, QueueTable>,
    faults: &mut Faults<'_>,
) {
    let inherited = template.interval.is_in_force(false);
    let queues = queues
        .iter()
        .map(|(name, table)| (name.as_str(), &table.interval));
    for (name, keys) in std::iter::once((DEFAULT_QUEUE, &template.interval)).chain(queues) {
        if !keys.is_in_force(inherited) {
            keys.check(name, faults);
        }
    }
}

//! Looks at what is left, through the daemon's own doors and the delivered files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::time::Duration;

use batchd_tests::{Daemon, DeliveredFile, Exit, LONG, Launch, Site, poll};

use crate::points::{BATCH_ITEMS, SinkKind};
use crate::script::Script;

/// Looks at what is left, and says what must not be so.
pub(super) struct Oracle<'a> {
    pub(super) sink: SinkKind,
    pub(super) script: &'a Script,
    pub(super) site: &'a Site,
    pub(super) violations: Vec<String>,
}

impl Oracle<'_> {
    pub(super) fn judge(&mut self, acknowledged: &BTreeSet<usize>) {
        let before = self.site.delivered_files();
        let daemon = match self.site.try_start(&Launch::default()) {
            Ok(daemon) => daemon,
            Err(exit) => {
                return self.report(format!(
                    "does not start: {exit:?}\n{}",
                    self.site.log_text()
                ));
            }
        };
        let found = self.found();
        self.check_found(&found, acknowledged);
        if let Err(error) = self.repeat_all(acknowledged) {
            self.report(format!("the repeat failed: {error}"));
        }
        let flushed = self.site.batchctl(["flush", "--wait"], b"");
        if flushed.code != Some(0) {
            self.report(format!("flush: {flushed}"));
        }
        self.check_delivered(&before, &found);
        self.check_idle(&daemon);
        let exit = daemon.term();
        let log = self.site.log_text();
        if exit != Exit::Code(0) || log.contains("panicked") {
            self.report(format!("stopped with {exit:?}; log:\n{log}"));
        }
    }

    pub(super) fn report(&mut self, violation: String) {
        self.violations.push(violation);
    }

    /// All batches that can be found, in the spool and delivered, with their items.
    pub(super) fn found(&mut self) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        let mut client = self.site.client(None, LONG);
        let batches: Result<Vec<_>, _> = client.list(None).collect();
        match batches {
            Ok(batches) => {
                for batch in batches {
                    // One that is delivered meanwhile is found below.
                    let items: Result<Vec<_>, _> = client.items(batch.id).collect();
                    let text = |item: Vec<u8>| String::from_utf8_lossy(&item).into_owned();
                    if let Ok(items) = items {
                        found.insert(batch.id.to_string(), items.into_iter().map(text).collect());
                    }
                }
            }
            Err(error) => self.report(format!("cannot be listed: {error}")),
        }
        for file in self.site.delivered_files() {
            let items = items(&file);
            let known = found.insert(file.batch().to_owned(), items.clone());
            if known.is_some_and(|known| known != items) {
                self.report(format!("batch {} has two contents", file.batch()));
            }
        }
        found
    }

    pub(super) fn check_found(
        &mut self,
        found: &BTreeMap<String, Vec<String>>,
        acknowledged: &BTreeSet<usize>,
    ) {
        let mut places: HashMap<&str, &str> = HashMap::new();
        for (batch, items) in found {
            for item in items {
                if let Some(other) = places.insert(item, batch)
                    && self.sink == SinkKind::Files
                {
                    self.report(format!("{item} is in {other} and in {batch}"));
                }
            }
        }
        for (number, planned) in self.script.submissions.iter().enumerate() {
            for item in &planned.items {
                let there = places.remove(item.as_str()).is_some();
                if acknowledged.contains(&number) && !there {
                    self.report(format!("{item} was acknowledged and is gone"));
                }
            }
        }
        for (alien, batch) in places {
            self.report(format!("{alien} is in {batch} and was never submitted"));
        }
    }

    /// The client comes back and repeats everything, since its memory is worse than the daemon's.
    pub(super) fn repeat_all(
        &mut self,
        acknowledged: &BTreeSet<usize>,
    ) -> Result<(), batchd_client::Error> {
        let mut client = self.site.client(None, LONG);
        for number in 0..self.script.submissions.len() {
            let receipt = client.submit(self.script.submission(number))?;
            if acknowledged.contains(&number) && !receipt.repeat {
                self.report(format!(
                    "submission {number} was acknowledged and is not known"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn check_delivered(
        &mut self,
        before: &[DeliveredFile],
        found: &BTreeMap<String, Vec<String>>,
    ) {
        let after = self.site.delivered_files();
        self.check_order(&after);
        if self.sink == SinkKind::OneFile {
            return;
        }
        for file in before {
            if !after.contains(file) {
                self.report(format!(
                    "{} changed or vanished after the restart",
                    file.name
                ));
            }
        }
        for file in &after {
            let items = items(file);
            // A batch that was open may have been filled further before it went out.
            if found
                .get(file.batch())
                .is_some_and(|known| !items.starts_with(known))
            {
                self.report(format!("batch {} changed after the restart", file.batch()));
            }
            if items.is_empty() || items.len() > BATCH_ITEMS {
                self.report(format!("{} has {} items", file.name, items.len()));
            }
        }
    }

    /// Every item is there once, those of a key in order.
    pub(super) fn check_order(&mut self, after: &[DeliveredFile]) {
        let delivered: Vec<_> = after.iter().flat_map(items).collect();
        for key in self.script.keys() {
            let of_key = delivered
                .iter()
                .filter(|item| item.split(':').next() == Some(key));
            let of_key: Vec<_> = of_key.map(String::as_str).collect();
            let expected = self.script.items_of(key);
            if of_key != expected {
                self.report(format!(
                    "key '{key}': delivered {of_key:?} instead of {expected:?}"
                ));
            }
        }
    }

    /// Nothing is left, and delivered batches are gone from the spool.
    pub(super) fn check_idle(&mut self, daemon: &Daemon) {
        let rest = poll(Duration::from_secs(5), || {
            let ready = self.site.spool().join("queues/default/ready");
            (fs::read_dir(ready).ok()?.count() == 0).then_some(())
        });
        if rest.is_none() {
            self.report(format!("batches stay in ready/ (pid {})", daemon.pid()));
        }
    }
}

pub(super) fn items(file: &DeliveredFile) -> Vec<String> {
    file.lines()
        .iter()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect()
}

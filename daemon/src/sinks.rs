//! A look at the sinks before anything is delivered to them, so that a mistake in a path is told when it is made, and not
//! when the first batch is due.

use std::path::{Path, PathBuf};
use std::thread;

use batchd_frame::QueueName;
use batchd_sinks::{FileSink, FileSinkConfig, Sink as _};

use crate::config::Config;
use crate::config::model::SinkConfig;

/// A sink that could take nothing now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unready {
    /// The queues that have it.
    pub(crate) queues: Vec<QueueName>,
    /// What a delivery would fail with.
    pub(crate) why: String,
}

impl Unready {
    /// The queues, for people.
    pub(crate) fn queue_names(&self) -> String {
        let names: Vec<_> = self.queues.iter().map(QueueName::as_str).collect();
        names.join(", ")
    }
}

/// Looks at each sink once, however many queues have it; not at one in a directory that is made at the start. Blocks as
/// long as the file systems do.
pub(crate) fn look(config: &Config, made_at_start: Option<&Path>) -> Vec<Unready> {
    let to_be_made = made_at_start.filter(|state| !state.exists());
    let mut files: Vec<(&FileSinkConfig, Vec<QueueName>)> = Vec::new();
    for (name, queue) in &config.queues {
        let Some(SinkConfig::File(file)) = &queue.sink else {
            continue;
        };
        if to_be_made.is_some() && file.path.parent() == to_be_made {
            continue;
        }
        match files.iter_mut().find(|(known, _)| *known == file) {
            Some((_, queues)) => queues.push(name.clone()),
            None => files.push((file, vec![name.clone()])),
        }
    }
    let looked = files.into_iter().filter_map(|(file, queues)| {
        let why = FileSink::new(file.clone()).ok()?.look().err()?.to_string();
        Some(Unready { queues, why })
    });
    looked.collect()
}

/// Looks at the sinks and logs what is wrong, on a thread that nobody waits for: a target that hangs holds up no start.
pub(crate) fn look_aside(config: Config, made_at_start: Option<PathBuf>) {
    let looking = move || {
        for unready in look(&config, made_at_start.as_deref()) {
            tracing::warn!(
                queues = unready.queue_names(),
                error = unready.why,
                "a sink can take nothing now; batches for it are kept, and tried again by themselves"
            );
        }
    };
    let started = thread::Builder::new()
        .name("look".to_owned())
        .spawn(looking);
    if let Err(error) = started {
        tracing::debug!(%error, "nobody looks at the sinks");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use insta::assert_snapshot;

    use super::*;
    use crate::config::{Surroundings, variables};

    /// What is unready of a configuration in which `ROOT` stands for that directory.
    fn looked(text: &str, root: &Path) -> String {
        let place = root.to_str().expect("UTF-8");
        let file = root.join("b.toml");
        fs::write(&file, text.replace("ROOT", place)).expect("written");
        let user = Surroundings::new(1000, variables(&[("HOME", place)]));
        let found = Config::find(Some(&file), &user).expect("no mistakes");
        let unready = look(&found.config, found.state.as_deref()).into_iter();
        let lines = unready.map(|unready| format!("{}: {}\n", unready.queue_names(), unready.why));
        lines.collect::<String>().replace(place, "ROOT")
    }

    #[test]
    fn each_sink_is_looked_at_once_for_all_its_queues() {
        let root = tempfile::tempdir().expect("a directory");
        let text = r#"
            [queues.default]
            sink = { type = "file", path = "ROOT/x/y" }
            [queues.a]
            [queues.b]
            sink = { type = "file", path = "ROOT/made" }
            [queues.c]
            sink = { type = "file", path = "ROOT/x/y/z", append = true }
            [queues.d]
            sink = "off"
            "#;
        assert_snapshot!(looked(text, root.path()), @"
        a, default: directory ROOT/x/y does not exist, nor does ROOT/x: mount it if it is a disk of its own, or make it, or change `path`
        c: directory ROOT/x/y does not exist, nor does ROOT/x: mount it if it is a disk of its own, or make it, or change `path`
        ");
    }

    #[test]
    fn what_a_start_makes_is_not_missed() {
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(looked("", root.path()), "");
        let state = root.path().join(".local/state/batchd");
        fs::create_dir_all(&state).expect("made");
        fs::write(state.join("delivered"), "").expect("written");
        assert_snapshot!(looked("", root.path()), @"default: ROOT/.local/state/batchd/delivered is not a directory: move it away or change `path`");
    }
}

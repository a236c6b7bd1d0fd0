//! Why nothing can be put into a queue of a name.

use batchd_core::error::FsError;
use batchd_frame::QueueName;
use batchd_protocol::ErrorCode;

use super::admin::Failed;

/// Why nothing can be put into a queue of a name.
#[derive(Debug)]
pub(crate) enum NoQueue {
    /// There is none, and none is created on demand.
    Unknown(String),
    /// It is in the spool, and the configuration no longer names it.
    Parked(QueueName),
    /// It would be created if there were fewer; so many there may be.
    TooMany(QueueName, usize),
    /// It cannot be created now.
    Fs(FsError),
}

impl NoQueue {
    /// What the client is told.
    pub(crate) fn answer(&self) -> Failed {
        let unknown = |message| (ErrorCode::UnknownQueue, message);
        match self {
            Self::Unknown(name) => match QueueName::new(name) {
                Ok(name) => unknown(format!(
                    "no queue '{name}': to have it, add {} to the configuration, or unknown_queues = \"create\" to \
                     [queues.default], and restart batchd",
                    table(&name)
                )),
                Err(_) => unknown(format!(
                    "no queue '{}': no queue can have that name; it is 1 to 64 of a-z, 0-9, '.', '_', '-', the \
                     first a letter or digit",
                    shown(name)
                )),
            },
            Self::Parked(name) => unknown(format!(
                "queue '{name}' takes nothing: the configuration no longer names it; add {} to it, and restart batchd",
                table(name)
            )),
            Self::TooMany(name, max) => unknown(format!(
                "queue '{name}' is not created: there are {max} already, which is all there may be"
            )),
            Self::Fs(error) => {
                let code = if error.is_no_space() {
                    ErrorCode::NoSpace
                } else if error.is_read_only() {
                    ErrorCode::ReadOnly
                } else {
                    ErrorCode::Internal
                };
                (code, format!("the queue cannot be created: {error}"))
            }
        }
    }
}

/// What is answered to who only looks for a queue, or flushes it.
pub(crate) fn not_found(name: &str) -> Failed {
    let message = format!("no queue '{}'", shown(name));
    (ErrorCode::UnknownQueue, message)
}

/// As much of a stranger's text as a message can carry.
fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

/// The table of a queue, as it is written in the configuration.
fn table(name: &QueueName) -> String {
    if name.as_str().contains('.') {
        format!("[queues.\"{name}\"]")
    } else {
        format!("[queues.{name}]")
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use crate::engine::Engine;
    use crate::engine::tests::engine;

    #[track_caller]
    fn refusal(engine: &Engine, name: &str) -> String {
        let refused = engine.queue(name).err().expect("no queue");
        let (code, message) = refused.answer();
        format!("{code:?}: {message}")
    }

    #[test]
    fn the_reason_is_told() {
        let root = tempfile::tempdir().expect("a directory");
        let config = "[queues.default]\nsink = \"off\"\n";
        let creating = format!("{config}unknown_queues = \"create\"\n");
        let mut full = engine(root.path(), &creating);
        full.queues_max = 2;
        full.queue("eu.west").expect("created");
        full.queue("eu.west").expect("there");
        assert_snapshot!(refusal(&full, "x"), @"UnknownQueue: queue 'x' is not created: there are 2 already, which is all there may be");
        assert_snapshot!(refusal(&full, "X\n"), @r"UnknownQueue: no queue 'X\n': no queue can have that name; it is 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit");
        drop(full);
        let rejecting = engine(root.path(), config);
        assert_snapshot!(refusal(&rejecting, "x"), @r#"UnknownQueue: no queue 'x': to have it, add [queues.x] to the configuration, or unknown_queues = "create" to [queues.default], and restart batchd"#);
        assert_snapshot!(refusal(&rejecting, "eu.west"), @r#"UnknownQueue: queue 'eu.west' takes nothing: the configuration no longer names it; add [queues."eu.west"] to it, and restart batchd"#);
    }
}

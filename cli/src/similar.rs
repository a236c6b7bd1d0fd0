//! The queue that may have been meant, where there is none of a name.

use std::time::Duration;

use batchd_client::blocking::Client;
use batchd_client::{Error as ClientError, ErrorCode, QueueName};

use crate::commands::Context;
use crate::offline::OfflineError;

/// Nobody is kept waiting for a suggestion.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most similar of the queues there are, where it is one that there is not that the command failed for.
pub(crate) fn queue(error: &anyhow::Error, context: &Context<'_>) -> Option<QueueName> {
    let name = context.queue.as_ref()?;
    if let Some(OfflineError::NoSuchQueue { known, .. }) = error.downcast_ref() {
        return nearest(name, known.clone());
    }
    match error.downcast_ref()? {
        ClientError::Refused {
            code: ErrorCode::UnknownQueue,
            ..
        } => nearest(name, ask(context)?),
        _ => None,
    }
}

/// The queues that the daemon has.
fn ask(context: &Context<'_>) -> Option<Vec<QueueName>> {
    let mut options = context.options();
    options.deadline = options.deadline.min(PATIENCE);
    let status = Client::new(options).ok()?.status().ok()?;
    let queues = status.queues.into_iter();
    Some(queues.map(|queue| queue.queue).collect())
}

/// The most similar, if it is similar enough to have been meant.
fn nearest(name: &QueueName, known: Vec<QueueName>) -> Option<QueueName> {
    let distance = |other: &QueueName| strsim::damerau_levenshtein(name.as_str(), other.as_str());
    let best = known.into_iter().min_by_key(distance)?;
    let tolerated = best.as_str().len().max(3) / 3;
    (1..=tolerated).contains(&distance(&best)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_been_meant() {
        let name = |text: &str| QueueName::new(text).expect("a name");
        let meant = |text: &str| {
            let known = ["default", "logs", "eu.west"].map(name).to_vec();
            nearest(&name(text), known).map(|name| name.to_string())
        };
        assert_eq!(meant("lgos").as_deref(), Some("logs"));
        assert_eq!(meant("log").as_deref(), Some("logs"));
        assert_eq!(meant("defualts").as_deref(), Some("default"));
        assert_eq!(meant("eu-west").as_deref(), Some("eu.west"));
        assert_eq!(meant("metrics"), None);
        assert_eq!(
            meant("logs"),
            None,
            "it takes nothing, and its name is right"
        );
        assert_eq!(nearest(&name("logs"), Vec::new()), None);
    }
}

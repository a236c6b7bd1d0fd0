//! Both clients against a daemon that follows a script.

mod creating;
mod deadlines;
mod history;
mod refusals;
mod requests;
mod submitting;
mod verifying;

use std::path::PathBuf;
use std::time::Duration;

use batchd_frame::QueueName;
use batchd_protocol::Ack;
use tempfile::TempDir;

use crate::error::Error;
use crate::fake::{FakeDaemon, Peer, Script};
use crate::items::ItemBuffer;
use crate::options::{Options, RetryDelays};
use crate::submission::{Target, Totals};
use crate::{asynchronous, blocking};

/// A deadline that a test sees pass.
const SHORT: Duration = Duration::from_millis(80);

struct Place {
    _dir: TempDir,
    socket: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self {
            socket: dir.path().join("s"),
            _dir: dir,
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::new(&self.socket);
        options.retry = RetryDelays {
            start: Duration::from_millis(1),
            max: Duration::from_millis(5),
        };
        options
    }
}

fn script(script: impl FnOnce(&mut Peer) + Send + 'static) -> Script {
    Box::new(script)
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a name")
}

fn target() -> Target {
    Target::new(queue("q"))
}

/// Submits one item at a time without waiting, then settles.
fn submit_blocking(options: Options, ack: Ack, items: &[&str]) -> (Result<Totals, Error>, Totals) {
    let mut client = blocking::Client::new(options).expect("a client");
    let mut target = target();
    target.ack = Some(ack);
    let sent = items.iter().try_for_each(|item| {
        let submission = client.prepare(&target, &ItemBuffer::from_iter([item]));
        client.send(submission)
    });
    let settled = sent.and_then(|()| client.settle());
    (settled, client.totals())
}

fn submit_asynchronous(
    options: Options,
    ack: Ack,
    items: &[&str],
) -> (Result<Totals, Error>, Totals) {
    on_tokio(async {
        let mut client = asynchronous::Client::new(options).expect("a client");
        let mut target = target();
        target.ack = Some(ack);
        let settled = async {
            for item in items {
                let submission = client.prepare(&target, &ItemBuffer::from_iter([item]));
                client.send(submission).await?;
            }
            client.settle().await
        };
        (settled.await, client.totals())
    })
}

fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

type Submit = fn(Options, Ack, &[&str]) -> (Result<Totals, Error>, Totals);

/// Runs the scripts against both clients.
#[track_caller]
fn check(
    scripts: impl Fn() -> Vec<Script>,
    adjust: impl Fn(&mut Options),
    ack: Ack,
    items: &[&str],
    expect: impl Fn(Result<Totals, Error>, Totals),
) {
    for submit in [submit_blocking as Submit, submit_asynchronous as Submit] {
        let place = Place::new();
        let daemon = FakeDaemon::start(&place.socket, scripts());
        let mut options = place.options();
        adjust(&mut options);
        let (settled, totals) = submit(options, ack, items);
        daemon.finish();
        expect(settled, totals);
    }
}

/// An error with its causes, as programs print it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

//! The life of a pipe: opens the spool, takes in what comes, has it delivered, and tells how it ended.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use batchd_core::policy::{OnShutdown, Policy};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::args::PipeArgs;
use super::control::{self, Control};
use super::input::{Event, Input};
use super::intake::{Intake, Sender, Stop};
use super::progress::{Done, Progress};
use super::source::{Resume, Source};
use crate::config::{Config, Surroundings};
use crate::engine::{self, Engine, Queue, dispatch, housekeeping};
use crate::failure::{Failure, Place};
use crate::{daemon, signals, sinks};

/// A person sees something new this often.
pub(super) const SHOW_INTERVAL: Duration = Duration::from_millis(100);
/// At least so long an attempt that is under way at the end is waited for.
pub(super) const STOP_AT_LEAST: Duration = Duration::from_secs(1);
/// As good as never.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// So many seals are read at once.
const SEALS_AT_ONCE: usize = 64;

/// How it ended, where nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The input ended, and all of it is delivered.
    Delivered,
    /// A signal of this name ended it, in good order.
    BySignal(&'static str),
}

/// Runs until the input has ended and everything is delivered.
///
/// # Errors
/// [`Failure`], with the exit code. What was taken is in the spool, and delivered by the next start.
pub(crate) fn run(
    args: &PipeArgs,
    file: Option<PathBuf>,
    surroundings: &Surroundings,
    progress: &Progress,
) -> Result<Ended, Failure> {
    let given = args.given(file);
    let (config, name) = Config::of_pipe(&given, surroundings)?;
    let policy = config.queues.get(&name).map(|queue| queue.policy.clone());
    let policy = policy.unwrap_or_default();
    if given.spool.is_none() {
        progress.say(&format!("the spool is {}", config.spool.path.display()));
    }
    let (events, control) = unbounded_channel();
    let is_up = Arc::new(AtomicBool::new(false));
    let told = events.clone();
    let _signals = signals::watch(Arc::clone(&is_up), move |signal| {
        told.send(control::Event::Told(signal)).ok();
    })
    .context("cannot install signal handlers")?;
    let place = Place::PipeSpool(&config.spool.path);
    let spool = daemon::open_spool(&config.spool.path, place, "batchd pipe")?;
    let engine = Engine::open(&config, spool, move |what| {
        events.send(control::Event::Broken(what)).ok();
    })
    .map_err(|error| Failure::of_spool(place, error.into()))?;
    let engine = Arc::new(engine);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(engine::blocking_threads(&config))
        .thread_name("main")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let queue = engine
        .queue(name.as_str())
        .map_err(|none| anyhow::anyhow!(none.answer().1))?;
    // Which submissions it knows decides where the input is gone on with.
    while queue.commit.recall(SEALS_AT_ONCE) {}
    is_up.store(true, Ordering::SeqCst);
    let house = housekeeping::start(Arc::clone(&engine)).context("cannot start a thread")?;
    let dispatchers = dispatch::start_all(&engine, runtime.handle());
    engine.serve();
    sinks::look_aside(config.clone(), None);

    let mut pipe = Pipe::open(args, &policy, engine, queue, control, progress)?;
    let stop = runtime.block_on(pipe.take_all()).err();
    if let Some(Stop::Broken(what)) = stop {
        progress.end();
        runtime.shutdown_background();
        return Err(Failure::broken(what));
    }
    let stopping = Instant::now();
    let fate = runtime.block_on(pipe.deliver(stop.as_ref(), config.shutdown_timeout));
    house.stop();
    let left = config.shutdown_timeout.saturating_sub(stopping.elapsed());
    dispatchers.stop(&runtime, left.max(STOP_AT_LEAST));
    pipe.control.engine.close();
    progress.end();
    // An attempt that hangs is not waited for.
    runtime.shutdown_timeout(STOP_AT_LEAST);
    match pipe.control.engine.broken() {
        Some(what) => Err(Failure::broken(what.to_owned())),
        None => pipe.tell(stop, &fate, &config),
    }
}

/// What runs.
pub(super) struct Pipe<'a> {
    pub(super) control: Control,
    pub(super) queue: Arc<Queue>,
    pub(super) intake: Intake,
    input: Input,
    pub(super) progress: &'a Progress,
    is_file: bool,
    /// How often a line says what is durable.
    report: Duration,
    reported: u64,
    report_due: Instant,
    /// Bytes that were read.
    bytes: u64,
    pub(super) on_shutdown: OnShutdown,
}

impl<'a> Pipe<'a> {
    fn open(
        args: &PipeArgs,
        policy: &Policy,
        engine: Arc<Engine>,
        queue: Arc<Queue>,
        control: UnboundedReceiver<control::Event>,
        progress: &'a Progress,
    ) -> Result<Self, Failure> {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stdin = File::from(stdin.context("cannot open standard input")?);
        if stdin.is_terminal() {
            progress.say("reads what you type, a line at a time; Ctrl-D ends it");
        }
        let waiting = queue.commit.lock().held();
        if waiting.items > 0 {
            let items = count(waiting.items, "item", "items");
            let wait = if waiting.items == 1 { "waits" } else { "wait" };
            progress.say(&format!("{items} of an earlier run {wait} to be delivered"));
        }
        let mut random = [0; 16];
        engine.spool.env().entropy.fill(&mut random);
        let mut source =
            Source::of(&stdin, args.cut(), random).context("cannot read standard input")?;
        let resume = resume(&mut source, &queue, progress).context("cannot read standard input")?;
        let file = match &source {
            Source::File(file) => {
                let length = file.length().context("cannot read standard input")?;
                Some((resume.from, length))
            }
            Source::Stream { .. } => None,
        };
        progress.begin(file);
        let key = args.key.clone().unwrap_or_default();
        let sender = Sender::new(&engine, &queue, policy, key, source, resume.from);
        let intake = Intake::new(args.cut(), engine.limits.item_bytes_max, sender);
        Ok(Self {
            control: Control {
                engine,
                events: control,
            },
            queue,
            intake,
            input: Input::start(stdin, file.map(|(from, _)| from))
                .context("cannot start a thread")?,
            progress,
            is_file: file.is_some(),
            report: args.report,
            reported: 0,
            report_due: Instant::now(),
            bytes: resume.from,
            on_shutdown: policy.on_shutdown,
        })
    }

    /// Takes in all of the input. It is durable then.
    async fn take_all(&mut self) -> Result<(), Stop> {
        loop {
            let wake = match self.is_reporting() {
                true => self.report_due,
                false => Instant::now() + SHOW_INTERVAL,
            };
            let needs_wake = self.progress.is_drawn() || self.is_reporting();
            tokio::select! {
                biased;
                stop = self.control.until_stopped() => return Err(stop),
                event = self.input.next() => {
                    let mut event = Some(event);
                    while let Some(some) = event {
                        if !self.take(some).await? {
                            self.say_durable();
                            return Ok(());
                        }
                        event = self.input.try_next();
                    }
                    self.intake.sender.settle(&mut self.control).await?;
                }
                () = tokio::time::sleep_until(wake), if needs_wake => {}
            }
            self.show();
        }
    }

    /// Takes an event in. Says whether there may be more.
    async fn take(&mut self, event: Event) -> Result<bool, Stop> {
        match event {
            Event::Chunk(chunk) => {
                self.bytes += chunk.len() as u64;
                self.intake.take(&chunk, &mut self.control).await?;
                self.input.give_back(chunk);
                self.show();
                Ok(true)
            }
            Event::End => {
                self.intake.end(&mut self.control).await?;
                Ok(false)
            }
            Event::Changed => {
                // What has not ended never will.
                self.intake.sender.settle(&mut self.control).await?;
                Err(Stop::Changed)
            }
            Event::Failed(error) => {
                self.intake.sender.settle(&mut self.control).await?;
                Err(Stop::Input(error))
            }
        }
    }

    fn done(&self) -> Done {
        Done {
            bytes: self.bytes,
            durable: self.intake.sender.durable,
            delivered: self.queue.commit.lock().counters().items_delivered,
        }
    }

    pub(super) fn show(&mut self) {
        if self.progress.is_drawn() {
            self.progress.show(self.done());
        } else if self.is_reporting() && Instant::now() >= self.report_due {
            self.say_durable();
        }
    }

    /// Whether there is something to say of what is durable, now or soon.
    fn is_reporting(&self) -> bool {
        !self.progress.is_drawn() && !self.is_file && self.intake.sender.durable > self.reported
    }

    /// Says how many items are durable, so that whoever sends them knows where to go on.
    fn say_durable(&mut self) {
        if self.is_reporting() {
            self.reported = self.intake.sender.durable;
            // A time that never comes is a long one.
            let due = Instant::now().checked_add(self.report);
            self.report_due = due.unwrap_or_else(|| Instant::now() + NEVER);
            let items = count(self.reported, "item is", "items are");
            self.progress.say(&format!("{items} durable"));
        }
    }
}

/// Finds where a file is gone on with, and says so.
fn resume(source: &mut Source, queue: &Queue, progress: &Progress) -> io::Result<Resume> {
    let Source::File(file) = source else {
        return Ok(Resume::default());
    };
    let resume = file.resume(queue.commit.newest_of(file.family()))?;
    if resume.is_rewritten {
        progress.say("the file was cut or written anew since it was taken: it is taken again");
    } else if resume.is_known {
        progress.say(&format!(
            "goes on at byte {}: what is before it was taken already",
            resume.from
        ));
    }
    if resume.is_torn {
        progress.say(
            "its last item had no delimiter then: what was written behind it since is an item of its own",
        );
    }
    Ok(resume)
}

/// A number of things.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

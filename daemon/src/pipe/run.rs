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
use batchd_core::spool::{LockedSpool, SpoolError};
use batchd_protocol::exit;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use super::args::PipeArgs;
use super::control::{self, Control};
use super::input::{Event, Input};
use super::intake::{Bounds, Intake, Stop};
use super::progress::{Done, Progress};
use super::source::{Resume, Source};
use crate::config::{Config, Surroundings};
use crate::engine::{self, Engine, Queue, dispatch, drain, housekeeping};
use crate::failure::Failure;
use crate::{daemon, signals};

/// A person sees something new this often.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);
/// At least so long an attempt that is under way at the end is waited for.
const STOP_AT_LEAST: Duration = Duration::from_secs(1);
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
    .context("install signal handlers")?;
    let spool = open_spool(&config)?;
    let engine = Engine::open(&config, spool, move |what| {
        events.send(control::Event::Broken(what)).ok();
    })
    .context("open the spool")?;
    let engine = Arc::new(engine);
    is_up.store(true, Ordering::SeqCst);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(engine::blocking_threads(&config))
        .thread_name("main")
        .enable_all()
        .build()
        .context("start the runtime")?;
    let queue = engine
        .queue(name.as_str())
        .map_err(|none| anyhow::anyhow!(none.answer().1))?;
    // Which submissions it knows decides where the input is gone on with.
    while queue.commit.recall(SEALS_AT_ONCE) {}
    let house = housekeeping::start(Arc::clone(&engine)).context("start a thread")?;
    let dispatchers = dispatch::start_all(&engine, runtime.handle());
    engine.serve();

    let mut pipe = Pipe::open(args, &policy, engine, queue, control, progress)?;
    let stop = runtime.block_on(pipe.take_all()).err();
    if let Some(Stop::Broken(what)) = stop {
        progress.end();
        runtime.shutdown_background();
        return Err(Failure::broken(what));
    }
    let stopping = Instant::now();
    let fate = runtime.block_on(pipe.deliver(stop.as_ref(), stopping + config.shutdown_timeout));
    house.stop();
    let left = config.shutdown_timeout.saturating_sub(stopping.elapsed());
    dispatchers.stop(&runtime, left.max(STOP_AT_LEAST));
    pipe.control.engine.close();
    progress.end();
    shut_down(runtime);
    match pipe.control.engine.broken() {
        Some(what) => Err(Failure::broken(what.to_owned())),
        None => pipe.tell(stop, &fate, &config),
    }
}

/// As the daemon does it; but what to do is about options, not about keys of a file.
fn open_spool(config: &Config) -> Result<LockedSpool, Failure> {
    daemon::open_spool(config, "batchd pipe").map_err(|mut failure| {
        let is_locked = matches!(
            failure.error.downcast_ref(),
            Some(SpoolError::Locked { .. })
        );
        failure.hint = match failure.hint {
            Some(_) if is_locked => Some(
                "wait until that process has ended, or give this one a spool of its own with --spool"
                    .to_owned(),
            ),
            hint => hint.map(|hint| hint.replace("`path` in [spool]", "--spool")),
        };
        failure
    })
}

/// An attempt that hangs is not waited for.
fn shut_down(runtime: Runtime) {
    runtime.shutdown_timeout(STOP_AT_LEAST);
}

/// What runs.
struct Pipe<'a> {
    control: Control,
    queue: Arc<Queue>,
    intake: Intake,
    input: Input,
    progress: &'a Progress,
    is_file: bool,
    /// How often a line says what is durable.
    report: Duration,
    reported: u64,
    report_due: Instant,
    /// Bytes that were read.
    bytes: u64,
    on_shutdown: OnShutdown,
}

/// What was waited for at the end.
#[derive(Debug, Default)]
struct Fate {
    /// Batches, with the items of each.
    batches: Vec<(u64, u64)>,
    /// A signal came meanwhile.
    signal: Option<&'static str>,
}

impl<'a> Pipe<'a> {
    fn open(
        args: &PipeArgs,
        policy: &Policy,
        engine: Arc<Engine>,
        queue: Arc<Queue>,
        control: tokio::sync::mpsc::UnboundedReceiver<control::Event>,
        progress: &'a Progress,
    ) -> Result<Self, Failure> {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stdin = File::from(stdin.context("open standard input")?);
        if stdin.is_terminal() {
            progress.say("reads what you type, a line at a time; Ctrl-D ends it");
        }
        let waiting = queue.commit.lock().held();
        if waiting.items > 0 {
            let items = waiting.items;
            progress.say(&format!(
                "{items} items of an earlier run wait to be delivered"
            ));
        }
        let mut random = [0; 16];
        engine.spool.env().entropy.fill(&mut random);
        let mut source = Source::of(&stdin, args.cut(), random).context("read standard input")?;
        let resume = resume(&mut source, &queue, progress).context("read standard input")?;
        let file = match &source {
            Source::File(file) => {
                let length = file.length().context("read standard input")?;
                Some((resume.from, length))
            }
            Source::Stream { .. } => None,
        };
        progress.begin(file);
        let key = args.key.clone().unwrap_or_default();
        let bounds = Bounds::of(&engine, policy);
        let intake = Intake::new(&engine, &queue, source, resume, key, args.cut(), bounds);
        Ok(Self {
            control: Control {
                engine,
                events: control,
            },
            queue,
            intake,
            input: Input::start(stdin).context("start a thread")?,
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
                    self.intake.settle(&mut self.control).await?;
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
            Event::Failed(error) => {
                self.intake.settle(&mut self.control).await?;
                Err(Stop::Input(error))
            }
        }
    }

    fn done(&self) -> Done {
        Done {
            bytes: self.bytes,
            durable: self.intake.durable,
            delivered: self.queue.commit.lock().counters().items_delivered,
        }
    }

    fn show(&mut self) {
        if self.progress.is_drawn() {
            self.progress.show(self.done());
        } else if self.is_reporting() && Instant::now() >= self.report_due {
            self.say_durable();
        }
    }

    /// Whether there is something to say of what is durable, now or soon.
    fn is_reporting(&self) -> bool {
        !self.progress.is_drawn() && !self.is_file && self.intake.durable > self.reported
    }

    /// Says how many items are durable, so that whoever sends them knows where to go on.
    fn say_durable(&mut self) {
        if !self.is_file && self.intake.durable > self.reported {
            self.reported = self.intake.durable;
            self.report_due = Instant::now() + self.report;
            let items = count(self.reported, "item is", "items are");
            self.progress.say(&format!("{items} durable"));
        }
    }

    /// Closes what is open and waits until the sink has everything, unless a signal has ended the pipe and what is
    /// open is to be kept.
    async fn deliver(&mut self, stop: Option<&Stop>, deadline: Instant) -> Fate {
        let is_kept = self.on_shutdown == OnShutdown::Keep;
        if matches!(stop, Some(Stop::Signal(_))) && is_kept {
            return Fate::default();
        }
        let batches = self.queue.commit.flush();
        self.control.engine.house.ring();
        self.queue.hurry.notify_waiters();
        let mut fate = Fate::default();
        let (engine, queue) = (Arc::clone(&self.control.engine), Arc::clone(&self.queue));
        let mut delivered = std::pin::pin!(drain::delivered(&engine, &queue, &batches));
        loop {
            tokio::select! {
                () = &mut delivered => break,
                () = tokio::time::sleep_until(deadline) => break,
                stop = self.control.until_stopped() => {
                    if let Stop::Signal(signal) = stop {
                        fate.signal = Some(signal);
                    }
                    break;
                }
                () = tokio::time::sleep(SHOW_INTERVAL), if self.progress.is_drawn() => self.show(),
            }
        }
        fate.batches.clone_from(&batches);
        fate
    }

    /// Says how it ended.
    fn tell(&mut self, stop: Option<Stop>, fate: &Fate, config: &Config) -> Result<Ended, Failure> {
        let spool = config.spool.path.display();
        let taken = count(self.intake.durable, "item is", "items are");
        let held = self.queue.commit.lock().held().items;
        if let Some(signal) = fate.signal.or(match stop {
            Some(Stop::Signal(signal)) => Some(signal),
            _ => None,
        }) {
            let waiting = count(held, "item waits", "items wait");
            self.progress.say(&format!(
                "stopped by {signal}: {taken} taken and durable; {waiting} in {spool} for the next start"
            ));
            return Ok(Ended::BySignal(signal));
        }
        match (stop.map(|stop| why(stop, &taken)), self.left(fate, config)) {
            (Some(failure), left) => {
                if let Some(left) = left {
                    self.progress
                        .write(format!("batchd: {}\n", left.error).as_bytes());
                }
                Err(failure)
            }
            (None, Some(left)) => Err(left),
            (None, None) => {
                let taken = match self.intake.durable {
                    0 => "nothing new was taken".to_owned(),
                    durable => format!("{} taken", count(durable, "item", "items")),
                };
                self.progress.say(&format!("{taken}, all is delivered"));
                Ok(Ended::Delivered)
            }
        }
    }

    /// What is not delivered.
    fn left(&self, fate: &Fate, config: &Config) -> Option<Failure> {
        let spool = config.spool.path.display();
        let waiting = self.queue.commit.undelivered(&fate.batches);
        if waiting > 0 {
            let held = self.queue.commit.lock().held().items;
            let items = count(held, "item is", "items are");
            let batches = count(waiting as u64, "batch", "batches");
            let error = match &self.queue.delivery().last_error {
                Some(error) => format!(": {error}"),
                None => String::new(),
            };
            return Some(Failure {
                error: anyhow::anyhow!(
                    "{items} not delivered, in {batches} that the spool {spool} keeps{error}"
                ),
                hint: Some(
                    "mend what the sink says and run the same command again: it delivers them first"
                        .to_owned(),
                ),
                code: exit::TEMPFAIL,
            });
        }
        let counters = self.queue.commit.lock().counters();
        let (dropped, expired) = (counters.batches_dropped, counters.batches_expired);
        (dropped + expired > 0).then(|| Failure {
            error: anyhow::anyhow!(
                "not all was delivered: {} dropped, {} past `lifespan`",
                count(dropped, "batch was", "batches were"),
                count(expired, "was", "were"),
            ),
            hint: Some(format!(
                "'batchctl ls --spool {spool}' shows what was set aside"
            )),
            code: exit::FAILURE,
        })
    }
}

/// Finds where a file is gone on with, and says so.
fn resume(source: &mut Source, queue: &Queue, progress: &Progress) -> io::Result<Resume> {
    let Source::File(file) = source else {
        return Ok(Resume::default());
    };
    let kept = queue.commit.kept_of(file.producer(b""));
    let resume = file.resume(&kept)?;
    let from = resume.from;
    if resume.is_rewritten {
        progress.say("the file was written anew since it was taken: it is taken from its start");
    } else if resume.has_been_taken() {
        progress.say(&format!(
            "goes on at byte {from}: what is before it was taken already"
        ));
        if from < file.length()? && !file.is_delimited(from)? {
            progress.say(
                "its last item had no delimiter then: what was written behind it since is an item of its own",
            );
        }
    }
    Ok(resume)
}

fn why(stop: Stop, taken: &str) -> Failure {
    let (error, hint, code) = match stop {
        Stop::TooLong(too_long, at) => (
            anyhow::anyhow!(
                "the item at byte {at} of the input is longer than {} bytes, and never taken",
                too_long.bytes_max
            ),
            "split it, or raise `max_bytes` of the queue and `item_bytes_max` in [limits] of --config".to_owned(),
            exit::DATAERR,
        ),
        Stop::Input(error) => (
            anyhow::Error::new(error).context("cannot read standard input"),
            format!("{taken} durable; the same command goes on behind them where the input is a file"),
            exit::IOERR,
        ),
        Stop::Refused(why) => (
            anyhow::anyhow!("not taken: {why}"),
            format!("{taken} durable; `--overflow block` waits for room instead"),
            exit::TEMPFAIL,
        ),
        // Those have been told already.
        Stop::Signal(what) => (anyhow::anyhow!(what), String::new(), exit::TEMPFAIL),
        Stop::Broken(what) => return Failure::broken(what),
    };
    Failure {
        error,
        hint: Some(hint).filter(|hint| !hint.is_empty()),
        code,
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

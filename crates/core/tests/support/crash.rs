//! Cuts the power at every call of a scenario, and checks what any state that this may leave recovers to.

use std::collections::HashSet;

use batchd_core::env::sim::{Image, Limits};
use batchd_core::frame::planted::{Planted, plant_for_thread};
use batchd_core::policy::Policy;
use batchd_core::queue::Ack;

use super::book::{Book, Due, Kind, Violation};
use super::world::{Dead, World};

/// A script and the rules of its queue.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name in the numbers that are printed.
    pub name: &'static str,
    /// The rules.
    pub policy: Policy,
    /// The script; the start of the spool comes before it.
    pub script: &'static str,
    /// How much of what a crash may leave is walked.
    pub limits: Limits,
    /// In how many of the recoveries the power is cut again, at every call: one in so many; 0 for none.
    pub again_every: u64,
    /// A bug that is there while the script runs.
    pub planted: Option<Planted>,
}

/// Plants a bug for this thread, and takes it away when dropped.
#[derive(Debug)]
pub struct Plant;

impl Plant {
    /// Plants it.
    #[must_use]
    pub fn new(bug: Option<Planted>) -> Self {
        plant_for_thread(bug);
        Self
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        plant_for_thread(None);
    }
}

/// What a walk came by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Calls at which the power was cut.
    pub crash_points: u64,
    /// States that were built.
    pub total: u64,
    /// Different states, with what was known outside: each was recovered.
    pub distinct: u64,
    /// States that the limits kept out.
    pub left_out: u64,
    /// Calls of recoveries at which the power was cut again.
    pub second_crash_points: u64,
    /// Different states that these left.
    pub second_distinct: u64,
}

/// Limits that walk all subsets of up to eight pending calls, each write torn at each sector border.
#[must_use]
pub fn thorough() -> Limits {
    Limits {
        random_states: 8,
        states_max: 4000,
        ..Limits::default()
    }
}

impl Scenario {
    /// Walks all of it.
    ///
    /// # Errors
    /// The first broken promise, with the crash that led to it.
    pub fn walk(&self) -> Result<Stats, Violation> {
        let mut stats = Stats::default();
        let mut seen = HashSet::new();
        for cut in 0.. {
            let mut world = World::new(self.policy.clone());
            world.disk.power_cut_after(cut);
            let planted = Plant::new(self.planted);
            let ran = world.start().and_then(|()| world.run(self.script));
            drop(planted);
            let is_cut = world.disk.is_power_cut();
            if let Err(Dead(why)) = &ran
                && !is_cut
            {
                let what = format!("{}: died without a power cut: {why}", self.name);
                return Err(Violation::new(Kind::Start, what));
            }
            world.commit = None;
            stats.crash_points += 1;
            self.check_states(&world, cut, &mut stats, &mut seen)?;
            if !is_cut {
                break;
            }
        }
        eprintln!("{}: {stats:?}", self.name);
        Ok(stats)
    }

    fn check_states(
        &self,
        world: &World,
        cut: u64,
        stats: &mut Stats,
        seen: &mut HashSet<(u64, u64)>,
    ) -> Result<(), Violation> {
        let known = world.book.fingerprint();
        let mut states = world.disk.crash_states(&self.limits);
        for image in states.by_ref() {
            if !seen.insert((fingerprint(&image), known)) {
                continue;
            }
            stats.distinct += 1;
            self.check_state(&image, &world.book).map_err(|violation| {
                let log = world.disk.op_log();
                let log: Vec<&str> = log.lines().collect();
                let last = log[log.len().saturating_sub(12)..].join("\n");
                Violation::new(
                    violation.kind,
                    format!(
                        "{}: {}\npower cut after call {cut}:\n{last}\nleaves:\n{}{image}",
                        self.name,
                        violation.what,
                        image.origin()
                    ),
                )
            })?;
            if self.again_every > 0 && stats.distinct.is_multiple_of(self.again_every) {
                self.crash_again(&image, &world.book, stats, seen)?;
            }
        }
        let counts = states.counts();
        stats.total += counts.total as u64;
        stats.left_out += counts.left_out as u64;
        Ok(())
    }

    /// Cuts the power at every call of the recovery of a state.
    fn crash_again(
        &self,
        image: &Image,
        book: &Book,
        stats: &mut Stats,
        seen: &mut HashSet<(u64, u64)>,
    ) -> Result<(), Violation> {
        let few = Limits {
            random_states: 4,
            cuts_per_write: 4,
            states_max: 64,
            ..Limits::default()
        };
        for cut in 0.. {
            let mut world = World::after(image, self.policy.clone(), book.clone(), 1000);
            world.disk.power_cut_after(cut);
            let started = world.start();
            world.commit = None;
            if started.is_ok() {
                return Ok(());
            }
            stats.second_crash_points += 1;
            for second in world.disk.crash_states(&few) {
                if !seen.insert((fingerprint(&second), book.fingerprint())) {
                    continue;
                }
                stats.second_distinct += 1;
                self.check_state(&second, book).map_err(|violation| {
                    Violation::new(
                        violation.kind,
                        format!(
                            "{}: {}\nfirst crash:\n{}recovery cut after call {cut}:\n{}leaves:\n{}{second}",
                            self.name,
                            violation.what,
                            image.origin(),
                            world.disk.op_log(),
                            second.origin(),
                        ),
                    )
                })?;
            }
        }
        Ok(())
    }

    fn check_state(&self, image: &Image, book: &Book) -> Result<(), Violation> {
        // What is part of the format is the same bug before the crash and after it.
        let _planted = Plant::new(self.planted.filter(|bug| *bug == Planted::SaltLeftOut));
        check_state(&self.policy, image, book)
    }
}

/// Recovers a state twice, drains it, repeats everything, and compares with the book each time.
///
/// # Errors
/// The first broken promise.
pub fn check_state(policy: &Policy, image: &Image, book: &Book) -> Result<(), Violation> {
    let start = |Dead(why): Dead| Violation::new(Kind::Start, why);
    let mut world = World::after(image, policy.clone(), book.clone(), 2000);
    world.start().map_err(start)?;
    let first = world.contents().map_err(start)?;
    // What recovery says is there is durable.
    let again = world.disk.durable_image();
    // A crash tears what was being written, and nothing else. A header is torn with the first group of its file.
    let reasons = world.quarantine_reasons();
    if let Some(reason) = reasons.iter().find(|reason| {
        reason.contains("reason: ") && !reason.contains("the file header is damaged")
    }) {
        return Err(Violation::new(Kind::TakenForDamaged, reason.clone()));
    }
    let mut world = World::after(&again, policy.clone(), book.clone(), 3000);
    world.start().map_err(start)?;
    if world.contents().map_err(start)? != first {
        return Err(Violation::new(
            Kind::SecondRecovery,
            format!("found first {first:?}"),
        ));
    }
    drain_and_check(&mut world)
}

/// The same for states that differ at most in who is said to hold the lock.
fn fingerprint(image: &Image) -> u64 {
    let mut image = image.clone();
    if image.exists("/spool/LOCK") {
        image.remove("/spool/LOCK").unwrap();
    }
    image.fingerprint()
}

/// Delivers all that is there and checks it; then repeats every submission, and demands each once and whole.
///
/// # Errors
/// The first broken promise.
pub fn drain_and_check(world: &mut World) -> Result<(), Violation> {
    let start = |Dead(why): Dead| Violation::new(Kind::Start, why);
    world.drain().map_err(start)?;
    if world.out.contains("damaged") {
        return Err(Violation::new(Kind::TakenForDamaged, world.out.clone()));
    }
    world.book.check(Due::Acked(Ack::Synced))?;
    for number in 0..world.book.submissions.len() {
        if world.book.submissions[number].created {
            continue;
        }
        world.begin(number, Ack::Synced);
    }
    world.drain().map_err(start)?;
    world.book.check(Due::All).map_err(|v| {
        Violation::new(
            Kind::Repeat,
            format!("after repeating all: {v}\n{}", world.out),
        )
    })
}

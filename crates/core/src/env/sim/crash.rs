//! What a power cut may leave: the plan of all states worth a look, and the walk over it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::clock::SplitMix;
use super::content::Content;
use super::image::Image;
use super::pending::{Op, Pending, apply_subset};
use super::tear::{Fill, Kept, Tear, overlap, sector_count};
use super::tree::Tree;

/// More pending operations than this are never walked whole.
const EXHAUSTIVE_OPS_MAX: usize = 16;

/// How much of what a power cut may leave is walked.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Up to so many pending operations, every subset is walked; at most 16. Past it: nothing, everything,
    /// every one alone, all but every one, every prefix, and random subsets.
    pub exhaustive_ops: usize,
    /// How many random subsets are walked past that; and in any case, how many random subsets with random
    /// sectors missing in any of their writes.
    pub random_states: usize,
    /// At how many sector borders a write is torn; one that has no more is torn at each. Zero: none is torn.
    pub cuts_per_write: usize,
    /// How many freed files, the latest first, lend their bytes to missing sectors.
    pub stale_files: usize,
    /// How many states are walked at most. Where it does not suffice, all subsets are walked whole and a
    /// random choice of them torn, and [`CrashCounts::left_out`] tells.
    pub states_max: usize,
    /// What random choices follow from.
    pub seed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exhaustive_ops: 8,
            random_states: 64,
            cuts_per_write: 8,
            stale_files: 2,
            states_max: 20_000,
            seed: 0,
        }
    }
}

/// How many states a walk has met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrashCounts {
    /// States built so far.
    pub total: usize,
    /// Those of them that differed from all before: the images returned.
    pub distinct: usize,
    /// States that [`Limits::states_max`] kept out of the walk.
    pub left_out: usize,
}

/// A walk over what a power cut may leave, each state once.
#[derive(Debug)]
pub struct CrashStates {
    durable: Tree,
    pending: Arc<[Pending]>,
    freed: Vec<Arc<Content>>,
    choices: std::vec::IntoIter<Choice>,
    seen: BTreeSet<u64>,
    counts: CrashCounts,
}

/// One state: which pending operations are in it, and which of the writes among them are torn.
#[derive(Debug, Clone)]
struct Choice {
    chosen: Arc<[bool]>,
    tears: Vec<(usize, Tear)>,
}

impl CrashStates {
    pub(super) fn new(
        durable: &Tree,
        pending: &[Pending],
        freed: &[Arc<Content>],
        limits: &Limits,
    ) -> Self {
        let (choices, left_out) = Planner {
            durable,
            pending,
            freed,
            limits,
        }
        .plan();
        Self {
            durable: durable.clone(),
            pending: Arc::from(pending),
            freed: freed.to_vec(),
            choices: choices.into_iter(),
            seen: BTreeSet::new(),
            counts: CrashCounts {
                left_out,
                ..CrashCounts::default()
            },
        }
    }

    /// How many states were met so far.
    #[must_use]
    pub fn counts(&self) -> CrashCounts {
        self.counts
    }
}

impl Iterator for CrashStates {
    type Item = Image;

    fn next(&mut self) -> Option<Image> {
        loop {
            let choice = self.choices.next()?;
            self.counts.total += 1;
            let image = build(&self.durable, &self.pending, &self.freed, choice);
            if self.seen.insert(image.fingerprint()) {
                self.counts.distinct += 1;
                return Some(image);
            }
        }
    }
}

/// One state, by chance.
pub(super) fn random_state(
    durable: &Tree,
    pending: &[Pending],
    freed: &[Arc<Content>],
    random: &mut SplitMix,
) -> Image {
    let choice = random_choice(pending, freed.len(), random);
    build(durable, &Arc::from(pending), freed, choice)
}

fn build(
    durable: &Tree,
    pending: &Arc<[Pending]>,
    freed: &[Arc<Content>],
    choice: Choice,
) -> Image {
    let tree = apply_subset(durable, pending, &choice.chosen, &choice.tears, freed);
    Image::new(
        tree,
        freed.to_vec(),
        Some(Origin {
            pending: Arc::clone(pending),
            choice,
        }),
    )
}

/// Decides which states are walked.
struct Planner<'a> {
    durable: &'a Tree,
    pending: &'a [Pending],
    freed: &'a [Arc<Content>],
    limits: &'a Limits,
}

impl Planner<'_> {
    /// The states, and how many were left out.
    fn plan(&self) -> (Vec<Choice>, usize) {
        let mut random = SplitMix(self.limits.seed);
        let (subsets, tear_all) = self.subsets(&mut random);
        let mut torn = Vec::new();
        if self.limits.cuts_per_write > 0 {
            for chosen in &subsets {
                self.tear(chosen, tear_all, &mut random, &mut torn);
            }
            let stale_files = self.stale_files();
            for _ in 0..self.random_tears() {
                torn.push(random_choice(self.pending, stale_files, &mut random));
            }
        }
        let whole = subsets.into_iter().map(|chosen| Choice {
            chosen,
            tears: Vec::new(),
        });
        let mut choices: Vec<Choice> = whole.collect();
        let room = self.limits.states_max.saturating_sub(choices.len());
        let left_out = torn.len().saturating_sub(room);
        if left_out > 0 {
            shuffle(&mut torn, &mut random);
            torn.truncate(room);
        }
        choices.append(&mut torn);
        (choices, left_out)
    }

    /// The subsets of the pending operations, and whether every write of each is to be torn.
    fn subsets(&self, random: &mut SplitMix) -> (Vec<Arc<[bool]>>, bool) {
        let count = self.pending.len();
        if count <= self.limits.exhaustive_ops.min(EXHAUSTIVE_OPS_MAX) {
            let subset = |bits: usize| (0..count).map(|index| bits >> index & 1 == 1).collect();
            return ((0..1 << count).map(subset).collect(), true);
        }
        let by = |rule: &dyn Fn(usize) -> bool| (0..count).map(rule).collect::<Arc<[bool]>>();
        // Prefixes of no and of all operations are "nothing" and "everything".
        let mut subsets: Vec<_> = (0..=count).map(|end| by(&|index| index < end)).collect();
        subsets.extend((0..count).map(|only| by(&|index| index == only)));
        subsets.extend((0..count).map(|without| by(&|index| index != without)));
        subsets.extend((0..self.limits.random_states).map(|_| random_subset(count, random)));
        (subsets, false)
    }

    /// Adds the torn versions of a subset, one write torn at a time: each write, or the last one only. Of
    /// everything, it is always each.
    fn tear(
        &self,
        chosen: &Arc<[bool]>,
        tear_all: bool,
        random: &mut SplitMix,
        torn: &mut Vec<Choice>,
    ) {
        let tear_all = tear_all || chosen.iter().all(|chosen| *chosen);
        let writes = self.pending.iter().zip(chosen.iter()).enumerate().rev();
        let writes = writes.filter_map(|(index, (item, chosen))| match &item.op {
            Op::Write {
                inode,
                offset,
                bytes,
            } if *chosen => Some((index, *inode, *offset, bytes)),
            _ => None,
        });
        for (index, inode, offset, bytes) in writes.take(if tear_all { usize::MAX } else { 1 }) {
            let durable_len = self
                .durable
                .content(inode)
                .map_or(0, |content| content.len());
            let end = offset + bytes.len();
            let stale: Vec<usize> = (0..self.stale_files())
                .filter(|file| {
                    let old = self.freed.get(*file);
                    old.is_some_and(|old| !overlap(old, offset.max(durable_len), end).is_empty())
                })
                .collect();
            let sectors = sector_count(offset, bytes.len());
            for kept in shapes(sectors, self.limits.cuts_per_write, random) {
                let fills = [Fill::Short, Fill::Zeros].into_iter();
                for fill in fills.chain(stale.iter().map(|file| Fill::Stale(*file))) {
                    // With the last sector there, the length is that of the write anyway.
                    if fill == Fill::Short && kept.keeps(sectors - 1) {
                        continue;
                    }
                    let tears = vec![(index, Tear { kept, fill })];
                    torn.push(Choice {
                        chosen: Arc::clone(chosen),
                        tears,
                    });
                }
            }
        }
    }

    fn stale_files(&self) -> usize {
        self.freed.len().min(self.limits.stale_files)
    }

    fn random_tears(&self) -> usize {
        let is_torn = |item: &Pending| matches!(item.op, Op::Write { .. });
        if self.pending.iter().any(is_torn) {
            self.limits.random_states
        } else {
            0
        }
    }
}

/// The ways to tear a write of so many sectors: prefixes, suffixes, and all but one.
fn shapes(sectors: usize, cuts: usize, random: &mut SplitMix) -> Vec<Kept> {
    let mut borders = BTreeSet::new();
    if sectors <= cuts {
        borders.extend(0..sectors);
    } else {
        borders.extend([0, 1, 2, sectors / 2, sectors - 1]);
        while borders.len() < cuts.min(sectors) {
            borders.insert(random.below(sectors));
        }
    }
    let prefixes = borders.iter().map(|border| Kept::First(*border));
    let suffixes = borders
        .iter()
        .filter(|border| **border > 0)
        .map(|border| Kept::From(*border));
    // Without the first or the last sector, it is a suffix or a prefix.
    let holes = borders
        .iter()
        .filter(|border| (1..sectors - 1).contains(*border));
    prefixes
        .chain(suffixes)
        .chain(holes.map(|border| Kept::AllBut(*border)))
        .collect()
}

fn random_subset(count: usize, random: &mut SplitMix) -> Arc<[bool]> {
    (0..count).map(|_| random.coin()).collect()
}

/// Any subset, and any sectors of any of its writes missing.
fn random_choice(pending: &[Pending], stale_files: usize, random: &mut SplitMix) -> Choice {
    let chosen = random_subset(pending.len(), random);
    let mut tears = Vec::new();
    for (index, item) in pending.iter().enumerate() {
        if matches!(item.op, Op::Write { .. }) && random.coin() {
            let fill = match random.below(2 + stale_files) {
                0 => Fill::Short,
                1 => Fill::Zeros,
                file => Fill::Stale(file - 2),
            };
            tears.push((
                index,
                Tear {
                    kept: Kept::Random(random.next()),
                    fill,
                },
            ));
        }
    }
    Choice { chosen, tears }
}

fn shuffle<T>(items: &mut [T], random: &mut SplitMix) {
    for index in (1..items.len()).rev() {
        items.swap(index, random.below(index + 1));
    }
}

/// How an image came about.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pending: Arc<[Pending]>,
    choice: Choice,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (item, chosen)) in self
            .pending
            .iter()
            .zip(self.choice.chosen.iter())
            .enumerate()
        {
            let tear = self.choice.tears.iter().find(|(torn, _)| *torn == index);
            match (chosen, tear) {
                (false, _) => writeln!(f, "lost {item}")?,
                (true, None) => writeln!(f, "kept {item}")?,
                (true, Some((_, tear))) => writeln!(f, "torn {item}: {tear}")?,
            }
        }
        Ok(())
    }
}

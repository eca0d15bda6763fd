//! Which faults happen when, drawn from a seed: the same plan gives the same faults, to the millisecond. Pure: no clock, no effects; `run`
//! and `stage` carry it out. What every run has once is `deck`'s business, which of them may last together that of `rules`.

use crate::fault::{Aim, Fault, Kind, Target, Usual};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How often a slot is drawn again where its fault would clash with one that lasts; then the slot stays empty.
const TRIES_MAX: u64 = 16;

/// A process of the cluster under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it is: members of one role stand in for each other.
    pub role: String,
    /// Where it runs.
    pub host: String,
    /// Whether there is another build of it.
    pub upgradable: bool,
    /// Whether its syncs can be slowed.
    pub has_disk: bool,
    /// Whether its clock can be stepped.
    pub has_clock: bool,
}

/// How what everything depends on is spared: storage, the store, and the one member of a role that has no other. While such a fault
/// lasts nothing goes on anywhere, so that it is short, and left alone for a while afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lone {
    /// The longest that one lasts.
    pub held_ms_max: u64,
    /// From the end of one to the beginning of the next, at least.
    pub rest_ms: u64,
}

/// From what a schedule is drawn. A record begins with it, so a run is repeated from its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How long faults happen; at the end all are undone.
    pub lasts_ms: u64,
    /// Between the beginnings of two faults, least and most.
    pub every_ms: (u64, u64),
    /// The processes.
    pub members: Vec<Member>,
    /// Ways that something goes over, from the host that calls to the one that is called. No other is cut: nobody would notice.
    pub links: Vec<(String, String)>,
    /// Of these the ones that something goes over at every moment, whoever leads: the first fault of each kind for ways is dealt there.
    pub busy: Vec<(String, String)>,
    /// Ways with a relay, from the first host to the second.
    pub relayed: Vec<(String, String)>,
    /// Roles that have a leader.
    pub led: BTreeSet<String>,
    /// At most so many members of a role are impaired at once; all may be where a role has no entry.
    pub impaired_max: BTreeMap<String, usize>,
    /// How what there is only one of is spared.
    pub lone: Lone,
    /// What differs from [`Kind::usual`].
    pub unusual: BTreeMap<Kind, Usual>,
}

impl Plan {
    /// How a kind of fault is in this plan.
    #[must_use]
    pub fn usual(&self, kind: Kind) -> Usual {
        let unusual = self.unusual.get(&kind).copied();
        unusual.unwrap_or_else(|| kind.usual())
    }

    /// The faults of this plan, by their beginning. Everything that can happen is dealt once before anything is drawn freely.
    #[must_use]
    pub fn draw(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut owed = self.deck();
        let (mut at_ms, mut turn) = (0, 0);
        loop {
            let mut dice = Dice::of(self.seed, turn);
            // A step of nothing would never reach the end.
            at_ms += dice.between(self.every_ms.0, self.every_ms.1).max(1);
            turn += 1;
            if at_ms >= self.lasts_ms {
                return faults;
            }
            let number = u32::try_from(faults.len()).unwrap_or(u32::MAX);
            let slot = Slot { number, at_ms };
            let dealt = self.deal(&mut dice, &owed, slot, &faults);
            let Some(fault) = dealt.or_else(|| self.freely(&mut dice, slot, &faults)) else {
                continue;
            };
            if let Some(card) = self.card(fault.kind, &fault.target) {
                owed.remove(&card);
            }
            faults.push(fault);
        }
    }

    fn freely(&self, dice: &mut Dice, slot: Slot, before: &[Fault]) -> Option<Fault> {
        (0..TRIES_MAX).find_map(|_| self.try_one(dice, slot, before))
    }

    fn try_one(&self, dice: &mut Dice, slot: Slot, before: &[Fault]) -> Option<Fault> {
        let kind = self.kind(dice)?;
        let target = dice.one_of(&self.targets(kind.aim()))?.clone();
        let fault = self.aimed(dice, slot, kind, target);
        self.fits(&fault, before).then_some(fault)
    }

    fn aimed(&self, dice: &mut Dice, slot: Slot, kind: Kind, target: Target) -> Fault {
        let usual = self.usual(kind);
        let drawn_ms = dice.between(usual.held_ms.0, usual.held_ms.1);
        let held_ms = match self.is_lone(kind, &target) {
            true => drawn_ms.min(self.lone.held_ms_max),
            false => drawn_ms,
        };
        let Slot { number, at_ms } = slot;
        Fault {
            number,
            kind,
            target,
            amount: dice.signed(usual.amount),
            at_ms,
            until_ms: (at_ms + held_ms.max(1)).min(self.lasts_ms),
        }
    }

    fn kind(&self, dice: &mut Dice) -> Option<Kind> {
        let weighed = Kind::ALL.map(|kind| (kind, u64::from(self.usual(kind).weight)));
        let possible = weighed
            .iter()
            .filter(|(kind, _)| !self.targets(kind.aim()).is_empty());
        let possible: Vec<(Kind, u64)> = possible.copied().collect();
        let sum = possible.iter().map(|(_, weight)| weight).sum();
        let mut drawn = dice.below(sum);
        possible.into_iter().find_map(|(kind, weight)| {
            let hit = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            hit.then_some(kind)
        })
    }

    /// All that a fault of this aim may hit.
    fn targets(&self, aim: Aim) -> Vec<Target> {
        let processes = |wanted: fn(&Member) -> bool| {
            let found = self.members.iter().filter(|member| wanted(member));
            found
                .map(|member| Target::Process(member.name.clone()))
                .collect()
        };
        match aim {
            Aim::Process => processes(|_| true),
            Aim::Upgradable => processes(|member| member.upgradable),
            Aim::Disk => processes(|member| member.has_disk),
            Aim::Clock => processes(|member| member.has_clock),
            Aim::Leader => self.led.iter().cloned().map(Target::Leader).collect(),
            Aim::Host => self.hosts().into_iter().map(Target::Host).collect(),
            Aim::Link => self.links(),
            Aim::Relay => {
                let ways = self.relayed.iter().cloned();
                ways.map(|(from, to)| Target::Link(from, to)).collect()
            }
            Aim::Storage => vec![Target::Storage],
            Aim::Store => vec![Target::Store],
        }
    }

    fn hosts(&self) -> BTreeSet<String> {
        self.members
            .iter()
            .map(|member| member.host.clone())
            .collect()
    }

    /// Both directions of each way in use.
    fn links(&self) -> Vec<Target> {
        let link = |from: &String, to: &String| Target::Link(from.clone(), to.clone());
        let ways = self.links.iter();
        ways.flat_map(|(from, to)| [link(from, to), link(to, from)])
            .collect()
    }
}

/// Where in a schedule a fault is to be.
#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u32,
    at_ms: u64,
}

/// A step of carrying a schedule out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The fault of this index is undone. Before beginnings of the same millisecond, which may need the same thing.
    End(usize),
    /// The fault of this index begins.
    Begin(usize),
}

/// All steps of a schedule in their order, with their times.
#[must_use]
pub fn steps(faults: &[Fault]) -> Vec<(u64, Step)> {
    let begins = faults
        .iter()
        .enumerate()
        .map(|(n, fault)| (fault.at_ms, Step::Begin(n)));
    let ends = faults
        .iter()
        .enumerate()
        .map(|(n, fault)| (fault.until_ms, Step::End(n)));
    let mut steps: Vec<(u64, Step)> = begins.chain(ends).collect();
    steps.sort_unstable();
    steps
}

/// Chance for one slot: a stream of its own, so that a slot that draws more than before moves no other.
struct Dice(ChaCha8Rng);

impl Dice {
    fn of(seed: u64, slot: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(slot);
        Self(rng)
    }

    /// A number below `n`; 0 where `n` is 0.
    fn below(&mut self, n: u64) -> u64 {
        let scaled = u128::from(self.0.next_u64()) * u128::from(n);
        u64::try_from(scaled >> 64).unwrap_or(0)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    fn signed(&mut self, (low, high): (i64, i64)) -> i64 {
        let drawn = self.below(high.saturating_sub(low).max(0).cast_unsigned() + 1);
        low.saturating_add_unsigned(drawn)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let drawn = self.below(u64::try_from(all.len()).ok()?);
        all.get(usize::try_from(drawn).ok()?)
    }

    /// Puts them into any order, each as likely as the others.
    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let among = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let drawn = usize::try_from(self.below(among)).unwrap_or(last);
            all.swap(last, drawn);
        }
    }
}

mod deck;
mod rules;
#[cfg(test)]
mod tests;

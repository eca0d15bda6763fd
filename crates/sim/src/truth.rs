//! What is true of the tracks, whatever the cluster believes: how each one behaves, and so which row it must end in.

use std::collections::BTreeMap;

use agent_core::{Escalation, Reach};
use scheduler::JobKey;
use types::{
    ActorId, CatalogName, Code, DeviceKind, Digest, Generation, JobId, JobSpec, Ordinal, Policy,
    Requirements, ShardPlan, Share, Stages, TenantId, TrackId, UnixMillis,
};

use crate::dice::Dice;
use crate::mix::{Large, Mix, TrackOdds};

/// The generation in which every run begins.
pub(crate) const GENERATION: Generation = Generation(1);

/// The memory of the largest device, and the most that a job asks for.
pub(crate) const MEMORY_MOST: u64 = 8 << 30;

/// How a track behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Sound,
    /// Sound, and the gate sends it on to the residual.
    Unsure,
    Unscannable,
    KillsWorker,
    KillsDecoder,
    /// Takes the whole machine down.
    KillsNode,
}

/// What was made of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// Scored, by a device whose numbers were right or wrong.
    Scored {
        wrong: bool,
    },
    /// Screened, and sent on to the residual.
    Escalated {
        wrong: bool,
    },
    /// Screened, and held back since the budget had no room.
    Withheld {
        wrong: bool,
    },
    Unscannable(Code),
}

/// One job as submitted.
#[derive(Clone, Debug)]
pub(crate) struct JobTruth {
    pub(crate) key: JobKey,
    pub(crate) spec: JobSpec,
    /// What it asks of nodes.
    pub(crate) requires: Requirements,
    pub(crate) natures: Vec<Nature>,
    /// Deaths of workers, decoders and machines while a track was in hand, by track: what may convict it.
    pub(crate) deaths: BTreeMap<Ordinal, u32>,
}

impl JobTruth {
    pub(crate) fn drawn(number: usize, mix: &Mix, dice: &mut Dice) -> Self {
        let odds = &mix.tracks;
        let plan = plan(number, mix, dice);
        let both = dice.happens(5_000) || mix.regretful || escalates(number, mix);
        let rows = 0..plan.rows;
        let mut natures: Vec<Nature> = rows.map(|_| nature(odds, both, dice)).collect();
        for _ in 0..dice.between(0, odds.poison_max) {
            let poison = [Nature::KillsWorker, Nature::KillsDecoder, Nature::KillsNode];
            let at = dice.index(natures.len());
            natures[at] = dice.one_of(&poison).unwrap_or(Nature::KillsWorker);
        }
        let key = JobKey {
            tenant: tenant(number % mix.tenants.max(1)),
            job: name(number),
        };
        let bundle = bundles()[dice.index(2)];
        let policy = policy(both, dice);
        Self {
            spec: spec(&key, plan, bundle, policy),
            requires: requires(mix, dice),
            key,
            natures,
            deaths: BTreeMap::new(),
        }
    }

    /// A job over some tracks of this one: what `retry --failed` submits.
    pub(crate) fn again(&self, number: usize, ordinals: &[Ordinal]) -> Self {
        let key = JobKey {
            tenant: self.key.tenant.clone(),
            job: name(number),
        };
        let plan = ShardPlan {
            rows: u32::try_from(ordinals.len()).unwrap_or(1),
            shard_tracks: self.spec.plan.shard_tracks,
        };
        let policy = self.spec.policy.clone();
        Self {
            spec: spec(&key, plan, self.spec.bundle, policy),
            requires: self.requires,
            key,
            natures: ordinals.iter().map(|at| self.nature(*at)).collect(),
            deaths: BTreeMap::new(),
        }
    }

    pub(crate) fn nature(&self, ordinal: Ordinal) -> Nature {
        let nature = self.natures.get(ordinal as usize);
        nature.copied().unwrap_or(Nature::Sound)
    }

    /// Where a track stands that the gate sends on. Distances repeat, and names are in another order than ordinals.
    pub(crate) fn escalation(&self, ordinal: Ordinal) -> Escalation {
        let (distance, name) = (ordinal * 7 % 5, ordinal * 577 % 1_009);
        Escalation {
            distance: u64::from(distance),
            track: TrackId::new(format!("t{name:04}")).expect("a letter and digits name a track"),
            reach: Reach::exact(distance.into()),
        }
    }

    /// Whether a published row is what the track deserves.
    pub(crate) fn deserves(&self, ordinal: Ordinal, row: Row) -> bool {
        match (self.nature(ordinal), row) {
            (Nature::Sound | Nature::Unsure, Row::Scored { wrong }) => !wrong,
            (Nature::Unsure, Row::Withheld { wrong }) => !wrong,
            (Nature::Sound | Nature::Unsure, Row::Unscannable(Code::WorkerDied)) => {
                // No more than the rule says: twice alone with a machine that went.
                self.deaths.get(&ordinal).copied().unwrap_or(0) >= 2
            }
            (Nature::Unscannable, Row::Unscannable(code)) => {
                code == Code::Damaged || code == Code::WorkerDied
            }
            (Nature::KillsWorker | Nature::KillsNode, Row::Unscannable(code)) => {
                code == Code::WorkerDied
            }
            (Nature::KillsDecoder, Row::Unscannable(code)) => {
                code == Code::DecodeCrash || code == Code::WorkerDied
            }
            (
                _,
                Row::Scored { .. }
                | Row::Escalated { .. }
                | Row::Withheld { .. }
                | Row::Unscannable(_),
            ) => false,
        }
    }
}

/// How many tracks a job has, and how they are cut.
fn plan(number: usize, mix: &Mix, dice: &mut Dice) -> ShardPlan {
    let many = dice.happens(2_000);
    let (rows, shards) = match (mix.large, mix.quiet, mix.regretful) {
        // Shards of one or two tracks: more of them than one transaction may change.
        (Some(Large::Many), ..) if number == 0 => ((400, 600), (1, 2)),
        // What one node takes in many small parts, some of them of two kinds.
        (Some(Large::Many), ..) => ((256, 384), (128, 128)),
        // Every second track of a shard goes on to the residual, and there is more to come.
        (Some(Large::Scattered), ..) => ((1_536, 2_048), (1_024, 1_024)),
        (None, true, _) => ((60, 160), (1, 16)),
        (None, false, true) => ((12, 40), (1, 16)),
        (None, false, false) if many => ((1, 120), (1, 16)),
        (None, false, false) => ((1, 30), (1, 16)),
    };
    let mut drawn = |(least, most)| u32::try_from(dice.between(least, most)).unwrap_or(1);
    ShardPlan {
        rows: drawn(rows),
        shard_tracks: drawn(shards),
    }
}

/// Whether a large job needs escalations to reach its bound.
const fn escalates(number: usize, mix: &Mix) -> bool {
    match mix.large {
        Some(Large::Many) => number > 0,
        Some(Large::Scattered) => true,
        None => false,
    }
}

fn nature(odds: &TrackOdds, both: bool, dice: &mut Dice) -> Nature {
    if dice.happens(odds.unscannable) {
        Nature::Unscannable
    } else if both && dice.happens(odds.unsure) {
        Nature::Unsure
    } else {
        Nature::Sound
    }
}

/// Which stages a job runs; half of those that run both have an escalation budget, of nothing, all or anything between.
fn policy(both: bool, dice: &mut Dice) -> Policy {
    let limited = both && dice.happens(5_000);
    let shares = [0, 100_000, 250_000, 500_000, Share::WHOLE];
    let drawn = limited.then(|| {
        let any = u32::try_from(dice.below(u64::from(Share::WHOLE))).unwrap_or(0);
        let share = dice.one_of(&shares).unwrap_or(0);
        if dice.happens(5_000) { any } else { share }
    });
    Policy {
        stages: if both { Stages::Both } else { Stages::Screen },
        max_escalation: drawn.and_then(|ppm| Share::new(ppm).ok()),
        ..Policy::default()
    }
}

/// What a job asks for; the first node has it all.
fn requires(mix: &Mix, dice: &mut Dice) -> Requirements {
    let mut asks = || dice.happens(mix.demanding);
    let (kind, memory, bundle) = (asks(), asks(), asks());
    let memory_bytes = if memory {
        dice.between(1, 8) * (MEMORY_MOST / 8)
    } else {
        0
    };
    Requirements {
        device: kind.then_some(DeviceKind::Cuda),
        memory_bytes,
        // A coordinator of the version before does not hear what is loaded.
        bundle_loaded: bundle && mix.rolled_back == 0,
    }
}

/// Every bundle that a job may name.
pub(crate) fn bundles() -> [Digest; 2] {
    [Digest::of(&[0]), Digest::of(&[1])]
}

/// The first is that of an installation that has only one.
pub(crate) fn tenant(number: usize) -> TenantId {
    match number {
        0 => TenantId::default(),
        _ => TenantId::new(format!("t{number}")).expect("a letter and digits name a tenant"),
    }
}

fn name(number: usize) -> JobId {
    JobId::new(format!("j{number}")).expect("a letter and digits name a job")
}

fn spec(key: &JobKey, plan: ShardPlan, bundle: Digest, policy: Policy) -> JobSpec {
    JobSpec {
        tenant: key.tenant.clone(),
        actor: ActorId::default(),
        job: key.job.clone(),
        generation: GENERATION,
        catalog: CatalogName::new("c").expect("a letter names a catalog"),
        list: Digest::of(b"list"),
        plan,
        bundle,
        policy,
        submitted_at: UnixMillis(1),
        retry: None,
    }
}

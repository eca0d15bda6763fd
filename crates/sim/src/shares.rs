//! The judge of shares, in a cluster to which nothing else happens: what tenants were given while all of them waited for more
//! is even, within the bound that the invariant names. And everywhere that of quotas.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::record::{Grant, JobState};
use scheduler::{JobKey, invariants};
use types::{NodeId, PullNo, Session, ShardId, Stage, Stages, TenantId, TrackSet};

use crate::asks::TRACK_US;
use crate::world::World;

/// What tenants were given since their backlogs began.
#[derive(Debug, Default)]
pub(crate) struct Span {
    waiting: BTreeSet<TenantId>,
    given_us: BTreeMap<TenantId, u64>,
    /// What each answer to a pull gave, also before: one is what a device may be ahead.
    answers_us: BTreeMap<(NodeId, Session, PullNo), u64>,
}

impl World {
    /// A grant has landed.
    pub(crate) fn note_share(&mut self, job: &JobKey, shard: ShardId, grant: &Grant) {
        if !self.mix.quiet {
            return;
        }
        let record = self.oracle.shards.get(&(job.clone(), shard));
        let covered = record.map(|record| record.covered()).unwrap_or_default();
        let tracks = TrackSet::from(grant.range).difference(&covered).len();
        let span = &mut self.oracle.span;
        let given = tracks * TRACK_US;
        *span.given_us.entry(job.tenant.clone()).or_default() += given;
        let answer = (grant.node.clone(), grant.session, grant.pull);
        *span.answers_us.entry(answer).or_default() += given;
    }

    /// The records have changed: a span ends when one more waits, or one less, and what it gave is judged.
    pub(crate) fn judge_shares(&mut self) {
        if !self.mix.quiet {
            return;
        }
        let waiting = self.waiting();
        if waiting == self.oracle.span.waiting {
            return;
        }
        self.log
            .line(self.now, format_args!("wait for more: {waiting:?}"));
        let begun = Span {
            waiting,
            answers_us: self.oracle.span.answers_us.clone(),
            ..Span::default()
        };
        let span = std::mem::replace(&mut self.oracle.span, begun);
        if span.waiting.len() < 2 {
            return;
        }
        let given = |tenant: &TenantId| span.given_us.get(tenant).copied().unwrap_or_default();
        let had: Vec<u64> = span.waiting.iter().map(given).collect();
        let devices: usize = self.agents.iter().map(|agent| agent.bench.len()).sum();
        let greatest_us = span.answers_us.values().copied().max().unwrap_or_default();
        let grants_us = greatest_us * devices as u64;
        self.tally.spans += 1;
        self.hold_to(invariants::shares_are_even(&had, grants_us), "a span ends");
    }

    /// The node that a grant is given to is what its job asks for, and runs the stage.
    pub(crate) fn judge_requirements(&mut self, job: &JobKey, shard: ShardId, grant: &Grant) {
        let Some(record) = self.oracle.jobs.get(job) else {
            return;
        };
        let (requires, bundle) = (record.requires, record.spec.bundle);
        let both = record.spec.policy.stages == Stages::Both;
        let stage = match shard {
            ShardId::Root(_) => Stage::Screen,
            ShardId::Escalation { .. } => Stage::Residual,
        };
        let mut named = self.agents.iter().filter(|one| one.node == grant.node);
        let meets = named.any(|one| {
            let kind = requires.device.is_none_or(|kind| kind == one.kind);
            let loads = !requires.bundle_loaded || one.claimed.contains(&bundle);
            kind && loads
                && one.memory_bytes >= requires.memory_bytes
                && one.stages.contains(&stage)
                && !(both && one.older)
        });
        self.hold(meets, "R", || {
            format!(
                "{} gets tracks of {job}/{shard}, which asks for {requires:?}",
                grant.node
            )
        });
    }

    /// No tenant holds more than its quotas. What a revocation frees within a live grant comes on top: no more than every
    /// node was once given.
    pub(crate) fn judge_quotas(&mut self) {
        let revoked = !self.oracle.revocations.is_empty();
        let freed = if revoked { self.agents.len() as u64 } else { 1 };
        let grants_most = u64::from(self.mix.grants_max);
        // Of a job with a budget a node is given a whole shard, where its tenant holds nothing.
        let wholes = self.truths.iter();
        let wholes = wholes.filter(|truth| truth.spec.policy.max_escalation.is_some());
        let whole = wholes
            .map(|truth| u64::from(truth.spec.plan.shard_tracks))
            .max();
        let tracks_most = match self.mix.tracks_max {
            0 => 0,
            most => most.max(whole.unwrap_or(0)) * freed,
        };
        if grants_most + tracks_most == 0 {
            return;
        }
        let open = |job: &JobKey| {
            let record = self.oracle.jobs.get(job);
            record.is_some_and(|record| record.state.is_open())
        };
        let mut held: BTreeMap<&TenantId, (u64, u64)> = BTreeMap::new();
        // What a closed job's records still list ended with the job.
        let shards = self.oracle.shards.iter().filter(|((job, _), _)| open(job));
        for ((job, shard), record) in shards {
            let extent = self.extent(job, *shard).unwrap_or_default();
            let free = extent.difference(&record.covered());
            let open = record
                .grants
                .iter()
                .map(|grant| free.len_within(grant.range));
            let (grants, tracks) = held.entry(&job.tenant).or_default();
            *grants += record.grants.len() as u64;
            *tracks += open.sum::<u64>();
        }
        let beyond = held.into_iter().find(|(_, (grants, tracks))| {
            let many = grants_most > 0 && *grants > grants_most;
            many || (tracks_most > 0 && *tracks > tracks_most)
        });
        let what = beyond.map(|(tenant, (grants, tracks))| {
            format!("tenant {tenant} holds {grants} grants of {tracks} tracks")
        });
        if let Some(what) = what {
            self.violated("I14", what);
        }
    }

    /// Tenants with tracks that nobody holds.
    fn waiting(&self) -> BTreeSet<TenantId> {
        let running = |job: &JobKey| {
            let state = self.oracle.jobs.get(job).map(|record| &record.state);
            state == Some(&JobState::Running)
        };
        let open = (self.truths.iter()).filter(|truth| running(&truth.key));
        let waits = open.filter(|truth| {
            let of_job = self
                .oracle
                .shards
                .iter()
                .filter(|((job, _), _)| *job == truth.key);
            let roots = of_job.filter(|((_, shard), _)| matches!(shard, ShardId::Root(_)));
            let taken = roots.fold(TrackSet::new(), |taken, (_, record)| {
                let held = record
                    .grants
                    .iter()
                    .map(|grant| TrackSet::from(grant.range));
                held.fold(taken.union(&record.covered()), |taken, held| {
                    taken.union(&held)
                })
            });
            taken.len() < truth.natures.len() as u64
        });
        waits.map(|truth| truth.key.tenant.clone()).collect()
    }
}

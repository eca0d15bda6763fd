//! What must be true of a history: while it runs, and at its end.

use super::History;
use scheduler::JobKey;
use scheduler::record::{JobState, PartKind, Progress, Totals};
use types::{DeviceUses, ShardId, TrackSet};

impl History {
    /// What must be true at the end.
    pub(super) fn judge(&self) {
        assert!(
            self.world.open_calls.is_empty(),
            "no answer: {:?}",
            self.world.open_calls
        );
        assert_eq!(self.world.store.shard_keys(), 0, "keys of closed jobs stay");
        self.world.judge_trail();
        for job in &self.jobs {
            let open = self.world.store.revocations(Progress::Open, job);
            assert!(open.is_empty(), "revocations stay open: {open:?}");
        }
        assert!(
            self.world.core.violations().is_empty(),
            "{:?}",
            self.world.core.violations()
        );
        for job in &self.jobs {
            let record = self.world.store.job(job).expect("jobs stay");
            let manifest = self.world.manifests.get(job);
            match record.state {
                JobState::Published(_) => {
                    assert!(
                        !self.cancelled.contains(job),
                        "{job} was cancelled and is published"
                    );
                    let manifest = manifest.expect("a published job has its manifest");
                    self.judge_manifest(job, manifest);
                    assert_eq!(
                        record.totals.expect("closed").done,
                        u64::from(record.spec.plan.rows)
                    );
                }
                JobState::Cancelled(_) => {
                    assert!(manifest.is_none(), "{job} is cancelled and has a manifest");
                    assert!(
                        self.world.marked.contains(job),
                        "{job} is cancelled without its marker"
                    );
                }
                JobState::Running | JobState::Paused | JobState::Publishing => {
                    panic!("{job} did not end: {:?}", record.state)
                }
            }
        }
    }

    /// P2: what an agent heard to count is in the result, escalation parts by the shard that they make. What parts used by node,
    /// device and stage is what they used.
    fn judge_manifest(&self, job: &JobKey, manifest: &scheduler::ManifestPlan) {
        let uses: DeviceUses = manifest.uses.iter().cloned().collect();
        assert_eq!(uses.sum(), manifest.totals.ledger, "{job}");
        for (of, shard, attempt, sha256) in &self.acknowledged {
            if of != job || self.may_be_revoked(job, *shard, sha256) {
                continue;
            }
            let same = |part: &scheduler::ManifestPart| part.sha256 == *sha256;
            let made = |part: &scheduler::ManifestPart| match part.shard {
                ShardId::Escalation {
                    root, attempt: by, ..
                } => root == shard.root() && by == *attempt,
                ShardId::Root(_) => false,
            };
            let found = manifest.parts.iter().any(|part| same(part) || made(part));
            assert!(
                found,
                "{job}: the counted part {sha256:?} of {shard}#{attempt} is not in the result"
            );
        }
    }

    /// I12: a leader that is not deposed holds what the store holds, wherever nothing is on its way.
    pub(super) fn judge_cache(&self) {
        let leads = self.world.core.leads();
        if leads.is_some_and(|epoch| epoch.0 == self.world.store.epoch) {
            let entries = self.world.store.all();
            self.world.core.agrees_with(&entries).expect("I12 holds");
        }
    }

    /// The running totals are those of a fresh count over the records.
    pub(super) fn judge_totals(&self) {
        for job in &self.jobs {
            let Some(view) = self
                .world
                .core
                .job(job)
                .filter(|view| view.record.totals.is_none())
            else {
                continue;
            };
            let mut counted = Totals {
                tracks: view.totals.tracks,
                shards: view.totals.shards,
                ..Totals::default()
            };
            for shard in self.world.core.shards(job) {
                let Some(record) = shard.record else {
                    continue;
                };
                let granted = record
                    .grants
                    .iter()
                    .map(|grant| TrackSet::from(grant.range));
                let granted = granted.fold(TrackSet::new(), |all, set| all.union(&set));
                counted.granted += granted
                    .intersection(&shard.extent)
                    .difference(&record.covered())
                    .len();
                counted.parts += record.parts.len() as u32;
                let root = matches!(shard.shard, ShardId::Root(_));
                counted.shards_done += u32::from(root && shard.covered == shard.extent.len());
                for part in &record.parts {
                    counted.ledger = counted.ledger.plus(part.ledger);
                    counted.verdicts = counted.verdicts.plus(part.verdicts);
                    if part.kind == PartKind::Terminal {
                        counted.done += part.tracks.len();
                    }
                }
            }
            assert_eq!(view.totals, counted, "{job}");
        }
    }
}

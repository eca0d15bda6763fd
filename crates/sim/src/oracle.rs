//! The judge: looks at every change that lands in the store, at what answers of coordinators promise and at every commit
//! that leaves an agent, and knows by itself what was promised. It keeps its own books and believes neither core's. Where an
//! invariant has a predicate, that is what judges. Beside it stand `answers`, `results`, `revoked`, `sweep`, `shares`,
//! `renewed`, `dropped`, `cache`, `bounds` and `restore`, each with one kind of evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use scheduler::record::{
    Grant, JobRecord, JobState, NodeRecord, Part, PartKind, Progress, RevocationRecord,
    ShardRecord, decode,
};
use scheduler::{JobKey, NodeKey, Op, RecordKey, RevocationKey, Txn, invariants};
use types::{Attempt, Digest, Epoch, Millis, NodeId, Ordinal, ShardId, TrackSet};

use crate::depot::PartPath;
use crate::shares::Span;
use crate::world::World;

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its id, as in docs/ARCHITECTURE.md or among the promises.
    pub id: String,
    /// What was seen.
    pub what: String,
}

/// The judge's books.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) jobs: BTreeMap<JobKey, JobRecord>,
    /// What records of jobs said last that have gone.
    pub(crate) dropped: BTreeMap<JobKey, JobRecord>,
    pub(crate) shards: BTreeMap<(JobKey, ShardId), ShardRecord>,
    pub(crate) nodes: BTreeMap<NodeKey, NodeRecord>,
    pub(crate) revocations: BTreeMap<RevocationKey, RevocationRecord>,
    /// Every attempt that was ever given, to whom, and how many had been before.
    pub(crate) attempts: BTreeMap<(JobKey, ShardId, Attempt), (NodeId, usize)>,
    /// How many attempts had been given when a revocation was stored.
    pub(crate) revoked_at: BTreeMap<RevocationKey, usize>,
    /// When an attempt ended, for those that did.
    pub(crate) ended: BTreeMap<(JobKey, ShardId, Attempt), Millis>,
    /// Every part that ever counted.
    pub(crate) counted: BTreeMap<JobKey, BTreeSet<Digest>>,
    /// Objects that were removed.
    pub(crate) collected: BTreeSet<PartPath>,
    /// Since when jobs publish, or are published.
    pub(crate) publishing_since: BTreeMap<JobKey, Millis>,
    /// What tenants were given while they waited.
    pub(crate) span: Span,
    /// Which part gave a track its terminal row.
    pub(crate) rows: BTreeMap<JobKey, BTreeMap<Ordinal, Digest>>,
    /// What was answered as counted.
    pub(crate) acknowledged: BTreeMap<JobKey, BTreeSet<Digest>>,
    pub(crate) violation: Option<Violation>,
}

impl Oracle {
    /// Notes what a part gives rows to, as it begins to count; how many had one before.
    pub(crate) fn note_row(&mut self, job: &JobKey, part: &Part) -> usize {
        self.counted
            .entry(job.clone())
            .or_default()
            .insert(part.sha256);
        if part.kind != PartKind::Terminal {
            return 0;
        }
        let rows = self.rows.entry(job.clone()).or_default();
        let tracks = part.tracks.iter();
        tracks.filter_map(|o| rows.insert(o, part.sha256)).count()
    }
}

impl World {
    /// Notes the first promise that did not hold.
    pub(crate) fn violated(&mut self, id: &str, what: String) {
        self.log
            .line(self.now, format_args!("! {id} does not hold: {what}"));
        let id = id.to_owned();
        self.oracle.violation.get_or_insert(Violation { id, what });
    }

    pub(crate) fn hold(&mut self, holds: bool, id: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(id, what());
        }
    }

    /// Notes what an invariant says of something, where it does not hold.
    pub(crate) fn hold_to(&mut self, judged: Result<(), invariants::Violation>, of: impl Display) {
        if let Err(violation) = judged {
            let id = violation.invariant.to_string();
            self.violated(&id, format!("{of}: {}", violation.what));
        }
    }

    /// A transaction has landed.
    pub(crate) fn judge_write(&mut self, txn: &Txn, leads: Option<Epoch>, sent: Millis) {
        self.tally.writes += 1;
        match leads {
            Some(leads) => {
                let judged = invariants::applied_in_its_reign(txn.epoch, leads);
                self.hold_to(judged, "a write lands");
            }
            None => self.violated(
                "I11",
                format!("a write of {} lands under nobody", txn.epoch),
            ),
        }
        for op in &txn.ops {
            match RecordKey::parse(self.generation, op.key()) {
                // What an old leader writes stands under a prefix that nobody reads.
                Err(_) if self.is_of_old(op.key()) => {}
                Ok(RecordKey::Job(job)) => self.judge_job(job, op),
                Ok(RecordKey::Node(node)) => self.judge_node(node, op),
                Ok(RecordKey::Shard(job, shard)) => self.judge_shard(job, shard, op, txn.epoch),
                Ok(RecordKey::Revocation(revocation)) => {
                    self.judge_revocation(revocation, op, sent);
                }
                Err(error) => self.violated("H5", error.to_string()),
            }
        }
        self.judge_cascade(txn);
        self.judge_shares();
        self.judge_quotas();
    }

    fn judge_job(&mut self, job: JobKey, op: &Op) {
        let Op::Put { value, .. } = op else {
            return self.judge_dropped(job);
        };
        let after: JobRecord = match decode(value) {
            Ok(record) => record,
            Err(error) => return self.violated("H5", format!("job {job}: {error}")),
        };
        let changes = invariants::job_change(self.oracle.jobs.get(&job), &after);
        self.hold_to(changes, format_args!("job {job}"));
        let own = invariants::job_is_its_tenants(&job, &after.spec);
        self.hold_to(own, "a job's record lands");
        match &after.state {
            JobState::Publishing => {
                self.judge_publishing(&job, &after);
                self.judge_unrevoked(&job);
                let now = self.now;
                self.oracle
                    .publishing_since
                    .entry(job.clone())
                    .or_insert(now);
            }
            JobState::Published(name) => {
                self.tally.published += 1;
                self.judge_published(&job, *name);
            }
            JobState::Cancelled(_) => {
                self.tally.cancelled += 1;
                let marked = self.depot.is_marked(&job);
                self.hold(marked, "I16", || {
                    format!("job {job} is cancelled without its marker")
                });
            }
            JobState::Running | JobState::Paused => {}
        }
        self.oracle.jobs.insert(job, after);
    }

    fn judge_node(&mut self, node: NodeKey, op: &Op) {
        let record: Option<NodeRecord> = match op {
            Op::Put { value, .. } => decode(value).ok(),
            Op::Delete { .. } => None,
        };
        let Some(after) = record else {
            return self.violated(
                "H5",
                format!("the record of node {node} is gone or damaged"),
            );
        };
        let before = self.oracle.nodes.get(&node).map(|record| record.session);
        self.hold(before.is_none_or(|old| after.session >= old), "I3", || {
            format!("node {node} goes back to session {}", after.session)
        });
        self.oracle.nodes.insert(node, after);
    }

    fn judge_shard(&mut self, job: JobKey, shard: ShardId, op: &Op, epoch: Epoch) {
        let Some(state) = self
            .oracle
            .jobs
            .get(&job)
            .map(|record| record.state.clone())
        else {
            return self.violated("P1", format!("shard {job}/{shard} of no job is written"));
        };
        let Op::Put { value, .. } = op else {
            self.hold(state.is_closed(), "H3", || {
                format!("the key of shard {job}/{shard} goes while its job is open")
            });
            self.oracle.shards.remove(&(job, shard));
            return;
        };
        self.hold(state.is_open(), "I16", || {
            format!("shard {job}/{shard} changes while its job is {state:?}")
        });
        let after: ShardRecord = match decode(value) {
            Ok(record) => record,
            Err(error) => return self.violated("H5", format!("shard {job}/{shard}: {error}")),
        };
        self.judge_change(&job, shard, &after, epoch);
        self.oracle.shards.insert((job, shard), after);
    }

    fn judge_change(&mut self, job: &JobKey, shard: ShardId, after: &ShardRecord, epoch: Epoch) {
        let stored = self.oracle.shards.get(&(job.clone(), shard)).cloned();
        let Some(extent) = self.extent(job, shard) else {
            return self.violated("I2", format!("shard {job}/{shard} does not exist"));
        };
        if let Err(error) = after.check() {
            self.violated("I4", format!("shard {job}/{shard}: {error}"));
        }
        let open = self.oracle.revocations.values();
        let open = open.filter(|by| by.progress == Progress::Open && by.jobs.contains(job));
        let revocations: Vec<&RevocationRecord> = open.collect();
        let before = stored.as_ref();
        let made_of = self.made_of(job, shard);
        let judged = [
            invariants::shard_change_under(before, after, &extent, epoch, &revocations),
            invariants::tombstone_is_revoked(before, after, made_of, &revocations),
            invariants::grants_are_in_house(job, after),
        ];
        for judged in judged {
            self.hold_to(judged, format_args!("shard {job}/{shard}"));
        }
        let before = before.cloned().unwrap_or_default();
        for grant in &after.grants {
            if before.grant(grant.attempt).is_none() {
                self.judge_grant(job, shard, grant);
            }
        }
        self.note_suspects(&before, after);
        self.note_dropped(job, &before, after);
        self.note_ended(job, shard, &before, after);
        for part in after
            .parts
            .iter()
            .filter(|part| !before.parts.contains(part))
        {
            self.judge_part(job, shard, part);
        }
    }

    /// The tracks of a shard that exists.
    pub(crate) fn extent(&self, job: &JobKey, shard: ShardId) -> Option<TrackSet> {
        match shard {
            ShardId::Root(root) => {
                let plan = self.oracle.jobs.get(job)?.spec.plan;
                plan.range(root).map(TrackSet::from)
            }
            ShardId::Escalation { .. } => {
                let made = self.made_of(job, shard);
                made.map(|part| part.tracks.clone())
            }
        }
    }

    /// The part that makes an escalation shard, where it counts.
    pub(crate) fn made_of(&self, job: &JobKey, shard: ShardId) -> Option<&Part> {
        let ShardId::Escalation {
            root,
            attempt,
            first,
        } = shard
        else {
            return None;
        };
        let root = (job.clone(), ShardId::Root(root));
        let made = |part: &&Part| {
            let named = (part.attempt, part.tracks.first()) == (attempt, Some(first));
            part.kind == PartKind::Escalation && named
        };
        self.oracle.shards.get(&root)?.parts.iter().find(made)
    }

    fn judge_grant(&mut self, job: &JobKey, shard: ShardId, grant: &Grant) {
        self.tally.grants += 1;
        let key = (job.clone(), shard, grant.attempt);
        let before = self.oracle.attempts.len() + 1;
        let given = (grant.node.clone(), before);
        let given = self.oracle.attempts.insert(key, given);
        self.hold(given.is_none(), "I3", || {
            format!("attempt {} of {job}/{shard} is given again", grant.attempt)
        });
        let state = self.oracle.jobs.get(job).map(|record| &record.state);
        let runs = state == Some(&JobState::Running);
        let what = format!("a track of {job} is granted while it is {state:?}");
        self.hold(runs, "I16", || what);
        self.judge_requirements(job, shard, grant);
        self.note_share(job, shard, grant);
    }

    /// A core counts what it refused to write: any is a bug.
    pub(crate) fn judge_core(&mut self, who: usize) {
        // Whose store was set back may see what no store shows.
        if self.is_of_the_past(who) {
            return;
        }
        let found = self.coordinators[who].core.violations();
        let found: Vec<String> = found.iter().map(|(id, n)| format!("{id}: {n}")).collect();
        let what = found.join(", ");
        self.hold(found.is_empty(), "core", || {
            format!("c{who} counted {what}")
        });
    }

    /// Jobs by the judge's books.
    pub(crate) fn is_closed(&self, job: &JobKey) -> bool {
        let record = self.record_of(job);
        record.is_some_and(|record| invariants::job_has_ended(record).is_ok())
    }
}

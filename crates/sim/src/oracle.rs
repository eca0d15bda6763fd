//! The judge: looks at every change that lands in the store, at every answer that leaves a coordinator and at every commit
//! that leaves an agent, and knows by itself what was promised. It keeps its own books and believes neither core's.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::GrantKey;
use scheduler::record::{
    Grant, JobRecord, JobState, ManifestName, NodeRecord, Part, PartKind, Progress,
    RevocationRecord, ShardRecord, decode,
};
use scheduler::{
    Answer, Caller, CommitOutcome, JobKey, ManifestPlan, NodeKey, Op, RecordKey, Request,
    RevocationKey, Txn, invariants,
};
use types::{Attempt, Digest, Epoch, Millis, NodeId, Ordinal, Problem, ShardId, TrackSet};

use crate::depot::{PartPath, path_generation};
use crate::shares::Span;
use crate::truth::Row;
use crate::world::World;

/// How long a grant lives without renewal, by what agents are told.
const GRANT_LIVES: types::Millis = scheduler::limits::GRANT_LIVES;

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its id, as in docs/ARCHITECTURE.md or among the promises.
    pub id: String,
    /// What was seen.
    pub what: String,
}

/// What a call's good answer would say.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    Commit(JobKey, Vec<Digest>),
    Cancel(JobKey),
    Submit(JobKey),
    Pull(NodeId),
    /// Names a job of another tenant.
    Foreign(types::JobId),
    Other,
}

impl Claim {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other calls promise nothing that lasts"
    )]
    pub(crate) fn of(caller: &Caller, request: &Request) -> Self {
        let key = |job: &types::JobId| JobKey {
            tenant: caller.tenant.clone(),
            job: job.clone(),
        };
        match request {
            Request::Commit(commit) => {
                let parts = commit.parts.iter().map(|part| part.sha256);
                Self::Commit(key(&commit.job), parts.collect())
            }
            Request::Cancel { job, .. } => Self::Cancel(key(job)),
            Request::Submit(submission) => Self::Submit(key(&submission.spec.job)),
            Request::Pull(pull) => Self::Pull(pull.node.clone()),
            _ => Self::Other,
        }
    }
}

/// The judge's books.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) jobs: BTreeMap<JobKey, JobRecord>,
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
    /// What a call's good answer would say, by what is true of the job that it names.
    pub(crate) fn claim(&self, caller: &Caller, request: &Request) -> Claim {
        let job = match request {
            Request::Cancel { job, .. }
            | Request::Pause { job }
            | Request::Resume { job }
            | Request::SetRank { job, .. } => Some(job),
            Request::Submit(_)
            | Request::Revoke(_)
            | Request::SetDuty { .. }
            | Request::Join(_)
            | Request::Pull(_)
            | Request::Beat(_)
            | Request::Commit(_)
            | Request::Leave { .. } => None,
        };
        match job.filter(|job| self.job_key(job).tenant != caller.tenant) {
            Some(job) => Claim::Foreign(job.clone()),
            None => match Claim::of(caller, request) {
                // An agent of the fleet names a job without saying whose it is.
                Claim::Commit(job, parts) => Claim::Commit(self.job_key(&job.job), parts),
                claim @ (Claim::Cancel(_)
                | Claim::Submit(_)
                | Claim::Pull(_)
                | Claim::Foreign(_)
                | Claim::Other) => claim,
            },
        }
    }

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

    /// A transaction has landed.
    pub(crate) fn judge_write(&mut self, txn: &Txn, leads: Option<Epoch>, sent: Millis) {
        self.tally.writes += 1;
        let led = leads.ok_or_else(|| format!("a write of epoch {} lands under nobody", txn.epoch));
        let judged = led.and_then(|leads| {
            let judged = invariants::applied_in_its_reign(txn.epoch, leads);
            judged.map_err(|violation| violation.what)
        });
        if let Err(what) = judged {
            self.violated("I11", what);
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
            return self.violated("P1", format!("the record of job {job} is removed"));
        };
        let after: JobRecord = match decode(value) {
            Ok(record) => record,
            Err(error) => return self.violated("H5", format!("job {job}: {error}")),
        };
        let before = self.oracle.jobs.get(&job).map(|record| &record.state);
        let allowed = allowed(before, &after.state);
        let what = format!("job {job} goes from {before:?} to {:?}", after.state);
        self.hold(allowed, "I16", || what);
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
                let marked = self.depot.marked.contains(&job);
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
        let before = self.oracle.shards.get(&(job.clone(), shard)).cloned();
        let Some(extent) = self.extent(job, shard) else {
            return self.violated("I2", format!("shard {job}/{shard} does not exist"));
        };
        if let Err(error) = after.check() {
            self.violated("I4", format!("shard {job}/{shard}: {error}"));
        }
        let open = self.oracle.revocations.values();
        let open = open.filter(|by| by.progress == Progress::Open && by.jobs.contains(job));
        let revocations: Vec<&RevocationRecord> = open.collect();
        let judged =
            invariants::shard_change_under(before.as_ref(), after, &extent, epoch, &revocations);
        if let Err(violation) = judged {
            let id = violation.invariant.to_string();
            self.violated(&id, format!("shard {job}/{shard}: {}", violation.what));
        }
        if let Err(violation) = invariants::grants_are_in_house(job, after) {
            self.violated("I10", violation.what);
        }
        let before = before.unwrap_or_default();
        for grant in &after.grants {
            if before.grant(grant.attempt).is_none() {
                self.judge_grant(job, shard, grant);
            }
        }
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
        self.note_share(job, shard, grant);
    }

    /// A part begins to count: its object is there, whole, sound, and each of its tracks has no row yet.
    fn judge_part(&mut self, job: &JobKey, shard: ShardId, part: &Part) {
        self.tally.commits += 1;
        let first = part.tracks.first().unwrap_or(0);
        let path = PartPath {
            generation: path_generation(self.generation),
            job: job.clone(),
            shard,
            attempt: part.attempt,
            first,
            sha256: part.sha256,
        };
        let name = format!("part {:?} of {job}/{shard}#{}", part.sha256, part.attempt);
        let counted = self.oracle.counted.entry(job.clone()).or_default();
        let new = counted.insert(part.sha256);
        self.hold(new, "I1", || format!("{name} counts twice"));
        let gone = self.oracle.collected.contains(&path);
        self.hold(!gone, "I7", || format!("{name} counts and was removed"));
        let Some(object) = self.depot.part(&path).cloned() else {
            return self.violated("I5", format!("{name} counts and is not in storage"));
        };
        let wrong = |(_, row): &(Ordinal, Row)| match row {
            Row::Scored { wrong } | Row::Escalated { wrong } => *wrong,
            Row::Unscannable(_) => false,
        };
        let sick = object.rows.iter().any(wrong);
        self.hold(!sick, "H7", || format!("{name} was made by a sick device"));
        let same = object.tracks == part.tracks && object.kind == part.kind;
        self.hold(same, "I5", || format!("{name} is recorded as another"));
        self.maybe_regretted(job, shard);
        if part.kind == PartKind::Terminal {
            let rows = self.oracle.rows.entry(job.clone()).or_default();
            let tracks = part.tracks.iter();
            let twice = tracks.filter_map(|o| rows.insert(o, part.sha256)).count();
            let done = rows.len() as u64;
            self.hold(twice == 0, "P1", || format!("{name} doubles {twice} rows"));
            let record = self.oracle.jobs.get(job);
            let all = record.map_or(0, |record| u64::from(record.spec.plan.rows));
            if done + 2 >= all {
                self.maybe_too_late(job);
            }
        }
    }

    /// From here on nothing may change: every track has its row, and every escalation shard is done.
    fn judge_publishing(&mut self, job: &JobKey, record: &JobRecord) {
        let rows = self.oracle.rows.get(job).map_or(0, BTreeMap::len);
        let all = record.spec.plan.rows;
        self.hold(rows as u64 == u64::from(all), "I16", || {
            format!("job {job} is to be published with {rows} of {all} rows")
        });
    }

    /// A manifest reaches storage.
    pub(crate) fn judge_manifest(&mut self, plan: &ManifestPlan) {
        let job = &plan.job;
        let state = self.oracle.jobs.get(job).map(|record| &record.state);
        // An old leader's stands in paths that nobody reads.
        let old = plan.generation != self.generation;
        let publishes = old || matches!(state, Some(JobState::Publishing | JobState::Published(_)));
        let what = format!("a manifest of job {job} is put while it is {state:?}");
        self.hold(publishes, "I16", || what);
    }

    fn judge_published(&mut self, job: &JobKey, name: ManifestName) {
        let Some(plan) = self.depot.manifest(job, name).cloned() else {
            return self.violated(
                "I9",
                format!("job {job} names a manifest that is not there"),
            );
        };
        if let Err(violation) = invariants::manifest_is_whole(&plan) {
            self.violated("I9", format!("manifest of {job}: {}", violation.what));
        }
        self.judge_rows(job, &plan);
        let named: BTreeSet<Digest> = plan.parts.iter().map(|part| part.sha256).collect();
        let rows = self.oracle.rows.get(job);
        let counted: BTreeSet<Digest> = rows.into_iter().flatten().map(|(_, d)| *d).collect();
        self.hold(named == counted, "I9", || {
            format!("the manifest of {job} names other parts than those that count")
        });
    }

    /// Each track has one row in the objects that the manifest names, and the row that it deserves.
    fn judge_rows(&mut self, job: &JobKey, plan: &ManifestPlan) {
        let Some(truth) = self.truths.iter().find(|truth| truth.key == *job).cloned() else {
            return self.violated("P1", format!("job {job} was never submitted"));
        };
        let mut seen = TrackSet::new();
        for part in &plan.parts {
            let first = part.tracks.first().unwrap_or(0);
            let path = PartPath {
                generation: path_generation(plan.generation),
                job: job.clone(),
                shard: part.shard,
                attempt: part.attempt,
                first,
                sha256: part.sha256,
            };
            let Some(object) = self.depot.part(&path).cloned() else {
                return self.violated("I5", format!("{:?} of {job} is missing", part.sha256));
            };
            for (ordinal, row) in &object.rows {
                let one = TrackSet::from_iter([*ordinal]);
                self.hold(!seen.intersects(&one), "P1", || {
                    format!("track {ordinal} of {job} is in the result twice")
                });
                seen = seen.union(&one);
                self.hold(truth.deserves(*ordinal, *row), "I13", || {
                    let nature = truth.nature(*ordinal);
                    format!("track {ordinal} of {job}, {nature:?}, ends as {row:?}")
                });
            }
        }
        let rows = seen.len();
        self.hold(rows == truth.natures.len() as u64, "P1", || {
            format!(
                "the result of {job} has {rows} of {} rows",
                truth.natures.len()
            )
        });
    }

    /// An answer leaves a coordinator: what it says is stored.
    pub(crate) fn judge_answer(&mut self, claim: &Claim, answer: &Result<Answer, Problem>) {
        match (claim, answer) {
            (Claim::Commit(job, parts), Ok(Answer::Committed(committed)))
                if committed.outcome != CommitOutcome::Superseded =>
            {
                self.judge_acknowledged(job, parts);
            }
            (Claim::Cancel(job), Ok(_)) => {
                let state = self.oracle.jobs.get(job).map(|record| &record.state);
                let cancelled = matches!(state, Some(JobState::Cancelled(_)));
                let what = format!("job {job} is said to be cancelled and is {state:?}");
                self.hold(cancelled, "H4", || what);
            }
            (Claim::Submit(job), Ok(_)) => {
                let there = self.oracle.jobs.contains_key(job);
                self.hold(there, "H4", || {
                    format!("job {job} is said to be accepted and has no record")
                });
            }
            (Claim::Foreign(job), Ok(_)) => {
                self.violated("I10", format!("another tenant changes job {job}"));
            }
            (Claim::Pull(node), Ok(Answer::Pulled(pulled))) => {
                for granted in &pulled.grants {
                    let key = (granted.job.clone(), granted.shard, granted.attempt);
                    let given = self.oracle.attempts.get(&key).map(|(node, _)| node) == Some(node);
                    self.hold(given, "H4", || {
                        format!("{}/{}#{} was never given to {node}", key.0, key.1, key.2)
                    });
                }
            }
            _ => {}
        }
    }

    fn judge_acknowledged(&mut self, job: &JobKey, parts: &[Digest]) {
        let counted = self.oracle.counted.entry(job.clone()).or_default();
        let lost = parts.iter().filter(|part| !counted.contains(part)).count();
        let acknowledged = self.oracle.acknowledged.entry(job.clone()).or_default();
        acknowledged.extend(parts);
        self.hold(lost == 0, "P2", || {
            format!("a commit to {job} is acknowledged and counts nowhere")
        });
    }

    /// An agent sends a commit: only while its grant is known to live.
    pub(crate) fn judge_commit_time(&mut self, who: usize, grant: &GrantKey) {
        let one = &self.agents[who];
        let renewed = one.renewed.get(grant).copied();
        let now = one.shown(self.now);
        if let Err(violation) = invariants::commit_is_renewed(now, renewed, GRANT_LIVES) {
            self.violated("I19", format!("a{who}: {}", violation.what));
        }
    }

    /// A core counts what it refused to write: any is a bug.
    pub(crate) fn judge_core(&mut self, who: usize) {
        let found = self.coordinators[who].core.violations();
        let found: Vec<String> = found.iter().map(|(id, n)| format!("{id}: {n}")).collect();
        let what = found.join(", ");
        self.hold(found.is_empty(), "core", || {
            format!("c{who} counted {what}")
        });
    }

    /// Jobs by the judge's books.
    pub(crate) fn is_closed(&self, job: &JobKey) -> bool {
        let record = self.oracle.jobs.get(job);
        record.is_some_and(|record| record.state.is_closed())
    }
}

/// The life of a job, as a table.
fn allowed(before: Option<&JobState>, after: &JobState) -> bool {
    use JobState::{Cancelled, Paused, Published, Publishing, Running};
    match (before, after) {
        (None, Running) => true,
        (Some(Running), Running | Paused | Publishing | Cancelled(_)) => true,
        (Some(Paused), Running | Paused | Cancelled(_)) => true,
        (Some(Publishing), Published(_)) => true,
        (None | Some(_), _) => false,
    }
}

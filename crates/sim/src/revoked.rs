//! The judge of revocations: what is dropped is covered by an open one, with its escalation shards; and no job begins to
//! publish with anything that a stored one covers, nor can while an intent is on its way.

use std::collections::BTreeSet;

use scheduler::record::{Part, Progress, RevocationRecord, ShardRecord, Standing, decode};
use scheduler::{JobKey, Op, RecordKey, RevocationKey, Txn};
use types::{Millis, ShardId};

use crate::world::World;

impl World {
    /// A revocation's record lands: an object says the same, and where it opens, no job that it names has begun to publish
    /// since it was sent.
    pub(crate) fn judge_revocation(&mut self, revocation: RevocationKey, op: &Op, sent: Millis) {
        let record: Option<RevocationRecord> = match op {
            Op::Put { value, .. } => decode(value).ok(),
            Op::Delete { .. } => None,
        };
        let Some(record) = record else {
            return self.violated("H5", format!("revocation {revocation} is gone or damaged"));
        };
        let marked = self.depot.is_revoked(&revocation);
        self.hold(marked, "H7", || {
            format!("revocation {revocation} is stored without its object")
        });
        let new = !self.oracle.revocations.contains_key(&revocation);
        let opens = new && record.progress == Progress::Open;
        let late = |job: &&JobKey| {
            let since = self.oracle.publishing_since.get(*job);
            since.is_some_and(|since| *since > sent)
        };
        let raced = record.jobs.iter().find(late).cloned();
        if let Some(job) = raced.filter(|_| opens) {
            let what = format!("{revocation} lands after {job}, which it names, began to publish");
            self.violated("I1", what);
        }
        if record.progress == Progress::Closed {
            self.judge_closed(&revocation, &record);
        }
        if new {
            self.tally.revocations += 1;
            let given = self.oracle.attempts.len();
            self.oracle.revoked_at.insert(revocation.clone(), given);
        }
        self.oracle.revocations.insert(revocation, record);
    }

    /// A revocation closes: no open job holds what it covers.
    fn judge_closed(&mut self, revocation: &RevocationKey, record: &RevocationRecord) {
        let mut shards = self.oracle.shards.iter();
        let held = shards.find(|((job, _), shard)| {
            let state = self.oracle.jobs.get(job).map(|job| &job.state);
            let open = state.is_some_and(scheduler::record::JobState::is_open);
            open && record.jobs.contains(job) && shard.parts.iter().any(|part| record.covers(part))
        });
        let held = held.map(|((job, shard), _)| format!("{job}/{shard}"));
        if let Some(held) = held {
            let what = format!("{revocation} closes while {held} holds what it covers");
            self.violated("I1", what);
        }
    }

    /// A job begins to publish: nothing of it is covered by a stored revocation.
    pub(crate) fn judge_unrevoked(&mut self, job: &JobKey) {
        let of_job = (self.oracle.shards.iter()).filter(|((of, _), _)| of == job);
        let mut parts = of_job.flat_map(|((_, id), shard)| shard.parts.iter().map(|p| (*id, p)));
        let covered = parts.find(|(shard, part)| {
            let attempt = (job.clone(), *shard, part.attempt);
            let given = self.oracle.attempts.get(&attempt).map_or(0, |(_, at)| *at);
            let mut revocations = self.oracle.revocations.iter();
            // A node's clock may step back: what was granted after is made after, whatever it shows.
            revocations.any(|(key, by)| {
                by.covers(part)
                    && self
                        .oracle
                        .revoked_at
                        .get(key)
                        .is_none_or(|at| given <= *at)
            })
        });
        let what =
            covered.map(|(_, part)| format!("job {job} publishes {:?}, revoked", part.sha256));
        if let Some(what) = what {
            self.violated("I1", what);
        }
    }

    /// Parts that a change drops: their rows count no more.
    pub(crate) fn note_dropped(&mut self, job: &JobKey, before: &ShardRecord, after: &ShardRecord) {
        let stays = |part: &&Part| after.parts.contains(part);
        let dropped: Vec<&Part> = before.parts.iter().filter(|part| !stays(part)).collect();
        let rows = self.oracle.rows.entry(job.clone()).or_default();
        for part in &dropped {
            rows.retain(|_, by| *by != part.sha256);
        }
        self.tally.dropped += dropped.len() as u64;
    }

    /// What falls with an escalation part: its shard, in the same transaction.
    pub(crate) fn judge_cascade(&mut self, txn: &Txn) {
        let keys = txn
            .ops
            .iter()
            .map(|op| RecordKey::parse(self.generation, op.key()));
        let jobs: BTreeSet<JobKey> = keys
            .filter_map(|key| match key {
                Ok(RecordKey::Shard(job, _)) => Some(job),
                Ok(RecordKey::Job(_) | RecordKey::Node(_) | RecordKey::Revocation(_)) | Err(_) => {
                    None
                }
            })
            .collect();
        let open = |job: &JobKey| {
            let record = self.oracle.jobs.get(job);
            record.is_some_and(|record| record.state.is_open())
        };
        let open: Vec<JobKey> = jobs.into_iter().filter(open).collect();
        for job in open {
            self.judge_escalations(&job);
        }
    }

    /// Each escalation shard that is not a tombstone is made by a part that counts.
    fn judge_escalations(&mut self, job: &JobKey) {
        let range = (job.clone(), ShardId::Root(0))..;
        let of_job = self.oracle.shards.range(range);
        let of_job = of_job.take_while(|((of, _), _)| of == job);
        let mut live = of_job.filter(|(_, record)| record.standing == Standing::Live);
        let lost = live.find(|((_, shard), _)| !self.is_made(job, *shard));
        let what =
            lost.map(|((_, shard), _)| format!("shard {job}/{shard} stays without its part"));
        if let Some(what) = what {
            self.violated("I1", what);
        }
    }

    fn is_made(&self, job: &JobKey, shard: ShardId) -> bool {
        let root = matches!(shard, ShardId::Root(_));
        root || self.made_of(job, shard).is_some()
    }

    /// Whether every revocation has been carried out.
    pub(crate) fn all_revoked(&self) -> bool {
        let mut revocations = self.oracle.revocations.values();
        revocations.all(|record| record.progress == Progress::Closed)
    }
}

//! How a changed record becomes a unit of writing: with its key, its guard at the revision last read, and the job
//! record it rests on. Every change of a shard passes the invariants here before it may leave.

use crate::desk::{Change, JobGuard, Record, Unit};
use crate::invariants::{self, Seen, says};
use crate::key::RecordKey;
use crate::mutants;
use crate::record::{self, JobRecord, NodeRecord, Part, ShardRecord};
use crate::reign::Reign;
use crate::revoking::made_shard;
use crate::state::{Job, JobNo, NodeNo, Slot};
use alloc::boxed::Box;
use alloc::vec::Vec;
use types::{Code, Problem, ShardId};

impl Reign {
    fn job_guard(&self, no: JobNo) -> Option<JobGuard> {
        let job = self.jobs.get(&no)?;
        Some(JobGuard {
            job: no,
            path: job.key.path(self.generation),
            revision: job.stored.as_ref()?.revision,
        })
    }

    /// A change of a job's record.
    pub(crate) fn job_unit(&self, no: JobNo, record: JobRecord) -> Option<Unit> {
        let job = self.jobs.get(&no)?;
        let change = Change {
            slot: Slot::Job(no),
            path: job.key.path(self.generation),
            guard: job.stored.as_ref().map(|stored| stored.revision),
            value: Some(record::encode(&record)),
            says: says(job.record().map(Seen::Job), Some(Seen::Job(&record))),
            record: Record::Job(Box::new(record)),
        };
        Some(Unit::one(change, None))
    }

    /// A change of a node's record.
    pub(crate) fn node_unit(&self, no: NodeNo, record: NodeRecord) -> Option<Unit> {
        let node = self.nodes.get(&no)?;
        let change = Change {
            slot: Slot::Node(no),
            path: RecordKey::Node(node.key.clone()).path(self.generation),
            guard: node.stored.as_ref().map(|stored| stored.revision),
            value: Some(record::encode(&record)),
            says: says(node.record().map(Seen::Node), Some(Seen::Node(&record))),
            record: Record::Node(Box::new(record)),
        };
        Some(Unit::one(change, None))
    }

    /// A change of a shard's record.
    ///
    /// # Errors
    /// `INTERNAL` where the change would break an invariant: it is counted and not written.
    pub(crate) fn shard_unit(
        &mut self,
        no: JobNo,
        shard: ShardId,
        record: ShardRecord,
    ) -> Result<Unit, Problem> {
        let unit = self.checked_unit(no, shard, record);
        unit.map_err(|violation| {
            let what = alloc::format!("change shard `{shard}`: {violation}");
            self.count_broken(Err(violation));
            Problem::new(Code::Internal, what)
        })
    }

    fn checked_unit(
        &self,
        no: JobNo,
        shard: ShardId,
        record: ShardRecord,
    ) -> Result<Unit, invariants::Violation> {
        let lost = || invariants::Violation::internal("the job of a changed shard is known");
        let job = self.jobs.get(&no).ok_or_else(lost)?;
        let stored = job.shards.get(&shard).map(|shard| &shard.stored);
        let extent = job.extent(shard).ok_or_else(lost)?;
        let before = stored.map(|stored| &stored.record);
        let revocations = self.open_revocations(no);
        if !mutants::any() {
            invariants::shard_change_under(before, &record, &extent, self.epoch, &revocations)?;
            invariants::grants_are_in_house(&job.key, &record)?;
            let made_of = job.made_of(shard);
            invariants::tombstone_is_revoked(before, &record, made_of, &revocations)?;
        }
        let change = Change {
            slot: Slot::Shard(no, shard),
            path: job.key.shard_path(self.generation, shard),
            guard: stored.map(|stored| stored.revision),
            value: Some(record::encode_shard(&record, self.config.shard_form)),
            says: says(before.map(Seen::Shard), Some(Seen::Shard(&record))),
            record: Record::Shard(Box::new(record)),
        };
        let guard = self.job_guard(no).ok_or_else(lost)?;
        Ok(Unit::one(change, Some(guard)))
    }

    /// The removal of a closed job's shard key.
    pub(crate) fn removal_unit(&self, no: JobNo, shard: ShardId) -> Option<Unit> {
        let job = self.jobs.get(&no)?;
        let change = Change {
            slot: Slot::Shard(no, shard),
            path: job.key.shard_path(self.generation, shard),
            guard: Some(job.shards.get(&shard)?.stored.revision),
            value: None,
            says: Vec::new(),
            record: Record::Gone,
        };
        Some(Unit::one(change, Some(self.job_guard(no)?)))
    }

    /// The stored record of a shard, or the empty one of a shard that has no key yet.
    pub(crate) fn shard_record(&self, no: JobNo, shard: ShardId) -> ShardRecord {
        let Some(job) = self.jobs.get(&no) else {
            return ShardRecord::default();
        };
        match job.shards.get(&shard) {
            Some(shard) => shard.stored.record.clone(),
            None => ShardRecord {
                escalation: job.escalations.get(&shard).map(|part| part.sha256),
                ..ShardRecord::default()
            },
        }
    }
}

impl Job {
    /// The part that makes an escalation shard, where its root's record names it.
    fn made_of(&self, shard: ShardId) -> Option<&Part> {
        let root = self.shards.get(&ShardId::Root(shard.root()))?;
        let parts = &root.stored.record.parts;
        parts
            .iter()
            .find(|part| made_shard(ShardId::Root(shard.root()), part) == Some(shard))
    }
}

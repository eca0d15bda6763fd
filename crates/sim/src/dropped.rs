//! The judge of records that nobody needs any more: a job's goes only once it is closed, after those of its shards, and only
//! where more jobs are known than are kept. What is promised of a job holds on when its record has gone.

use scheduler::record::JobRecord;
use scheduler::{JobKey, Request, invariants};

use crate::world::World;

impl World {
    /// What the record of a job says, or said last.
    pub(crate) fn record_of(&self, job: &JobKey) -> Option<&JobRecord> {
        let books = &self.oracle;
        books.jobs.get(job).or_else(|| books.dropped.get(job))
    }

    /// The record of a job goes.
    pub(crate) fn judge_dropped(&mut self, job: JobKey) {
        let known = self.oracle.jobs.len() + self.on_their_way();
        let Some(record) = self.oracle.jobs.remove(&job) else {
            return self.violated("P1", format!("the record of {job} goes and was not there"));
        };
        self.tally.trimmed += 1;
        let kept = self.mix.policy().jobs_kept;
        self.hold(known > kept, "P1", || {
            format!("the record of {job} goes, one of {known}, of which {kept} are kept")
        });
        self.hold_to(
            invariants::job_has_ended(&record),
            format_args!("the record of {job} goes"),
        );
        let shards = self.oracle.shards.keys().filter(|(of, _)| *of == job);
        let shards = shards.count();
        self.hold(shards == 0, "P1", || {
            format!("the record of {job} goes before those of {shards} shards")
        });
        self.oracle.dropped.insert(job, record);
    }

    /// Jobs whose submit may have reached a coordinator, and not yet the store.
    fn on_their_way(&self) -> usize {
        let submitted = self.truths.iter().take(self.operators.submitted);
        let unknown = submitted.filter(|truth| self.record_of(&truth.key).is_none());
        unknown.count()
    }

    /// Whether a request submits a job whose record has come and gone: a copy that somebody has kept for longer than the
    /// coordinators keep jobs, which they could not tell from a new one. Nobody does.
    pub(crate) fn is_outlived(&self, request: &Request) -> bool {
        let Request::Submit(submission) = request else {
            return false;
        };
        let (tenant, job) = (&submission.spec.tenant, &submission.spec.job);
        let mut dropped = self.oracle.dropped.keys();
        dropped.any(|key| (&key.tenant, &key.job) == (tenant, job))
    }
}

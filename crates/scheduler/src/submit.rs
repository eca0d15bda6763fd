//! Submitting, pausing and resuming: one write of the job's record each. A job costs one record whatever its size,
//! since its shards are arithmetic on row counts.

use crate::desk::Asked;
use crate::event::{Caller, Submission};
use crate::limits::JOBS_MAX;
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::record::{JobRecord, JobState, Lane};
use crate::reign::{Reign, Step, Turn};
use crate::state::{JobNo, Slot};
use crate::{Answer, JobKey};
use alloc::format;
use alloc::vec;
use types::{Code, JobId, SHARD_TRACKS_MAX, Stages, UnixMillis};

/// Lane, priority and deadline, each only where it is to change.
type Rank = (Option<Lane>, Option<i32>, Option<UnixMillis>);

impl Reign {
    pub(crate) fn submit(&mut self, asked: &Asked, submission: &Submission) -> Step {
        let spec = &submission.spec;
        let key = JobKey {
            tenant: asked.caller.tenant.clone(),
            job: spec.job.clone(),
        };
        if let Err(what) = self.spec_fits(&asked.caller, submission) {
            return Step::refuse(Code::InvalidRequest, format!("submit job `{key}`: {what}"));
        }
        if let Some(no) = self.job_no(&key) {
            return self.submitted_before(no, &key, submission);
        }
        if self.is_name_of_other(&key) {
            let what =
                format!("submit job `{key}`: names of jobs are issued and this one is taken");
            return Step::refuse(Code::AlreadyExists, what);
        }
        if self.jobs.len() >= JOBS_MAX {
            return Step::refuse(
                Code::Overloaded,
                format!("submit job `{key}`: {JOBS_MAX} jobs are kept"),
            );
        }
        let record = JobRecord {
            spec: spec.clone(),
            spec_sha256: submission.spec_sha256,
            state: JobState::Running,
            lane: submission.lane,
            priority: submission.priority,
            changed_by: asked.caller.actor.clone(),
            changed_at: asked.at,
            totals: None,
            deadline: submission.deadline,
            requires: submission.requires,
        };
        let no = self.job_entry(&key);
        Step::Write(self.job_unit(no, record).into_iter().collect())
    }

    fn spec_fits(&self, caller: &Caller, submission: &Submission) -> Result<(), &'static str> {
        let spec = &submission.spec;
        let rules = [
            (
                spec.tenant == caller.tenant,
                "the specification is of another tenant",
            ),
            (
                spec.generation == self.generation,
                "the specification is of another generation",
            ),
            (spec.plan.rows > 0, "the list has no rows"),
            (spec.plan.shard_tracks > 0, "a shard has no tracks"),
            (
                spec.policy.stages == Stages::Both || spec.policy.max_escalation.is_none(),
                "an escalation budget is one of both stages",
            ),
            (
                spec.plan.shard_tracks <= SHARD_TRACKS_MAX,
                "a shard has more than 1,024 tracks",
            ),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, what)| Err(*what))
    }

    fn submitted_before(&self, no: JobNo, key: &JobKey, submission: &Submission) -> Step {
        // A stored record is believed whatever it waits for: one that is being removed would else be submitted anew.
        let Some(record) = self.jobs.get(&no).and_then(|job| job.record()) else {
            return Step::Wait(Slot::Job(no));
        };
        if record.spec_sha256 != submission.spec_sha256 {
            let what = format!("submit job `{key}`: another job has this name");
            return Step::refuse(Code::AlreadyExists, what);
        }
        Step::Answer(Ok(Answer::Submitted {
            job: key.clone(),
            existing: true,
        }))
    }

    pub(crate) fn pause(&mut self, asked: &Asked, job: &JobId) -> Step {
        self.switch(asked, job, &JobState::Paused)
    }

    pub(crate) fn resume(&mut self, asked: &Asked, job: &JobId) -> Step {
        self.switch(asked, job, &JobState::Running)
    }

    fn switch(&mut self, asked: &Asked, job: &JobId, to: &JobState) -> Step {
        let no = match self.open_job(asked, job) {
            Ok(no) => no,
            Err(step) => return step,
        };
        let Some(record) = self.jobs.get(&no).and_then(|job| job.record()) else {
            return Step::Wait(Slot::Job(no));
        };
        if record.state == *to {
            return Step::Answer(Ok(self.changed(no, true)));
        }
        let record = JobRecord {
            state: to.clone(),
            changed_by: asked.caller.actor.clone(),
            changed_at: asked.at,
            ..record.clone()
        };
        self.job_unit(no, record)
            .map_or_else(|| Step::Wait(Slot::Job(no)), |unit| Step::Write(vec![unit]))
    }

    /// Changes where an open job stands in line.
    pub(crate) fn set_rank(&mut self, asked: &Asked, job: &JobId, rank: Rank) -> Step {
        let no = match self.open_job(asked, job) {
            Ok(no) => no,
            Err(step) => return step,
        };
        let Some(record) = self.jobs.get(&no).and_then(|job| job.record()) else {
            return Step::Wait(Slot::Job(no));
        };
        let (lane, priority, deadline) = rank;
        let after = JobRecord {
            lane: lane.unwrap_or(record.lane),
            priority: priority.unwrap_or(record.priority),
            deadline: deadline.or(record.deadline),
            ..record.clone()
        };
        if after == *record {
            return Step::Answer(Ok(self.changed(no, true)));
        }
        let changed = JobRecord {
            changed_by: asked.caller.actor.clone(),
            changed_at: asked.at,
            ..after
        };
        self.job_unit(no, changed)
            .map_or_else(|| Step::Wait(Slot::Job(no)), |unit| Step::Write(vec![unit]))
    }

    /// The job's number, where it is known and its record may change; else what to do with the call.
    pub(crate) fn open_job(&self, asked: &Asked, job: &JobId) -> Result<JobNo, Step> {
        let no = self.known_job(asked, job)?;
        let state = self
            .jobs
            .get(&no)
            .and_then(|job| job.record())
            .map(|r| &r.state);
        match state {
            Some(state) if !state.is_open() => {
                Err(Step::refuse(Code::JobClosed, format!("change job `{job}`")))
            }
            Some(_) | None => Ok(no),
        }
    }

    /// The job's number, where it is known and its record is not being written.
    pub(crate) fn known_job(&self, asked: &Asked, job: &JobId) -> Result<JobNo, Step> {
        let key = JobKey {
            tenant: asked.caller.tenant.clone(),
            job: job.clone(),
        };
        let no = self.job_no(&key);
        #[cfg(feature = "mutants")]
        let no = no.or_else(|| {
            let tricked = mutants::on(Mutant::TenantUnchecked);
            self.job_ids.get(job).copied().filter(|_| tricked)
        });
        let no = no.ok_or_else(|| Step::refuse(Code::NotFound, format!("find job `{key}`")))?;
        if self.desk.is_dirty(Slot::Job(no)) {
            return Err(Step::Wait(Slot::Job(no)));
        }
        Ok(no)
    }

    /// Where a job stands, as an answer.
    pub(crate) fn changed(&self, no: JobNo, existing: bool) -> Answer {
        let job = self
            .jobs
            .get(&no)
            .expect("a job that was just found is there");
        let record = job.record().expect("a clean job is stored");
        Answer::Changed {
            job: job.key.clone(),
            state: record.state.clone(),
            existing,
        }
    }

    /// What entering a state begins.
    pub(crate) fn entered(&mut self, turn: &mut Turn<'_>, no: JobNo, state: &JobState) {
        match state {
            JobState::Running | JobState::Paused => {}
            JobState::Publishing => self.write_manifest(turn, no),
            JobState::Published(_) | JobState::Cancelled(_) => {
                self.drop_job_holdings(no);
                self.remove_keys(no);
            }
        }
    }
}

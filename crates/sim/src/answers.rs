//! The judge of what processes say: what a good answer of a coordinator promises is stored when it leaves, and an agent asks for
//! a part to be counted only under a grant that it knows to live.

use agent_core::GrantKey;
use scheduler::record::JobState;
use scheduler::{Answer, Caller, CommitOutcome, JobKey, Request, invariants};
use types::{Digest, Millis, NodeId, Problem};

use crate::world::World;

/// How long a grant lives without renewal, by what agents are told.
const GRANT_LIVES: Millis = scheduler::limits::GRANT_LIVES;

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

    /// An answer leaves a coordinator: what it says is stored.
    pub(crate) fn judge_answer(&mut self, claim: &Claim, answer: &Result<Answer, Problem>) {
        match (claim, answer) {
            (Claim::Commit(job, parts), Ok(Answer::Committed(committed)))
                if committed.outcome != CommitOutcome::Superseded =>
            {
                self.judge_acknowledged(job, parts);
            }
            (Claim::Cancel(job), Ok(_)) => {
                let state = self.record_of(job).map(|record| &record.state);
                let cancelled = matches!(state, Some(JobState::Cancelled(_)));
                let what = format!("job {job} is said to be cancelled and is {state:?}");
                self.hold(cancelled, "H4", || what);
            }
            (Claim::Submit(job), Ok(_)) => {
                let there = self.record_of(job).is_some();
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
        let judged = invariants::commit_is_renewed(now, renewed, GRANT_LIVES);
        self.hold_to(judged, format_args!("a{who}"));
    }
}

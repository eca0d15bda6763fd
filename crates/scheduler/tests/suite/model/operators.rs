//! What operators do in a history: pauses, ranks, duties, cancels and revocations, at any moment.

use super::{Asked, History};
use crate::world::agent::revoke;
use scheduler::record::{Duty, Lane};
use scheduler::{JobKey, Request};
use types::{Digest, JobId, ShardId, UnixMillis};

impl History {
    pub(super) fn operator(&mut self, a: usize, b: usize) {
        let job = self.jobs[a % self.jobs.len()].clone();
        let name: JobId = job.job.clone();
        match b % 16 {
            0..=2 => self.call_for(&job, Asked::Other, Request::Pause { job: name }),
            3..=10 => self.call_for(&job, Asked::Other, Request::Resume { job: name }),
            12 => self.revoke(a, b),
            13 => self.call_for(
                &job,
                Asked::Other,
                Request::SetRank {
                    job: name,
                    lane: Some([Lane::Interactive, Lane::Ingest, Lane::Batch][a % 3]),
                    priority: Some((a % 5) as i32),
                    deadline: (a % 2 == 1).then_some(UnixMillis(a as i64)),
                },
            ),
            14 => {
                let agent = &self.agents[a % self.agents.len()];
                let duty = [Duty::Serving, Duty::Cordoned, Duty::Draining][(a / 8) % 3];
                let node = crate::world::node(&agent.name);
                self.call(Asked::Other, Request::SetDuty { node, duty });
            }
            11 if a.is_multiple_of(2) => {
                let request = Request::Cancel {
                    job: name,
                    reason: "test".into(),
                };
                self.call_for(&job, Asked::Cancel(job.clone()), request);
            }
            _ => {
                let at = a % self.agents.len();
                let agent = &self.agents[at];
                let node = crate::world::node(&agent.name);
                let request = Request::Leave {
                    node,
                    session: agent.session,
                };
                self.call(Asked::Other, request);
            }
        }
    }

    /// What a node made lately is not to count, by a new name or by one that is on its way.
    fn revoke(&mut self, a: usize, b: usize) {
        let agent = &self.agents[a % self.agents.len()];
        let to = agent.parts;
        let from = to.saturating_sub((a / 8 % 12) as u64);
        let name = format!(
            "r{}",
            self.revoked.len() + usize::from(b.is_multiple_of(32))
        );
        let request = revoke(&name, &agent.name, from, to);
        self.revoked.push((agent.name.clone(), from, to));
        self.call(Asked::Other, request);
    }

    /// Whether a part may have been revoked: its device's work of that time was, or it rests on a part that was.
    pub(super) fn may_be_revoked(&self, job: &JobKey, shard: ShardId, sha256: &Digest) -> bool {
        let spans = |part: &Digest| {
            let made = self.made.get(part);
            made.is_some_and(|(node, at)| {
                let within =
                    |(of, from, to): &(String, u64, u64)| of == node && (*from..=*to).contains(at);
                self.revoked.iter().any(within)
            })
        };
        let below = self.escalated.get(&(job.clone(), shard));
        spans(sha256) || below.is_some_and(spans)
    }
}

//! What operators want: jobs submitted, ranked, paused, resumed and cancelled, failed rows tried again, nodes cordoned and
//! drained, and what a device made revoked. Some want what is not theirs, and must not get it.

use agent_core::Event;
use scheduler::record::{Duty, JobState, Lane};
use scheduler::{JobKey, Request, Revoke, Submission};
use types::{Digest, JobId, NodeId, Ordinal, RevocationId, TenantId, UnixMillis};

use crate::depot::{PartPath, path_generation};
use crate::truth::{JobTruth, Row, tenant};
use crate::world::World;

/// Revocations in one run: people ask for few.
const REVOCATIONS_MAX: u32 = 4;
/// The longest span that is revoked, in ms of the node's clock: longer than most runs.
const REVOKED_MAX: u64 = 60_000;

impl World {
    pub(crate) fn submit_next(&mut self) {
        let Some(truth) = self.truths.get(self.operators.submitted) else {
            return;
        };
        self.operators.submitted += 1;
        let (spec, tenant) = (truth.spec.clone(), truth.key.tenant.clone());
        let requires = truth.requires;
        let submission = Submission {
            spec_sha256: Digest::of(format!("{spec:?}").as_bytes()),
            spec,
            lane: self.lane(),
            priority: self.priority(),
            deadline: self.deadline(),
            requires,
        };
        self.request(&tenant, Request::Submit(submission), true);
    }

    fn lane(&mut self) -> Lane {
        let lanes = [Lane::Batch, Lane::Ingest, Lane::Interactive];
        let lane = self.dice.one_of(&lanes).filter(|_| !self.mix.quiet);
        lane.unwrap_or(Lane::Batch)
    }

    fn priority(&mut self) -> i32 {
        i32::try_from(self.dice.below(3)).unwrap_or(0)
    }

    fn deadline(&mut self) -> Option<UnixMillis> {
        let wanted = self.dice.happens(3_000);
        let within = i64::try_from(self.dice.below(600_000)).unwrap_or(0);
        wanted.then(|| UnixMillis(self.wall().0 + within))
    }

    /// One act, useful or not.
    pub(crate) fn meddle(&mut self) {
        let jobs = self.operators.submitted;
        let act = self.dice.below(16);
        let at = self.dice.index(jobs);
        let Some(truth) = self.truths.get(at).filter(|_| jobs > 0) else {
            return;
        };
        let (tenant, job) = (truth.key.tenant.clone(), truth.key.job.clone());
        let agent = self.dice.index(self.agents.len());
        match act {
            0 => {
                let reason = String::from("changed my mind");
                self.request(&tenant, Request::Cancel { job, reason }, true);
            }
            1..=3 => self.request(&tenant, Request::Pause { job }, false),
            4..=7 => self.request(&tenant, Request::Resume { job }, false),
            8 => self.set_duty(agent, Duty::Cordoned),
            9 => self.set_duty(agent, Duty::Draining),
            10 => self.set_duty(agent, Duty::Serving),
            11 | 12 => self.revoke_of(agent),
            13 => self.rank(self.operators.guess(), &tenant, job),
            14 => self.trespass(&tenant, job),
            _ if self.agents[agent].up && self.agents[agent].frozen.is_none() => {
                self.tell_agent(agent, Event::Drain);
            }
            _ => {}
        }
    }

    pub(crate) fn rank(&mut self, asked: usize, tenant: &TenantId, job: JobId) {
        let request = Request::SetRank {
            job,
            lane: Some(self.lane()),
            priority: Some(self.priority()),
            deadline: self.deadline(),
        };
        self.request_at(asked, tenant, request, false);
    }

    /// Somebody names another one's job.
    fn trespass(&mut self, owner: &TenantId, job: JobId) {
        let others = (0..2).map(tenant).filter(|other| other != owner);
        let Some(other) = others.into_iter().next() else {
            return;
        };
        let reason = String::from("not mine");
        let request = match self.dice.below(3) {
            0 => Request::Pause { job },
            1 => Request::Resume { job },
            _ => Request::Cancel { job, reason },
        };
        self.request(&other, request, false);
    }

    /// What a node made in some span until now is not to count.
    fn revoke_of(&mut self, agent: usize) {
        let one = &self.agents[agent];
        let (node, now) = (one.node.clone(), one.shown(self.now).0);
        let devices = one.bench.len();
        let to = now.saturating_sub(self.dice.below(2) * self.dice.below(20_000));
        let from = to.saturating_sub(self.dice.below(REVOKED_MAX));
        let some = self.dice.happens(5_000);
        let kind = one.kind;
        let device = some.then(|| format!("{kind}:{}", self.dice.index(devices)));
        let millis = |shown: u64| UnixMillis(i64::try_from(shown).unwrap_or(0));
        self.revoke(node, device, (millis(from), millis(to)));
    }

    /// What a node, or one device of it, made in a span of its clock is not to count.
    pub(crate) fn revoke(
        &mut self,
        node: NodeId,
        device: Option<String>,
        (from, to): (UnixMillis, UnixMillis),
    ) {
        if self.operators.revocations >= REVOCATIONS_MAX {
            return;
        }
        self.operators.revocations += 1;
        let mut agents = self.agents.iter();
        let own = agents.find(|one| one.node == node);
        let tenant = own.map_or_else(TenantId::default, |one| one.tenant.clone());
        let request = Request::Revoke(Revoke {
            revocation: revocation(self.operators.revocations),
            node,
            device,
            from,
            to,
            reason: String::from("its numbers are doubted"),
        });
        self.request(&tenant, request, true);
    }

    /// Somebody cancels a job, or revokes what a node made, just as its last rows come in.
    pub(crate) fn maybe_too_late(&mut self, job: &JobKey) {
        let chance = self.mix.late_cancel;
        if self.calm || !self.dice.happens(chance) {
            return;
        }
        if self.dice.happens(5_000) {
            let agent = self.dice.index(self.agents.len());
            self.revoke_of(agent);
        } else {
            let reason = String::from("too late");
            let request = Request::Cancel {
                job: job.job.clone(),
                reason,
            };
            self.request(&job.tenant, request, true);
        }
    }

    pub(crate) fn set_duty(&mut self, agent: usize, duty: Duty) {
        let (node, tenant) = (&self.agents[agent].node, &self.agents[agent].tenant);
        let (node, tenant) = (node.clone(), tenant.clone());
        self.request(&tenant, Request::SetDuty { node, duty }, false);
    }

    /// Somebody reads what was published, and now and then submits its failed rows again.
    pub(crate) fn look_at_results(&mut self) {
        let own = self.truths.iter().take(self.mix.jobs);
        let new = own.filter(|truth| !self.operators.seen.contains(&truth.key));
        let published = |truth: &&JobTruth| {
            let state = self.record_of(&truth.key).map(|record| &record.state);
            matches!(state, Some(JobState::Published(_)))
        };
        let new: Vec<JobTruth> = new.filter(published).cloned().collect();
        for truth in new {
            self.operators.seen.insert(truth.key.clone());
            let failed = self.failed(&truth);
            if !failed.is_empty() && self.dice.happens(self.mix.retried) {
                let mut again = truth.again(self.truths.len(), &failed);
                again.spec.generation = self.generation;
                self.truths.push(again);
            }
        }
    }

    /// Tracks of a published job whose row is that they could not be scanned.
    fn failed(&self, truth: &JobTruth) -> Vec<Ordinal> {
        let state = self.record_of(&truth.key).map(|record| &record.state);
        let Some(JobState::Published(name)) = state else {
            return Vec::new();
        };
        let plan = self.depot.manifest(&truth.key, *name);
        let parts = plan.into_iter().flat_map(|plan| {
            plan.parts.iter().map(|part| PartPath {
                generation: path_generation(plan.generation),
                job: truth.key.clone(),
                shard: part.shard,
                attempt: part.attempt,
                first: part.tracks.first().unwrap_or(0),
                sha256: part.sha256,
            })
        });
        let objects = parts.filter_map(|path| self.depot.part(&path));
        let rows = objects.flat_map(|object| object.rows.iter());
        let failed = rows.filter(|(_, row)| matches!(row, Row::Unscannable(_)));
        let mut failed: Vec<Ordinal> = failed.map(|(ordinal, _)| *ordinal).collect();
        failed.sort_unstable();
        failed
    }
}

fn revocation(number: u32) -> RevocationId {
    RevocationId::new(format!("r{number}")).expect("a letter and digits name a revocation")
}

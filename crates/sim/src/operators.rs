//! People and their programs: they call, and what must come through is sent again until it is answered; the rest may be lost. What
//! they want is in `wishes`. Once faults have stopped they see to it that
//! nothing stays paused, cordoned or broken, and then wait for the end.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::DeviceNo;
use scheduler::record::{Duty, JobRecord, JobState};
use scheduler::{Answer, Caller, JobKey, Request};
use types::{Digest, Millis, Problem, TenantId};

use crate::agenda::{Happening, Message, Timer, Who};
use crate::world::World;

/// How long a call is waited for.
const DEADLINE: Millis = Millis(5_000);
/// Time between two rounds once faults have stopped.
const ROUND: Millis = Millis(2_000);
/// Virtual time within which everything must end once faults have stopped: an hour is many times the longest
/// back-off, the wait of a suspect for another node, and the life of a grant.
const END_WITHIN: Millis = Millis(3_600_000);

/// What the operators wait for.
#[derive(Debug, Default)]
pub(crate) struct Operators {
    waits: BTreeMap<u64, Wait>,
    /// Jobs submitted so far, answered or not.
    pub(crate) submitted: usize,
    /// Jobs that were seen to be published.
    pub(crate) seen: BTreeSet<JobKey>,
    /// Revocations asked for so far.
    pub(crate) revocations: u32,
    guess: usize,
    calm_since: Option<Millis>,
}

#[derive(Clone, Debug)]
struct Wait {
    tenant: TenantId,
    request: Request,
    /// Sent again until it is answered for good.
    insists: bool,
    /// Answered with an error that passes, and to be sent again.
    refused: bool,
    /// Who was asked.
    asked: usize,
}

impl Operators {
    /// Whom they take for the leader.
    pub(crate) const fn guess(&self) -> usize {
        self.guess
    }
}

impl World {
    pub(crate) fn plan_operation(&mut self, within: Millis) {
        let at = self.now + Millis(self.dice.between(1, within.0.max(1)));
        self.agenda.plan(at, Happening::Operate);
    }

    pub(crate) fn operate(&mut self) {
        if self.calm {
            return self.round();
        }
        self.look_at_results();
        let left = self.truths.len() > self.operators.submitted;
        if left && self.dice.happens(6_000) {
            self.submit_next();
        } else if self.mix.operate_every.0 > 0 {
            self.meddle();
        }
        let every = if left {
            Millis(5_000)
        } else {
            self.mix.operate_every
        };
        if every.0 > 0 {
            self.plan_operation(every + every);
        }
    }

    /// Sends a request of a tenant's operators to whom they take for the leader.
    pub(crate) fn request(&mut self, tenant: &TenantId, request: Request, insists: bool) {
        self.request_at(self.operators.guess, tenant, request, insists);
    }

    /// Sends it to that coordinator.
    pub(crate) fn request_at(
        &mut self,
        asked: usize,
        tenant: &TenantId,
        request: Request,
        insists: bool,
    ) {
        self.calls += 1;
        let no = self.calls;
        let caller = Caller {
            tenant: tenant.clone(),
            ..Caller::default()
        };
        let wait = Wait {
            tenant: tenant.clone(),
            request: request.clone(),
            insists,
            refused: false,
            asked,
        };
        self.operators.waits.insert(no, wait);
        let message = Message::Call {
            no,
            caller,
            request: Box::new(request),
        };
        self.send(Who::Client, Who::Coordinator(asked), message);
        let at = self.now + DEADLINE;
        let timer = Timer::Overdue(no);
        let (who, life) = (Who::Client, 0);
        self.agenda.plan(at, Happening::Timer { who, life, timer });
    }

    pub(crate) fn operators_overdue(&mut self, no: u64) {
        if let Some(wait) = self.operators.waits.remove(&no) {
            if !wait.refused {
                self.ask_another(wait.asked);
            }
            self.insist(wait);
        }
    }

    /// A submit names the generation that it is for.
    fn as_of_now(&self, mut request: Request) -> Request {
        if let Request::Submit(submission) = &mut request {
            submission.spec.generation = self.generation;
            let spec = format!("{:?}", submission.spec);
            submission.spec_sha256 = Digest::of(spec.as_bytes());
        }
        request
    }

    fn ask_another(&mut self, asked: usize) {
        if self.operators.guess == asked {
            self.operators.guess = (asked + 1) % self.coordinators.len();
        }
    }

    fn insist(&mut self, wait: Wait) {
        if wait.insists && !self.is_outlived(&wait.request) {
            let request = self.as_of_now(wait.request);
            self.request(&wait.tenant, request, true);
        }
    }

    pub(crate) fn operators_answered(&mut self, no: u64, answer: &Result<Answer, Problem>) {
        use types::Code;
        let Some(wait) = self.operators.waits.remove(&no) else {
            return;
        };
        let Err(problem) = answer else { return };
        let again = matches!(
            problem.code,
            Code::NotLeader
                | Code::Overloaded
                | Code::StoreUnavailable
                | Code::StoreFull
                | Code::StorageUnavailable
                | Code::StorageFull
        );
        // One of an older generation, or a specification of one: the same job is asked for again as of now.
        let old = problem.code == Code::InvalidRequest && is_submit(&wait.request);
        if problem.code == Code::NotLeader || old {
            self.ask_another(wait.asked);
        }
        if (again || old) && wait.insists {
            // After a moment, as programs do.
            let life = 0;
            self.calls += 1;
            let no = self.calls;
            let wait = Wait {
                refused: true,
                ..wait
            };
            self.operators.waits.insert(no, wait);
            let (who, timer) = (Who::Client, Timer::Overdue(no));
            let at = self.now + Millis(300);
            self.agenda.plan(at, Happening::Timer { who, life, timer });
        }
    }

    /// A round of those who want to see the end.
    fn round(&mut self) {
        self.look_at_results();
        let since = *self.operators.calm_since.get_or_insert(self.now);
        if self.has_ended() {
            self.ended = true;
            return;
        }
        if self.now.since(since) > END_WITHIN {
            let why = self.why_not();
            return self.violated("I15", format!("no end within bounds: {why}"));
        }
        while self.truths.len() > self.operators.submitted {
            self.submit_next();
        }
        self.mend_jobs();
        self.mend_nodes();
        self.agenda.plan(self.now + ROUND, Happening::Operate);
    }

    /// Since when operators see no faults.
    pub(crate) fn calm_since(&self) -> Option<Millis> {
        self.operators.calm_since
    }

    fn mend_jobs(&mut self) {
        let records = self.oracle.jobs.values();
        let paused = records.filter(|record| record.state == JobState::Paused);
        let spec = |record: &JobRecord| (record.spec.tenant.clone(), record.spec.job.clone());
        let paused: Vec<_> = paused.map(spec).collect();
        for (tenant, job) in paused {
            self.request(&tenant, Request::Resume { job }, false);
        }
    }

    fn mend_nodes(&mut self) {
        for agent in 0..self.agents.len() {
            let node = &self.agents[agent].node;
            let records = self.oracle.nodes.iter();
            let mut own = records.filter(|(key, _)| key.node == *node);
            let idle = own.any(|(_, record)| record.duty != Duty::Serving);
            if self.agents[agent].away {
                continue;
            }
            if idle {
                self.set_duty(agent, Duty::Serving);
            }
            if self.is_broken(agent) && self.dice.happens(1_000) {
                self.crash_agent(agent, Millis(500));
            }
        }
    }

    /// Whether every device of a node is out though at least one is sound: restarting the agent helps.
    fn is_broken(&self, agent: usize) -> bool {
        let one = &self.agents[agent];
        let sound = |device: DeviceNo| {
            let bench = &one.bench[device.0 as usize];
            !bench.gone && !bench.is_sick(self.now)
        };
        one.up && one.bench.iter().all(|bench| bench.out) && self.devices(agent).any(sound)
    }

    fn has_ended(&self) -> bool {
        let all_in = self.truths.len() == self.operators.submitted;
        let closed = |truth: &crate::truth::JobTruth| self.is_closed(&truth.key);
        let settled = self.operators.waits.values().all(|wait| !wait.insists);
        let empty = self.oracle.shards.is_empty() && self.all_revoked();
        all_in && settled && self.truths.iter().all(closed) && empty
    }

    /// Why work does not run, in the words of whoever leads.
    fn why_not(&self) -> String {
        let open = self
            .truths
            .iter()
            .filter(|truth| !self.is_closed(&truth.key));
        let keys: Vec<JobKey> = open.map(|truth| truth.key.clone()).collect();
        let mut why = format!(
            "{keys:?}; {} shard keys; all revoked {}",
            self.oracle.shards.len(),
            self.all_revoked()
        );
        for one in &self.coordinators {
            for key in &keys {
                let shown = one.clock.show(self.now);
                for reason in one.core.explain(shown, key, None).unwrap_or_default() {
                    why.push_str(&format!("; {reason}"));
                }
            }
        }
        why
    }
}

fn is_submit(request: &Request) -> bool {
    matches!(request, Request::Submit(_))
}

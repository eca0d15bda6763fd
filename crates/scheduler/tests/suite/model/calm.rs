//! The end of a history: the faults stop, nodes do what they should, and every job must end in bounded steps.

use super::History;
use scheduler::record::PartKind;
use scheduler::{Answer, CommitOutcome, JobKey, Request, invariants};
use types::Millis;

impl History {
    /// Faults stop: every job must end in bounded steps.
    pub(super) fn stop_faults(&mut self) {
        self.late.clear();
        self.world.settle();
        self.follow();
        if self
            .world
            .core
            .leads()
            .is_none_or(|epoch| epoch.0 != self.world.store.epoch)
        {
            self.world.restart();
        }
        self.world.settle();
        self.world.pass(Millis(10_000));
        for round in 0..400 {
            let open = |job: &&JobKey| {
                !self
                    .world
                    .store
                    .job(job)
                    .expect("jobs stay")
                    .state
                    .is_closed()
            };
            if !self.jobs.iter().any(|job| open(&job)) {
                return self.judge_ends();
            }
            self.world.pass(Millis(2_000));
            for job in self.jobs.clone() {
                let _ = self.world.ask_as(
                    job.tenant.as_str(),
                    Request::Resume {
                        job: job.job.clone(),
                    },
                );
            }
            for at in 0..self.agents.len() {
                // One node stays away for good in some histories; what it holds goes to the others.
                if Some(at) != self.away {
                    self.good_round(at);
                }
            }
            assert!(round < 399, "no end: {:#?}", self.explain());
        }
    }

    fn judge_ends(&self) {
        for job in &self.jobs {
            let record = self.world.store.job(job).expect("jobs stay");
            invariants::job_has_ended(&record).expect("I15 holds");
        }
    }

    fn good_round(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        if agent.beat(&mut self.world).is_err() {
            agent.kill();
            let _ = agent.join(&mut self.world);
            return;
        }
        for (of, commit) in std::mem::take(&mut self.unanswered) {
            let answer = self.world.ask(Request::Commit(commit.clone()));
            if let Ok(answer) = answer {
                self.heard_commit(of, &commit, &answer);
            }
        }
        let agent = &mut self.agents[at];
        let serve = Request::SetDuty {
            node: crate::world::node(&agent.name),
            duty: scheduler::record::Duty::Serving,
        };
        let _ = self.world.ask(serve);
        agent.pull += 1;
        let wanted = agent.pull_request(16);
        let Ok(answer) = self.world.ask(wanted) else {
            return;
        };
        agent.take_pull(&answer);
        for granted in std::mem::take(&mut agent.grants) {
            if granted.tracks.is_empty() {
                continue;
            }
            let agent = &mut self.agents[at];
            let request = agent.commit_request(&granted, &granted.tracks, PartKind::Terminal);
            let Request::Commit(commit) = request.clone() else {
                continue;
            };
            self.note_made(at, &commit);
            let answer = self.world.ask(request).expect("a sound commit is answered");
            let Answer::Committed(committed) = &answer else {
                continue;
            };
            if committed.outcome != CommitOutcome::Superseded {
                let job = self.key_of(&commit.job);
                let part = (job, commit.shard, commit.attempt, commit.parts[0].sha256);
                self.acknowledged.insert(part);
            }
        }
    }

    fn explain(&self) -> Vec<String> {
        let reasons = |job: &JobKey| {
            self.world
                .core
                .explain(self.world.now, job, None)
                .unwrap_or_default()
        };
        self.jobs
            .iter()
            .flat_map(reasons)
            .map(|reason| reason.to_string())
            .collect()
    }
}

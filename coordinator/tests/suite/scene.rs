//! A coordinator as a process of its own with a catalog, and people who ask it why work does not run: what `scan explain` and
//! `node explain` print. Agents are played by the tests, so that each reason is brought about and not waited for.

use std::time::{Duration, Instant};

use proto::v1;
use types::Blocking;

use crate::agent::Agent;
use crate::people::{People, caller};
use crate::reasons::SHOWN;
use crate::world::{Process, START_TIMEOUT, World};

pub(crate) const TRACKS: usize = 40;

/// A coordinator with a catalog, and people who ask it.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) coordinator: Process,
    pub(crate) people: People,
}

impl Scene {
    pub(crate) async fn new(tracks: usize, flags: &[&str]) -> Self {
        let world = World::new(tracks);
        let coordinator = world.spawn(&[&["--folder-sources"], flags].concat());
        let mut people = People::new(coordinator.channel().await);
        people.imported(&world.music()).await;
        Self {
            world,
            coordinator,
            people,
        }
    }

    pub(crate) async fn job(&mut self, request: v1::SubmitJobRequest) -> String {
        let answer = self.people.jobs.submit_job(request).await.unwrap();
        answer.into_inner().job.unwrap().spec.unwrap().job
    }

    pub(crate) async fn agent(&self, node: &str) -> Agent {
        let channel = self.coordinator.channel().await;
        let mut agent = Agent::new(channel, self.world.storage(), node);
        agent.join().await.unwrap();
        agent
    }

    /// Why a job, or a shard of it, waits: the codes.
    pub(crate) async fn reasons_of(&mut self, tenant: &str, job: &str, shard: &str) -> Vec<String> {
        let request = v1::ExplainJobRequest {
            caller: of(tenant),
            job: job.to_owned(),
            shard: shard.to_owned(),
        };
        let explained = self.people.jobs.explain_job(request).await.unwrap();
        codes(explained.into_inner().reasons)
    }

    #[track_caller]
    pub(crate) fn expect(found: &[String], expected: Blocking) {
        assert!(SHOWN.contains(&expected), "{expected} is in the table");
        let found_it = found.iter().any(|code| code == expected.as_str());
        assert!(found_it, "{expected} is not among {found:?}");
    }

    pub(crate) async fn job_waits(&mut self, job: &str, expected: Blocking) {
        let found = self.reasons_of("default", job, "").await;
        Self::expect(&found, expected);
    }

    pub(crate) async fn shard_waits(&mut self, job: &str, shard: &str, expected: Blocking) {
        let found = self.reasons_of("default", job, shard).await;
        Self::expect(&found, expected);
    }

    pub(crate) async fn node_waits(&mut self, node: &str, expected: Blocking) {
        let request = v1::GetNodeRequest {
            caller: caller(),
            node: node.to_owned(),
        };
        let node = self.people.nodes.get_node(request).await.unwrap();
        Self::expect(&codes(node.into_inner().reasons), expected);
    }

    pub(crate) async fn duty(&mut self, node: &str, duty: v1::Duty) {
        let request = v1::SetDutyRequest {
            caller: caller(),
            node: node.to_owned(),
            duty: duty.into(),
        };
        self.people.nodes.set_duty(request).await.unwrap();
    }

    /// Asks until the reason is given: of a job, or of one of its shards.
    pub(crate) async fn comes_to(&mut self, job: &str, shard: &str, expected: Blocking) {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let found = self.reasons_of("default", job, shard).await;
            if found.iter().any(|code| code == expected.as_str()) {
                return Self::expect(&found, expected);
            }
            assert!(Instant::now() < until, "{expected} did not come: {found:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) fn of(tenant: &str) -> Option<v1::Caller> {
    Some(v1::Caller {
        tenant: tenant.to_owned(),
        actor: "tester".to_owned(),
    })
}

pub(crate) fn codes(reasons: Vec<v1::Reason>) -> Vec<String> {
    reasons.into_iter().map(|reason| reason.code).collect()
}

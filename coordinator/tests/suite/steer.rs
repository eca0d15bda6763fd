//! What people do to jobs and nodes while they run: pausing, ranking, cordoning, revoking; and what a quota says.

use std::time::{Duration, Instant};

use proto::v1;
use tonic::Code;

use crate::agent::Agent;
use crate::people::{People, caller, code, submission};
use crate::world::{Running, START_TIMEOUT, World};

const TRACKS: usize = 40;

/// A catalog, a job over it, and an agent that has joined.
struct Scene {
    people: People,
    agent: Agent,
    job: String,
}

async fn scene(world: &World, coordinator: &Running) -> Scene {
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    Scene { people, agent, job }
}

impl Scene {
    async fn reasons(&mut self) -> Vec<String> {
        let request = v1::ExplainJobRequest {
            caller: caller(),
            job: self.job.clone(),
            shard: String::new(),
        };
        let explained = self.people.jobs.explain_job(request).await.unwrap();
        let reasons = explained.into_inner().reasons;
        reasons.into_iter().map(|reason| reason.code).collect()
    }

    /// Pulls and works, also after pulls that brought nothing, until the job is published.
    async fn work_to_the_end(&mut self) {
        let until = Instant::now() + START_TIMEOUT;
        while self.people.job(&self.job.clone()).await.state() != v1::JobState::Published {
            assert!(Instant::now() < until, "{:?}", self.reasons().await);
            self.agent.work().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the coordinator has no record of a job.
    async fn until_gone(&mut self, job: &str) {
        let until = Instant::now() + START_TIMEOUT;
        let request = || v1::GetJobRequest {
            caller: caller(),
            job: job.to_owned(),
        };
        while self.people.jobs.get_job(request()).await.is_ok() {
            assert!(Instant::now() < until, "{job} stays");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn duty(&mut self, duty: v1::Duty) -> v1::NodeState {
        let request = v1::SetDutyRequest {
            caller: caller(),
            node: "n1".to_owned(),
            duty: duty.into(),
        };
        let node = self.people.nodes.set_duty(request).await.unwrap();
        node.into_inner().node.unwrap().state()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_gives_nothing_out_and_takes_what_was_in_hand() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut scene = scene(&world, &coordinator).await;
    let pulled = scene.agent.pull(16).await.unwrap();
    let pause = v1::PauseJobRequest {
        caller: caller(),
        job: scene.job.clone(),
    };
    let paused = scene.people.jobs.pause_job(pause.clone()).await.unwrap();
    let paused = paused.into_inner();
    assert_eq!(paused.job.unwrap().state(), v1::JobState::Paused);
    assert!(!paused.existing);
    let again = scene.people.jobs.pause_job(pause).await.unwrap();
    assert!(again.into_inner().existing);
    assert!(scene.agent.pull(16).await.unwrap().grants.is_empty());
    assert_eq!(scene.reasons().await[0], "JOB_PAUSED");
    let request = scene.agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    let committed = scene.agent.commit(request).await.unwrap();
    assert_eq!(committed.outcome(), v1::CommitOutcome::Counted);

    let resume = v1::ResumeJobRequest {
        caller: caller(),
        job: scene.job.clone(),
    };
    let resumed = scene.people.jobs.resume_job(resume).await.unwrap();
    assert_eq!(
        resumed.into_inner().job.unwrap().state(),
        v1::JobState::Running
    );
    scene.agent.work().await;
    let told = scene.people.watch(&scene.job.clone()).await;
    assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_go_before_priorities_and_priorities_before_age_also_when_changed_later() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut scene = scene(&world, &coordinator).await;
    let mut ranked = async |request: &str, lane: v1::Lane, priority| {
        let rank = v1::Rank {
            lane: lane.into(),
            priority: Some(priority),
            deadline_ms: None,
        };
        let request = v1::SubmitJobRequest {
            rank: Some(rank),
            ..submission(request)
        };
        let answer = scene.people.jobs.submit_job(request).await.unwrap();
        answer.into_inner().job.unwrap()
    };
    let urgent = ranked("r-2", v1::Lane::Batch, 5).await;
    assert_eq!(urgent.rank.unwrap().priority, Some(5));
    let interactive = ranked("r-3", v1::Lane::Interactive, -1).await;
    let (urgent, interactive) = (urgent.spec.unwrap().job, interactive.spec.unwrap().job);
    let first = scene.agent.pull(16).await.unwrap();
    assert_eq!(first.grants[0].job, interactive);
    let request = v1::RankJobRequest {
        caller: caller(),
        job: interactive.clone(),
        rank: Some(v1::Rank {
            lane: v1::Lane::Batch.into(),
            ..v1::Rank::default()
        }),
    };
    let changed = scene.people.jobs.rank_job(request).await.unwrap();
    let rank = changed.into_inner().job.unwrap().rank.unwrap();
    assert_eq!((rank.lane(), rank.priority), (v1::Lane::Batch, Some(-1)));
    let next = scene.agent.pull(16).await.unwrap();
    assert_eq!(next.grants[0].job, urgent);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_gets_nothing_new_and_says_why_until_it_serves_again() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut scene = scene(&world, &coordinator).await;
    assert_eq!(
        scene.duty(v1::Duty::Cordoned).await,
        v1::NodeState::Cordoned
    );
    assert!(scene.agent.pull(16).await.unwrap().grants.is_empty());
    assert_eq!(scene.reasons().await[0], "NODES_NOT_SERVING");
    let request = v1::GetNodeRequest {
        caller: caller(),
        node: "n1".to_owned(),
    };
    let node = scene.people.nodes.get_node(request).await.unwrap();
    assert_eq!(node.into_inner().reasons[0].code, "NODE_CORDONED");
    assert_eq!(scene.duty(v1::Duty::Serving).await, v1::NodeState::Ready);
    let grants = scene.agent.pull(16).await.unwrap().grants;
    assert_eq!(grants.len(), 1);
    assert_eq!(
        scene.duty(v1::Duty::Draining).await,
        v1::NodeState::Draining
    );
    assert!(scene.agent.beat(&grants).await.unwrap().drain);
    let unknown = v1::SetDutyRequest {
        caller: caller(),
        node: "nobody".to_owned(),
        duty: v1::Duty::Serving.into(),
    };
    let refused = scene.people.nodes.set_duty(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_scanned_again_and_each_track_still_has_one_row() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut scene = scene(&world, &coordinator).await;
    let pulled = scene.agent.pull(16).await.unwrap();
    let request = scene.agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    scene.agent.commit(request.clone()).await.unwrap();
    let before = scene.people.job(&scene.job).await.tracks_done;
    assert!(before > 0);
    let revoke = v1::RevokeRequest {
        caller: caller(),
        revocation: "xid-79".to_owned(),
        node: "n1".to_owned(),
        device: "cpu:0".to_owned(),
        from_ms: 0,
        to_ms: 10,
        reason: "the device fell off the bus".to_owned(),
    };
    let revoked = scene.people.nodes.revoke(revoke.clone()).await.unwrap();
    let revoked = revoked.into_inner();
    assert_eq!((revoked.jobs, revoked.existing), (1, false));
    let again = scene.people.nodes.revoke(revoke).await.unwrap();
    assert!(again.into_inner().existing);
    // The commit of what no longer counts, late and repeated, is told to forget it.
    let late = scene.agent.commit(request).await.unwrap();
    assert_eq!(late.outcome(), v1::CommitOutcome::Superseded);
    scene.work_to_the_end().await;
    let (findings, done) = scene.people.verify(&scene.job.clone()).await;
    assert_eq!((findings, done.rows_found), (vec![], TRACKS as u64));
    let request = v1::ListRevocationsRequest { caller: caller() };
    let listed = scene.people.nodes.list_revocations(request).await.unwrap();
    let listed = listed.into_inner().revocations;
    assert_eq!(
        (listed[0].revocation.as_str(), listed[0].done),
        ("xid-79", true)
    );
    assert_eq!(listed[0].jobs, [scene.job]);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_at_its_quota_waits_and_is_told_so_while_another_is_served() {
    let world = World::new(TRACKS);
    let flags = ["--folder-sources", "--quota", "default:tracks=16"];
    let coordinator = world.start(&flags).await;
    let mut scene = scene(&world, &coordinator).await;
    let first = scene.agent.pull(40).await.unwrap();
    let tracks = first.grants.iter().flat_map(|grant| &grant.tracks);
    assert_eq!(tracks.map(|range| range.end - range.first).sum::<u32>(), 16);
    assert!(scene.agent.pull(40).await.unwrap().grants.is_empty());
    let reasons = scene.reasons().await;
    assert!(reasons.contains(&"QUOTA_TRACKS".to_owned()), "{reasons:?}");

    let other = Some(v1::Caller {
        tenant: "other".to_owned(),
        actor: "tester".to_owned(),
    });
    let import = v1::ImportRequest {
        caller: other.clone(),
        ..crate::people::import(world.music().to_str().unwrap())
    };
    scene.people.import(import).await.unwrap();
    let submit = v1::SubmitJobRequest {
        caller: other,
        ..submission("r-1")
    };
    let submitted = scene.people.jobs.submit_job(submit).await.unwrap();
    let theirs = submitted.into_inner().job.unwrap().spec.unwrap().job;
    assert_ne!(theirs, scene.job);
    let pulled = scene.agent.pull(16).await.unwrap();
    assert_eq!(pulled.grants[0].job, theirs);
    let request = scene.agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    let committed = scene.agent.commit(request).await.unwrap();
    assert_eq!(committed.outcome(), v1::CommitOutcome::Counted);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_no_node_can_take_is_accepted_and_says_why_it_waits() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut scene = scene(&world, &coordinator).await;
    let submit = v1::SubmitJobRequest {
        requires: Some(v1::Requirements {
            device: v1::DeviceKind::Cuda.into(),
            memory_bytes: 1 << 60,
            bundle_loaded: false,
        }),
        ..submission("r-2")
    };
    let submitted = scene.people.jobs.submit_job(submit).await.unwrap();
    scene.job = submitted.into_inner().job.unwrap().spec.unwrap().job;
    let reasons = scene.reasons().await;
    assert_eq!(reasons, ["NO_NODE_WITH_DEVICE"]);
    let odd = v1::SubmitJobRequest {
        rank: Some(v1::Rank {
            lane: 99,
            ..v1::Rank::default()
        }),
        ..submission("r-3")
    };
    let refused = scene.people.jobs.submit_job(odd).await.unwrap_err();
    assert_eq!(code(&refused), "INVALID_REQUEST");
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_nothing_names_are_removed_and_those_of_the_result_stay() {
    let world = World::new(TRACKS);
    let coordinator = world
        .start(&["--folder-sources", "--collect-secs", "1"])
        .await;
    let mut scene = scene(&world, &coordinator).await;
    let pulled = scene.agent.pull(16).await.unwrap();
    // A part that its agent never commits: it leaves first.
    let lost = scene.agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    scene.agent.leave().await.unwrap();
    scene.agent.nonce += 1;
    scene.agent.join().await.unwrap();
    let commits = scene.agent.work().await;
    let lost = format!("{}.parquet", lost.parts[0].sha256);
    let storage = world.storage_folder();
    let parts = || -> Vec<String> {
        let all = walkdir(&storage);
        all.into_iter()
            .filter(|name| name.ends_with(".parquet") && !name.contains("snapshots"))
            .collect()
    };
    assert_eq!(parts().len() as u32, commits + 1);
    let until = Instant::now() + START_TIMEOUT;
    while parts().iter().any(|part| part.ends_with(&lost)) {
        assert!(Instant::now() < until, "{:#?}", parts());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(parts().len() as u32, commits);
    let (findings, done) = scene.people.verify(&scene.job.clone()).await;
    assert_eq!((findings, done.rows_found), (vec![], TRACKS as u64));
    coordinator.stop().await.unwrap();
}

/// Every file below a folder, by its path.
fn walkdir(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in std::fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.to_str().unwrap().to_owned()),
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_and_whose_record_is_gone_does_not_begin_again() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources", "--jobs-kept", "1"]).await;
    let mut scene = scene(&world, &coordinator).await;
    scene.work_to_the_end().await;
    let mut ended = vec![("r-1", scene.job.clone())];
    for again in ["r-2", "r-3"] {
        let job = scene.people.submit(again).await.job.unwrap();
        let job = job.spec.unwrap().job;
        let cancel = v1::CancelJobRequest {
            caller: caller(),
            job: job.clone(),
            ..v1::CancelJobRequest::default()
        };
        scene.people.jobs.cancel_job(cancel).await.unwrap();
        ended.push((again, job));
    }
    for (request, job) in &ended[..2] {
        scene.until_gone(job).await;
        let again = scene.people.jobs.submit_job(submission(request)).await;
        assert_eq!(code(&again.unwrap_err()), "JOB_CLOSED", "{request}");
    }
    let kept = scene.people.submit("r-3").await;
    assert!(kept.existing, "its record is there");
    coordinator.stop().await.unwrap();
}

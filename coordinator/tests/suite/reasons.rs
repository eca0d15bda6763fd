//! Every reason why work does not run, asked of a coordinator that is a process of its own: what `scan explain` and
//! `node explain` print. Those that last only as long as a write are shown by `held`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proto::v1;
use types::Blocking;

use crate::agent::Agent;
use crate::people::{caller, code, submission};
use crate::scene::{Scene, TRACKS, of};
use crate::world::START_TIMEOUT;

/// Nobody ever hears it of a coordinator that is alone on its machine: it does not answer before it leads, as `held` shows, and
/// leads until it ends. The core's own suite, `crates/scheduler/tests/suite/explain`, asks one that does not.
const UNHEARD: [Blocking; 1] = [Blocking::NotLeading];

/// Needs a disk that is full: shown with one in `full`.
const ELSEWHERE: [Blocking; 1] = [Blocking::StoreTrouble];

/// What the tests of this file and of `held` show.
pub(crate) const SHOWN: [Blocking; 39] = [
    Blocking::WriteUnderWay,
    Blocking::JobCancelling,
    Blocking::JobPublishing,
    Blocking::JobRevoking,
    Blocking::NodeRevoked,
    Blocking::NodeStorage,
    Blocking::NoNode,
    Blocking::JobPaused,
    Blocking::JobPublished,
    Blocking::JobCancelled,
    Blocking::ManifestFails,
    Blocking::NodesSilent,
    Blocking::NodeSilent,
    Blocking::HeldBySilentNode,
    Blocking::NodesNotServing,
    Blocking::NodeCordoned,
    Blocking::NodeDraining,
    Blocking::NodeLeft,
    Blocking::NoNodeForStage,
    Blocking::BundleRefused,
    Blocking::NoNodeWithDevice,
    Blocking::NoNodeWithMemory,
    Blocking::NoNodeWithBundle,
    Blocking::QuotaGrants,
    Blocking::QuotaTracks,
    Blocking::QuotaJobs,
    Blocking::DevicesOut,
    Blocking::NodeDevicesOut,
    Blocking::QueuedBehind,
    Blocking::OtherTenantFirst,
    Blocking::InHand,
    Blocking::ShardFull,
    Blocking::BackOff,
    Blocking::RetriesSpent,
    Blocking::WaitsForOtherNode,
    Blocking::NotYetPulled,
    Blocking::ShardDone,
    Blocking::NodeFull,
    Blocking::NothingToDo,
];

fn requiring(request_id: &str, requires: v1::Requirements) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        requires: Some(requires),
        ..submission(request_id)
    }
}

/// A worker dies with the grant's track in hand, which is given back.
async fn dies(agent: &mut Agent, grant: &v1::Grant, number: u64) {
    let held = [grant.clone()];
    agent.beat(&held).await.unwrap();
    let died = v1::WorkerDeath {
        number,
        tracks: grant.tracks.clone(),
    };
    let said = agent
        .beat_as(&held, |beat| beat.held[0].deaths.push(died))
        .await;
    said.unwrap();
    let gives_back = released(grant, v1::ReleaseCause::WorkerLost);
    let said = agent
        .beat_as(&[], |beat| beat.released.push(gives_back))
        .await;
    said.unwrap();
}

fn released(grant: &v1::Grant, cause: v1::ReleaseCause) -> v1::Released {
    v1::Released {
        job: grant.job.clone(),
        shard: grant.shard.clone(),
        attempt: grant.attempt,
        cause: cause.into(),
    }
}

#[test]
fn every_reason_is_shown_on_processes_but_one_that_none_of_them_can_have() {
    let told = SHOWN.iter().chain(&UNHEARD).chain(&ELSEWHERE);
    let told: BTreeSet<&str> = told.map(|reason| reason.as_str()).collect();
    let all: BTreeSet<&str> = Blocking::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(told, all);
    assert_eq!(
        SHOWN.len() + UNHEARD.len() + ELSEWHERE.len(),
        all.len(),
        "none is told twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_job_without_a_node_that_is_paused_cancelled_or_published() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    scene.job_waits(&job, Blocking::NoNode).await;
    let pause = v1::PauseJobRequest {
        caller: caller(),
        job: job.clone(),
    };
    scene.people.jobs.pause_job(pause).await.unwrap();
    scene.job_waits(&job, Blocking::JobPaused).await;
    let cancel = v1::CancelJobRequest {
        caller: caller(),
        job: job.clone(),
        reason: String::new(),
    };
    scene.people.jobs.cancel_job(cancel).await.unwrap();
    scene.job_waits(&job, Blocking::JobCancelled).await;
    let mut agent = scene.agent("n1").await;
    scene.node_waits("n1", Blocking::NothingToDo).await;
    let job = scene.job(submission("r-2")).await;
    scene.job_waits(&job, Blocking::NotYetPulled).await;
    let pulled = agent.pull(16).await.unwrap();
    let shard = pulled.grants[0].shard.clone();
    scene.shard_waits(&job, &shard, Blocking::InHand).await;
    let request = agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    agent.commit(request).await.unwrap();
    scene.shard_waits(&job, &shard, Blocking::ShardDone).await;
    agent.work().await;
    scene.people.watch(&job).await;
    scene.job_waits(&job, Blocking::JobPublished).await;
    agent.leave().await.unwrap();
    scene.node_waits("n1", Blocking::NodeLeft).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nodes_that_an_operator_keeps_from_work_or_whose_devices_are_out() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let mut agent = scene.agent("n1").await;
    scene.duty("n1", v1::Duty::Cordoned).await;
    scene.job_waits(&job, Blocking::NodesNotServing).await;
    scene.node_waits("n1", Blocking::NodeCordoned).await;
    scene.duty("n1", v1::Duty::Draining).await;
    scene.node_waits("n1", Blocking::NodeDraining).await;
    scene.duty("n1", v1::Duty::Serving).await;
    let out = v1::DeviceOut {
        device: "cpu:0".to_owned(),
        code: "CANARY_FAILED".to_owned(),
    };
    let said = agent.beat_as(&[], |beat| beat.devices_out.push(out)).await;
    said.unwrap();
    scene.job_waits(&job, Blocking::DevicesOut).await;
    scene.node_waits("n1", Blocking::NodeDevicesOut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_node_that_cannot_store_its_parts_and_of_what_it_holds() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let mut agent = scene.agent("n1").await;
    let pulled = agent.pull(16).await.unwrap();
    let full = |beat: &mut v1::BeatRequest| beat.storage_trouble = "STORAGE_FULL".to_owned();
    agent.beat_as(&pulled.grants, full).await.unwrap();
    scene.job_waits(&job, Blocking::NodeStorage).await;
    scene.node_waits("n1", Blocking::NodeStorage).await;
    agent.beat(&pulled.grants).await.unwrap();
    scene.job_waits(&job, Blocking::InHand).await;
    let odd = |beat: &mut v1::BeatRequest| beat.storage_trouble = "no code".to_owned();
    let refused = agent.beat_as(&pulled.grants, odd).await.unwrap_err();
    assert_eq!(code(&refused), "INVALID_REQUEST", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_jobs_that_no_node_can_take() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let mut decodes_only = Agent::new(
        scene.coordinator.channel().await,
        scene.world.storage(),
        "n1",
    );
    decodes_only.stages = vec![v1::Stage::Decode];
    decodes_only.join().await.unwrap();
    let job = scene.job(submission("r-1")).await;
    scene.job_waits(&job, Blocking::NoNodeForStage).await;
    decodes_only.leave().await.unwrap();
    let mut agent = scene.agent("n2").await;
    let plain = v1::Requirements::default();
    for (request, requires, expected) in [
        (
            "r-2",
            v1::Requirements {
                device: v1::DeviceKind::Cuda.into(),
                ..plain
            },
            Blocking::NoNodeWithDevice,
        ),
        (
            "r-3",
            v1::Requirements {
                memory_bytes: 1 << 50,
                ..plain
            },
            Blocking::NoNodeWithMemory,
        ),
        (
            "r-4",
            v1::Requirements {
                bundle_loaded: true,
                ..plain
            },
            Blocking::NoNodeWithBundle,
        ),
    ] {
        let job = scene.job(requiring(request, requires)).await;
        scene.job_waits(&job, expected).await;
    }
    let pulled = agent.pull(16).await.unwrap();
    let refuses = released(&pulled.grants[0], v1::ReleaseCause::Bundle);
    let said = agent.beat_as(&[], |beat| beat.released.push(refuses)).await;
    said.unwrap();
    scene.job_waits(&job, Blocking::BundleRefused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_jobs_that_wait_for_others_or_for_their_quota() {
    let flags = [
        ["--quota", "one:grants=1"],
        ["--quota", "two:tracks=16"],
        ["--quota", "three:jobs=1"],
    ];
    let mut scene = Scene::new(TRACKS, flags.concat().as_slice()).await;
    let mut agent = scene.agent("n1").await;
    let first = scene.job(submission("r-1")).await;
    let second = scene.job(submission("r-2")).await;
    scene.job_waits(&first, Blocking::NotYetPulled).await;
    scene.job_waits(&second, Blocking::QueuedBehind).await;
    let mut waits = Vec::new();
    for tenant in ["one", "two", "three"] {
        let import = v1::ImportRequest {
            caller: of(tenant),
            ..crate::people::import(scene.world.music().to_str().unwrap())
        };
        scene.people.import(import).await.unwrap();
        for request in ["r-1", "r-2"] {
            let submit = v1::SubmitJobRequest {
                caller: of(tenant),
                ..submission(request)
            };
            waits.push((tenant, scene.job(submit).await));
        }
    }
    let last = scene.reasons_of("three", &waits[5].1, "").await;
    Scene::expect(&last, Blocking::QuotaJobs);
    let one = scene.reasons_of("one", &waits[0].1, "").await;
    Scene::expect(&one, Blocking::OtherTenantFirst);
    // Each is given what it may have, and then waits for its own sake.
    for _ in 0..12 {
        agent.pull(16).await.unwrap();
    }
    let one = scene.reasons_of("one", &waits[0].1, "").await;
    Scene::expect(&one, Blocking::QuotaGrants);
    let two = scene.reasons_of("two", &waits[2].1, "").await;
    Scene::expect(&two, Blocking::QuotaTracks);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_shards_that_are_full_failed_too_often_or_have_suspects() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let submit = v1::SubmitJobRequest {
        shard_tracks: 40,
        ..submission("r-1")
    };
    let job = scene.job(submit).await;
    let mut agent = scene.agent("n1").await;
    let mut grants = Vec::new();
    for _ in 0..16 {
        grants.extend(agent.pull(1).await.unwrap().grants);
    }
    scene.shard_waits(&job, "0", Blocking::ShardFull).await;
    let gives_back = grants
        .iter()
        .map(|grant| released(grant, v1::ReleaseCause::Storage))
        .collect();
    let said = agent.beat_as(&[], |beat| beat.released = gives_back).await;
    said.unwrap();
    scene.comes_to(&job, "0", Blocking::RetriesSpent).await;

    let second = v1::SubmitJobRequest {
        shard_tracks: 40,
        ..submission("r-2")
    };
    let second = scene.job(second).await;
    let pulled = agent.pull(1).await.unwrap();
    assert_eq!(pulled.grants[0].job, second);
    dies(&mut agent, &pulled.grants[0], 1).await;
    scene.comes_to(&second, "0", Blocking::BackOff).await;
    // Tried alone, its machine falls silent: from here on another node's turn is waited for.
    let alone = tried_alone(&mut agent, &second).await;
    agent.beat(&[alone]).await.unwrap();
    let mut other = scene.agent("n2").await;
    let until = Instant::now() + START_TIMEOUT;
    loop {
        other.beat(&[]).await.unwrap();
        other.pull(0).await.unwrap();
        let found = scene.reasons_of("default", &second, "0").await;
        if found.contains(&Blocking::WaitsForOtherNode.to_string()) {
            return Scene::expect(&found, Blocking::WaitsForOtherNode);
        }
        assert!(Instant::now() < until, "{found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Pulls until the job's suspect comes to be tried alone; what else comes is given back.
async fn tried_alone(agent: &mut Agent, job: &str) -> v1::Grant {
    let until = Instant::now() + START_TIMEOUT;
    loop {
        let pulled = agent.pull(1).await.unwrap();
        let apart = |grant: &&v1::Grant| grant.job == job && grant.care() == v1::Care::Apart;
        if let Some(grant) = pulled.grants.iter().find(apart) {
            return grant.clone();
        }
        let gives_back = pulled.grants.iter();
        let gives_back = gives_back
            .map(|grant| released(grant, v1::ReleaseCause::BackPressure))
            .collect();
        let said = agent.beat_as(&[], |beat| beat.released = gives_back).await;
        said.unwrap();
        assert!(Instant::now() < until, "the suspect is not tried alone");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nodes_that_hold_as_much_as_they_may_or_fall_silent() {
    let mut scene = Scene::new(400, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let mut agent = scene.agent("n1").await;
    let mut held = 0;
    while held < 192 {
        let grants = agent.pull(1).await.unwrap().grants;
        assert!(!grants.is_empty(), "after {held}");
        held += grants.len();
    }
    scene.node_waits("n1", Blocking::NodeFull).await;
    // It is not heard of again.
    scene.comes_to(&job, "", Blocking::NodesSilent).await;
    scene.comes_to(&job, "", Blocking::HeldBySilentNode).await;
    scene.node_waits("n1", Blocking::NodeSilent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_job_whose_manifest_cannot_be_written_until_it_can() {
    let mut scene = Scene::new(TRACKS, &[]).await;
    let job = scene.job(submission("r-1")).await;
    let mut agent = scene.agent("n1").await;
    let mut commits = Vec::new();
    for _ in 0..3 {
        let pulled = agent.pull(16).await.unwrap();
        for grant in &pulled.grants {
            commits.push(agent.make(&pulled.jobs[0], grant).await);
        }
    }
    // While it is paused all of it is done, and nothing is written of it.
    let pause = v1::PauseJobRequest {
        caller: caller(),
        job: job.clone(),
    };
    scene.people.jobs.pause_job(pause).await.unwrap();
    for commit in commits {
        agent.commit(commit).await.unwrap();
    }
    // A file stands where the job's objects are to be.
    let folder = scene.world.storage_folder().join("default/1").join(&job);
    let aside = folder.with_extension("aside");
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let resume = v1::ResumeJobRequest {
        caller: caller(),
        job: job.clone(),
    };
    scene.people.jobs.resume_job(resume).await.unwrap();
    scene.comes_to(&job, "", Blocking::ManifestFails).await;
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    let told = scene.people.watch(&job).await;
    assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
}

//! The store is lost, or an older copy of it is put back: no coordinator starts on it, and an operator has its records made anew from a
//! backup and from storage. Processes are real and killed; agents are played.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use proto::v1;
use types::{Code, Rebuilt, Report};

use crate::agent::{Agent, brief};
use crate::people::{People, caller, submission};
use crate::world::{Process, World};

const FLAGS: [&str; 1] = ["--folder-sources"];
const TRACKS: usize = 64;

/// A restore's process, told what to do before the usual flags.
fn restoring(world: &World, words: &[&str]) -> std::process::Command {
    let usual = world.command(&FLAGS);
    let mut command = std::process::Command::new(usual.get_program());
    command.args(words).args(usual.get_args());
    command
}

pub(crate) fn restored(world: &World, words: &[&str]) -> Rebuilt {
    let said = said(&restoring(world, words).output().unwrap());
    let Report::Rebuilt(rebuilt) = said else {
        panic!("{words:?}: {said:?}");
    };
    rebuilt
}

fn refused(world: &World, words: &[&str]) -> Code {
    let said = said(&restoring(world, words).output().unwrap());
    let Report::Failed(problem) = said else {
        panic!("{words:?}: {said:?}");
    };
    problem.code
}

/// No coordinator starts, and it says why.
#[track_caller]
fn check_refused(world: &World, expected: Code) {
    let output = world.command(&FLAGS).output().unwrap();
    let Report::Failed(problem) = said(&output) else {
        panic!("{output:?}");
    };
    assert_eq!(problem.code, expected, "{problem}");
}

pub(crate) fn said(output: &Output) -> Report {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"))
}

fn store(world: &World) -> PathBuf {
    world.data().join("store")
}

pub(crate) fn lose_store(world: &World) {
    std::fs::remove_dir_all(store(world)).unwrap();
}

/// The bytes of a backup.
pub(crate) async fn backup(process: &Process) -> Vec<u8> {
    let mut admin = v1::admin_client::AdminClient::new(process.channel().await);
    let request = v1::BackupRequest { caller: caller() };
    let mut chunks = admin.backup(request).await.unwrap().into_inner();
    let (mut bytes, mut whole) = (Vec::new(), false);
    while let Some(chunk) = chunks.message().await.unwrap() {
        bytes.extend(chunk.data);
        whole = chunk.last;
    }
    assert!(whole);
    bytes
}

pub(crate) async fn submitted(people: &mut People, request_id: &str) -> String {
    people
        .submit(request_id)
        .await
        .job
        .unwrap()
        .spec
        .unwrap()
        .job
}

/// Makes and commits so many of the grants that a pull gave.
pub(crate) async fn commit(agent: &mut Agent, pulled: &v1::PullResponse, grants: usize) {
    assert!(pulled.grants.len() >= grants, "{pulled:?}");
    for grant in &pulled.grants[..grants] {
        let made = agent.make(brief(pulled, grant), grant).await;
        let outcome = agent.commit(made).await.unwrap().outcome();
        assert_eq!(outcome, v1::CommitOutcome::Counted);
    }
}

pub(crate) async fn joined(process: &Process, world: &World, node: &str) -> Agent {
    let mut agent = Agent::new(process.channel().await, world.storage(), node);
    agent.join().await.unwrap();
    agent
}

/// The job's result has one row for each track.
async fn check_whole(people: &mut People, job: &str) {
    let last = people.watch(job).await.pop().unwrap();
    assert_eq!(last.state(), v1::JobState::Published, "{job}");
    let (findings, done) = people.verify(job).await;
    assert_eq!(
        (findings, done.rows_found),
        (Vec::new(), TRACKS as u64),
        "{job}"
    );
}

/// Name and bytes of every manifest of a job, whichever generation has it.
fn manifests(world: &World, job: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for generation in std::fs::read_dir(world.storage_folder().join("default")).unwrap() {
        let Ok(objects) = std::fs::read_dir(generation.unwrap().path().join(job)) else {
            continue;
        };
        for object in objects.map(Result::unwrap) {
            let name = object.file_name().into_string().unwrap();
            if name.starts_with("manifest-") {
                found.push((name, std::fs::read(object.path()).unwrap()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_is_restored_and_every_track_of_every_job_has_one_row() {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let published = submitted(&mut people, "published").await;
    let mut agent = joined(&process, &world, "n1").await;
    agent.work().await;
    check_whole(&mut people, &published).await;
    process.kill();
    let older = std::fs::read(store(&world).join("state.redb")).unwrap();

    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    agent.reconnect(process.channel().await);
    let half = submitted(&mut people, "half").await;
    let pulled = agent.pull(32).await.unwrap();
    commit(&mut agent, &pulled, 1).await;
    let cancelled = submitted(&mut people, "cancelled").await;
    let cancel = v1::CancelJobRequest {
        caller: caller(),
        job: cancelled.clone(),
        reason: String::new(),
    };
    people.jobs.cancel_job(cancel).await.unwrap();
    let copy = world.data().join("copy.backup");
    std::fs::write(&copy, backup(&process).await).unwrap();
    let copy = copy.to_str().unwrap();
    let rest = v1::PullResponse {
        grants: pulled.grants[1..].to_vec(),
        ..pulled
    };
    commit(&mut agent, &rest, 1).await;
    let none = submitted(&mut people, "none").await;
    process.kill();

    std::fs::write(store(&world).join("state.redb"), older).unwrap();
    check_refused(&world, Code::StoreOlder);
    lose_store(&world);
    check_refused(&world, Code::StorageForeign);

    let rebuilt = restored(&world, &["restore", copy]);
    assert_eq!((rebuilt.replaced, rebuilt.generation), (1, 2));
    assert_eq!(
        (rebuilt.published, rebuilt.cancelled, rebuilt.open),
        (1, 1, 2)
    );
    assert_eq!((rebuilt.parts_taken, rebuilt.tracks_taken), (2, 32));
    assert_eq!(rebuilt.tracks_queued, 2 * TRACKS as u64 - 32);
    assert_eq!(
        (rebuilt.ranked, rebuilt.catalogs, rebuilt.bundles),
        (1, 1, 1)
    );
    assert_eq!((rebuilt.folders, rebuilt.warnings.len()), (1, 1));
    // Submitted after the copy, and not worked on yet: it might have been refused.
    assert!(rebuilt.warnings[0].contains(&none), "{rebuilt:?}");
    assert_eq!(refused(&world, &["restore", copy]), Code::StoreNotEmpty);

    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let mut agent = joined(&process, &world, "n2").await;
    agent.work().await;
    for job in [&published, &half, &none] {
        check_whole(&mut people, job).await;
    }
    let [first, second] = &manifests(&world, &published)[..] else {
        panic!("the published job's manifest is in both generations");
    };
    assert_eq!(first, second);
    assert_eq!(
        people.job(&cancelled).await.state(),
        v1::JobState::Cancelled
    );
    // The same requests, sent again, find their jobs.
    assert!(people.submit("half").await.existing);
    assert!(people.submit("published").await.existing);
    assert!(people.jobs.submit_job(submission("new")).await.is_ok());
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_backup_all_that_counts_and_every_name_comes_from_storage_and_jobs_without_parts_survive()
 {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let half = submitted(&mut people, "half").await;
    let none = submitted(&mut people, "none").await;
    let mut agent = joined(&process, &world, "n1").await;
    let pulled = agent.pull(16).await.unwrap();
    commit(&mut agent, &pulled, 1).await;
    process.kill();
    lose_store(&world);

    let rebuilt = restored(&world, &["rebuild"]);
    assert_eq!(
        (rebuilt.open, rebuilt.parts_taken, rebuilt.ranked),
        (2, 1, 0)
    );
    assert_eq!(
        (rebuilt.catalogs, rebuilt.bundles, rebuilt.folders),
        (1, 1, 1)
    );
    // Without the bundle's flag: it stands on the shelf.
    let running = world.try_start_bare(&FLAGS).await.unwrap();
    let mut people = People::new(running.channel().await);
    let request = v1::ListBundlesRequest { caller: caller() };
    let bundles = people
        .bundles
        .list_bundles(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(bundles.bundles.len(), 1);
    let mut agent = Agent::new(running.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    agent.work().await;
    check_whole(&mut people, &half).await;
    check_whole(&mut people, &none).await;
    let again = people.imported(&world.music()).await;
    assert!(again.unchanged, "the catalog has its snapshot");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_an_older_store_a_rebuild_keeps_how_jobs_stood_in_line_and_what_was_said_of_nodes() {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let rank = v1::Rank {
        lane: v1::Lane::Ingest.into(),
        priority: Some(7),
        ..v1::Rank::default()
    };
    let ranked = v1::SubmitJobRequest {
        rank: Some(rank),
        ..submission("ranked")
    };
    let ranked = people.jobs.submit_job(ranked).await.unwrap().into_inner();
    let job = ranked.job.unwrap().spec.unwrap().job;
    let pause = v1::PauseJobRequest {
        caller: caller(),
        job: job.clone(),
    };
    people.jobs.pause_job(pause).await.unwrap();
    joined(&process, &world, "n1").await;
    let cordon = v1::SetDutyRequest {
        caller: caller(),
        node: "n1".to_owned(),
        duty: v1::Duty::Cordoned.into(),
    };
    people.nodes.set_duty(cordon).await.unwrap();
    process.kill();

    let rebuilt = restored(&world, &["rebuild", "--replace"]);
    assert_eq!(
        (rebuilt.open, rebuilt.ranked, rebuilt.generation),
        (1, 1, 2)
    );
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let found = people.job(&job).await;
    assert_eq!(found.state(), v1::JobState::Paused);
    let mut agent = joined(&process, &world, "n1").await;
    let resume = v1::ResumeJobRequest {
        caller: caller(),
        job: job.clone(),
    };
    let resumed = people.jobs.resume_job(resume).await.unwrap().into_inner();
    let stands = resumed.job.unwrap().rank.unwrap();
    assert_eq!(
        (stands.lane(), stands.priority),
        (v1::Lane::Ingest, Some(7))
    );
    assert!(
        agent.pull(16).await.unwrap().grants.is_empty(),
        "it is cordoned"
    );
    joined(&process, &world, "n2").await.work().await;
    check_whole(&mut people, &job).await;
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_stays_revoked_through_a_rebuild_and_another_one() {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let job = submitted(&mut people, "r-1").await;
    let mut agent = joined(&process, &world, "n1").await;
    let pulled = agent.pull(16).await.unwrap();
    commit(&mut agent, &pulled, 1).await;
    let revoke = v1::RevokeRequest {
        caller: caller(),
        revocation: "bad-memory".to_owned(),
        node: "n1".to_owned(),
        device: String::new(),
        from_ms: 0,
        to_ms: 10,
        reason: String::new(),
    };
    people.nodes.revoke(revoke).await.unwrap();
    process.kill();
    lose_store(&world);

    let rebuilt = restored(&world, &["rebuild"]);
    assert_eq!((rebuilt.parts_taken, rebuilt.revocations), (0, 1));
    assert_eq!(rebuilt.parts_skipped["revoked"], 1);
    assert_eq!(rebuilt.tracks_queued, TRACKS as u64);
    assert_eq!(refused(&world, &["rebuild"]), Code::StoreNotEmpty);
    let again = restored(&world, &["rebuild", "--replace"]);
    assert_eq!((again.replaced, again.generation), (2, 3));
    assert_eq!((again.parts_taken, again.revocations), (0, 1));

    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let mut agent = joined(&process, &world, "n2").await;
    agent.work().await;
    check_whole(&mut people, &job).await;
    let request = v1::ListRevocationsRequest { caller: caller() };
    let known = people
        .nodes
        .list_revocations(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(known.revocations.len(), 1);
    assert!(process.terminate());
}

/// Longest that a rebuild is let run before it is killed: where it has not ended by then it is let run to its end.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_and_run_again_a_rebuild_comes_to_the_same_end() {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let jobs = [
        submitted(&mut people, "a").await,
        submitted(&mut people, "b").await,
    ];
    let mut agent = joined(&process, &world, "n1").await;
    let pulled = agent.pull(48).await.unwrap();
    commit(&mut agent, &pulled, 3).await;
    process.kill();
    lose_store(&world);

    let (mut unfinished, mut after) = (0, Duration::ZERO);
    while after < KILLED_WITHIN {
        let mut child = restoring(&world, &["rebuild"]);
        let child = child.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        tokio::time::sleep(after).await;
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        unfinished += usize::from(is_unfinished(&world).await);
        after += Duration::from_millis(3);
    }
    assert!(unfinished > 0, "some were killed half-way");
    let ended = said(&restoring(&world, &["rebuild"]).output().unwrap());
    match &ended {
        Report::Rebuilt(rebuilt) => assert_eq!(rebuilt.replaced, 1),
        // The last one was killed after its last write.
        Report::Failed(problem) => assert_eq!(problem.code, Code::StoreNotEmpty),
        Report::Ready { .. } | Report::Drained | Report::Probed(_) => panic!("{ended:?}"),
    }

    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let mut agent = joined(&process, &world, "n2").await;
    agent.work().await;
    for job in &jobs {
        check_whole(&mut people, job).await;
    }
    assert!(process.terminate());
}

/// Whether the store says that a rebuild has begun and not ended.
async fn is_unfinished(world: &World) -> bool {
    use store::Store;
    let opened = store::Embedded::open(store(world)).unwrap();
    opened.get("/restore").await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_not_whole_is_refused_before_the_store_is_touched() {
    let world = World::new(2);
    let process = world.spawn(&FLAGS);
    let copy = backup(&process).await;
    process.kill();
    lose_store(&world);
    let file = world.data().join("copy.backup");
    std::fs::write(&file, &copy[..copy.len() - 1]).unwrap();
    let code = refused(&world, &["restore", file.to_str().unwrap()]);
    assert_eq!(code, Code::BackupDamaged);
    assert!(!store(&world).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_bundle_keeps_nothing_else_from_being_restored() {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    submitted(&mut people, "half").await;
    let mut agent = joined(&process, &world, "n1").await;
    let pulled = agent.pull(16).await.unwrap();
    commit(&mut agent, &pulled, 1).await;
    process.kill();
    lose_store(&world);
    let bundles = world.storage_folder().join("default/bundles");
    let bundle = std::fs::read_dir(bundles).unwrap().next().unwrap();
    for file in std::fs::read_dir(bundle.unwrap().path()).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "index.json" {
            std::fs::write(file.path(), "damaged").unwrap();
        }
    }
    let rebuilt = restored(&world, &["rebuild"]);
    assert_eq!(
        (rebuilt.open, rebuilt.parts_taken, rebuilt.bundles),
        (1, 1, 0)
    );
    let said = |warning: &String| warning.starts_with("read bundle");
    assert!(rebuilt.warnings.iter().any(said), "{:?}", rebuilt.warnings);
}

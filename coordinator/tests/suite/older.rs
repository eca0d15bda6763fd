//! A copy of the store is put back and storage has gone on since: a coordinator that would take the result's parts for orphans
//! does not start, and says which job shows it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proto::v1;
use types::{Code, Report};

use crate::agent::{Agent, begun, brief};
use crate::people::{People, caller};
use crate::world::{Process, START_TIMEOUT, World};

/// The collector looks every second: whatever it would remove goes within a few.
const FLAGS: [&str; 3] = ["--folder-sources", "--collect-secs", "1"];
/// Long enough for the collector to mark and to remove.
const COLLECTED_WITHIN: Duration = Duration::from_secs(5);

fn store_file(world: &World) -> PathBuf {
    world.data().join("store/state.redb")
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    files.into_iter().chain(below).collect()
}

/// The manifest in storage; there is one.
fn manifest(world: &World) -> PathBuf {
    let is_manifest = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("manifest-")
    };
    let mut found = files(&world.storage_folder())
        .into_iter()
        .filter(is_manifest);
    let manifest = found.next().unwrap();
    assert_eq!(found.next(), None);
    manifest
}

/// Makes and commits all that a pull gave.
async fn finish(agent: &mut Agent, pulled: &v1::PullResponse) {
    assert!(!pulled.grants.is_empty());
    for grant in &pulled.grants {
        let commit = agent.make(brief(pulled, grant), grant).await;
        let outcome = agent.commit(commit).await.unwrap().outcome();
        assert_eq!(outcome, v1::CommitOutcome::Counted);
    }
}

/// The store's file, once the coordinator over it is gone.
fn copied(world: &World, process: Process) -> Vec<u8> {
    process.kill();
    std::fs::read(store_file(world)).unwrap()
}

/// A coordinator over a copy of the store.
async fn over(world: &World, copy: &[u8]) -> (Process, People) {
    std::fs::write(store_file(world), copy).unwrap();
    let process = world.spawn(&FLAGS);
    let people = People::new(process.channel().await);
    (process, people)
}

/// No coordinator starts over that copy of the store; it names the job and the remedy, and leaves storage as it is.
#[track_caller]
fn check_refused(world: &World, copy: &[u8], job: &str) {
    // What is left to show an older store is a manifest.
    world.forget_revisions();
    let result = files(&world.storage_folder());
    std::fs::write(store_file(world), copy).unwrap();
    let ended = world.command(&FLAGS).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stdout).unwrap();
    let Ok(Report::Failed(problem)) = serde_json::from_str(&said) else {
        panic!("it said `{said}`");
    };
    assert_eq!(problem.code, Code::StoreOlder, "{problem}");
    assert!(
        problem.message.contains(&format!("`default/{job}`")),
        "{problem}"
    );
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains(Code::StoreOlder.fix()), "{said}");
    assert_eq!(files(&world.storage_folder()), result);
}

async fn check_whole(people: &mut People, job: &str, tracks: usize) {
    let last = people.watch(job).await.pop().unwrap();
    assert_eq!(last.state(), v1::JobState::Published);
    let (findings, done) = people.verify(job).await;
    assert_eq!((findings, done.rows_found), (Vec::new(), tracks as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_older_than_its_storage_is_refused_by_its_job_and_no_part_of_the_result_goes() {
    let world = World::new(32);
    let (process, _, mut agent, pulled, job) = begun(&world, &FLAGS).await;
    finish(&mut agent, &pulled).await;
    let copy = copied(&world, process);

    let (process, mut people) = over(&world, &copy).await;
    agent.reconnect(process.channel().await);
    agent.work().await;
    check_whole(&mut people, &job, 32).await;
    let newer = copied(&world, process);
    check_refused(&world, &copy, &job);

    // One remedy: the store as it was. Nothing is missing then, however often the collector looks.
    let (process, mut people) = over(&world, &newer).await;
    tokio::time::sleep(COLLECTED_WITHIN).await;
    check_whole(&mut people, &job, 32).await;
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_shows_an_older_store_too_and_one_that_publishes_with_its_manifest_there_goes_on()
 {
    let world = World::new(16);
    let (process, mut people, mut agent, pulled, job) = begun(&world, &FLAGS).await;
    let pause = v1::PauseJobRequest {
        caller: caller(),
        job: job.clone(),
    };
    people.jobs.pause_job(pause).await.unwrap();
    finish(&mut agent, &pulled).await;
    let paused = copied(&world, process);
    let (process, mut people) = over(&world, &paused).await;
    resume(&mut people, &job).await;
    check_whole(&mut people, &job, 16).await;
    process.kill();
    check_refused(&world, &paused, &job);

    // What stands in the place of the manifest keeps it from being written, and the job in `publishing`.
    let manifest = manifest(&world);
    let bytes = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    let (process, mut people) = over(&world, &paused).await;
    resume(&mut people, &job).await;
    comes_to_publish(&mut people, &job).await;
    let publishing = copied(&world, process);
    std::fs::remove_dir(&manifest).unwrap();
    std::fs::write(&manifest, bytes).unwrap();
    let (process, mut people) = over(&world, &publishing).await;
    check_whole(&mut people, &job, 16).await;
    assert!(process.terminate());
}

async fn resume(people: &mut People, job: &str) {
    let request = v1::ResumeJobRequest {
        caller: caller(),
        job: job.to_owned(),
    };
    people.jobs.resume_job(request).await.unwrap();
}

async fn comes_to_publish(people: &mut People, job: &str) {
    let until = Instant::now() + START_TIMEOUT;
    while people.job(job).await.state() != v1::JobState::Publishing {
        assert!(Instant::now() < until, "the job does not publish");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

//! Commits while storage is away or hangs for the coordinator alone: the agent's work is kept and everything else goes on.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use proto::v1;
use proto::v1::agents_client::AgentsClient;
use storage::paths;
use types::{Attempt, Generation, TenantId};

use crate::agent::{Agent, begun, brief};
use crate::people::code;
use crate::world::{Process, World};

/// Commits under way on one connection: below what the server takes.
const AT_ONCE: usize = 100;
/// How long a caller waits that then goes away, and one whose answer must come.
const IMPATIENT: Duration = Duration::from_millis(200);
const PATIENT: Duration = Duration::from_secs(25);

/// A coordinator, an agent with a grant, and the commit of the part that it has put into storage.
async fn offering(world: &World) -> (Process, Agent, Vec<v1::Grant>, v1::CommitRequest) {
    let (coordinator, _, agent, pulled, _) = begun(world, &["--folder-sources"]).await;
    let commit = agent
        .make(brief(&pulled, &pulled.grants[0]), &pulled.grants[0])
        .await;
    (coordinator, agent, pulled.grants, commit)
}

fn file_of(world: &World, commit: &v1::CommitRequest) -> PathBuf {
    let (job, shard) = (commit.job.parse().unwrap(), commit.shard.parse().unwrap());
    let part = &commit.parts[0];
    let (first, sha256) = (part.tracks[0].first, part.sha256.parse().unwrap());
    let (tenant, attempt) = (TenantId::default(), Attempt(commit.attempt));
    let generation = Generation(commit.generation);
    let path = paths::part(&tenant, generation, &job, shard, attempt, first, sha256);
    world.storage_folder().join(path.to_string())
}

fn spec_of(world: &World, commit: &v1::CommitRequest) -> PathBuf {
    let (tenant, generation) = (TenantId::default(), Generation(commit.generation));
    let path = paths::spec(&tenant, generation, &commit.job.parse().unwrap());
    world.storage_folder().join(path.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_refused_for_now_where_storage_is_away_for_the_coordinator_alone() {
    let world = World::new(40);
    let (coordinator, mut agent, _, commit) = offering(&world).await;
    let (folder, away) = (world.storage_folder(), world.data().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let refused = agent.commit(commit.clone()).await.unwrap_err();
    assert_eq!(code(&refused), "STORAGE_UNAVAILABLE", "{refused}");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    // One whose part alone is missing is refused for good.
    let file = file_of(&world, &commit);
    std::fs::rename(&file, world.data().join("part")).unwrap();
    let refused = agent.commit(commit.clone()).await.unwrap_err();
    assert_eq!(code(&refused), "COMMIT_INVALID", "{refused}");
    std::fs::rename(world.data().join("part"), &file).unwrap();
    let counted = agent.commit(commit).await.unwrap();
    assert_eq!(counted.outcome(), v1::CommitOutcome::Counted);
    assert!(coordinator.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_commits_to_storage_that_hangs_keep_nobody_else_waiting() {
    let world = World::new(40);
    let (coordinator, mut agent, grants, commit) = offering(&world).await;
    let (file, kept) = (file_of(&world, &commit), world.data().join("part"));
    std::fs::rename(&file, &kept).unwrap();
    // Where a part is missing its job's specification is looked for, which here nobody ever answers.
    let (specification, aside) = (spec_of(&world, &commit), world.data().join("spec"));
    std::fs::rename(&specification, &aside).unwrap();
    make_pipe(&specification);
    for _ in 0..10 {
        let client = AgentsClient::new(coordinator.channel().await);
        let offers = (0..AT_ONCE).map(|_| {
            let (mut client, commit) = (client.clone(), commit.clone());
            tokio::time::timeout(IMPATIENT, async move { client.commit(commit).await })
        });
        join_all(offers).await;
    }
    let beaten = tokio::time::timeout(PATIENT, agent.beat(&grants)).await;
    beaten.expect("a beat is answered").unwrap();
    let pulled = tokio::time::timeout(PATIENT, agent.pull(16)).await;
    pulled.expect("a pull is answered").unwrap();
    let offered = tokio::time::timeout(PATIENT, agent.commit(commit.clone())).await;
    let refused = offered.expect("a commit is answered").unwrap_err();
    let retried = ["OVERLOADED", "STORAGE_UNAVAILABLE"];
    assert!(retried.contains(&code(&refused).as_str()), "{refused}");
    // Whoever opens a pipe for reading waits for a writer.
    let released = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&specification)
        .unwrap();
    std::fs::rename(&aside, &specification).unwrap();
    std::fs::rename(&kept, &file).unwrap();
    let mut answer = agent.commit(commit.clone()).await;
    while let Err(refused) = &answer {
        assert!(retried.contains(&code(refused).as_str()), "{refused}");
        tokio::time::sleep(IMPATIENT).await;
        agent.beat(&grants).await.unwrap();
        answer = agent.commit(commit.clone()).await;
    }
    assert_eq!(answer.unwrap().outcome(), v1::CommitOutcome::Counted);
    drop(released);
    assert!(coordinator.terminate());
}

fn make_pipe(path: &std::path::Path) {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name ends with a zero byte and outlives the call.
    let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
}

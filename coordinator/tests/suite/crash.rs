//! The process is killed where it hurts most, and started again on the same folder. Nothing acknowledged is lost,
//! nothing counts twice, and nobody repairs anything by hand.

use proto::v1;

use crate::agent::{Agent, brief};
use crate::people::{People, caller};
use crate::world::{Process, World};

const TRACKS: usize = 100;

/// How an agent of a killed coordinator goes on: the same session on a new connection.
async fn restart(world: &World, process: Process, agent: &mut Agent) -> Process {
    process.kill();
    let process = world.spawn(&["--folder-sources"]);
    agent.reconnect(process.channel().await);
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_step_it_goes_on_where_it_was() {
    let world = World::new(TRACKS);
    let process = world.spawn(&["--folder-sources"]);
    let mut agent = Agent::new(process.channel().await, world.storage(), "n1");
    People::new(process.channel().await)
        .imported(&world.music())
        .await;

    let process = restart(&world, process, &mut agent).await;
    let job = People::new(process.channel().await)
        .submit("r-1")
        .await
        .job
        .unwrap()
        .spec
        .unwrap()
        .job;

    let process = restart(&world, process, &mut agent).await;
    let mut people = People::new(process.channel().await);
    assert!(people.submit("r-1").await.existing);
    agent.join().await.unwrap();

    // Killed with grants out: the session and its grants live on.
    let process = restart(&world, process, &mut agent).await;
    let pulled = agent.pull(32).await.unwrap();
    assert_eq!(pulled.grants.len(), 2);
    let process = restart(&world, process, &mut agent).await;
    agent.beat(&pulled.grants).await.unwrap();
    let first = agent
        .make(brief(&pulled, &pulled.grants[0]), &pulled.grants[0])
        .await;
    assert_eq!(
        agent.commit(first.clone()).await.unwrap().outcome(),
        v1::CommitOutcome::Counted
    );

    // Killed after the acknowledgement: the same commit again has happened already.
    let process = restart(&world, process, &mut agent).await;
    assert_eq!(
        agent.commit(first).await.unwrap().outcome(),
        v1::CommitOutcome::DoneAlready
    );

    // Killed while a commit is on its way: it counted, or counts now; never both.
    let second = agent
        .make(brief(&pulled, &pulled.grants[1]), &pulled.grants[1])
        .await;
    let sent = tokio::spawn({
        let (mut sender, second) = (
            Agent::new(process.channel().await, world.storage(), "n1"),
            second.clone(),
        );
        async move { sender.commit(second).await }
    });
    let process = restart(&world, process, &mut agent).await;
    let _whatever_it_was = sent.await.unwrap();
    let outcome = agent.commit(second).await.unwrap().outcome();
    assert!(
        matches!(
            outcome,
            v1::CommitOutcome::Counted | v1::CommitOutcome::DoneAlready
        ),
        "{outcome:?}"
    );

    // Killed right after the last commit, while the manifest is being written.
    agent.work().await;
    let process = restart(&world, process, &mut agent).await;
    let mut people = People::new(process.channel().await);
    let last = people.watch(&job).await.pop().unwrap();
    assert_eq!(
        (last.state(), last.tracks_done),
        (v1::JobState::Published, TRACKS as u64)
    );
    let (findings, done) = people.verify(&job).await;
    assert_eq!(findings, []);
    assert_eq!(
        (done.rows_found, done.verdicts.unwrap().likely_ai),
        (TRACKS as u64, 34)
    );

    let process = restart(&world, process, &mut agent).await;
    let mut people = People::new(process.channel().await);
    let request = v1::ListResultsRequest {
        caller: caller(),
        ..Default::default()
    };
    assert_eq!(
        people
            .results
            .list_results(request)
            .await
            .unwrap()
            .into_inner()
            .jobs
            .len(),
        1
    );
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_any_number_of_commits_on_their_way_it_counts_each_track_once() {
    let world = World::new(TRACKS);
    let mut process = world.spawn(&["--folder-sources"]);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(process.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    loop {
        let pulled = agent.pull(32).await.unwrap();
        if pulled.grants.is_empty() {
            break;
        }
        let mut commits = Vec::new();
        for grant in &pulled.grants {
            commits.push(agent.make(brief(&pulled, grant), grant).await);
        }
        let channel = process.channel().await;
        let sending: Vec<_> = commits
            .iter()
            .map(|commit| {
                let (mut sender, commit) = (
                    Agent::new(channel.clone(), world.storage(), "n1"),
                    commit.clone(),
                );
                tokio::spawn(
                    async move { sender.commit(commit).await.map(|answer| answer.outcome()) },
                )
            })
            .collect();
        process = restart(&world, process, &mut agent).await;
        let mut people = People::new(process.channel().await);
        for (sent, commit) in sending.into_iter().zip(commits) {
            let before = sent.await.unwrap();
            let after = agent.commit(commit).await.unwrap().outcome();
            let acknowledged = matches!(before, Ok(v1::CommitOutcome::Counted));
            // Where all had counted before the kill, the job may be over by now; it remembers no shard.
            if after == v1::CommitOutcome::Superseded {
                let state = people.job(&job).await.state();
                let over = [v1::JobState::Publishing, v1::JobState::Published];
                assert!(over.contains(&state), "{state:?}");
                continue;
            }
            let expected = [v1::CommitOutcome::DoneAlready, v1::CommitOutcome::Counted];
            assert!(expected.contains(&after), "{after:?}");
            assert!(
                !acknowledged || after == v1::CommitOutcome::DoneAlready,
                "acknowledged, then counted again"
            );
        }
    }
    let mut people = People::new(process.channel().await);
    assert_eq!(
        people.watch(&job).await.pop().unwrap().state(),
        v1::JobState::Published
    );
    let (findings, done) = people.verify(&job).await;
    assert_eq!((findings, done.rows_found), (Vec::new(), TRACKS as u64));
    assert!(process.terminate());
}

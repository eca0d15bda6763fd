//! What those who run an installation ask while it works: which objects nothing names, and what a node waits for.

use std::time::{Duration, Instant};

use proto::v1;
use tonic::Status;
use tonic::transport::Channel;
use types::{Blocking, Code};

use crate::agent::brief;
use crate::people::{People, caller};
use crate::restore::{joined, submitted};
use crate::scene::codes;
use crate::world::{START_TIMEOUT, World};

const TRACKS: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn collecting_on_demand_counts_without_a_mark_and_removes_nothing_that_was_not_seen_twice() {
    let world = World::new(16);
    let process = world.spawn(&["--folder-sources", "--collect-secs", "3600"]);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let job = submitted(&mut people, "r-1").await;
    let mut agent = joined(&process, &world, "n1").await;
    let pulled = agent.pull(16).await.unwrap();
    let made = agent
        .make(brief(&pulled, &pulled.grants[0]), &pulled.grants[0])
        .await;
    let cancel = v1::CancelJobRequest {
        caller: caller(),
        job,
        reason: String::new(),
    };
    people.jobs.cancel_job(cancel).await.unwrap();
    let mut admin = v1::admin_client::AdminClient::new(process.channel().await);
    let mut collect = async |apply: bool| {
        let request = v1::CollectGarbageRequest {
            caller: caller(),
            apply,
        };
        let answers = admin.collect_garbage(request).await.unwrap();
        answers.into_inner().message().await.unwrap().unwrap()
    };
    let orphan = v1::OrphanCount {
        cause: "cancelled".to_owned(),
        objects: 1,
        bytes: made.parts[0].bytes,
    };
    // Until the cancel is wholly stored, what it leaves may yet count.
    let until = Instant::now() + START_TIMEOUT;
    while collect(false).await.orphans.is_empty() {
        assert!(Instant::now() < until, "the orphan is not found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (apply, waiting) in [(false, 0), (true, 1), (true, 1), (false, 1)] {
        let found = collect(apply).await;
        assert_eq!(found.orphans, std::slice::from_ref(&orphan));
        assert_eq!(
            (found.removed, found.waiting, found.trouble.len()),
            (0, waiting, 0)
        );
    }
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_work_is_said_to_wait_for_a_store_without_room() {
    let world = World::new(TRACKS);
    let process = world.spawn(&["--folder-sources"]);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    submitted(&mut people, "r-1").await;
    let mut agent = joined(&process, &world, "n1").await;
    let pulled = agent.pull(16).await.unwrap();
    let made = agent
        .make(brief(&pulled, &pulled.grants[0]), &pulled.grants[0])
        .await;
    process.limit_files(Some(16 * 1024));
    let waits = |code: &String| code == Blocking::StoreTrouble.as_str();
    let until = Instant::now() + START_TIMEOUT;
    loop {
        agent.commit(made.clone()).await.unwrap_err();
        agent.beat(&pulled.grants).await.unwrap();
        let request = v1::GetNodeRequest {
            caller: caller(),
            node: "n1".to_owned(),
        };
        let node = people.nodes.get_node(request).await.unwrap().into_inner();
        let told = codes(node.reasons);
        if told.iter().any(waits) {
            break;
        }
        assert!(Instant::now() < until, "{told:?}");
    }
    process.limit_files(None);
    let counted = agent.commit(made).await.unwrap();
    assert_eq!(counted.outcome(), v1::CommitOutcome::Counted);
    assert!(process.terminate());
}

async fn probed(channel: Channel) -> Result<v1::ProbeStorageResponse, Status> {
    let request = v1::ProbeStorageRequest {
        caller: caller(),
        whole: true,
    };
    let mut admin = v1::admin_client::AdminClient::new(channel);
    let answer = admin.probe_storage(request).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_probed_by_one_at_a_time_and_again_once_that_is_done() {
    let world = World::new(0);
    let coordinator = world.start(&[]).await;
    let (channel, over) = (coordinator.channel().await, Instant::now() + START_TIMEOUT);
    let put = world.storage_folder().join("_probe");
    // Begun anew where the first is over before the second is answered.
    let refused = loop {
        assert!(Instant::now() < over, "no two probes meet");
        let first = tokio::spawn(probed(channel.clone()));
        while !put.exists() && !first.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let second = probed(channel.clone()).await;
        let met = !first.is_finished();
        assert!(first.await.unwrap().unwrap().usable);
        if met {
            break second.unwrap_err();
        }
    };
    assert_eq!(proto::problem::code(&refused), Some(Code::Overloaded));
    assert!(!put.exists(), "what was put is removed again");
    assert!(probed(channel).await.unwrap().usable);
    coordinator.stop().await.unwrap();
}

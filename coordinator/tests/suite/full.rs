//! A store without room: what the system refuses to write is refused to callers with its code, reading goes on, the reason is
//! said, and work goes on by itself once there is room. The limit is a real one, of the coordinator's process.

use proto::v1;

use crate::agent::{begun, brief};
use crate::people::{People, caller, code};
use crate::world::World;

const TRACKS: usize = 48;
/// Far below the size of the store's file, so that hardly any of its pages can be written.
const ROOM_BYTES: u64 = 16 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_pauses_work_with_its_reason_and_work_goes_on_by_itself_once_there_is_room() {
    let world = World::new(TRACKS);
    let (process, mut people, mut agent, pulled, job) = begun(&world, &["--folder-sources"]).await;
    let part = agent
        .make(brief(&pulled, &pulled.grants[0]), &pulled.grants[0])
        .await;

    process.limit_files(Some(ROOM_BYTES));
    for _ in 0..3 {
        let refused = agent.commit(part.clone()).await.unwrap_err();
        assert_eq!(code(&refused), "STORE_FULL", "{refused}");
    }
    let refused = agent.pull(16).await.unwrap_err();
    assert_eq!(code(&refused), "STORE_FULL", "{refused}");
    // Beats change no record, so the grant lives on, and people are told why nothing moves.
    agent.beat(&pulled.grants).await.unwrap();
    assert_eq!(people.job(&job).await.tracks_done, 0);
    let reasons = reasons(&mut people, &job).await;
    assert!(reasons.iter().any(is_full_store), "{reasons:?}");

    process.limit_files(None);
    let counted = agent.commit(part).await.unwrap();
    assert_eq!(counted.outcome(), v1::CommitOutcome::Counted);
    agent.work().await;
    let last = people.watch(&job).await.pop().unwrap();
    assert_eq!(
        (last.state(), last.tracks_done),
        (v1::JobState::Published, TRACKS as u64)
    );
    let (findings, _) = people.verify(&job).await;
    assert_eq!(findings, []);
    assert!(process.terminate());
}

/// Whether nothing moves since the store is full.
pub(crate) fn is_full_store(reason: &v1::Reason) -> bool {
    reason.code == "STORE_TROUBLE" && reason.cause.contains("STORE_FULL")
}

/// Why a job stands where it stands.
pub(crate) async fn reasons(people: &mut People, job: &str) -> Vec<v1::Reason> {
    let request = v1::ExplainJobRequest {
        caller: caller(),
        job: job.to_owned(),
        shard: String::new(),
    };
    let explained = people.jobs.explain_job(request).await.unwrap();
    explained.into_inner().reasons
}

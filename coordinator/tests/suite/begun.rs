//! What was begun in storage and not ended in the store: a cancel whose leader lost the leadership before the record was written, and a job that
//! was refused once its specification stood there. The next leader ends the first, and a restore names the second.

use proto::v1;
use storage::Cancelled;
use types::{Generation, JobId, JobSpec, UnixMillis};

use crate::people::People;
use crate::restore::{backup, lose_store, restored, submitted};
use crate::world::World;

const FLAGS: [&str; 1] = ["--folder-sources"];

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_only_storage_knows_of_is_finished_by_the_next_leader() {
    let world = World::new(16);
    let coordinator = world.start(&FLAGS).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = submitted(&mut people, "cancelled").await;
    let other = submitted(&mut people, "other").await;
    coordinator.stop().await.unwrap();
    let mark = Cancelled {
        tenant: "default".parse().unwrap(),
        generation: Generation(1),
        job: job.parse().unwrap(),
        actor: "someone".parse().unwrap(),
        at: UnixMillis(1),
    };
    world.storage().put_cancelled(&mark).await.unwrap();

    let coordinator = world.start(&FLAGS).await;
    let mut people = People::new(coordinator.channel().await);
    let state = people.job(&job).await.state();
    assert_eq!(state, v1::JobState::Cancelled);
    let state = people.job(&other).await.state();
    assert_eq!(state, v1::JobState::Running);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_which_only_its_specification_tells_is_restored_and_named() {
    let world = World::new(16);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let accepted: JobId = submitted(&mut people, "accepted").await.parse().unwrap();
    let storage = world.storage();
    let tenant = "default".parse().unwrap();
    let spec = storage.get_spec(&tenant, Generation(1), &accepted).await;
    // As a request leaves it that the store had no room for.
    let refused = JobSpec {
        job: "jrefused".parse().unwrap(),
        ..spec.unwrap()
    };
    storage.put_spec(&refused).await.unwrap();
    let copy = world.data().join("copy.backup");
    std::fs::write(&copy, backup(&process).await).unwrap();
    process.kill();
    lose_store(&world);

    let rebuilt = restored(&world, &["restore", copy.to_str().unwrap()]);
    assert_eq!(rebuilt.open, 2);
    let [warning] = &rebuilt.warnings[..] else {
        panic!("{rebuilt:?}");
    };
    assert!(warning.contains("jrefused"), "{warning}");
}

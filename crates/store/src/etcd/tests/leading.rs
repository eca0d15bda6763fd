//! Leadership on real leases: what ends it, who learns of it, and that nobody writes after its end.

use std::time::Duration;

use super::{World, applied, in_time, put_at_last, until, value_of};
use crate::{Etcd, LeadError, Outcome, Refusal, Store, Txn};

/// The shortest leadership, so that tests wait little for its end.
async fn open_short(world: &World) -> Etcd {
    let mut settings = world.cluster.settings("p");
    settings.leadership = Duration::from_secs(2);
    Etcd::open(settings).await.expect("the cluster serves")
}

#[tokio::test]
async fn a_paused_leader_never_writes() {
    let world = World::one().await;
    let (paused, other) = (open_short(&world).await, open_short(&world).await);
    let old = paused.lead("paused").await.expect("nobody leads yet");
    applied(paused.write(Txn::under(old).put("k", "1")).await);
    // Nobody renews it: its lease runs out, and who waits is told.
    let gone = in_time("the end of a lease", other.leader_other_than(Some(old))).await;
    assert_eq!(gone, Ok(None));
    let late = Txn::under(old).put("k", "late");
    assert_eq!(
        paused.write(late.clone()).await,
        Outcome::Refused(Refusal::Epoch)
    );
    let new = other.lead("other").await.expect("nobody leads");
    assert_eq!(paused.write(late).await, Outcome::Refused(Refusal::Epoch));
    assert_eq!(paused.keep(old).await, Err(LeadError::Lost));
    assert_eq!(paused.resign(old).await, Err(LeadError::Lost));
    assert_eq!(other.keep(new).await, Ok(()));
    assert_eq!(value_of(&other, "k").await, Some(b"1".into()));
}

#[tokio::test]
async fn a_leader_that_renews_leads_on_past_its_lease() {
    let world = World::one().await;
    let store = open_short(&world).await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        assert_eq!(store.keep(epoch).await, Ok(()));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    applied(store.write(Txn::under(epoch).put("k", "1")).await);
}

#[tokio::test]
async fn a_lease_that_is_revoked_or_a_key_that_is_removed_is_a_leadership_lost() {
    let world = World::one().await;
    let store = world.open("p").await;
    let mut client = world.cluster.client(0).await;
    let leader = format!("p/leader/{:016x}", store.identity().record);

    let epoch = store.lead("a").await.expect("nobody leads yet");
    let found = client.get(leader.as_str(), None).await.unwrap();
    client.lease_revoke(found.kvs()[0].lease()).await.unwrap();
    assert_eq!(store.keep(epoch).await, Err(LeadError::Lost));

    let epoch = store.lead("a").await.expect("nobody leads");
    client.delete(leader.as_str(), None).await.unwrap();
    assert_eq!(store.keep(epoch).await, Err(LeadError::Lost));
    let refused = store.write(Txn::under(epoch).put("k", "1")).await;
    assert_eq!(refused, Outcome::Refused(Refusal::Epoch));
}

#[tokio::test]
async fn resigning_leaves_neither_key_nor_lease() {
    let world = World::one().await;
    let store = world.open("p").await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    let mut client = world.cluster.client(0).await;
    assert_eq!(client.leases().await.unwrap().leases().len(), 1);
    store.resign(epoch).await.expect("it leads");
    assert_eq!(client.leases().await.unwrap().leases().len(), 0);
    assert_eq!(store.led_by().await, Ok(None));
}

#[tokio::test]
async fn a_leader_that_hears_nothing_for_its_time_is_told_that_it_is_lost() {
    let world = World::one().await;
    let store = open_short(&world).await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    world.cluster.stop(0).await;
    let lost = until("the end of a leadership in silence", || async {
        match store.keep(epoch).await {
            Err(LeadError::Unavailable { .. }) => None,
            ended => Some(ended),
        }
    })
    .await;
    assert_eq!(lost, Err(LeadError::Lost));
    world.cluster.go_on(0);
}

#[tokio::test]
async fn a_new_leader_follows_within_its_lease_when_the_old_one_dies() {
    let world = World::three().await;
    let (dead, follower) = (open_short(&world).await, open_short(&world).await);
    let old = dead.lead("https://old:1").await.expect("nobody leads yet");
    let seen = follower.led_by().await.expect("a reachable store answers");
    assert_eq!(
        seen.map(|leader| leader.name).as_deref(),
        Some("https://old:1")
    );
    drop(dead);
    let gone = in_time("the end of a lease", follower.leader_other_than(Some(old))).await;
    assert_eq!(gone, Ok(None));
    let new = follower.lead("https://new:1").await.expect("nobody leads");
    assert!(new > old);
}

#[tokio::test]
async fn a_leader_of_a_store_that_was_put_back_is_told_that_it_is_lost() {
    let mut world = World::one().await;
    let mut settings = world.cluster.settings("p");
    // It does not run out while the server is started twice.
    settings.leadership = Duration::from_secs(60);
    let store = Etcd::open(settings).await.expect("the cluster serves");
    let epoch = store.lead("a").await.expect("nobody leads yet");
    let copy = world.cluster.copy(0).await;
    put_at_last(&store, "k", "1").await;
    let kept = || async {
        match store.keep(epoch).await {
            Err(LeadError::Unavailable { .. }) => None,
            ended => Some(ended),
        }
    };
    assert_eq!(until("a renewal", kept).await, Ok(()));
    world.cluster.put_back(0, &copy).await;
    let led = until("an answer", || async { store.led_by().await.ok() }).await;
    assert_eq!(
        led.map(|leader| leader.epoch),
        Some(epoch),
        "its key came back too"
    );
    assert_eq!(until("an end", kept).await, Err(LeadError::Lost));
}

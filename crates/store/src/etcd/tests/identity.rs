//! Which store stands behind the endpoints: made once, the same for all, never mistaken for another.

use super::{World, applied, put};
use crate::{Etcd, EtcdError, NotAppliedCause, Outcome, ReadError, Store, Txn};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_made_once_and_has_one_number_for_all_who_open_it() {
    let world = World::one().await;
    let opened = futures_of(&world, "p", 6).await;
    let mut client = world.cluster.client(0).await;
    let record = client.get("p/identity", None).await.unwrap();
    assert_eq!(record.kvs()[0].version(), 1, "written once");
    let first = opened[0].status().await.map(|status| status.cluster);
    for store in &opened {
        assert_eq!(store.identity().cluster(), opened[0].identity().cluster());
        assert_eq!(store.status().await.map(|status| status.cluster), first);
    }
    let other = world.open("q").await;
    assert_ne!(other.identity().cluster(), opened[0].identity().cluster());
    assert_eq!(other.identity().etcd, opened[0].identity().etcd);
}

async fn futures_of(world: &World, prefix: &str, count: usize) -> Vec<Etcd> {
    let open = |_| {
        let settings = world.cluster.settings(prefix);
        tokio::spawn(Etcd::open(settings))
    };
    let opening: Vec<_> = (0..count).map(open).collect();
    let mut opened = Vec::new();
    for store in opening {
        let store = store.await.expect("no opening panics");
        opened.push(store.expect("the cluster serves"));
    }
    opened
}

#[tokio::test]
async fn stores_under_two_prefixes_share_nothing() {
    let world = World::one().await;
    let (a, b) = (world.open("a").await, world.open("a-b").await);
    put(&a, "k", "of a").await;
    assert_eq!(b.get("k").await, Ok(None));
    let epoch = a.lead("a").await.expect("nobody leads a");
    let other = b.lead("b").await.expect("nobody leads b");
    assert!(other > epoch);
    let txn = Txn::under(epoch).put("k", "of b, under a's epoch");
    let refused = b.write(txn).await;
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn a_prefix_with_keys_and_no_record_is_refused_and_left() {
    let world = World::one().await;
    let mut client = world.cluster.client(0).await;
    client.put("p/data/k", "somebody's", None).await.unwrap();
    let refused = Etcd::open(world.cluster.settings("p")).await;
    assert!(
        matches!(refused, Err(EtcdError::IdentityGone { .. })),
        "{refused:?}"
    );
    client
        .put("p/identity", "somebody else's", None)
        .await
        .unwrap();
    let refused = Etcd::open(world.cluster.settings("p")).await;
    assert!(
        matches!(refused, Err(EtcdError::IdentityDamaged { .. })),
        "{refused:?}"
    );
    let kept = client.get("p/identity", None).await.unwrap();
    assert_eq!(kept.kvs()[0].value(), b"somebody else's");
}

#[tokio::test]
async fn a_record_that_changes_under_an_open_store_is_said() {
    let world = World::one().await;
    let store = world.open("p").await;
    let mut client = world.cluster.client(0).await;
    client.delete("p/identity", None).await.unwrap();
    let status = store.status().await;
    assert!(
        matches!(status, Err(ReadError::Damaged { .. })),
        "{status:?}"
    );
}

#[tokio::test]
async fn another_cluster_behind_the_same_endpoint_is_never_taken_for_ours() {
    let mut world = World::one().await;
    let store = world.open("p").await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    applied(store.write(Txn::under(epoch).put("k", "1")).await);
    let ours = store.identity();
    world.cluster.replace().await;
    // The first calls may end with the connection to the old cluster.
    let said = super::until("the other cluster's answer", || async {
        match store.get("k").await {
            Err(ReadError::Unavailable { cause }) if cause.contains("stood") => Some(cause),
            Err(ReadError::Unavailable { .. }) => None,
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert!(said.contains(&format!("{:x}", ours.etcd)), "{said}");
    let written = store.write(Txn::default().put("k", "2")).await;
    let not_here = matches!(
        written,
        Outcome::NotApplied(NotAppliedCause::Unavailable { .. })
    );
    assert!(not_here, "{written:?}");
    // Whoever opens anew has a store of another number.
    let opened = world.open("p2").await;
    assert_ne!(opened.identity().cluster(), ours.cluster());
    assert_ne!(opened.identity().etcd, ours.etcd);
}

#[tokio::test]
async fn endpoints_of_two_clusters_are_refused() {
    let (one, two) = (World::one().await, World::one().await);
    let mut settings = one.cluster.settings("p");
    settings.endpoints.extend(two.cluster.endpoints());
    let refused = Etcd::open(settings).await;
    assert!(
        matches!(refused, Err(EtcdError::Elsewhere { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_said_by_name() {
    let mut world = World::one().await;
    let settings = world.cluster.settings("p");
    world.cluster.kill(0);
    match Etcd::open(settings.clone()).await {
        Err(EtcdError::Unreachable { cause }) => {
            assert!(cause.contains(&settings.endpoints[0]), "{cause}");
        }
        other => panic!("{other:?}"),
    }
}

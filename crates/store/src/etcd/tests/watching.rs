//! Watches on real servers: progress, fragments, compaction, and streams that break.

use super::{World, applied, in_time, put, put_at_last};
use crate::{Etcd, Outcome, REQUEST_BYTES_MAX, ReadError, Revision, Seen, Store, Txn, Watch};

/// The next transaction's revision and how many keys it changed.
async fn next(watch: &mut Watch) -> (Revision, usize) {
    loop {
        match in_time("a change", watch.next()).await {
            Ok(Seen::Changed { revision, changes }) => return (revision, changes.len()),
            Ok(Seen::Progress { .. }) => {}
            Err(error) => panic!("the watch ended: {error}"),
        }
    }
}

#[tokio::test]
async fn a_quiet_watch_says_how_far_it_has_come() {
    let world = World::one().await;
    let store = world.open("p").await;
    let before = put(&store, "quiet/k", "1").await;
    let mut watch = store.watch("quiet/", before).await.unwrap();
    let last = put(&store, "elsewhere", "1").await;
    loop {
        match in_time("progress", watch.next()).await.unwrap() {
            Seen::Progress { revision } if revision >= last => break,
            Seen::Progress { .. } => {}
            Seen::Changed { .. } => panic!("nothing of the range changed"),
        }
    }
}

#[tokio::test]
async fn a_watch_of_who_came_while_a_member_was_away_says_how_far_it_has_come_too() {
    let mut world = World::three().await;
    world.cluster.kill(2);
    let store = super::until("a store that serves", || async {
        Etcd::open(world.cluster.settings("p")).await.ok()
    })
    .await;
    let before = put_at_last(&store, "quiet/k", "1").await;
    let mut watch = store.watch("quiet/", before).await.unwrap();
    let last = put_at_last(&store, "elsewhere", "1").await;
    let far = loop {
        match in_time("progress", watch.next()).await.unwrap() {
            Seen::Progress { revision } if revision >= last => break revision,
            Seen::Progress { .. } => {}
            Seen::Changed { .. } => panic!("nothing of the range changed"),
        }
    };
    assert!(far >= last);
}

#[tokio::test]
async fn what_a_server_sends_in_pieces_comes_whole() {
    let world = World::one().await;
    let store = world.open("p").await;
    let before = put(&store, "k", "0").await;
    let mut expected = Vec::new();
    // Halves of the largest transaction: several of them fill each of the server's answers, and cut one of them.
    for keys in 2..=9 {
        let value = vec![keys as u8; REQUEST_BYTES_MAX / 2 / keys];
        let txn = (0..keys).fold(Txn::default(), |t, n| t.put(format!("k{n}"), value.clone()));
        expected.push((applied(store.write(txn).await), keys));
    }
    let mut watch = store.watch("k", before).await.unwrap();
    for expected in expected {
        assert_eq!(next(&mut watch).await, expected);
    }
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_ends_and_one_from_after_it_goes_on() {
    let world = World::one().await;
    let store = world.open("p").await;
    let first = put(&store, "k", "1").await;
    let mut running = store.watch("k", first).await.unwrap();
    let mut last = first;
    for n in 2..=10 {
        last = put(&store, "k", &n.to_string()).await;
    }
    let mut client = world.cluster.client(0).await;
    client.compact(last.0 as i64, None).await.unwrap();
    let gone = Err(ReadError::Compacted { revision: first });
    let mut late = store.watch("k", first).await.unwrap();
    assert_eq!(in_time("the end of a watch", late.next()).await, gone);
    let old = crate::KeyRange {
        at: Some(first),
        ..crate::KeyRange::prefix("k")
    };
    assert_eq!(
        store.range(&old).await,
        Err(ReadError::Compacted { revision: first })
    );
    // One that has come so far goes on; a new reading begins after it.
    while next(&mut running).await.0 < last {}
    let (read_at, entries) = crate::read_all(&store, "k").await.unwrap();
    assert_eq!((read_at, entries.len()), (last, 1));
    let mut anew = store.watch("k", read_at).await.unwrap();
    let after = put(&store, "k", "11").await;
    assert_eq!(next(&mut anew).await, (after, 1));
    assert_eq!(next(&mut running).await, (after, 1));
}

#[tokio::test]
async fn a_watch_outlives_its_server_s_death_and_pause() {
    let mut world = World::one().await;
    let store = world.open("p").await;
    let before = put(&store, "k", "0").await;
    let mut watch = store.watch("k", before).await.unwrap();
    let mut expected = vec![put(&store, "k", "1").await];
    world.cluster.kill(0);
    world.cluster.restart(0).await;
    expected.push(put_at_last(&store, "k", "2").await);
    world.cluster.stop(0).await;
    let unanswered = store.write(Txn::default().put("other", "1")).await;
    assert!(
        !matches!(unanswered, Outcome::Applied { .. }),
        "{unanswered:?}"
    );
    world.cluster.go_on(0);
    expected.push(put_at_last(&store, "k", "3").await);
    for revision in expected {
        assert_eq!(next(&mut watch).await.0, revision);
    }
}

#[tokio::test]
async fn a_follower_of_three_members_misses_nothing_when_the_leader_dies() {
    let mut world = World::three().await;
    let store = world.open("p").await;
    let before = put(&store, "k", "0").await;
    let mut watch = store.watch("k", before).await.unwrap();
    let mut acknowledged = vec![put(&store, "k", "1").await];
    let leader = world.cluster.leader().await;
    world.cluster.kill(leader);
    for n in 2..=5 {
        acknowledged.push(put_at_last(&store, "k", &n.to_string()).await);
    }
    world.cluster.restart(leader).await;
    acknowledged.push(put_at_last(&store, "k", "6").await);
    let last = *acknowledged.last().unwrap();
    let mut given = Vec::new();
    while given.last() != Some(&last) {
        given.push(next(&mut watch).await.0);
    }
    assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
    let missed = acknowledged
        .iter()
        .find(|revision| !given.contains(revision));
    assert_eq!(missed, None, "{given:?}");
}

#[tokio::test]
async fn a_watch_of_a_store_that_is_gone_ends_and_says_so() {
    let mut world = World::one().await;
    let store = world.open("p").await;
    let before = put(&store, "k", "0").await;
    let mut watch = store.watch("k", before).await.unwrap();
    world.cluster.kill(0);
    loop {
        match in_time("the end of a watch", watch.next()).await {
            Ok(Seen::Progress { .. }) => {}
            Ok(Seen::Changed { .. }) => panic!("nothing changed"),
            Err(ReadError::Unavailable { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    world.cluster.restart(0).await;
    let after = put_at_last(&store, "k", "1").await;
    let mut again = store.watch("k", before).await.unwrap();
    assert_eq!(next(&mut again).await.0, after);
}

#[tokio::test]
async fn a_watch_of_a_store_that_was_put_back_ends_and_leaves_nothing_out() {
    let mut world = World::one().await;
    let store = world.open("p").await;
    let before = put(&store, "k", "0").await;
    let copy = world.cluster.copy(0).await;
    put_at_last(&store, "k", "1").await;
    let seen = put_at_last(&store, "k", "2").await;
    let mut watch = store.watch("k", before).await.unwrap();
    while next(&mut watch).await.0 < seen {}
    world.cluster.put_back(0, &copy).await;
    // A stream from there on would wait, and leave out what comes before it.
    let ended = loop {
        match in_time("the end of a watch", watch.next()).await {
            Ok(Seen::Progress { .. }) => {}
            ended => break ended,
        }
    };
    assert!(
        matches!(ended, Err(ReadError::Compacted { .. })),
        "{ended:?}"
    );
}

//! A server out of room: reads and removals work, what was not taken is known not to have been, and work goes on once there is room.

use std::sync::Arc;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};
use types::Epoch;

use super::{World, applied, put, until, value_of};
use crate::server::{Line, Options};
use crate::{LeadError, NotAppliedCause, Outcome, Revision, Store, Txn};

/// Little more than an empty file of a server has.
const QUOTA_BYTES: u64 = 1024 * 1024;

async fn world() -> World {
    let options = Options {
        quota_bytes: Some(QUOTA_BYTES),
        ..Options::one(Line::V3_7)
    };
    World::start(options).await
}

/// Writes guarded versions of one key until the server has no room; gives the last revision that was acknowledged and what the write after it
/// came to.
async fn fill(store: &dyn Store) -> (Revision, Outcome) {
    let mut last = put(store, "k", "0").await;
    loop {
        let txn = Txn::default().at("k", last).put("k", vec![1; 100_000]);
        match store.write(txn).await {
            Outcome::Applied { revision } => last = revision,
            ended @ (Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::Unknown { .. }) => {
                return (last, ended);
            }
        }
    }
}

async fn make_room(client: &mut Client) {
    let revision = client.get("p/identity", None).await.unwrap();
    let revision = revision.header().unwrap().revision();
    let physical = etcd_client::CompactionOptions::new().with_physical();
    client.compact(revision, Some(physical)).await.unwrap();
    client.defragment().await.unwrap();
    // An alarm is disarmed for the member that raised it.
    let member = client.status().await.unwrap();
    let mut raised = AlarmOptions::new();
    raised.with_member(member.header().unwrap().member_id());
    client
        .alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(raised))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_server_is_said_to_be_full_and_serves_again_once_there_is_room() {
    let world = world().await;
    let store = world.open("p").await;
    put(&store, "other", "1").await;
    let (last, ended) = fill(&store).await;
    // The write at the edge is either not taken, or taken and answered as if it were not.
    let found = store.get("k").await.unwrap().expect("it was put");
    match ended {
        Outcome::NotApplied(NotAppliedCause::Full { .. }) => assert_eq!(found.revision, last),
        Outcome::Unknown { .. } => {}
        Outcome::NotApplied(_) | Outcome::Refused(_) | Outcome::Applied { .. } => {
            panic!("{ended:?}")
        }
    }
    let guarded = Txn::default().at("k", found.revision).put("k", "more");
    let full = store.write(guarded.clone()).await;
    assert!(
        matches!(full, Outcome::NotApplied(NotAppliedCause::Full { .. })),
        "{full:?}"
    );
    // Without a guard nobody can tell.
    let unguarded = store.write(Txn::default().put("x", "1")).await;
    assert!(
        matches!(unguarded, Outcome::Unknown { .. }),
        "{unguarded:?}"
    );
    // Reads, refusals, compares and removals go on.
    assert_eq!(value_of(&store, "other").await, Some(b"1".into()));
    let refused = store
        .write(Txn::default().absent("other").delete("other"))
        .await;
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
    applied(store.write(Txn::default().at("k", found.revision)).await);
    applied(store.write(Txn::default().delete("other")).await);

    let mut client = world.cluster.client(0).await;
    make_room(&mut client).await;
    let written = until("room", || async {
        match store.write(guarded.clone()).await {
            Outcome::NotApplied(_) | Outcome::Unknown { .. } => None,
            ended @ (Outcome::Applied { .. } | Outcome::Refused(_)) => Some(ended),
        }
    })
    .await;
    applied(written);
    assert_eq!(value_of(&store, "k").await, Some(b"more".into()));
}

#[tokio::test]
async fn a_leader_of_a_full_store_leads_on_and_learns_that_it_is_full() {
    let world = world().await;
    let store = world.open("p").await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    let (_, _) = fill(&store).await;
    assert_eq!(store.keep(epoch).await, Ok(()));
    let absent = Txn::under(epoch).absent("new").put("new", vec![1; 10_000]);
    let full = store.write(absent).await;
    assert!(
        matches!(full, Outcome::NotApplied(NotAppliedCause::Full { .. })),
        "{full:?}"
    );
    assert_eq!(store.get("new").await, Ok(None));
    assert_eq!(store.resign(epoch).await, Ok(()));
    let led = store.lead("b").await;
    assert!(matches!(led, Err(LeadError::Full { .. })), "{led:?}");
}

/// Writers that race to the edge together: some pass the server's first check and not its second.
const WRITERS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_race_into_a_full_server_are_never_told_wrong() {
    let world = world().await;
    let store = Arc::new(world.open("p").await);
    let epoch = store.lead("a").await.expect("nobody leads yet");
    let racing = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move { write_until_full(&*store, epoch, writer).await })
    });
    let mut ends = Vec::new();
    for racer in racing.collect::<Vec<_>>() {
        ends.extend(racer.await.expect("no writer panics"));
    }
    for (key, outcome) in ends {
        let stands = store
            .get(&key)
            .await
            .expect("a full server reads")
            .is_some();
        match outcome {
            Outcome::Applied { .. } => assert!(stands, "{key} was acknowledged"),
            Outcome::NotApplied(cause) => assert!(!stands, "{key}: {cause}, and it stands"),
            Outcome::Unknown { .. } => {}
            Outcome::Refused(_) => panic!("{key}: nobody else writes it"),
        }
    }
}

/// Makes one key after the other until one is not acknowledged; what each came to.
async fn write_until_full(
    store: &dyn Store,
    epoch: Epoch,
    writer: usize,
) -> Vec<(String, Outcome)> {
    let mut ends = Vec::new();
    for n in 0.. {
        let key = format!("{writer}/{n}");
        let txn = Txn::under(epoch).absent(key.as_str());
        let outcome = store.write(txn.put(key.as_str(), vec![1; 20_000])).await;
        let acknowledged = matches!(outcome, Outcome::Applied { .. });
        ends.push((key, outcome));
        if !acknowledged {
            break;
        }
    }
    ends
}

//! Servers that stand still, die or take less than they should: every call ends by itself, and says what is known.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{World, applied, in_time, put, put_at_last, until, value_of};
use crate::server::{Line, Options};
use crate::{
    Etcd, EtcdError, EtcdSettings, LeadError, NotAppliedCause, OPERATIONS_MAX, Outcome,
    REQUEST_BYTES_MAX, ReadError, Revision, Store, Txn, TxnError,
};

#[tokio::test]
async fn every_call_to_a_server_that_stands_still_ends_by_itself() {
    let world = World::one().await;
    let store = world.open("p").await;
    put(&store, "k", "1").await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    world.cluster.stop(0).await;
    let unavailable = |error: &ReadError| matches!(error, ReadError::Unavailable { .. });
    let cut_off = |error: &LeadError| matches!(error, LeadError::Unavailable { .. });
    let kept = in_time("keep", store.keep(epoch)).await.unwrap_err();
    assert!(cut_off(&kept) || kept == LeadError::Lost, "{kept}");
    assert!(unavailable(
        &in_time("get", store.get("k")).await.unwrap_err()
    ));
    assert!(unavailable(
        &in_time("status", store.status()).await.unwrap_err()
    ));
    assert!(unavailable(
        &in_time("led_by", store.led_by()).await.unwrap_err()
    ));
    assert!(cut_off(
        &in_time("lead", store.lead("b")).await.unwrap_err()
    ));
    assert!(cut_off(
        &in_time("resign", store.resign(epoch)).await.unwrap_err()
    ));
    let range = crate::KeyRange::prefix("k");
    assert!(unavailable(
        &in_time("range", store.range(&range)).await.unwrap_err()
    ));
    let watch = in_time("watch", store.watch("k", Revision(1))).await;
    assert!(unavailable(&watch.unwrap_err()));
    let waited = in_time("a leader", store.leader_other_than(Some(epoch))).await;
    assert!(unavailable(&waited.unwrap_err()));
    world.cluster.go_on(0);
    put_at_last(&store, "k", "2").await;
    assert_eq!(value_of(&store, "k").await, Some(b"2".into()));
}

/// Where somebody takes connections, hears a word, and closes them.
async fn whoever_closes() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut taken, _)) = listener.accept().await {
            let _ = taken.read(&mut [0; 64]).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_member_that_closes_a_plain_connection_has_refused_no_certificate() {
    let settings = EtcdSettings::new([whoever_closes().await], "p");
    let opened = in_time("an end", Etcd::open(settings)).await;
    let Err(EtcdError::Unreachable { cause }) = opened else {
        panic!("{opened:?}");
    };
    let turned_away = EtcdError::TurnedAway { cause };
    let said = turned_away.without_certificates().to_string();
    assert!(said.contains("asks for certificates"), "{said}");
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_may_land_later() {
    let world = World::one().await;
    let store = world.open("p").await;
    let read = put(&store, "k", "1").await;
    world.cluster.stop(0).await;
    let txn = Txn::default().at("k", read).put("k", "2");
    let outcome = in_time("the end of a write", store.write(txn.clone())).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    world.cluster.go_on(0);
    // The same guarded write settles it: either the first one landed, or this one does, and no third one ever will.
    let settled = until("a settled write", || async {
        match store.write(txn.clone()).await {
            Outcome::Unknown { .. } | Outcome::NotApplied(_) => None,
            settled @ (Outcome::Applied { .. } | Outcome::Refused(_)) => Some(settled),
        }
    })
    .await;
    assert!(
        matches!(settled, Outcome::Applied { .. } | Outcome::Refused(_)),
        "{settled:?}"
    );
    assert_eq!(value_of(&store, "k").await, Some(b"2".into()));
    let third = store.write(txn).await;
    assert!(matches!(third, Outcome::Refused(_)), "{third:?}");
}

#[tokio::test]
async fn a_write_to_a_server_that_is_gone_is_known_not_to_have_happened() {
    let mut world = World::one().await;
    let store = world.open("p").await;
    put(&store, "k", "1").await;
    world.cluster.kill(0);
    // The first may have been on its way over the connection that broke.
    let not_applied = until("a refused connection", || async {
        match store.write(Txn::default().put("k", "2")).await {
            Outcome::Unknown { .. } => None,
            ended @ (Outcome::Applied { .. } | Outcome::Refused(_) | Outcome::NotApplied(_)) => {
                Some(ended)
            }
        }
    })
    .await;
    let not_sent = matches!(
        not_applied,
        Outcome::NotApplied(NotAppliedCause::Unavailable { .. })
    );
    assert!(not_sent, "{not_applied:?}");
    let led = store.lead("a").await;
    assert!(matches!(led, Err(LeadError::Unavailable { .. })), "{led:?}");
    world.cluster.restart(0).await;
    put_at_last(&store, "k", "3").await;
}

#[tokio::test]
async fn a_cluster_that_loses_its_leader_loses_no_acknowledged_write() {
    let mut world = World::three().await;
    let store = world.open("p").await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    for n in 0..3 {
        let leader = world.cluster.leader().await;
        let key = format!("k{n}");
        applied(
            store
                .write(Txn::default().put(key.as_str(), "before"))
                .await,
        );
        world.cluster.kill(leader);
        put_at_last(&store, &format!("after{n}"), "1").await;
        assert_eq!(value_of(&store, &key).await, Some(b"before".into()));
        world.cluster.restart(leader).await;
    }
    // Whoever led through it does, or has been told; it never half leads.
    match store.keep(epoch).await {
        Ok(()) => drop(applied(store.write(Txn::under(epoch).put("k", "1")).await)),
        Err(LeadError::Lost) => {
            let refused = store.write(Txn::under(epoch).put("k", "1")).await;
            assert!(!matches!(refused, Outcome::Applied { .. }), "{refused:?}");
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_member_that_stands_still_is_left_for_another() {
    let world = World::three().await;
    let store = world.open("p").await;
    put(&store, "k", "1").await;
    // Calls go to the first endpoint while it answers.
    world.cluster.stop(0).await;
    let read = until("a read", || async { store.get("k").await.ok() }).await;
    assert!(read.is_some());
    put_at_last(&store, "k", "2").await;
    world.cluster.go_on(0);
    assert_eq!(value_of(&store, "k").await, Some(b"2".into()));
}

#[tokio::test]
async fn without_a_quorum_nothing_is_read_or_written_until_it_is_back() {
    let mut world = World::three().await;
    let store = world.open("p").await;
    put(&store, "k", "1").await;
    world.cluster.kill(1);
    world.cluster.kill(2);
    let read = in_time("a read", store.get("k")).await;
    assert!(
        matches!(read, Err(ReadError::Unavailable { .. })),
        "{read:?}"
    );
    let written = in_time("a write", store.write(Txn::default().put("k", "2"))).await;
    let nothing_known = matches!(
        written,
        Outcome::Unknown { .. } | Outcome::NotApplied(NotAppliedCause::Unavailable { .. })
    );
    assert!(nothing_known, "{written:?}");
    world.cluster.restart(1).await;
    put_at_last(&store, "k", "3").await;
    assert_eq!(value_of(&store, "k").await, Some(b"3".into()));
}

#[tokio::test]
async fn a_server_that_takes_less_than_the_bound_says_what_is_too_large() {
    let options = Options {
        request_bytes: Some(64 * 1024),
        ..Options::one(Line::V3_7)
    };
    let world = World::start(options).await;
    let store = world.open("p").await;
    for bytes in [100_000, REQUEST_BYTES_MAX - 4_096] {
        let txn = Txn::default().put("k", vec![1; bytes]);
        let counted = txn.recorded_size();
        let outcome = store.write(txn).await;
        let error = TxnError::TooLarge { bytes: counted };
        assert_eq!(
            outcome,
            Outcome::NotApplied(NotAppliedCause::Invalid(error))
        );
    }
    assert_eq!(store.get("k").await, Ok(None));
    let many = (0..OPERATIONS_MAX).fold(Txn::default(), |txn, n| txn.put(format!("k{n}"), "v"));
    applied(store.write(many).await);
}

#[tokio::test]
async fn a_page_beyond_what_one_answer_carries_is_read_in_smaller_ones() {
    let world = World::one().await;
    let store = world.open("p").await;
    for n in 0..6 {
        let value = vec![n; REQUEST_BYTES_MAX - 4_096];
        applied(
            store
                .write(Txn::default().put(format!("k{n}"), value))
                .await,
        );
    }
    let page = store.range(&crate::KeyRange::prefix("k")).await.unwrap();
    assert_eq!((page.entries.len(), page.next.as_deref()), (1, Some("k0")));
    let (_, all) = crate::read_all(&store, "k").await.unwrap();
    assert_eq!(all.len(), 6);
}

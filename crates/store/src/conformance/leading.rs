//! Checks of leadership: one leads, its epoch fences, everybody can see who it is. Run by [`super::all`]. Each check ends with nobody leading, so
//! that no lease runs out in the middle of another one.

use std::sync::Arc;

use types::Epoch;

use super::{applied, in_time, value_of};
use crate::{Compare, LeadError, Leader, Outcome, Refusal, Revision, Store, Txn};

pub(super) async fn one_leads_at_a_time(store: &dyn Store) {
    let first = store.lead("a").await.expect("nobody leads yet");
    assert_eq!(
        store.lead("b").await,
        Err(LeadError::Held { by: "a".into() })
    );
    assert_eq!(store.keep(first).await, Ok(()));
    assert_eq!(store.resign(first).await, Ok(()));
    assert_eq!(store.keep(first).await, Err(LeadError::Lost));
    assert_eq!(store.resign(first).await, Err(LeadError::Lost));
    let second = store.lead("b").await.expect("the first has resigned");
    assert!(second > first, "{second} after {first}");
    assert_eq!(store.keep(first).await, Err(LeadError::Lost));
    assert_eq!(store.resign(second).await, Ok(()));
}

pub(super) async fn an_epoch_that_is_over_writes_nothing(store: &dyn Store) {
    let old = store.lead("a").await.expect("nobody leads yet");
    applied(store.write(Txn::under(old).put("k", "1")).await);
    store.resign(old).await.expect("it leads");
    assert_eq!(
        store.write(Txn::under(old).put("k", "2")).await,
        Outcome::Refused(Refusal::Epoch)
    );
    let new = store.lead("b").await.expect("the first has resigned");
    for over in [old, Epoch(0), Epoch(new.0 + 1)] {
        let txn = Txn::under(over).put("k", "3");
        assert_eq!(
            store.write(txn).await,
            Outcome::Refused(Refusal::Epoch),
            "epoch {over}"
        );
    }
    assert_eq!(value_of(store, "k").await, Some(b"1".into()));
    applied(store.write(Txn::under(new).put("k", "4")).await);
    store.resign(new).await.expect("it leads");
}

pub(super) async fn the_epoch_s_refusal_comes_before_any_key_s(store: &dyn Store) {
    let over = Compare::Leads(Epoch(7));
    let mut txn = Txn::default()
        .absent("k")
        .at("j", Revision(1))
        .put("x", "1");
    txn.compares.push(over);
    assert_eq!(store.write(txn).await, Outcome::Refused(Refusal::Epoch));
}

pub(super) async fn everybody_can_read_who_leads(store: &dyn Store) {
    assert_eq!(store.led_by().await, Ok(None));
    let epoch = store
        .lead("https://one:7400")
        .await
        .expect("nobody leads yet");
    let leader = Leader {
        epoch,
        name: "https://one:7400".into(),
    };
    assert_eq!(store.led_by().await, Ok(Some(leader.clone())));
    // Whoever knows nobody, or another, need not wait.
    for known in [None, Some(Epoch(epoch.0 + 1))] {
        let other = in_time("a leader that stands", store.leader_other_than(known)).await;
        assert_eq!(other, Ok(Some(leader.clone())));
    }
    // The leadership is nobody's to read or to remove as a key.
    let (_, entries) = crate::read_all(store, "")
        .await
        .expect("a reachable store answers");
    assert_eq!(entries, []);
    store.resign(epoch).await.expect("it leads");
    assert_eq!(store.led_by().await, Ok(None));
}

pub(super) async fn whoever_waits_for_another_leader_wakes_at_each_change<S: Store>(store: Arc<S>) {
    let wait = |known: Option<Epoch>| {
        let store = store.clone();
        tokio::spawn(async move { store.leader_other_than(known).await })
    };
    let waiting = wait(None);
    let epoch = store.lead("a").await.expect("nobody leads yet");
    let woken = in_time("the first leader", waiting).await;
    let leader = woken
        .expect("nobody panics")
        .expect("a reachable store answers");
    assert_eq!(leader.map(|leader| leader.epoch), Some(epoch));
    let waiting = wait(Some(epoch));
    store.keep(epoch).await.expect("it leads");
    store.resign(epoch).await.expect("it leads");
    let woken = in_time("the end of a leadership", waiting).await;
    assert_eq!(woken.expect("nobody panics"), Ok(None));
}

/// Candidates that race.
const CANDIDATES: usize = 8;

pub(super) async fn racing_candidates_have_one_leader<S: Store>(store: Arc<S>) {
    let race = |n: usize| {
        let store = store.clone();
        tokio::spawn(async move { store.lead(&format!("candidate {n}")).await })
    };
    let racing: Vec<_> = (0..CANDIDATES).map(race).collect();
    let mut leading = Vec::new();
    for candidate in racing {
        match candidate.await.expect("no candidate panics") {
            Ok(epoch) => leading.push(epoch),
            Err(LeadError::Held { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(leading.len(), 1);
    let leader = store.led_by().await.expect("a reachable store answers");
    assert_eq!(leader.map(|leader| leader.epoch), Some(leading[0]));
    store.resign(leading[0]).await.expect("it leads");
}

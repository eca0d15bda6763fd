//! What every backend must do, as a suite that each backend's tests run.
//!
//! [`all`] runs each check on a store of its own, which the caller makes empty. A check panics with what it expected;
//! nothing here knows a backend, and no check may be left out by one.

mod bounds;
mod leading;
mod watching;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Entry, KeyRange, OPERATIONS_MAX, Outcome, PAGE_ENTRIES_MAX, ReadError, Refusal, Revision,
    Store, Txn, read_all,
};

/// Runs every check, each on a new, empty store.
///
/// # Panics
/// When the backend does not do what the trait says.
pub async fn all<F, S>(mut make: impl FnMut() -> F)
where
    F: Future<Output = S>,
    S: Store,
{
    an_empty_store_has_nothing(&make().await).await;
    a_put_is_read_back_at_its_revision(&make().await).await;
    each_change_gets_a_greater_revision(&make().await).await;
    a_compare_guards_every_operation(&make().await).await;
    absent_and_present_are_told_apart(&make().await).await;
    a_repeated_write_is_refused_and_not_applied_twice(&make().await).await;
    operations_of_one_transaction_share_a_revision(&make().await).await;
    a_transaction_without_operations_only_compares(&make().await).await;
    values_are_any_bytes_and_keys_any_text(&make().await).await;
    pages_are_in_order_and_complete(&make().await).await;
    pages_of_one_reading_show_one_revision(&make().await).await;
    a_revision_not_kept_is_said_to_be_compacted(&make().await).await;
    removing_what_is_absent_takes_no_revision(&make().await).await;
    racing_writers_of_one_key_have_one_winner(Arc::new(make().await)).await;
    bounds::bounds_are_the_same_everywhere(&make().await).await;
    bounds::a_transaction_may_fill_its_bounds_in_any_shape(&make().await).await;
    bounds::pages_of_large_values_are_cut_and_complete(&make().await).await;
    leading::one_leads_at_a_time(&make().await).await;
    leading::an_epoch_that_is_over_writes_nothing(&make().await).await;
    leading::the_epoch_s_refusal_comes_before_any_key_s(&make().await).await;
    leading::everybody_can_read_who_leads(&make().await).await;
    leading::whoever_waits_for_another_leader_wakes_at_each_change(Arc::new(make().await)).await;
    leading::racing_candidates_have_one_leader(Arc::new(make().await)).await;
    watching::a_watch_gives_each_later_transaction_whole_and_in_order(&make().await).await;
    watching::a_watch_gives_its_range_alone(&make().await).await;
    watching::a_watch_goes_on_after_the_last_revision_given(&make().await).await;
    watching::large_transactions_come_whole_too(&make().await).await;
    watching::a_watch_and_a_reading_give_the_same(Arc::new(make().await)).await;
    watching::a_revision_that_is_not_kept_or_not_reached_ends_a_watch(&make().await).await;
}

/// How long a check waits for what must come: a backend on a busy machine has it within a second.
const WITHIN: Duration = Duration::from_secs(60);

/// What a future gives within [`WITHIN`].
async fn in_time<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let given = tokio::time::timeout(WITHIN, wanted).await;
    given.unwrap_or_else(|_| panic!("waited {WITHIN:?} for {what}"))
}

async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    applied(store.write(Txn::default().put(key, value)).await)
}

#[track_caller]
fn applied(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Applied { revision } => revision,
        Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::Unknown { .. } => {
            panic!("not applied: {outcome:?}")
        }
    }
}

#[track_caller]
fn refused_at(outcome: &Outcome, key: &str) {
    assert_eq!(outcome, &Outcome::Refused(Refusal::Key(key.to_owned())));
}

async fn value_of(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    store
        .get(key)
        .await
        .expect("a reachable store answers")
        .map(|entry| entry.value)
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let (_, entries) = read_all(store, prefix)
        .await
        .expect("a reachable store answers");
    entries.into_iter().map(|entry| entry.key).collect()
}

async fn an_empty_store_has_nothing(store: &dyn Store) {
    assert_eq!(store.get("k").await, Ok(None));
    assert_eq!(keys(store, "").await, Vec::<String>::new());
    let (first, second) = (store.status().await, store.status().await);
    assert_eq!(
        first.map(|status| status.cluster),
        second.map(|status| status.cluster)
    );
}

async fn a_put_is_read_back_at_its_revision(store: &dyn Store) {
    let revision = put(store, "k", "v").await;
    let entry = Entry {
        key: "k".into(),
        value: b"v".into(),
        revision,
    };
    assert_eq!(store.get("k").await, Ok(Some(entry)));
    assert_eq!(
        store.status().await.map(|status| status.revision),
        Ok(revision)
    );
}

async fn each_change_gets_a_greater_revision(store: &dyn Store) {
    let first = put(store, "a", "1").await;
    let second = put(store, "b", "1").await;
    let third = put(store, "a", "1").await;
    let fourth = applied(store.write(Txn::default().delete("b")).await);
    assert!(first < second && second < third && third < fourth);
    let entry = store.get("a").await.expect("a reachable store answers");
    assert_eq!(entry.map(|entry| entry.revision), Some(third));
}

async fn a_compare_guards_every_operation(store: &dyn Store) {
    let old = put(store, "guard", "1").await;
    let new = put(store, "guard", "2").await;
    let txn = |revision| {
        Txn::default()
            .at("guard", revision)
            .put("a", "x")
            .put("b", "x")
            .delete("guard")
    };
    refused_at(&store.write(txn(old)).await, "guard");
    assert_eq!(keys(store, "").await, ["guard"]);
    applied(store.write(txn(new)).await);
    assert_eq!(keys(store, "").await, ["a", "b"]);
}

async fn absent_and_present_are_told_apart(store: &dyn Store) {
    applied(store.write(Txn::default().absent("k").put("k", "1")).await);
    refused_at(
        &store.write(Txn::default().absent("k").put("k", "2")).await,
        "k",
    );
    assert_eq!(value_of(store, "k").await, Some(b"1".into()));
    let revision = applied(store.write(Txn::default().delete("k")).await);
    refused_at(
        &store
            .write(Txn::default().at("k", revision).put("k", "3"))
            .await,
        "k",
    );
    refused_at(
        &store
            .write(Txn::default().at("k", Revision(0)).put("k", "3"))
            .await,
        "k",
    );
    applied(store.write(Txn::default().absent("k").put("k", "4")).await);
}

async fn a_repeated_write_is_refused_and_not_applied_twice(store: &dyn Store) {
    let read = put(store, "k", "1").await;
    let txn = Txn::default()
        .at("k", read)
        .put("k", "2")
        .put("log", "once");
    let revision = applied(store.write(txn.clone()).await);
    refused_at(&store.write(txn).await, "k");
    let entry = store.get("log").await.expect("a reachable store answers");
    assert_eq!(entry.map(|entry| entry.revision), Some(revision));
}

async fn operations_of_one_transaction_share_a_revision(store: &dyn Store) {
    let txn = (0..OPERATIONS_MAX).fold(Txn::default(), |txn, n| txn.put(format!("k{n:03}"), "v"));
    let revision = applied(store.write(txn).await);
    let (at, entries) = read_all(store, "k")
        .await
        .expect("a reachable store answers");
    assert_eq!((at, entries.len()), (revision, OPERATIONS_MAX));
    assert!(entries.iter().all(|entry| entry.revision == revision));
}

async fn removing_what_is_absent_takes_no_revision(store: &dyn Store) {
    let last = put(store, "k", "1").await;
    let outcome = store.write(Txn::default().delete("never there")).await;
    assert_eq!(applied(outcome), last);
    let txn = Txn::default().delete("never there").delete("k");
    let removed = applied(store.write(txn).await);
    assert!(removed > last);
    let status = store.status().await;
    assert_eq!(status.map(|status| status.revision), Ok(removed));
}

async fn a_transaction_without_operations_only_compares(store: &dyn Store) {
    let revision = put(store, "k", "1").await;
    assert_eq!(
        applied(store.write(Txn::default().at("k", revision)).await),
        revision
    );
    refused_at(&store.write(Txn::default().absent("k")).await, "k");
    assert_eq!(
        store.status().await.map(|status| status.revision),
        Ok(revision)
    );
}

async fn values_are_any_bytes_and_keys_any_text(store: &dyn Store) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    for (key, value) in [
        ("ключ/鍵", all_bytes),
        ("empty", Vec::new()),
        ("a\0b", vec![0; 3]),
    ] {
        applied(store.write(Txn::default().put(key, value.clone())).await);
        assert_eq!(value_of(store, key).await, Some(value));
    }
}

async fn fill(store: &dyn Store, count: usize) {
    for first in (0..count).step_by(OPERATIONS_MAX) {
        let group = first..count.min(first + OPERATIONS_MAX);
        let txn = group.fold(Txn::default(), |txn, n| {
            txn.put(format!("p/{n:06}"), n.to_string())
        });
        applied(store.write(txn).await);
    }
}

async fn pages_are_in_order_and_complete(store: &dyn Store) {
    for key in ["o/9", "p", "p0", "q/1"] {
        put(store, key, "outside").await;
    }
    fill(store, PAGE_ENTRIES_MAX + 7).await;
    let expected: Vec<String> = (0..PAGE_ENTRIES_MAX + 7)
        .map(|n| format!("p/{n:06}"))
        .collect();
    assert_eq!(keys(store, "p/").await, expected);
    assert_eq!(keys(store, "").await.len(), expected.len() + 4);
    let small = KeyRange {
        limit: 3,
        ..KeyRange::prefix("p/")
    };
    let page = store
        .range(&small)
        .await
        .expect("a reachable store answers");
    assert_eq!(
        (page.entries.len(), page.next.as_deref()),
        (3, Some("p/000002"))
    );
    let last = KeyRange {
        after: Some("p/001005".into()),
        ..KeyRange::prefix("p/")
    };
    let page = store.range(&last).await.expect("a reachable store answers");
    assert_eq!((page.entries.len(), page.next), (1, None));
    assert_eq!(keys(store, "none").await, Vec::<String>::new());
}

async fn pages_of_one_reading_show_one_revision(store: &dyn Store) {
    fill(store, 10).await;
    let first = KeyRange {
        limit: 4,
        ..KeyRange::prefix("p/")
    };
    let page = store
        .range(&first)
        .await
        .expect("a reachable store answers");
    applied(
        store
            .write(
                Txn::default()
                    .delete("p/000007")
                    .put("p/000005x", "new")
                    .put("p/000009", "changed"),
            )
            .await,
    );
    let rest = first
        .following(&page)
        .map(|rest| KeyRange { limit: 100, ..rest });
    let rest = rest.expect("six keys follow");
    match store.range(&rest).await {
        Ok(rest) => {
            let keys: Vec<_> = rest
                .entries
                .iter()
                .map(|entry| entry.key.as_str())
                .collect();
            assert_eq!(rest.revision, page.revision);
            assert_eq!(
                keys,
                [
                    "p/000004", "p/000005", "p/000006", "p/000007", "p/000008", "p/000009"
                ]
            );
            assert_eq!(rest.entries[5].value, b"9");
        }
        Err(ReadError::Compacted { revision }) => assert_eq!(revision, page.revision),
        Err(other) => panic!("{other}"),
    }
}

async fn a_revision_not_kept_is_said_to_be_compacted(store: &dyn Store) {
    fill(store, 10).await;
    let never = Revision(u64::MAX >> 1);
    let range = KeyRange {
        at: Some(never),
        ..KeyRange::prefix("p/")
    };
    assert_eq!(
        store.range(&range).await,
        Err(ReadError::Compacted { revision: never })
    );
}

/// Writers that race on one key.
const RACERS: usize = 16;

async fn racing_writers_of_one_key_have_one_winner(store: Arc<impl Store>) {
    let read = put(&*store, "k", "start").await;
    let racers = (0..RACERS).map(|n| {
        let store = store.clone();
        let txn = Txn::default().at("k", read).put("k", n.to_string());
        tokio::spawn(async move { (n, store.write(txn).await) })
    });
    let mut winners = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        let (n, outcome) = racer.await.expect("no racer panics");
        if let Outcome::Applied { .. } = outcome {
            winners.push(n);
        } else {
            refused_at(&outcome, "k");
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(
        value_of(&*store, "k").await,
        Some(winners[0].to_string().into_bytes())
    );
}

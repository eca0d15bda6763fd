//! Checks of what a store takes at most: operations, bytes, keys, pages. Run by [`super::all`].

use super::{applied, fill, keys};
use crate::{
    KEY_BYTES_MAX, KeyRange, NotAppliedCause, OPERATIONS_MAX, Outcome, PAGE_BYTES_MAX,
    REQUEST_BYTES_MAX, ReadError, Store, Txn, TxnError, read_all,
};

pub(super) async fn bounds_are_the_same_everywhere(store: &dyn Store) {
    let value = |bytes| vec![7; bytes];
    let fits = Txn::default().put("k", value(REQUEST_BYTES_MAX - 4_096));
    applied(store.write(fits).await);
    let too_large = Txn::default().put("k", value(REQUEST_BYTES_MAX + 1));
    let too_many =
        (0..=OPERATIONS_MAX).fold(Txn::default(), |txn, n| txn.put(format!("k{n}"), "v"));
    for txn in [
        too_large,
        too_many,
        Txn::default().put("", "v"),
        Txn::default().put("a", "1").delete("a"),
        Txn::default().absent("k".repeat(KEY_BYTES_MAX + 1)),
    ] {
        let before = store.status().await;
        let outcome = store.write(txn).await;
        let invalid = matches!(outcome, Outcome::NotApplied(NotAppliedCause::Invalid(_)));
        assert!(invalid, "{outcome:?}");
        assert_eq!(store.status().await, before);
    }
    assert_eq!(
        store.get("").await,
        Err(ReadError::Invalid(TxnError::Key { bytes: 0 }))
    );
}

/// A transaction whose counted bytes are exactly the bound, once the last put has been filled up.
fn filled(txn: Txn) -> Txn {
    let short = REQUEST_BYTES_MAX - txn.clone().put("fill", "").recorded_size();
    txn.put("fill", vec![7; short])
}

/// As many long compares and puts as one transaction may have.
fn many_long_keys() -> Txn {
    let key = |n: usize| format!("{n:03}{}", "k".repeat(KEY_BYTES_MAX - 3));
    let compared = (0..OPERATIONS_MAX).fold(Txn::default(), |txn, n| txn.absent(key(n)));
    (1..OPERATIONS_MAX / 4).fold(compared, |txn, n| txn.put(key(n), "v"))
}

fn many_small_keys() -> Txn {
    let compared = (0..OPERATIONS_MAX).fold(Txn::default(), |txn, n| txn.absent(format!("s{n}")));
    (1..OPERATIONS_MAX).fold(compared, |txn, n| txn.put(format!("s{n}"), ""))
}

pub(super) async fn a_transaction_may_fill_its_bounds_in_any_shape(store: &dyn Store) {
    for shape in [Txn::default(), many_small_keys(), many_long_keys()] {
        let txn = filled(shape);
        assert_eq!(txn.recorded_size(), REQUEST_BYTES_MAX);
        applied(store.write(txn.clone()).await);
        // The same again is refused, where it compares anything, and not for its size.
        let again = store.write(txn.clone()).await;
        match txn.compares.is_empty() {
            true => drop(applied(again)),
            false => assert!(matches!(again, Outcome::Refused(_)), "{again:?}"),
        }
    }
}

pub(super) async fn pages_of_large_values_are_cut_and_complete(store: &dyn Store) {
    fill(store, 3).await;
    for n in 0..5 {
        let value = vec![n; PAGE_BYTES_MAX / 2 - 100];
        let txn = Txn::default().put(format!("p/large-{n}"), value);
        applied(store.write(txn).await);
    }
    let page = store.range(&KeyRange::prefix("p/large")).await;
    let page = page.expect("a reachable store answers");
    assert_eq!(
        (page.entries.len(), page.next.as_deref()),
        (2, Some("p/large-1"))
    );
    let (_, all) = read_all(store, "p/")
        .await
        .expect("a reachable store answers");
    let bytes: usize = all.iter().map(|entry| entry.value.len()).sum();
    assert_eq!((all.len(), bytes), (8, 3 + 5 * (PAGE_BYTES_MAX / 2 - 100)));
    assert_eq!(keys(store, "p/large").await.len(), 5);
}

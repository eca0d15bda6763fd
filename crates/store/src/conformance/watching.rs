//! Checks of watches: order, whole transactions, resumption, what is not kept. Run by [`super::all`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{applied, in_time, put};
use crate::{
    Change, OPERATIONS_MAX, REQUEST_BYTES_MAX, ReadError, Revision, Seen, Store, Txn, Watch,
    read_all,
};

/// The next transaction that a watch gives, past what it only says of its progress.
async fn next(watch: &mut Watch) -> (Revision, Vec<Change>) {
    loop {
        match in_time("a change", watch.next()).await {
            Ok(Seen::Changed { revision, changes }) => return (revision, changes),
            Ok(Seen::Progress { .. }) => {}
            Err(error) => panic!("the watch ended: {error}"),
        }
    }
}

async fn watch(store: &dyn Store, prefix: &str, after: Revision) -> Watch {
    let watch = store.watch(prefix, after).await;
    watch.expect("a reachable store answers")
}

fn change(key: &str, value: Option<&str>) -> Change {
    Change {
        key: key.to_owned(),
        value: value.map(|value| value.as_bytes().to_vec()),
    }
}

fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

pub(super) async fn a_watch_gives_each_later_transaction_whole_and_in_order(store: &dyn Store) {
    let before = put(store, "before", "1").await;
    let first = applied(
        store
            .write(Txn::default().put("a", "1").put("b", "2"))
            .await,
    );
    let mut watch = watch(store, "", before).await;
    let second = applied(store.write(Txn::default().delete("a").put("b", "3")).await);
    applied(store.write(Txn::default().delete("a")).await);
    let third = put(store, "a", "4").await;
    let (revision, changes) = next(&mut watch).await;
    assert_eq!(revision, first);
    assert_eq!(
        sorted(changes),
        [change("a", Some("1")), change("b", Some("2"))]
    );
    let (revision, changes) = next(&mut watch).await;
    assert_eq!(revision, second);
    assert_eq!(sorted(changes), [change("a", None), change("b", Some("3"))]);
    assert_eq!(
        next(&mut watch).await,
        (third, vec![change("a", Some("4"))])
    );
}

pub(super) async fn a_watch_gives_its_range_alone(store: &dyn Store) {
    let before = put(store, "p/0", "before").await;
    let mut watch = watch(store, "p/", before).await;
    for other in ["p", "o/1", "p0", "q/1"] {
        put(store, other, "outside").await;
    }
    let both = Txn::default().put("p/1", "in").put("q/2", "out");
    let revision = applied(store.write(both).await);
    assert_eq!(
        next(&mut watch).await,
        (revision, vec![change("p/1", Some("in"))])
    );
    let epoch = store.lead("nobody's business").await.expect("nobody leads");
    store.resign(epoch).await.expect("it leads");
    let last = put(store, "p/2", "in").await;
    assert_eq!(
        next(&mut watch).await,
        (last, vec![change("p/2", Some("in"))])
    );
}

pub(super) async fn a_watch_goes_on_after_the_last_revision_given(store: &dyn Store) {
    let mut revisions = Vec::new();
    let before = put(store, "k", "0").await;
    for n in 1..=6 {
        revisions.push(put(store, "k", &n.to_string()).await);
    }
    let mut given = Vec::new();
    let mut after = before;
    for _ in 0..3 {
        let mut watch = watch(store, "k", after).await;
        for _ in 0..2 {
            after = next(&mut watch).await.0;
            given.push(after);
        }
    }
    assert_eq!(given, revisions);
}

pub(super) async fn large_transactions_come_whole_too(store: &dyn Store) {
    let before = put(store, "k", "0").await;
    let value = vec![9; REQUEST_BYTES_MAX / OPERATIONS_MAX - 200];
    let large = (0..OPERATIONS_MAX).fold(Txn::default(), |txn, n| {
        txn.put(format!("large/{n:03}"), value.clone())
    });
    let mut revisions = Vec::new();
    let mut watch = watch(store, "large/", before).await;
    for round in 0..2 {
        let txn = large.clone();
        let marked = Txn {
            ops: txn.ops.into_iter().skip(round).collect(),
            ..txn
        };
        revisions.push((applied(store.write(marked).await), OPERATIONS_MAX - round));
    }
    for expected in revisions {
        let (revision, changes) = next(&mut watch).await;
        assert_eq!((revision, changes.len()), expected);
        let whole = |change: &Change| change.value.as_ref() == Some(&value);
        assert!(changes.iter().all(whole));
    }
}

/// Writers beside the follower, and the writes of each.
const WRITERS: usize = 4;
const WRITES: usize = 50;

pub(super) async fn a_watch_and_a_reading_give_the_same<S: Store>(store: Arc<S>) {
    let before = put(&*store, "k/start", "0").await;
    let mut watch = watch(&*store, "k/", before).await;
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..WRITES {
                let txn = Txn::default()
                    .put(format!("k/{writer}/{}", n % 7), n.to_string())
                    .delete(format!("k/{}/{}", (writer + 1) % WRITERS, n % 5));
                applied(store.write(txn).await);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no writer panics");
    }
    let last = put(&*store, "k/end", "0").await;
    let mut copy = BTreeMap::from([("k/start".to_owned(), b"0".to_vec())]);
    loop {
        let (revision, changes) = next(&mut watch).await;
        for Change { key, value } in changes {
            match value {
                Some(value) => drop(copy.insert(key, value)),
                None => drop(copy.remove(&key)),
            }
        }
        if revision == last {
            break;
        }
    }
    let (_, entries) = read_all(&*store, "k/")
        .await
        .expect("a reachable store answers");
    let read: BTreeMap<String, Vec<u8>> = entries.into_iter().map(|e| (e.key, e.value)).collect();
    assert_eq!(copy, read);
}

pub(super) async fn a_revision_that_is_not_kept_or_not_reached_ends_a_watch(store: &dyn Store) {
    let last = put(store, "k", "1").await;
    for never in [Revision(last.0 + 1_000), Revision(u64::MAX >> 1)] {
        let gone = Err(ReadError::Compacted { revision: never });
        match store.watch("", never).await {
            Err(error) => assert_eq!(Err(error), gone),
            Ok(mut watch) => {
                assert_eq!(in_time("the end of a watch", watch.next()).await, gone);
                assert_eq!(in_time("the same again", watch.next()).await, gone);
            }
        }
    }
}

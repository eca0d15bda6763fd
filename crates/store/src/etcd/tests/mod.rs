//! The backend on real servers: conformance on three lines of etcd, identity, leadership, watches, faults, certificates, a full store, and
//! histories held against the model. Each test starts the servers that it needs, on ports and folders of its own.

mod certificates;
mod conformance;
mod faults;
mod full;
mod histories;
mod identity;
mod judge;
mod judging;
mod leading;
mod racing;
mod storms;
mod watching;

use std::future::Future;
use std::time::Duration;

use tempfile::TempDir;

use crate::server::{Cluster, Line, Options};
use crate::{Etcd, Outcome, Revision, Store, Txn};

/// How long a test waits for what must come: far more than any deadline here, on a machine that others use too.
const WITHIN: Duration = Duration::from_secs(120);

/// What a future gives within [`WITHIN`].
async fn in_time<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let given = tokio::time::timeout(WITHIN, wanted).await;
    given.unwrap_or_else(|_| panic!("waited {WITHIN:?} for {what}"))
}

/// Asks again and again until there is an answer.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time(what, asking).await
}

/// A cluster whose files go with the test.
struct World {
    cluster: Cluster,
    _folder: TempDir,
}

impl World {
    async fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let cluster = Cluster::start(folder.path(), options).await;
        Self {
            cluster,
            _folder: folder,
        }
    }

    /// One member of the current line.
    async fn one() -> Self {
        Self::start(Options::one(Line::V3_7)).await
    }

    /// Three members of the current line.
    async fn three() -> Self {
        Self::start(Options::three(Line::V3_7)).await
    }

    async fn open(&self, prefix: &str) -> Etcd {
        let opened = Etcd::open(self.cluster.settings(prefix)).await;
        opened.expect("the cluster serves")
    }
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

async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    applied(store.write(Txn::default().put(key, value)).await)
}

/// Puts until it is acknowledged: for a cluster that is about to serve again.
async fn put_at_last(store: &dyn Store, key: &str, value: &str) -> Revision {
    until("a write that is acknowledged", || async {
        match store.write(Txn::default().put(key, value)).await {
            Outcome::Applied { revision } => Some(revision),
            Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::Unknown { .. } => None,
        }
    })
    .await
}

async fn value_of(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    let entry = store.get(key).await.expect("a reachable store answers");
    entry.map(|entry| entry.value)
}

//! What storage has seen of the store: marks of cluster, generation and revision. Held against the store by a coordinator that is about to
//! lead, before it does anything, and put by one that leads: before its first answer and from time to time.
//!
//! A store that was put back from an older copy, another store over the same storage, and a new store where there was one before are
//! refused here, each with what shows it. Nothing is ever repaired: that is `restore`'s, and an operator's to ask for.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use scheduler::record::decode;
use storage::{ClusterMark, MarkConflict, Storage};
use store::Store;
use types::{Code, Generation, Problem};

use crate::app::storage_problem;
use crate::restore;
use crate::shelf::{GENERATION, read_problem};

/// Time between two marks: what a store that was put back may lack without being noticed by its revision.
const MARK_EVERY: Duration = Duration::from_secs(10);

/// Refuses a store that is not the one whose objects stand in storage, or is older than they are.
///
/// # Errors
/// `STORE_OLDER`, `RESTORE_UNFINISHED`, or the problem of a store or storage that does not answer: it might show one.
pub(crate) async fn check(store: &dyn Store, storage: &Storage) -> Result<(), Problem> {
    restore::check_finished(store).await?;
    let generation = generation(store).await?;
    let ours = mark(store, generation.unwrap_or(Generation(1))).await?;
    let failed = |error| storage_problem("read what storage has seen of the store", &error);
    let marks = storage.marks().await.map_err(failed)?;
    ours.check(&marks).map_err(|conflict| older(&conflict))?;
    match generation {
        Some(generation) => {
            let restored = storage.restored().await.map_err(failed)?;
            match restored.last().filter(|last| **last > generation) {
                Some(later) => Err(refused(&format!(
                    "it is of generation {generation}, and storage holds generation {later}"
                ))),
                None => Ok(()),
            }
        }
        None => {
            let found = storage.generations().await.map_err(failed)?;
            match found.last() {
                Some(last) => Err(refused(&format!(
                    "it is a new one, and storage holds the jobs of generation {last}"
                ))),
                None => Ok(()),
            }
        }
    }
}

/// Marks how far the store has come.
///
/// # Errors
/// The problem of a store or storage that does not answer.
pub(crate) async fn put(
    store: &dyn Store,
    storage: &Storage,
    generation: Generation,
) -> Result<(), Problem> {
    let mark = mark(store, generation).await?;
    let put = storage.put_mark(mark).await;
    put.map(drop)
        .map_err(|error| storage_problem("mark how far the store has come", &error))
}

/// Marks how far the store has come every so often, until the end is asked for. A mark that cannot be put is tried again.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    storage: Arc<Storage>,
    generation: Generation,
    closing: Shutdown,
) {
    let mut last = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(MARK_EVERY) => {}
            () = closing.asked() => return,
        }
        let Ok(mark) = mark(store.as_ref(), generation).await else {
            continue;
        };
        if last == Some(mark) {
            continue;
        }
        match storage.put_mark(mark).await {
            Ok(_) => last = Some(mark),
            Err(error) => tracing::warn!(%error, "how far the store has come could not be marked"),
        }
    }
}

async fn mark(store: &dyn Store, generation: Generation) -> Result<ClusterMark, Problem> {
    let status = store.status().await;
    let status = status.map_err(|error| read_problem("the store's revision", &error))?;
    Ok(ClusterMark {
        cluster: status.cluster,
        generation,
        revision: status.revision.0,
    })
}

/// The generation that the store is in; none where no coordinator has led it yet.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn generation(store: &dyn Store) -> Result<Option<Generation>, Problem> {
    let entry = store.get(GENERATION).await;
    let entry = entry.map_err(|error| read_problem(GENERATION, &error))?;
    let read = entry.map(|entry| decode(&entry.value)).transpose();
    read.map_err(|error| {
        let said = format!("read record `{GENERATION}`: {error}");
        Problem::new(Code::StoreCorrupt, said)
    })
}

fn older(conflict: &MarkConflict) -> Problem {
    refused(&conflict.to_string())
}

fn refused(shows: &str) -> Problem {
    Problem::new(Code::StoreOlder, format!("start on the store: {shows}"))
}

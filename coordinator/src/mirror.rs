//! What storage has seen of the store: marks of cluster, generation and revision. Held against the store by a coordinator that is about to
//! lead, before it does anything, and put by one that leads: before its first answer and from time to time.
//!
//! A store that was put back from an older copy, another store over the same storage, and a new store where there was one before are
//! refused here, each with what shows it. Nothing is ever repaired: that is `restore`'s, and an operator's to ask for.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use scheduler::record::decode;
use storage::{ClusterMark, MarkConflict, Storage, StorageError};
use store::Store;
use types::{Code, Generation, Problem};

use crate::app::storage_problem;
use crate::restore;
use crate::shelf::{GENERATION, read_problem};

/// Time between two marks: what a store that was put back may lack without being noticed by its revision.
const MARK_EVERY: Duration = Duration::from_secs(10);

/// Refuses a store that is not the one whose objects stand in storage, or is older than they are.
///
/// Storage is asked before the store each time: what it has seen is then no more than what the store says, though a leader goes on and
/// marks meanwhile.
///
/// # Errors
/// `STORE_OLDER`, `RESTORE_UNFINISHED`, or the problem of a store or storage that does not answer: it might show one.
pub(crate) async fn check(store: &dyn Store, storage: &Storage) -> Result<(), Problem> {
    let marks = marks(storage).await?;
    let restored = storage.restored().await.map_err(|error| unread(&error))?;
    restore::check_finished(store).await?;
    let Some(generation) = generation(store).await? else {
        return check_new(store, storage, &marks).await;
    };
    check_against(store, generation, &marks).await?;
    match restored.last().filter(|last| **last > generation) {
        Some(later) => Err(refused(&format!(
            "it is of generation {generation}, and storage holds generation {later}"
        ))),
        None => Ok(()),
    }
}

/// Refuses a store without a generation where storage holds one, unless somebody has begun to lead it meanwhile.
async fn check_new(
    store: &dyn Store,
    storage: &Storage,
    marks: &[ClusterMark],
) -> Result<(), Problem> {
    check_against(store, Generation(1), marks).await?;
    let found = storage
        .generations()
        .await
        .map_err(|error| unread(&error))?;
    let Some(last) = found.last() else {
        return Ok(());
    };
    match generation(store).await? {
        Some(_) => Ok(()),
        None => Err(refused(&format!(
            "it is a new one, and storage holds the jobs of generation {last}"
        ))),
    }
}

/// Marks how far the store has come, and refuses it where the marks of others say that it is not alone here: of two clusters that
/// begin at once each sees the other's mark, or is seen.
///
/// # Errors
/// `STORE_OLDER`, or the problem of a store or storage that does not answer.
pub(crate) async fn put(
    store: &dyn Store,
    storage: &Storage,
    generation: Generation,
) -> Result<(), Problem> {
    let mark = mark(store, generation).await?;
    put_mark(store, storage, mark).await
}

async fn put_mark(store: &dyn Store, storage: &Storage, mark: ClusterMark) -> Result<(), Problem> {
    let put = storage.put_mark(mark).await;
    put.map_err(|error| storage_problem("mark how far the store has come", &error))?;
    let marks = marks(storage).await?;
    check_against(store, mark.generation, &marks).await
}

async fn marks(storage: &Storage) -> Result<Vec<ClusterMark>, Problem> {
    storage.marks().await.map_err(|error| unread(&error))
}

/// Holds the store as it is at this moment against marks that were read before.
async fn check_against(
    store: &dyn Store,
    generation: Generation,
    marks: &[ClusterMark],
) -> Result<(), Problem> {
    let ours = mark(store, generation).await?;
    ours.check(marks).map_err(|conflict| older(&conflict))
}

fn unread(error: &StorageError) -> Problem {
    storage_problem("read what storage has seen of the store", error)
}

/// Marks how far the store has come every so often, until the end is asked for, and looks what others marked. A mark that cannot be put is
/// tried again.
///
/// # Errors
/// `STORE_OLDER` where another store took the place of this one, or this one was put back: who leads it is to end.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    storage: Arc<Storage>,
    generation: Generation,
    closing: Shutdown,
) -> Result<(), Problem> {
    let mut last = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(MARK_EVERY) => {}
            () = closing.asked() => return Ok(()),
        }
        let Ok(mark) = mark(store.as_ref(), generation).await else {
            continue;
        };
        if last == Some(mark) {
            continue;
        }
        match put_mark(store.as_ref(), &storage, mark).await {
            Err(problem) if problem.code == Code::StoreOlder => return Err(problem),
            Err(problem) => {
                tracing::warn!(%problem, "how far the store has come could not be marked");
            }
            Ok(()) => last = Some(mark),
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

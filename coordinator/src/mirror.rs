//! What storage has seen of the store: marks of cluster, generation and revision. Held against the store by a coordinator that is about to
//! lead, before it does anything, and put by one that leads: before its first answer and from time to time.
//!
//! A store that was put back from an older copy, another store over the same storage, a new store where there was one before, and a storage that
//! is not the one of this store are refused here, each with what shows it. Nothing is ever repaired: that is `restore`'s, and an operator's
//! to ask for.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use scheduler::record::decode;
use storage::{ClusterMark, MarkConflict, MarksSeen, Storage, StorageError};
use store::Store;
use types::{Code, Generation, Problem};

use crate::app::storage_problem;
use crate::ready::Ready;
use crate::restore;
use crate::shelf::{GENERATION, Shelf, marked, marked_as, read_problem};

/// Time between two marks: what a store that was put back may lack without being noticed by its revision.
const MARK_EVERY: Duration = Duration::from_secs(10);

/// Refuses a store that is not the one whose objects stand in storage, or is older than they are.
///
/// Storage is asked before the store each time: what it has seen is then no more than what the store says, though a leader goes on and
/// marks meanwhile.
///
/// # Errors
/// `STORE_OLDER`, `STORAGE_FOREIGN`, `STORAGE_OTHER`, `RESTORE_UNFINISHED`, or the problem of a store or storage that does not answer: it
/// might show one.
pub(crate) async fn check(store: &dyn Store, storage: &Storage) -> Result<(), Problem> {
    let marks = marks(storage).await?;
    let restored = storage.restored().await.map_err(|error| unread(&error))?;
    restore::check_finished(store).await?;
    let Some(generation) = generation(store).await? else {
        return check_new(store, storage, &marks).await;
    };
    // Before another cluster's marks are held against it: where this store has none of its own here, its objects are not here either.
    if is_elsewhere(store, generation, &marks).await? {
        // Its first leader may have marked it since they were read.
        let marks = self::marks(storage).await?;
        if is_elsewhere(store, generation, &marks).await? {
            return Err(elsewhere(storage));
        }
    }
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
/// begin at once each sees the other's mark, or is seen. One that is not takes its mark back, and the store of one that is notes that it
/// has been marked.
///
/// # Errors
/// `STORE_OLDER`, `STORAGE_FOREIGN`, or the problem of a store or storage that does not answer.
pub(crate) async fn put(shelf: &Shelf, storage: &Storage) -> Result<(), Problem> {
    let store = shelf.store().as_ref();
    let mark = mark(store, shelf.generation()).await?;
    let put = put_and_look(store, storage, mark).await;
    if let Err(problem) = &put
        && problem.code == Code::StorageForeign
        && let Err(error) = storage.take_back_mark(mark).await
    {
        tracing::warn!(%error, "a mark on another cluster's storage stays");
    }
    put?;
    shelf.note_marked(mark.cluster).await
}

async fn put_and_look(
    store: &dyn Store,
    storage: &Storage,
    mark: ClusterMark,
) -> Result<(), Problem> {
    put_mark(storage, mark).await?;
    let marks = marks(storage).await?;
    check_against(store, mark.generation, &marks)
        .await
        .map(drop)
}

async fn put_mark(storage: &Storage, mark: ClusterMark) -> Result<(), Problem> {
    let put = storage.put_mark(mark).await;
    let put = put.map_err(|error| storage_problem("mark how far the store has come", &error));
    put.map(drop)
}

/// Whether a leader has marked the storage of this store, and these marks are of another storage, since none of them is the store's.
async fn is_elsewhere(
    store: &dyn Store,
    generation: Generation,
    marks: &[ClusterMark],
) -> Result<bool, Problem> {
    let numbers = numbers(store, generation).await?;
    let is_ours = marks.iter().any(|mark| numbers.contains(&mark.cluster));
    Ok(!is_ours && is_marked(store, generation).await?)
}

/// Whether a leader has marked the storage of this store.
///
/// # Errors
/// When the record cannot be read.
pub(crate) async fn is_marked(store: &dyn Store, generation: Generation) -> Result<bool, Problem> {
    let key = marked(generation);
    let found = store.get(&key).await;
    let found = found.map_err(|error| read_problem(&key, &error))?;
    Ok(found.is_some())
}

/// The numbers that the store has or had: its own one, and the one under which its storage was marked.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn numbers(
    store: &dyn Store,
    generation: Generation,
) -> Result<Vec<u64>, Problem> {
    let status = store.status().await;
    let status = status.map_err(|error| read_problem("the store's number", &error))?;
    let noted: Option<u64> = read(store, &marked_as(generation)).await?;
    Ok(std::iter::once(status.cluster).chain(noted).collect())
}

async fn marks(storage: &Storage) -> Result<Vec<ClusterMark>, Problem> {
    storage.marks().await.map_err(|error| unread(&error))
}

/// Holds the store as it is at this moment against marks that were read before, and gives how far it has come.
async fn check_against(
    store: &dyn Store,
    generation: Generation,
    marks: &[ClusterMark],
) -> Result<ClusterMark, Problem> {
    let ours = mark(store, generation).await?;
    let checked = ours.check(marks);
    checked
        .map(|()| ours)
        .map_err(|conflict| refusal(&conflict))
}

fn unread(error: &StorageError) -> Problem {
    storage_problem("read what storage has seen of the store", error)
}

/// Marks how far the store has come every so often, until the end is asked for, and looks what others marked. A mark that cannot be put is
/// tried again. A storage that has lost every mark is said to be missing, and is not marked anew: it may be mounted again, and whoever starts
/// meanwhile is to hear that it is not the store's.
///
/// # Errors
/// `STORAGE_FOREIGN` where another store took the place of this one, `STORAGE_OTHER` where storage is another cluster's, `STORE_OLDER` where
/// this one was put back: who leads it is to end.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    storage: Arc<Storage>,
    generation: Generation,
    (ready, closing): (Ready, Shutdown),
) -> Result<(), Problem> {
    let (mut last, mut seen) = (None, MarksSeen::default());
    loop {
        tokio::select! {
            () = tokio::time::sleep(MARK_EVERY) => {}
            () = closing.asked() => return Ok(()),
        }
        let Ok(mark) = mark(store.as_ref(), generation).await else {
            continue;
        };
        let marked = match find_own(&storage, mark, &mut seen).await {
            Ok(Own::Gone) => {
                ready.lacks(&gone(&storage));
                continue;
            }
            Ok(Own::There) => {
                ready.is_well();
                mark_again(store.as_ref(), &storage, (mark, &mut last), &mut seen).await
            }
            Err(problem) => Err(problem),
        };
        match marked {
            Err(problem) if ends_reign(problem.code) => return Err(problem),
            Err(problem) => {
                tracing::warn!(%problem, "how far the store has come could not be marked");
            }
            Ok(()) => {}
        }
    }
}

/// What is found of the marks that this reign has put.
enum Own {
    There,
    /// None is left, and nobody else's is there but of a cluster that a restore took the place of.
    Gone,
}

/// Looks for the marks of the store's own cluster.
async fn find_own(
    storage: &Storage,
    ours: ClusterMark,
    seen: &mut MarksSeen,
) -> Result<Own, Problem> {
    let marks = storage.marks_again(seen, ours.cluster).await;
    let marks = marks.map_err(|error| unread(&error))?;
    let is_there = marks.iter().any(|mark| mark.cluster == ours.cluster);
    let is_taken = marks.iter().any(|mark| mark.generation >= ours.generation);
    match (is_there, is_taken) {
        (true, _) => Ok(Own::There),
        (false, true) => Err(taken(storage)),
        (false, false) => Ok(Own::Gone),
    }
}

/// Puts a mark unless it is the last one.
async fn mark_again(
    store: &dyn Store,
    storage: &Storage,
    (mark, last): (ClusterMark, &mut Option<ClusterMark>),
    seen: &mut MarksSeen,
) -> Result<(), Problem> {
    if *last == Some(mark) {
        return Ok(());
    }
    put_mark(storage, mark).await?;
    let marks = storage.marks_again(seen, mark.cluster).await;
    let marks = marks.map_err(|error| unread(&error))?;
    check_against(store, mark.generation, &marks).await?;
    *last = Some(mark);
    Ok(())
}

const fn ends_reign(code: Code) -> bool {
    matches!(
        code,
        Code::StoreOlder | Code::StorageForeign | Code::StorageOther
    )
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
    read(store, GENERATION).await
}

async fn read<T>(store: &dyn Store, key: &str) -> Result<Option<T>, Problem>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    let entry = store.get(key).await;
    let entry = entry.map_err(|error| read_problem(key, &error))?;
    let read = entry.map(|entry| decode(&entry.value)).transpose();
    read.map_err(|error| {
        let said = format!("read record `{key}`: {error}");
        Problem::new(Code::StoreCorrupt, said)
    })
}

fn refusal(conflict: &MarkConflict) -> Problem {
    match conflict {
        MarkConflict::Foreign { .. } => {
            let said = format!("start on the storage: {conflict}");
            Problem::new(Code::StorageForeign, said)
        }
        MarkConflict::Older { .. } => refused(&conflict.to_string()),
    }
}

fn elsewhere(storage: &Storage) -> Problem {
    let said = format!(
        "start on storage `{}`: no leader of this store has marked it, and one has marked another",
        storage.place()
    );
    Problem::new(Code::StorageOther, said)
}

fn taken(storage: &Storage) -> Problem {
    let said = format!(
        "lead over storage `{}`: in place of what this leader marked it with stands what another cluster's marked it with",
        storage.place()
    );
    Problem::new(Code::StorageOther, said)
}

fn gone(storage: &Storage) -> Problem {
    let said = format!(
        "lead over storage `{}`: what this leader marked it with is gone, and with it what it held; it is not mounted any more, or was emptied",
        storage.place()
    );
    Problem::new(Code::StorageOther, said)
}

fn refused(shows: &str) -> Problem {
    Problem::new(Code::StoreOlder, format!("start on the store: {shows}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::record::encode;
    use store::{Modelled, Txn};
    use tempfile::TempDir;

    const OURS: u64 = 7;
    const OTHER: u64 = 8;

    /// A storage with a mark of each of these clusters.
    async fn of(clusters: &[u64]) -> (Storage, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        for cluster in clusters {
            let mark = ClusterMark {
                cluster: *cluster,
                generation: Generation(1),
                revision: 0,
            };
            storage.put_mark(mark).await.unwrap();
        }
        (storage, folder)
    }

    /// A store whose leader has marked its storage, under that number.
    async fn used(number: u64) -> Modelled {
        let store = Modelled::new(OURS);
        let txn = Txn::default()
            .put(GENERATION, encode(&Generation(1)))
            .put(marked(Generation(1)), encode(&true))
            .put(marked_as(Generation(1)), encode(&number));
        store.write(txn).await;
        store
    }

    async fn said(store: &Modelled, clusters: &[u64]) -> Option<Code> {
        let (storage, _folder) = of(clusters).await;
        let checked = check(store, &storage).await;
        checked.err().map(|problem| problem.code)
    }

    #[tokio::test]
    async fn a_storage_without_a_mark_of_the_store_is_another_one_whoever_marked_it() {
        let store = used(OURS).await;
        for (clusters, expected) in [
            (&[OURS][..], None),
            (&[][..], Some(Code::StorageOther)),
            (&[OTHER][..], Some(Code::StorageOther)),
            (&[OURS, OTHER][..], Some(Code::StorageForeign)),
        ] {
            assert_eq!(said(&store, clusters).await, expected, "{clusters:?}");
        }
    }

    #[tokio::test]
    async fn a_store_that_has_no_objects_yet_finds_a_strangers_storage_foreign() {
        let store = Modelled::new(OURS);
        assert_eq!(said(&store, &[]).await, None);
        assert_eq!(said(&store, &[OTHER]).await, Some(Code::StorageForeign));
        let came_back_under_another_number = used(OTHER).await;
        assert_eq!(
            said(&came_back_under_another_number, &[OTHER]).await,
            Some(Code::StorageForeign)
        );
    }
}

//! Whether the storage that a restore reads is the one in which the store that it replaces kept its objects. Asked once by a restore before
//! its first write: from a storage that is not mounted, or is another one, it would make no records, and those that stand there would go.
//!
//! A storage knows a store by a mark of its number, by one of the number that the store noted when it was marked, since a snapshot of etcd
//! comes back under another one, or by what a restore left that made the store's generation. Nothing is written here.

use storage::{Storage, StorageError};
use store::Store;
use types::{Code, Generation, Problem};

use super::words::IGNORE_MISSING_MARKS;
use crate::app::storage_problem;
use crate::mirror;

/// Refuses a storage that knows nothing of a store that was in use. A store that no leader marked, and no restore made, has nothing that
/// would be missed.
///
/// # Errors
/// `STORAGE_OTHER`, or the problem of a store or storage that cannot be read.
pub(super) async fn check(
    store: &dyn Store,
    storage: &Storage,
    own: Option<Generation>,
) -> Result<(), Problem> {
    let Some(own) = own else {
        return Ok(());
    };
    match is_used(store, own).await? && !is_known(store, storage, own).await? {
        true => Err(elsewhere(storage)),
        false => Ok(()),
    }
}

async fn is_used(store: &dyn Store, own: Generation) -> Result<bool, Problem> {
    Ok(own > Generation(1) || mirror::is_marked(store, own).await?)
}

async fn is_known(store: &dyn Store, storage: &Storage, own: Generation) -> Result<bool, Problem> {
    let numbers = mirror::numbers(store, own).await?;
    let marks = storage.marks().await.map_err(|error| unread(&error))?;
    let made = storage.restored_as(own).await;
    let made = made.map_err(|error| unread(&error))?;
    let mut seen = marks.iter().map(|mark| mark.cluster);
    let is_made = made.is_some_and(|made| numbers.contains(&made.cluster));
    Ok(is_made || seen.any(|number| numbers.contains(&number)))
}

fn unread(error: &StorageError) -> Problem {
    storage_problem("read whose storage this is", error)
}

fn elsewhere(storage: &Storage) -> Problem {
    let said = format!(
        "replace the store's records by what storage `{}` holds: it has no mark of this store, whose objects were kept elsewhere \
         (mount or name that storage; use `{IGNORE_MISSING_MARKS}` where it is gone for good: what it held is then lost)",
        storage.place()
    );
    Problem::new(Code::StorageOther, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shelf::{marked, marked_as};
    use scheduler::record::encode;
    use storage::{ClusterMark, GenerationMark};
    use store::{Modelled, Txn};
    use tempfile::TempDir;
    use types::UnixMillis;

    const OURS: u64 = 7;

    fn empty() -> (Storage, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Storage::open_folder(folder.path()).unwrap(), folder)
    }

    /// A storage with the mark of one cluster.
    async fn of(cluster: u64) -> (Storage, TempDir) {
        let (storage, folder) = empty();
        let mark = ClusterMark {
            cluster,
            generation: Generation(1),
            revision: 3,
        };
        storage.put_mark(mark).await.unwrap();
        (storage, folder)
    }

    /// A store whose leader has marked its storage, under that number where one is said.
    async fn used(generation: u32, number: Option<u64>) -> Modelled {
        let store = Modelled::new(OURS);
        let generation = Generation(generation);
        let mut txn = Txn::default().put(marked(generation), encode(&true));
        if let Some(number) = number {
            txn = txn.put(marked_as(generation), encode(&number));
        }
        store.write(txn).await;
        store
    }

    async fn found(store: &Modelled, storage: &Storage, own: u32) -> Option<Code> {
        let checked = check(store, storage, Some(Generation(own))).await;
        checked.err().map(|problem| problem.code)
    }

    #[tokio::test]
    async fn a_storage_without_a_mark_of_a_store_that_was_in_use_is_refused() {
        let store = used(1, None).await;
        let (unmounted, _folder) = empty();
        let (other, _other) = of(OURS + 1).await;
        let (ours, _ours) = of(OURS).await;
        assert_eq!(found(&store, &unmounted, 1).await, Some(Code::StorageOther));
        assert_eq!(found(&store, &other, 1).await, Some(Code::StorageOther));
        assert_eq!(found(&store, &ours, 1).await, None);
    }

    #[tokio::test]
    async fn a_store_that_nobody_marked_may_be_made_of_any_storage() {
        let (storage, _folder) = of(OURS + 1).await;
        let store = Modelled::new(OURS);
        assert_eq!(found(&store, &storage, 1).await, None);
        assert_eq!(check(&store, &storage, None).await, Ok(()));
    }

    #[tokio::test]
    async fn a_store_that_came_back_under_another_number_is_known_by_the_one_it_was_marked_under() {
        let (storage, _folder) = of(OURS + 1).await;
        let store = used(1, Some(OURS + 1)).await;
        assert_eq!(found(&store, &storage, 1).await, None);
        let stranger = used(1, Some(OURS + 2)).await;
        assert_eq!(
            found(&stranger, &storage, 1).await,
            Some(Code::StorageOther)
        );
    }

    #[tokio::test]
    async fn a_store_that_a_restore_made_and_nobody_led_is_known_by_what_the_restore_left() {
        let store = Modelled::new(OURS);
        let (storage, _folder) = empty();
        assert_eq!(found(&store, &storage, 2).await, Some(Code::StorageOther));
        let made = GenerationMark {
            generation: Generation(2),
            replaced: Generation(1),
            cluster: OURS,
            at: UnixMillis(1),
        };
        storage.put_restored(&made).await.unwrap();
        assert_eq!(found(&store, &storage, 2).await, None);
        assert_eq!(found(&store, &storage, 3).await, Some(Code::StorageOther));
    }
}

//! What probes that were killed left under `_probe/`. A later probe removes it, some at a time, once no living one can need it. Called by
//! [`Storage::probe`] alone; nothing but what is named as a probe names its folder is removed.

use std::future::ready;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::Storage;

/// Where probes put what they ask with.
const FOLDER: &str = "_probe";

/// What is older than this is nobody's any more: the longest probe takes an hour, and clocks of machines differ by less than the rest.
const LEFT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Objects that one probe looks at and folders that it removes: a start waits for it, and the next probe goes on.
const OBJECTS_MAX: usize = 512;
const FOLDERS_MAX: usize = 64;

/// Removals at once, and the longest time for all of them.
const REMOVALS_AT_ONCE: usize = 16;
const DEADLINE: Duration = Duration::from_secs(5);

/// A folder for a probe that begins now.
pub(super) fn folder() -> String {
    format!(
        "{FOLDER}/{}-{}",
        std::process::id(),
        since_1970().as_nanos()
    )
}

/// Removes what is old, as far as it comes. What stays is read by nobody.
pub(super) async fn remove(storage: &Storage) {
    let before = since_1970().saturating_sub(LEFT_FOR);
    let store = storage.object_store();
    let is_old = |found: &object_store::Result<ObjectMeta>| {
        let found = found.as_ref().ok();
        ready(found.is_some_and(|found| is_before(found.location.as_ref(), before)))
    };
    let removing = store
        .list(Some(&Path::from(FOLDER)))
        .take(OBJECTS_MAX)
        .filter(is_old)
        .for_each_concurrent(REMOVALS_AT_ONCE, |found| async move {
            if let Ok(found) = found {
                let _stays = store.delete(&found.location).await;
            }
        });
    if tokio::time::timeout(DEADLINE, removing).await.is_err() {
        tracing::debug!("the next probe removes what killed ones left");
    }
    if let Some(root) = storage.folder() {
        remove_folders(&root.join(FOLDER), before);
    }
}

/// On a folder the folders stay where their objects went.
fn remove_folders(all: &std::path::Path, before: Duration) {
    let Ok(entries) = std::fs::read_dir(all) else {
        return;
    };
    for entry in entries.take(FOLDERS_MAX).flatten() {
        let name = entry.file_name();
        if is_before(&format!("{FOLDER}/{}", name.to_string_lossy()), before) {
            let _stays = std::fs::remove_dir_all(entry.path());
        }
    }
    // It goes with the last one.
    let _another_runs = std::fs::remove_dir(all);
}

/// Whether a path is of a probe that began before that time: a folder is named by its process and by when it began.
fn is_before(path: &str, before: Duration) -> bool {
    let name = path
        .strip_prefix(FOLDER)
        .and_then(|rest| rest.strip_prefix('/'));
    let words = name
        .and_then(|name| name.split('/').next())
        .and_then(|name| name.split_once('-'));
    let Some((Ok(_process), Ok(began))) =
        words.map(|(process, began)| (process.parse::<u32>(), began.parse::<u128>()))
    else {
        return false;
    };
    began < before.as_nanos()
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Kind, Store};
    use crate::probe::Depth;
    use object_store::PutPayload;

    async fn left(storage: &Storage) -> Vec<String> {
        let listed = storage.object_store().list(Some(&Path::from(FOLDER)));
        let mut names: Vec<String> = listed
            .map(|found| found.unwrap().location.to_string())
            .collect()
            .await;
        names.sort();
        names
    }

    async fn check(kind: Kind) {
        let store = Store::start(kind);
        let storage = store.open();
        let young = format!("{}/pages/1", folder());
        let foreign = "_probe/notes/1".to_owned();
        for name in ["_probe/7-0/one", "_probe/7-0/pages/2", &young, &foreign] {
            let at = Path::from(name);
            let put = storage.object_store().put(&at, PutPayload::from("x"));
            put.await.unwrap();
        }
        storage.probe(Depth::Start).await;
        let mut stay = [young, foreign];
        stay.sort();
        assert_eq!(left(&storage).await, stay, "{kind:?}");
    }

    #[tokio::test]
    async fn what_a_killed_probe_left_goes_a_day_later_and_nothing_else() {
        check(Kind::Local).await;
        check(Kind::S3sFs).await;
    }

    #[tokio::test]
    async fn on_a_folder_nothing_of_a_killed_probe_stays() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        std::fs::create_dir_all(folder.path().join("_probe/7-0/pages")).unwrap();
        std::fs::write(folder.path().join("_probe/7-0/pages/1"), "x").unwrap();
        storage.probe(Depth::Start).await;
        assert!(!folder.path().join(FOLDER).exists());
    }
}

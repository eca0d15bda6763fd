//! What a storage root promises, as sentences that are checked on every store there is here: a folder, `s3s-fs` and `moto`; and that
//! the promises hold through faults on the way.

mod faults;
mod server;
mod sources;
mod stores;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use types::{Attempt, Digest, Generation, JobId, Range, ShardId, SourceName, TenantId};

use crate::parts::samples::{footer, manifest_of, sample_row};
use crate::{
    ClosedBy, ImportFrom, ImportProgress, Manifest, ManifestPart, ObjectPath, Put, Sources,
    Storage, StorageError, parts, paths,
};
pub(crate) use stores::{Kind, Store};

/// Everything that is promised, on one store.
async fn check_all(kind: Kind) {
    let store = Store::start(kind);
    let storage = store.open();
    bytes_come_back_whole_and_by_range(&storage).await;
    a_put_never_replaces_other_bytes(&storage).await;
    what_is_not_there_is_not_found(&storage).await;
    lengths_come_in_the_order_of_their_names(&storage).await;
    a_file_larger_than_a_piece_is_put_whole(&storage).await;
    parts_are_listed_over_many_pages_and_removed_one_by_one(&storage).await;
    a_part_and_its_manifest_read_back_as_they_were_written(&storage).await;
    what_has_closed_a_job_is_found_beside_its_parts(&storage).await;
    an_import_is_read_back_row_by_row(&storage, &store).await;
}

#[tokio::test]
async fn a_folder_keeps_every_promise() {
    check_all(Kind::Local).await;
}

#[tokio::test]
async fn s3s_fs_keeps_every_promise() {
    check_all(Kind::S3sFs).await;
}

#[tokio::test]
async fn moto_keeps_every_promise() {
    check_all(Kind::Moto).await;
}

fn path(name: &str) -> ObjectPath {
    name.parse().unwrap()
}

async fn bytes_come_back_whole_and_by_range(storage: &Storage) {
    let (name, bytes) = (path("t/whole"), Bytes::from_static(b"0123456789"));
    assert_eq!(
        storage.put(&name, bytes.clone()).await.unwrap(),
        Put::Written
    );
    assert_eq!(storage.get(&name).await.unwrap(), bytes);
    assert_eq!(storage.get_range(&name, 3..7).await.unwrap(), "3456");
    assert_eq!(storage.len(&name).await.unwrap(), 10);
    assert!(storage.get_checked(&name, Digest::of(&bytes)).await.is_ok());
    let empty = path("t/empty");
    storage.put(&empty, Bytes::new()).await.unwrap();
    assert_eq!(storage.get(&empty).await.unwrap(), "");
}

async fn a_put_never_replaces_other_bytes(storage: &Storage) {
    let name = path("t/once");
    let put = |text: &'static str| storage.put(&name, Bytes::from_static(text.as_bytes()));
    assert_eq!(put("ours").await.unwrap(), Put::Written);
    assert_eq!(put("ours").await.unwrap(), Put::AlreadyThere);
    assert!(matches!(
        put("theirs").await,
        Err(StorageError::Corrupt { .. })
    ));
    assert_eq!(storage.get(&name).await.unwrap(), "ours");
}

async fn what_is_not_there_is_not_found(storage: &Storage) {
    let name = path("t/never");
    let is_absent = |error| matches!(error, StorageError::NotFound { .. });
    assert!(is_absent(storage.get(&name).await.unwrap_err()));
    assert!(is_absent(storage.len(&name).await.unwrap_err()));
    assert!(is_absent(storage.get_range(&name, 0..1).await.unwrap_err()));
    assert!(!storage.exists(&name).await.unwrap());
}

async fn lengths_come_in_the_order_of_their_names(storage: &Storage) {
    storage
        .put(&path("t/l/a"), Bytes::from_static(b"1"))
        .await
        .unwrap();
    storage
        .put(&path("t/l/b"), Bytes::from_static(b"22"))
        .await
        .unwrap();
    let names = ["t/l/b", "t/l/none", "t/l/a"].map(path).to_vec();
    let found = storage.lengths(names).await;
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [Some(2), None, Some(1)]);
}

async fn a_file_larger_than_a_piece_is_put_whole(storage: &Storage) {
    let bytes: Vec<u8> = (0..9 * 1024 * 1024 + 7).map(|n| (n % 251) as u8).collect();
    for put in [Put::Written, Put::AlreadyThere] {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        assert_eq!(storage.put_file(&path("t/large"), file).await.unwrap(), put);
    }
    assert!(storage.get(&path("t/large")).await.unwrap() == bytes);
}

/// More than one page of any store.
const PARTS: u32 = 1_003;

async fn parts_are_listed_over_many_pages_and_removed_one_by_one(storage: &Storage) {
    let (tenant, job) = (TenantId::default(), JobId::new("many").unwrap());
    let part = |number: u32| {
        let sha256 = Digest::of(&number.to_le_bytes());
        paths::part(
            &tenant,
            Generation(1),
            &job,
            ShardId::Root(number),
            Attempt(1),
            0,
            sha256,
        )
    };
    let put = |number| {
        let name = part(number);
        async move { storage.put(&name, Bytes::new()).await }
    };
    let puts = stream::iter(0..PARTS).map(put).buffer_unordered(16);
    puts.try_for_each(|_| std::future::ready(Ok(())))
        .await
        .unwrap();
    let listed = async || -> Vec<_> {
        storage
            .part_objects(&tenant, Generation(1), &job)
            .try_collect()
            .await
            .unwrap()
    };
    let found = listed().await;
    assert_eq!(found.len(), PARTS as usize);
    storage.remove_part(&found[0]).await.unwrap();
    storage.remove_part(&found[0]).await.unwrap();
    assert_eq!(listed().await.len(), PARTS as usize - 1);
    let other = JobId::new("man").unwrap();
    let none: Vec<_> = storage
        .part_objects(&tenant, Generation(1), &other)
        .try_collect()
        .await
        .unwrap();
    assert!(none.is_empty(), "a prefix is a whole name");
}

async fn a_part_and_its_manifest_read_back_as_they_were_written(storage: &Storage) {
    let tracks: types::TrackSet = [0, 1, 2].into_iter().collect();
    let list = Digest::of(b"list");
    let footer = footer(1, 1, tracks.clone(), list);
    let rows: Vec<_> = tracks.iter().map(sample_row).collect();
    let part = parts::encode(&footer, &rows).unwrap();
    assert_eq!(storage.put_part(&part).await.unwrap(), Put::Written);
    assert_eq!(storage.put_part(&part).await.unwrap(), Put::AlreadyThere);
    let read = storage.get_part(&part.path, part.sha256).await.unwrap();
    assert_eq!(read.rows.len(), 3);
    let named = ManifestPart {
        key: part.path.clone(),
        shard: footer.shard,
        attempt: footer.attempt,
        tracks,
        rows: part.rows,
        sha256: part.sha256,
        origin: None,
    };
    let manifest = Manifest::new(manifest_of(list, 3), vec![named], types::Ledger::default());
    let (name, put) = storage.put_manifest(&manifest).await.unwrap();
    assert_eq!(put, Put::Written);
    assert_eq!(storage.get_manifest(&name).await.unwrap(), manifest);
}

async fn what_has_closed_a_job_is_found_beside_its_parts(storage: &Storage) {
    let (tenant, job) = (TenantId::default(), JobId::new("closes").unwrap());
    let folder = paths::job_folder(&tenant, Generation(1), &job);
    // Hashes on either side of every name that a job's folder has.
    for name in ["0000", "caff", "ffff"].map(|hash| format!("{hash}/0/1-0-x.parquet")) {
        let name = path(&format!("{folder}/{name}"));
        storage.put(&name, Bytes::new()).await.unwrap();
    }
    let closed = async || {
        let by = storage.closed_by(&tenant, Generation(1), &job).await;
        by.unwrap()
    };
    assert_eq!(closed().await, ClosedBy::default());
    let mark = paths::cancelled(&tenant, Generation(1), &job);
    storage.put(&mark, Bytes::new()).await.unwrap();
    let (manifest, cancelled) = (false, true);
    let expected = ClosedBy {
        manifest,
        cancelled,
    };
    assert_eq!(closed().await, expected);
    let manifest = paths::manifest(&tenant, Generation(1), &job, 1, Digest::of(b"m"));
    storage.put(&manifest, Bytes::new()).await.unwrap();
    let manifest = true;
    assert_eq!(
        closed().await,
        ClosedBy {
            manifest,
            ..expected
        }
    );
}

async fn an_import_is_read_back_row_by_row(storage: &Storage, store: &Store) {
    let music = store.scratch().join("music");
    std::fs::create_dir_all(music.join("album")).unwrap();
    for number in 0..20 {
        std::fs::write(music.join(format!("album/{number:02}.mp3")), [0; 7]).unwrap();
    }
    let name = SourceName::new("music").unwrap();
    let mut sources = Sources::default();
    sources.add(name.clone(), &music).unwrap();
    let from = ImportFrom::Folder {
        source: name,
        prefix: String::new(),
    };
    let progress = std::sync::Arc::new(ImportProgress::default());
    let tenant = TenantId::default();
    let imported = storage
        .import(&tenant, from, &sources, store.scratch(), progress)
        .await
        .unwrap();
    let snapshot = storage.snapshot(&tenant, imported.list).await.unwrap();
    let rows = snapshot.read(Range { first: 5, end: 8 }).await.unwrap();
    let keys: Vec<_> = rows.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(keys, ["album/05.mp3", "album/06.mp3", "album/07.mp3"]);
}

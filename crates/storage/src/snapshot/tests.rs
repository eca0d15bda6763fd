//! Snapshots across chunk borders, read in pieces, and damaged.

use super::*;
use crate::parts::samples::{catalog_row, put_snapshot};

/// Two whole chunks and a bit.
const ROWS: u32 = 2 * CHUNK_ROWS + 5;

async fn stored(rows: u32) -> (tempfile::TempDir, Storage, Digest) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let list = put_snapshot(&storage, rows).await;
    (folder, storage, list)
}

#[tokio::test]
async fn any_range_of_ordinals_is_read_as_it_was_written() {
    let (_folder, storage, list) = stored(ROWS).await;
    let snapshot = storage.snapshot(&TenantId::default(), list).await.unwrap();
    assert_eq!((snapshot.list(), snapshot.rows()), (list, ROWS));
    let border = CHUNK_ROWS;
    for (first, end) in [
        (0, 1),
        (5, 5),
        (border - 2, border + 3),
        (0, border),
        (ROWS - 1, ROWS),
        (border - 1, ROWS),
    ] {
        let rows = snapshot.read(Range { first, end }).await.unwrap();
        assert_eq!(rows.len() as u32, end - first);
        let expected = rows.first().map(|_| catalog_row(first));
        assert_eq!(rows.first(), expected.as_ref());
        assert!(rows.iter().map(|row| row.ordinal).eq(first..end));
    }
    let past = snapshot
        .read(Range {
            first: 0,
            end: ROWS + 1,
        })
        .await
        .unwrap_err();
    assert!(matches!(past, StorageError::Invalid(_)));
}

#[tokio::test]
async fn the_same_rows_make_one_object_and_other_rows_another() {
    let (folder, storage, list) = stored(100).await;
    assert_eq!(put_snapshot(&storage, 100).await, list);
    assert_ne!(put_snapshot(&storage, 101).await, list);
    let snapshots = folder.path().join("default/snapshots");
    assert_eq!(std::fs::read_dir(snapshots).unwrap().count(), 2);
}

#[tokio::test]
async fn a_damaged_chunk_is_refused_and_the_others_are_read() {
    let (folder, storage, list) = stored(ROWS).await;
    let file = folder
        .path()
        .join(paths::snapshot(&TenantId::default(), list).as_str());
    let index = storage
        .snapshot(&TenantId::default(), list)
        .await
        .unwrap()
        .index;
    let (start, bytes) = index.row_group(1).column(3).byte_range();
    let mut damaged = std::fs::read(&file).unwrap();
    let middle = (start + bytes / 2) as usize;
    damaged[middle..middle + 64].fill(0xA5);
    std::fs::write(&file, damaged).unwrap();
    let snapshot = storage.snapshot(&TenantId::default(), list).await.unwrap();
    let read = async |ordinal| {
        snapshot
            .read(Range {
                first: ordinal,
                end: ordinal + 1,
            })
            .await
    };
    assert!(read(0).await.is_ok());
    assert!(read(ROWS - 1).await.is_ok());
    let error = read(CHUNK_ROWS).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_snapshot_under_another_s_name_or_cut_short_is_refused() {
    let (folder, storage, list) = stored(10).await;
    let tenant = TenantId::default();
    let file = |list| folder.path().join(paths::snapshot(&tenant, list).as_str());
    let bytes = std::fs::read(file(list)).unwrap();
    let other = Digest::of(b"other");
    for cut in [bytes.len(), bytes.len() - 1, 7, 0] {
        std::fs::write(file(other), &bytes[..cut]).unwrap();
        let error = storage.snapshot(&tenant, other).await.unwrap_err();
        assert!(
            matches!(error, StorageError::Corrupt { .. }),
            "{cut}: {error}"
        );
    }
    let missing = storage
        .snapshot(&tenant, Digest::of(b"none"))
        .await
        .unwrap_err();
    assert!(matches!(missing, StorageError::NotFound { .. }));
}

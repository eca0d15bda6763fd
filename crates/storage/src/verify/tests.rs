//! Verification of a published result, sound and damaged in every way that has a name.

use std::fs;
use std::path::PathBuf;

use types::{Ledger, ShardId, TenantId};

use super::*;
use crate::parts::encode;
use crate::parts::samples::{
    catalog_row, footer, manifest_of, put_result, put_snapshot, sample_row,
};
use crate::paths;

struct Published {
    folder: tempfile::TempDir,
    storage: Storage,
    path: ObjectPath,
    manifest: Manifest,
}

impl Published {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let groups = [(0, vec![0, 2]), (0, vec![1, 3]), (1, vec![4, 5])];
        let (path, manifest) = put_result(&storage, 6, &groups).await;
        Self {
            folder,
            storage,
            path,
            manifest,
        }
    }

    fn file(&self, path: &ObjectPath) -> PathBuf {
        self.folder.path().join(path.as_str())
    }

    fn damage(&self, path: &ObjectPath) {
        let file = self.file(path);
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    async fn verify(&self, path: &ObjectPath) -> VerifyReport {
        self.storage.verify(path, self.manifest.list).await.unwrap()
    }

    /// Publishes a changed manifest and verifies that.
    async fn verify_changed(&self, change: impl FnOnce(&mut Manifest)) -> VerifyReport {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        let (path, _) = self.storage.put_manifest(&manifest).await.unwrap();
        self.verify(&path).await
    }
}

#[tokio::test]
async fn a_sound_result_holds_and_is_counted() {
    let published = Published::new().await;
    let report = published.verify(&published.path).await;
    assert!(report.holds(), "{:?}", report.findings);
    assert_eq!((report.tracks, report.rows, report.parts), (6, 6, 3));
    assert_eq!(report.verdicts.values().sum::<u64>(), 6);
    assert_eq!(report.verdicts[&Verdict::Unscannable], 2);
    assert_eq!(report.screened, 2, "those with a score");
    assert!(report.bytes > 0 && report.verdicts_sha256.is_some());
}

#[tokio::test]
async fn two_results_that_say_the_same_have_one_digest_of_verdicts_however_they_were_cut() {
    let mut digests = Vec::new();
    for groups in [
        vec![(0, vec![0, 2]), (0, vec![1, 3]), (1, vec![4, 5])],
        vec![(0, vec![0, 1, 2, 3]), (1, vec![4]), (1, vec![5])],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let (path, manifest) = put_result(&storage, 6, &groups).await;
        let report = storage.verify(&path, manifest.list).await.unwrap();
        digests.push(report.verdicts_sha256.unwrap());
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn a_part_that_is_gone_or_damaged_is_found_with_the_tracks_it_held() {
    for gone in [true, false] {
        let published = Published::new().await;
        let key = published.manifest.parts[1].key.clone();
        match gone {
            true => fs::remove_file(published.file(&key)).unwrap(),
            false => published.damage(&key),
        }
        let report = published.verify(&published.path).await;
        let missing = Finding::Missing {
            tracks: [1, 3].into_iter().collect(),
        };
        assert_eq!(report.findings_total, 2);
        assert!(matches!(&report.findings[0], Finding::Part { key: found, .. } if *found == key));
        assert_eq!(report.findings[1], missing);
        assert_eq!(report.rows, 4);
    }
}

#[tokio::test]
async fn a_manifest_that_is_gone_damaged_or_of_another_list_is_found() {
    let published = Published::new().await;
    let other = published
        .storage
        .verify(&published.path, Digest::of(b"other"))
        .await
        .unwrap();
    assert!(matches!(other.findings[..], [Finding::Manifest { .. }]));
    published.damage(&published.path);
    let report = published.verify(&published.path).await;
    assert!(matches!(report.findings[..], [Finding::Manifest { .. }]));
    fs::remove_file(published.file(&published.path)).unwrap();
    let report = published.verify(&published.path).await;
    assert!(matches!(report.findings[..], [Finding::Manifest { .. }]));
}

#[tokio::test]
async fn a_damaged_snapshot_is_found_and_the_rows_are_counted_all_the_same() {
    let published = Published::new().await;
    fs::remove_file(published.file(&paths::snapshot(
        &TenantId::default(),
        published.manifest.list,
    )))
    .unwrap();
    let report = published.verify(&published.path).await;
    assert!(
        matches!(report.findings[..], [Finding::Snapshot { .. }]),
        "{:?}",
        report.findings
    );
    assert_eq!(report.rows, 6);
}

#[tokio::test]
async fn a_track_with_two_rows_or_none_is_found() {
    let published = Published::new().await;
    let none = published
        .verify_changed(|manifest| drop(manifest.parts.pop()))
        .await;
    assert_eq!(
        none.findings,
        [Finding::Missing {
            tracks: [4, 5].into_iter().collect()
        }]
    );

    let tracks = [2, 3].into_iter().collect();
    let part = encode(
        &footer(0, 9, tracks, published.manifest.list),
        &[sample_row(2), sample_row(3)],
    )
    .unwrap();
    published.storage.put_part(&part).await.unwrap();
    let twice = published
        .verify_changed(|manifest| {
            manifest.parts.push(ManifestPart {
                key: part.path.clone(),
                shard: ShardId::Root(0),
                attempt: types::Attempt(9),
                tracks: [2, 3].into_iter().collect(),
                rows: 2,
                sha256: part.sha256,
                origin: None,
            });
        })
        .await;
    let found: Vec<_> = [2, 3]
        .map(|ordinal| Finding::Twice {
            ordinal,
            key: part.path.clone(),
        })
        .into();
    assert_eq!(twice.findings, found);
}

#[tokio::test]
async fn a_part_whose_footer_differs_from_the_manifest_does_not_count() {
    let published = Published::new().await;
    let report = published
        .verify_changed(|manifest| manifest.parts[0].rows = 3)
        .await;
    assert!(matches!(report.findings[0], Finding::Part { .. }));
    let report = published
        .verify_changed(|manifest| manifest.parts[0].shard = ShardId::Root(7))
        .await;
    assert!(matches!(report.findings[0], Finding::Part { .. }));
}

#[tokio::test]
async fn a_row_of_another_track_than_the_snapshot_s_is_foreign() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let list = put_snapshot(&storage, 2).await;
    let mut rows = [sample_row(0), sample_row(1)];
    rows[1].key = catalog_row(7).key;
    let part = encode(&footer(0, 1, [0, 1].into_iter().collect(), list), &rows).unwrap();
    storage.put_part(&part).await.unwrap();
    let listed = ManifestPart {
        key: part.path.clone(),
        shard: ShardId::Root(0),
        attempt: types::Attempt(1),
        tracks: [0, 1].into_iter().collect(),
        rows: 2,
        sha256: part.sha256,
        origin: None,
    };
    let manifest = Manifest::new(manifest_of(list, 2), vec![listed], Ledger::default());
    let (path, _) = storage.put_manifest(&manifest).await.unwrap();
    let report = storage.verify(&path, list).await.unwrap();
    assert_eq!(
        report.findings,
        [Finding::Foreign {
            ordinal: 1,
            key: part.path
        }]
    );
}

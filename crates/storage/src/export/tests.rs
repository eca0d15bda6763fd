//! Exports of a small published result, read back in each format.

use bytes::Bytes;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use types::Ordinal;

use super::*;
use crate::parts::from_batch;
use crate::parts::samples::{bare_row, put_result, sample_row};

/// Two shards whose parts interleave, and one part alone.
const GROUPS: [(u32, &[Ordinal]); 4] = [(0, &[0, 2, 5]), (0, &[1, 3, 4]), (1, &[6, 7]), (2, &[8])];

async fn published(
    rows: u32,
    groups: &[(u32, &[Ordinal])],
) -> (tempfile::TempDir, Storage, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let groups: Vec<_> = groups
        .iter()
        .map(|(shard, ordinals)| (*shard, ordinals.to_vec()))
        .collect();
    let (_, manifest) = put_result(&storage, rows, &groups).await;
    (folder, storage, manifest)
}

async fn export(storage: &Storage, manifest: &Manifest, format: ExportFormat) -> Vec<u8> {
    let stream = storage.export(manifest.clone(), format, Purpose::Demonstration);
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(
        pieces
            .iter()
            .all(|piece| (1..=PIECE_BYTES_MAX).contains(&piece.len()))
    );
    pieces.concat()
}

#[tokio::test]
async fn rows_leave_in_the_order_of_the_list_in_every_format() {
    let (_folder, storage, manifest) = published(9, &GROUPS).await;
    let csv = String::from_utf8(export(&storage, &manifest, ExportFormat::Csv).await).unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let ordinals: Vec<String> = reader
        .records()
        .map(|record| record.unwrap()[0].to_owned())
        .collect();
    assert_eq!(ordinals, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);

    let json = export(&storage, &manifest, ExportFormat::JsonLines).await;
    let lines: Vec<serde_json::Value> = json
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert!(
        lines
            .iter()
            .map(|line| line["ordinal"].as_u64().unwrap())
            .eq(0..9)
    );

    let parquet = export(&storage, &manifest, ExportFormat::Parquet).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet))
        .unwrap()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        from_batch(&batch.unwrap(), &mut rows).unwrap();
    }
    let expected: Vec<_> = (0..9).map(sample_row).collect();
    assert_eq!(format!("{rows:?}"), format!("{expected:?}"));
}

#[tokio::test]
async fn each_row_says_what_its_bundle_is_for_and_no_probability_stands_without_its_prior() {
    let (_folder, storage, manifest) = published(9, &GROUPS).await;
    let csv = export(&storage, &manifest, ExportFormat::Csv).await;
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|found| found == name).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        assert_eq!(&record[column("bundle_purpose")], "demonstration");
        for stage in ["screen", "residual"] {
            let (p, prior) = (
                column(&format!("{stage}_probability")),
                column(&format!("{stage}_prior")),
            );
            assert_eq!(record[p].is_empty(), record[prior].is_empty());
        }
    }
    let json = export(&storage, &manifest, ExportFormat::JsonLines).await;
    let first: serde_json::Value =
        serde_json::from_slice(json.split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!(first["bundle_purpose"], "demonstration");
}

#[tokio::test]
async fn a_spreadsheet_formula_in_a_text_leaves_as_text_and_numbers_stay_numbers() {
    let (_folder, storage, manifest) = published(9, &GROUPS).await;
    let csv = export(&storage, &manifest, ExportFormat::Csv).await;
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|found| found == name).unwrap();
    let record = reader.records().nth(1).unwrap().unwrap();
    assert_eq!(&record[column("detail")], "'=cmd|' /C calc'!A0");
    assert_eq!(&record[column("screen_logit")], "-1.5");
    assert_eq!(
        &record[column("provenance")],
        "ID3 TSSE==Suno <script>\u{202e}"
    );
}

#[tokio::test]
async fn a_result_without_rows_is_still_a_file_of_its_format() {
    let (_folder, storage, manifest) = published(1, &[]).await;
    assert!(
        export(&storage, &manifest, ExportFormat::Csv)
            .await
            .starts_with(b"ordinal,track_id,")
    );
    assert!(
        export(&storage, &manifest, ExportFormat::JsonLines)
            .await
            .is_empty()
    );
    let parquet = Bytes::from(export(&storage, &manifest, ExportFormat::Parquet).await);
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
}

#[tokio::test]
async fn a_part_that_cannot_be_read_ends_the_stream_with_its_error() {
    let (folder, storage, manifest) = published(9, &GROUPS).await;
    std::fs::remove_file(folder.path().join(manifest.parts[2].key.as_str())).unwrap();
    let mut stream = storage.export(manifest, ExportFormat::JsonLines, Purpose::Production);
    assert!(stream.next().await.unwrap().is_ok());
    assert!(matches!(
        stream.next().await,
        Some(Err(StorageError::NotFound { .. }))
    ));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn rows_of_a_range_come_from_the_parts_that_hold_them() {
    let (folder, storage, manifest) = published(9, &GROUPS).await;
    std::fs::remove_file(folder.path().join(manifest.parts[3].key.as_str())).unwrap();
    let rows = storage
        .rows(&manifest, Range { first: 3, end: 7 })
        .await
        .unwrap();
    assert!(rows.iter().map(|row| row.ordinal).eq(3..7));
    assert_eq!(rows[0], bare_row(3));
    assert!(
        storage
            .rows(&manifest, Range { first: 7, end: 9 })
            .await
            .is_err()
    );
}

#[test]
fn groups_hold_together_what_interleaves_and_nothing_more() {
    let part = |shard: u32, ordinals: &[Ordinal]| ManifestPart {
        key: "a/b".parse().unwrap(),
        shard: types::ShardId::Root(shard),
        attempt: types::Attempt(1),
        tracks: ordinals.iter().copied().collect(),
        rows: ordinals.len() as u32,
        sha256: types::Digest::of(b""),
        origin: None,
    };
    let parts: Vec<_> = GROUPS
        .iter()
        .map(|(shard, ordinals)| part(*shard, ordinals))
        .collect();
    let sizes: Vec<usize> = groups(&parts).iter().map(|group| group.len()).collect();
    assert_eq!(sizes, [2, 1, 1]);
    assert!(groups(&[]).is_empty());
}

//! Parts as they are made, damaged and read again.

use proptest::prelude::*;
use types::{Attempt, Ordinal, ShardId, TenantId, Thumbnail};

use super::samples::{bare_row, footer, full_row, sample_row, unscannable_row};
use super::*;

fn made(ordinals: &[Ordinal]) -> (PartFooter, Vec<TrackRow>) {
    let tracks: TrackSet = ordinals.iter().copied().collect();
    let rows = tracks.iter().map(sample_row).collect();
    (footer(4, 2, tracks, Digest::of(b"list")), rows)
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut PartFooter, &mut Vec<TrackRow>)) {
    let (mut footer, mut rows) = made(&[1, 2, 3]);
    assert!(encode(&footer, &rows).is_ok());
    change(&mut footer, &mut rows);
    let made = encode(&footer, &rows);
    assert!(matches!(made, Err(PartError::Inconsistent(_))), "{made:?}");
}

#[test]
fn a_part_reads_back_as_it_was_written_to_the_last_bit() {
    for row in [bare_row(7), full_row(7), unscannable_row(7)] {
        let (mut footer, _) = made(&[7]);
        footer.shard = ShardId::Escalation {
            root: 1,
            attempt: Attempt(2),
            first: 7,
        };
        footer.escalation = Some(Digest::of(b"escalation part"));
        let part = encode(&footer, std::slice::from_ref(&row)).unwrap();
        let read = decode(&part.bytes).unwrap();
        assert_eq!(read.footer, footer);
        assert_eq!(super::footer(&part.bytes).unwrap(), footer);
        assert_eq!(format!("{:?}", read.rows), format!("{:?}", [row]));
        assert_eq!(part.sha256, Digest::of(&part.bytes));
    }
}

#[test]
fn the_same_rows_make_the_same_bytes_under_the_same_name() {
    let (footer, rows) = made(&[0, 1, 2, 9]);
    assert_eq!(
        encode(&footer, &rows).unwrap(),
        encode(&footer, &rows).unwrap()
    );
}

#[test]
fn the_footer_s_fields_stand_under_their_own_keys() {
    let (footer, rows) = made(&[1, 2, 5]);
    let part = encode(&footer, &rows).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(part.bytes).unwrap();
    let pairs = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    for key in [
        "tenant",
        "generation",
        "job",
        "list",
        "shard",
        "attempt",
        "tracks",
        "bundle",
        "policy",
        "epoch",
        "spans",
        "ledger",
        "kind",
        "escalation",
        "part",
    ] {
        assert!(
            pairs
                .iter()
                .any(|pair| pair.key == format!("trackscan.{key}")),
            "{key}"
        );
    }
    let tracks = pairs
        .iter()
        .find(|pair| pair.key == "trackscan.tracks")
        .unwrap();
    assert_eq!(tracks.value.as_deref(), Some("\"1..3,5..6\""));
}

#[test]
fn rows_that_do_not_fit_their_footer_make_no_part() {
    check_refused(|_, rows| rows.clear());
    check_refused(|_, rows| drop(rows.pop()));
    check_refused(|_, rows| rows.swap(0, 1));
    check_refused(|_, rows| rows[1] = rows[0].clone());
    check_refused(|footer, _| footer.tracks = [1, 2, 4].into_iter().collect());
    check_refused(|footer, _| footer.bundle = Digest::of(b"other"));
    check_refused(|_, rows| rows[0].reason = None);
    check_refused(|_, rows| rows[1].code = None);
    check_refused(|_, rows| rows[2].reason = rows[0].reason);
    check_refused(|footer, _| footer.kind = PartKind::Escalation);
    let picture = |bands, columns, levels| {
        Some(Thumbnail {
            bands,
            columns,
            levels: vec![0; levels],
        })
    };
    check_refused(|_, rows| rows[0].thumbnail = picture(2, 3, 5));
    check_refused(|_, rows| rows[0].thumbnail = picture(64, 65, 64 * 65));
}

#[test]
fn a_row_of_an_escalation_part_has_what_the_residual_needs_of_it() {
    let (mut footer, _) = made(&[7]);
    footer.kind = PartKind::Escalation;
    let sound = TrackRow {
        deviation: Some(0.25),
        ..full_row(7)
    };
    let check = |change: fn(&mut TrackRow), expected: bool| {
        let mut row = sound.clone();
        change(&mut row);
        assert_eq!(encode(&footer, &[row.clone()]).is_ok(), expected, "{row:?}");
    };
    check(|_| (), true);
    check(|row| row.deviation = Some(0.0), true);
    check(|row| row.screen = None, false);
    check(|row| row.mean = None, false);
    check(|row| row.mean = Some(f32::INFINITY), false);
    check(|row| row.deviation = None, false);
    check(|row| row.deviation = Some(f32::NAN), false);
    check(|row| row.deviation = Some(-0.5), false);
}

#[test]
fn a_part_of_the_largest_shard_can_be_made_and_one_row_more_cannot() {
    let all: Vec<Ordinal> = (0..=PART_ROWS_MAX as u32).collect();
    let (footer, rows) = made(&all[1..]);
    assert_eq!(encode(&footer, &rows).unwrap().rows, 1_024);
    let (footer, rows) = made(&all);
    assert!(matches!(
        encode(&footer, &rows),
        Err(PartError::Inconsistent(_))
    ));
}

#[tokio::test]
async fn a_part_is_read_only_under_its_own_name_and_digest() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let (footer, rows) = made(&[1, 2, 3]);
    let part = encode(&footer, &rows).unwrap();
    assert_eq!(storage.put_part(&part).await.unwrap(), Put::Written);
    assert_eq!(storage.put_part(&part).await.unwrap(), Put::AlreadyThere);
    let read = storage.get_part(&part.path, part.sha256).await.unwrap();
    assert_eq!(read.footer, footer);

    let other = Digest::of(b"other");
    let error = storage.get_part(&part.path, other).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }));

    let elsewhere = paths::part(
        &TenantId::new("b").unwrap(),
        footer.generation,
        &footer.job,
        footer.shard,
        footer.attempt,
        1,
        part.sha256,
    );
    storage.put(&elsewhere, part.bytes.clone()).await.unwrap();
    let error = storage.get_part(&elsewhere, part.sha256).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");

    let missing = paths::part(
        &footer.tenant,
        footer.generation,
        &footer.job,
        footer.shard,
        Attempt(9),
        1,
        part.sha256,
    );
    let error = storage.get_part(&missing, part.sha256).await.unwrap_err();
    assert!(matches!(error, StorageError::NotFound { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_bytes_are_never_taken_for_a_part_by_their_digest(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (footer, rows) = made(&[1, 2, 3]);
        let part = encode(&footer, &rows).unwrap();
        let mut bytes = part.bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Digest::of(&bytes), part.sha256);
    }
}

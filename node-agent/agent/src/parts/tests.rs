//! What a flush makes, and what of it is found again on disk.

use std::fs;

use super::*;
use crate::residual::tests::{screen_row, spec};
use types::{Attempt, Code, InconclusiveReason, JobId, ShardId, StageUse, Verdict};

fn about(shard: &str) -> Circumstances {
    let shard: ShardId = shard.parse().unwrap();
    Circumstances {
        grant: GrantKey {
            job: JobId::new("job").unwrap(),
            shard,
            attempt: Attempt(4),
        },
        spec: spec(Digest::of(b"bundle")),
        epoch: Epoch(9),
        generation: Generation(1),
        escalation: match shard {
            ShardId::Root(_) => None,
            ShardId::Escalation { .. } => Some(Digest::of(b"escalation part")),
        },
        node: NodeId::new("node").unwrap(),
        device: Some("cpu:0".to_owned()),
        wait_us: 77,
    }
}

/// Rows of these ordinals; the last one is refused, the others are scored, one second each.
fn made(ordinals: &[Ordinal]) -> BTreeMap<Ordinal, MadeRow> {
    let stage = StageUse {
        device_us: 5,
        tracks: 1,
        ..StageUse::default()
    };
    let scored = |ordinal: Ordinal| {
        let row = TrackRow {
            ordinal,
            ..screen_row([true; 4]).row
        };
        let from = UnixMillis(i64::from(ordinal) * 1_000);
        MadeRow {
            row,
            ledger: Ledger {
                screen: stage,
                ..Ledger::default()
            },
            from,
            to: UnixMillis(from.0 + 1_000),
            scored_from: Some(from),
        }
    };
    let mut made: BTreeMap<Ordinal, MadeRow> = ordinals
        .iter()
        .map(|ordinal| (*ordinal, scored(*ordinal)))
        .collect();
    if let Some(mut last) = made.last_entry() {
        let made = last.get_mut();
        made.row.verdict = Verdict::Unscannable;
        made.row.code = Some(Code::Empty);
        (made.ledger, made.scored_from) = (Ledger::default(), None);
    }
    made
}

fn set(ordinals: &[Ordinal]) -> TrackSet {
    ordinals.iter().copied().collect()
}

fn flushed(tracks: &[Ordinal], onward: &[Ordinal], withheld: &[Ordinal]) -> Flushed {
    Flushed {
        tracks: set(tracks),
        onward: set(onward),
        withheld: set(withheld),
        borderline: TrackSet::new(),
    }
}

/// A flush of four tracks, of which two go on and one is held back.
fn pair() -> Vec<Composed> {
    let flushed = flushed(&[2, 3, 4, 5], &[2, 4], &[3]);
    compose(&about("0"), &flushed, &made(&[2, 3, 4, 5]))
}

#[test]
fn what_goes_on_and_what_ends_are_two_parts_of_one_claim() {
    let pair = pair();
    let kinds: Vec<_> = pair
        .iter()
        .map(|(footer, _)| (footer.kind, footer.tracks.clone()))
        .collect();
    let expected = [
        (PartKind::Terminal, set(&[3, 5])),
        (PartKind::Escalation, set(&[2, 4])),
    ];
    assert_eq!(kinds, expected);
    let folder = tempfile::tempdir().unwrap();
    let saved = Shelf::open(folder.path()).unwrap().save(&pair).unwrap();
    assert_eq!(saved.claim.tracks(), set(&[2, 3, 4, 5]));
    assert_eq!(saved.claim.rows(), 4);
    let [terminal, onward] = &saved.claim.parts[..] else {
        panic!("{:?}", saved.claim);
    };
    assert_eq!(
        (
            terminal.verdicts.inconclusive,
            terminal.verdicts.unscannable
        ),
        (1, 1)
    );
    assert_eq!(onward.verdicts, crate::claim::Verdicts::default());
    let stages: Vec<Stage> = onward.made.iter().map(|made| made.stage).collect();
    assert_eq!(stages, [Stage::Decode, Stage::Screen]);
}

#[test]
fn what_the_budget_holds_back_ends_for_that_reason_and_keeps_its_evidence() {
    let (_, rows) = &pair()[0];
    assert_eq!(rows[0].verdict, Verdict::Inconclusive);
    assert_eq!(rows[0].reason, Some(InconclusiveReason::EscalationBudget));
    assert!(rows[0].screen.is_some());
    assert_eq!(rows[1].reason, None, "it cannot be scanned");
    let (_, rows) = &pair()[1];
    assert!(rows.iter().all(|row| row.reason.is_none()));
}

#[test]
fn what_another_device_might_have_chosen_otherwise_is_borderline_in_either_part() {
    let flushed = Flushed {
        borderline: set(&[3, 4]),
        ..flushed(&[2, 3, 4, 5], &[2, 4], &[3])
    };
    let objects = compose(&about("0"), &flushed, &made(&[2, 3, 4, 5]));
    let rows = objects.iter().flat_map(|(_, rows)| rows);
    let marked: Vec<(Ordinal, bool)> = rows.map(|row| (row.ordinal, row.borderline)).collect();
    assert_eq!(marked, [(3, true), (5, false), (2, false), (4, true)]);
}

#[test]
fn each_stage_s_time_and_waiting_are_told_once() {
    let pair = pair();
    let sum = pair.iter().fold(Ledger::default(), |sum, (footer, _)| {
        sum.plus(footer.ledger)
    });
    assert_eq!((sum.screen.device_us, sum.screen.tracks), (15, 3));
    assert_eq!(sum.screen.wait_us, 77);
    let alone = flushed(&[2, 4], &[2, 4], &[]);
    let objects = compose(&about("0"), &alone, &made(&[2, 4, 9]));
    let [(footer, _)] = &objects[..] else {
        panic!("nothing ends here: {objects:?}");
    };
    assert_eq!(footer.kind, PartKind::Escalation);
    assert_eq!(footer.ledger.screen.wait_us, 77);
}

#[test]
fn parts_of_an_escalation_shard_carry_its_digest_and_the_residuals_span() {
    let mut rows = made(&[2, 4, 9]);
    rows.remove(&9);
    let objects = compose(&about("0.3-2"), &flushed(&[2, 4], &[], &[]), &rows);
    let [(footer, _)] = &objects[..] else {
        panic!("{objects:?}");
    };
    assert_eq!(footer.kind, PartKind::Terminal);
    assert_eq!(footer.escalation, Some(Digest::of(b"escalation part")));
    assert_eq!(footer.ledger.residual.wait_us, 77);
    let residual = footer
        .spans
        .iter()
        .find(|span| span.stage == Stage::Residual);
    let residual = residual.unwrap();
    assert_eq!(
        (residual.from, residual.to),
        (UnixMillis(2_000), UnixMillis(5_000))
    );
}

#[test]
fn what_was_saved_is_found_again_whole_with_the_same_claim_and_objects() {
    let terminal = compose(&about("0"), &flushed(&[2, 3], &[], &[]), &made(&[2, 3]));
    let onward = compose(&about("0"), &flushed(&[2], &[2], &[]), &made(&[2, 3]));
    for (objects, suffix) in [(terminal, "part"), (onward, "part"), (pair(), "pair")] {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path()).unwrap();
        let saved = shelf.save(&objects).unwrap();
        assert_eq!(saved.file.extension().unwrap(), suffix);
        let found = shelf.find().unwrap();
        let [found] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(found.claim, saved.claim);
        assert_eq!(found.objects, saved.objects);
        found.remove();
        assert!(shelf.find().unwrap().is_empty());
    }
}

#[test]
fn the_file_of_one_object_is_the_object_itself() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    let objects = compose(&about("0"), &flushed(&[2, 3], &[], &[]), &made(&[2, 3]));
    let saved = shelf.save(&objects).unwrap();
    let bytes = fs::read(&saved.file).unwrap();
    let name = format!("{}.part", Digest::of(&bytes));
    assert_eq!(saved.file, folder.path().join(name));
    assert!(storage::parts::decode(&bytes.into()).is_ok());
}

#[test]
fn a_flush_that_is_saved_again_has_the_same_bytes() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let files = folders.each_ref().map(|folder| {
        let saved = Shelf::open(folder.path()).unwrap().save(&pair()).unwrap();
        let name = saved.file.file_name().unwrap().to_owned();
        (name, fs::read(&saved.file).unwrap())
    });
    assert_eq!(files[0], files[1]);
}

#[test]
fn half_a_file_is_removed_and_neither_of_its_objects_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    let saved = shelf.save(&pair()).unwrap();
    let whole = fs::read(&saved.file).unwrap();
    for length in [0, 7, 15, 16, whole.len() / 2, whole.len() - 1] {
        fs::write(&saved.file, &whole[..length]).unwrap();
        assert!(shelf.find().unwrap().is_empty(), "{length}");
        assert!(!saved.file.exists(), "{length}");
    }
    fs::write(saved.file.with_extension("unfinished"), &whole).unwrap();
    assert!(shelf.find().unwrap().is_empty());
    fs::write(&saved.file, &whole).unwrap();
    assert_eq!(shelf.find().unwrap().len(), 1);
}

#[test]
fn a_pair_whose_objects_are_not_of_one_flush_is_none() {
    let terminal = |shard: &str, tracks: &[Ordinal]| {
        let made = made(tracks);
        compose(&about(shard), &flushed(tracks, &[], &[]), &made).remove(0)
    };
    let pairs = [
        // Another grant's.
        [terminal("1", &[3, 5]), pair().remove(1)],
        // The same track twice.
        [terminal("0", &[2, 5]), pair().remove(1)],
        // In the wrong order.
        [pair().remove(1), pair().remove(0)],
        // Both terminal.
        [terminal("0", &[3, 5]), terminal("0", &[7, 8])],
    ];
    for objects in pairs {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path()).unwrap();
        let refused = shelf.save(&objects).unwrap_err();
        assert_eq!(refused.code, Code::Internal);
        assert!(shelf.find().unwrap().is_empty());
    }
}

#[test]
fn a_row_that_is_missing_makes_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    let rows = made(&[2, 3]);
    let objects = compose(&about("0"), &flushed(&[2, 3, 4], &[2], &[]), &rows);
    assert!(shelf.save(&objects).is_err());
    assert!(shelf.find().unwrap().is_empty());
}

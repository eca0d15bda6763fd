//! The brief form against the long one: the same records, fewer bytes, and bytes of anybody's.

use super::*;
use crate::key::JobKey;
use crate::record::{
    Care, Death, FailureCause, Form, Made, Part, PartKind, Standing, VerdictCounts, decode,
    encode_shard,
};
use proptest::prelude::*;
use types::{Epoch, Generation, JobId, Ledger, ShardId, Stage, StageUse, TrackSet, UnixMillis};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..300, 2 => 0u64..100_000_000_000, 1 => any::<u64>()]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("node-1".to_owned()), "[a-z0-9]{1,64}"]
}

/// Tracks around a place in a list: none, a few runs, some scattered or all but some.
fn tracks() -> impl Strategy<Value = TrackSet> {
    let place = prop_oneof![0u32..100_000, Just(u32::MAX - 2_000)];
    let runs = prop::collection::vec((0u32..1_000, 1u32..300), 0..6);
    let scattered = prop::collection::btree_set(0u32..1_024, 0..200);
    (place, runs, scattered, any::<bool>()).prop_map(|(place, runs, scattered, without)| {
        let range = |(first, length): (u32, u32)| Range {
            first: place + first,
            end: place + first + length,
        };
        let runs = TrackSet::from(runs.into_iter().map(range).collect::<Vec<_>>());
        let scattered: TrackSet = scattered.into_iter().map(|track| place + track).collect();
        if without {
            runs.difference(&scattered)
        } else {
            runs.union(&scattered)
        }
    })
}

fn range() -> impl Strategy<Value = Range> {
    any::<(u32, u32)>().prop_map(|(first, end)| Range { first, end })
}

fn grant() -> impl Strategy<Value = Grant> {
    let care = prop_oneof![Just(Care::Normal), Just(Care::Apart), Just(Care::Reject)];
    let apart = prop::option::of(tracks());
    let who = (any::<u32>(), name(), number(), number());
    (who, range(), care, apart).prop_map(|((attempt, node, session, pull), range, care, apart)| {
        Grant {
            attempt: Attempt(attempt),
            tenant: TenantId::default(),
            node: NodeId::new(node).unwrap(),
            session: Session(session),
            pull: PullNo(pull),
            range,
            care,
            apart,
        }
    })
}

fn used() -> impl Strategy<Value = StageUse> {
    let numbers = prop::array::uniform7(number());
    prop_oneof![
        Just(StageUse::default()),
        numbers.prop_map(|numbers| {
            let [
                device_us,
                energy_mj,
                tracks,
                audio_ms,
                bytes,
                cpu_us,
                wait_us,
            ] = numbers;
            StageUse {
                device_us,
                energy_mj,
                tracks,
                audio_ms,
                bytes,
                cpu_us,
                wait_us,
            }
        })
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let stage = prop::sample::select(Stage::ALL);
    (stage, ".{0,70}", any::<(i64, i64)>()).prop_map(|(stage, device, (from, to))| Made {
        stage,
        device,
        from: UnixMillis(from),
        to: UnixMillis(to),
    })
}

/// A part whose rows, verdicts and tracks of a stage may or may not be its tracks.
fn part() -> impl Strategy<Value = Part> {
    let sums = (
        any::<u32>(),
        any::<[bool; 2]>(),
        prop::array::uniform4(number()),
    );
    let ledger = (used(), used(), used());
    let made = prop::collection::vec(made(), 0..4);
    let by = (any::<u32>(), name(), number(), number(), any::<[u8; 32]>());
    (by, tracks(), sums, ledger, made).prop_map(|(by, tracks, sums, ledger, made)| {
        let (attempt, node, epoch, bytes, digest) = by;
        let (rows, [are_tracks, add_up], [likely_ai, no_evidence, inconclusive, _]) = sums;
        let (decode, screen, residual) = ledger;
        let rows = if are_tracks {
            tracks.len() as u32
        } else {
            rows
        };
        let all = VerdictCounts {
            likely_ai: u64::from(rows) / 3,
            unscannable: u64::from(rows) - u64::from(rows) / 3,
            ..VerdictCounts::default()
        };
        let others = VerdictCounts {
            likely_ai,
            no_evidence,
            inconclusive,
            unscannable: 0,
        };
        let tracks_of = u64::from(rows);
        let screen = StageUse {
            tracks: if add_up { tracks_of } else { screen.tracks },
            ..screen
        };
        Part {
            attempt: Attempt(attempt),
            kind: if add_up {
                PartKind::Terminal
            } else {
                PartKind::Escalation
            },
            tracks,
            sha256: Digest(digest),
            rows,
            bytes,
            verdicts: if add_up { all } else { others },
            ledger: Ledger {
                decode,
                screen,
                residual,
            },
            node: NodeId::new(node).unwrap(),
            epoch: Epoch(epoch),
            made,
        }
    })
}

fn suspect() -> impl Strategy<Value = Suspect> {
    let death = prop_oneof![Just(Death::Silent), Just(Death::Replaced)];
    let alone = (name(), death).prop_map(|(node, death)| AloneDeath {
        node: NodeId::new(node).unwrap(),
        death,
    });
    let alone = prop::collection::vec(alone, 0..3);
    (range(), any::<(u16, u16)>(), alone).prop_map(|(tracks, (deaths, together), alone)| Suspect {
        tracks,
        deaths,
        together,
        alone,
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let cause = prop_oneof![Just(FailureCause::NodeLost), Just(FailureCause::Stalled)];
    (cause, any::<u16>()).prop_map(|(cause, count)| Failure { cause, count })
}

prop_compose! {
    fn record()(
        gone in any::<bool>(),
        last_attempt in any::<u32>(),
        escalation in prop::option::of(any::<[u8; 32]>()),
        grants in prop::collection::vec(grant(), 0..4),
        mut parts in prop::collection::vec(part(), 0..5),
        flushed in any::<bool>(),
        suspects in prop::collection::vec(suspect(), 0..3),
        failures in prop::collection::vec(failure(), 0..3),
    ) -> ShardRecord {
        if let (true, [first, second, ..]) = (flushed, parts.as_mut_slice())
            && let Some(hull) = hull(&first.tracks)
        {
            second.tracks = TrackSet::from(hull).difference(&first.tracks);
        }
        ShardRecord {
            standing: if gone { Standing::Tombstone } else { Standing::Live },
            last_attempt: Attempt(last_attempt),
            grants,
            parts,
            suspects,
            failures,
            escalation: escalation.map(Digest),
        }
    }
}

/// A range that reaches a track beyond the set on either side.
fn hull(set: &TrackSet) -> Option<Range> {
    let (first, last) = (set.ranges().first()?, set.ranges().last()?);
    Some(Range {
        first: first.first.checked_sub(1)?,
        end: last.end.checked_add(1)?,
    })
}

/// The set alone, as a grant names it.
fn set_bytes(set: &TrackSet) -> Vec<u8> {
    let mut out = Writer::default();
    out.tracks(set, None);
    out.bytes
}

proptest! {
    #[test]
    fn any_record_reads_back_as_itself_in_both_forms(record in record()) {
        for form in [Form::Long, Form::Brief] {
            let bytes = encode_shard(&record, form);
            prop_assert_eq!(decode::<ShardRecord>(&bytes), Ok(record.clone()));
        }
    }

    #[test]
    fn a_set_of_tracks_reads_back_and_is_hardly_ever_longer_than_in_the_long_form(set in tracks()) {
        let bytes = set_bytes(&set);
        let mut from = Reader::new(&bytes);
        prop_assert_eq!(from.tracks(None), Ok(set.clone()));
        prop_assert!(from.rest().is_empty());
        let long = set.to_bytes().len();
        prop_assert!(bytes.len() <= long + 3, "{} bytes, {} in the long form", bytes.len(), long);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = read(&bytes) {
            prop_assert_eq!(read(&write(&record)), Ok(record));
        }
    }

    #[test]
    fn a_record_with_changed_bytes_is_refused_or_is_a_record(
        record in record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = write(&record);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(record) = read(&bytes) {
            prop_assert_eq!(read(&write(&record)), Ok(record));
        }
    }
}

/// The largest number there is, as it is written.
const LARGEST: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];

#[test]
fn a_number_that_the_bytes_do_not_hold_makes_no_room_and_is_refused() {
    for section in [GRANTS, PARTS, SUSPECTS, FAILURES] {
        let bytes = [&[0, section, 1][..], &LARGEST].concat();
        assert_eq!(read(&bytes), Err("it ends too early"), "{section}");
    }
    let runs = |count: &[u8], bits: &[u8]| {
        let bytes = [&[1, 0][..], count, bits].concat();
        Reader::new(&bytes).tracks(None)
    };
    // Each 1 is a run of one track or a gap of one.
    assert_eq!(runs(&[2], &[0, 0b1110_0000]).map(|set| set.len()), Ok(2));
    let short = Err("the runs of its tracks do not end");
    assert_eq!(runs(&LARGEST, &[0, 0xff, 0xff]), short);
    assert_eq!(
        runs(&[1], &[0, 0, 0, 0, 0, 0, 0xff]),
        short,
        "a run too long"
    );
    let long = [&[0][..], &LARGEST].concat();
    assert_eq!(Reader::new(&long).tracks(None), Err("it ends too early"));
}

#[test]
fn what_says_what_is_not_known_is_refused_by_name() {
    let check = |bytes: &[u8], said: &str| assert_eq!(read(bytes), Err(said), "{bytes:?}");
    check(&[], "it ends too early");
    check(&[9, 0, 1], "it says what is not known");
    check(&[0, 0x20, 1], "it has what is not known");
    check(&[0, 0, 1, 0], "bytes follow it");
    check(
        &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f],
        "a number is too large",
    );
    check(&[0, PARTS, 1, 1, 0x40], "a part says what is not known");
    let rest = "no part stands before the one that is its rest";
    check(&[0, PARTS, 1, 1, 0, 1, 0, 2, 0, 0], rest);
    check(
        &[0, GRANTS, 1, 1, 1, 7],
        "it names a name that was not named before",
    );
    check(&[0, GRANTS, 1, 1, 1, 0, 1, 0xff], "a name is no text");
    check(
        &[0, GRANTS, 1, 1, 1, 0, 1, b'/'],
        "a tenant has no name of a tenant",
    );
    let track = |form: &[u8]| Reader::new(form).tracks(None);
    let unknown = Err("its tracks have a form that is not known");
    assert_eq!(track(&[3]), unknown);
    let unknown = Err("the runs of its tracks have a form that is not known");
    assert_eq!(track(&[1, 0, 1, 0x80, 0xff]), unknown);
    let more = Err("bits follow the runs of its tracks");
    assert_eq!(track(&[1, 0, 1, 0, 0b1100_0000]), more);
    assert_eq!(track(&[0, 1, 7]), Err("its tracks are no set"));
}

/// A number that looks like any other.
fn drawn(of: &[u64]) -> u64 {
    let bytes: Vec<u8> = of.iter().flat_map(|number| number.to_le_bytes()).collect();
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(&bytes).0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A stage's use of that many rows, as a GPU's measure: no two parts have the same.
fn measured(rows: u64, of: u64) -> StageUse {
    let about = |number: u64, what| number * rows + drawn(&[of, what]) % (number * rows / 8 + 1);
    StageUse {
        device_us: about(27_000, 0),
        energy_mj: about(900, 1),
        tracks: rows,
        audio_ms: about(200_000, 2),
        bytes: about(8_000_000, 3),
        cpu_us: about(30_000, 4),
        wait_us: about(1_000, 5),
    }
}

/// A part of these tracks, made at that minute after two in the same place.
fn flushed(kind: PartKind, tracks: TrackSet, stage: Stage, of: u64) -> Part {
    let rows = tracks.len();
    let mut ledger = Ledger {
        decode: measured(rows, of),
        ..Ledger::default()
    };
    *ledger.stage_mut(stage) = measured(rows, of + 1);
    let node = format!("node-{:04}", drawn(&[of]) % 1_000);
    let begun = 1_700_000_000_000 + (drawn(&[of, 6]) % 2_592_000_000).cast_signed();
    let made = |stage, device: &str, after| Made {
        stage,
        device: device.to_owned(),
        from: UnixMillis(begun + after),
        to: UnixMillis(begun + after + 60_000 + (drawn(&[of, 7]) % 1_000).cast_signed()),
    };
    let verdicts = VerdictCounts {
        likely_ai: rows / 5,
        no_evidence: rows - rows / 5,
        ..VerdictCounts::default()
    };
    Part {
        attempt: Attempt(1),
        kind,
        tracks,
        sha256: Digest::of(&of.to_le_bytes()),
        rows: u32::try_from(rows).unwrap(),
        bytes: 300 * rows,
        verdicts: match kind {
            PartKind::Terminal => verdicts,
            PartKind::Escalation => VerdictCounts::default(),
        },
        ledger,
        node: NodeId::new(node).unwrap(),
        epoch: Epoch(123_456),
        made: vec![
            made(Stage::Decode, "cpu:0", 0),
            made(stage, "cuda:0", (drawn(&[of, 8]) % 3_000).cast_signed()),
        ],
    }
}

/// The records of one root shard of 1,024 tracks that was flushed twice, one track in 16 going on, and of its two escalation
/// shards, which are one part each: the shape with the most records and the most parts.
fn flushed_twice(root: u32) -> Vec<(ShardId, ShardRecord)> {
    let first = root * 1_024;
    let done = |parts: Vec<Part>, escalation| ShardRecord {
        last_attempt: Attempt(1),
        parts,
        escalation,
        ..ShardRecord::default()
    };
    let mut parts = Vec::new();
    let mut records = Vec::new();
    for flush in [first, first + 512] {
        let all = TrackSet::from(Range {
            first: flush,
            end: flush + 512,
        });
        let going: TrackSet = all
            .iter()
            .filter(|o| drawn(&[u64::from(*o)]).is_multiple_of(16))
            .collect();
        let of = u64::from(flush) * 8;
        let ends = all.difference(&going);
        parts.push(flushed(PartKind::Terminal, ends, Stage::Screen, of));
        let onward = flushed(PartKind::Escalation, going.clone(), Stage::Screen, of + 2);
        let shard = ShardId::Escalation {
            root,
            attempt: Attempt(1),
            first: going.first().unwrap(),
        };
        let part = flushed(PartKind::Terminal, going, Stage::Residual, of + 4);
        records.push((shard, done(vec![part], Some(onward.sha256))));
        parts.push(onward);
    }
    records.push((ShardId::Root(root), done(parts, None)));
    records
}

/// What comes before each key in etcd: the usual prefix and what stands behind it.
const BEFORE_KEY: usize = "trackscan/data/".len();

/// Bytes of keys and values, and records, of so many root shards of that shape.
fn weighed(roots: u32, form: Form) -> (usize, usize) {
    let job = JobKey {
        tenant: TenantId::default(),
        job: JobId::new("scan-of-november").unwrap(),
    };
    let records: Vec<_> = (0..roots)
        .flat_map(|root| flushed_twice(90_000 + root))
        .collect();
    let weigh = |(shard, record): &(ShardId, ShardRecord)| {
        let key = job.shard_path(Generation(1), *shard).len();
        BEFORE_KEY + key + encode_shard(record, form).len()
    };
    (records.iter().map(weigh).sum(), records.len())
}

#[test]
fn a_hundred_million_tracks_in_the_shape_that_weighs_most_stay_below_140_megabytes() {
    const ROOTS: u32 = 32;
    let (bytes, records) = weighed(ROOTS, Form::Brief);
    let million = bytes as f64 * 1e6 / f64::from(ROOTS * 1_024);
    assert!(million <= 1.4e6, "{million} bytes for a million tracks");
    let mean = bytes / records;
    assert!(mean <= 420, "{mean} bytes a record with its key");
}

#[test]
fn the_second_part_of_a_flush_says_its_tracks_by_the_first() {
    let (_, record) = flushed_twice(7).pop().unwrap();
    let [ends, onward, ..] = record.parts.as_slice() else {
        panic!("a flush has two parts");
    };
    let mut out = Writer::default();
    out.tracks(&onward.tracks, Some(&ends.tracks));
    assert_eq!(out.bytes.len(), 3, "a form and two numbers");
    assert!(set_bytes(&onward.tracks).len() > 20);
}

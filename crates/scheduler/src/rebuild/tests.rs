//! Which parts a rebuild takes, and what becomes of jobs.

use super::*;
use crate::record::{Made, VerdictCounts, decode};
use types::{Epoch, Ledger, NodeId, Range, ShardPlan, Stage};

const ROOT: ShardId = ShardId::Root(0);

fn part(shard: ShardId, attempt: u32, first: u32, end: u32, kind: PartKind) -> FoundPart {
    let tracks = TrackSet::from(Range { first, end });
    let name = alloc::format!("{shard}/{attempt}/{first}");
    FoundPart {
        shard,
        escalation: None,
        part: Part {
            attempt: Attempt(attempt),
            kind,
            rows: end - first,
            tracks,
            sha256: Digest::of(name.as_bytes()),
            bytes: 1,
            verdicts: VerdictCounts::default(),
            ledger: Ledger::default(),
            node: NodeId::new("n").unwrap(),
            epoch: Epoch(1),
            made: alloc::vec![Made {
                stage: Stage::Screen,
                device: String::from("cpu:0"),
                from: UnixMillis(i64::from(attempt) * 10),
                to: UnixMillis(i64::from(attempt) * 10 + 5),
            }],
        },
    }
}

fn job(parts: Vec<FoundPart>) -> FoundJob {
    FoundJob {
        spec: JobSpec {
            tenant: types::TenantId::default(),
            actor: types::ActorId::default(),
            job: types::JobId::new("j").unwrap(),
            generation: Generation(1),
            catalog: types::CatalogName::new("c").unwrap(),
            list: Digest::of(b"list"),
            plan: ShardPlan {
                rows: 8,
                shard_tracks: 8,
            },
            bundle: Digest::of(b"bundle"),
            policy: types::Policy::default(),
            submitted_at: UnixMillis(1),
            retry: None,
        },
        spec_sha256: Digest::of(b"spec"),
        cancelled: None,
        manifest: None,
        parts,
    }
}

fn rebuilt(found: FoundJob, revocations: &[RevocationRecord]) -> Rebuilt {
    let generations = (Generation(1), Generation(2));
    rebuild(generations, &[found], revocations, UnixMillis(9))
}

fn key() -> JobKey {
    JobKey {
        tenant: types::TenantId::default(),
        job: types::JobId::new("j").unwrap(),
    }
}

fn shard(rebuilt: &Rebuilt, shard: ShardId) -> Option<ShardRecord> {
    let path = RecordKey::Shard(key(), shard).path(Generation(2));
    rebuilt
        .records
        .get(&path)
        .map(|value| decode(value).unwrap())
}

fn state(rebuilt: &Rebuilt) -> JobState {
    let path = RecordKey::Job(key()).path(Generation(2));
    let record: JobRecord = decode(&rebuilt.records[&path]).unwrap();
    assert_eq!(record.spec.generation, Generation(2));
    record.state
}

fn attempts(record: &ShardRecord) -> Vec<u32> {
    record.parts.iter().map(|part| part.attempt.0).collect()
}

#[test]
fn the_later_of_two_parts_for_a_track_is_taken_and_no_number_is_given_again() {
    let terminal = PartKind::Terminal;
    let parts = alloc::vec![
        part(ROOT, 1, 0, 4, terminal),
        part(ROOT, 3, 2, 6, terminal),
        part(ROOT, 2, 6, 8, terminal),
    ];
    let rebuilt = rebuilt(job(parts), &[]);
    let record = shard(&rebuilt, ROOT).unwrap();
    assert_eq!(attempts(&record), [2, 3]);
    assert_eq!(record.last_attempt, Attempt(3));
    assert_eq!(rebuilt.copies.len(), 2);
    assert!(
        rebuilt
            .copies
            .iter()
            .all(|name| name.generation == Generation(1))
    );
}

#[test]
fn what_a_revocation_covers_is_left_and_what_does_not_fit_the_shard_too() {
    let terminal = PartKind::Terminal;
    let parts = alloc::vec![
        part(ROOT, 1, 0, 2, terminal),
        part(ROOT, 2, 2, 4, terminal),
        part(ROOT, 3, 6, 9, terminal),
    ];
    let revocation = RevocationRecord {
        node: crate::NodeKey {
            tenant: types::TenantId::default(),
            node: NodeId::new("n").unwrap(),
        },
        device: None,
        from: UnixMillis(10),
        to: UnixMillis(12),
        jobs: Vec::new(),
        progress: crate::record::Progress::Open,
        by: types::ActorId::default(),
        at: UnixMillis(1),
        reason: String::new(),
    };
    let record = shard(&rebuilt(job(parts), &[revocation]), ROOT).unwrap();
    assert_eq!(attempts(&record), [2]);
}

#[test]
fn parts_of_an_escalation_shard_stand_under_the_part_whose_digest_they_carry_alone() {
    let esc = part(ROOT, 1, 2, 5, PartKind::Escalation);
    let made = made_shard(ROOT, &esc.part).unwrap();
    let own = FoundPart {
        escalation: Some(esc.part.sha256),
        ..part(made, 1, 2, 3, PartKind::Terminal)
    };
    let others = FoundPart {
        escalation: Some(Digest::of(b"another")),
        ..part(made, 2, 3, 5, PartKind::Terminal)
    };
    let rebuilt = rebuilt(job(alloc::vec![own, others, esc.clone()]), &[]);
    let record = shard(&rebuilt, made).unwrap();
    assert_eq!(attempts(&record), [1]);
    assert_eq!(record.escalation, Some(esc.part.sha256));
}

#[test]
fn a_manifest_stands_before_a_marker_and_a_marker_before_parts() {
    let closing = Closing {
        by: types::ActorId::default(),
        at: UnixMillis(1),
        reason: String::new(),
    };
    let name = ManifestName {
        version: 1,
        generation: Generation(1),
        sha256: Digest::of(b"manifest"),
    };
    let parts = alloc::vec![part(ROOT, 1, 0, 8, PartKind::Terminal)];
    let cancelled = FoundJob {
        cancelled: Some(closing.clone()),
        ..job(parts)
    };
    let published = FoundJob {
        manifest: Some((name, Totals::default())),
        ..cancelled.clone()
    };
    let copied = ManifestName {
        generation: Generation(2),
        ..name
    };
    for (found, expected) in [
        (cancelled, JobState::Cancelled(closing)),
        (published, JobState::Published(copied)),
    ] {
        let rebuilt = rebuilt(found, &[]);
        assert_eq!(state(&rebuilt), expected);
        assert!(shard(&rebuilt, ROOT).is_none() && rebuilt.copies.is_empty());
    }
}

#[test]
fn what_is_left_says_why_and_each_root_can_be_rebuilt_by_itself() {
    let terminal = PartKind::Terminal;
    let esc = part(ROOT, 1, 0, 2, PartKind::Escalation);
    let made = made_shard(ROOT, &esc.part).unwrap();
    let strange = FoundPart {
        escalation: Some(Digest::of(b"another")),
        ..part(made, 1, 0, 1, terminal)
    };
    let gone = ShardId::Escalation {
        root: 0,
        attempt: Attempt(7),
        first: 0,
    };
    let parts = alloc::vec![
        esc,
        strange,
        part(ROOT, 2, 2, 4, terminal),
        part(ROOT, 3, 3, 5, terminal),
        part(ROOT, 4, 6, 9, terminal),
        part(gone, 1, 0, 2, terminal),
    ];
    let found = job(parts);
    let root = root_shards(&found.spec, &found.parts, &[]);
    let why = |attempt: u32, shard| {
        let left = root.skipped.iter();
        let mut of = left.filter(|left| (left.shard, left.attempt) == (shard, Attempt(attempt)));
        of.next().map(|left| left.why)
    };
    assert_eq!(why(2, ROOT), Some(Skipped::Overlaps));
    assert_eq!(why(4, ROOT), Some(Skipped::Misfit));
    assert_eq!(why(1, made), Some(Skipped::OtherEscalation));
    assert_eq!(why(1, gone), Some(Skipped::NoShard));
    assert_eq!(root.skipped.len(), 4);
    assert_eq!(attempts(&root.shards[&ROOT]), [1, 3]);
    let whole = rebuilt(found, &[]);
    assert_eq!(shard(&whole, ROOT).as_ref(), root.shards.get(&ROOT));
}

//! Rebuilding the records of a new generation from what storage holds of the one that it replaces: a restore never reads the
//! store that it restores. A pure choice; whoever carries it out copies the parts that are taken to paths of the new generation,
//! since what an old leader still puts or removes lands on its own paths, and then writes the records.
//!
//! Published manifests come first and stay as they are. Of an open job's parts those are taken that fall under no revocation and
//! overlap none taken before, the later attempt first; parts of an escalation shard only under the escalation part whose digest
//! they carry. What is not taken returns to the queue.
//!
//! Lost, since storage does not hold them: lanes, priorities, deadlines, pauses, suspects, and what jobs require of nodes: a
//! restored job is given to any node, and one that needs more memory than its nodes have is to be submitted again.

use crate::JobKey;
use crate::key::RecordKey;
use crate::mutants::{self, Mutant};
use crate::orphans::PartName;
use crate::record::{
    Closing, JobRecord, JobState, Lane, ManifestName, Part, PartKind, RevocationRecord,
    ShardRecord, Totals, encode,
};
use crate::revoking::made_shard;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use types::{Attempt, Digest, Generation, JobSpec, ShardId, TrackSet, UnixMillis};

/// A part object of the old generation, as its path and footer describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPart {
    /// The shard that it was made for.
    pub shard: ShardId,
    /// What it would count as.
    pub part: Part,
    /// The escalation part that its shard was made of, where it was one.
    pub escalation: Option<Digest>,
}

/// What storage holds of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundJob {
    /// Its specification.
    pub spec: JobSpec,
    /// SHA-256 of that object.
    pub spec_sha256: Digest,
    /// Its cancel marker.
    pub cancelled: Option<Closing>,
    /// Its manifest in the paths of the old generation, and what that adds up to.
    pub manifest: Option<(ManifestName, Totals)>,
    /// Its parts, whole ones only, in any order.
    pub parts: Vec<FoundPart>,
}

/// The records of a new generation, and what they rest on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Keys and values to write.
    pub records: BTreeMap<String, Vec<u8>>,
    /// Parts of the old generation to copy before that.
    pub copies: Vec<PartName>,
    /// Manifests of the old generation to copy before that, byte for byte.
    pub manifests: Vec<(JobKey, ManifestName)>,
}

/// The records of generation `new` for what was found of generation `old`.
#[must_use]
pub fn rebuild(
    (old, new): (Generation, Generation),
    jobs: &[FoundJob],
    revocations: &[RevocationRecord],
    at: UnixMillis,
) -> Rebuilt {
    let mut rebuilt = Rebuilt::default();
    for found in jobs {
        let key = JobKey {
            tenant: found.spec.tenant.clone(),
            job: found.spec.job.clone(),
        };
        let record = job_record(new, found, at);
        let open = record.state.is_open();
        if let (JobState::Published(_), Some((name, _))) = (&record.state, found.manifest) {
            rebuilt.manifests.push((key.clone(), name));
        }
        let path = RecordKey::Job(key.clone()).path(new);
        rebuilt.records.insert(path, encode(&record));
        if open {
            rebuilt.take_parts((old, new), &key, found, revocations);
        }
    }
    rebuilt
}

fn job_record(new: Generation, found: &FoundJob, at: UnixMillis) -> JobRecord {
    let manifest = found
        .manifest
        .filter(|_| !mutants::on(Mutant::RestoreForgetsManifest));
    let cancelled = found.cancelled.clone();
    let cancelled = cancelled.filter(|_| !mutants::on(Mutant::RestoreForgetsCancel));
    let (state, totals) = match (manifest, cancelled) {
        // A manifest exists only where no cancel was accepted, whatever marker was put.
        (Some((name, totals)), _) => {
            let generation = new;
            let name = ManifestName { generation, ..name };
            (JobState::Published(name), Some(totals))
        }
        (None, Some(closing)) => (JobState::Cancelled(closing), None),
        (None, None) => (JobState::Running, None),
    };
    JobRecord {
        spec: JobSpec {
            generation: new,
            ..found.spec.clone()
        },
        spec_sha256: found.spec_sha256,
        state,
        lane: Lane::default(),
        priority: 0,
        changed_by: found.spec.actor.clone(),
        changed_at: at,
        totals,
        deadline: None,
        requires: types::Requirements::default(),
    }
}

impl Rebuilt {
    /// Root shards first: which escalation shards there are follows from what is taken of them.
    fn take_parts(
        &mut self,
        generations: (Generation, Generation),
        key: &JobKey,
        found: &FoundJob,
        revocations: &[RevocationRecord],
    ) {
        let mut by_shard: BTreeMap<ShardId, Vec<&FoundPart>> = BTreeMap::new();
        for part in &found.parts {
            by_shard.entry(part.shard).or_default().push(part);
        }
        let mut escalations: BTreeMap<ShardId, (TrackSet, Digest)> = BTreeMap::new();
        let roots = |shard: &ShardId| matches!(shard, ShardId::Root(_));
        let (first, then): (Vec<ShardId>, Vec<ShardId>) = by_shard.keys().partition(|s| roots(s));
        for shard in first.into_iter().chain(then) {
            let ground = match shard {
                ShardId::Root(root) => found.spec.plan.range(root).map(|r| (r.into(), None)),
                ShardId::Escalation { .. } => {
                    let made = escalations.get(&shard);
                    made.map(|(tracks, sha256)| (tracks.clone(), Some(*sha256)))
                }
            };
            let (Some((extent, sha256)), Some(parts)) = (ground, by_shard.get(&shard)) else {
                continue;
            };
            #[cfg(feature = "mutants")]
            let parts = &unmatched(shard, &by_shard).unwrap_or_else(|| parts.clone());
            let record = shard_record(parts, &extent, sha256, revocations);
            for part in &record.parts {
                if let Some(made) = made_shard(shard, part) {
                    escalations.insert(made, (part.tracks.clone(), part.sha256));
                }
            }
            self.keep(generations, key, shard, &record);
        }
    }

    fn keep(
        &mut self,
        (old, new): (Generation, Generation),
        job: &JobKey,
        shard: ShardId,
        record: &ShardRecord,
    ) {
        let copies = record.parts.iter().map(|part| PartName {
            job: job.clone(),
            generation: old,
            shard,
            attempt: part.attempt,
            sha256: part.sha256,
        });
        self.copies.extend(copies);
        let path = RecordKey::Shard(job.clone(), shard).path(new);
        self.records.insert(path, encode(record));
    }
}

/// The parts of all escalation shards of a root, where a planted bug does not tell them apart.
#[cfg(feature = "mutants")]
fn unmatched<'a>(
    shard: ShardId,
    by_shard: &BTreeMap<ShardId, Vec<&'a FoundPart>>,
) -> Option<Vec<&'a FoundPart>> {
    let escalates = |shard: ShardId| matches!(shard, ShardId::Escalation { .. });
    if !mutants::on(Mutant::RestoreUnmatched) || !escalates(shard) {
        return None;
    }
    let sibling = |other: ShardId| escalates(other) && other.root() == shard.root();
    let siblings = by_shard.iter().filter(|(other, _)| sibling(**other));
    Some(siblings.flat_map(|(_, parts)| parts.clone()).collect())
}

/// What one shard's record becomes. Its last attempt is the highest that left an object, taken or not.
fn shard_record(
    parts: &[&FoundPart],
    extent: &TrackSet,
    escalation: Option<Digest>,
    revocations: &[RevocationRecord],
) -> ShardRecord {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|found| Reverse((found.part.attempt, found.part.sha256)));
    let last_attempt = parts.first().map_or(Attempt(0), |found| found.part.attempt);
    let mut record = ShardRecord {
        last_attempt,
        escalation,
        ..ShardRecord::default()
    };
    let mut taken = TrackSet::new();
    for found in parts {
        let part = &found.part;
        let revoked = revocations.iter().any(|by| by.covers(part));
        let revoked = revoked && !mutants::on(Mutant::RestoreTakesRevoked);
        let own = found.escalation == escalation || mutants::on(Mutant::RestoreUnmatched);
        let again = escalation.is_some() && part.kind == PartKind::Escalation;
        let fits = !part.tracks.is_empty() && part.tracks.difference(extent).is_empty();
        let whole = u64::from(part.rows) == part.tracks.len();
        if own && fits && whole && !again && !revoked && !part.tracks.intersects(&taken) {
            taken = taken.union(&part.tracks);
            record.parts.push(part.clone());
        }
    }
    record
        .parts
        .sort_by_key(|part| (part.attempt, part.tracks.first()));
    record
}

#[cfg(test)]
mod tests {
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
}

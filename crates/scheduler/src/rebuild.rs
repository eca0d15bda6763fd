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
    /// SHA-256 of the object that says the same in the new generation.
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

/// Why a part of the old generation does not count in the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// A device made it in a span that was revoked.
    Revoked,
    /// A later attempt has a part for one of its tracks.
    Overlaps,
    /// It was made for another escalation part than the one that counts.
    OtherEscalation,
    /// The escalation part that its shard was made of does not count, or the list has no such shard.
    NoShard,
    /// Its tracks are not of its shard, or are not its rows.
    Misfit,
}

impl Skipped {
    /// As reports say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Overlaps => "overlaps",
            Self::OtherEscalation => "other-escalation",
            Self::NoShard => "no-shard",
            Self::Misfit => "misfit",
        }
    }
}

/// A part that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftPart {
    /// Its shard.
    pub shard: ShardId,
    /// Its attempt.
    pub attempt: Attempt,
    /// Its digest.
    pub sha256: Digest,
    /// Why.
    pub why: Skipped,
}

/// The shard records of some root shards of a job with their escalation shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuiltShards {
    /// Records with the parts that are taken.
    pub shards: BTreeMap<ShardId, ShardRecord>,
    /// The parts that are not.
    pub skipped: Vec<LeftPart>,
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

/// What one job's record becomes: published where a manifest stands, else cancelled where it was marked, else running.
#[must_use]
pub fn job_record(new: Generation, found: &FoundJob, at: UnixMillis) -> JobRecord {
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
    fn take_parts(
        &mut self,
        generations: (Generation, Generation),
        key: &JobKey,
        found: &FoundJob,
        revocations: &[RevocationRecord],
    ) {
        let taken = root_shards(&found.spec, &found.parts, revocations);
        for (shard, record) in &taken.shards {
            self.keep(generations, key, *shard, record);
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

/// The records of the shards that these parts are of. Parts of one root shard and of its escalation shards come together; which other
/// roots come with them makes no difference.
#[must_use]
pub fn root_shards(
    spec: &JobSpec,
    parts: &[FoundPart],
    revocations: &[RevocationRecord],
) -> RebuiltShards {
    let mut by_shard: BTreeMap<ShardId, Vec<&FoundPart>> = BTreeMap::new();
    for part in parts {
        by_shard.entry(part.shard).or_default().push(part);
    }
    // Root shards first: which escalation shards there are follows from what is taken of them.
    let is_root = |shard: &ShardId| matches!(shard, ShardId::Root(_));
    let (first, then): (Vec<ShardId>, Vec<ShardId>) = by_shard.keys().partition(|s| is_root(s));
    let mut escalations: BTreeMap<ShardId, (TrackSet, Digest)> = BTreeMap::new();
    let mut rebuilt = RebuiltShards::default();
    for shard in first.into_iter().chain(then) {
        let Some(parts) = by_shard.get(&shard) else {
            continue;
        };
        let ground = match shard {
            ShardId::Root(root) => spec.plan.range(root).map(|range| (range.into(), None)),
            ShardId::Escalation { .. } => {
                let made = escalations.get(&shard);
                made.map(|(tracks, sha256)| (tracks.clone(), Some(*sha256)))
            }
        };
        let Some((extent, sha256)) = ground else {
            let left = parts.iter().map(|found| left(found, Skipped::NoShard));
            rebuilt.skipped.extend(left);
            continue;
        };
        #[cfg(feature = "mutants")]
        let parts = &unmatched(shard, &by_shard).unwrap_or_else(|| parts.clone());
        let record = shard_record(parts, (&extent, sha256), revocations, &mut rebuilt.skipped);
        for part in &record.parts {
            if let Some(made) = made_shard(shard, part) {
                escalations.insert(made, (part.tracks.clone(), part.sha256));
            }
        }
        rebuilt.shards.insert(shard, record);
    }
    rebuilt
}

const fn left(found: &FoundPart, why: Skipped) -> LeftPart {
    LeftPart {
        shard: found.shard,
        attempt: found.part.attempt,
        sha256: found.part.sha256,
        why,
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
    (extent, escalation): (&TrackSet, Option<Digest>),
    revocations: &[RevocationRecord],
    skipped: &mut Vec<LeftPart>,
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
        let misfit = misfit(found, (extent, escalation), revocations);
        let why = misfit.or_else(|| part.tracks.intersects(&taken).then_some(Skipped::Overlaps));
        match why {
            Some(why) => skipped.push(left(found, why)),
            None => {
                taken = taken.union(&part.tracks);
                record.parts.push(part.clone());
            }
        }
    }
    record
        .parts
        .sort_by_key(|part| (part.attempt, part.tracks.first()));
    record
}

/// Why a part cannot count in this shard, whatever else is taken.
fn misfit(
    found: &FoundPart,
    (extent, escalation): (&TrackSet, Option<Digest>),
    revocations: &[RevocationRecord],
) -> Option<Skipped> {
    let part = &found.part;
    let revoked = revocations.iter().any(|by| by.covers(part));
    let own = found.escalation == escalation || mutants::on(Mutant::RestoreUnmatched);
    let again = escalation.is_some() && part.kind == PartKind::Escalation;
    let fits = !part.tracks.is_empty() && part.tracks.difference(extent).is_empty();
    let whole = u64::from(part.rows) == part.tracks.len();
    if revoked && !mutants::on(Mutant::RestoreTakesRevoked) {
        Some(Skipped::Revoked)
    } else if !own {
        Some(Skipped::OtherEscalation)
    } else if !fits || !whole || again {
        Some(Skipped::Misfit)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;

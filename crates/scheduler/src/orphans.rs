//! Which part objects nothing will ever name. A pure judgement over stored records; `collect` asks twice, some
//! time apart, before anything is deleted.
//!
//! An object is an orphan only by proof: its attempt was given and has ended, and no part names it. An absent record
//! proves nothing (a leader that was paused may not know the attempt yet), nor does anything of another generation.

use crate::JobKey;
use crate::install::escalations_of;
use crate::invariants;
use crate::mutants::{self, Mutant};
use crate::record::{JobState, Part};
use crate::reign::{Core, Reign};
use crate::state::{Job, JobNo, Slot};
use core::sync::atomic::Ordering;
use types::{Attempt, Digest, Generation, ShardId};

/// What a part's path names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartName {
    /// The job.
    pub job: JobKey,
    /// The generation in whose paths it stands.
    pub generation: Generation,
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// SHA-256 of the object.
    pub sha256: Digest,
}

/// What may be done with a part object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It counts, may yet count, or nothing is known of it: keep it.
    Keep,
    /// The job's manifest says: what it does not name is an orphan.
    ByManifest,
    /// Nothing names it and nothing ever will.
    Orphan,
}

impl Core {
    /// Judges one part object. Keeps everything while this core does not lead.
    #[must_use]
    pub fn fate(&self, part: &PartName) -> Fate {
        self.leading().map_or(Fate::Keep, |reign| reign.fate(part))
    }

    /// I6, asked once more of what is about to be deleted, over all records of its root shard: nothing that one names may go.
    pub(crate) fn may_go(&self, part: &PartName) -> bool {
        let Some(reign) = self.leading().filter(|_| !mutants::any()) else {
            return mutants::any();
        };
        let named = invariants::orphan_is_unnamed(part.sha256, reign.counting(part));
        if named.is_err() {
            reign.orphans_named.fetch_add(1, Ordering::Relaxed);
        }
        named.is_ok()
    }
}

impl Reign {
    fn fate(&self, part: &PartName) -> Fate {
        if part.generation != self.generation {
            return Fate::Keep;
        }
        let Some(no) = self.job_no(&part.job) else {
            return Fate::Keep;
        };
        let parked = [Slot::Job(no), Slot::Shard(no, part.shard)];
        let swept = mutants::on(Mutant::ParkedSwept);
        if parked.iter().any(|slot| self.desk.is_dirty(*slot)) && !swept {
            return Fate::Keep;
        }
        match self
            .jobs
            .get(&no)
            .and_then(Job::record)
            .map(|record| &record.state)
        {
            Some(JobState::Published(_)) if mutants::on(Mutant::ManifestUnasked) => {
                self.fate_by_record(no, part)
            }
            Some(JobState::Published(_)) => Fate::ByManifest,
            Some(JobState::Cancelled(_)) => Fate::Orphan,
            Some(JobState::Running | JobState::Paused | JobState::Publishing) => {
                self.fate_by_record(no, part)
            }
            None => Fate::Keep,
        }
    }

    /// The parts that count of an object's root shard and of its escalation shards. Of a published job the manifest says.
    fn counting(&self, part: &PartName) -> impl Iterator<Item = &Part> {
        let job = self.job_no(&part.job).and_then(|no| self.jobs.get(&no));
        let job = job.filter(|job| job.is_open());
        let root = part.shard.root();
        let own = job.and_then(|job| job.shards.get(&ShardId::Root(root)));
        let others = job.into_iter().flat_map(move |job| {
            let escalations = job.shards.range(escalations_of(root));
            escalations.map(|(_, shard)| shard)
        });
        let shards = own.into_iter().chain(others);
        shards.flat_map(|shard| &shard.stored.record.parts)
    }

    fn fate_by_record(&self, no: JobNo, part: &PartName) -> Fate {
        let shard = self
            .jobs
            .get(&no)
            .and_then(|job| job.shards.get(&part.shard));
        let unproven = mutants::on(Mutant::NotLiveIsOrphan) || mutants::on(Mutant::ManifestUnasked);
        let record = shard.map(|shard| &shard.stored.record);
        #[cfg(feature = "mutants")]
        let record = self.parked_record(no, part.shard).or(record);
        let Some(record) = record else {
            return if unproven { Fate::Orphan } else { Fate::Keep };
        };
        let named = record.parts.iter().any(|known| known.sha256 == part.sha256);
        let live = record.grant(part.attempt).is_some();
        let given = part.attempt <= record.last_attempt || unproven;
        let over = given && (!live || mutants::on(Mutant::CollectedEarly));
        if over && !named {
            Fate::Orphan
        } else {
            Fate::Keep
        }
    }

    /// The change of a shard that waits for the store, where a planted bug believes it.
    #[cfg(feature = "mutants")]
    fn parked_record(&self, no: JobNo, shard: ShardId) -> Option<&crate::record::ShardRecord> {
        let under_way = self.desk.groups.values().flat_map(|group| &group.units);
        let units = under_way.chain(&self.desk.queue);
        let mut changes = units.flat_map(|unit| &unit.changes);
        let swept = mutants::on(Mutant::ParkedSwept);
        let of_shard = |change: &&crate::desk::Change| change.slot == Slot::Shard(no, shard);
        let change = changes.find(of_shard).filter(|_| swept)?;
        match &change.record {
            crate::desk::Record::Shard(record) => Some(record),
            crate::desk::Record::Job(_)
            | crate::desk::Record::Node(_)
            | crate::desk::Record::Revocation(_)
            | crate::desk::Record::Gone => None,
        }
    }
}

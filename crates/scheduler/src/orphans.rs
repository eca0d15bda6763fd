//! Which part objects nothing will ever name. A pure judgement over stored records; `collect` asks twice, some
//! time apart, before anything is deleted.
//!
//! An object is an orphan only by proof: its attempt was given and has ended, and no part names it. An absent record
//! proves nothing (a leader that was paused may not know the attempt yet), nor does anything of another generation.

use crate::JobKey;
use crate::mutants::{self, Mutant};
use crate::record::JobState;
use crate::reign::{Core, Reign};
use crate::state::{Job, JobNo, Slot};
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
        if parked.iter().any(|slot| self.desk.is_dirty(*slot)) {
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

    fn fate_by_record(&self, no: JobNo, part: &PartName) -> Fate {
        let shard = self
            .jobs
            .get(&no)
            .and_then(|job| job.shards.get(&part.shard));
        let unproven = mutants::on(Mutant::NotLiveIsOrphan) || mutants::on(Mutant::ManifestUnasked);
        let Some(record) = shard.map(|shard| &shard.stored.record) else {
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
}

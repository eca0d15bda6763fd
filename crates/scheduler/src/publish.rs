//! From the last row to the result. When every track of the list is covered and every escalation shard too, the job
//! record becomes `publishing`, which closes it to everything else; the shell writes the manifest, a function of the
//! records; the job record becomes `published` and states its name; then the shard keys go, since the manifest
//! stands for them. Each step is taken up again by a new leader from the records alone.

use crate::event::StorageOutcome;
use crate::invariants;
use crate::limits::{GROUP_OPS_MAX, STORAGE_RETRY_FIRST, STORAGE_RETRY_MAX, USES_TOLD_MAX};
use crate::mutants::{self, Mutant};
use crate::record::{JobRecord, JobState, ManifestName, PartKind};
use crate::reign::{Reign, Turn};
use crate::settle::doubled;
use crate::state::{Job, JobNo, ManifestStep, Slot};
use crate::{Action, JobKey, ManifestPart, ManifestPlan};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use types::{Code, DeviceUse, DeviceUses, Millis, ShardId, UnixMillis};

/// The version of a job's first manifest.
const FIRST_VERSION: u32 = 1;
/// Shard keys under removal at once: two groups, so that clean-up never crowds out work.
const REMOVING_MAX: usize = 2 * (GROUP_OPS_MAX - 1);

impl Reign {
    /// A record of the job has settled: publish if all is done, go on cleaning if it is closed.
    pub(crate) fn after_shard(&mut self, turn: &mut Turn<'_>, no: JobNo) {
        self.close_cancelled(turn, no);
        let state = self
            .jobs
            .get(&no)
            .and_then(Job::record)
            .map(|record| &record.state);
        match state {
            Some(JobState::Publishing) if mutants::on(Mutant::KeysGoEarly) => self.remove_keys(no),
            Some(JobState::Running) => self.publish_if_done(no),
            Some(JobState::Published(_) | JobState::Cancelled(_)) => self.remove_keys(no),
            // While the record is being written it may be published already: then there is nothing left to make one of.
            Some(JobState::Publishing)
                if mutants::on(Mutant::ManifestInDoubt)
                    || self.chores_hold.is_none() && self.desk.is_free(Slot::Job(no)) =>
            {
                self.write_manifest(turn, no);
            }
            Some(JobState::Publishing | JobState::Paused) | None => {}
        }
    }

    fn publish_if_done(&mut self, no: JobNo) {
        let Some(job) = self.jobs.get(&no) else {
            return;
        };
        if !job.is_done()
            || (job.cancelling.is_some() && !mutants::on(Mutant::CancelRaces))
            || self.is_revoking(no)
            || self.desk.job_is_dirty(no)
        {
            return;
        }
        let Some(record) = job.record() else {
            return;
        };
        let record = JobRecord {
            state: JobState::Publishing,
            ..record.clone()
        };
        if self.chores_hold.is_none()
            && let Some(unit) = self.job_unit(no, record)
        {
            self.desk.stage(vec![unit], None);
        }
    }

    /// Jobs that were done while the store took no writes.
    pub(crate) fn publish_what_is_done(&mut self, turn: &mut Turn<'_>) {
        for no in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.after_shard(turn, no);
        }
    }

    /// Asks the shell for the manifest of a job that publishes, unless it is at it.
    pub(crate) fn write_manifest(&mut self, turn: &mut Turn<'_>, no: JobNo) {
        let generation = self.generation;
        let Some(job) = self
            .jobs
            .get_mut(&no)
            .filter(|job| job.manifest == ManifestStep::Idle)
        else {
            return;
        };
        job.manifest = ManifestStep::Writing { tries: 1 };
        if let Some(plan) = job.manifest_plan(generation) {
            self.ask_manifest(turn, plan);
        }
    }

    fn ask_manifest(&mut self, turn: &mut Turn<'_>, plan: ManifestPlan) {
        match invariants::manifest_is_whole(&plan) {
            Err(_) if mutants::any() => turn.actions.push(Action::WriteManifest {
                plan: Box::new(plan),
            }),
            Ok(()) => turn.actions.push(Action::WriteManifest {
                plan: Box::new(plan),
            }),
            // Never published with a track missing or doubled: the job stands still and the counter says why.
            Err(violation) => self.count_broken(Err(violation)),
        }
    }

    /// The manifest was put, or was not.
    pub(crate) fn manifest_written(
        &mut self,
        turn: &mut Turn<'_>,
        key: &JobKey,
        outcome: StorageOutcome<ManifestName>,
        at: UnixMillis,
    ) {
        let Some(no) = self.job_no(key) else {
            return;
        };
        let step = self.jobs.get(&no).map(|job| job.manifest.clone());
        let Some(ManifestStep::Writing { tries }) = step else {
            return;
        };
        match outcome {
            StorageOutcome::Done(name) => self.published(no, name, at),
            StorageOutcome::Failed { code, .. } => self.manifest_waits(turn.now, no, tries, code),
        }
    }

    fn manifest_waits(&mut self, now: Millis, no: JobNo, tries: u32, code: Code) {
        if let Some(job) = self.jobs.get_mut(&no) {
            job.manifest = ManifestStep::Waiting {
                tries,
                until: now + doubled(STORAGE_RETRY_FIRST, STORAGE_RETRY_MAX, tries),
                code,
            };
        }
    }

    fn published(&mut self, no: JobNo, name: ManifestName, at: UnixMillis) {
        let Some(job) = self.jobs.get_mut(&no) else {
            return;
        };
        job.manifest = ManifestStep::Idle;
        let totals = job.tally.totals;
        let free = self.desk.is_free(Slot::Job(no));
        let record = self.jobs.get(&no).and_then(Job::record);
        let Some(record) = record.filter(|record| free && record.state == JobState::Publishing)
        else {
            return;
        };
        let record = JobRecord {
            state: JobState::Published(name),
            changed_at: at,
            totals: Some(totals),
            ..record.clone()
        };
        // Where this write fails the manifest is asked for again: same records, same bytes, same name.
        if let Some(unit) = self.job_unit(no, record) {
            self.desk.stage(vec![unit], None);
        }
    }

    /// Asks again for manifests whose time has come.
    pub(crate) fn repeat_manifests(&mut self, turn: &mut Turn<'_>) {
        let generation = self.generation;
        let mut plans = Vec::new();
        for job in self.jobs.values_mut() {
            let ManifestStep::Waiting { tries, until, .. } = job.manifest else {
                continue;
            };
            if until > turn.now {
                continue;
            }
            // A write of an unknown outcome may have published the job since.
            let publishes = |record: &JobRecord| record.state == JobState::Publishing;
            if !job.record().is_some_and(publishes) && !mutants::on(Mutant::ManifestInDoubt) {
                job.manifest = ManifestStep::Idle;
                continue;
            }
            job.manifest = ManifestStep::Writing {
                tries: tries.saturating_add(1),
            };
            plans.extend(job.manifest_plan(generation));
        }
        for plan in plans {
            self.ask_manifest(turn, plan);
        }
    }

    pub(crate) fn manifests_deadline(&self) -> Option<Millis> {
        let until = |job: &Job| match job.manifest {
            ManifestStep::Waiting { until, .. } => Some(until),
            ManifestStep::Idle | ManifestStep::Writing { .. } => None,
        };
        self.jobs.values().filter_map(until).min()
    }

    /// Removes the shard keys of a closed job, a few at a time.
    pub(crate) fn remove_keys(&mut self, no: JobNo) {
        let stay = mutants::on(Mutant::KeysStay);
        if stay || self.chores_hold.is_some() || self.desk.is_dirty(Slot::Job(no)) {
            return;
        }
        let Some(job) = self.jobs.get(&no).filter(|job| job.removing == 0) else {
            return;
        };
        let still = |id: &&ShardId| !self.desk.is_dirty(Slot::Shard(no, **id));
        let ids: Vec<ShardId> = job
            .shards
            .keys()
            .filter(still)
            .take(REMOVING_MAX)
            .copied()
            .collect();
        let units: Vec<_> = ids
            .into_iter()
            .filter_map(|id| self.removal_unit(no, id))
            .collect();
        if let Some(job) = self.jobs.get_mut(&no) {
            job.removing = units.len();
        }
        self.desk.stage(units, None);
    }
}

const fn is_root(shard: ShardId) -> bool {
    matches!(shard, ShardId::Root(_))
}

impl Job {
    /// Whether every track of the list has its terminal row.
    pub(crate) fn is_done(&self) -> bool {
        let totals = &self.tally.totals;
        let early = u64::from(mutants::on(Mutant::PublishedEarly));
        self.tally.roots_covered + early >= totals.tracks
            && (self.open_escalations.is_empty() || mutants::on(Mutant::EscalationForgotten))
            && totals.tracks > 0
    }

    fn manifest_plan(&self, generation: types::Generation) -> Option<ManifestPlan> {
        let record = self.record()?;
        let mut parts: Vec<ManifestPart> = Vec::new();
        for (shard, entry) in &self.shards {
            let terminal = entry
                .stored
                .record
                .parts
                .iter()
                .filter(|p| p.kind == PartKind::Terminal)
                .filter(|_| !mutants::on(Mutant::EscalationsUnlisted) || is_root(*shard));
            parts.extend(terminal.map(|part| ManifestPart {
                shard: *shard,
                attempt: part.attempt,
                kind: part.kind,
                tracks: part.tracks.clone(),
                sha256: part.sha256,
                rows: part.rows,
                bytes: part.bytes,
                verdicts: part.verdicts,
                ledger: part.ledger,
            }));
        }
        parts.sort_by_key(|part| (part.shard, part.tracks.first()));
        Some(ManifestPlan {
            job: self.key.clone(),
            spec: record.spec.clone(),
            spec_sha256: record.spec_sha256,
            version: FIRST_VERSION,
            generation,
            parts,
            totals: self.tally.totals,
            uses: self.uses(),
        })
    }

    /// What the parts used by node, device and stage; nothing where it is too much to tell.
    fn uses(&self) -> Vec<DeviceUse> {
        let mut uses = DeviceUses::default();
        for entry in self.shards.values() {
            let parts = &entry.stored.record.parts;
            parts.iter().for_each(|part| part.add_to(&mut uses));
            if uses.lines().len() > USES_TOLD_MAX {
                return Vec::new();
            }
        }
        uses.lines().collect()
    }
}

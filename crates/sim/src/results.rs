//! The judge of parts and results: a part that counts is in storage, whole and sound, and gives each track its only row; a
//! manifest names exactly the parts that count, and each row in it is the one that its track deserves.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::record::{JobRecord, JobState, ManifestName, Part, PartKind};
use scheduler::{JobKey, ManifestPlan, invariants};
use types::{Digest, Ordinal, ShardId, TrackSet};

use crate::depot::{Object, PartPath, path_generation};
use crate::escalated::Rows;
use crate::truth::Row;
use crate::world::World;

impl World {
    /// A part begins to count: its object is there, whole, sound, and each of its tracks has no row yet.
    pub(crate) fn judge_part(&mut self, job: &JobKey, shard: ShardId, part: &Part) {
        self.tally.commits += 1;
        let path = PartPath::of(self.generation, job, shard, part);
        let name = format!("part {:?} of {job}/{shard}#{}", part.sha256, part.attempt);
        let counted = self.oracle.counted.entry(job.clone()).or_default();
        let new = counted.insert(part.sha256);
        self.hold(new, "I1", || format!("{name} counts twice"));
        let gone = self.oracle.collected.contains(&path);
        self.hold_to(invariants::counted_was_not_collected(part, gone), &name);
        let object = self.depot.part(&path).cloned();
        let stored = object.as_ref().map(|object| object.size_and_digest());
        self.hold_to(invariants::part_is_stored(part, stored), &name);
        if let Some(object) = object {
            self.judge_object(part, &object, &name);
        }
        self.maybe_regretted(job, shard);
        if part.kind == PartKind::Terminal {
            self.judge_new_rows(job, part, &name);
        }
    }

    /// The object of a part that counts says what its record says, and was made by sound devices.
    fn judge_object(&mut self, part: &Part, object: &Object, name: &str) {
        let wrong = |(_, row): &(Ordinal, Row)| match row {
            Row::Scored { wrong } | Row::Escalated { wrong } | Row::Withheld { wrong } => *wrong,
            Row::Unscannable(_) => false,
        };
        let sick = object.rows.iter().any(wrong);
        self.hold(!sick, "H7", || format!("{name} was made by a sick device"));
        let same = object.tracks == part.tracks && object.kind == part.kind;
        self.hold(same, "I5", || format!("{name} is recorded as another"));
    }

    fn judge_new_rows(&mut self, job: &JobKey, part: &Part, name: &str) {
        let rows = self.oracle.rows.entry(job.clone()).or_default();
        let tracks = part.tracks.iter();
        let twice = tracks.filter_map(|o| rows.insert(o, part.sha256)).count();
        let done = rows.len() as u64;
        self.hold(twice == 0, "P1", || format!("{name} doubles {twice} rows"));
        let record = self.record_of(job);
        let all = record.map_or(0, |record| u64::from(record.spec.plan.rows));
        if done + 2 >= all {
            self.maybe_too_late(job);
        }
    }

    /// From here on nothing may change: every track has its row, and every escalation shard is done.
    pub(crate) fn judge_publishing(&mut self, job: &JobKey, record: &JobRecord) {
        let rows = self.oracle.rows.get(job).map_or(0, BTreeMap::len);
        let all = record.spec.plan.rows;
        self.hold(rows as u64 == u64::from(all), "I16", || {
            format!("job {job} is to be published with {rows} of {all} rows")
        });
    }

    /// A manifest reaches storage.
    pub(crate) fn judge_manifest(&mut self, plan: &ManifestPlan) {
        let job = &plan.job;
        let state = self.record_of(job).map(|record| &record.state);
        // An old leader's stands in paths that nobody reads.
        let old = plan.generation != self.generation;
        let publishes = old || matches!(state, Some(JobState::Publishing | JobState::Published(_)));
        let what = format!("a manifest of job {job} is put while it is {state:?}");
        self.hold(publishes, "I16", || what);
        if !old {
            let whole = invariants::manifest_is_whole(plan);
            self.hold_to(whole, format_args!("a manifest of {job} is put"));
        }
    }

    /// A manifest was put: where its job has a result, that is the one that it had.
    pub(crate) fn judge_result_stands(&mut self, job: &JobKey) {
        let state = self.record_of(job).map(|record| &record.state);
        let Some(JobState::Published(name)) = state else {
            return;
        };
        let stands = self.depot.manifest(job, *name).is_some();
        self.hold(stands, "P4", || {
            format!("the result of job {job} is written over by another")
        });
    }

    pub(crate) fn judge_published(&mut self, job: &JobKey, name: ManifestName) {
        let Some(plan) = self.depot.manifest(job, name).cloned() else {
            return self.violated(
                "I9",
                format!("job {job} names a manifest that is not there"),
            );
        };
        let whole = invariants::manifest_is_whole(&plan);
        self.hold_to(whole, format_args!("manifest of {job}"));
        self.judge_rows(job, &plan);
        let named: BTreeSet<Digest> = plan.parts.iter().map(|part| part.sha256).collect();
        let rows = self.oracle.rows.get(job);
        let counted: BTreeSet<Digest> = rows.into_iter().flatten().map(|(_, d)| *d).collect();
        self.hold(named == counted, "I9", || {
            format!("the manifest of {job} names other parts than those that count")
        });
    }

    /// Each track has one row in the objects that the manifest names, and the row that it deserves.
    fn judge_rows(&mut self, job: &JobKey, plan: &ManifestPlan) {
        let Some(truth) = self.truths.iter().find(|truth| truth.key == *job).cloned() else {
            return self.violated("P1", format!("job {job} was never submitted"));
        };
        let mut seen = TrackSet::new();
        let mut all = Rows::new();
        for part in &plan.parts {
            let first = part.tracks.first().unwrap_or(0);
            let path = PartPath {
                generation: path_generation(plan.generation),
                job: job.clone(),
                shard: part.shard,
                attempt: part.attempt,
                first,
                sha256: part.sha256,
            };
            let Some(object) = self.depot.part(&path).cloned() else {
                return self.violated("I5", format!("{:?} of {job} is missing", part.sha256));
            };
            for (ordinal, row) in &object.rows {
                let one = TrackSet::from_iter([*ordinal]);
                self.hold(!seen.intersects(&one), "P1", || {
                    format!("track {ordinal} of {job} is in the result twice")
                });
                seen = seen.union(&one);
                all.insert(*ordinal, (part.shard, *row));
                self.hold(truth.deserves(*ordinal, *row), "I13", || {
                    let nature = truth.nature(*ordinal);
                    format!("track {ordinal} of {job}, {nature:?}, ends as {row:?}")
                });
            }
        }
        self.judge_escalated(&truth, &all);
        let rows = seen.len();
        self.hold(rows == truth.natures.len() as u64, "P1", || {
            format!(
                "the result of {job} has {rows} of {} rows",
                truth.natures.len()
            )
        });
    }
}
